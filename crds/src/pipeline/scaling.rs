//! `scaling` of a processor: as many pods as its backlog needs, and what was decided.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate_settings::Span;

/// How many pods a processor may have, and how far behind it may be. The operator measures what one pod handles, and starts as many
/// as bring the lag under `targetLag`; never more than there are partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(
    validation = Rule::new("!has(self.min) || self.min <= self.max")
        .message("scaling.min is more than scaling.max; lower min or raise max")
        .field_path(".min"),
)]
#[serde(rename_all = "camelCase")]
pub struct Scaling {
    /// The fewest pods. With 0 the last pod goes when nothing was read or written for a whole `scaleInWindow` and nothing waits to be
    /// tried again; the first record brings one back. Default: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1000))]
    pub min: Option<i32>,
    /// The most pods. More than the partitions of the consumed topics are never started, whatever this says.
    #[schemars(range(min = 1, max = 1000))]
    pub max: i32,
    /// Within how long a backlog is to be gone, 10s or more. A backlog younger than half of it is nothing to act on. Default: 15s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(
        validation = Rule::new("self.matches('^([1-9][0-9]{4,}ms|[1-9][0-9]+s|[1-9][0-9]*[mhd])$')")
            .message("lag is measured every 5 seconds, so a targetLag of less than 10s cannot be kept; write 10s or more")
    )]
    pub target_lag: Option<Span>,
    /// After a change of the number, how long until there may be more pods, 30s or more: what the new ones do has to be measured
    /// first. Default: 30s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(
        validation = Rule::new("self.matches('^([3-9][0-9]{4}ms|[1-9][0-9]{5,}ms|[3-9][0-9]s|[1-9][0-9]{2,}s|[1-9][0-9]*[mhd])$')")
            .message("rates are measured over 30 seconds, and a shorter scaleOutWindow would act on the pods before the last change; write 30s or more")
    )]
    pub scale_out_window: Option<Span>,
    /// How long fewer pods must have been enough, without a break in the measurements, until there are fewer, 30s or more.
    /// Default: 5m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(
        validation = Rule::new("self.matches('^([3-9][0-9]{4}ms|[1-9][0-9]{5,}ms|[3-9][0-9]s|[1-9][0-9]{2,}s|[1-9][0-9]*[mhd])$')")
            .message("rates are measured over 30 seconds, and a shorter scaleInWindow would act on noise; write 30s or more")
    )]
    pub scale_in_window: Option<Span>,
}

/// What scaling has decided last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScalingStatus {
    /// Pods that there should be while the pipeline is not suspended.
    pub desired: i32,
    /// Why, in a word: InTarget, ScaledOut, ScaledIn, ScaleInPending, AtMax, AtPartitions, HotPartition, NoGain, Measuring and so on.
    pub reason: String,
    /// Why, in a sentence, with the figures of the moment at which `reason` or `desired` changed.
    pub message: String,
    /// More pods are needed than `max` or the partitions allow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub saturated: Option<bool>,
    /// When `desired` changed last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed_at: Option<Time>,
    /// Records that one busy pod handles in a second, as measured; absent until there was a backlog to measure it on. Written with the
    /// next change of `reason` or `desired`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub records_per_second: Option<i64>,
}

impl Scaling {
    /// The fewest pods, the default applied.
    pub fn min(&self) -> i32 {
        self.min.unwrap_or(1)
    }

    /// Within how long a backlog is to be gone, the default applied.
    pub fn target_lag(&self) -> Duration {
        self.target_lag.map_or(Duration::from_secs(15), Span::duration)
    }

    /// How long after a change there may be more pods, the default applied.
    pub fn scale_out_window(&self) -> Duration {
        self.scale_out_window.map_or(Duration::from_secs(30), Span::duration)
    }

    /// How long fewer pods must have been enough, the default applied.
    pub fn scale_in_window(&self) -> Duration {
        self.scale_in_window.map_or(Duration::from_secs(300), Span::duration)
    }
}
