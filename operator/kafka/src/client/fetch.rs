//! Fetches: one read_committed request (KIP-98) to each leader, for all of its partitions that are wanted. What is made of the answers
//! is the caller's.

use std::collections::BTreeMap;

use krafka::{
    __private::protocol::{
        ApiKey, FetchPartitionRequest, FetchPartitionResponse, FetchRequest, FetchResponse, FetchTopicRequest,
    },
    Result as KrafkaResult,
};

use super::{
    call::Call,
    convert,
    leaders::{Answers, ask},
    raw::{self, Versions},
};
use crate::TopicPartition;

/// Up to v12 topics go by name, as everywhere here.
const FETCH: Versions = Versions { api: ApiKey::Fetch, min: 4, max: 12 };
/// Bytes of one response; partitions for which there is no room come back empty.
const RESPONSE_BYTES: i32 = 4 * 1_024 * 1_024;

/// Partitions, and the offset that each is read from.
pub(super) type Wanted = BTreeMap<TopicPartition, i64>;

/// Fetches, and reads each partition's answer, which begins at an offset. `partition_bytes`: of one partition at most, but for a batch that
/// is larger by itself.
pub(super) async fn fetch<V>(
    call: &Call,
    wanted: &Wanted,
    partition_bytes: i32,
    read: impl Fn(FetchPartitionResponse, i64) -> KrafkaResult<V>,
) -> Answers<V> {
    ask(call, wanted.keys().cloned().collect(), |broker, keys| {
        let wanted: Wanted = keys.into_iter().filter_map(|key| wanted.get(&key).map(|from| (key, *from))).collect();
        let read = &read;
        async move {
            let response = call.exchange(&broker, FETCH, &request(&wanted, partition_bytes)).await;
            answers_of(&wanted, response, read)
        }
    })
    .await
}

fn request(wanted: &Wanted, partition_bytes: i32) -> FetchRequest {
    let mut topics: BTreeMap<&str, FetchTopicRequest> = BTreeMap::new();
    for (key, from) in wanted {
        let mut partition = FetchPartitionRequest::default();
        partition.partition = key.partition;
        partition.fetch_offset = *from;
        partition.partition_max_bytes = partition_bytes;
        let topic = topics.entry(&key.topic).or_default();
        topic.topic.clone_from(&key.topic);
        topic.partitions.push(partition);
    }
    // Without a fetch session, and answered at once, whatever there is.
    let mut request = FetchRequest::default();
    request.max_bytes = RESPONSE_BYTES;
    request.isolation_level = 1;
    request.topics = topics.into_values().collect();
    request
}

fn answers_of<V>(
    wanted: &Wanted,
    response: KrafkaResult<FetchResponse>,
    read: impl Fn(FetchPartitionResponse, i64) -> KrafkaResult<V>,
) -> Answers<V> {
    let response = response.and_then(|response| raw::answer(response.error_code, None).map(|()| response));
    let response = match response {
        Ok(response) => response,
        Err(error) => return wanted.keys().map(|key| (key.clone(), Err(error.clone()))).collect(),
    };
    let mut answers: Answers<V> = wanted.keys().map(|key| (key.clone(), Err(convert::missing()))).collect();
    for topic in response.responses {
        for found in topic.partitions {
            let key = TopicPartition::new(topic.topic.clone(), found.partition);
            let Some(from) = wanted.get(&key) else { continue };
            let answer = raw::answer(found.error_code, None).and_then(|()| read(found, *from));
            answers.insert(key, answer);
        }
    }
    answers
}
