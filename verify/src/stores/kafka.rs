//! A topic from its beginning to its end, as a read_committed consumer sees it, and what a group has left to read of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::KafkaError,
    message::BorrowedMessage,
    types::RDKafkaErrorCode as Code,
};

use super::ReadError;
use crate::{environment::Kafka, facts::Place};

/// How long one request to Kafka may take.
const REQUEST: Duration = Duration::from_secs(20);

/// How long it may take until a transaction has an outcome: brokers abort what a producer left behind within half a minute.
const DECIDED: Duration = Duration::from_secs(60);

/// Reads the topic to its end and keeps what `take` makes of each record, so that large ones need not stay in memory. A partition is
/// read from the offset in `from`, or from its beginning. Blocks; the order is that of arrival, which keeps each partition's. A topic
/// that is not there is empty.
pub fn read_topic<T>(
    kafka: &Kafka,
    topic: &str,
    from: &BTreeMap<i32, i64>,
    within: Duration,
    mut take: impl FnMut(&BorrowedMessage<'_>) -> T,
) -> Result<Vec<T>, ReadError> {
    let consumer = consumer(kafka, "tidegate-verify")?;
    let partitions = partitions(&consumer, topic)?;
    if partitions.is_empty() {
        return Ok(vec![]);
    }
    let mut assignment = TopicPartitionList::new();
    for &partition in &partitions {
        let begin = from.get(&partition).map_or(Offset::Beginning, |&offset| Offset::Offset(offset));
        assignment
            .add_partition_offset(topic, partition, begin)
            .map_err(failed(|| format!("choosing partition {partition} of {topic}")))?;
    }
    consumer.assign(&assignment).map_err(failed(|| format!("assigning {topic}")))?;

    let ends = Instant::now() + within;
    let mut records = Vec::new();
    let mut unfinished: BTreeSet<i32> = partitions.into_iter().collect();
    while !unfinished.is_empty() {
        if Instant::now() >= ends {
            return Err(ReadError::Slow { topic: topic.into(), seconds: within.as_secs(), read: records.len() });
        }
        match consumer.poll(Duration::from_millis(200)) {
            None => {}
            Some(Ok(message)) => records.push(take(&message)),
            Some(Err(KafkaError::PartitionEOF(partition))) => drop(unfinished.remove(&partition)),
            // A broker that is restarted under the reader: librdkafka reconnects, the deadline decides.
            Some(Err(error)) if is_transient(&error) => {}
            Some(Err(error)) => return Err(failed(|| format!("reading {topic}"))(error)),
        }
    }
    Ok(records)
}

/// The next offset that a group has committed for each partition of a topic; absent where it has none. What it commits in a transaction
/// whose outcome is still being written is waited for.
pub fn committed_offsets(kafka: &Kafka, group: &str, topic: &str) -> Result<BTreeMap<i32, i64>, ReadError> {
    let consumer = consumer(kafka, group)?;
    let mut asked = TopicPartitionList::new();
    for partition in partitions(&consumer, topic)? {
        asked.add_partition(topic, partition);
    }
    let ask = || -> Result<_, KafkaError> {
        let offsets = consumer.committed_offsets(asked.clone(), REQUEST)?;
        offsets.elements().into_iter().try_for_each(|element| element.error())?;
        Ok(offsets)
    };
    let (mut answered, ends) = (ask(), Instant::now() + DECIDED);
    // librdkafka has asked several times before it says so.
    let is_pending = |error: &KafkaError| error.rdkafka_error_code() == Some(Code::UnstableOffsetCommit);
    while answered.as_ref().is_err_and(is_pending) && Instant::now() < ends {
        answered = ask();
    }
    let offsets = answered.map_err(failed(|| format!("asking for the offsets of group {group} on {topic}")))?;
    Ok(offsets
        .elements()
        .iter()
        .filter_map(|element| match element.offset() {
            Offset::Offset(next) => Some((element.partition(), next)),
            _ => None,
        })
        .collect())
}

/// The first offset that is still there and the next that will be, for each partition of a topic; empty when there is no such topic.
pub fn watermarks(kafka: &Kafka, topic: &str) -> Result<BTreeMap<i32, (i64, i64)>, ReadError> {
    let consumer = consumer(kafka, "tidegate-verify")?;
    let mut found = BTreeMap::new();
    for partition in partitions(&consumer, topic)? {
        let both = consumer
            .fetch_watermarks(topic, partition, REQUEST)
            .map_err(failed(|| format!("asking for the ends of partition {partition} of {topic}")))?;
        found.insert(partition, both);
    }
    Ok(found)
}

/// Where the next record of each partition of a topic will lie; empty when there is no such topic.
pub fn ends(kafka: &Kafka, topic: &str) -> Result<BTreeMap<i32, i64>, ReadError> {
    Ok(watermarks(kafka, topic)?.into_iter().map(|(partition, (_, end))| (partition, end)).collect())
}

/// The place of a record.
pub fn place(message: &BorrowedMessage<'_>) -> Place {
    Place { partition: message.partition(), offset: message.offset() }
}

/// How many of the records a group that has committed `offsets` has not read: markers of transactions are no records.
pub fn unread(records: impl IntoIterator<Item = Place>, offsets: &BTreeMap<i32, i64>) -> usize {
    let is_unread = |place: &Place| offsets.get(&place.partition).is_none_or(|&next| place.offset >= next);
    records.into_iter().filter(is_unread).count()
}

fn consumer(kafka: &Kafka, group: &str) -> Result<BaseConsumer, ReadError> {
    kafka
        .client_config()
        .set("group.id", group)
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "earliest")
        .set("isolation.level", "read_committed")
        .set("enable.partition.eof", "true")
        // Records of 10 MiB lie in the wallet's topic; queues of the default length would hold too many of them.
        .set("queued.max.messages.kbytes", "32768")
        .set("allow.auto.create.topics", "false")
        .create()
        .map_err(failed(|| "building a Kafka consumer".into()))
}

fn partitions(consumer: &BaseConsumer, topic: &str) -> Result<Vec<i32>, ReadError> {
    let metadata =
        consumer.fetch_metadata(Some(topic), REQUEST).map_err(failed(|| format!("asking for topic {topic}")))?;
    let found = metadata.topics().iter().find(|found| found.name() == topic);
    Ok(found.map(|found| found.partitions().iter().map(|partition| partition.id()).collect()).unwrap_or_default())
}

/// Whether librdkafka gets over an error by itself: a broker that is restarted, or a leader that moves.
pub fn is_transient(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            Code::BrokerTransportFailure
                | Code::AllBrokersDown
                | Code::OperationTimedOut
                | Code::NotLeaderForPartition
                | Code::LeaderNotAvailable
                | Code::Resolve
        )
    )
}

fn failed(doing: impl FnOnce() -> String) -> impl FnOnce(KafkaError) -> ReadError {
    move |source| ReadError::Kafka { doing: doing(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_behind_the_committed_offset_is_read_and_the_rest_is_not() {
        let records = [(0, 0), (0, 1), (0, 3), (1, 0)].map(|(partition, offset)| Place { partition, offset });
        assert_eq!(unread(records, &BTreeMap::new()), 4);
        assert_eq!(unread(records, &BTreeMap::from([(0, 3)])), 2, "offset 3, and all of partition 1");
        assert_eq!(unread(records, &BTreeMap::from([(0, 5), (1, 1)])), 0);
    }
}
