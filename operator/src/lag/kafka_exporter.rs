//! Lag under the names of kafka_exporter, for dashboards and alerts that were written for it. Only of what pipelines consume: groups that
//! no EventPipeline names are not followed. A topic's current offset is the last stable one.

use std::collections::{BTreeMap, BTreeSet};

use prometheus_client::encoding::DescriptorEncoder;

use super::{
    readings::PartitionReading,
    series::{Cycle, Labels, Shown, Written, gauge},
};

/// A partition of a group.
struct Point<'a> {
    shown: &'a Shown,
    read: &'a PartitionReading,
    /// The partition's index as text.
    index: String,
    /// The connection, where there are several: the same names may be on each.
    connection: Option<&'a str>,
}

/// Which labels a point has.
type Naming = for<'a> fn(&'a Point<'_>) -> Labels<'a>;
/// What a point adds to its series.
type Figure = fn(&PartitionReading) -> Option<i64>;

/// Writes them all.
pub(super) fn encode(encoder: &mut DescriptorEncoder<'_>, cycle: &Cycle) -> Written {
    let connections: BTreeSet<&str> = cycle.processors.iter().map(|shown| shown.connection.as_str()).collect();
    let points = |shown| {
        let Shown { reading, connection, .. }: &Shown = shown;
        let connection = (connections.len() > 1).then_some(connection.as_str());
        reading.partitions.iter().map(move |read| Point { shown, read, index: read.partition.to_string(), connection })
    };
    let points: Vec<Point<'_>> = cycle.processors.iter().flat_map(points).collect();

    let partition: Naming =
        |point| point.labels(&[("consumergroup", point.shown.group.as_str()), point.topic(), point.partition()]);
    let topic: Naming = |point| point.labels(&[("consumergroup", point.shown.group.as_str()), point.topic()]);
    let of_groups: [(&str, &str, Naming, Figure); 4] = [
        ("kafka_consumergroup_current_offset", "Committed offset of a group in a partition", partition, |one| {
            one.committed
        }),
        ("kafka_consumergroup_lag", "Records of a partition that wait for a group", partition, |one| one.lag),
        ("kafka_consumergroup_current_offset_sum", "Committed offsets of a group in a topic", topic, |one| {
            one.committed
        }),
        ("kafka_consumergroup_lag_sum", "Records of a topic that wait for a group", topic, |one| one.lag),
    ];
    for (name, help, naming, figure) in of_groups {
        let mut sums: BTreeMap<Labels<'_>, Option<i64>> = BTreeMap::new();
        for point in &points {
            let figure = figure(point.read);
            // A sum of which a part is unknown is unknown.
            sums.entry(naming(point))
                .and_modify(|sum| *sum = sum.zip(figure).map(|(sum, one)| sum + one))
                .or_insert(figure);
        }
        write(encoder, (name, help), sums)?;
    }

    let partition: Naming = |point| point.labels(&[point.topic(), point.partition()]);
    let of_topics: [(&str, &str, Figure); 2] = [
        ("kafka_topic_partition_current_offset", "Last stable offset of a partition", |one| one.stable_end),
        ("kafka_topic_partition_oldest_offset", "Offset of the oldest record of a partition", |one| one.log_start),
    ];
    for (name, help, figure) in of_topics {
        // Several groups read it, and each would say the same.
        let known = points.iter().map(|point| (partition(point), figure(point.read))).collect();
        write(encoder, (name, help), known)?;
    }
    let mut counts: BTreeMap<Labels<'_>, BTreeSet<i32>> = BTreeMap::new();
    for point in &points {
        counts.entry(point.labels(&[point.topic()])).or_default().insert(point.read.partition);
    }
    let counts = counts.into_iter().map(|(labels, indices)| (labels, i64::try_from(indices.len()).ok())).collect();
    write(encoder, ("kafka_topic_partitions", "Partitions of a topic"), counts)
}

impl<'a> Point<'a> {
    fn topic(&self) -> (&'static str, &str) {
        ("topic", &self.read.topic)
    }

    fn partition(&self) -> (&'static str, &str) {
        ("partition", &self.index)
    }

    fn labels<'l>(&'l self, labels: &[(&'static str, &'l str)]) -> Labels<'l> {
        labels.iter().copied().chain(self.connection.map(|name| ("connection", name))).collect()
    }
}

fn write(
    encoder: &mut DescriptorEncoder<'_>,
    about: (&str, &str),
    points: BTreeMap<Labels<'_>, Option<i64>>,
) -> Written {
    gauge(encoder, about, points.into_iter().map(|(labels, value)| (labels, value.map(|value| value as f64))))
}
