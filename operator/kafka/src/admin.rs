//! The trait that controllers call: batched, each item with its own outcome.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use async_trait::async_trait;
use tidegate_settings::binding::Secret;
use uuid::Uuid;

use crate::{
    Acl, AclFilter, AdminError, Cluster, CommittedOffset, ConfigChange, Credential, Group, ListedOffset, NewTopic,
    OffsetSpec, Portion, Readable, Topic, TopicConfig, TopicPartition, Transactor,
};

/// One outcome for each item that was asked for. What hits the whole call (no broker reachable, a wrong password) is every
/// item's error, so a caller that cares for one object looks in one place.
pub type PerItem<K, V> = BTreeMap<K, Result<V, AdminError>>;

/// Whether a write changes anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteMode {
    /// Do it.
    Apply,
    /// Let Kafka check it (names, values, replicas, policies) and change nothing.
    ValidateOnly,
}

/// Administration of one Kafka cluster. Shared by all controllers as `Arc<dyn KafkaAdmin>`.
///
/// Calls take any number of items and split them into requests of bounded size. Every call ends within a deadline. A write
/// that fails with [`AdminError::Unreachable`] or [`AdminError::Deadline`] may have been applied: observe before repeating.
#[async_trait]
pub trait KafkaAdmin: fmt::Debug + Send + Sync {
    /// The cluster's id and its live brokers.
    async fn cluster(&self) -> Result<Cluster, AdminError>;

    /// Topics as one broker knows them now. A topic that it does not know is `UNKNOWN_TOPIC_OR_PARTITION`, which for a moment
    /// after creation is also true of one that exists.
    async fn describe_topics(&self, names: &[String]) -> PerItem<String, Topic>;

    /// Creates topics. The answer holds the new topic's id (none when only validating). A name given twice is
    /// `INVALID_REQUEST`, as Kafka says it.
    async fn create_topics(&self, topics: &[NewTopic], mode: WriteMode) -> PerItem<String, Option<Uuid>>;

    /// Raises partition counts to the given totals. A total that is not greater than the present count is
    /// `INVALID_PARTITIONS`.
    async fn create_partitions(&self, totals: &BTreeMap<String, i32>, mode: WriteMode) -> PerItem<String, ()>;

    /// Deletes topics by id (DeleteTopics v6, KIP-516), so that a topic recreated under the same name is never hit. An id
    /// that no topic has is `UNKNOWN_TOPIC_ID`.
    async fn delete_topics(&self, ids: &[Uuid]) -> PerItem<Uuid, ()>;

    /// Every configuration key of topics, with where its value comes from.
    async fn describe_configs(&self, topics: &[String]) -> PerItem<String, TopicConfig>;

    /// Sets and resets single keys of topics (IncrementalAlterConfigs, KIP-339); other keys are left alone. A topic's change
    /// is applied whole or not at all.
    async fn alter_configs(&self, changes: &BTreeMap<String, ConfigChange>, mode: WriteMode) -> PerItem<String, ()>;

    /// Consumer groups of the classic and the KIP-848 protocol alike. A group that does not exist is `GROUP_ID_NOT_FOUND`.
    async fn describe_groups(&self, ids: &[String]) -> PerItem<String, Group>;

    /// What groups have committed; an open transaction's offsets count when it commits. A partition without a commit is
    /// absent; a group that does not exist has committed nothing.
    async fn committed_offsets(&self, groups: &[String]) -> PerItem<String, BTreeMap<TopicPartition, CommittedOffset>>;

    /// Offsets of partitions, from their leaders, in one try: one that has no leader at the moment is `LEADER_NOT_AVAILABLE`
    /// and keeps nobody waiting. `None`: the partition holds no record that the spec describes (only
    /// [`OffsetSpec::Timestamp`] and [`OffsetSpec::MaxTimestamp`]).
    async fn list_offsets(
        &self,
        wanted: &BTreeMap<TopicPartition, OffsetSpec>,
    ) -> PerItem<TopicPartition, Option<ListedOffset>>;

    /// What a read_committed consumer finds at or behind each offset: the markers and the aborted records of transactions are
    /// nothing, nor is what compaction removed. What one short request does not reach is counted by its offsets, so the number may be
    /// too high, but 0 is 0. An offset outside the log is `OFFSET_OUT_OF_RANGE`. Takes the right to read the topics.
    async fn records_from(&self, offsets: &BTreeMap<TopicPartition, i64>) -> PerItem<TopicPartition, Readable>;

    /// Every SCRAM user of the cluster, with its credentials.
    async fn list_users(&self) -> Result<BTreeMap<String, Vec<Credential>>, AdminError>;

    /// The credentials of SCRAM users. One that does not exist is `RESOURCE_NOT_FOUND`.
    async fn describe_users(&self, users: &[String]) -> PerItem<String, Vec<Credential>>;

    /// Makes users, or gives those that exist another password, for SCRAM-SHA-512. Kafka gets salted passwords only (KIP-554): it never
    /// sees, and nobody can read back, the passwords themselves.
    async fn upsert_users(&self, passwords: &BTreeMap<String, Secret>) -> PerItem<String, ()>;

    /// Deletes users (their SCRAM-SHA-512 credentials). One that does not exist is `RESOURCE_NOT_FOUND`. Its ACLs stay, and so do the
    /// connections that it has.
    async fn delete_users(&self, users: &[String]) -> PerItem<String, ()>;

    /// ACLs that a filter matches. For a moment after a change one broker may still answer as before it.
    async fn describe_acls(&self, filter: &AclFilter) -> Result<BTreeSet<Acl>, AdminError>;

    /// Creates ACLs. One that exists is no error.
    async fn create_acls(&self, acls: &BTreeSet<Acl>) -> PerItem<Acl, ()>;

    /// Deletes the ACLs that filters match; the answer is which. None is no error.
    async fn delete_acls(&self, filters: &BTreeSet<AclFilter>) -> PerItem<AclFilter, BTreeSet<Acl>>;

    /// Some records of each partition from an offset on, as a read_committed consumer gets them; to be asked on from where the answer
    /// ends. An offset outside the log is `OFFSET_OUT_OF_RANGE`. Takes the right to read the topics.
    async fn read_records(&self, from: &BTreeMap<TopicPartition, i64>) -> PerItem<TopicPartition, Portion>;

    /// Sets what a group has committed, without metadata; a group that does not exist begins to. One that has members refuses with
    /// `UNKNOWN_MEMBER_ID`. Partitions that are not named stay as they are.
    async fn set_offsets(&self, group: &str, offsets: &BTreeMap<TopicPartition, i64>) -> PerItem<TopicPartition, ()>;

    /// Makes a group forget what it has committed for partitions, as if it had never read them. A group whose members have subscribed
    /// to the topic refuses with `GROUP_SUBSCRIBED_TO_TOPIC`; what was not committed is no error.
    async fn forget_offsets(&self, group: &str, partitions: &[TopicPartition]) -> PerItem<TopicPartition, ()>;

    /// Becomes the writer of transactions of an id. Whoever was it before writes nothing any more, and what it had under way has ended,
    /// one way or the other, when this answers.
    async fn transactor(&self, id: &str) -> Result<Box<dyn Transactor>, AdminError>;
}
