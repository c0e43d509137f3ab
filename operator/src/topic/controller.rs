//! The shell around the plan of a KafkaTopic: what is read and written, in which order, and when next.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use kube::{Resource, runtime::controller::Action};
use tidegate_crds::{
    KafkaTopic,
    conditions::{READY, STALLED},
    topic::{DeletionPolicy, TopicIntent},
};
use tidegate_kafka::NewTopic;

use super::{
    apply::{self, ApplyError, Created, Extent},
    claims::{self, Claim},
    delete,
    desired::Desired,
    error::{Stop, TopicError},
    growing,
    memory::Refused,
    plan::{Change, Observed, Plan, Refusal, plan},
    record::{One, Seen},
    report::{Outcome, in_words},
};
use crate::{
    alerts::metrics::TopicLabels,
    backoff::{Backoff, RECONCILE},
    conditions::is_true,
    context::Context,
    metrics::Kind,
};

/// For what is expected to be done in a moment.
const SOON: Backoff = Backoff { base: Duration::from_millis(200), cap: Duration::from_secs(10) };

/// Brings one topic closer to its resource.
///
/// # Errors
/// What may pass by itself; [`on_error`] says when to try again.
pub async fn reconcile(topic: Arc<KafkaTopic>, context: Arc<Context>) -> Result<Action, TopicError> {
    context.filling.done().await;
    let _busy = context.busy.enter();
    let started = Instant::now();
    let one = One { topic: &topic, context: &context, about: topic.object_ref(&()) };
    let result = one.reconcile().await;
    if let Err(error) = &result {
        one.trouble(error).await;
    }
    let stalled = context.topic_memories.status(&topic).conditions;
    let outcome = match &result {
        Ok(_) if is_true(&stalled, STALLED) => "stalled",
        Ok(_) => "ok",
        Err(error) => error.outcome(),
    };
    context.metrics.reconciled(Kind::Topic, outcome, started.elapsed().as_secs_f64());
    result
}

/// When to try again after an error.
pub fn on_error(topic: Arc<KafkaTopic>, error: &TopicError, context: Arc<Context>) -> Action {
    let uid = topic.metadata.uid.as_deref().unwrap_or_default();
    let attempts = context.topic_memories.with(uid, |memory| memory.attempts);
    let delay = RECONCILE.after(attempts);
    tracing::warn!(
        namespace = topic.metadata.namespace, name = topic.metadata.name, attempts, delay_ms = delay.as_millis() as u64, %error,
        "a topic could not be reconciled"
    );
    Action::requeue(delay)
}

/// The claims to a topic, this resource's included.
pub async fn claims_of(context: &Context, topic: &KafkaTopic) -> Vec<Claim> {
    let name = topic.topic_name();
    let cluster = cluster_of(context, topic.connection()).await;
    let mut claims = Vec::new();
    for other in context.topics.state_filter(|other| other.topic_name() == name) {
        let same = other.connection() == topic.connection()
            || (cluster.is_some() && cluster_of(context, other.connection()).await == cluster);
        if same {
            let recorded = context.topic_memories.status(&other).topic_id;
            claims.push(Claim { topic_id: recorded, ..Claim::of(&other) });
        }
    }
    // What is watched may be behind what is being worked on.
    if !claims.iter().any(|claim| Some(&claim.uid) == topic.metadata.uid.as_ref()) {
        claims.push(Claim::of(topic));
    }
    claims
}

async fn cluster_of(context: &Context, connection: &str) -> Option<String> {
    context.connections.get(connection)?.known().await.map(|(id, _)| id)
}

impl One<'_> {
    async fn reconcile(&self) -> Result<Action, TopicError> {
        if self.topic.metadata.deletion_timestamp.is_some() {
            delete::finish(self.context, self.topic, &self.about).await?;
            return Ok(Action::await_change());
        }
        delete::hold(self.context, self.topic, self.topic.spec.deletion_policy() == DeletionPolicy::Delete).await?;

        let Some(gateway) = self.context.connections.get(self.topic.connection()) else {
            let message = format!(
                "the operator has no Kafka connection {}; it has {}. Name one of them in a new KafkaTopic, or install the \
                 operator with this one",
                self.topic.connection(),
                self.context.connection_names()
            );
            return self.rest(Outcome::Stalled(Refusal::new("UnknownConnection", message)), None, None).await;
        };
        let cluster_id = gateway.cluster_id().await?;
        let sighting = gateway.observe(self.topic.topic_name()).await?;
        let now = Instant::now();
        let (health, missing) = self.memory(|memory| memory.note(&sighting, now));
        self.context.metrics.resources.topic_health(&TopicLabels::of(&self.topic.metadata), health);
        let topic = sighting.map(|(observation, _)| observation);
        let seen = Seen { gateway, cluster_id, topic, health };

        if let Some(refusal) = self.conflict(&seen).await {
            return self.rest(Outcome::Stalled(refusal), None, Some(&seen)).await;
        }
        let desired = match Desired::from_resource(self.topic, self.ordered_consumers()) {
            Ok(desired) => desired,
            Err(refusal) => return self.rest(Outcome::Stalled(refusal), None, Some(&seen)).await,
        };
        let status = self.context.topic_memories.status(self.topic);
        let remembered = self.memory(|memory| memory.remembered(&status, now));
        let observed = seen.topic.clone().map_or(Observed::Missing(missing), Observed::Present);
        let adopted = seen.topic.as_ref().map(|present| {
            is_true(&status.conditions, tidegate_crds::conditions::ADOPTED)
                || (remembered.topic_id != Some(present.id) && !remembered.creating)
        });
        match plan(&desired, &remembered, &observed) {
            Plan::InSync if desired.paused => self.rest(Outcome::Paused, adopted, Some(&seen)).await,
            Plan::InSync => self.rest(Outcome::InSync, adopted, Some(&seen)).await,
            Plan::Hold(differences) => self.rest(Outcome::Held(differences), adopted, Some(&seen)).await,
            Plan::Refuse(refusal) => self.rest(Outcome::Stalled(refusal), None, Some(&seen)).await,
            // No news: either the status says Creating already, or a broker is behind the others for a moment.
            Plan::Wait(refusal) => {
                tracing::debug!(topic = desired.name, reason = refusal.reason, "waiting");
                Ok(self.soon())
            }
            work @ (Plan::Create(_) | Plan::Change(_)) => self.work(work, &desired, adopted, &seen).await,
        }
    }

    async fn work(
        &self,
        plan: Plan,
        desired: &Desired,
        adopted: Option<bool>,
        seen: &Seen<'_>,
    ) -> Result<Action, TopicError> {
        let brokers = seen.gateway.known().await.map_or(0, |(_, brokers)| brokers);
        let refused = self.memory(|memory| memory.refused.clone());
        if let Some(refused) = refused.filter(|refused| refused.plan == plan && refused.brokers == brokers) {
            return self.rest(Outcome::Stalled(refused.refusal), adopted, Some(seen)).await;
        }
        let result = match &plan {
            Plan::Create(topic) => self.create(topic.clone(), seen).await,
            Plan::Change(change) => match self.before_growth(change, desired, seen).await {
                Ok(Some(action)) => return Ok(action),
                Ok(None) => self.change(change, desired, adopted, seen).await,
                Err(stop) => Err(stop),
            },
            _ => Ok(()),
        };
        match result {
            Ok(()) => {
                self.memory(|memory| memory.refused = None);
                Ok(self.soon())
            }
            Err(Stop::Refused(refusal, extent)) => {
                if extent == Extent::Nothing {
                    self.forget_intent();
                }
                let refused = Refused { plan, brokers, refusal: refusal.clone() };
                self.memory(|memory| memory.refused = Some(refused));
                self.rest(Outcome::Stalled(refusal), None, Some(seen)).await
            }
            Err(Stop::Error(error)) => Err(error),
        }
    }

    async fn create(&self, topic: NewTopic, seen: &Seen<'_>) -> Result<(), Stop> {
        let config_keys = topic.configs.keys().cloned().collect();
        let (name, partitions, replicas) = (topic.name.clone(), topic.partitions, topic.replication_factor);
        let progress = Refusal::new("Creating", format!("creating topic {name}"));
        let tried_before = self.context.topic_memories.status(self.topic).intent.is_some_and(|intent| intent.create);
        self.intend(TopicIntent { create: true, config_keys }, progress, None, seen).await?;
        let created = apply::create(seen.gateway, topic).await;
        if created.as_ref().is_err_and(ApplyError::changed_nothing) {
            self.forget_intent();
        }
        match created? {
            Created::Now(id) => {
                self.memory(|memory| memory.created = Some((id, Instant::now())));
                let note = format!("created topic {name} with {partitions} partitions and {replicas} replicas");
                self.context.events.normal(&self.about, "Created", "Create", note).await;
            }
            // Of the attempt before, whose answer nobody has heard.
            Created::Before if tried_before => {}
            // Somebody else's, of which the broker that was asked had not heard: the policy on adoption decides, once it is seen.
            Created::Before => self.withdraw().await?,
        }
        Ok(())
    }

    async fn change(
        &self,
        change: &Change,
        desired: &Desired,
        adopted: Option<bool>,
        seen: &Seen<'_>,
    ) -> Result<(), Stop> {
        let before = self.context.topic_memories.status(self.topic);
        let drift = before.observed_generation == self.topic.metadata.generation
            && before.topic_id.is_some()
            && is_true(&before.conditions, READY);
        let words = in_words(&change.differences);
        let (reason, doing) = if drift { ("RevertingDrift", "putting back") } else { ("Changing", "changing") };
        let config_keys = change.config.set.keys().chain(&change.config.reset).cloned().collect();
        let intent = TopicIntent { create: false, config_keys };
        self.intend(intent, Refusal::new(reason, format!("{doing}: {words}")), adopted, seen).await?;
        apply::change(seen.gateway, &desired.name, change).await?;
        if drift {
            self.context.events.warning(&self.about, "DriftReverted", "Revert", format!("put back: {words}")).await;
        } else {
            self.context.events.normal(&self.about, "Changed", "Change", format!("changed: {words}")).await;
        }
        Ok(())
    }

    /// Another resource that holds the topic.
    async fn conflict(&self, seen: &Seen<'_>) -> Option<Refusal> {
        let claims = claims_of(self.context, self.topic).await;
        let holder = claims::holder(&claims, seen.topic.as_ref().map(|topic| topic.id))?;
        (Some(&holder.uid) != self.topic.metadata.uid.as_ref()).then(|| {
            Refusal::new(
                "Conflict",
                format!(
                    "topic {} of this Kafka cluster belongs to KafkaTopic {}; delete one of the two (this one takes over when \
                     the other goes)",
                    self.topic.topic_name(),
                    holder.resource
                ),
            )
        })
    }

    /// Processors that rely on the order of the topic's records.
    fn ordered_consumers(&self) -> Vec<String> {
        let mut consumers = Vec::new();
        for pipeline in growing::pipelines(self.context, self.topic) {
            let ordered = growing::reading(&pipeline, self.topic).filter(|(_, consumes)| consumes.ordered());
            consumers.extend(ordered.map(|(processor, _)| growing::name(&pipeline, processor)));
        }
        consumers.sort();
        consumers
    }

    fn soon(&self) -> Action {
        let attempts = self.memory(|memory| {
            memory.attempts = memory.attempts.saturating_add(1);
            memory.attempts
        });
        Action::requeue(SOON.after(attempts))
    }
}
