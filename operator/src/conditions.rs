//! Conditions as both kinds report them: a draft says what is true now, merging keeps the time at which it became so.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// The most of a message that a condition takes.
const MAX_MESSAGE: usize = 4_096;

/// A condition without its times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    type_: &'static str,
    status: &'static str,
    reason: String,
    message: String,
}

impl Draft {
    /// It is so.
    pub fn yes(type_: &'static str, reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self { type_, status: "True", reason: reason.into(), message: message.into() }
    }

    /// It is not so.
    pub fn no(type_: &'static str, reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self { type_, status: "False", reason: reason.into(), message: message.into() }
    }

    /// Nobody can say.
    pub fn unknown(type_: &'static str, reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self { type_, status: "Unknown", reason: reason.into(), message: message.into() }
    }
}

/// The conditions to report: those of `drafts`, with the time of `previous` where the status is the same.
pub fn merge(previous: &[Condition], drafts: Vec<Draft>, generation: Option<i64>, now: Timestamp) -> Vec<Condition> {
    drafts
        .into_iter()
        .map(|draft| {
            let before = previous.iter().find(|old| old.type_ == draft.type_ && old.status == draft.status);
            // Seconds are what the API server keeps.
            let now = Timestamp::from_second(now.as_second()).unwrap_or(now);
            Condition {
                type_: draft.type_.to_owned(),
                status: draft.status.to_owned(),
                reason: draft.reason,
                message: truncate(draft.message, MAX_MESSAGE),
                observed_generation: generation,
                last_transition_time: before.map_or(Time(now), |old| old.last_transition_time.clone()),
            }
        })
        .collect()
}

/// Whether a condition is True.
pub fn is_true(conditions: &[Condition], type_: &str) -> bool {
    conditions.iter().any(|condition| condition.type_ == type_ && condition.status == "True")
}

/// At most `bytes` of a text, cut between characters.
pub fn truncate(mut text: String, bytes: usize) -> String {
    if text.len() > bytes {
        let cut = (0..=bytes.saturating_sub(3)).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
        text.truncate(cut);
        text.push('…');
    }
    text
}

/// `INVALID_REPLICATION_FACTOR` as a reason: `InvalidReplicationFactor`.
pub fn reason_from(name: &str) -> String {
    let capital = |word: &str| {
        let (first, rest) = word.split_at_checked(1).unwrap_or((word, ""));
        first.to_uppercase() + &rest.to_lowercase()
    };
    name.split('_').filter(|word| !word.is_empty()).map(capital).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn the_time_moves_only_when_the_status_does() {
        let first = merge(&[], vec![Draft::no("Ready", "Creating", "one")], Some(1), at(10));
        let same = merge(&first, vec![Draft::no("Ready", "Growing", "two")], Some(2), at(20));
        assert_eq!(same[0].last_transition_time.0, at(10));
        assert_eq!((same[0].reason.as_str(), same[0].observed_generation), ("Growing", Some(2)));
        let other = merge(&same, vec![Draft::yes("Ready", "InSync", "")], Some(2), at(30));
        assert_eq!(other[0].last_transition_time.0, at(30));
    }

    #[test]
    fn what_is_no_longer_said_disappears() {
        let stalled = merge(&[], vec![Draft::no("Ready", "X", ""), Draft::yes("Stalled", "X", "")], None, at(1));
        assert!(is_true(&stalled, "Stalled"));
        let ready = merge(&stalled, vec![Draft::yes("Ready", "InSync", "")], None, at(2));
        assert!(is_true(&ready, "Ready") && !is_true(&ready, "Stalled"));
    }

    #[test]
    fn kafka_names_become_reasons() {
        assert_eq!(reason_from("INVALID_REPLICATION_FACTOR"), "InvalidReplicationFactor");
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        assert_eq!(truncate("äöü".repeat(10), 9), "äöü…");
        assert_eq!(truncate("short".into(), 9), "short");
    }
}
