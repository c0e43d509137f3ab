//! KafkaTopic: one topic of a Kafka cluster, its partitions, replicas and configuration.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::DEFAULT_CONNECTION;

/// What the topic should be.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "tidegate.dev",
    version = "v1alpha1",
    kind = "KafkaTopic",
    plural = "kafkatopics",
    shortname = "tkt",
    category = "tidegate",
    namespaced,
    status = "KafkaTopicStatus",
    derive = "PartialEq",
    doc = "One topic of a Kafka cluster: the operator creates it, keeps its partitions and configuration as written here, and reports what it sees.",
    annotation("helm.sh/resource-policy", "keep"),
    label("app.kubernetes.io/part-of", "tidegate"),
    printcolumn(name = "Partitions", type_ = "integer", json_path = ".status.partitions", description = "Partitions that the topic has"),
    printcolumn(name = "Replicas", type_ = "integer", json_path = ".status.replicas", description = "Replicas of each partition"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Topic", type_ = "string", json_path = ".status.topicName", description = "Name in Kafka", priority = 1),
    printcolumn(name = "Topic ID", type_ = "string", json_path = ".status.topicId", description = "Id in Kafka", priority = 1),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].message", priority = 1),
    validation = Rule::new("has(self.spec.topicName) || size(self.metadata.name) <= 249")
        .message("metadata.name is longer than the 249 characters that Kafka takes; set spec.topicName to a shorter name"),
    validation = Rule::new(
        "(has(self.spec.topicName) ? self.spec.topicName : self.metadata.name) == \
         (has(oldSelf.spec.topicName) ? oldSelf.spec.topicName : oldSelf.metadata.name)")
        .message("spec.topicName cannot change, because Kafka cannot rename a topic; put the old name back, or make another KafkaTopic")
        .field_path(".spec.topicName"),
    validation = Rule::new(
        "(has(self.spec.connection) ? self.spec.connection : 'main') == \
         (has(oldSelf.spec.connection) ? oldSelf.spec.connection : 'main')")
        .message("spec.connection cannot change, because a topic cannot move to another cluster; put the old connection back, or make another KafkaTopic")
        .field_path(".spec.connection"),
    validation = Rule::new(
        "self.spec.partitions >= oldSelf.spec.partitions || \
         (has(self.status) && has(self.status.partitions) && self.spec.partitions >= self.status.partitions)")
        .message("spec.partitions cannot decrease, because Kafka cannot remove partitions; put the old number back, or make another KafkaTopic and replay into it")
        .field_path(".spec.partitions"),
    validation = Rule::new(
        "!has(self.spec.role) || self.spec.role != 'EventStore' || self.spec.partitions <= oldSelf.spec.partitions || \
         !has(self.status) || !has(self.status.topicId)")
        .message("spec.partitions cannot grow where role is EventStore, because growth moves keys to other partitions; make another KafkaTopic with more partitions and replay into it")
        .field_path(".spec.partitions"),
)]
#[serde(rename_all = "camelCase")]
pub struct KafkaTopicSpec {
    /// Name of the topic in Kafka: 1 to 249 of the characters a-z, A-Z, 0-9, dot, underscore and hyphen. Default:
    /// metadata.name. Cannot change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 249))]
    #[x_kube(
        validation = Rule::new("self.matches('^[a-zA-Z0-9._-]+$')")
            .message("Kafka takes only a-z, A-Z, 0-9, dot, underscore and hyphen in a topic's name"),
        validation = Rule::new("self != '.' && self != '..'")
            .message("Kafka takes neither . nor .. as a topic's name; choose another"),
        validation = Rule::new("!self.startsWith('__')")
            .message("names that begin with __ belong to Kafka itself; choose another")
    )]
    pub topic_name: Option<String>,
    /// Number of partitions. May grow, never shrink.
    #[schemars(range(min = 1, max = 10_000))]
    pub partitions: i32,
    /// Number of replicas of each partition. Taken when the topic is created; a later change is refused in the status.
    #[schemars(range(min = 1, max = 32))]
    pub replicas: i32,
    /// Topic configuration by Kafka's names, such as retention.ms (milliseconds). A value is a string, an integer or a
    /// boolean. Only the keys written here are kept as they are; a key that is taken out goes back to the broker's
    /// default, and keys that were never written here are left alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "config_schema")]
    pub config: Option<BTreeMap<String, Value>>,
    /// What happens on deletion. (The schema shows the documentation of the enum.)
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion_policy: Option<DeletionPolicy>,
    /// What happens to a topic that was there before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adoption_policy: Option<AdoptionPolicy>,
    /// Observe and report, change nothing. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<bool>,
    /// Name of a Kafka connection that the operator was installed with. Default: main. Cannot change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub connection: Option<String>,
    /// What the topic is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<TopicRole>,
    /// Create the topic again when somebody deleted it behind the operator's back. Default: false, because an empty
    /// topic under the old name hides that data was lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recreate: Option<bool>,
    /// Other namespaces whose EventPipelines may name this topic. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 63)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub allowed_namespaces: Option<Vec<String>>,
}

/// What happens to the topic and its data when this resource is deleted. Retain (default): both stay. Delete: both go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DeletionPolicy {
    /// The topic and its data stay.
    #[default]
    Retain,
    /// The topic is deleted, by the id that the operator recorded, and its data with it.
    Delete,
}

/// What happens when the topic exists before this resource. IfMatching (default): it is taken over when partitions,
/// replicas and every key of spec.config are as written here. Always: it is taken over and brought to what is written
/// here. Never: it is not touched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AdoptionPolicy {
    /// It is taken over when partitions, replicas and every key of spec.config are as the spec says.
    #[default]
    IfMatching,
    /// It is taken over and brought to what the spec says.
    Always,
    /// It is not touched.
    Never,
}

/// What the topic is for. Stream (default): events on their way from producers to consumers. EventStore: the only store
/// of its events, so it never grows and never compacts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TopicRole {
    /// Events on their way from producers to consumers.
    #[default]
    Stream,
    /// The only store of its events: never grows, never compacts.
    EventStore,
}

/// What the operator sees and does.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct KafkaTopicStatus {
    /// The metadata.generation that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Name of the topic in Kafka.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic_name: Option<String>,
    /// Id that Kafka gave the topic (KIP-516). A topic of the same name with another id is another topic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic_id: Option<String>,
    /// Id of the Kafka cluster that holds the topic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_id: Option<String>,
    /// Number of partitions that the topic has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partitions: Option<i32>,
    /// Number of replicas of a partition (the smallest, where partitions differ).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,
    /// Replicas that must be in sync for a write with acks=all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_insync_replicas: Option<i32>,
    /// The keys that the operator has set, as the brokers report them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub config: BTreeMap<String, String>,
    /// Partitions that are not as they should be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<TopicHealth>,
    /// What the operator is about to write to Kafka; recorded first, so that a crash in between is recognised.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intent: Option<TopicIntent>,
    /// A growth that has begun and is not done. Present only until then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub growth: Option<TopicGrowth>,
    /// Ready; Reconciling, Stalled, Drifted and Adopted while they are true.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

/// Partitions that are not as they should be; a state counts once it has lasted a minute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TopicHealth {
    /// Partitions with a replica that is not in sync.
    pub under_replicated: i32,
    /// Partitions without a leader.
    pub offline: i32,
    /// Partitions with fewer replicas in sync than min.insync.replicas asks for: they take no writes with acks=all.
    pub under_min_isr: i32,
}

/// A write that was decided on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TopicIntent {
    /// The topic is being created.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub create: bool,
    /// Configuration keys that are being set or reset.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub config_keys: Vec<String>,
}

/// A growth on its way; each step is recorded before anything of it is done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TopicGrowth {
    /// Partitions that the topic is to have.
    pub to: i32,
    /// How far it is.
    pub step: GrowthStep,
    /// The processors that write to the topic are stopped until it is done, because its records are read in order.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub producers_stopped: bool,
    /// When the step began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
}

/// How far a growth is. What is here is in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum GrowthStep {
    /// The pods of the processors that write to the topic end.
    StoppingProducers,
    /// Those who read it get through what waits, in it and in their retry topics.
    Draining,
    /// Its retry topics grow.
    GrowingRetryTopics,
    /// It grows itself.
    Growing,
}

impl KafkaTopic {
    /// The topic's name in Kafka, the default applied.
    pub fn topic_name(&self) -> &str {
        self.spec.topic_name.as_deref().or(self.metadata.name.as_deref()).unwrap_or_default()
    }

    /// The operator's connection that the topic is reached by, the default applied.
    pub fn connection(&self) -> &str {
        self.spec.connection.as_deref().unwrap_or(DEFAULT_CONNECTION)
    }
}

impl KafkaTopicSpec {
    /// What happens on deletion, the default applied.
    pub fn deletion_policy(&self) -> DeletionPolicy {
        self.deletion_policy.unwrap_or_default()
    }

    /// What happens to a topic that was there before, the default applied.
    pub fn adoption_policy(&self) -> AdoptionPolicy {
        self.adoption_policy.unwrap_or_default()
    }

    /// What the topic is for, the default applied.
    pub fn role(&self) -> TopicRole {
        self.role.unwrap_or_default()
    }

    /// Whether nothing may be changed, the default applied.
    pub fn paused(&self) -> bool {
        self.paused.unwrap_or(false)
    }

    /// Whether a lost topic is created again, the default applied.
    pub fn recreate(&self) -> bool {
        self.recreate.unwrap_or(false)
    }
}

/// A map whose values the API server takes as they are: the operator checks that they are scalars.
fn config_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 64,
        "additionalProperties": {"x-kubernetes-preserve-unknown-fields": true},
    })
}
