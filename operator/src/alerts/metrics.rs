//! What the rules and dashboards need to know of resources beside lag: readiness, objectives, and the health of topics.

use std::{collections::BTreeSet, sync::atomic::AtomicU64};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{family::Family, gauge::Gauge},
    registry::Registry,
};
use tidegate_crds::EventPipeline;

use crate::{metrics::ProcessorLabels, topic::health::Health};

/// An EventPipeline.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, EncodeLabelSet)]
pub struct PipelineLabels {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub pipeline: String,
}

/// A KafkaTopic.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, EncodeLabelSet)]
pub struct TopicLabels {
    /// Its namespace.
    pub namespace: String,
    /// Its name, which may differ from the topic's in Kafka.
    pub name: String,
}

/// Gauges of resources. Clones are one.
#[derive(Clone, Debug, Default)]
pub struct ResourceMetrics {
    pipeline_ready: Family<PipelineLabels, Gauge>,
    objective: Family<ProcessorLabels, Gauge<f64, AtomicU64>>,
    topic_ready: Family<TopicLabels, Gauge>,
    under_replicated: Family<TopicLabels, Gauge>,
    under_min_isr: Family<TopicLabels, Gauge>,
    offline: Family<TopicLabels, Gauge>,
}

impl ResourceMetrics {
    /// Adds them to a registry.
    pub fn register(&self, registry: &mut Registry) {
        let ready = self.pipeline_ready.clone();
        registry.register("tidegate_pipeline_ready", "1 while an EventPipeline is Ready", ready);
        let objective = self.objective.clone();
        registry.register("tidegate_processor_lag_objective_seconds", "How far behind a processor may be", objective);
        let topics = [
            ("ready", "1 while a KafkaTopic is Ready", &self.topic_ready),
            ("under_replicated_partitions", "Partitions with a replica out of sync", &self.under_replicated),
            (
                "under_min_isr_partitions",
                "Partitions with too few replicas in sync to take writes",
                &self.under_min_isr,
            ),
            ("offline_partitions", "Partitions without a leader", &self.offline),
        ];
        for (name, help, family) in topics {
            registry.register(format!("tidegate_topic_{name}"), help, family.clone());
        }
    }

    /// Forgets all: another process looks after them.
    pub fn forget(&self) {
        self.pipeline_ready.clear();
        self.objective.clear();
        for family in [&self.topic_ready, &self.under_replicated, &self.under_min_isr, &self.offline] {
            family.clear();
        }
    }

    /// Says whether a pipeline is Ready, and what its processors' objectives are. `before`: processors that had one.
    pub fn pipeline(&self, pipeline: &EventPipeline, ready: bool, before: &BTreeSet<String>) -> BTreeSet<String> {
        let labels = labels_of(pipeline);
        self.pipeline_ready.get_or_create(&labels).set(i64::from(ready));
        let mut now = BTreeSet::new();
        for processor in pipeline.spec.processors.iter().filter(|processor| processor.consumes.is_some()) {
            let objective = processor.lag().objective().as_secs_f64();
            self.objective.get_or_create(&labels.processor(&processor.name)).set(objective);
            now.insert(processor.name.clone());
        }
        for gone in before.difference(&now) {
            self.objective.remove(&labels.processor(gone));
        }
        now
    }

    /// A pipeline is gone, with its processors.
    pub fn pipeline_gone(&self, pipeline: &EventPipeline, processors: &BTreeSet<String>) {
        let labels = labels_of(pipeline);
        self.pipeline_ready.remove(&labels);
        for processor in processors {
            self.objective.remove(&labels.processor(processor));
        }
    }

    /// Says whether a KafkaTopic is Ready.
    pub fn topic_ready(&self, labels: &TopicLabels, ready: bool) {
        self.topic_ready.get_or_create(labels).set(i64::from(ready));
    }

    /// Says how a topic's partitions are.
    pub fn topic_health(&self, labels: &TopicLabels, health: Health) {
        self.under_replicated.get_or_create(labels).set(health.under_replicated.into());
        self.under_min_isr.get_or_create(labels).set(health.under_min_isr.into());
        self.offline.get_or_create(labels).set(health.offline.into());
    }

    /// A KafkaTopic is gone.
    pub fn topic_gone(&self, labels: &TopicLabels) {
        for family in [&self.topic_ready, &self.under_replicated, &self.under_min_isr, &self.offline] {
            family.remove(labels);
        }
    }
}

fn labels_of(pipeline: &EventPipeline) -> PipelineLabels {
    let of = |value: &Option<String>| value.clone().unwrap_or_default();
    PipelineLabels { namespace: of(&pipeline.metadata.namespace), pipeline: of(&pipeline.metadata.name) }
}

impl PipelineLabels {
    fn processor(&self, name: &str) -> ProcessorLabels {
        ProcessorLabels {
            namespace: self.namespace.clone(),
            pipeline: self.pipeline.clone(),
            processor: name.to_owned(),
        }
    }
}

impl TopicLabels {
    /// Those of a resource.
    pub fn of(metadata: &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta) -> Self {
        let of = |value: &Option<String>| value.clone().unwrap_or_default();
        Self { namespace: of(&metadata.namespace), name: of(&metadata.name) }
    }
}
