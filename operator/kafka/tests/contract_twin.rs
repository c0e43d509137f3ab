//! The contract of `KafkaAdmin`, kept by the twin.
#![allow(clippy::expect_used)] // the stories' helpers are tests too

mod contract;

use async_trait::async_trait;
use contract::{World, contract};
use tidegate_kafka::{GroupKind, KafkaAdmin, LoggedRecord, Operation, ResourceType, TopicPartition, twin::Twin};

struct InMemory {
    twin: Twin,
    prefix: String,
}

async fn in_memory() -> InMemory {
    InMemory { twin: Twin::new(), prefix: contract::unique_prefix() }
}

contract!(in_memory);

#[async_trait]
impl World for InMemory {
    fn admin(&self) -> &dyn KafkaAdmin {
        &self.twin
    }

    fn prefix(&self) -> &str {
        &self.prefix
    }

    async fn produce(&self, partition: &TopicPartition, times: &[i64]) {
        self.twin.produce(&partition.topic, partition.partition, times).expect("the partition exists");
    }

    async fn append(&self, partition: &TopicPartition, record: LoggedRecord) {
        self.twin.append(&partition.topic, partition.partition, record).expect("the partition exists");
    }

    async fn open_transaction(&self, partition: &TopicPartition, times: &[i64]) {
        self.twin.produce_open(&partition.topic, partition.partition, times).expect("the partition exists");
    }

    async fn commit_transaction(&self, partition: &TopicPartition) {
        self.twin.finish_transaction(&partition.topic, partition.partition).expect("the partition exists");
    }

    async fn commit(&self, group: &str, partition: &TopicPartition, offset: i64) {
        self.twin.commit(group, &partition.topic, partition.partition, offset);
    }

    async fn join(&self, group: &str, kind: GroupKind, topic: &str, partitions: i32) {
        let owned: Vec<(&str, i32)> = (0..partitions).map(|index| (topic, index)).collect();
        self.twin.join(group, kind, "member", &owned);
    }

    async fn leave(&self, group: &str) {
        self.twin.leave(group, "member");
    }

    async fn lets_in(&self, user: &str, password: &str) -> bool {
        self.twin.lets_in(user, password)
    }

    async fn may_describe(&self, user: &str, _: &str, topic: &str) -> bool {
        self.twin.may(user, Operation::DESCRIBE, ResourceType::TOPIC, topic)
    }

    async fn remove_groups(&self) {}
}
