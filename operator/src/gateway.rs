//! One Kafka cluster as the controllers use it: calls for single objects that travel together, and readings of many.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use tidegate_kafka::{
    AdminError, Cluster, ConfigChange, ConfigSource, KafkaAdmin, NewTopic, PerItem, Tally, Topic, TopicConfig,
    WriteMode,
};
use tidegate_settings::binding::KafkaConnection;
use tokio::sync::RwLock;
use uuid::Uuid;

use crate::{
    batch::{Batcher, GivenUp},
    pipeline::users::{self, InKafka},
    topic::{
        health::Health,
        plan::{Observation, Setting},
    },
};

/// What was seen of a topic; none: no such topic.
pub type Sighting = Option<(Observation, Health)>;

/// Why a call failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum GatewayError {
    /// Kafka, or the way to it.
    #[error(transparent)]
    Kafka(#[from] AdminError),
    /// The operator is stopping, or no longer leads.
    #[error("the call was given up, because this operator stops writing")]
    GivenUp,
}

impl From<GivenUp> for GatewayError {
    fn from(_: GivenUp) -> Self {
        Self::GivenUp
    }
}

/// A Kafka cluster. Dropping it gives up every call that is under way, which is how a lost lease stops writing at once.
#[derive(Debug)]
pub struct Gateway {
    admin: Arc<dyn KafkaAdmin>,
    lag: Arc<dyn KafkaAdmin>,
    lag_requests: Tally,
    connection: Option<KafkaConnection>,
    cluster: RwLock<Option<Cluster>>,
    observe: Batcher<String, (), Sighting>,
    create: Batcher<String, NewTopic, Option<Uuid>>,
    grow: Batcher<(String, bool), i32, ()>,
    alter: Batcher<(String, bool), ConfigChange, ()>,
    delete: Batcher<Uuid, (), ()>,
    users: Batcher<String, (), InKafka>,
}

impl Gateway {
    /// Must be made within a Tokio runtime.
    pub fn new(admin: Arc<dyn KafkaAdmin>) -> Self {
        let (observer, creator, grower, alterer, deleter, looker) =
            (admin.clone(), admin.clone(), admin.clone(), admin.clone(), admin.clone(), admin.clone());
        Self {
            lag: admin.clone(),
            lag_requests: Tally::default(),
            admin,
            connection: None,
            cluster: RwLock::new(None),
            observe: Batcher::new(move |names: BTreeMap<String, ()>| {
                let admin = observer.clone();
                async move { observe(admin.as_ref(), &names.into_keys().collect::<Vec<_>>()).await }
            }),
            create: Batcher::new(move |topics: BTreeMap<String, NewTopic>| {
                let admin = creator.clone();
                async move { admin.create_topics(&topics.into_values().collect::<Vec<_>>(), WriteMode::Apply).await }
            }),
            grow: Batcher::new(move |totals| {
                let admin = grower.clone();
                async move {
                    let mut outcomes = PerItem::new();
                    for (mode, totals) in by_mode(totals) {
                        outcomes.extend(with_mode(mode, admin.create_partitions(&totals, mode).await));
                    }
                    outcomes
                }
            }),
            alter: Batcher::new(move |changes| {
                let admin = alterer.clone();
                async move {
                    let mut outcomes = PerItem::new();
                    for (mode, changes) in by_mode(changes) {
                        outcomes.extend(with_mode(mode, admin.alter_configs(&changes, mode).await));
                    }
                    outcomes
                }
            }),
            delete: Batcher::new(move |ids: BTreeMap<Uuid, ()>| {
                let admin = deleter.clone();
                async move { admin.delete_topics(&ids.into_keys().collect::<Vec<_>>()).await }
            }),
            users: Batcher::new(move |names: BTreeMap<String, ()>| {
                let admin = looker.clone();
                async move { users::look(admin.as_ref(), &names.into_keys().collect::<Vec<_>>()).await }
            }),
        }
    }

    /// With an administration of its own for lag, and what counts its requests.
    #[must_use]
    pub fn with_lag(self, lag: Arc<dyn KafkaAdmin>, requests: Tally) -> Self {
        Self { lag, lag_requests: requests, ..self }
    }

    /// The administration by which lag is read.
    pub fn lag(&self) -> &dyn KafkaAdmin {
        self.lag.as_ref()
    }

    /// Requests for lag since the last time, by broker; none: a broker of the client library's choice.
    pub fn lag_requests(&self) -> BTreeMap<Option<i32>, u64> {
        self.lag_requests.take()
    }

    /// The same, and how it is reached: what users that are made on it have to be told.
    #[must_use]
    pub fn reached_by(mut self, connection: KafkaConnection) -> Self {
        self.connection = Some(connection);
        self
    }

    /// How it is reached.
    pub fn connection(&self) -> Option<&KafkaConnection> {
        self.connection.as_ref()
    }

    /// Looks at a user. That there is none is an answer.
    ///
    /// # Errors
    /// When Kafka does not say.
    pub async fn user(&self, name: &str) -> Result<InKafka, GatewayError> {
        Ok(self.users.ask(name.to_owned(), ()).await??)
    }

    /// The administration itself, for readings of many objects.
    pub fn admin(&self) -> &dyn KafkaAdmin {
        self.admin.as_ref()
    }

    /// The same, for whoever outlives this.
    pub fn reader(&self) -> Arc<dyn KafkaAdmin> {
        self.admin.clone()
    }

    /// The cluster's id; asked for once.
    ///
    /// # Errors
    /// When it is not known yet and cannot be asked for.
    pub async fn cluster_id(&self) -> Result<String, GatewayError> {
        if let Some(cluster) = self.cluster.read().await.as_ref() {
            return Ok(cluster.id.clone());
        }
        Ok(self.refresh().await?.id)
    }

    /// Asks for the cluster's id and live brokers again.
    ///
    /// # Errors
    /// When they cannot be asked for; what was known before stays known.
    pub async fn refresh(&self) -> Result<Cluster, AdminError> {
        let cluster = self.admin.cluster().await?;
        *self.cluster.write().await = Some(cluster.clone());
        Ok(cluster)
    }

    /// The cluster's id and the number of live brokers when they were last asked for; none before.
    pub async fn known(&self) -> Option<(String, usize)> {
        self.cluster.read().await.as_ref().map(|cluster| (cluster.id.clone(), cluster.brokers.len()))
    }

    /// Looks at a topic.
    ///
    /// # Errors
    /// When Kafka does not say. That there is no such topic is an answer.
    pub async fn observe(&self, topic: &str) -> Result<Sighting, GatewayError> {
        Ok(self.observe.ask(topic.to_owned(), ()).await??)
    }

    /// Looks at many topics.
    pub async fn observe_all(&self, topics: &[String]) -> PerItem<String, Sighting> {
        observe(self.admin.as_ref(), topics).await
    }

    /// Creates a topic; its id, where Kafka tells.
    ///
    /// # Errors
    /// Kafka's refusal, or the way to it.
    pub async fn create(&self, topic: NewTopic) -> Result<Option<Uuid>, GatewayError> {
        Ok(self.create.ask(topic.name.clone(), topic).await??)
    }

    /// Raises a topic's partition count to `total`.
    ///
    /// # Errors
    /// Kafka's refusal, or the way to it.
    pub async fn grow(&self, topic: &str, total: i32, mode: WriteMode) -> Result<(), GatewayError> {
        Ok(self.grow.ask((topic.to_owned(), mode == WriteMode::Apply), total).await??)
    }

    /// Changes a topic's configuration.
    ///
    /// # Errors
    /// Kafka's refusal, or the way to it.
    pub async fn alter(&self, topic: &str, change: ConfigChange, mode: WriteMode) -> Result<(), GatewayError> {
        Ok(self.alter.ask((topic.to_owned(), mode == WriteMode::Apply), change).await??)
    }

    /// Deletes the topic that has the id.
    ///
    /// # Errors
    /// Kafka's refusal, or the way to it.
    pub async fn delete(&self, id: Uuid) -> Result<(), GatewayError> {
        Ok(self.delete.ask(id, ()).await??)
    }
}

/// The items to validate and those to apply, where there are any.
fn by_mode<I>(items: BTreeMap<(String, bool), I>) -> impl Iterator<Item = (WriteMode, BTreeMap<String, I>)> {
    let (mut validate, mut apply) = (BTreeMap::new(), BTreeMap::new());
    for ((name, writes), item) in items {
        if writes { &mut apply } else { &mut validate }.insert(name, item);
    }
    [(WriteMode::ValidateOnly, validate), (WriteMode::Apply, apply)].into_iter().filter(|(_, items)| !items.is_empty())
}

fn with_mode(
    mode: WriteMode,
    outcomes: PerItem<String, ()>,
) -> impl Iterator<Item = ((String, bool), Result<(), AdminError>)> {
    outcomes.into_iter().map(move |(name, outcome)| ((name, mode == WriteMode::Apply), outcome))
}

/// Topics with their configuration, in two batched calls.
async fn observe(admin: &dyn KafkaAdmin, names: &[String]) -> PerItem<String, Sighting> {
    let mut sightings = PerItem::new();
    let mut found = BTreeMap::new();
    for (name, topic) in admin.describe_topics(names).await {
        match topic {
            Ok(topic) => {
                found.insert(name, topic);
            }
            Err(error) if error.is_unknown_topic() => {
                sightings.insert(name, Ok(None));
            }
            Err(error) => {
                sightings.insert(name, Err(error));
            }
        }
    }
    if found.is_empty() {
        return sightings;
    }
    let present: Vec<String> = found.keys().cloned().collect();
    for (name, config) in admin.describe_configs(&present).await {
        let Some(topic) = found.remove(&name) else { continue };
        let sighting = match config {
            Ok(config) => Ok(Some(sight(&topic, config))),
            // It went in between.
            Err(error) if error.is_unknown_topic() => Ok(None),
            Err(error) => Err(error),
        };
        sightings.insert(name, sighting);
    }
    sightings
}

fn sight(topic: &Topic, config: TopicConfig) -> (Observation, Health) {
    let count = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
    let config: BTreeMap<String, Setting> = config
        .into_iter()
        .map(|(key, entry)| {
            let on_topic = entry.source == ConfigSource::Topic;
            (key, Setting { value: entry.value.unwrap_or_default(), on_topic })
        })
        .collect();
    let min_in_sync = config.get("min.insync.replicas").and_then(|setting| setting.value.parse::<usize>().ok());
    let health = Health {
        under_replicated: count(topic.partitions.iter().filter(|one| one.isr.len() < one.replicas.len()).count()),
        offline: count(topic.partitions.iter().filter(|one| one.leader.is_none()).count()),
        under_min_isr: count(
            topic.partitions.iter().filter(|one| min_in_sync.is_some_and(|least| one.isr.len() < least)).count(),
        ),
    };
    // An index is listed once; a broker that is behind may leave one out.
    let partitions: BTreeSet<i32> = topic.partitions.iter().map(|partition| partition.index).collect();
    let observation = Observation {
        id: topic.id,
        partitions: count(partitions.len()),
        replicas: count(topic.partitions.iter().map(|partition| partition.replicas.len()).min().unwrap_or(0)),
        config,
    };
    (observation, health)
}
