//! Offsets of partitions: the ends of the log, and records found by time.
//!
//! By requests of our own: krafka takes "no such record" and "no leader" for something to wait for, and lets all partitions of a call
//! wait with the one, while whoever measures lag needs the others now.

use std::collections::BTreeMap;

use futures::future;
use krafka::{
    __private::protocol::{
        ApiKey, ListOffsetsRequest, ListOffsetsRequestPartition, ListOffsetsRequestTopic, ListOffsetsResponse, versions,
    },
    Result as KrafkaResult,
};

use super::{
    call::Call,
    convert,
    leaders::{self, ask},
    raw::{self, Versions},
};
use crate::{ListedOffset, OffsetSpec, TopicPartition};

/// v7 is the first that knows the greatest timestamp (KIP-734).
const LIST_OFFSETS: Versions = Versions { api: ApiKey::ListOffsets, min: 7, max: versions::LIST_OFFSETS_MAX };

type Wanted = BTreeMap<TopicPartition, OffsetSpec>;
type Answers = leaders::Answers<Option<ListedOffset>>;

pub(super) async fn list(call: &Call, wanted: &Wanted) -> Answers {
    ask(call, wanted.keys().cloned().collect(), |broker, keys| async move {
        // The isolation level is the request's, not the partition's.
        let specs = keys.into_iter().filter_map(|key| wanted.get(&key).map(|spec| (key, *spec)));
        let (stable, other): (Wanted, Wanted) = specs.partition(|(_, spec)| *spec == OffsetSpec::LastStable);
        let broker = &broker;
        let lookups = [stable, other].into_iter().filter(|wanted| !wanted.is_empty()).map(|wanted| async move {
            let response = call.exchange(broker, LIST_OFFSETS, &request(&wanted)).await;
            answers_of(&wanted, response)
        });
        future::join_all(lookups).await.into_iter().flatten().collect()
    })
    .await
}

/// ListOffsetsRequest: the special timestamps, and READ_COMMITTED for the last stable offset.
fn request(wanted: &Wanted) -> ListOffsetsRequest {
    let mut topics: BTreeMap<&str, Vec<ListOffsetsRequestPartition>> = BTreeMap::new();
    for (key, spec) in wanted {
        let timestamp = match spec {
            OffsetSpec::Latest | OffsetSpec::LastStable => -1,
            OffsetSpec::Earliest => -2,
            OffsetSpec::MaxTimestamp => -3,
            OffsetSpec::Timestamp(time) => (*time).max(0), // nothing is older than the epoch
        };
        topics.entry(&key.topic).or_default().push(ListOffsetsRequestPartition {
            partition_index: key.partition,
            current_leader_epoch: -1,
            timestamp,
        });
    }
    ListOffsetsRequest {
        replica_id: -1,
        isolation_level: i8::from(wanted.values().any(|spec| *spec == OffsetSpec::LastStable)),
        topics: topics
            .into_iter()
            .map(|(name, partitions)| ListOffsetsRequestTopic { name: name.to_owned(), partitions })
            .collect(),
        timeout_ms: None,
    }
}

fn answers_of(wanted: &Wanted, response: KrafkaResult<ListOffsetsResponse>) -> Answers {
    let response = match response {
        Ok(response) => response,
        Err(error) => return wanted.keys().map(|key| (key.clone(), Err(error.clone()))).collect(),
    };
    let mut answers: Answers = wanted.keys().map(|key| (key.clone(), Err(convert::missing()))).collect();
    for topic in response.topics {
        for found in topic.partitions {
            let offset = raw::answer(found.error_code, None).map(|()| {
                let timestamp = Some(found.timestamp).filter(|time| *time >= 0);
                (found.offset >= 0).then_some(ListedOffset { offset: found.offset, timestamp })
            });
            answers.insert(TopicPartition::new(topic.name.clone(), found.partition_index), offset);
        }
    }
    answers
}
