//! A cluster in memory that answers as Kafka does, for unit tests of whoever calls [`KafkaAdmin`].
//!
//! In three parts: what it answers (here, with `state`, `configs` and `access`), what happens to a cluster besides us (`world`: edits with
//! a CLI, records, groups, brokers that stop), and what tests need (`faults`: failures to come, calls that were made).

mod access;
mod configs;
mod faults;
mod records;
mod state;
#[cfg(test)]
mod tests;
mod transactor;
mod world;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use tidegate_settings::binding::Secret;
use uuid::Uuid;

pub use self::faults::{Call, Fault};
use self::{faults::Verdict, state::State};
use crate::{
    Acl, AclFilter, Action, AdminError, Api, Cluster, CommittedOffset, ConfigChange, Credential, ErrorCode, Group,
    GroupKind, GroupState, KafkaAdmin, ListedOffset, NewTopic, OffsetSpec, PerItem, Portion, Readable, Topic,
    TopicConfig, TopicPartition, Transactor, WriteMode,
};

/// Kafka's no: the protocol's error and the broker's message.
type Refusal = (ErrorCode, String);

/// A cluster in memory. Clones are the same cluster.
#[derive(Clone)]
pub struct Twin {
    state: Arc<Mutex<State>>,
}

impl fmt::Debug for Twin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Twin").finish_non_exhaustive()
    }
}

impl Default for Twin {
    fn default() -> Self {
        Self::new()
    }
}

impl Twin {
    /// An empty cluster of three brokers (0, 1, 2).
    pub fn new() -> Self {
        Self::with_brokers(3)
    }

    /// An empty cluster of brokers 0 to `count - 1`.
    pub fn with_brokers(count: i32) -> Self {
        Self { state: Arc::new(Mutex::new(State::new(count))) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers one call item by item, with the failures that were ordered for it.
    fn each<K, V>(
        &self,
        api: Api,
        mode: WriteMode,
        keys: impl IntoIterator<Item = K>,
        mut answer: impl FnMut(&mut State, &K) -> Result<V, Refusal>,
    ) -> PerItem<K, V>
    where
        K: Ord + fmt::Display,
    {
        let keys: BTreeSet<K> = keys.into_iter().collect();
        let mut state = self.state();
        if !keys.is_empty() {
            state.faults.record(api, mode, keys.iter().map(ToString::to_string).collect());
        }
        let verdict = if keys.is_empty() { Verdict::Answer } else { state.faults.verdict(api) };
        keys.into_iter()
            .map(|key| {
                let action = Action::new(api, &key);
                let item = state.faults.item_verdict(api, &action.subject);
                let outcome = match (&verdict, item) {
                    (Verdict::Fail(fault), _) => Err(fault.error(action)),
                    (_, Some(fault)) => Err(fault.error(action)),
                    (Verdict::ApplyThenFail(fault), None) => {
                        let _ = answer(&mut state, &key);
                        Err(fault.error(action))
                    }
                    (Verdict::Answer, None) => answer(&mut state, &key)
                        .map_err(|(code, message)| AdminError::Refused { action, code, message }),
                };
                (key, outcome)
            })
            .collect()
    }
}

#[async_trait]
impl KafkaAdmin for Twin {
    async fn cluster(&self) -> Result<Cluster, AdminError> {
        let described = self.each(Api::DescribeCluster, WriteMode::ValidateOnly, [""], |state, _| Ok(state.cluster()));
        described.into_values().next().unwrap_or_else(|| Ok(self.state().cluster()))
    }

    async fn describe_topics(&self, names: &[String]) -> PerItem<String, Topic> {
        self.each(Api::DescribeTopics, WriteMode::ValidateOnly, names.iter().cloned(), |state, name| {
            state.visible_topic(name).map(|topic| topic.describe(name))
        })
    }

    async fn create_topics(&self, topics: &[NewTopic], mode: WriteMode) -> PerItem<String, Option<Uuid>> {
        let mut wanted: BTreeMap<&str, Vec<&NewTopic>> = BTreeMap::new();
        for topic in topics {
            wanted.entry(&topic.name).or_default().push(topic);
        }
        let names = wanted.keys().map(|name| (*name).to_owned());
        self.each(Api::CreateTopics, mode, names, |state, name| match wanted.get(name.as_str()).map(Vec::as_slice) {
            Some([topic]) => state.create(topic, mode),
            _ => Err((ErrorCode::INVALID_REQUEST, "Duplicate topic name.".to_owned())),
        })
    }

    async fn create_partitions(&self, totals: &BTreeMap<String, i32>, mode: WriteMode) -> PerItem<String, ()> {
        self.each(Api::CreatePartitions, mode, totals.keys().cloned(), |state, name| {
            state.grow(name, totals.get(name).copied().unwrap_or_default(), mode)
        })
    }

    async fn delete_topics(&self, ids: &[Uuid]) -> PerItem<Uuid, ()> {
        self.each(Api::DeleteTopics, WriteMode::Apply, ids.iter().copied(), |state, id| state.delete(*id))
    }

    async fn describe_configs(&self, topics: &[String]) -> PerItem<String, TopicConfig> {
        self.each(Api::DescribeConfigs, WriteMode::ValidateOnly, topics.iter().cloned(), |state, name| {
            state.visible_topic(name).map(|topic| configs::describe(&topic.configs))
        })
    }

    async fn alter_configs(&self, changes: &BTreeMap<String, ConfigChange>, mode: WriteMode) -> PerItem<String, ()> {
        self.each(Api::AlterConfigs, mode, changes.keys().cloned(), |state, name| match changes.get(name) {
            Some(change) => state.alter(name, change, mode),
            None => Ok(()),
        })
    }

    async fn describe_groups(&self, ids: &[String]) -> PerItem<String, Group> {
        self.each(Api::DescribeGroups, WriteMode::ValidateOnly, ids.iter().cloned(), |state, id| {
            let group = state.groups.get(id).filter(|group| group.exists());
            let group = group.ok_or_else(|| (ErrorCode::GROUP_ID_NOT_FOUND, format!("Group {id} not found.")))?;
            let state = if group.members.is_empty() { GroupState::Empty } else { GroupState::Stable };
            let epoch = (group.kind == GroupKind::Consumer).then_some(group.epoch);
            Ok(Group { id: id.clone(), kind: group.kind.clone(), state, members: group.members.clone(), epoch })
        })
    }

    async fn committed_offsets(&self, groups: &[String]) -> PerItem<String, BTreeMap<TopicPartition, CommittedOffset>> {
        self.each(Api::CommittedOffsets, WriteMode::ValidateOnly, groups.iter().cloned(), |state, id| {
            Ok(state.groups.get(id).map(|group| group.committed.clone()).unwrap_or_default())
        })
    }

    async fn list_offsets(
        &self,
        wanted: &BTreeMap<TopicPartition, OffsetSpec>,
    ) -> PerItem<TopicPartition, Option<ListedOffset>> {
        self.each(Api::ListOffsets, WriteMode::ValidateOnly, wanted.keys().cloned(), |state, key| {
            let spec = wanted.get(key).copied().unwrap_or(OffsetSpec::Latest);
            state.led(key).map(|partition| partition.log.offset(spec))
        })
    }

    async fn records_from(&self, offsets: &BTreeMap<TopicPartition, i64>) -> PerItem<TopicPartition, Readable> {
        self.each(Api::FetchRecords, WriteMode::ValidateOnly, offsets.keys().cloned(), |state, key| {
            let from = offsets.get(key).copied().unwrap_or_default();
            state.led(key)?.log.records_from(from)
        })
    }

    async fn list_users(&self) -> Result<BTreeMap<String, Vec<Credential>>, AdminError> {
        let listed = self.each(Api::ListUsers, WriteMode::ValidateOnly, [""], |state, _| {
            let credentials = |user: &String| Ok((user.clone(), state.credentials(user)?));
            state.users.keys().map(credentials).collect()
        });
        listed.into_values().next().unwrap_or_else(|| Ok(BTreeMap::new()))
    }

    async fn describe_users(&self, users: &[String]) -> PerItem<String, Vec<Credential>> {
        self.each(Api::DescribeUsers, WriteMode::ValidateOnly, users.iter().cloned(), |state, user| {
            state.credentials(user)
        })
    }

    async fn upsert_users(&self, passwords: &BTreeMap<String, Secret>) -> PerItem<String, ()> {
        self.each(Api::AlterUsers, WriteMode::Apply, passwords.keys().cloned(), |state, user| {
            passwords.get(user).map_or(Ok(()), |password| state.upsert_user(user, password))
        })
    }

    async fn delete_users(&self, users: &[String]) -> PerItem<String, ()> {
        self.each(Api::DeleteUsers, WriteMode::Apply, users.iter().cloned(), |state, user| state.delete_user(user))
    }

    async fn describe_acls(&self, filter: &AclFilter) -> Result<BTreeSet<Acl>, AdminError> {
        let described = self.each(Api::DescribeAcls, WriteMode::ValidateOnly, [filter.clone()], |state, filter| {
            Ok(state.acls.iter().filter(|acl| filter.matches(acl)).cloned().collect())
        });
        described.into_values().next().unwrap_or_else(|| Ok(BTreeSet::new()))
    }

    async fn create_acls(&self, acls: &BTreeSet<Acl>) -> PerItem<Acl, ()> {
        self.each(Api::CreateAcls, WriteMode::Apply, acls.iter().cloned(), |state, acl| state.create_acl(acl))
    }

    async fn delete_acls(&self, filters: &BTreeSet<AclFilter>) -> PerItem<AclFilter, BTreeSet<Acl>> {
        self.each(Api::DeleteAcls, WriteMode::Apply, filters.iter().cloned(), |state, filter| {
            Ok(state.delete_acls(filter))
        })
    }

    async fn read_records(&self, from: &BTreeMap<TopicPartition, i64>) -> PerItem<TopicPartition, Portion> {
        self.each(Api::ReadRecords, WriteMode::ValidateOnly, from.keys().cloned(), |state, key| {
            state.partition(key)?.log.read(from.get(key).copied().unwrap_or_default())
        })
    }

    async fn set_offsets(&self, group: &str, offsets: &BTreeMap<TopicPartition, i64>) -> PerItem<TopicPartition, ()> {
        self.each(Api::SetOffsets, WriteMode::Apply, offsets.keys().cloned(), |state, key| {
            state.set_offset(group, key, offsets.get(key).copied().unwrap_or_default())
        })
    }

    async fn forget_offsets(&self, group: &str, partitions: &[TopicPartition]) -> PerItem<TopicPartition, ()> {
        self.each(Api::ForgetOffsets, WriteMode::Apply, partitions.iter().cloned(), |state, key| {
            state.forget_offset(group, key)
        })
    }

    async fn transactor(&self, id: &str) -> Result<Box<dyn Transactor>, AdminError> {
        self.open_transactor(id)
    }
}
