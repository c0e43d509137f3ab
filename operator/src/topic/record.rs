//! What a reconciliation puts on record: intents before Kafka is written to, outcomes after, each only when it is news.

use std::time::Instant;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::controller::Action;
use tidegate_crds::{
    KafkaTopic, KafkaTopicStatus,
    conditions::{READY, STALLED},
    topic::{TopicGrowth, TopicIntent},
};

use super::{
    error::TopicError,
    health::Health,
    memory::{Memory, digest},
    plan::{Observation, Refusal},
    report::{Facts, Outcome, status},
};
use crate::{
    alerts::metrics::TopicLabels,
    conditions::is_true,
    context::{Context, apply_status},
    gateway::Gateway,
    metrics::Kind,
};

/// Failures in a row after which a topic that was ready is reported not to be.
const PATIENCE: u32 = 5;

/// A reconciliation of one topic.
pub(super) struct One<'a> {
    pub(super) topic: &'a KafkaTopic,
    pub(super) context: &'a Context,
    pub(super) about: ObjectReference,
}

/// What a reconciliation has found out.
pub(super) struct Seen<'a> {
    pub(super) gateway: &'a Gateway,
    pub(super) cluster_id: String,
    pub(super) topic: Option<Observation>,
    pub(super) health: Health,
}

impl One<'_> {
    /// Records what is about to be written to Kafka.
    pub(super) async fn intend(
        &self,
        mut intent: TopicIntent,
        progress: Refusal,
        adopted: Option<bool>,
        seen: &Seen<'_>,
    ) -> Result<(), TopicError> {
        let previous = self.context.topic_memories.status(self.topic);
        let facts = self.facts(self.owned_keys(&previous), adopted, Some(seen));
        let mut next = status(&previous, &Outcome::Progress(progress), &facts, Timestamp::now());
        if intent.create {
            // A topic that is made anew has a new id; until it is known there is none.
            next.topic_id = None;
        } else {
            // Whatever was observed has this id and is ours by now, adopted or not.
            next.topic_id = seen.topic.as_ref().map(|topic| topic.id.to_string());
        }
        intent.config_keys.extend(previous.intent.iter().flat_map(|before| before.config_keys.clone()));
        intent.config_keys.sort();
        intent.config_keys.dedup();
        next.intent = Some(intent);
        self.write(&previous, next).await
    }

    /// Records a step of a growth before anything of it is done.
    pub(super) async fn begin(
        &self,
        growth: TopicGrowth,
        progress: Refusal,
        seen: &Seen<'_>,
    ) -> Result<(), TopicError> {
        let previous = self.context.topic_memories.status(self.topic);
        let facts = self.facts(self.owned_keys(&previous), None, Some(seen));
        let mut next = status(&previous, &Outcome::Progress(progress), &facts, Timestamp::now());
        next.growth = Some(growth);
        self.write(&previous, next).await
    }

    /// Puts on record that nothing came of an intent, and that what is there is somebody else's.
    pub(super) async fn withdraw(&self) -> Result<(), TopicError> {
        // Forgotten first: whether or not the API server takes it, no attempt was made.
        self.forget_intent();
        let status = self.context.topic_memories.status(self.topic);
        self.write(&status, status.clone()).await
    }

    /// Nothing came of an intent: the next status that is written is without it.
    pub(super) fn forget_intent(&self) {
        let mut status = self.context.topic_memories.status(self.topic);
        status.intent = None;
        self.memory(|memory| {
            memory.status = Some(status);
            memory.unsaved = true;
        });
    }

    /// Reports an outcome that lasts until something changes.
    pub(super) async fn rest(
        &self,
        outcome: Outcome,
        adopted: Option<bool>,
        seen: Option<&Seen<'_>>,
    ) -> Result<Action, TopicError> {
        self.report(outcome, adopted, seen).await?;
        self.memory(|memory| {
            memory.attempts = 0;
            memory.created = memory.created.filter(|_| seen.is_none_or(|seen| seen.topic.is_none()));
            memory.handled = seen.map(|seen| digest(seen.topic.as_ref(), seen.health));
        });
        Ok(Action::await_change())
    }

    pub(super) async fn report(
        &self,
        outcome: Outcome,
        adopted: Option<bool>,
        seen: Option<&Seen<'_>>,
    ) -> Result<(), TopicError> {
        let previous = self.context.topic_memories.status(self.topic);
        let keys = match outcome {
            Outcome::InSync | Outcome::Paused => {
                self.topic.spec.config.iter().flatten().map(|(key, _)| key.clone()).collect()
            }
            // Not the spec's: one that was never set is not to be reset later.
            _ => self.owned_keys(&previous),
        };
        let mut facts = self.facts(keys, adopted, seen);
        if let Outcome::Stalled(refusal) = &outcome {
            // What stalls for being somebody else's, or not being there, has nothing of its own to show.
            let id = facts.topic.map(|(topic, _)| topic.id.to_string());
            if previous.topic_id != id {
                facts.topic = None;
            }
            let news = !previous.conditions.iter().any(|old| old.type_ == STALLED && old.message == refusal.message);
            if news {
                self.context.events.warning(&self.about, &refusal.reason, "Reconcile", refusal.message.clone()).await;
            }
        }
        let next = status(&previous, &outcome, &facts, Timestamp::now());
        self.write(&previous, next).await
    }

    pub(super) fn owned_keys(&self, status: &KafkaTopicStatus) -> Vec<String> {
        self.memory(|memory| memory.remembered(status, Instant::now())).owned_keys.into_iter().collect()
    }

    pub(super) fn facts<'a>(
        &'a self,
        keys: Vec<String>,
        adopted: Option<bool>,
        seen: Option<&'a Seen<'_>>,
    ) -> Facts<'a> {
        Facts {
            generation: self.topic.metadata.generation,
            name: self.topic.topic_name(),
            cluster_id: seen.map(|seen| seen.cluster_id.clone()),
            topic: seen.and_then(|seen| Some((seen.topic.as_ref()?, seen.health))),
            keys,
            adopted,
        }
    }

    /// Writes a status that differs from what was written last.
    pub(super) async fn write(&self, previous: &KafkaTopicStatus, next: KafkaTopicStatus) -> Result<(), TopicError> {
        let labels = TopicLabels::of(&self.topic.metadata);
        self.context.metrics.resources.topic_ready(&labels, is_true(&next.conditions, READY));
        if *previous == next && !self.memory(|memory| memory.unsaved) {
            return Ok(());
        }
        apply_status(&self.context.client, self.topic, &next)
            .await
            .map_err(|error| TopicError::Kubernetes { doing: "writing the status", source: Box::new(error) })?;
        self.context.metrics.status_written(Kind::Topic);
        self.memory(|memory| {
            memory.status = Some(next);
            memory.unsaved = false;
        });
        Ok(())
    }

    /// Counts a failure, and reports it when it lasts or when nobody has heard of this generation yet.
    pub(super) async fn trouble(&self, error: &TopicError) {
        let attempts = self.memory(|memory| {
            memory.attempts = memory.attempts.saturating_add(1);
            memory.attempts
        });
        let previous = self.context.topic_memories.status(self.topic);
        let settled =
            previous.observed_generation == self.topic.metadata.generation && is_true(&previous.conditions, READY);
        if settled && attempts < PATIENCE {
            return;
        }
        let next = status(
            &previous,
            &Outcome::Progress(error.refusal()),
            &self.facts(Vec::new(), None, None),
            Timestamp::now(),
        );
        if let Err(error) = self.write(&previous, next).await {
            tracing::debug!(%error, "trouble was not reported");
        }
    }

    pub(super) fn memory<R>(&self, work: impl FnOnce(&mut Memory) -> R) -> R {
        self.context.topic_memories.with(self.topic.metadata.uid.as_deref().unwrap_or_default(), work)
    }
}
