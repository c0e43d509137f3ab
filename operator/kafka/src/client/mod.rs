//! A real cluster, reached with krafka: connects when first used, splits calls into bounded requests, gives each a deadline.

mod acls;
mod batch;
mod call;
mod configs;
mod convert;
mod coordinators;
mod fetch;
mod groups;
mod leaders;
mod link;
mod offsets;
mod probe;
mod raw;
mod records;
mod set_offsets;
#[cfg(test)]
mod tests;
mod topics;
mod transactor;
mod users;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    hash::Hash,
    num::NonZeroUsize,
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use krafka::Result as KrafkaResult;
use tidegate_settings::binding::{KafkaConnection, Secret};
use tokio::time::Instant;
use uuid::Uuid;

use self::{
    call::Call,
    link::{Client, Link},
};
use crate::{
    Acl, AclFilter, Action, AdminError, Api, Cluster, CommittedOffset, ConfigChange, Credential, Group, KafkaAdmin,
    ListedOffset, NewTopic, OffsetSpec, Outcome, PerItem, Portion, Readable, RequestMetrics, Tally, Topic, TopicConfig,
    TopicPartition, Transactor, WriteMode,
};

/// Limits of a connection.
#[derive(Clone, Debug)]
pub struct AdminOptions {
    /// `client.id`, which brokers log and meter by.
    pub client_id: String,
    /// Bound on one request, with connecting, routing and retries.
    pub deadline: Duration,
    /// Bound on opening one connection; at most `deadline`.
    pub connect_timeout: Duration,
    /// Topics, users or ACLs in one request.
    pub topics_per_request: NonZeroUsize,
    /// Topics or groups in one call that only reads them.
    pub reads_per_request: NonZeroUsize,
    /// Partitions in one call that reads their offsets, which is a request of each leader.
    pub partitions_per_request: NonZeroUsize,
}

impl Default for AdminOptions {
    fn default() -> Self {
        const TOPICS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(99);
        const READS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(1_999);
        const PARTITIONS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(19_999);
        Self {
            client_id: "tidegate-operator".to_owned(),
            deadline: Duration::from_secs(15),
            connect_timeout: Duration::from_secs(5),
            topics_per_request: TOPICS,
            reads_per_request: READS,
            partitions_per_request: PARTITIONS,
        }
    }
}

/// Administration of a real cluster.
///
/// Making one contacts nobody; the first call connects. Broken connections are opened again by the next call that needs
/// them, and brokers that moved are found again from the bootstrap servers (KIP-899).
pub struct Krafka {
    link: Arc<Link>,
    options: AdminOptions,
    metrics: RequestMetrics,
    tally: Tally,
}

impl fmt::Debug for Krafka {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Krafka").field("link", &self.link).field("options", &self.options).finish_non_exhaustive()
    }
}

impl Krafka {
    /// A connection that is not yet open. Its requests are counted in `metrics`.
    pub fn new(connection: KafkaConnection, options: AdminOptions, metrics: RequestMetrics) -> Self {
        let link = Arc::new(Link::new(connection, &options));
        Self { link, options, metrics, tally: Tally::default() }
    }

    /// The same connections for somebody with less patience, whose requests are counted in `tally` by broker, too.
    #[must_use]
    pub fn beside(&self, deadline: Duration, tally: Tally) -> Self {
        let options = AdminOptions { deadline, ..self.options.clone() };
        Self { link: self.link.clone(), options, metrics: self.metrics.clone(), tally }
    }

    fn call(&self, client: Arc<Client>, deadline: Instant) -> Call {
        Call { client, tally: self.tally.clone(), deadline }
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.options.deadline
    }

    /// Runs `request` for chunks of `keys`, one after the other, and gives every key an outcome.
    async fn each<K, V, F, Fut>(
        &self,
        api: Api,
        keys: impl IntoIterator<Item = K>,
        chunk: NonZeroUsize,
        request: F,
    ) -> PerItem<K, V>
    where
        K: Clone + Ord + Hash + fmt::Display,
        F: Fn(Arc<Client>, Vec<K>, Instant) -> Fut,
        Fut: Future<Output = KrafkaResult<HashMap<K, KrafkaResult<V>>>>,
    {
        let keys: Vec<K> = keys.into_iter().collect::<BTreeSet<K>>().into_iter().collect();
        let mut outcomes = PerItem::new();
        for keys in keys.chunks(chunk.get()) {
            let deadline = self.deadline();
            let answers = match self.link.client(deadline).await {
                Ok(client) => request(client, keys.to_vec(), deadline).await,
                Err(error) => Err(error),
            };
            let mut answers = answers.map_err(|error| convert::error(Action::new(api, ""), error));
            let mut worst = Outcome::Ok;
            for key in keys {
                let outcome = match &mut answers {
                    Err(error) => Err(error.clone().about(key)),
                    Ok(answers) => answers
                        .remove(key)
                        .unwrap_or_else(|| Err(convert::missing()))
                        .map_err(|error| convert::error(Action::new(api, key), error)),
                };
                if let Err(error) = &outcome {
                    worst = worst.max(Outcome::of(error));
                }
                outcomes.insert(key.clone(), outcome);
            }
            self.metrics.record(api, worst);
        }
        outcomes
    }

    /// Runs one request that is about no item in particular.
    async fn one<V, F, Fut>(&self, api: Api, request: F) -> Result<V, AdminError>
    where
        F: FnOnce(Arc<Client>, Instant) -> Fut,
        Fut: Future<Output = KrafkaResult<V>>,
    {
        let deadline = self.deadline();
        let answer = match self.link.client(deadline).await {
            Ok(client) => request(client, deadline).await,
            Err(error) => Err(error),
        };
        let answer = answer.map_err(|error| convert::error(Action::new(api, ""), error));
        self.metrics.record(api, answer.as_ref().err().map_or(Outcome::Ok, Outcome::of));
        answer
    }

    /// Names in chunks of topics, except those which no broker has to be asked about.
    async fn each_topic<V, F, Fut>(
        &self,
        api: Api,
        names: impl IntoIterator<Item = String>,
        chunk: NonZeroUsize,
        request: F,
    ) -> PerItem<String, V>
    where
        F: Fn(Arc<Client>, Vec<String>, Instant) -> Fut,
        Fut: Future<Output = KrafkaResult<HashMap<String, KrafkaResult<V>>>>,
    {
        let (valid, invalid): (Vec<String>, Vec<String>) =
            names.into_iter().partition(|name| topics::is_sendable(name));
        let mut outcomes = self.each(api, valid, chunk, request).await;
        for name in invalid {
            let error = topics::unsendable(Action::new(api, &name));
            outcomes.insert(name, Err(error));
        }
        outcomes
    }
}

#[async_trait]
impl KafkaAdmin for Krafka {
    async fn cluster(&self) -> Result<Cluster, AdminError> {
        self.one(Api::DescribeCluster, |client, deadline| async move { topics::cluster(&client, deadline).await }).await
    }

    async fn describe_topics(&self, names: &[String]) -> PerItem<String, Topic> {
        let chunk = self.options.reads_per_request;
        self.each_topic(Api::DescribeTopics, names.iter().cloned(), chunk, |client, names, deadline| async move {
            self.tally.sent(None);
            topics::describe(&client, names, deadline).await
        })
        .await
    }

    async fn create_topics(&self, topics: &[NewTopic], mode: WriteMode) -> PerItem<String, Option<Uuid>> {
        let api = Api::CreateTopics;
        let (wanted, twice) = topics::without_duplicates(topics);
        let wanted = &wanted;
        let mut outcomes = self
            .each_topic(
                api,
                wanted.keys().cloned(),
                self.options.topics_per_request,
                |client, names, deadline| async move {
                    topics::create(&client, names.iter().filter_map(|name| wanted.get(name).copied()), mode, deadline)
                        .await
                },
            )
            .await;
        for name in twice {
            let error = topics::duplicate(Action::new(api, &name));
            outcomes.insert(name, Err(error));
        }
        outcomes
    }

    async fn create_partitions(&self, totals: &BTreeMap<String, i32>, mode: WriteMode) -> PerItem<String, ()> {
        let chunk = self.options.topics_per_request;
        self.each_topic(Api::CreatePartitions, totals.keys().cloned(), chunk, |client, names, deadline| async move {
            let totals = names.iter().filter_map(|name| totals.get(name).map(|total| (name.as_str(), *total)));
            topics::grow(&client, totals, mode, deadline).await
        })
        .await
    }

    async fn delete_topics(&self, ids: &[Uuid]) -> PerItem<Uuid, ()> {
        self.each(
            Api::DeleteTopics,
            ids.iter().copied(),
            self.options.topics_per_request,
            |client, ids, deadline| async move { topics::delete(&client, &ids, deadline).await },
        )
        .await
    }

    async fn describe_configs(&self, topics: &[String]) -> PerItem<String, TopicConfig> {
        let chunk = self.options.topics_per_request;
        self.each_topic(Api::DescribeConfigs, topics.iter().cloned(), chunk, |client, names, deadline| async move {
            self.tally.sent(None);
            configs::describe(&client, names, deadline).await
        })
        .await
    }

    async fn alter_configs(&self, changes: &BTreeMap<String, ConfigChange>, mode: WriteMode) -> PerItem<String, ()> {
        let chunk = self.options.topics_per_request;
        self.each_topic(Api::AlterConfigs, changes.keys().cloned(), chunk, |client, names, deadline| async move {
            let changes = names.iter().filter_map(|name| changes.get(name).map(|change| (name.as_str(), change)));
            configs::alter(&client, changes, mode, deadline).await
        })
        .await
    }

    async fn describe_groups(&self, ids: &[String]) -> PerItem<String, Group> {
        self.each(
            Api::DescribeGroups,
            ids.iter().cloned(),
            self.options.reads_per_request,
            |client, ids, deadline| async move { Ok(groups::describe(&self.call(client, deadline), ids).await) },
        )
        .await
    }

    async fn committed_offsets(&self, groups: &[String]) -> PerItem<String, BTreeMap<TopicPartition, CommittedOffset>> {
        self.each(
            Api::CommittedOffsets,
            groups.iter().cloned(),
            self.options.reads_per_request,
            |client, ids, deadline| async move { Ok(groups::committed(&self.call(client, deadline), ids).await) },
        )
        .await
    }

    async fn list_offsets(
        &self,
        wanted: &BTreeMap<TopicPartition, OffsetSpec>,
    ) -> PerItem<TopicPartition, Option<ListedOffset>> {
        let api = Api::ListOffsets;
        let (valid, invalid): (Vec<_>, Vec<_>) =
            wanted.keys().cloned().partition(|key| topics::is_sendable(&key.topic));
        let mut outcomes = self
            .each(api, valid, self.options.partitions_per_request, |client, keys, deadline| async move {
                let wanted = keys.into_iter().filter_map(|key| wanted.get(&key).map(|spec| (key, *spec))).collect();
                Ok(offsets::list(&self.call(client, deadline), &wanted).await)
            })
            .await;
        for key in invalid {
            let error = topics::unsendable(Action::new(api, &key));
            outcomes.insert(key, Err(error));
        }
        outcomes
    }

    async fn records_from(&self, offsets: &BTreeMap<TopicPartition, i64>) -> PerItem<TopicPartition, Readable> {
        let api = Api::FetchRecords;
        let (valid, invalid): (Vec<_>, Vec<_>) =
            offsets.keys().cloned().partition(|key| topics::is_sendable(&key.topic));
        let mut outcomes = self
            .each(api, valid, self.options.partitions_per_request, |client, keys, deadline| async move {
                let wanted = keys.into_iter().filter_map(|key| offsets.get(&key).map(|from| (key, *from))).collect();
                Ok(probe::records(&self.call(client, deadline), &wanted).await)
            })
            .await;
        for key in invalid {
            let error = topics::unsendable(Action::new(api, &key));
            outcomes.insert(key, Err(error));
        }
        outcomes
    }

    async fn list_users(&self) -> Result<BTreeMap<String, Vec<Credential>>, AdminError> {
        self.one(Api::ListUsers, |client, deadline| async move {
            let listed = users::describe(&client, None, deadline).await?;
            listed.into_iter().map(|(user, credentials)| Ok((user, credentials?))).collect()
        })
        .await
    }

    async fn describe_users(&self, users: &[String]) -> PerItem<String, Vec<Credential>> {
        self.each(
            Api::DescribeUsers,
            users.iter().cloned(),
            self.options.topics_per_request,
            |client, users, deadline| async move { users::describe(&client, Some(users), deadline).await },
        )
        .await
    }

    async fn upsert_users(&self, passwords: &BTreeMap<String, Secret>) -> PerItem<String, ()> {
        self.each(
            Api::AlterUsers,
            passwords.keys().cloned(),
            self.options.topics_per_request,
            |client, users, deadline| async move {
                let of = |user: String| passwords.get(&user).map(|password| (user, password.clone()));
                users::upsert(&client, users.into_iter().filter_map(of).collect(), deadline).await
            },
        )
        .await
    }

    async fn delete_users(&self, users: &[String]) -> PerItem<String, ()> {
        self.each(
            Api::DeleteUsers,
            users.iter().cloned(),
            self.options.topics_per_request,
            |client, users, deadline| async move { users::delete(&client, users, deadline).await },
        )
        .await
    }

    async fn describe_acls(&self, filter: &AclFilter) -> Result<BTreeSet<Acl>, AdminError> {
        self.one(Api::DescribeAcls, |client, deadline| async move { acls::describe(&client, filter, deadline).await })
            .await
    }

    async fn create_acls(&self, acls: &BTreeSet<Acl>) -> PerItem<Acl, ()> {
        self.each(
            Api::CreateAcls,
            acls.iter().cloned(),
            self.options.topics_per_request,
            |client, acls, deadline| async move { acls::create(&client, acls, deadline).await },
        )
        .await
    }

    async fn delete_acls(&self, filters: &BTreeSet<AclFilter>) -> PerItem<AclFilter, BTreeSet<Acl>> {
        self.each(
            Api::DeleteAcls,
            filters.iter().cloned(),
            self.options.topics_per_request,
            |client, filters, deadline| async move { acls::delete(&client, filters, deadline).await },
        )
        .await
    }

    async fn read_records(&self, from: &BTreeMap<TopicPartition, i64>) -> PerItem<TopicPartition, Portion> {
        let partitions = self.options.partitions_per_request;
        self.each(Api::ReadRecords, from.keys().cloned(), partitions, |client, keys, deadline| async move {
            let wanted = keys.into_iter().filter_map(|key| from.get(&key).map(|from| (key, *from))).collect();
            Ok(records::read(&self.call(client, deadline), &wanted).await)
        })
        .await
    }

    async fn set_offsets(&self, group: &str, offsets: &BTreeMap<TopicPartition, i64>) -> PerItem<TopicPartition, ()> {
        let partitions = self.options.partitions_per_request;
        self.each(Api::SetOffsets, offsets.keys().cloned(), partitions, |client, keys, deadline| async move {
            let wanted = keys.into_iter().filter_map(|key| offsets.get(&key).map(|offset| (key, *offset))).collect();
            set_offsets::set(&client, group, &wanted, deadline).await
        })
        .await
    }

    async fn forget_offsets(&self, group: &str, keys: &[TopicPartition]) -> PerItem<TopicPartition, ()> {
        let partitions = self.options.partitions_per_request;
        self.each(Api::ForgetOffsets, keys.iter().cloned(), partitions, |client, keys, deadline| async move {
            set_offsets::forget(&client, group, &keys, deadline).await
        })
        .await
    }

    async fn transactor(&self, id: &str) -> Result<Box<dyn Transactor>, AdminError> {
        let deadline = self.deadline();
        let opened = match self.link.client(deadline).await {
            Ok(client) => transactor::KrafkaTransactor::open(client, id, self.options.deadline).await,
            Err(error) => Err(error),
        };
        let opened = opened.map_err(|error| convert::error(Action::new(Api::Transact, id), error));
        self.metrics.record(Api::Transact, opened.as_ref().err().map_or(Outcome::Ok, Outcome::of));
        opened.map(|opened| Box::new(opened) as Box<dyn Transactor>)
    }
}
