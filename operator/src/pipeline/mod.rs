//! EventPipeline: resolve -> validate -> build -> apply -> observe -> report.

mod apply;
pub(crate) mod build;
pub mod children;
mod claims;
mod controller;
mod error;
mod failures;
mod holders;
pub mod memory;
pub(crate) mod offsets;
mod once;
pub mod owned;
mod pod;
mod pods;
mod program;
mod record;
pub(crate) mod redrive;
pub mod render;
mod replay;
mod report;
mod resolve;
mod scale;
mod tell;
pub mod users;
mod validate;

use tidegate_crds::{EventPipeline, KafkaTopic, pipeline::Processor};

pub use self::{
    build::object_name,
    controller::{on_error, reconcile},
    error::PipelineError,
    pods::running as running_pods,
};

use crate::context::Context;

/// Whether a pipeline may name a topic: it is of the same namespace, or allows it.
pub fn may_name(topic: &KafkaTopic, pipeline: &EventPipeline) -> bool {
    let namespace = pipeline.metadata.namespace.as_ref();
    topic.metadata.namespace.as_ref() == namespace
        || topic.spec.allowed_namespaces.iter().flatten().any(|allowed| Some(allowed) == namespace)
}

/// Whether a pipeline names a topic of its connection, or wishes for it.
pub fn names(pipeline: &EventPipeline, topic: &KafkaTopic) -> bool {
    let name = topic.topic_name();
    let names = || pipeline.spec.processors.iter().any(|processor| processor.topics().any(|named| named == name));
    pipeline.spec.connection() == topic.connection()
        && (names() || owned::wishes(pipeline).iter().any(|wish| wish.topic == name))
}

/// The topic that a processor writes to and that grows, for which it is stopped meanwhile.
pub fn stopped_for(context: &Context, pipeline: &EventPipeline, processor: &Processor) -> Option<String> {
    let grows = |name: &&String| {
        let topics = context.topics.state_filter(|topic| {
            topic.topic_name() == name.as_str()
                && topic.connection() == pipeline.spec.connection()
                && may_name(topic, pipeline)
        });
        let mut growths = topics.iter().filter_map(|topic| context.topic_memories.status(topic).growth);
        growths.any(|growth| growth.producers_stopped)
    };
    processor.produces.iter().flatten().find(grows).cloned()
}

/// Whether a processor is being replayed.
pub fn is_replayed(context: &Context, pipeline: &EventPipeline, processor: &Processor) -> bool {
    once::active(&context.pipeline_memories.status(pipeline).replays, &processor.name).is_some()
}

/// Whether a pipeline mounts a Secret of its namespace, or keeps it.
pub fn mounts(pipeline: &EventPipeline, secret: &str) -> bool {
    let processors = || pipeline.spec.processors.iter();
    processors().any(|processor| pipeline.kafka_secret(&processor.name) == secret)
        || pipeline.spec.database.as_ref().is_some_and(|database| database.secret_ref.name == secret)
}
