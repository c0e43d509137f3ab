//! Replays, a step at a time: after everything that the records ask for is applied, one thing is done and put on record.

use k8s_openapi::api::{apps::v1::Deployment, core::v1::ObjectReference};
use tidegate_crds::{
    EventPipeline,
    pipeline::{Processor, ReplayPhase, ReplayStatus},
};

use super::{
    observe::{Surroundings, see},
    perform,
    plan::{Next, plan},
    refusal,
};
use crate::{
    context::Context,
    pipeline::{
        PipelineError,
        build::object_name,
        once::{Turn, action, active, noted, of},
        record,
    },
    scaling::autoscalers,
};

/// Takes a step of every replay. `settled`: whether a processor's pods are as they should be.
///
/// # Errors
/// What the API server said.
pub async fn turn(
    context: &Context,
    pipeline: &EventPipeline,
    about: &ObjectReference,
    settled: impl Fn(&str) -> bool,
) -> Result<Turn, PipelineError> {
    let mut turn = Turn::Rest;
    for processor in &pipeline.spec.processors {
        let one = One { context, pipeline, about, processor };
        turn = turn.max(one.turn(settled(&processor.name)).await?);
    }
    Ok(turn)
}

/// Puts a record into the status, and tells of it.
///
/// # Errors
/// What the API server said.
pub async fn note(
    context: &Context,
    pipeline: &EventPipeline,
    about: &ObjectReference,
    record: ReplayStatus,
) -> Result<(), PipelineError> {
    let previous = context.pipeline_memories.status(pipeline);
    let mut next = previous.clone();
    next.replays = noted(&previous.replays, record.clone());
    let phase = |replays: &[ReplayStatus]| {
        let of = replays.iter().find(|known| (&known.processor, &known.id) == (&record.processor, &record.id));
        of.map(|known| known.phase)
    };
    let news = phase(&previous.replays) != Some(record.phase);
    record::write(context, pipeline, &previous, next).await?;
    if news {
        let (reason, action) = (format!("Replay{:?}", record.phase), action("Replay", &record));
        let text = format!("replay {} of processor {}: {}", record.id, record.processor, told(&record));
        if record.phase == ReplayPhase::Refused {
            context.events.warning(about, &reason, &action, text).await;
        } else {
            context.events.normal(about, &reason, &action, text).await;
        }
    }
    Ok(())
}

fn told(record: &ReplayStatus) -> String {
    match record.phase {
        ReplayPhase::Stopping => "its pods are being stopped".to_owned(),
        ReplayPhase::Moving => "where its group was is on record, and its offsets are being set".to_owned(),
        ReplayPhase::Starting => "its offsets are set, and its pods are being started".to_owned(),
        _ => record.message.clone().unwrap_or_default(),
    }
}

struct One<'a> {
    context: &'a Context,
    pipeline: &'a EventPipeline,
    about: &'a ObjectReference,
    processor: &'a Processor,
}

impl One<'_> {
    async fn turn(&self, settled: bool) -> Result<Turn, PipelineError> {
        let status = self.context.pipeline_memories.status(self.pipeline);
        let records = of(&status.replays, &self.processor.name);
        let under_way = active(&status.replays, &self.processor.name);
        let request = self.processor.replay.as_ref();
        let is_new = request.is_some_and(|request| !records.iter().any(|record| record.id == request.id));
        let Some(gateway) = self.context.connections.get(self.pipeline.spec.connection()) else {
            return Ok(Turn::Rest);
        };
        if under_way.is_none() && !is_new {
            return Ok(Turn::Rest);
        }
        let namespace = self.pipeline.metadata.namespace.as_deref().unwrap_or_default();
        let deployment = object_name(self.pipeline, &self.processor.name);
        let refusal = if under_way.is_none() {
            let scalers = autoscalers(&self.context.client, namespace).await?;
            let scaler = scalers.into_iter().rev().find(|(scaled, _)| *scaled == deployment);
            refusal(self.processor, scaler.map(|(_, who)| who).as_deref())
        } else {
            None
        };
        let around = Surroundings {
            admin: gateway.admin(),
            processor: self.processor,
            refusal,
            pods: self.context.children.deployment(namespace, &deployment).map_or(Some(0), |live| pods(&live)),
            settled,
        };
        let seen = see(&around, &records).await;
        match plan(request, &records, &seen, jiff::Timestamp::now()) {
            Next::Rest => Ok(Turn::Rest),
            Next::Note(record) => {
                note(self.context, self.pipeline, self.about, record).await?;
                Ok(Turn::Again)
            }
            Next::Move(moves) => {
                let group = self.processor.consumes.as_ref().map(|consumes| consumes.group.as_str());
                match perform(gateway.admin(), group.unwrap_or_default(), &moves).await {
                    Ok(()) => Ok(Turn::Again),
                    Err(error) => self.wait(under_way, error).await,
                }
            }
            Next::Wait(why) => self.wait(under_way, why).await,
        }
    }

    /// What is waited for is in the status, once.
    async fn wait(&self, under_way: Option<&ReplayStatus>, why: String) -> Result<Turn, PipelineError> {
        match under_way {
            Some(record) if record.message.as_ref() != Some(&why) => {
                let record = ReplayStatus { message: Some(why), ..record.clone() };
                note(self.context, self.pipeline, self.about, record).await?;
            }
            Some(_) => {}
            None => tracing::info!(processor = self.processor.name, why, "a replay waits"),
        }
        Ok(Turn::Wait)
    }
}

/// Pods that a Deployment has, or is to have; none while what it tells is about an earlier wish.
fn pods(deployment: &Deployment) -> Option<i32> {
    let status = deployment.status.as_ref()?;
    let told = status.observed_generation >= deployment.metadata.generation;
    let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    told.then(|| status.replicas.unwrap_or(0).max(wanted))
}

#[cfg(test)]
mod tests {
    use kube::Resource;
    use serde_json::json;

    use super::*;
    use crate::testing::World;

    #[tokio::test]
    async fn each_refusal_has_an_event_of_its_own_and_a_message_that_changes_has_none() {
        let world = World::new();
        let pipeline: EventPipeline = serde_json::from_value(json!({
            "apiVersion": "tidegate.dev/v1alpha1", "kind": "EventPipeline",
            "metadata": {"name": "wallet", "namespace": "bank", "uid": "u"},
            "spec": {"kafka": {"user": {"secretRef": {"name": "kafka"}}}, "processors": [{
                "name": "ledger", "run": {"wallet": {"role": "LedgerProjector"}},
            }]},
        }))
        .unwrap();
        let about = pipeline.object_ref(&());
        for (id, message) in [("a", "the first"), ("b", "the second"), ("b", "the second, again")] {
            let record = ReplayStatus {
                id: id.into(),
                processor: "ledger".into(),
                phase: ReplayPhase::Refused,
                message: Some(message.into()),
                ..ReplayStatus::default()
            };
            note(&world.context, &pipeline, &about, record).await.unwrap();
        }
        let notes: Vec<String> = world
            .conversation()
            .into_iter()
            .filter(|(line, _)| line.starts_with("POST"))
            .map(|(_, body)| body["note"].as_str().unwrap_or_default().to_owned())
            .collect();
        assert_eq!(notes, ["replay a of processor ledger: the first", "replay b of processor ledger: the second"]);
        let replays = world.context.pipeline_memories.status(&pipeline).replays;
        assert_eq!(replays.last().and_then(|last| last.message.clone()).as_deref(), Some("the second, again"));
    }
}
