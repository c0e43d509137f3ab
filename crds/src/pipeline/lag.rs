//! How far behind a processor may be, and who is told when it is further.

use std::{collections::BTreeMap, fmt, str::FromStr, time::Duration};

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate_settings::Span;

/// The objective where the spec names none.
pub const DEFAULT_OBJECTIVE: Duration = Duration::from_secs(60);
/// The target where the spec names none, in thousandths of a percent.
pub const DEFAULT_TARGET: Percent = Percent { thousandths: 99_000 };
/// The window where the spec names none.
pub const DEFAULT_WINDOW: Duration = Duration::from_secs(30 * 86_400);

/// A service level objective of a processor's lag. Alerts are made of it, with or without this field.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Lag {
    /// How old the oldest unprocessed record may be, 10s to 30d. Default: 60s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(
        validation = Rule::new("self.endsWith('d') || duration(self) >= duration('10s')")
            .message("the least lag.objective is 10s, because lag is read every few seconds; set 10s or more"),
        validation = Rule::new("self.endsWith('d') ? int(self.substring(0, size(self) - 1)) <= 30 : duration(self) <= duration('720h')")
            .message("lag.objective is at most 30d; set less")
    )]
    pub objective: Option<Span>,
    /// For how much of the time the objective is to be held, 95% to 99.999%. Default: 99%.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(
        validation = Rule::new("double(self.substring(0, size(self) - 1)) < 100.0")
            .message("lag.target must be below 100%, for example 99.9%: with 100% there is no error budget, and the first slow record would have spent it"),
        validation = Rule::new("double(self.substring(0, size(self) - 1)) >= 95.0")
            .message("lag.target must be 95% or more: below, the budget is so large that no alert could tell when it burns too fast; set a longer lag.objective instead")
    )]
    pub target: Option<Percent>,
    /// Over which time the target is meant, in days, 7d to 30d. Default: 30d.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(
        validation = Rule::new("self.matches('^([7-9]|[12][0-9]|30)d$')")
            .message("lag.window is 7d to 30d, in days; for example 30d")
    )]
    pub window: Option<Span>,
    /// How alerts are labelled, and which are not wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alert: Option<Alert>,
}

/// How a processor's alerts are labelled, and which are not wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Alert {
    /// Label `severity` of what needs somebody now. Default: what the operator was installed with, which is page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32), extend("pattern" = "^[a-zA-Z0-9_-]+$"))]
    pub severity: Option<String>,
    /// Label `severity` of what can wait until the morning. Default: what the operator was installed with, which is ticket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32), extend("pattern" = "^[a-zA-Z0-9_-]+$"))]
    pub minor_severity: Option<String>,
    /// More labels of each alert, by which it is routed, such as team.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxProperties" = 16))]
    #[x_kube(
        validation = Rule::new("self.all(k, k.matches('^[a-zA-Z_][a-zA-Z0-9_]*$') && !k.startsWith('__') && size(self[k]) <= 128)")
            .message("a label's name begins with a letter or underscore and has a-z, A-Z, 0-9 and underscore only, and its value at most 128 characters"),
        validation = Rule::new("self.all(k, !(k in ['alertname', 'severity', 'namespace', 'pipeline', 'processor', 'topic', 'partition', 'burn']))")
            .message("alertname, severity, namespace, pipeline, processor, topic, partition and burn are set by the operator; choose other names")
    )]
    pub labels: Option<BTreeMap<String, String>>,
    /// Alerts that are not wanted for this processor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub disabled: Option<Vec<AlertName>>,
}

/// An alert about a processor. docs/runbooks has a page of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum AlertName {
    /// The oldest unprocessed record is older than the objective.
    PipelineLagHigh,
    /// The objective is missed so often that the error budget will not last.
    LagBudgetBurn,
    /// A partition does not move, whatever the others do.
    PartitionStuck,
    /// Records wait and nobody reads them.
    ConsumerGroupEmptyWithLag,
    /// Unprocessed records come near the age at which Kafka deletes them.
    RetentionRisk,
    /// Kafka has deleted records that were not processed.
    DataLost,
    /// Too much of what is read fails and waits to be tried again.
    RetryStorm,
    /// The group keeps reassigning its partitions.
    RebalanceLoop,
    /// As many pods as may be, and still behind.
    ScalingSaturated,
    /// The lag is not known.
    LagSignalAbsent,
}

impl fmt::Display for AlertName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// A share as people write it: `99.9%`, with up to three decimals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String", extend("pattern" = "^[0-9]{1,3}(\\.[0-9]{1,3})?%$", "maxLength" = 8))]
pub struct Percent {
    thousandths: u32,
}

/// A share that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no share; write a number with at most three decimals and a percent sign: 99%, 99.9%")]
pub struct NotAPercent(String);

impl Percent {
    /// What is left of the whole: 0.001 for 99.9%.
    pub fn rest(self) -> f64 {
        f64::from(100_000_u32.saturating_sub(self.thousandths)) / 100_000.0
    }
}

impl FromStr for Percent {
    type Err = NotAPercent;

    fn from_str(text: &str) -> Result<Self, NotAPercent> {
        let digits = |text: &str, at_most: usize| {
            let plain = (1..=at_most).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
            plain.then(|| text.parse::<u32>().ok()).flatten()
        };
        let read = || {
            let number = text.strip_suffix('%')?;
            let (whole, decimals) = number.split_once('.').unwrap_or((number, "0"));
            let decimals = digits(decimals, 3).map(|_| format!("{decimals:0<3}"))?;
            Some(digits(whole, 3)? * 1_000 + digits(&decimals, 3)?)
        };
        read()
            .filter(|thousandths| *thousandths <= 100_000)
            .map(|thousandths| Self { thousandths })
            .ok_or_else(|| NotAPercent(text.chars().take(40).collect()))
    }
}

impl TryFrom<String> for Percent {
    type Error = NotAPercent;

    fn try_from(text: String) -> Result<Self, NotAPercent> {
        text.parse()
    }
}

impl From<Percent> for String {
    fn from(percent: Percent) -> Self {
        percent.to_string()
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let decimals = format!("{:03}", self.thousandths % 1_000);
        let decimals = decimals.trim_end_matches('0');
        let point = if decimals.is_empty() { "" } else { "." };
        write!(f, "{}{point}{decimals}%", self.thousandths / 1_000)
    }
}

impl Lag {
    /// The objective, the default applied.
    pub fn objective(&self) -> Duration {
        self.objective.map_or(DEFAULT_OBJECTIVE, Span::duration)
    }

    /// The target, the default applied.
    pub fn target(&self) -> Percent {
        self.target.unwrap_or(DEFAULT_TARGET)
    }

    /// The window, the default applied.
    pub fn window(&self) -> Duration {
        self.window.map_or(DEFAULT_WINDOW, Span::duration)
    }

    /// Whether an alert is wanted.
    pub fn wants(&self, name: AlertName) -> bool {
        let disabled = self.alert.as_ref().and_then(|alert| alert.disabled.as_deref()).unwrap_or_default();
        !disabled.contains(&name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_read_as_people_write_them() {
        for (text, rest, written) in [
            ("99.9%", 0.001, "99.9%"),
            ("99%", 0.01, "99%"),
            ("95.00%", 0.05, "95%"),
            ("99.999%", 0.000_01, "99.999%"),
            ("99.05%", 0.0095, "99.05%"),
            ("100%", 0.0, "100%"),
        ] {
            let percent: Percent = text.parse().unwrap();
            assert!((percent.rest() - rest).abs() < 1e-12, "{text}: {}", percent.rest());
            assert_eq!(percent.to_string(), written);
        }
        for text in ["", "%", "99", "99.%", ".9%", "99.9999%", "-1%", "1e2%", "101%", "99,9%", " 99%"] {
            let error = text.parse::<Percent>().unwrap_err().to_string();
            assert!(error.contains("99.9%"), "{text}: {error}");
        }
    }

    #[test]
    fn defaults_are_those_that_the_schema_names() {
        let lag = Lag::default();
        assert_eq!((lag.objective().as_secs(), lag.window().as_secs()), (60, 30 * 86_400));
        assert_eq!(lag.target().to_string(), "99%");
        assert!(lag.wants(AlertName::DataLost));
    }

    #[test]
    fn what_is_not_wanted_is_named_as_the_alert_is() {
        let lag: Lag = serde_json::from_value(serde_json::json!({"alert": {"disabled": ["RebalanceLoop"]}})).unwrap();
        assert!(!lag.wants(AlertName::RebalanceLoop));
        assert!(lag.wants(AlertName::RetryStorm));
        assert_eq!(AlertName::RebalanceLoop.to_string(), "RebalanceLoop");
    }
}
