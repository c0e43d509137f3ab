//! Topic configuration keys of Kafka 4.3 with their types and defaults, and how Kafka words a value that it refuses.

use std::collections::BTreeMap;

use super::Refusal;
use crate::{ConfigEntry, ConfigSource, ErrorCode, TopicConfig};

/// What a key's value may be.
enum Kind {
    Long(i64),
    Int(i32),
    Ratio,
    Boolean,
    OneOf(&'static [&'static str]),
    ListOf(&'static [&'static str]),
    Text,
}

use Kind::{Boolean, Int, ListOf, Long, OneOf, Ratio, Text};

/// Key, type (numbers: with their least value), default.
const KEYS: &[(&str, Kind, &str)] = &[
    ("cleanup.policy", ListOf(&["compact", "delete"]), "delete"),
    ("compression.gzip.level", Int(i32::MIN), "-1"),
    ("compression.lz4.level", Int(1), "9"),
    ("compression.type", OneOf(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]), "producer"),
    ("compression.zstd.level", Int(i32::MIN), "3"),
    ("delete.retention.ms", Long(0), "86400000"),
    ("file.delete.delay.ms", Long(0), "60000"),
    ("flush.messages", Long(1), "9223372036854775807"),
    ("flush.ms", Long(0), "9223372036854775807"),
    ("follower.replication.throttled.replicas", Text, ""),
    ("index.interval.bytes", Int(0), "4096"),
    ("leader.replication.throttled.replicas", Text, ""),
    ("local.retention.bytes", Long(-2), "-2"),
    ("local.retention.ms", Long(-2), "-2"),
    ("max.compaction.lag.ms", Long(1), "9223372036854775807"),
    ("max.message.bytes", Int(0), "1048588"),
    ("message.timestamp.after.max.ms", Long(0), "3600000"),
    ("message.timestamp.before.max.ms", Long(0), "9223372036854775807"),
    ("message.timestamp.type", OneOf(&["CreateTime", "LogAppendTime"]), "CreateTime"),
    ("min.cleanable.dirty.ratio", Ratio, "0.5"),
    ("min.compaction.lag.ms", Long(0), "0"),
    ("min.insync.replicas", Int(1), "1"),
    ("preallocate", Boolean, "false"),
    ("remote.log.copy.disable", Boolean, "false"),
    ("remote.log.delete.on.disable", Boolean, "false"),
    ("remote.storage.enable", Boolean, "false"),
    ("retention.bytes", Long(i64::MIN), "-1"),
    ("retention.ms", Long(-1), "604800000"),
    ("segment.bytes", Int(1_048_576), "1073741824"),
    ("segment.index.bytes", Int(4), "10485760"),
    ("segment.jitter.ms", Long(0), "0"),
    ("segment.ms", Long(1), "604800000"),
    ("unclean.leader.election.enable", Boolean, "false"),
];

/// Whether a topic may have this configuration.
pub(super) fn check(configs: &BTreeMap<String, String>) -> Result<(), Refusal> {
    configs.iter().try_for_each(|(key, value)| {
        let refuse = |reason: String| Err((ErrorCode::INVALID_CONFIG, reason));
        let Some((_, kind, _)) = KEYS.iter().find(|(name, ..)| name == key) else {
            return refuse(format!("Unknown topic config name: {key}"));
        };
        match complaint(kind, value) {
            None => Ok(()),
            Some(reason) => refuse(format!("Invalid value {value} for configuration {key}: {reason}")),
        }
    })
}

fn complaint(kind: &Kind, value: &str) -> Option<String> {
    let at_least = |least: i64, is_less: bool| is_less.then(|| format!("Value must be at least {least}"));
    let not_one_of = |values: &[&str], value: &str| {
        (!values.contains(&value)).then(|| format!("String must be one of: {}", values.join(", ")))
    };
    match kind {
        Long(least) => match value.parse::<i64>() {
            Ok(number) => at_least(*least, number < *least),
            Err(_) => Some("Not a number of type LONG".to_owned()),
        },
        Int(least) => match value.parse::<i32>() {
            Ok(number) => at_least(i64::from(*least), number < *least),
            Err(_) => Some("Not a number of type INT".to_owned()),
        },
        Ratio => match value.parse::<f64>() {
            Ok(number) if number > 1.0 => Some("Value must be no more than 1".to_owned()),
            Ok(number) => at_least(0, number < 0.0),
            Err(_) => Some("Not a number of type DOUBLE".to_owned()),
        },
        Boolean => (!["true", "false"].contains(&value.to_lowercase().as_str()))
            .then(|| "Expected value to be either true or false".to_owned()),
        OneOf(values) => not_one_of(values, value),
        ListOf(values) => value.split(',').find_map(|value| not_one_of(values, value.trim())),
        Text => None,
    }
}

/// All keys: a topic's own values, and the defaults of the others.
pub(super) fn describe(own: &BTreeMap<String, String>) -> TopicConfig {
    KEYS.iter()
        .map(|(key, _, default)| {
            let (value, source) = match own.get(*key) {
                Some(value) => (value.as_str(), ConfigSource::Topic),
                None => (*default, ConfigSource::Default),
            };
            let value = Some(value.to_owned());
            ((*key).to_owned(), ConfigEntry { value, source, read_only: false, sensitive: false })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_a_value_that_its_key_accepts() {
        let defaults = KEYS.iter().map(|(key, _, default)| ((*key).to_owned(), (*default).to_owned())).collect();
        assert_eq!(check(&defaults), Ok(()));
    }
}
