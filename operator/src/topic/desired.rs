//! What a KafkaTopic asks for, defaults applied and values in Kafka's own form.

use std::collections::BTreeMap;

use serde_json::Value;
use tidegate_crds::{
    KafkaTopic,
    conditions::ALLOW_REORDER_ANNOTATION,
    topic::{AdoptionPolicy, TopicRole},
};

use super::plan::Refusal;

/// A resource's wishes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Desired {
    /// Name in Kafka.
    pub name: String,
    /// Partition count.
    pub partitions: i32,
    /// Replicas of each partition.
    pub replicas: i32,
    /// Key -> value, as Kafka reads it.
    pub config: BTreeMap<String, String>,
    /// What to do with a topic that was there before.
    pub adoption: AdoptionPolicy,
    /// What the topic is for.
    pub role: TopicRole,
    /// Change nothing.
    pub paused: bool,
    /// Make a lost topic again.
    pub recreate: bool,
    /// Partition count that the owner accepts reordering for.
    pub reorder_consent: Option<i32>,
    /// Processors that read the topic and rely on the order per key, as `namespace/pipeline/processor`.
    pub ordered_consumers: Vec<String>,
}

impl Desired {
    /// Reads a resource.
    ///
    /// # Errors
    /// When a configuration value is no scalar, which the API server cannot check.
    pub fn from_resource(topic: &KafkaTopic, ordered_consumers: Vec<String>) -> Result<Self, Refusal> {
        let spec = &topic.spec;
        let mut config = BTreeMap::new();
        for (key, value) in spec.config.iter().flatten() {
            config.insert(key.clone(), scalar(key, value)?);
        }
        let annotation = |name| topic.metadata.annotations.as_ref().and_then(|all| all.get(name));
        Ok(Self {
            name: topic.topic_name().to_owned(),
            partitions: spec.partitions,
            replicas: spec.replicas,
            config,
            adoption: spec.adoption_policy(),
            role: spec.role(),
            paused: spec.paused(),
            recreate: spec.recreate(),
            reorder_consent: annotation(ALLOW_REORDER_ANNOTATION).and_then(|count| count.trim().parse().ok()),
            ordered_consumers,
        })
    }
}

fn scalar(key: &str, value: &Value) -> Result<String, Refusal> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Bool(flag) => Ok(flag.to_string()),
        Value::Number(number) if number.is_i64() || number.is_u64() => Ok(number.to_string()),
        Value::Number(number) => Err(Refusal::new(
            "InvalidConfig",
            format!(
                "spec.config[{key}] is the fraction {number}; write it in quotes, so that its digits stay as they are"
            ),
        )),
        Value::Null => Err(Refusal::new(
            "InvalidConfig",
            format!(
                "spec.config[{key}] has no value; give it one, or take the key out to go back to the broker's default"
            ),
        )),
        Value::Array(_) | Value::Object(_) => Err(Refusal::new(
            "InvalidConfig",
            format!("spec.config[{key}] is a list or a map; Kafka takes one value, a list as \"first,second\""),
        )),
    }
}

/// Whether two spellings mean one value to Kafka: it trims, lowers booleans, and writes numbers and lists its own way, and a
/// difference in spelling must not be corrected for ever.
pub fn same_value(left: &str, right: &str) -> bool {
    fn items(text: &str) -> impl Iterator<Item = &str> {
        text.split(',').map(str::trim).filter(|item| !item.is_empty())
    }
    fn same_item(left: &str, right: &str) -> bool {
        if left == right {
            return true;
        }
        if let (Ok(left), Ok(right)) = (left.parse::<i64>(), right.parse::<i64>()) {
            return left == right;
        }
        if let (Ok(left), Ok(right)) = (left.parse::<f64>(), right.parse::<f64>()) {
            return left == right;
        }
        ["true", "false"].iter().any(|flag| left.eq_ignore_ascii_case(flag) && right.eq_ignore_ascii_case(flag))
    }
    items(left).count() == items(right).count()
        && items(left).zip(items(right)).all(|(left, right)| same_item(left, right))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(config: Value) -> KafkaTopic {
        serde_json::from_value(serde_json::json!({
            "apiVersion": "tidegate.dev/v1alpha1", "kind": "KafkaTopic",
            "metadata": {"name": "orders", "namespace": "shop"},
            "spec": {"partitions": 3, "replicas": 3, "config": config},
        }))
        .unwrap()
    }

    #[test]
    fn values_are_taken_as_people_write_them() {
        let config = serde_json::json!({"retention.ms": 604_800_000, "preallocate": true, "cleanup.policy": "delete"});
        let desired = Desired::from_resource(&topic(config), vec![]).unwrap();
        assert_eq!(
            desired.config.into_iter().collect::<Vec<_>>(),
            [("cleanup.policy", "delete"), ("preallocate", "true"), ("retention.ms", "604800000")]
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
        );
        assert_eq!(desired.name, "orders");
    }

    #[test]
    fn a_value_that_is_no_scalar_is_refused_with_what_to_write_instead() {
        for (value, advice) in [
            (serde_json::json!(0.5), "in quotes"),
            (Value::Null, "take the key out"),
            (serde_json::json!(["compact", "delete"]), "\"first,second\""),
            (serde_json::json!({"a": 1}), "one value"),
        ] {
            let refusal = Desired::from_resource(&topic(serde_json::json!({"some.key": value})), vec![]).unwrap_err();
            assert_eq!(refusal.reason, "InvalidConfig");
            assert!(refusal.message.contains("some.key") && refusal.message.contains(advice), "{}", refusal.message);
        }
    }

    #[test]
    fn spelling_is_no_difference() {
        for (left, right) in
            [("compact, delete", "compact,delete"), ("TRUE", "true"), ("0.50", "0.5"), ("007", "7"), ("", "")]
        {
            assert!(same_value(left, right), "{left} {right}");
        }
        for (left, right) in [("compact", "compact,delete"), ("true", "false"), ("1", "2"), ("", "1"), ("lz4", "LZ4")] {
            assert!(!same_value(left, right), "{left} {right}");
        }
        // Beyond what a double holds exactly.
        assert!(!same_value("9007199254740993", "9007199254740992"));
    }
}
