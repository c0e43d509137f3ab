//! Rule groups in the form that Prometheus reads and PrometheusRule embeds.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

/// Rules that are evaluated together, in their order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// Unique in a Prometheus.
    pub name: String,
    /// How often they are evaluated.
    pub interval: String,
    /// The rules.
    pub rules: Vec<Rule>,
}

/// An alert, or a series that alerts are made of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// Name of the alert; or
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alert: Option<String>,
    /// of the series.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<String>,
    /// In PromQL.
    pub expr: String,
    /// For how long it must hold.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub hold: Option<String>,
    /// By which it is routed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// What a person reads.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// A rule file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleFile {
    /// Its groups.
    pub groups: Vec<Group>,
}

/// What an alert says, before it gets its labels.
pub(super) struct Draft {
    /// The expression.
    pub expr: String,
    /// For how long it must hold.
    pub hold: Duration,
    /// It can wait until the morning.
    pub minor: bool,
    /// One line, with the value.
    pub summary: String,
    /// What it means, with names to look at.
    pub description: String,
}

/// What all alerts of a group share.
pub(super) struct Shared<'a> {
    /// Their labels.
    pub labels: BTreeMap<String, String>,
    /// Label `severity` of what needs somebody now, and of what does not.
    pub severities: (&'a str, &'a str),
    /// Where their pages are: `{alert}` stands for the name.
    pub runbook_url: &'a str,
}

impl Shared<'_> {
    /// The rule of an alert.
    pub(super) fn alert(&self, name: &str, draft: Draft) -> Rule {
        let severity = if draft.minor { self.severities.1 } else { self.severities.0 };
        let mut labels = self.labels.clone();
        labels.insert("severity".to_owned(), severity.to_owned());
        Rule {
            alert: Some(name.to_owned()),
            expr: draft.expr,
            hold: (!draft.hold.is_zero()).then(|| seconds(draft.hold)),
            labels,
            annotations: [
                ("summary", draft.summary),
                ("description", draft.description),
                ("runbook_url", self.runbook_url.replace("{alert}", name)),
            ]
            .map(|(key, value)| (key.to_owned(), value))
            .into(),
            ..Rule::default()
        }
    }
}

/// A length of time as Prometheus writes it, in its largest whole unit.
pub(super) fn seconds(length: Duration) -> String {
    let seconds = length.as_secs();
    let whole = [(86_400, "d"), (3_600, "h"), (60, "m")]
        .into_iter()
        .find(|(unit, _)| seconds.is_multiple_of(*unit) && seconds > 0);
    whole.map_or_else(|| format!("{seconds}s"), |(unit, name)| format!("{}{name}", seconds / unit))
}

/// A number without the noise of binary fractions: 0.144, not 0.14400000000000002.
pub(super) fn number(value: f64) -> String {
    let text = format!("{value:.6}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    text.to_owned()
}
