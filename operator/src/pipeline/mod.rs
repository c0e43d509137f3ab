//! EventPipeline: resolve -> validate -> build -> apply -> observe -> report.

pub mod memory;

use tidegate_crds::{EventPipeline, KafkaTopic};

/// Whether a pipeline may name a topic: it is of the same namespace, or allows it.
pub fn may_name(topic: &KafkaTopic, pipeline: &EventPipeline) -> bool {
    let namespace = pipeline.metadata.namespace.as_ref();
    topic.metadata.namespace.as_ref() == namespace
        || topic.spec.allowed_namespaces.iter().flatten().any(|allowed| Some(allowed) == namespace)
}
