//! What the cluster holds, and the rules by which Kafka's controller accepts or refuses a change.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_settings::binding::Secret;
use uuid::Uuid;

use super::{Refusal, configs, faults::Faults};
use crate::{
    Acl, Broker, Cluster, CommittedOffset, ConfigChange, ErrorCode, GroupKind, ListedOffset, LoggedRecord, Member,
    NewTopic, OffsetSpec, Partition, Readable, Topic, TopicPartition, WriteMode,
};

pub(super) struct State {
    pub(super) id: String,
    pub(super) brokers: BTreeSet<i32>,
    pub(super) stopped: BTreeSet<i32>,
    pub(super) topics: BTreeMap<String, StoredTopic>,
    pub(super) groups: BTreeMap<String, StoredGroup>,
    /// How many writers each transactional id has had.
    pub(super) transactors: BTreeMap<String, u32>,
    /// Users with their passwords.
    pub(super) users: BTreeMap<String, Secret>,
    pub(super) acls: BTreeSet<Acl>,
    /// How many more times a topic created from now on is "not yet" known to the broker that is asked.
    pub(super) unknown_after_creation: u32,
    pub(super) faults: Faults,
}

pub(super) struct StoredTopic {
    pub(super) id: Uuid,
    pub(super) partitions: Vec<StoredPartition>,
    pub(super) configs: BTreeMap<String, String>,
    hidden: u32,
}

#[derive(Clone)]
pub(super) struct StoredPartition {
    pub(super) description: Partition,
    pub(super) log: Log,
}

/// A partition's records: their times, from `start` up.
#[derive(Clone, Default)]
pub(super) struct Log {
    pub(super) start: i64,
    pub(super) times: Vec<i64>,
    /// First offset of the open transaction.
    pub(super) open_from: Option<i64>,
    /// Offsets at which there is no record: the markers that ended transactions, and what compaction removed.
    pub(super) gone: BTreeSet<i64>,
    /// What records carry, where a test says so.
    pub(super) contents: BTreeMap<i64, LoggedRecord>,
}

pub(super) struct StoredGroup {
    pub(super) kind: GroupKind,
    pub(super) members: Vec<Member>,
    pub(super) committed: BTreeMap<TopicPartition, CommittedOffset>,
    /// Goes up with every change of the members (KIP-848).
    pub(super) epoch: i32,
}

impl StoredGroup {
    pub(super) fn new(kind: GroupKind) -> Self {
        Self { kind, members: Vec::new(), committed: BTreeMap::new(), epoch: 0 }
    }

    pub(super) fn exists(&self) -> bool {
        !self.members.is_empty() || !self.committed.is_empty()
    }
}

impl Log {
    pub(super) fn end(&self) -> i64 {
        self.start + i64::try_from(self.times.len()).unwrap_or(i64::MAX)
    }

    pub(super) fn offset(&self, spec: OffsetSpec) -> Option<ListedOffset> {
        let end = |offset| Some(ListedOffset { offset, timestamp: None });
        let mut records =
            self.times.iter().zip(self.start..).map(|(time, offset)| ListedOffset { offset, timestamp: Some(*time) });
        match spec {
            OffsetSpec::Earliest => end(self.start),
            OffsetSpec::Latest => end(self.end()),
            OffsetSpec::LastStable => end(self.open_from.unwrap_or(self.end())),
            OffsetSpec::Timestamp(wanted) => records.find(|record| record.timestamp >= Some(wanted)),
            // Of equal times the first.
            OffsetSpec::MaxTimestamp => {
                records.max_by_key(|record| (record.timestamp, std::cmp::Reverse(record.offset)))
            }
        }
    }
}

impl Log {
    /// What a read_committed consumer finds at or behind `from`.
    pub(super) fn records_from(&self, from: i64) -> Result<Readable, Refusal> {
        if !(self.start..=self.end()).contains(&from) {
            return refuse(
                ErrorCode::OFFSET_OUT_OF_RANGE,
                "The requested offset is not within the range of offsets maintained by the server.",
            );
        }
        let stable = self.open_from.unwrap_or(self.end());
        let time = |offset: i64| usize::try_from(offset - self.start).ok().and_then(|at| self.times.get(at)).copied();
        let mut readable = (from..stable).filter(|offset| !self.gone.contains(offset)).peekable();
        let first = readable.peek().map(|offset| ListedOffset { offset: *offset, timestamp: time(*offset) });
        Ok(Readable { records: i64::try_from(readable.count()).unwrap_or(i64::MAX), first })
    }
}

impl StoredTopic {
    pub(super) fn describe(&self, name: &str) -> Topic {
        Topic {
            name: name.to_owned(),
            id: self.id,
            internal: name.starts_with("__"),
            partitions: self.partitions.iter().map(|partition| partition.description.clone()).collect(),
        }
    }
}

pub(super) fn refuse<T>(code: ErrorCode, message: impl Into<String>) -> Result<T, Refusal> {
    Err((code, message.into()))
}

fn unknown_topic<T>() -> Result<T, Refusal> {
    refuse(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, "This server does not host this topic-partition.")
}

impl State {
    pub(super) fn new(brokers: i32) -> Self {
        Self {
            id: format!("twin-{}", Uuid::new_v4().simple()),
            brokers: (0..brokers).collect(),
            stopped: BTreeSet::new(),
            topics: BTreeMap::new(),
            groups: BTreeMap::new(),
            transactors: BTreeMap::new(),
            users: BTreeMap::new(),
            acls: BTreeSet::new(),
            unknown_after_creation: 0,
            faults: Faults::default(),
        }
    }

    pub(super) fn cluster(&self) -> Cluster {
        let brokers: Vec<Broker> = self
            .brokers
            .difference(&self.stopped)
            .map(|id| Broker { id: *id, host: format!("broker-{id}"), port: 9092, rack: None })
            .collect();
        Cluster { id: self.id.clone(), controller: brokers.first().map(|broker| broker.id), brokers }
    }

    /// The topic as the broker that is asked knows it: not yet, for a while after creation.
    pub(super) fn visible_topic(&mut self, name: &str) -> Result<&StoredTopic, Refusal> {
        match self.topics.get_mut(name) {
            None => unknown_topic(),
            Some(topic) if topic.hidden > 0 => {
                topic.hidden -= 1;
                unknown_topic()
            }
            Some(topic) => Ok(topic),
        }
    }

    pub(super) fn partition(&mut self, key: &TopicPartition) -> Result<&mut StoredPartition, Refusal> {
        let index = usize::try_from(key.partition).unwrap_or(usize::MAX);
        let topic = self.topics.get_mut(&key.topic);
        match topic.and_then(|topic| topic.partitions.get_mut(index)) {
            Some(partition) => Ok(partition),
            None => unknown_topic(),
        }
    }

    /// The partition as its leader knows it.
    pub(super) fn led(&mut self, key: &TopicPartition) -> Result<&mut StoredPartition, Refusal> {
        let partition = self.partition(key)?;
        if partition.description.leader.is_none() {
            return refuse(ErrorCode::LEADER_NOT_AVAILABLE, "the partition has no leader at the moment");
        }
        Ok(partition)
    }

    pub(super) fn create(&mut self, topic: &NewTopic, mode: WriteMode) -> Result<Option<Uuid>, Refusal> {
        check_name(&topic.name)?;
        if self.topics.contains_key(&topic.name) {
            return refuse(ErrorCode::TOPIC_ALREADY_EXISTS, format!("Topic '{}' already exists.", topic.name));
        }
        // Metric names cannot tell a dot from an underscore.
        let plain = |name: &str| name.replace('.', "_");
        if let Some(other) = self.topics.keys().find(|name| plain(name) == plain(&topic.name)) {
            let message = format!("Topic '{}' collides with existing topic: {other}", topic.name);
            return refuse(ErrorCode::INVALID_TOPIC_EXCEPTION, message);
        }
        configs::check(&topic.configs)?;
        let partitions = match topic.partitions {
            -1 => 1,
            count if count < 1 => {
                return refuse(
                    ErrorCode::INVALID_PARTITIONS,
                    "Number of partitions was set to an invalid non-positive value.",
                );
            }
            count => count,
        };
        let replicas = self.check_replicas(topic.replication_factor)?;
        if mode == WriteMode::ValidateOnly {
            return Ok(None);
        }
        let id = Uuid::new_v4();
        let partitions = (0..partitions).map(|index| self.place(index, replicas)).collect();
        let hidden = self.unknown_after_creation;
        self.topics.insert(topic.name.clone(), StoredTopic { id, partitions, configs: topic.configs.clone(), hidden });
        Ok(Some(id))
    }

    fn check_replicas(&self, wanted: i16) -> Result<usize, Refusal> {
        let code = ErrorCode::INVALID_REPLICATION_FACTOR;
        match usize::try_from(wanted) {
            Err(_) if wanted == -1 => Ok(self.brokers.len().min(3)),
            Err(_) | Ok(0) => refuse(code, "Replication factor must be larger than 0, or -1 to use the default value."),
            Ok(wanted) if wanted > self.brokers.len() => refuse(
                code,
                format!(
                    "Unable to replicate the partition {wanted} time(s): The target replication factor of {wanted} cannot \
                     be reached because only {} broker(s) are registered.",
                    self.brokers.len()
                ),
            ),
            Ok(wanted) => Ok(wanted),
        }
    }

    /// Replicas side by side on the ring of brokers, one further for each partition.
    fn place(&self, index: i32, replicas: usize) -> StoredPartition {
        let first = usize::try_from(index).unwrap_or_default() % self.brokers.len().max(1);
        let replicas: Vec<i32> = self.brokers.iter().cycle().skip(first).take(replicas).copied().collect();
        let description = Partition {
            index,
            leader: None,
            leader_epoch: Some(0),
            isr: replicas.clone(),
            replicas,
            offline: Vec::new(),
        };
        let mut partition = StoredPartition { description, log: Log::default() };
        partition.elect(&self.stopped);
        partition
    }

    pub(super) fn grow(&mut self, name: &str, total: i32, mode: WriteMode) -> Result<(), Refusal> {
        let Some(topic) = self.topics.get(name) else { return unknown_topic() };
        let present = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
        if total == present {
            return refuse(ErrorCode::INVALID_PARTITIONS, format!("Topic already has {present} partition(s)."));
        }
        if total < present {
            let message =
                format!("The topic {name} currently has {present} partition(s); {total} would not be an increase.");
            return refuse(ErrorCode::INVALID_PARTITIONS, message);
        }
        if mode == WriteMode::Apply {
            let replicas = topic.partitions.first().map_or(1, |partition| partition.description.replicas.len());
            let added: Vec<StoredPartition> = (present..total).map(|index| self.place(index, replicas)).collect();
            if let Some(topic) = self.topics.get_mut(name) {
                topic.partitions.extend(added);
            }
        }
        Ok(())
    }

    pub(super) fn delete(&mut self, id: Uuid) -> Result<(), Refusal> {
        let name = self.topics.iter().find(|(_, topic)| topic.id == id).map(|(name, _)| name.clone());
        let Some(name) = name else {
            return refuse(ErrorCode::UNKNOWN_TOPIC_ID, "This server does not host this topic ID.");
        };
        self.topics.remove(&name);
        for group in self.groups.values_mut() {
            group.committed.retain(|partition, _| partition.topic != name);
        }
        Ok(())
    }

    pub(super) fn alter(&mut self, name: &str, change: &ConfigChange, mode: WriteMode) -> Result<(), Refusal> {
        let Some(topic) = self.topics.get_mut(name) else { return unknown_topic() };
        if change.set.keys().any(|key| change.reset.contains(key)) {
            return refuse(ErrorCode::INVALID_REQUEST, "Error due to duplicate config keys");
        }
        let mut configs = topic.configs.clone();
        configs.retain(|key, _| !change.reset.contains(key));
        configs.extend(change.set.clone());
        configs::check(&configs)?;
        if mode == WriteMode::Apply {
            topic.configs = configs;
        }
        Ok(())
    }
}

impl StoredPartition {
    /// The first live replica in sync leads; a stopped one leaves the in-sync set, unless it is the last.
    pub(super) fn elect(&mut self, stopped: &BTreeSet<i32>) {
        let description = &mut self.description;
        let live = |id: &i32| !stopped.contains(id);
        description.offline = description.replicas.iter().filter(|id| !live(id)).copied().collect();
        let in_sync: Vec<i32> = description.isr.iter().filter(|id| live(id)).copied().collect();
        if !in_sync.is_empty() {
            description.isr = in_sync;
        }
        let leader = description.replicas.iter().find(|id| live(id) && description.isr.contains(id)).copied();
        if leader != description.leader && description.leader.is_some() {
            description.leader_epoch = description.leader_epoch.map(|epoch| epoch + 1);
        }
        description.leader = leader;
    }
}

fn check_name(name: &str) -> Result<(), Refusal> {
    let reason = match name {
        "" => "the empty string is not allowed".to_owned(),
        "." => "'.' is not allowed".to_owned(),
        ".." => "'..' is not allowed".to_owned(),
        _ if name.len() > 249 => format!("the length of '{name}' is longer than the max allowed length 249"),
        _ if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)) => {
            format!("'{name}' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'")
        }
        _ => return Ok(()),
    };
    refuse(ErrorCode::INVALID_TOPIC_EXCEPTION, format!("Topic name is invalid: {reason}"))
}
