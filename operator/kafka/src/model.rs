//! What is asked of Kafka and what it answers, in plain values without a client's types.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use uuid::Uuid;

/// A cluster as DescribeCluster gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// Kafka's cluster id: two connections with one id reach one cluster.
    pub id: String,
    /// The broker to which controller requests go (under KRaft any live one), if there is one.
    pub controller: Option<i32>,
    /// Live (unfenced) brokers, by id.
    pub brokers: Vec<Broker>,
}

/// A live broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    /// `node.id`.
    pub id: i32,
    /// Advertised host on the listener that was asked.
    pub host: String,
    /// Advertised port.
    pub port: u16,
    /// `broker.rack`.
    pub rack: Option<String>,
}

/// A topic as a broker knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    /// Name.
    pub name: String,
    /// Id (KIP-516): another one means another topic, whatever its name.
    pub id: Uuid,
    /// Kafka's own (`__consumer_offsets`, ...).
    pub internal: bool,
    /// By index.
    pub partitions: Vec<Partition>,
}

impl Topic {
    /// Replicas of the partition that has the most: during a reassignment that includes the ones to come.
    pub fn replication_factor(&self) -> usize {
        self.partitions.iter().map(|partition| partition.replicas.len()).max().unwrap_or(0)
    }
}

/// A partition as a broker knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// From 0.
    pub index: i32,
    /// Leading broker; none while it has no leader.
    pub leader: Option<i32>,
    /// Epoch of the leadership, when known.
    pub leader_epoch: Option<i32>,
    /// Brokers that hold it, the preferred leader first.
    pub replicas: Vec<i32>,
    /// Brokers in sync.
    pub isr: Vec<i32>,
    /// Brokers that should hold it and are down.
    pub offline: Vec<i32>,
}

/// A topic to create.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTopic {
    /// Name.
    pub name: String,
    /// How many; Kafka refuses less than 1 (but -1, its default, is left to it).
    pub partitions: i32,
    /// Replicas of each; -1 is the broker's default.
    pub replication_factor: i16,
    /// Its own configuration, key -> value.
    pub configs: BTreeMap<String, String>,
}

impl NewTopic {
    /// A topic without configuration of its own.
    pub fn new(name: impl Into<String>, partitions: i32, replication_factor: i16) -> Self {
        Self { name: name.into(), partitions, replication_factor, configs: BTreeMap::new() }
    }

    /// With one more configuration key.
    #[must_use]
    pub fn config(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.configs.insert(key.into(), value.into());
        self
    }
}

/// All keys of a topic's configuration.
pub type TopicConfig = BTreeMap<String, ConfigEntry>;

/// One key's value and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigEntry {
    /// The value; none when it is sensitive or has none.
    pub value: Option<String>,
    /// Where it comes from.
    pub source: ConfigSource,
    /// Cannot be changed at run time.
    pub read_only: bool,
    /// Kafka keeps the value to itself.
    pub sensitive: bool,
}

/// Where a configuration value comes from (Kafka's ConfigSource).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigSource {
    /// Set on the topic itself: what `alter_configs` sets and resets.
    Topic,
    /// Set on this broker at run time.
    DynamicBroker,
    /// Set on all brokers at run time.
    DynamicDefaultBroker,
    /// In the broker's properties file.
    StaticBroker,
    /// Kafka's own default.
    Default,
    /// Something newer, by its number on the wire.
    Other(i8),
}

/// A change to a topic's own configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigChange {
    /// Key -> value to set.
    pub set: BTreeMap<String, String>,
    /// Keys to give back to the broker's default. One that was not set is no error.
    pub reset: BTreeSet<String>,
}

impl ConfigChange {
    /// Nothing to do.
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.reset.is_empty()
    }
}

/// A partition of a topic.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// Topic name.
    pub topic: String,
    /// Partition index.
    pub partition: i32,
}

impl TopicPartition {
    /// Names a partition.
    pub fn new(topic: impl Into<String>, partition: i32) -> Self {
        Self { topic: topic.into(), partition }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

/// A consumer group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// `group.id`.
    pub id: String,
    /// Its protocol.
    pub kind: GroupKind,
    /// Where it is in its life.
    pub state: GroupState,
    /// Who is in it.
    pub members: Vec<Member>,
    /// KIP-848: goes up with every change of the group. Classic groups do not tell theirs.
    pub epoch: Option<i32>,
}

/// The protocol of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupKind {
    /// JoinGroup, SyncGroup: the assignment is made by a member.
    Classic,
    /// KIP-848: the assignment is made by the coordinator.
    Consumer,
    /// Another kind (share, streams), by its name.
    Other(String),
}

/// A group's state (Kafka's GroupState; which ones occur depends on the protocol).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupState {
    /// No members, offsets kept.
    Empty,
    /// KIP-848: the coordinator computes an assignment.
    Assigning,
    /// KIP-848: members move to the new assignment.
    Reconciling,
    /// Classic: members are joining.
    PreparingRebalance,
    /// Classic: waits for the assignment.
    CompletingRebalance,
    /// All members have their partitions.
    Stable,
    /// Being removed.
    Dead,
    /// Something newer, by its name.
    Other(String),
}

impl GroupState {
    /// Reads Kafka's name.
    pub fn from_name(name: &str) -> Self {
        match name {
            "Empty" => Self::Empty,
            "Assigning" => Self::Assigning,
            "Reconciling" => Self::Reconciling,
            "PreparingRebalance" => Self::PreparingRebalance,
            "CompletingRebalance" => Self::CompletingRebalance,
            "Stable" => Self::Stable,
            "Dead" => Self::Dead,
            other => Self::Other(other.to_owned()),
        }
    }
}

/// A member of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Given by the coordinator (classic) or chosen by the member (KIP-848).
    pub id: String,
    /// `group.instance.id` of a static member.
    pub instance_id: Option<String>,
    /// `client.id`.
    pub client_id: String,
    /// Where it connects from.
    pub host: String,
    /// Topic -> partitions that it owns now; none when Kafka cannot tell (a classic group of another protocol).
    pub assignment: Option<BTreeMap<String, BTreeSet<i32>>>,
}

/// What a group has committed for a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedOffset {
    /// Offset of the next record to process.
    pub offset: i64,
    /// The text committed with it; empty when none was given.
    pub metadata: String,
}

/// Which offset of a partition is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetSpec {
    /// Log start.
    Earliest,
    /// High watermark: the end as read_uncommitted consumers see it.
    Latest,
    /// Last stable offset: the end as read_committed consumers see it, below any open transaction.
    LastStable,
    /// The first record at or after a time, in milliseconds since the Unix epoch.
    Timestamp(i64),
    /// The record with the greatest timestamp (KIP-734).
    MaxTimestamp,
}

/// An offset that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListedOffset {
    /// The offset.
    pub offset: i64,
    /// Time of the record there, in milliseconds since the Unix epoch, when the spec is about a record.
    pub timestamp: Option<i64>,
}

/// What a read_committed consumer finds of a partition from an offset on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Readable {
    /// Records; too high where there are many, and 0 only where there is none.
    pub records: i64,
    /// The first of them, with its time, as far as it was looked.
    pub first: Option<ListedOffset>,
}
