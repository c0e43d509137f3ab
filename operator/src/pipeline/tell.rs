//! What is told of a pipeline: its status, Events and metrics.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use tidegate_crds::{
    EventPipelineStatus,
    conditions::{READY, RECONCILING, STALLED},
    pipeline::Processor,
};

use super::{
    PipelineError,
    build::object_name,
    controller::One,
    once, pods,
    report::{Outcome, View, rescaled, status, view},
};
use crate::{conditions::is_true, scaling};

impl One<'_> {
    /// Reports; the processors all of whose pods are as they should be.
    pub(super) async fn report(
        &self,
        outcome: Outcome,
        kept: BTreeMap<String, i32>,
        config_hash: Option<String>,
    ) -> Result<BTreeSet<String>, PipelineError> {
        let previous = self.context.pipeline_memories.status(self.pipeline);
        let mut views = self.views(&kept);
        for view in &mut views {
            let Some(replay) = once::active(&previous.replays, &view.line.name) else { continue };
            let why = replay.message.as_deref().unwrap_or("it is under way");
            (view.settled, view.trouble) = (false, Some(format!("replay {}: {why}", replay.id)));
        }
        let unsettled = |view: &&mut View| !view.settled && view.trouble.is_none();
        for view in views.iter_mut().filter(unsettled).filter(|_| matches!(outcome, Outcome::Applied(_))) {
            view.trouble = pods::trouble(self.context, self.pipeline, &view.line.name).await;
        }
        let next = status(self.pipeline, &previous, &outcome, &views, config_hash, Timestamp::now());
        self.show(is_true(&next.conditions, READY));
        self.tell(&outcome, &previous, &next).await;
        self.write(&previous, next).await?;
        Ok(views.into_iter().filter(|view| view.settled).map(|view| view.line.name).collect())
    }

    /// In the metrics.
    fn show(&self, ready: bool) {
        self.context.pipeline_memories.with(self.uid(), |memory| {
            memory.objectives = self.context.metrics.resources.pipeline(self.pipeline, ready, &memory.objectives);
        });
    }

    pub(super) fn views(&self, kept: &BTreeMap<String, i32>) -> Vec<View> {
        let namespace = self.pipeline.metadata.namespace.as_deref().unwrap_or_default();
        let of = |processor: &Processor| {
            let name = object_name(self.pipeline, &processor.name);
            let deployment = self.context.children.deployment(namespace, &name);
            let key = ("Deployment", name);
            let mark = self.context.pipeline_memories.with(self.uid(), |memory| memory.applied.get(&key).cloned());
            let reading = self.context.readings.shown(self.uid(), &processor.name);
            let before = kept.get(&processor.name).copied();
            let mark = mark.as_ref().map(|(_, mark)| mark.as_str());
            let mut view = view(processor, deployment.as_deref(), mark, reading.as_deref(), before);
            view.line.scaling = scaling::status(self.context, self.pipeline, processor);
            view
        };
        self.pipeline.spec.processors.iter().map(of).collect()
    }

    /// Events: what is refused, once; what became ready, once; another number of pods.
    async fn tell(&self, outcome: &Outcome, previous: &EventPipelineStatus, next: &EventPipelineStatus) {
        for (name, scaling) in rescaled(previous, next) {
            let note = format!("processor {name}: {}", scaling.message);
            self.context.events.normal(&self.about, &scaling.reason, "Scale", note).await;
        }
        let said = |status: &EventPipelineStatus, type_: &str| {
            let found =
                status.conditions.iter().find(|condition| condition.type_ == type_ && condition.status == "True");
            found.map(|condition| (condition.reason.clone(), condition.message.clone()))
        };
        match outcome {
            Outcome::Refused(refusal) if said(previous, STALLED) != said(next, STALLED) => {
                self.context.events.warning(&self.about, &refusal.reason, "Validate", refusal.message.clone()).await;
            }
            Outcome::Waiting(refusal) if said(previous, RECONCILING) != said(next, RECONCILING) => {
                self.context.events.normal(&self.about, &refusal.reason, "Wait", refusal.message.clone()).await;
            }
            Outcome::Applied(_) => {
                let (before, now) = (said(previous, READY).map(|(reason, _)| reason), said(next, READY));
                if let Some((reason, message)) = now.filter(|(reason, _)| before.as_ref() != Some(reason)) {
                    self.context.events.normal(&self.about, &reason, "Run", message).await;
                }
            }
            _ => {}
        }
    }
}
