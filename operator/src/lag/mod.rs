//! Group offsets -> lag, retry depth and dead letters -> status and metrics. All groups of a cluster are read together, in a number of
//! requests that depends on the brokers and not on the groups.

mod compute;
mod probes;
mod read;
mod readings;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Instant,
};

use kube::runtime::reflector::ObjectRef;
use tidegate_crds::{EventPipeline, pipeline::Processor};

pub use self::readings::{PartitionReading, RATE_WINDOW, Reading, Readings};
use self::{
    probes::Probes,
    read::{Wanted, read},
};
use crate::{
    context::Context,
    metrics::{DeadLetterLabels, ProcessorLabels},
    scaling,
};

/// What the metrics show.
#[derive(Default)]
struct Series {
    processors: BTreeSet<ProcessorLabels>,
    dead_letters: BTreeSet<DeadLetterLabels>,
}

/// Runs a cycle per interval, for ever.
pub async fn run(context: Arc<Context>) {
    let mut published = Series::default();
    let mut probes = BTreeMap::new();
    loop {
        tokio::time::sleep(context.config.lag_interval).await;
        let (mut news, now) = cycle(&context, &mut probes).await;
        for gone in published.processors.difference(&now.processors) {
            context.metrics.lag(gone, None);
            context.metrics.retry(gone, None);
        }
        for gone in published.dead_letters.difference(&now.dead_letters) {
            context.metrics.dead_letters(gone, None);
        }
        published = now;
        news.extend(scaling::cycle(&context));
        for pipeline in news {
            let _ = context.pipeline_triggers.send(pipeline);
        }
    }
}

/// Reads all groups; the pipelines whose status is to show something else, and the series that there are.
async fn cycle(context: &Context, probes: &mut BTreeMap<String, Probes>) -> (Vec<ObjectRef<EventPipeline>>, Series) {
    let (mut news, mut series) = (Vec::new(), Series::default());
    let mut exist = BTreeSet::new();
    for (connection, gateway) in &context.connections {
        let consuming = consuming(context, connection);
        exist.extend(consuming.iter().map(|(pipeline, wanted)| key(pipeline, wanted)));
        if consuming.is_empty() {
            continue;
        }
        let probes = probes.entry(connection.clone()).or_default();
        let (pipelines, wanted): (Vec<_>, Vec<_>) = consuming.into_iter().unzip();
        let readings = read(gateway.admin(), &wanted, probes).await;
        let now = Instant::now();
        for ((pipeline, wanted), reading) in pipelines.iter().zip(&wanted).zip(readings) {
            publish(context, pipeline, wanted, &reading, &mut series);
            if context.readings.take(key(pipeline, wanted), reading, now) {
                news.push(ObjectRef::from_obj(pipeline.as_ref()));
            }
        }
    }
    context.readings.retain(|key| exist.contains(key));
    (news, series)
}

fn publish(context: &Context, pipeline: &EventPipeline, wanted: &Wanted, reading: &Reading, series: &mut Series) {
    let of = |name: &Option<String>| name.clone().unwrap_or_default();
    let (namespace, name) = (of(&pipeline.metadata.namespace), of(&pipeline.metadata.name));
    if let Some(topic) = &wanted.dead_letters {
        let labels = DeadLetterLabels { namespace: namespace.clone(), pipeline: name.clone(), topic: topic.clone() };
        context.metrics.dead_letters(&labels, reading.dead_letters);
        series.dead_letters.insert(labels);
    }
    let labels = ProcessorLabels { namespace, pipeline: name, processor: wanted.processor.clone() };
    context.metrics.lag(&labels, reading.lag);
    context.metrics.retry(&labels, reading.retry);
    series.processors.insert(labels);
}

fn key(pipeline: &EventPipeline, wanted: &Wanted) -> (String, String) {
    (pipeline.metadata.uid.clone().unwrap_or_default(), wanted.processor.clone())
}

/// The processors that consume on a connection, each with its pipeline.
fn consuming(context: &Context, connection: &str) -> Vec<(Arc<EventPipeline>, Wanted)> {
    let of = |pipeline: Arc<EventPipeline>| {
        let wanted = pipeline.spec.processors.iter().filter_map(wanted);
        wanted.map(|wanted| (pipeline.clone(), wanted)).collect::<Vec<_>>()
    };
    let here = context.pipelines.state_filter(|pipeline| pipeline.spec.connection() == connection);
    here.into_iter().flat_map(of).collect()
}

fn wanted(processor: &Processor) -> Option<Wanted> {
    Some(Wanted {
        processor: processor.name.clone(),
        consumes: processor.consumes.clone()?,
        retries: processor.retry_topics().into_iter().map(|(_, topic)| topic).collect(),
        dead_letters: processor.dead_letter.as_ref().map(|dead_letter| dead_letter.topic.clone()),
    })
}
