//! What becomes of a record that cannot be handled at once: how often and how soon it is tried again, and where it is put when that is
//! over. Fields of the EventPipeline resource as they are.

/// Headers of parked records, dead letters and words, as far as whoever writes words needs them. All of them: `tidegate_contracts::headers`.
pub mod headers {
    /// The group that parked it or gave it up.
    pub const GROUP: &str = "tidegate-group";
    /// Kafka name of the topic that it came from.
    pub const ORIGIN_TOPIC: &str = "tidegate-origin-topic";
    /// Its partition there.
    pub const ORIGIN_PARTITION: &str = "tidegate-origin-partition";
    /// Its offset there.
    pub const ORIGIN_OFFSET: &str = "tidegate-origin-offset";
    /// Its time there, ms since 1970.
    pub const ORIGIN_TIMESTAMP: &str = "tidegate-origin-timestamp";
    /// Tries that were made.
    pub const ATTEMPTS: &str = "tidegate-attempts";
    /// What the handler said.
    pub const ERROR: &str = "tidegate-error";
    /// Why it was given up.
    pub const ERROR_CLASS: &str = "tidegate-error-class";
    /// Makes a word of it.
    pub const CONTROL: &str = "tidegate-control";
    /// The word that has a dead letter handled again.
    pub const REDRIVE: &str = "redrive";
}

use std::{fmt, str::FromStr, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a record that failed is tried again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Retry {
    /// Tries of a record in all, the first included; after the last it is a dead letter. Default: 5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub attempts: Option<u32>,
    /// The wait between tries. Default: 200ms, doubling up to 30s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backoff: Option<RetryBackoff>,
    /// Where a record waits for its next try. Default: Topic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<RetryMode>,
    /// Kafka name of the retry topic, for a processor of one topic. Default: `<group>.<topic>.retry`, one for each topic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 249))]
    pub topic: Option<String>,
}

/// The wait between tries: `initial`, then each time `multiplier` times as long, never longer than `max`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RetryBackoff {
    /// Before the second try. Default: 200ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initial: Option<Span>,
    /// The longest. Default: 30s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<Span>,
    /// How much longer each wait is than the one before. Default: 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub multiplier: Option<u32>,
}

/// Where a record waits for its next try.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RetryMode {
    /// In a retry topic: records of other keys go on meanwhile, those of its key wait behind it.
    #[default]
    Topic,
    /// Where it is: the whole partition waits.
    InPlace,
}

/// Where records go that cannot be handled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeadLetter {
    /// Kafka name of the topic. Processors of one pipeline may share it.
    #[schemars(length(min = 1, max = 249))]
    pub topic: String,
    /// Its partitions, where the operator makes it. Default: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub partitions: Option<i32>,
    /// How long a dead letter is kept, where the operator makes the topic. Default: 30d.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<Span>,
}

impl Retry {
    /// Tries in all, the default applied.
    pub fn attempts(&self) -> u32 {
        self.attempts.unwrap_or(5)
    }

    /// Where a record waits, the default applied.
    pub fn mode(&self) -> RetryMode {
        self.mode.unwrap_or_default()
    }

    /// The backoff, each default to be applied.
    pub fn backoff(&self) -> RetryBackoff {
        self.backoff.unwrap_or_default()
    }

    /// Kafka name of the retry topic of `topic` for `group`.
    pub fn topic_of(&self, group: &str, topic: &str) -> String {
        self.topic.clone().unwrap_or_else(|| format!("{group}.{topic}.retry"))
    }

    /// The group under which `group` commits how far it is in its retry topics.
    pub fn group_of(group: &str) -> String {
        format!("{group}.retry")
    }
}

impl RetryBackoff {
    /// The first wait, the default applied.
    pub fn initial(&self) -> Duration {
        self.initial.map_or(Duration::from_millis(200), Span::duration)
    }

    /// The longest wait, the default applied.
    pub fn max(&self) -> Duration {
        self.max.map_or(Duration::from_secs(30), Span::duration)
    }

    /// The factor, the default applied.
    pub fn multiplier(&self) -> u32 {
        self.multiplier.unwrap_or(2)
    }
}

impl DeadLetter {
    /// Partitions, the default applied.
    pub fn partitions(&self) -> i32 {
        self.partitions.unwrap_or(1)
    }

    /// How long a dead letter is kept, the default applied.
    pub fn retention(&self) -> Duration {
        self.retention.map_or(Duration::from_secs(30 * 24 * 3600), Span::duration)
    }
}

/// A length of time as people write it: a whole number and one unit of ms, s, m, h, d.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String", extend("pattern" = "^[1-9][0-9]{0,8}(ms|s|m|h|d)$", "maxLength" = 11))]
pub struct Span {
    count: u32,
    unit: Unit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Milliseconds,
    Seconds,
    Minutes,
    Hours,
    Days,
}

/// A length of time that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no length of time; write a whole number and a unit of ms, s, m, h, d: 200ms, 30s, 7d")]
pub struct NotASpan(String);

impl Unit {
    const ALL: [(&'static str, Self, u64); 5] = [
        ("ms", Self::Milliseconds, 1),
        ("s", Self::Seconds, 1000),
        ("m", Self::Minutes, 60_000),
        ("h", Self::Hours, 3_600_000),
        ("d", Self::Days, 86_400_000),
    ];

    fn entry(self) -> (&'static str, u64) {
        Self::ALL.iter().find(|(_, unit, _)| *unit == self).map_or(("ms", 1), |(name, _, millis)| (*name, *millis))
    }
}

impl Span {
    /// The length.
    pub fn duration(self) -> Duration {
        Duration::from_millis(u64::from(self.count) * self.unit.entry().1)
    }
}

impl FromStr for Span {
    type Err = NotASpan;

    fn from_str(text: &str) -> Result<Self, NotASpan> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (count, unit) = text.split_at(digits);
        let unit = Unit::ALL.iter().find(|(name, ..)| *name == unit).map(|(_, unit, _)| *unit);
        match (unit, count.parse()) {
            (Some(unit), Ok(count)) if (1..=9).contains(&digits) && !text.starts_with('0') => Ok(Self { count, unit }),
            _ => Err(NotASpan(text.chars().take(40).collect())),
        }
    }
}

impl TryFrom<String> for Span {
    type Error = NotASpan;

    fn try_from(text: String) -> Result<Self, NotASpan> {
        text.parse()
    }
}

impl From<Span> for String {
    fn from(span: Span) -> Self {
        span.to_string()
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.count, self.unit.entry().0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_read_and_written_as_people_write_it() {
        for (text, millis) in
            [("200ms", 200), ("30s", 30_000), ("5m", 300_000), ("2h", 7_200_000), ("30d", 2_592_000_000)]
        {
            let span: Span = text.parse().unwrap();
            assert_eq!((span.duration().as_millis(), span.to_string().as_str()), (millis, text));
        }
        for text in ["", "5", "s", "0s", "-1s", "1.5s", "1 s", "1w", "05s", "1234567890s", "1s1s"] {
            let error = text.parse::<Span>().unwrap_err().to_string();
            assert!(error.contains("200ms, 30s, 7d"), "{text}: {error}");
        }
    }

    #[test]
    fn defaults_are_those_that_the_schema_names() {
        let retry = Retry::default();
        assert_eq!((retry.attempts(), retry.mode()), (5, RetryMode::Topic));
        let backoff = retry.backoff();
        assert_eq!((backoff.initial().as_millis(), backoff.max().as_secs(), backoff.multiplier()), (200, 30, 2));
        assert_eq!(retry.topic_of("ledger", "wallet-events"), "ledger.wallet-events.retry");
    }
}
