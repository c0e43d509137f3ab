//! KafkaAdmin: the operator's boundary to broker administration.
//!
//! [`KafkaAdmin`] is what a controller holds, [`Krafka`] reaches a real cluster, `twin::Twin` (feature `twin`) keeps one
//! in memory for unit tests. Both answer to one contract suite (`tests/contract`), so the twin cannot lie.
//! Nothing of the client library shows outside: it can be replaced behind the trait.

mod access;
mod admin;
mod client;
mod code;
mod error;
mod metrics;
mod model;
mod records;
mod tally;
mod transactor;
#[cfg(feature = "twin")]
pub mod twin;

pub use access::{Acl, AclFilter, Credential, Operation, PatternType, Permission, ResourceType};
pub use admin::{KafkaAdmin, PerItem, WriteMode};
pub use client::{AdminOptions, Krafka};
pub use code::ErrorCode;
pub use error::{Action, AdminError, Api, ErrorClass};
pub use metrics::{Outcome, RequestMetrics};
pub use model::{
    Broker, Cluster, CommittedOffset, ConfigChange, ConfigEntry, ConfigSource, Group, GroupKind, GroupState,
    ListedOffset, Member, NewTopic, OffsetSpec, Partition, Readable, Topic, TopicConfig, TopicPartition,
};
pub use records::{LoggedRecord, Portion};
pub use tally::Tally;
pub use transactor::{Outgoing, Transactor};
