//! What a consumer counts, per topic.

use std::{sync::Arc, time::Duration};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric},
    metrics::{counter::Counter, family::Family, gauge::ConstGauge, gauge::Gauge, histogram::Histogram},
    registry::Unit,
};

use super::MemberHealth;
use crate::telemetry::Metrics;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Topic {
    topic: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    kind: &'static str,
}

/// The counters of a consumer. Cheap to clone; all clones are one.
#[derive(Clone, Debug)]
pub struct ConsumerMetrics {
    consumed: Family<Topic, Counter>,
    handled: Family<Topic, Counter>,
    repeated: Family<Topic, Counter>,
    lost: Family<Topic, Counter>,
    in_flight: Family<Topic, Gauge>,
    failures: Family<Topic, Counter>,
    panics: Family<Topic, Counter>,
    stopped: Family<Topic, Gauge>,
    assigned: Family<Topic, Gauge>,
    commit_seconds: Family<Topic, Histogram, fn() -> Histogram>,
    rebalances: Family<Kind, Counter>,
    rebalance_seconds: Histogram,
}

fn seconds() -> Histogram {
    Histogram::new([0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0])
}

impl ConsumerMetrics {
    /// Registers them.
    pub fn new(metrics: &Metrics, health: Arc<MemberHealth>) -> Self {
        metrics.register_collector(LastPoll(health));
        let counter = |name: &str, help: &str| metrics.register(&format!("consumer_{name}"), help, Family::default());
        let gauge = |name: &str, help: &str| metrics.register(&format!("consumer_{name}"), help, Family::default());
        Self {
            consumed: counter("records_consumed", "Records taken from the topic."),
            handled: counter("records_handled", "Records handled, their effects committed."),
            repeated: counter("records_repeated", "Records that came again after they were handled."),
            lost: counter("records_lost", "Records that retention removed before they were handled."),
            failures: counter("batch_failures", "Tries of a batch that failed and are repeated."),
            panics: counter("handler_panics", "Tries of a batch in which the handler panicked."),
            in_flight: gauge("records_in_flight", "Records taken and not yet handled."),
            stopped: gauge("partitions_stopped", "Partitions that stand at a record which cannot be handled."),
            assigned: gauge("partitions_assigned", "Partitions that this member owns."),
            commit_seconds: metrics.register(
                "consumer_commit_seconds",
                "Time that a batch takes, from its beginning to the end of its commit.",
                Family::new_with_constructor(seconds as fn() -> Histogram),
            ),
            rebalances: metrics.register("consumer_rebalances", "Changes of the assignment.", Family::default()),
            rebalance_seconds: metrics.register(
                "consumer_rebalance_seconds",
                "Time that this member takes to change its assignment, batches under way included.",
                seconds(),
            ),
        }
    }

    pub(super) fn taken(&self, topic: &str, records: usize) {
        self.consumed.get_or_create(&label(topic)).inc_by(records as u64);
        self.in_flight.get_or_create(&label(topic)).inc_by(records as i64);
    }

    pub(super) fn let_go(&self, topic: &str, records: usize) {
        self.in_flight.get_or_create(&label(topic)).dec_by(records as i64);
    }

    pub(super) fn handled(&self, topic: &str, records: usize, took: Duration) {
        self.handled.get_or_create(&label(topic)).inc_by(records as u64);
        self.commit_seconds.get_or_create(&label(topic)).observe(took.as_secs_f64());
    }

    pub(super) fn repeated(&self, topic: &str, records: usize) {
        self.repeated.get_or_create(&label(topic)).inc_by(records as u64);
    }

    pub(super) fn lost(&self, topic: &str, records: i64) {
        self.lost.get_or_create(&label(topic)).inc_by(records.unsigned_abs());
    }

    pub(super) fn failed(&self, topic: &str) {
        self.failures.get_or_create(&label(topic)).inc();
    }

    pub(super) fn panicked(&self, topic: &str) {
        self.panics.get_or_create(&label(topic)).inc();
    }

    pub(super) fn stopped(&self, topic: &str, partitions: i64) {
        self.stopped.get_or_create(&label(topic)).inc_by(partitions);
    }

    pub(super) fn assigned(&self, topic: &str, partitions: i64) {
        self.assigned.get_or_create(&label(topic)).inc_by(partitions);
    }

    pub(super) fn rebalanced(&self, kind: &'static str, took: Duration) {
        self.rebalances.get_or_create(&Kind { kind }).inc();
        self.rebalance_seconds.observe(took.as_secs_f64());
    }
}

fn label(topic: &str) -> Topic {
    Topic { topic: topic.to_owned() }
}

#[derive(Debug)]
struct LastPoll(Arc<MemberHealth>);

impl Collector for LastPoll {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let age = ConstGauge::new(self.0.last_poll_age().as_secs_f64());
        let metric_encoder = encoder.encode_descriptor(
            "consumer_last_poll_age",
            "Time since the consumer's loop turned",
            Some(&Unit::Seconds),
            age.metric_type(),
        )?;
        age.encode(metric_encoder)
    }
}
