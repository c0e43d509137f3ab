//! Sets and forgets what a group without members has committed.

use std::collections::{BTreeMap, HashMap};

use krafka::{
    KrafkaError, Result as KrafkaResult,
    admin::{AlterConsumerGroupOffsetsOptions, DeleteConsumerGroupOffsetsOptions, TopicPartition as Named},
    error::ErrorCode,
};
use tokio::time::Instant;

use super::{link::Client, topics::left};
use crate::TopicPartition;

type Answers = KrafkaResult<HashMap<TopicPartition, KrafkaResult<()>>>;

fn named(key: &TopicPartition) -> Named {
    Named::new(&key.topic, key.partition)
}

fn answers(answered: HashMap<Named, KrafkaResult<()>>) -> HashMap<TopicPartition, KrafkaResult<()>> {
    answered.into_iter().map(|(key, answer)| (TopicPartition::new(key.topic, key.partition), answer)).collect()
}

pub(super) async fn set(
    client: &Client,
    group: &str,
    offsets: &BTreeMap<TopicPartition, i64>,
    deadline: Instant,
) -> Answers {
    let options = AlterConsumerGroupOffsetsOptions::default().timeout(left(deadline));
    let offsets = offsets.iter().map(|(key, offset)| (named(key), *offset));
    client.admin.alter_consumer_group_offsets(group, offsets, options).await.map(answers)
}

/// What a group has not committed is forgotten already, and so is everything of one that is not there.
pub(super) async fn forget(client: &Client, group: &str, keys: &[TopicPartition], deadline: Instant) -> Answers {
    let options = DeleteConsumerGroupOffsetsOptions::default().timeout(left(deadline));
    let gone = |error: &KrafkaError| matches!(error, KrafkaError::Broker { code: ErrorCode::GroupIdNotFound, .. });
    match client.admin.delete_consumer_group_offsets(group, keys.iter().map(named), options).await {
        Err(error) if gone(&error) => Ok(keys.iter().map(|key| (key.clone(), Ok(()))).collect()),
        answered => answered.map(|answered| {
            let forgiven =
                |answer: KrafkaResult<()>| answer.or_else(|error| if gone(&error) { Ok(()) } else { Err(error) });
            answers(answered).into_iter().map(|(key, answer)| (key, forgiven(answer))).collect()
        }),
    }
}
