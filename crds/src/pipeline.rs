//! EventPipeline: one event-driven application. Its topics by reference, its processors, and how each is run.

use k8s_openapi::api::core::v1::{Affinity, EnvVar, LocalObjectReference, ResourceRequirements, Toleration};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use tidegate_settings::{Consumes, DeadLetter, Http, Retry, RetryMode, Run};

pub use self::{
    lag::{Alert, AlertName, Lag},
    redrive::{Redrive, RedriveMatch, RedrivePhase, RedriveStatus},
    replay::{Replay, ReplayFrom, ReplayPhase, ReplayPosition, ReplayStatus},
    scaling::{Scaling, ScalingStatus},
    status::{EventPipelineStatus, PipelineSummary, ProcessorStatus},
    trend::LagTrend,
    users::{KafkaUser, KafkaUserStatus, ManagedUser, ROTATE_ANNOTATION, UserPhase},
};
use crate::DEFAULT_CONNECTION;

pub mod lag;
mod redrive;
mod replay;
mod scaling;
mod status;
mod trend;
mod users;

/// What should run.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "tidegate.dev",
    version = "v1alpha1",
    kind = "EventPipeline",
    plural = "eventpipelines",
    shortname = "evp",
    category = "tidegate",
    namespaced,
    status = "EventPipelineStatus",
    derive = "PartialEq",
    doc = "One event-driven application: the operator runs its processors, hands each its settings, and reports how they do.",
    annotation("helm.sh/resource-policy", "keep"),
    label("app.kubernetes.io/part-of", "tidegate"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.summary.ready", description = "Processors that are ready, of all"),
    printcolumn(name = "Lag", type_ = "integer", json_path = ".status.summary.lagSeconds", description = "Age of the oldest record that waits, in seconds; empty while it is unknown"),
    printcolumn(name = "Retry", type_ = "integer", json_path = ".status.summary.retryDepth", description = "Records that wait to be tried again; empty while it is unknown"),
    printcolumn(name = "DLQ", type_ = "integer", json_path = ".status.summary.deadLetters", description = "Dead letters that the topics hold; empty while it is unknown"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].message", priority = 1),
    validation = Rule::new("self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')")
        .message("metadata.name becomes part of Services' names: begin it with a letter and use only a-z, 0-9 and hyphen"),
    validation = Rule::new("self.spec.processors.all(p, size(self.metadata.name) + 1 + size(p.name) <= 63)")
        .message("<metadata.name>-<processor's name> is longer than the 63 characters that Kubernetes takes; shorten one of them")
        .field_path(".spec.processors"),
)]
#[x_kube(
    validation = Rule::new("has(self.database) || !self.processors.exists(p, has(p.run.wallet))")
        .message("the wallet keeps its events in a database; set spec.database.secretRef.name")
        .field_path(".database"),
    validation = Rule::new(
        "self.processors.all(p, !has(p.consumes) || \
         self.processors.exists_one(q, has(q.consumes) && q.consumes.group == p.consumes.group))")
        .message("a consumer group belongs to one processor; give each its own spec.processors[].consumes.group")
        .field_path(".processors"),
)]
#[serde(rename_all = "camelCase")]
pub struct EventPipelineSpec {
    /// The Kafka cluster and the user that the processors are.
    pub kafka: KafkaAccess,
    /// The database of the processors, for those that need one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<DatabaseAccess>,
    /// Stop every processor (0 pods) and keep everything else; false brings back as many as there were. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspend: Option<bool>,
    /// The programs, each with its own pods, settings and identity.
    #[schemars(length(min = 1, max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub processors: Vec<Processor>,
}

/// A Kafka cluster and a user of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KafkaAccess {
    /// Name of a Kafka connection that the operator was installed with: where it looks for topics, groups and lag.
    /// Default: main.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub connection: Option<String>,
    /// The Kafka user that the processors are.
    pub user: KafkaUser,
}

/// A database and a user of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DatabaseAccess {
    /// A Secret of this namespace with the keys uri (postgres://user:password@host:port/database?sslmode=verify-full) and,
    /// for a server certificate that the system's authorities did not sign, ca.crt.
    pub secret_ref: SecretRef,
}

/// A Secret of the same namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretRef {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// One program and how it is run. Its Deployment, ServiceAccount, ConfigMap and Service are called
/// `<metadata.name>-<name>`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(
    validation = Rule::new("has(self.run.wallet) != has(self.run.container)")
        .message("run takes exactly one program; set run.wallet, or run.container for a program of your own")
        .field_path(".run"),
    validation = Rule::new("!has(self.run.container) || !has(self.image)")
        .message("a container has one image, run.container.image; take image out, which is for replacing the image of a service")
        .field_path(".image"),
    validation = Rule::new(
        "!has(self.run.wallet) || self.run.wallet.role != 'Commands' || has(self.http)")
        .message("role Commands is the wallet's HTTP API; set http, for example {port: 8080, auth: None}"),
    validation = Rule::new(
        "!has(self.run.wallet) || self.run.wallet.role in ['LedgerProjector', 'ReadModelProjector'] || has(self.produces)")
        .message("roles Commands and Publisher publish to a topic; name it in produces"),
    validation = Rule::new(
        "!has(self.run.wallet) || !(self.run.wallet.role in ['LedgerProjector', 'ReadModelProjector']) || has(self.consumes)")
        .message("a projector reads a topic as a group; set consumes.topics and consumes.group"),
    validation = Rule::new("has(self.consumes) || (!has(self.retry) && !has(self.deadLetter))")
        .message("retry and deadLetter are about records that are read; set consumes, or take them out"),
    validation = Rule::new("has(self.consumes) || !has(self.lag)")
        .message("lag is about records that are read; set consumes, or take lag out"),
    validation = Rule::new("!has(self.retry) || has(self.deadLetter)")
        .message("after the last try a record needs somewhere to go, or its partition would stop there; set deadLetter.topic"),
    validation = Rule::new(
        "!has(self.retry) || !has(self.retry.topic) || !has(self.consumes) || size(self.consumes.topics) == 1")
        .message("retry.topic is one name, and consumes.topics has several topics, which need one each; take it out, and they are called <group>.<topic>.retry")
        .field_path(".retry.topic"),
    validation = Rule::new(
        "!has(self.retry) || !has(self.retry.topic) || !has(self.retry.mode) || self.retry.mode != 'InPlace'")
        .message("mode InPlace uses no retry topic; take retry.topic out, or set retry.mode to Topic")
        .field_path(".retry.topic"),
    validation = Rule::new(
        "!has(self.retry) || !has(self.retry.topic) || \
         (self.retry.topic.matches('^[a-zA-Z0-9._-]+$') && !(self.retry.topic in ['.', '..']) && !self.retry.topic.startsWith('__'))")
        .message("Kafka takes only a-z, A-Z, 0-9, dot, underscore and hyphen in a topic's name, and keeps . and .. and what begins with __ for itself; choose another retry.topic")
        .field_path(".retry.topic"),
    validation = Rule::new(
        "!has(self.deadLetter) || \
         (self.deadLetter.topic.matches('^[a-zA-Z0-9._-]+$') && !(self.deadLetter.topic in ['.', '..']) && !self.deadLetter.topic.startsWith('__'))")
        .message("Kafka takes only a-z, A-Z, 0-9, dot, underscore and hyphen in a topic's name, and keeps . and .. and what begins with __ for itself; choose another deadLetter.topic")
        .field_path(".deadLetter.topic"),
    validation = Rule::new(
        "!has(self.retry) || has(self.retry.topic) || (has(self.retry.mode) && self.retry.mode == 'InPlace') || !has(self.consumes) || \
         (self.consumes.group.matches('^[a-zA-Z0-9._-]+$') && !self.consumes.group.startsWith('__') && \
         self.consumes.topics.all(t, size(self.consumes.group) + size(t) <= 242))")
        .message("<group>.<topic>.retry would be no name that Kafka takes, which is 249 of the characters a-z, A-Z, 0-9, dot, underscore and hyphen at most; change consumes.group, or set retry.topic")
        .field_path(".retry"),
    validation = Rule::new(
        "!has(self.retry) || !has(self.retry.topic) || \
         ((!has(self.consumes) || !(self.retry.topic in self.consumes.topics)) && (!has(self.produces) || !(self.retry.topic in self.produces)))")
        .message("retry.topic is a topic that the processor reads or writes already; name one that nobody else uses")
        .field_path(".retry.topic"),
    validation = Rule::new(
        "!has(self.deadLetter) || \
         ((!has(self.consumes) || !(self.deadLetter.topic in self.consumes.topics)) && (!has(self.produces) || !(self.deadLetter.topic in self.produces)))")
        .message("deadLetter.topic is a topic that the processor reads or writes already; name another")
        .field_path(".deadLetter.topic"),
    validation = Rule::new(
        "!has(self.retry) || !has(self.retry.topic) || !has(self.deadLetter) || self.retry.topic != self.deadLetter.topic")
        .message("retry.topic and deadLetter.topic are one topic; records that are tried again and records that are not need one each")
        .field_path(".retry.topic"),
    validation = Rule::new("!has(self.scaling) || !has(self.replicas)")
        .message("scaling decides how many pods there are, and replicas would too; take one of them out")
        .field_path(".replicas"),
    validation = Rule::new("!has(self.scaling) || has(self.consumes)")
        .message("scaling follows the lag of a consumer group; set consumes, or take scaling out")
        .field_path(".scaling"),
    validation = Rule::new(
        "!has(self.redrive) || (has(self.deadLetter) && has(self.retry) && (!has(self.retry.mode) || self.retry.mode != 'InPlace'))")
        .message("redrive copies dead letters into the retry topic; set retry in mode Topic and deadLetter, or take it out"),
    validation = Rule::new("!has(self.replay) || has(self.consumes)")
        .message("replay is about records that are read; set consumes, or take it out"),
    validation = Rule::new(
        "!has(self.replay) || !has(self.replay.from.offsets) || !has(self.consumes) || \
         self.replay.from.offsets.all(t, t in self.consumes.topics)")
        .message("replay.from.offsets names a topic that the processor does not read; use those of consumes.topics")
        .field_path(".replay.from.offsets"),
    validation = Rule::new("!has(self.replay) || !has(self.replay.from.replay) || self.replay.from.replay != self.replay.id")
        .message("replay.from.replay is the id of this replay; name an earlier one")
        .field_path(".replay.from.replay"),
)]
#[serde(rename_all = "camelCase")]
pub struct Processor {
    /// Name of the processor, unique in the pipeline: begins with a letter, then a-z, 0-9 and hyphen, at most 40 characters.
    #[schemars(length(min = 1, max = 40))]
    #[x_kube(
        validation = Rule::new("self.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')")
            .message("begin the name with a letter and use only a-z, 0-9 and hyphen")
    )]
    pub name: String,
    /// The program and its role: exactly one of the fields. Handed to the process as it is.
    pub run: Run,
    /// Kafka names of the topics that it writes to. Each is a KafkaTopic of this namespace, or one that allows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32), inner(length(min = 1, max = 249)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub produces: Option<Vec<String>>,
    /// What it reads, and as which consumer group. Each topic is a KafkaTopic of this namespace, or one that allows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consumes: Option<Consumes>,
    /// How a record that failed is tried again. In mode Topic each consumed topic gets a retry topic, made by the operator and as a
    /// KafkaTopic that the pipeline owns, with the consumed topic's partitions and replicas. Absent: it is tried again where it is, for
    /// as long as it takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,
    /// Where records go that cannot be handled. The topic is made by the operator, as a KafkaTopic that the pipeline owns, unless there
    /// is a KafkaTopic of that name: that one is used as it is. Absent: a partition stops at such a record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead_letter: Option<DeadLetter>,
    /// How far behind it may be, and who is told when it is further. Absent: the defaults of the fields below.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag: Option<Lag>,
    /// Has it read again from somewhere, once for each id: its pods are stopped, the offsets of its group are set and kept in the
    /// status, and it starts anew from there; a projection is made anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replay: Option<Replay>,
    /// Has dead letters of it tried again, once for each id: they are copied into its retry topic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redrive: Option<Redrive>,
    /// Makes a Service for its HTTP port. Our services serve health and metrics on it too, on 8080 without this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<Http>,
    /// Number of pods. Without it the operator starts one and leaves the number to others, such as a
    /// HorizontalPodAutoscaler or kubectl scale.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1000))]
    pub replicas: Option<i32>,
    /// Makes the operator choose the number of pods by lag. Absent: it never touches the number but for `replicas`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scaling: Option<Scaling>,
    /// Resources of the container. Default: requests of cpu 50m and memory 64Mi, limit of memory 256Mi.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,
    /// An image of the service other than the one that the operator was installed with, as a whole reference with tag or digest. A
    /// container's image is `run.container.image`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub image: Option<String>,
    /// Secrets of this namespace to pull the image with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 8))]
    pub image_pull_secrets: Option<Vec<LocalObjectReference>>,
    /// Environment variables of the container, such as RUST_LOG. What the settings say is not set here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub env: Option<Vec<EnvVar>>,
    /// Labels of the pods, beside the operator's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxProperties" = 64))]
    #[x_kube(
        validation = Rule::new("self.all(k, !k.startsWith('tidegate.dev/') && !k.startsWith('app.kubernetes.io/'))")
            .message("labels under tidegate.dev/ and app.kubernetes.io/ are the operator's; choose another prefix")
    )]
    pub pod_labels: Option<BTreeMap<String, String>>,
    /// Annotations of the pods, beside the operator's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxProperties" = 64))]
    #[x_kube(
        validation = Rule::new("self.all(k, !k.startsWith('tidegate.dev/'))")
            .message("annotations under tidegate.dev/ are the operator's; choose another prefix")
    )]
    pub pod_annotations: Option<BTreeMap<String, String>>,
    /// Labels that a node must have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxProperties" = 64))]
    pub node_selector: Option<BTreeMap<String, String>>,
    /// Taints that the pods tolerate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub tolerations: Option<Vec<Toleration>>,
    /// Affinity of the pods. They are spread over nodes and zones in any case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub affinity: Option<Affinity>,
    /// PriorityClass of the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub priority_class_name: Option<String>,
    /// Seconds that a pod has to finish what it works on. Default: 30.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 5, max = 3600))]
    pub termination_grace_period_seconds: Option<i64>,
}

impl EventPipelineSpec {
    /// The operator's connection, the default applied.
    pub fn connection(&self) -> &str {
        self.kafka.connection.as_deref().unwrap_or(DEFAULT_CONNECTION)
    }

    /// Whether every processor is stopped, the default applied.
    pub fn suspend(&self) -> bool {
        self.suspend.unwrap_or(false)
    }
}

impl KafkaAccess {
    /// The Secret that holds a user which somebody brings; none where the operator makes users.
    pub fn brought_secret(&self) -> Option<&str> {
        match &self.user {
            KafkaUser::SecretRef(secret) => Some(&secret.name),
            KafkaUser::Managed(_) => None,
        }
    }

    /// Whether the operator makes users.
    pub fn is_managed(&self) -> bool {
        matches!(self.user, KafkaUser::Managed(_))
    }
}

impl Processor {
    /// How far behind it may be, the defaults applied.
    pub fn lag(&self) -> Lag {
        self.lag.clone().unwrap_or_default()
    }

    /// Topics that the processor names, read or written.
    pub fn topics(&self) -> impl Iterator<Item = &str> {
        let consumed = self.consumes.iter().flat_map(|consumes| &consumes.topics);
        self.produces.iter().flatten().chain(consumed).map(String::as_str)
    }

    /// Its retry topics: each topic that it reads, with the one in which that one's records wait. None in mode InPlace.
    pub fn retry_topics(&self) -> Vec<(&str, String)> {
        match (&self.retry, &self.consumes) {
            (Some(retry), Some(consumes)) if retry.mode() == RetryMode::Topic => {
                let of = |topic: &'_ String| retry.topic_of(&consumes.group, topic);
                consumes.topics.iter().map(|topic| (topic.as_str(), of(topic))).collect()
            }
            _ => Vec::new(),
        }
    }
}
