//! Lag -> number of pods, for processors with `scaling`: measured ([`measure`]), what a pod can do ([`capacity`]), what the partitions need
//! ([`demand`]), decided ([`decide`]) once in every cycle of the lag engine, and kept ([`Scalers`]) until the pipeline's reconciliation
//! applies it through the scale subresource.

pub mod capacity;
pub mod decide;
pub mod demand;
pub mod measure;
mod observe;
pub mod reason;
mod rivals;
mod scalers;
#[cfg(test)]
mod simulation;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use kube::runtime::reflector::ObjectRef;
use tidegate_crds::{
    EventPipeline,
    pipeline::{Processor, Scaling, ScalingStatus},
};

use self::decide::Rules;
pub use self::{
    rivals::{autoscalers, rivals},
    scalers::Scalers,
};
use crate::{
    context::Context,
    lag::Reading,
    metrics::{ProcessorLabels, ReplicaLabels},
    pipeline::{is_replayed, object_name, stopped_for},
};

/// How often it is looked whether somebody else scales a processor that has `scaling`.
pub const LOOK_FOR_RIVALS: Duration = Duration::from_secs(60);

/// The series of one cycle.
#[derive(Default)]
struct Series {
    replicas: BTreeMap<ReplicaLabels, i64>,
    saturated: BTreeMap<ProcessorLabels, i64>,
}

/// Decides for every processor with `scaling`, by the readings of the cycle that has just ended; the pipelines whose number or status is to
/// change.
pub fn cycle(context: &Context) -> Vec<ObjectRef<EventPipeline>> {
    let (mut news, mut series) = (Vec::new(), Series::default());
    let pipelines = context.pipelines.state();
    for pipeline in pipelines.iter().filter(|pipeline| pipeline.metadata.deletion_timestamp.is_none()) {
        let mut changed = false;
        for processor in &pipeline.spec.processors {
            let namespace = pipeline.metadata.namespace.as_deref().unwrap_or_default();
            let deployment = context.children.deployment(namespace, &object_name(pipeline, &processor.name));
            if let (Some(scaling), Some(deployment)) = (&processor.scaling, &deployment) {
                changed |= step(context, pipeline, processor, scaling, deployment);
            }
            show(context, pipeline, processor, deployment.as_deref(), &mut series);
        }
        if changed {
            news.push(ObjectRef::from_obj(pipeline.as_ref()));
        }
    }
    let scaled = |(uid, name): &(String, String)| {
        let of = |pipeline: &EventPipeline| {
            let named = |processor: &Processor| processor.scaling.is_some() && processor.name == *name;
            pipeline.metadata.uid.as_ref() == Some(uid) && pipeline.spec.processors.iter().any(named)
        };
        pipelines.iter().any(|pipeline| of(pipeline))
    };
    context.scalers.retain(scaled);
    context.metrics.replicas(series.replicas);
    context.metrics.saturated(series.saturated);
    news
}

/// One processor's decision; whether its status is to show something else.
fn step(
    context: &Context,
    pipeline: &EventPipeline,
    processor: &Processor,
    scaling: &Scaling,
    deployment: &Deployment,
) -> bool {
    let uid = pipeline.metadata.uid.clone().unwrap_or_default();
    let key = (uid, processor.name.clone());
    let stopped = || stopped_for(context, pipeline, processor).is_some() || is_replayed(context, pipeline, processor);
    if pipeline.spec.suspend() || stopped() {
        context.scalers.pause(&key);
        return false;
    }
    let reading = latest(context, &key.0, &key.1);
    let measured = reading.map(|reading| observe::measured(processor, deployment, &reading));
    let recorded = recorded(context, pipeline, &processor.name);
    context.scalers.decide(key, recorded.as_ref(), measured.as_ref(), Timestamp::now(), &Rules::from(scaling))
}

fn show(
    context: &Context,
    pipeline: &EventPipeline,
    processor: &Processor,
    deployment: Option<&Deployment>,
    series: &mut Series,
) {
    let of = |name: &Option<String>| name.clone().unwrap_or_default();
    let labels = ProcessorLabels {
        namespace: of(&pipeline.metadata.namespace),
        pipeline: of(&pipeline.metadata.name),
        processor: processor.name.clone(),
    };
    let mut replicas = |kind: &'static str, count: i32| {
        series.replicas.insert(ReplicaLabels::new(&labels, kind), i64::from(count));
    };
    if let Some(deployment) = deployment {
        replicas("desired", deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1));
        replicas("ready", deployment.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or(0));
    }
    let Some(scaling) = &processor.scaling else { return };
    let uid = pipeline.metadata.uid.as_deref().unwrap_or_default();
    let reading = latest(context, uid, &processor.name);
    replicas("max", Rules::from(scaling).most(reading.and_then(|reading| observe::partitions(&reading))));
    let shown = context.scalers.shown(uid, &processor.name);
    if let Some(shown) = shown {
        series.saturated.insert(labels, i64::from(shown.saturated == Some(true)));
    }
}

/// The reading of this cycle, or of one a moment ago.
fn latest(context: &Context, uid: &str, processor: &str) -> Option<Arc<Reading>> {
    let fresh = context.config.lag_interval * 3;
    context.readings.latest(uid, processor).filter(|(_, at)| at.elapsed() < fresh).map(|(reading, _)| reading)
}

/// The number of pods that a processor with `scaling` is to have: as decided, as recorded, as it runs, or as few as may be. `live`: pods of
/// its Deployment.
pub fn wanted(context: &Context, pipeline: &EventPipeline, processor: &Processor, live: Option<i32>) -> Option<i32> {
    let rules = Rules::from(processor.scaling.as_ref()?);
    let decided = context.scalers.desired(pipeline.metadata.uid.as_deref().unwrap_or_default(), &processor.name);
    let recorded = || recorded(context, pipeline, &processor.name).map(|scaling| scaling.desired);
    let number = decided.or_else(recorded).or(live.filter(|live| *live > 0)).unwrap_or_else(|| rules.min.max(1));
    Some(rules.clamp(number, None))
}

/// What a processor's status shows of its scaling.
pub fn status(context: &Context, pipeline: &EventPipeline, processor: &Processor) -> Option<ScalingStatus> {
    processor.scaling.as_ref()?;
    let shown = context.scalers.shown(pipeline.metadata.uid.as_deref().unwrap_or_default(), &processor.name);
    shown.or_else(|| recorded(context, pipeline, &processor.name))
}

fn recorded(context: &Context, pipeline: &EventPipeline, processor: &str) -> Option<ScalingStatus> {
    let status = context.pipeline_memories.status(pipeline);
    status.processors.into_iter().find(|line| line.name == processor)?.scaling
}

/// Time since `then`; none at all when the clock was put back.
fn since(now: Timestamp, then: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(then)).unwrap_or_default()
}
