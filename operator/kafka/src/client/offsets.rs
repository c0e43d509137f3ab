//! Offsets of partitions: the ends of the log, and records found by time.

use std::collections::{BTreeMap, HashMap};

use futures::future;
use krafka::{
    __private::protocol::{
        ApiKey, ListOffsetsRequest, ListOffsetsRequestPartition, ListOffsetsRequestTopic, ListOffsetsResponse, versions,
    },
    Result as KrafkaResult,
    admin::{ListOffsetsOptions, OffsetSpec as KrafkaSpec, TopicPartition as KrafkaPartition},
};
use tokio::time::Instant;

use super::{
    convert,
    link::Client,
    raw::{self, Versions},
    topics::left,
};
use crate::{ListedOffset, OffsetSpec, TopicPartition};

/// ListOffsets' timestamp that stands for the record with the greatest one; since v7.
const MAX_TIMESTAMP: i64 = -3;

type Answers = HashMap<TopicPartition, KrafkaResult<Option<ListedOffset>>>;

pub(super) async fn list(
    client: &Client,
    wanted: Vec<(TopicPartition, OffsetSpec)>,
    deadline: Instant,
) -> KrafkaResult<Answers> {
    let (mut ends, mut stable, mut by_time) = (Vec::new(), Vec::new(), BTreeMap::new());
    for (partition, spec) in wanted {
        match spec {
            OffsetSpec::Earliest => ends.push((partition, KrafkaSpec::Earliest)),
            OffsetSpec::Latest => ends.push((partition, KrafkaSpec::Latest)),
            OffsetSpec::LastStable => stable.push((partition, KrafkaSpec::Latest)),
            // Negative times are ListOffsets' special values: nothing is older than the epoch.
            OffsetSpec::Timestamp(time) => drop(by_time.insert(partition, time.max(0))),
            OffsetSpec::MaxTimestamp => drop(by_time.insert(partition, MAX_TIMESTAMP)),
        }
    }
    let (ends, stable, by_time) = future::join3(
        log_ends(client, ends, false, deadline),
        log_ends(client, stable, true, deadline),
        records_by_time(client, &by_time, deadline),
    )
    .await;
    let mut answers = ends?;
    answers.extend(stable?);
    answers.extend(by_time);
    Ok(answers)
}

async fn log_ends(
    client: &Client,
    wanted: Vec<(TopicPartition, KrafkaSpec)>,
    read_committed: bool,
    deadline: Instant,
) -> KrafkaResult<Answers> {
    if wanted.is_empty() {
        return Ok(Answers::new());
    }
    let wanted = wanted.into_iter().map(|(key, spec)| (KrafkaPartition::new(key.topic, key.partition), spec));
    let options = ListOffsetsOptions::default().read_committed(read_committed).timeout(left(deadline));
    let listed = client.admin.list_offsets(wanted, options).await?;
    Ok(listed
        .into_iter()
        .map(|(key, listed)| {
            let listed = listed.map(|end| Some(ListedOffset { offset: end.offset, timestamp: None }));
            (TopicPartition::new(key.topic, key.partition), listed)
        })
        .collect())
}

/// By requests of our own: krafka takes "no such record" for an offset that is not available yet and repeats the request
/// until its deadline.
async fn records_by_time(client: &Client, wanted: &BTreeMap<TopicPartition, i64>, deadline: Instant) -> Answers {
    if wanted.is_empty() {
        return Answers::new();
    }
    let partitions = wanted.keys().map(|key| (key.topic.as_str(), key.partition));
    let (routed, failed) = raw::leaders(&client.kafka, partitions, deadline).await;
    let mut answers: Answers = failed
        .into_iter()
        .map(|((topic, partition), error)| (TopicPartition::new(topic, partition), Err(error)))
        .collect();
    let lookups = routed.into_iter().map(|(connection, partitions)| async move {
        let request = request(&partitions, wanted);
        let versions = Versions { api: ApiKey::ListOffsets, min: 7, max: versions::LIST_OFFSETS_MAX };
        let response = raw::exchange::<ListOffsetsResponse>(&connection, versions, &request, deadline).await;
        answers_of(&partitions, response)
    });
    for batch in future::join_all(lookups).await {
        answers.extend(batch);
    }
    answers
}

fn request(partitions: &[(&str, i32)], wanted: &BTreeMap<TopicPartition, i64>) -> ListOffsetsRequest {
    let mut topics: BTreeMap<&str, Vec<ListOffsetsRequestPartition>> = BTreeMap::new();
    for (topic, partition) in partitions {
        let Some(timestamp) = wanted.get(&TopicPartition::new(*topic, *partition)) else { continue };
        topics.entry(topic).or_default().push(ListOffsetsRequestPartition {
            partition_index: *partition,
            current_leader_epoch: -1,
            timestamp: *timestamp,
        });
    }
    ListOffsetsRequest {
        replica_id: -1,
        isolation_level: 0,
        topics: topics
            .into_iter()
            .map(|(name, partitions)| ListOffsetsRequestTopic { name: name.to_owned(), partitions })
            .collect(),
        timeout_ms: None,
    }
}

fn answers_of(partitions: &[(&str, i32)], response: KrafkaResult<ListOffsetsResponse>) -> Answers {
    let asked = partitions.iter().map(|(topic, partition)| TopicPartition::new(*topic, *partition));
    match response {
        Err(error) => asked.map(|key| (key, Err(error.clone()))).collect(),
        Ok(response) => {
            let mut answers: Answers = asked.map(|key| (key, Err(convert::missing()))).collect();
            for topic in response.topics {
                for found in topic.partitions {
                    let offset = raw::answer(found.error_code, None).map(|()| {
                        (found.offset >= 0).then(|| ListedOffset {
                            offset: found.offset,
                            timestamp: Some(found.timestamp).filter(|time| *time >= 0),
                        })
                    });
                    answers.insert(TopicPartition::new(topic.name.clone(), found.partition_index), offset);
                }
            }
            answers
        }
    }
}
