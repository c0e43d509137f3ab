//! The cluster and its topics: describe, create, grow, delete by id.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use krafka::{
    __private::protocol::{
        ApiKey, CreatableTopic, CreatableTopicConfig, CreateTopicsRequest, CreateTopicsResponse, DeleteTopicState,
        DeleteTopicsRequest, DeleteTopicsResponse, versions,
    },
    Result as KrafkaResult,
    admin::{CreatePartitionsOptions, DescribeClusterOptions, DescribeTopicsOptions, TopicDescription},
};
use tokio::time::Instant;
use uuid::Uuid;

use super::{
    link::Client,
    raw::{self, Versions},
};
use crate::{Action, AdminError, Broker, Cluster, ErrorCode, NewTopic, Partition, Topic, WriteMode};

/// Kafka's limit on topic names.
const NAME_LENGTH: usize = 249;

/// krafka fails a whole call for a name that is empty or too long; so these are answered here, one by one. All other names
/// are for Kafka to judge.
pub(super) fn is_sendable(name: &str) -> bool {
    (1..=NAME_LENGTH).contains(&name.len())
}

pub(super) fn unsendable(action: Action) -> AdminError {
    let message = format!("Topic name is invalid: it must have between 1 and {NAME_LENGTH} characters");
    AdminError::Refused { action, code: ErrorCode::INVALID_TOPIC_EXCEPTION, message }
}

pub(super) fn duplicate(action: Action) -> AdminError {
    AdminError::Refused { action, code: ErrorCode::INVALID_REQUEST, message: "Duplicate topic name.".to_owned() }
}

/// Topics by name, and the names that occur more than once.
pub(super) fn without_duplicates(topics: &[NewTopic]) -> (BTreeMap<String, &NewTopic>, BTreeSet<String>) {
    let mut once = BTreeMap::new();
    let mut twice = BTreeSet::new();
    for topic in topics {
        if once.insert(topic.name.clone(), topic).is_some() {
            twice.insert(topic.name.clone());
        }
    }
    once.retain(|name, _| !twice.contains(name));
    (once, twice)
}

pub(super) fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}

pub(super) async fn cluster(client: &Client, deadline: Instant) -> KrafkaResult<Cluster> {
    let options = DescribeClusterOptions::default().timeout(left(deadline));
    let described = client.admin.describe_cluster(options).await?;
    let mut brokers: Vec<Broker> = described
        .brokers
        .into_iter()
        .filter(|broker| !broker.is_fenced)
        .map(|broker| Broker {
            id: broker.id,
            host: broker.host,
            port: u16::try_from(broker.port).unwrap_or_default(),
            rack: broker.rack,
        })
        .collect();
    brokers.sort_by_key(|broker| broker.id);
    let controller = Some(described.controller_id).filter(|id| *id >= 0);
    Ok(Cluster { id: described.cluster_id, controller, brokers })
}

pub(super) async fn describe(
    client: &Client,
    names: Vec<String>,
    deadline: Instant,
) -> KrafkaResult<HashMap<String, KrafkaResult<Topic>>> {
    let options = DescribeTopicsOptions::default().timeout(left(deadline));
    let described = client.admin.describe_topics(names, options).await?;
    Ok(described.into_iter().map(|(name, topic)| (name, topic.map(described_topic))).collect())
}

fn described_topic(topic: TopicDescription) -> Topic {
    let partitions = topic
        .partitions
        .into_iter()
        .map(|partition| Partition {
            index: partition.partition,
            leader: partition.leader,
            leader_epoch: partition.leader_epoch,
            replicas: partition.replicas,
            isr: partition.isr,
            offline: partition.offline_replicas,
        })
        .collect();
    Topic { name: topic.name, id: Uuid::from_bytes(topic.topic_id), internal: topic.is_internal, partitions }
}

/// By a request of our own, for the new topic's id (CreateTopics v7).
pub(super) async fn create<'a>(
    client: &Client,
    topics: impl Iterator<Item = &'a NewTopic>,
    mode: WriteMode,
    deadline: Instant,
) -> KrafkaResult<HashMap<String, KrafkaResult<Option<Uuid>>>> {
    let connection = raw::controller(&client.kafka, deadline).await?;
    let request = CreateTopicsRequest {
        topics: topics.map(creatable).collect(),
        timeout_ms: raw::remaining_ms(deadline),
        validate_only: mode == WriteMode::ValidateOnly,
    };
    let versions =
        Versions { api: ApiKey::CreateTopics, min: versions::CREATE_TOPICS_MIN, max: versions::CREATE_TOPICS_MAX };
    let response: CreateTopicsResponse = raw::exchange(&connection, versions, &request, deadline).await?;
    Ok(response
        .topics
        .into_iter()
        .map(|topic| {
            // Kafka makes up an id when it only validates, too.
            let id = topic.topic_id.map(Uuid::from_bytes).filter(|id| mode == WriteMode::Apply && !id.is_nil());
            (topic.name, raw::answer(topic.error_code, topic.error_message).map(|()| id))
        })
        .collect())
}

fn creatable(topic: &NewTopic) -> CreatableTopic {
    CreatableTopic {
        name: topic.name.clone(),
        num_partitions: topic.partitions,
        replication_factor: topic.replication_factor,
        assignments: Vec::new(),
        configs: topic
            .configs
            .iter()
            .map(|(name, value)| CreatableTopicConfig { name: name.clone(), value: Some(value.clone()) })
            .collect(),
    }
}

pub(super) async fn grow(
    client: &Client,
    totals: impl Iterator<Item = (&str, i32)>,
    mode: WriteMode,
    deadline: Instant,
) -> KrafkaResult<HashMap<String, KrafkaResult<()>>> {
    let options =
        CreatePartitionsOptions::default().timeout(left(deadline)).validate_only(mode == WriteMode::ValidateOnly);
    client.admin.create_partitions(totals, options).await
}

/// By a request of our own: by id (DeleteTopics v6), never by name, so that a topic which someone made under the same name
/// since we looked is not touched. A broker that has only older versions refuses; there is no fallback to names.
pub(super) async fn delete(
    client: &Client,
    ids: &[Uuid],
    deadline: Instant,
) -> KrafkaResult<HashMap<Uuid, KrafkaResult<()>>> {
    let connection = raw::controller(&client.kafka, deadline).await?;
    let request = DeleteTopicsRequest {
        topic_names: Vec::new(),
        topics: ids.iter().map(|id| DeleteTopicState { name: None, topic_id: id.into_bytes() }).collect(),
        timeout_ms: raw::remaining_ms(deadline),
    };
    let versions = Versions { api: ApiKey::DeleteTopics, min: 6, max: versions::DELETE_TOPICS_MAX };
    let response: DeleteTopicsResponse = raw::exchange(&connection, versions, &request, deadline).await?;
    Ok(response
        .responses
        .into_iter()
        .filter_map(|topic| {
            let id = Uuid::from_bytes(topic.topic_id?);
            Some((id, raw::answer(topic.error_code, topic.error_message)))
        })
        .collect())
}
