//! Asks the leaders of partitions, many in a request. Who leads is known from earlier metadata as long as nobody denies it: a lookup
//! every few seconds then costs a request of each broker, and none to find out whom to ask.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use futures::future;
use krafka::{__private::kafka_metadata, KrafkaError, Result as KrafkaResult, error::ErrorCode};

use super::{
    call::{Broker, Call, is_of_the_way},
    raw,
};
use crate::TopicPartition;

/// Outcomes of partitions.
pub(super) type Answers<V> = HashMap<TopicPartition, KrafkaResult<V>>;

/// Makes one request of each leader, about its partitions. Those of which a broker says that it does not lead them, and those whose leader
/// is not reached, are looked up anew and asked for once more. Nobody waits for one that has no leader.
pub(super) async fn ask<V, F, Fut>(call: &Call, partitions: Vec<TopicPartition>, request: F) -> Answers<V>
where
    F: Fn(Broker, Vec<TopicPartition>) -> Fut,
    Fut: Future<Output = Answers<V>>,
{
    let mut answers = Answers::new();
    let mut asked = partitions;
    for last in [false, true] {
        let (routed, failed) = route(call, asked, last).await;
        let batches = future::join_all(routed.into_iter().map(|(broker, keys)| request(broker, keys))).await;
        asked = Vec::new();
        for (key, answer) in batches.into_iter().flatten().chain(failed) {
            if answer.as_ref().is_err_and(has_moved) {
                asked.push(key.clone());
            }
            answers.insert(key, answer);
        }
        if last || asked.is_empty() {
            break;
        }
    }
    answers
}

/// Partitions by the broker that leads them, and those whose leader is not known or not reached. `anew`: what is known is not believed.
async fn route<V>(
    call: &Call,
    partitions: Vec<TopicPartition>,
    anew: bool,
) -> (Vec<(Broker, Vec<TopicPartition>)>, Vec<(TopicPartition, KrafkaResult<V>)>) {
    let metadata = kafka_metadata(&call.client.kafka);
    let topics: BTreeSet<&str> = partitions.iter().map(|key| key.topic.as_str()).collect();
    let stale: Vec<&str> = topics.into_iter().filter(|topic| anew || metadata.topic_arc(topic).is_none()).collect();
    let refreshed = if stale.is_empty() { Ok(()) } else { call.refresh(&stale).await };
    let mut led: BTreeMap<i32, Vec<TopicPartition>> = BTreeMap::new();
    let mut failed = Vec::new();
    for key in &partitions {
        let known = if stale.contains(&key.topic.as_str()) { refreshed.clone() } else { Ok(()) };
        match known.and_then(|()| raw::leader(&call.client.kafka, (&key.topic, key.partition))) {
            Ok(broker) => led.entry(broker).or_default().push(key.clone()),
            Err(error) => failed.push((key.clone(), Err(error))),
        }
    }
    let connections = led.into_iter().map(|(broker, keys)| async move { (call.broker(broker).await, keys) });
    let mut routed = Vec::new();
    for (broker, keys) in future::join_all(connections).await {
        match broker {
            Ok(broker) => routed.push((broker, keys)),
            Err(error) => failed.extend(keys.into_iter().map(|key| (key, Err(error.clone())))),
        }
    }
    (routed, failed)
}

/// Whether another broker may lead the partition by now.
fn has_moved(error: &KrafkaError) -> bool {
    let denied = matches!(
        error,
        KrafkaError::Broker {
            code: ErrorCode::NotLeaderForPartition
                | ErrorCode::FencedLeaderEpoch
                | ErrorCode::UnknownLeaderEpoch
                | ErrorCode::UnknownTopicOrPartition
                | ErrorCode::LeaderNotAvailable,
            ..
        }
    );
    denied || is_of_the_way(error)
}
