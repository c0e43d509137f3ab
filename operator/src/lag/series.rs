//! Lag for Prometheus: written from the readings that there are when somebody asks, without a call to Kafka. What is unknown is no series.
//!
//! The readings belong to a leadership, and are held weakly: with it, the series go. So a pod that lost the lease does not go on showing
//! what it once read; nor does one whose reading hangs.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, PoisonError, RwLock, Weak},
    time::{Duration, Instant},
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet},
    metrics::MetricType,
};

use super::{
    kafka_exporter,
    readings::{PartitionReading, Reading},
};

/// A processor's reading and what it is called.
#[derive(Clone, Debug)]
pub struct Shown {
    /// Namespace of the EventPipeline.
    pub namespace: String,
    /// Its name.
    pub pipeline: String,
    /// The processor's name.
    pub processor: String,
    /// The Kafka connection that it is read over.
    pub connection: String,
    /// The consumer group.
    pub group: String,
    /// Its dead-letter topic.
    pub dead_letters: Option<String>,
    /// What was read.
    pub reading: Arc<Reading>,
}

/// What was not read again for so long is not known any more. A cycle takes less, also where one cluster's requests all come to their
/// deadline: until it ends, the others' readings of the cycle before are shown.
const STALE: Duration = Duration::from_secs(120);

/// What one cycle over all connections brought.
#[derive(Clone, Debug)]
pub struct Cycle {
    /// When it began, in milliseconds since the Unix epoch: what was committed and written before that is in it.
    pub began_at: i64,
    /// When it ended.
    pub ended: Instant,
    /// Every processor that consumes.
    pub processors: Vec<Shown>,
    /// How long it took.
    pub seconds: f64,
    /// Requests by connection and broker; none: a broker of the client library's choice.
    pub requests: BTreeMap<(String, Option<i32>), u64>,
}

/// The series of the cycle that was published last. Clones show the same.
#[derive(Clone, Debug, Default)]
pub struct Series {
    last: Arc<RwLock<Weak<Cycle>>>,
    as_kafka_exporter: bool,
}

impl Series {
    /// Also under the names of kafka_exporter.
    #[must_use]
    pub fn as_kafka_exporter(self, also: bool) -> Self {
        Self { as_kafka_exporter: also, ..self }
    }

    /// Shows a cycle for as long as the caller keeps it.
    pub fn publish(&self, cycle: &Arc<Cycle>) {
        *self.last.write().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(cycle);
    }
}

/// Whether everything could be written.
pub(super) type Written = Result<(), fmt::Error>;

impl Collector for Series {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Written {
        let last = self.last.read().unwrap_or_else(PoisonError::into_inner).upgrade();
        let Some(cycle) = last else { return Ok(()) };
        of_the_cycle(&mut encoder, &cycle)?;
        if cycle.ended.elapsed() > STALE {
            return Ok(());
        }
        of_processors(&mut encoder, &cycle)?;
        of_topics(&mut encoder, &cycle)?;
        of_partitions(&mut encoder, &cycle)?;
        if self.as_kafka_exporter { kafka_exporter::encode(&mut encoder, &cycle) } else { Ok(()) }
    }
}

/// Names and values.
pub(super) type Labels<'a> = Vec<(&'static str, &'a str)>;

impl Shown {
    fn labels(&self) -> Labels<'_> {
        vec![("namespace", &self.namespace), ("pipeline", &self.pipeline), ("processor", &self.processor)]
    }
}

/// A gauge with those of `points` that are known.
pub(super) fn gauge<'a>(
    encoder: &mut DescriptorEncoder<'_>,
    (name, help): (&str, &str),
    points: impl Iterator<Item = (Labels<'a>, Option<f64>)>,
) -> Written {
    let mut points = points.filter_map(|(labels, value)| Some((labels, value?))).peekable();
    if points.peek().is_none() {
        return Ok(());
    }
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    points.try_for_each(|(labels, value)| match labels.is_empty() {
        true => metric.encode_gauge(&value),
        false => metric.encode_family(&labels)?.encode_gauge(&value),
    })
}

fn counter<'a>(
    encoder: &mut DescriptorEncoder<'_>,
    (name, help): (&str, &str),
    points: impl Iterator<Item = (Labels<'a>, u64)>,
) -> Written {
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    let mut points = points;
    points.try_for_each(|(labels, value)| {
        let mut point: MetricEncoder<'_> = metric.encode_family(&labels)?;
        point.encode_counter::<NoLabelSet, _, u64>(&value, None)
    })
}

fn of_processors(encoder: &mut DescriptorEncoder<'_>, cycle: &Cycle) -> Written {
    let mut gauges = |about, figure: fn(&Reading) -> Option<f64>| {
        gauge(encoder, about, cycle.processors.iter().map(|shown| (shown.labels(), figure(&shown.reading))))
    };
    gauges(
        ("tidegate_processor_lag_records", "Records that a processor's group can read and has not committed"),
        |reading| reading.lag.map(|lag| lag as f64),
    )?;
    gauges(
        (
            "tidegate_processor_lag_seconds",
            "Age of the oldest record that a processor's group can read and has not committed",
        ),
        |reading| reading.lag_seconds,
    )?;
    gauges(
        (
            "tidegate_processor_lag_drain_seconds",
            "Time until nothing waits if it goes on as it did; absent while it does not drain",
        ),
        |reading| reading.drain_seconds,
    )?;
    gauges(("tidegate_processor_group_members", "Members of a processor's consumer group"), |reading| {
        reading.members.map(f64::from)
    })?;
    gauges(
        ("tidegate_processor_retry_records", "Records in a processor's retry topics from the oldest unfinished one on"),
        |reading| reading.retry.map(|records| records as f64),
    )?;
    let mut counters = |about, figure: fn(&Reading) -> u64| {
        counter(encoder, about, cycle.processors.iter().map(|shown| (shown.labels(), figure(&shown.reading))))
    };
    counters(("tidegate_processor_consumed_records", "Offsets that a processor's group has passed"), |reading| {
        reading.totals.consumed
    })?;
    counters(
        ("tidegate_processor_produced_records", "Offsets that were written to what a processor reads"),
        |reading| reading.totals.produced,
    )?;
    counters(("tidegate_processor_rebalances", "Changes of a group's assignment that were seen"), |reading| {
        reading.totals.rebalances
    })
}

fn of_topics(encoder: &mut DescriptorEncoder<'_>, cycle: &Cycle) -> Written {
    let margins = cycle.processors.iter().flat_map(|shown| {
        let with = move |topic| [shown.labels(), vec![("topic", topic)]].concat();
        shown.reading.retention_margins.iter().map(move |(topic, margin)| (with(topic.as_str()), Some(*margin)))
    });
    gauge(
        encoder,
        (
            "tidegate_processor_retention_margin_seconds",
            "Time until retention removes the oldest record that waits in a topic",
        ),
        margins,
    )?;
    let lost = cycle.processors.iter().flat_map(|shown| {
        let with = move |topic| [shown.labels(), vec![("topic", topic)]].concat();
        shown.reading.totals.lost.iter().map(move |(topic, lost)| (with(topic.as_str()), *lost))
    });
    counter(encoder, ("tidegate_processor_lost_records", "Records that were removed before they were read"), lost)?;
    // Processors of a pipeline may share a dead-letter topic.
    let dead: BTreeMap<(&str, &str, &str), i64> = cycle
        .processors
        .iter()
        .filter_map(|shown| {
            let topic = shown.dead_letters.as_deref()?;
            Some(((shown.namespace.as_str(), shown.pipeline.as_str(), topic), shown.reading.dead_letters?))
        })
        .collect();
    gauge(
        encoder,
        ("tidegate_pipeline_dead_letters", "Records that a dead-letter topic of a pipeline holds"),
        dead.into_iter().map(|((namespace, pipeline, topic), held)| {
            (vec![("namespace", namespace), ("pipeline", pipeline), ("topic", topic)], Some(held as f64))
        }),
    )
}

/// Every partition of every processor, with its index as text.
pub(super) fn partitions(cycle: &Cycle) -> Vec<(&Shown, &PartitionReading, String)> {
    let of = |shown| {
        let Shown { reading, .. }: &Shown = shown;
        reading.partitions.iter().map(move |one| (shown, one, one.partition.to_string()))
    };
    cycle.processors.iter().flat_map(of).collect()
}

fn of_partitions(encoder: &mut DescriptorEncoder<'_>, cycle: &Cycle) -> Written {
    let all = partitions(cycle);
    let mut gauges = |about, figure: fn(&PartitionReading) -> Option<f64>| {
        let points = all.iter().map(|(shown, one, index)| {
            ([shown.labels(), vec![("topic", one.topic.as_str()), ("partition", index.as_str())]].concat(), figure(one))
        });
        gauge(encoder, about, points)
    };
    gauges(("tidegate_processor_partition_lag_records", "Records of a partition that wait"), |one| {
        one.lag.map(|lag| lag as f64)
    })?;
    gauges(
        ("tidegate_processor_partition_lag_seconds", "Age of the oldest record of a partition that waits"),
        |one| one.lag_seconds,
    )?;
    gauges(("tidegate_processor_partition_committed_offset", "Offset of a partition that is read next"), |one| {
        one.committed.map(|offset| offset as f64)
    })?;
    gauges(
        (
            "tidegate_processor_partition_stuck_seconds",
            "Time for which the commit has not moved though something waits",
        ),
        |one| one.stuck_for.map(|stuck| stuck.as_secs_f64()),
    )
}

fn of_the_cycle(encoder: &mut DescriptorEncoder<'_>, cycle: &Cycle) -> Written {
    gauge(
        encoder,
        ("tidegate_lag_cycle_seconds", "Time that the last reading of all lag took"),
        std::iter::once((Vec::new(), Some(cycle.seconds))),
    )?;
    gauge(
        encoder,
        ("tidegate_lag_cycle_timestamp_seconds", "Unix time at which the last reading of all lag began"),
        std::iter::once((Vec::new(), Some(cycle.began_at as f64 / 1000.0))),
    )?;
    let brokers: Vec<(&str, String, f64)> = cycle
        .requests
        .iter()
        .map(|((connection, broker), sent)| {
            (connection.as_str(), broker.map_or_else(|| "any".to_owned(), |id| id.to_string()), *sent as f64)
        })
        .collect();
    gauge(
        encoder,
        ("tidegate_lag_cycle_requests", "Requests that the last reading of all lag took"),
        brokers.iter().map(|(connection, broker, sent)| {
            (vec![("connection", *connection), ("broker", broker.as_str())], Some(*sent))
        }),
    )
}

#[cfg(test)]
#[path = "series_tests.rs"]
mod tests;
