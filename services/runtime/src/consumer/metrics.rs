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
    retried: Family<Topic, Counter>,
    parked: Family<Topic, Counter>,
    dead_lettered: Family<Topic, Counter>,
    skipped: Family<Topic, Counter>,
    redriven: Family<Topic, Counter>,
    failures: Family<Topic, Counter>,
    panics: Family<Topic, Counter>,
    in_flight: Family<Topic, Gauge>,
    waiting: Family<Topic, Gauge>,
    quarantined: Family<Topic, Gauge>,
    held_back: Family<Topic, Gauge>,
    stopped: Family<Topic, Gauge>,
    assigned: Family<Topic, Gauge>,
    commit_seconds: Family<Topic, Histogram, fn() -> Histogram>,
    batch_seconds: Family<Topic, Histogram, fn() -> Histogram>,
    members: Counter,
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
        let histogram = |name: &str, help: &str| {
            let family = Family::new_with_constructor(seconds as fn() -> Histogram);
            metrics.register(&format!("consumer_{name}"), help, family)
        };
        Self {
            consumed: counter("records_consumed", "Records taken from the topic."),
            handled: counter("records_handled", "Records handled, parked ones included."),
            repeated: counter("records_repeated", "Records that came again after they were finished."),
            lost: counter("records_lost", "Records that were removed before they were handled."),
            retried: counter("records_retried", "Tries of records that had failed before."),
            parked: counter("records_parked", "Records written to the retry topic."),
            dead_lettered: counter("records_dead_lettered", "Records written to the dead-letter topic."),
            skipped: counter("dead_letters_skipped", "Dead letters given up, so that their keys go on."),
            redriven: counter("dead_letters_redriven", "Dead letters that were sent back to be handled."),
            failures: counter("batch_failures", "Tries of a record or a batch that failed."),
            panics: counter("handler_panics", "Tries in which the handler panicked."),
            in_flight: gauge("records_in_flight", "Records taken and not yet finished."),
            waiting: gauge("records_waiting", "Parked records that are not finished."),
            quarantined: gauge("keys_quarantined", "Keys whose records wait behind a dead letter."),
            held_back: gauge(
                "partitions_held_back",
                "Partitions that take nothing in because too much of them is parked.",
            ),
            stopped: gauge("partitions_stopped", "Partitions that stand at a record which cannot be handled."),
            assigned: gauge("partitions_assigned", "Partitions that this member owns."),
            commit_seconds: histogram("commit_seconds", "Time that committing offsets to Kafka takes."),
            batch_seconds: histogram("batch_seconds", "Time that a batch takes, its commit included."),
            members: metrics.register(
                "consumer_members_started",
                "Members made, the first one and one for each change of the way to the brokers.",
                Counter::default(),
            ),
            rebalances: metrics.register("consumer_rebalances", "Changes of the assignment.", Family::default()),
            rebalance_seconds: metrics.register(
                "consumer_rebalance_seconds",
                "Time that this member takes to change its assignment, what is under way included.",
                seconds(),
            ),
        }
    }

    pub(super) fn member_started(&self) {
        self.members.inc();
    }

    pub(super) fn lost(&self, topic: &str, records: u64) {
        self.lost.get_or_create(&label(topic)).inc_by(records);
    }

    pub(super) fn stopped(&self, topic: &str, partitions: i64) {
        self.stopped.get_or_create(&label(topic)).inc_by(partitions);
    }

    pub(super) fn assigned(&self, topic: &str, partitions: i64) {
        self.assigned.get_or_create(&label(topic)).inc_by(partitions);
    }

    pub(super) fn committed(&self, topic: &str, took: Duration) {
        self.commit_seconds.get_or_create(&label(topic)).observe(took.as_secs_f64());
    }

    pub(super) fn rebalanced(&self, kind: &'static str, took: Duration) {
        self.rebalances.get_or_create(&Kind { kind }).inc();
        self.rebalance_seconds.observe(took.as_secs_f64());
    }

    /// Those of one partition's task, looked up once.
    pub(super) fn of(&self, topic: &str) -> PartitionMetrics {
        let label = label(topic);
        let counter = |family: &Family<Topic, Counter>| family.get_or_create_owned(&label);
        let share = |family: &Family<Topic, Gauge>| Share { gauge: family.get_or_create_owned(&label), mine: 0 };
        PartitionMetrics {
            consumed: counter(&self.consumed),
            handled: counter(&self.handled),
            repeated: counter(&self.repeated),
            retried: counter(&self.retried),
            parked: counter(&self.parked),
            dead_lettered: counter(&self.dead_lettered),
            skipped: counter(&self.skipped),
            redriven: counter(&self.redriven),
            failures: counter(&self.failures),
            panics: counter(&self.panics),
            in_flight: share(&self.in_flight),
            waiting: share(&self.waiting),
            quarantined: share(&self.quarantined),
            held_back: share(&self.held_back),
            batch_seconds: self.batch_seconds.get_or_create_owned(&label),
        }
    }
}

fn label(topic: &str) -> Topic {
    Topic { topic: topic.to_owned() }
}

/// What the task of one partition counts.
#[derive(Debug)]
pub(super) struct PartitionMetrics {
    pub(super) consumed: Counter,
    pub(super) handled: Counter,
    pub(super) repeated: Counter,
    pub(super) retried: Counter,
    pub(super) parked: Counter,
    pub(super) dead_lettered: Counter,
    pub(super) skipped: Counter,
    pub(super) redriven: Counter,
    pub(super) failures: Counter,
    pub(super) panics: Counter,
    pub(super) in_flight: Share,
    pub(super) waiting: Share,
    pub(super) quarantined: Share,
    pub(super) held_back: Share,
    pub(super) batch_seconds: Histogram,
}

/// One partition's share of its topic's gauge. Gone when it is dropped.
#[derive(Debug)]
pub(super) struct Share {
    gauge: Gauge,
    mine: i64,
}

impl Share {
    pub(super) fn set(&mut self, value: usize) {
        let value = i64::try_from(value).unwrap_or(i64::MAX);
        if value != self.mine {
            self.gauge.inc_by(value - self.mine);
            self.mine = value;
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.set(0);
    }
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
