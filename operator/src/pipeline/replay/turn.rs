//! Replays, a step at a time: after everything that the records ask for is applied, one thing is done and put on record.

use k8s_openapi::api::{apps::v1::Deployment, core::v1::ObjectReference};
use tidegate_crds::{
    EventPipeline,
    pipeline::{ReplayPhase, ReplayStatus},
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
        once::{Place, Told, Turn, active, of},
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
        let place = Place { context, pipeline, about, processor };
        turn = turn.max(place.replay(settled(&processor.name)).await?);
    }
    Ok(turn)
}

impl Told for ReplayStatus {
    const WHAT: &str = "Replay";

    fn told(&self) -> String {
        match self.phase {
            ReplayPhase::Stopping => "its pods are being stopped".to_owned(),
            ReplayPhase::Moving => "where its group was is on record, and its offsets are being set".to_owned(),
            ReplayPhase::Starting => "its offsets are set, and its pods are being started".to_owned(),
            _ => self.message.clone().unwrap_or_default(),
        }
    }
}

impl Place<'_> {
    async fn replay(&self, settled: bool) -> Result<Turn, PipelineError> {
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
            Next::Note(record) => self.note(record).await,
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
}

/// Pods that a Deployment has, or is to have; none while what it tells is about an earlier wish.
fn pods(deployment: &Deployment) -> Option<i32> {
    let status = deployment.status.as_ref()?;
    let told = status.observed_generation >= deployment.metadata.generation;
    let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    told.then(|| status.replicas.unwrap_or(0).max(wanted))
}
