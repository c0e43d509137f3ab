//! Offsets of partitions, as Kafka is asked for them and as the status shows them.

use std::collections::BTreeMap;

use tidegate_kafka::{AdminError, KafkaAdmin, OffsetSpec, PerItem, Topic, TopicPartition};
use tidegate_settings::PartitionOffsets;

/// By topic and partition, as people read it.
pub fn nested(offsets: &BTreeMap<TopicPartition, i64>) -> PartitionOffsets {
    let mut nested = PartitionOffsets::new();
    for (key, offset) in offsets {
        nested.entry(key.topic.clone()).or_default().insert(key.partition.to_string(), *offset);
    }
    nested
}

/// By partition. What is no number names no partition, and so none that there is.
pub fn flat(offsets: &PartitionOffsets) -> BTreeMap<TopicPartition, i64> {
    let of = |(topic, offsets): (&String, &BTreeMap<String, i64>)| {
        let key = |partition: &String| TopicPartition::new(topic, partition.parse().unwrap_or(-1));
        offsets.iter().map(|(partition, offset)| (key(partition), *offset)).collect::<Vec<_>>()
    };
    offsets.iter().flat_map(of).collect()
}

/// The partitions that topics have.
///
/// # Errors
/// What Kafka said, in words; as of all that follow.
pub async fn partitions(admin: &dyn KafkaAdmin, topics: &[String]) -> Result<Vec<TopicPartition>, String> {
    let described = all(admin.describe_topics(topics).await)?;
    let of = |(name, topic): (String, Topic)| {
        topic.partitions.into_iter().map(move |partition| TopicPartition::new(&name, partition.index))
    };
    Ok(described.into_iter().flat_map(of).collect())
}

/// What a group has committed for partitions of those topics.
pub async fn committed(
    admin: &dyn KafkaAdmin,
    group: &str,
    topics: &[String],
) -> Result<BTreeMap<TopicPartition, i64>, String> {
    let offsets = one(admin.committed_offsets(&[group.to_owned()]).await)?;
    let here = offsets.into_iter().filter(|(key, _)| topics.contains(&key.topic));
    Ok(here.map(|(key, commit)| (key, commit.offset)).collect())
}

/// Offsets of partitions, those that have one.
pub async fn listed(
    admin: &dyn KafkaAdmin,
    partitions: &[TopicPartition],
    spec: OffsetSpec,
) -> Result<BTreeMap<TopicPartition, i64>, String> {
    let wanted = partitions.iter().map(|key| (key.clone(), spec)).collect();
    let listed = all(admin.list_offsets(&wanted).await)?;
    Ok(listed.into_iter().filter_map(|(key, listed)| Some((key, listed?.offset))).collect())
}

/// All outcomes, unless one of them is an error.
pub fn all<K: Ord, V>(outcomes: PerItem<K, V>) -> Result<BTreeMap<K, V>, String> {
    let outcomes = outcomes.into_iter().map(|(key, outcome)| Ok((key, outcome?)));
    outcomes.collect::<Result<_, AdminError>>().map_err(|error| error.to_string())
}

/// The one outcome that was asked for.
pub fn one<K: Ord, V>(outcomes: PerItem<K, V>) -> Result<V, String> {
    all(outcomes)?.into_values().next().ok_or_else(|| "Kafka's answer is empty".to_owned())
}
