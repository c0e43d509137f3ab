//! How a pipeline is: in one line, and processor by processor.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{KafkaUserStatus, LagTrend, RedriveStatus, ReplayStatus, ScalingStatus};

/// What the operator sees.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct EventPipelineStatus {
    /// The metadata.generation that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// "Is it fine?" in one line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<PipelineSummary>,
    /// Each processor, in the order of the spec.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub processors: Vec<ProcessorStatus>,
    /// Kafka users that the operator has made or is about to make, and those that it has yet to remove.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["connection".into(), "username".into()]))]
    pub users: Vec<KafkaUserStatus>,
    /// Replays, the latest last: those that are asked for, and the ten before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["processor".into(), "id".into()]))]
    pub replays: Vec<ReplayStatus>,
    /// Redrives, the latest last: those that are asked for, and the ten before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["processor".into(), "id".into()]))]
    pub redrives: Vec<RedriveStatus>,
    /// Hash of all processors' settings; changes when a value that a process reads changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_hash: Option<String>,
    /// Ready and Healthy; Reconciling and Stalled while they are true.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

/// A pipeline in one line.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PipelineSummary {
    /// Ready processors of all: `2/3`.
    pub ready: String,
    /// Records behind, over all processors. Absent while one of them is unknown, or where nothing consumes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag_records: Option<i64>,
    /// Age of the oldest record that waits for any processor, in seconds; 0 where nothing waits. Absent while one of them is unknown, or
    /// where nothing consumes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag_seconds: Option<i64>,
    /// Records that wait in retry topics, over all processors. Absent while one of them is unknown, or where there is no retry topic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_depth: Option<i64>,
    /// Dead letters, over all dead-letter topics. Absent while one of them is unknown, or where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead_letters: Option<i64>,
}

/// One processor as it runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProcessorStatus {
    /// Name of the processor.
    pub name: String,
    /// Pods that there should be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,
    /// Pods that are ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready: Option<i32>,
    /// Pods that come back when `suspend` ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas_before_suspend: Option<i32>,
    /// The consumer group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// The group's state: Stable, Empty, Rebalancing or Dead. Absent while it is unknown, or while there is no such group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group_state: Option<String>,
    /// Members of the group. Absent while it is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub members: Option<i32>,
    /// Records that can be read and are not yet committed: last stable offset - committed offset, over all partitions.
    /// Absent while it is unknown. Written at most every 30 seconds, and when it becomes 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag_records: Option<i64>,
    /// Age of the oldest record that can be read and is not yet committed, in seconds, of the partition where it is greatest; 0 where
    /// nothing waits. Absent while it is unknown. Written at most every 30 seconds, and when it becomes 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag_seconds: Option<i64>,
    /// Whether the backlog grows, drains or stays. Absent while it is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag_trend: Option<LagTrend>,
    /// Records in its retry topics from the oldest unfinished one on, over all partitions: at most so many wait to be tried again. Absent
    /// while it is unknown, or where there is no retry topic. Written at most every 30 seconds, and when it becomes 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_depth: Option<i64>,
    /// Records that its dead-letter topic holds, those of other processors that share it included. Absent while it is unknown, or where
    /// there is no dead-letter topic. Written at most every 30 seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead_letters: Option<i64>,
    /// What scaling has decided; absent where the processor has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scaling: Option<ScalingStatus>,
}
