//! Dead letters that are tried again: what is asked for, and what became of it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate_settings::PartitionOffsets;

/// Copies of dead letters are written into the retry topic, and handled before what waits behind them. It runs once for each id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Redrive {
    /// Names the redrive. An id that has run, or that was there when the processor was first seen (a restore from git), does not run
    /// again; another one does, and leaves out what earlier ones have redriven. At most 63 of a-z, A-Z, 0-9, dot, underscore and hyphen.
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(
        validation = Rule::new("self.matches('^[a-zA-Z0-9]([-a-zA-Z0-9._]*[a-zA-Z0-9])?$')")
            .message("begin and end the id with a letter or digit and use only a-z, A-Z, 0-9, dot, underscore and hyphen")
    )]
    pub id: String,
    /// Most dead letters that are redriven. Default: 1000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max: Option<i32>,
    /// Which dead letters of the processor. Default: all of them.
    #[serde(default, rename = "match", skip_serializing_if = "Option::is_none")]
    pub matching: Option<RedriveMatch>,
}

/// Which dead letters: those of which all this is true.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RedriveMatch {
    /// Their header tidegate-error-class: Poison, Exhausted, Panic, TooLarge, or a class of your own program's.
    #[schemars(length(min = 1, max = 63))]
    pub error_class: String,
}

/// What became of a redrive.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RedriveStatus {
    /// Its id.
    pub id: String,
    /// Its processor.
    pub processor: String,
    /// How far it is.
    pub phase: RedrivePhase,
    /// What it waits for, why it was refused, or what it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The error class that was asked for; absent: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_class: Option<String>,
    /// Dead letters that were redriven.
    pub moved: i64,
    /// Dead letters of the processor that were passed over: of another class, redriven before, or of no retry topic.
    pub skipped: i64,
    /// Where the dead-letter topic ended when it began, by topic and partition: what has died since is left to another redrive.
    #[serde(default, skip_serializing_if = "PartitionOffsets::is_empty")]
    pub until: PartitionOffsets,
    /// How far it came, by topic and partition.
    #[serde(default, skip_serializing_if = "PartitionOffsets::is_empty")]
    pub next: PartitionOffsets,
    /// When it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// When it ended, however it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Time>,
}

/// How far a redrive is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RedrivePhase {
    /// It was there when the processor was first seen, and is not run.
    #[default]
    Recorded,
    /// It is not run, for the reason in `message`.
    Refused,
    /// Dead letters are being copied.
    Running,
    /// It was taken back while it ran; what it had copied by then is being handled.
    Cancelled,
    /// All are copied that were asked for.
    Done,
}

impl RedrivePhase {
    /// It is under way.
    pub fn is_active(self) -> bool {
        self == Self::Running
    }
}

impl Redrive {
    /// Most dead letters, the default applied.
    pub fn max(&self) -> i64 {
        i64::from(self.max.unwrap_or(1000))
    }

    /// The error class that is asked for; none: any.
    pub fn error_class(&self) -> Option<&str> {
        self.matching.as_ref().map(|matching| matching.error_class.as_str())
    }
}
