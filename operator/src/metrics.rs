//! What the operator counts. Labels are bounded: kinds, outcomes, names of resources; never a uid or an error's text.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::Hash,
    sync::{Arc, Mutex, PoisonError},
};

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};
use tidegate_kafka::RequestMetrics;

use crate::{alerts::metrics::ResourceMetrics, config::MetricsConfig, lag::Series};

/// Kind of the resource that a figure is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// KafkaTopic.
    Topic,
    /// EventPipeline.
    Pipeline,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Topic => "KafkaTopic",
            Self::Pipeline => "EventPipeline",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabels {
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    kind: &'static str,
    outcome: &'static str,
}

/// A consumer group of a processor.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, EncodeLabelSet)]
pub struct ProcessorLabels {
    /// Namespace of the EventPipeline.
    pub namespace: String,
    /// Its name.
    pub pipeline: String,
    /// The processor's name.
    pub processor: String,
}

/// Pods of a processor.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, EncodeLabelSet)]
pub struct ReplicaLabels {
    namespace: String,
    pipeline: String,
    processor: String,
    kind: &'static str,
}

impl ReplicaLabels {
    /// `kind`: desired, ready or max.
    pub fn new(processor: &ProcessorLabels, kind: &'static str) -> Self {
        let ProcessorLabels { namespace, pipeline, processor } = processor.clone();
        Self { namespace, pipeline, processor, kind }
    }
}

/// All metrics. Clones count together.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Arc<Registry>,
    reconciles: Family<OutcomeLabels, Counter>,
    seconds: Family<KindLabels, Histogram>,
    status_writes: Family<KindLabels, Counter>,
    drift_cycles: Counter,
    leader: Gauge,
    /// Lag, for as long as the leadership lasts that reads it.
    pub lag: Series,
    replicas: Whole<ReplicaLabels>,
    saturated: Whole<ProcessorLabels>,
    /// Requests made of Kafka.
    pub kafka: RequestMetrics,
    /// Readiness, objectives and health of resources.
    pub resources: ResourceMetrics,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new(&MetricsConfig::default())
    }
}

impl Metrics {
    /// All of them, at nothing.
    pub fn new(config: &MetricsConfig) -> Self {
        let mut registry = Registry::default();
        let metrics = Self {
            registry: Arc::default(),
            reconciles: Family::default(),
            seconds: Family::new_with_constructor(|| Histogram::new(exponential_buckets(0.002, 2.0, 14))),
            status_writes: Family::default(),
            drift_cycles: Counter::default(),
            leader: Gauge::default(),
            lag: Series::default().as_kafka_exporter(config.kafka_exporter_names),
            replicas: Whole::default(),
            saturated: Whole::default(),
            kafka: RequestMetrics::default(),
            resources: ResourceMetrics::default(),
        };
        registry.register(
            "tidegate_reconciles",
            "Reconciliations by kind and outcome (ok, stalled, transient, bug)",
            metrics.reconciles.clone(),
        );
        registry.register("tidegate_reconcile_seconds", "Time of a reconciliation by kind", metrics.seconds.clone());
        registry.register("tidegate_status_writes", "Statuses written by kind", metrics.status_writes.clone());
        registry.register(
            "tidegate_drift_cycles",
            "Times that every topic was compared with its resource",
            metrics.drift_cycles.clone(),
        );
        registry.register("tidegate_leader", "1 while this process holds the lease", metrics.leader.clone());
        registry.register_collector(Box::new(metrics.lag.clone()));
        registry.register(
            "tidegate_processor_replicas",
            "Pods of a processor: that there are to be (desired), that are ready, and that scaling may start at most (max)",
            metrics.replicas.family.clone(),
        );
        registry.register(
            "tidegate_processor_scaling_saturated",
            "1 while a processor's backlog needs more pods than scaling.max or the partitions allow, otherwise 0",
            metrics.saturated.family.clone(),
        );
        metrics.kafka.register(&mut registry);
        metrics.resources.register(&mut registry);
        Self { registry: Arc::new(registry), ..metrics }
    }

    /// The Prometheus text.
    ///
    /// # Errors
    /// When a metric cannot be written, which is a defect.
    pub fn text(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }

    /// Counts a reconciliation.
    pub fn reconciled(&self, kind: Kind, outcome: &'static str, seconds: f64) {
        self.reconciles.get_or_create(&OutcomeLabels { kind: kind.name(), outcome }).inc();
        self.seconds.get_or_create(&KindLabels { kind: kind.name() }).observe(seconds);
    }

    /// Counts a status that was written.
    pub fn status_written(&self, kind: Kind) {
        self.status_writes.get_or_create(&KindLabels { kind: kind.name() }).inc();
    }

    /// Counts a cycle over all topics.
    pub fn drift_cycle(&self) {
        self.drift_cycles.inc();
    }

    /// Says whether this process leads.
    pub fn leads(&self, leads: bool) {
        self.leader.set(i64::from(leads));
    }

    /// Forgets what is known of resources: from now on another process looks, and what this one saw last must not be taken for what is.
    /// Lag is shown from readings that go by themselves.
    pub fn forget(&self) {
        self.resources.forget();
        self.replicas(BTreeMap::new());
        self.saturated(BTreeMap::new());
    }

    /// Sets the pods of all processors.
    pub fn replicas(&self, counts: BTreeMap<ReplicaLabels, i64>) {
        self.replicas.say(counts);
    }

    /// Says of all processors with `scaling` whether they need more pods than they may have.
    pub fn saturated(&self, all: BTreeMap<ProcessorLabels, i64>) {
        self.saturated.say(all);
    }
}

/// Series that are all said at once: those that are not said any more go.
#[derive(Clone, Debug)]
struct Whole<L> {
    family: Family<L, Gauge>,
    said: Arc<Mutex<BTreeSet<L>>>,
}

impl<L: Clone + Eq + Hash> Default for Whole<L> {
    fn default() -> Self {
        Self { family: Family::default(), said: Arc::default() }
    }
}

impl<L: Clone + Eq + Hash + Ord> Whole<L> {
    fn say(&self, values: BTreeMap<L, i64>) {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        for gone in said.iter().filter(|labels| !values.contains_key(*labels)) {
            self.family.remove(gone);
        }
        for (labels, value) in &values {
            self.family.get_or_create(labels).set(*value);
        }
        *said = values.into_keys().collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alerts::metrics::TopicLabels;

    #[test]
    fn pods_that_are_not_said_any_more_are_no_series() {
        let metrics = Metrics::default();
        let labels = ProcessorLabels { namespace: "n".into(), pipeline: "p".into(), processor: "q".into() };
        metrics.replicas([(ReplicaLabels::new(&labels, "ready"), 3)].into());
        metrics.saturated([(labels, 1)].into());
        let text = metrics.text().unwrap();
        for series in [
            r#"tidegate_processor_replicas{namespace="n",pipeline="p",processor="q",kind="ready"} 3"#,
            r#"tidegate_processor_scaling_saturated{namespace="n",pipeline="p",processor="q"} 1"#,
        ] {
            assert!(text.contains(series), "{text}");
        }
        metrics.replicas(BTreeMap::new());
        metrics.saturated(BTreeMap::new());
        assert!(!metrics.text().unwrap().contains(r#"processor="q""#));
    }

    #[test]
    fn who_does_not_lead_any_more_shows_nothing_of_resources() {
        let metrics = Metrics::default();
        let labels = ProcessorLabels { namespace: "n".into(), pipeline: "p".into(), processor: "q".into() };
        metrics.saturated([(labels, 1)].into());
        let topic = TopicLabels { namespace: "n".into(), name: "t".into() };
        metrics.resources.topic_ready(&topic, true);
        assert!(metrics.text().unwrap().contains(r#"tidegate_topic_ready{namespace="n",name="t"} 1"#));
        metrics.forget();
        let text = metrics.text().unwrap();
        assert!(!text.contains(r#"namespace="n""#), "{text}");
    }

    #[test]
    fn counters_carry_their_kind() {
        let metrics = Metrics::default();
        metrics.reconciled(Kind::Topic, "ok", 0.01);
        metrics.status_written(Kind::Pipeline);
        let text = metrics.text().unwrap();
        assert!(text.contains(r#"tidegate_reconciles_total{kind="KafkaTopic",outcome="ok"} 1"#), "{text}");
        assert!(text.contains(r#"tidegate_status_writes_total{kind="EventPipeline"} 1"#), "{text}");
    }
}
