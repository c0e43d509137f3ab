//! A program that is not one of ours: its image, how it is started, and how it is known to be well. Fields of the EventPipeline
//! resource as they are.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Span;

/// Settings of a container with anybody's program in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ContainerSettings {
    /// The image, as a whole reference with tag or digest.
    #[schemars(length(min = 1, max = 1024))]
    pub image: String,
    /// When the image is pulled. Absent: Kubernetes' own default, which is Always for the tag latest and IfNotPresent for others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_pull_policy: Option<PullPolicy>,
    /// What is started, in place of the image's entrypoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), inner(length(max = 4096)))]
    pub command: Option<Vec<String>>,
    /// Arguments, in place of those that the image brings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), inner(length(max = 4096)))]
    pub args: Option<Vec<String>>,
    /// Whether a record that is handled again leaves everything as it was. A replay is refused unless it is said to. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotent: Option<bool>,
    /// How the process is known to be well. Absent: by a TCP connection to http.port where there is http; otherwise a process that
    /// runs is taken to be well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
    /// The user and group that the process runs as, by number; 0 is refused to everybody. Default: 65532.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 2147483647))]
    pub user: Option<i64>,
}

/// How a process is known to be well.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Health {
    /// TCP port that is asked. Default: http.port, and 8080 without http.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1024, max = 65535))]
    pub port: Option<u16>,
    /// Path that answers 200 to 399 while the process takes work, such as /readyz. Absent: it is ready while the port takes connections.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024), extend("pattern" = "^/"))]
    pub readiness: Option<String>,
    /// Path that answers 200 to 399 unless only a restart helps, such as /livez. Absent: it is restarted only when it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024), extend("pattern" = "^/"))]
    pub liveness: Option<String>,
    /// How long a start may take, in whole seconds at least. Default: 2m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_within: Option<Span>,
}

/// When an image is pulled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PullPolicy {
    /// At every start of a pod.
    Always,
    /// When the node does not have it.
    IfNotPresent,
    /// Not at all: the node has it.
    Never,
}

impl ContainerSettings {
    /// Whether a record may be handled again, the default applied.
    pub fn idempotent(&self) -> bool {
        self.idempotent.unwrap_or(false)
    }
}

impl Health {
    /// Seconds that a start may take, the default applied; at least 1.
    pub fn start_seconds(&self) -> i32 {
        let seconds = self.start_within.map_or(120, |span| span.duration().as_secs());
        i32::try_from(seconds.max(1)).unwrap_or(i32::MAX)
    }
}

impl PullPolicy {
    /// As Kubernetes writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Always => "Always",
            Self::IfNotPresent => "IfNotPresent",
            Self::Never => "Never",
        }
    }
}
