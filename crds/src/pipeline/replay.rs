//! Reading again: what is asked for, and what became of it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate_settings::PartitionOffsets;

/// A replay: the processor is stopped, its group's offsets are set, and it begins anew from there. It runs once for each id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Replay {
    /// Names the replay. An id that has run, or that was there when the processor was first seen (a restore from git), does not run
    /// again; another one does. At most 63 of a-z, A-Z, 0-9, dot, underscore and hyphen.
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(
        validation = Rule::new("self.matches('^[a-zA-Z0-9]([-a-zA-Z0-9._]*[a-zA-Z0-9])?$')")
            .message("begin and end the id with a letter or digit and use only a-z, A-Z, 0-9, dot, underscore and hyphen")
    )]
    pub id: String,
    /// Where to begin: exactly one of the fields.
    pub from: ReplayFrom,
}

/// Where a replay begins: exactly one of the fields.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ReplayFrom {
    /// At an end of every partition.
    Position(ReplayPosition),
    /// In each partition at the first record that is not older; behind the newest where there is none.
    Timestamp(Time),
    /// At these offsets, by topic and partition: {wallet-events: {"0": 42}}. Partitions that are not named stay where they are.
    Offsets(#[schemars(extend("minProperties" = 1, "maxProperties" = 32))] PartitionOffsets),
    /// Where the group was before an earlier replay of this processor, by its id: undoes it.
    Replay(#[schemars(length(min = 1, max = 63))] String),
}

/// An end of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ReplayPosition {
    /// The oldest record that the topic still holds.
    Earliest,
    /// Behind the newest record: what has come so far is skipped.
    Latest,
}

/// What became of a replay.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReplayStatus {
    /// Its id.
    pub id: String,
    /// Its processor.
    pub processor: String,
    /// How far it is.
    pub phase: ReplayPhase,
    /// What it waits for, why it was refused, or what it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Where the group was, by topic and partition; a partition that it had never read is not listed. Written before any offset is
    /// changed.
    #[serde(default, skip_serializing_if = "PartitionOffsets::is_empty")]
    pub before: PartitionOffsets,
    /// Where it begins, by topic and partition.
    #[serde(default, skip_serializing_if = "PartitionOffsets::is_empty")]
    pub after: PartitionOffsets,
    /// When it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// When it ended, however it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Time>,
}

/// How far a replay is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ReplayPhase {
    /// It was there when the processor was first seen, and is not run.
    #[default]
    Recorded,
    /// It is not run, for the reason in `message`.
    Refused,
    /// It was taken back before any offset was changed.
    Cancelled,
    /// The processor's pods are being stopped.
    Stopping,
    /// The group's offsets are being set.
    Moving,
    /// The processor's pods are being started.
    Starting,
    /// The processor runs from there.
    Done,
}

impl ReplayPhase {
    /// It is under way.
    pub fn is_active(self) -> bool {
        matches!(self, Self::Stopping | Self::Moving | Self::Starting)
    }

    /// The processor is to have no pods.
    pub fn is_stopped(self) -> bool {
        matches!(self, Self::Stopping | Self::Moving)
    }

    /// Offsets have been, or may have been, set: what runs next is of this replay's generation.
    pub fn has_moved(self) -> bool {
        matches!(self, Self::Moving | Self::Starting | Self::Done)
    }
}
