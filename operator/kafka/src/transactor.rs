//! Writing records together with what a group has committed, both or neither.

use std::collections::BTreeMap;

use async_trait::async_trait;

use crate::{AdminError, CommittedOffset, LoggedRecord, TopicPartition};

/// Records, each with the partition that it goes to; their offsets and times are given by Kafka.
pub type Outgoing = Vec<(TopicPartition, LoggedRecord)>;

/// A writer of Kafka transactions (KIP-98), the only one of its id: whoever was one before writes nothing any more.
#[async_trait]
pub trait Transactor: Send + Sync {
    /// Writes the records, and how far a group without members is, in one transaction. After an error nobody knows whether it was; the
    /// next writer of this id finds out, because it is made only when what was under way has ended.
    async fn write(
        &self,
        records: Outgoing,
        group: &str,
        offsets: &BTreeMap<TopicPartition, CommittedOffset>,
    ) -> Result<(), AdminError>;
}
