//! The topics that a pipeline owns, from its spec and its sources.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::pipeline::{holders::Holder, validate::TopicView};

fn pipeline(processors: Value) -> EventPipeline {
    serde_json::from_value(json!({
        "apiVersion": "tidegate.dev/v1alpha1", "kind": "EventPipeline",
        "metadata": {"name": "wallet", "namespace": "bank", "uid": "u-1"},
        "spec": {"kafka": {"user": {"secretRef": {"name": "kafka"}}}, "processors": processors},
    }))
    .unwrap()
}

fn projector(name: &str, topics: Value) -> Value {
    json!({
        "name": name, "run": {"wallet": {"role": "LedgerProjector"}}, "consumes": {"topics": topics, "group": name},
        "retry": {}, "deadLetter": {"topic": "dlq", "partitions": 5, "retention": "7d"},
    })
}

fn world(sources: &[(&str, Source)]) -> World {
    let view = |source| TopicView { exists: true, source: Some(source), ..TopicView::default() };
    World { topics: sources.iter().map(|(name, one)| ((*name).to_owned(), view(*one))).collect(), ..World::default() }
}

fn source(partitions: i32, replicas: i32, min_in_sync: i32, max_bytes: i64) -> Source {
    Source { partitions, growing_to: None, replicas, min_in_sync, max_bytes }
}

fn named(topics: &[KafkaTopic], name: &str) -> Value {
    let found = topics.iter().find(|topic| topic.topic_name() == name).unwrap_or_else(|| panic!("no {name}"));
    serde_json::to_value(&found.spec).unwrap()
}

#[test]
fn a_retry_topic_is_like_its_source_and_keeps_everything() {
    let pipeline = pipeline(json!([projector("ledger", json!(["events"]))]));
    let made = topics(&pipeline, &world(&[("events", source(10, 3, 2, 10_551_296))]));
    assert_eq!(
        named(&made, "ledger.events.retry"),
        json!({
            "topicName": "ledger.events.retry", "partitions": 10, "replicas": 3,
            "config": {
                "cleanup.policy": "delete", "max.message.bytes": 10_616_832, "min.insync.replicas": 2,
                "retention.bytes": -1, "retention.ms": -1,
            },
            "deletionPolicy": "Retain", "adoptionPolicy": "Always",
        })
    );
    let metadata = serde_json::to_value(&made[0].metadata).unwrap();
    assert_eq!(
        metadata,
        json!({
            "name": "ledger.events.retry", "namespace": "bank",
            "labels": {
                "app.kubernetes.io/managed-by": "tidegate", "app.kubernetes.io/part-of": "wallet",
                "tidegate.dev/pipeline": "wallet", "tidegate.dev/processor": "ledger", "tidegate.dev/purpose": "retry",
            },
            "ownerReferences": [{
                "apiVersion": "tidegate.dev/v1alpha1", "kind": "EventPipeline", "name": "wallet", "uid": "u-1",
                "controller": true, "blockOwnerDeletion": false,
            }],
        })
    );
}

#[test]
fn a_shared_dead_letter_topic_is_made_once_and_takes_what_any_of_its_sources_holds() {
    let both = pipeline(json!([projector("ledger", json!(["events"])), projector("audit", json!(["small", "large"]))]));
    let sources =
        [("events", source(10, 1, 1, 1_000)), ("small", source(2, 3, 1, 500)), ("large", source(4, 2, 2, 9_000_000))];
    let made = topics(&both, &world(&sources));
    assert_eq!(
        made.iter().map(KafkaTopic::topic_name).collect::<Vec<_>>(),
        ["ledger.events.retry", "audit.small.retry", "audit.large.retry", "dlq"]
    );
    assert_eq!(
        named(&made, "dlq"),
        json!({
            "topicName": "dlq", "partitions": 5, "replicas": 3,
            "config": {
                "cleanup.policy": "delete", "max.message.bytes": 9_065_536, "min.insync.replicas": 2,
                "retention.ms": 604_800_000,
            },
            "deletionPolicy": "Retain",
        })
    );
}

#[test]
fn a_retry_topic_follows_its_source_and_never_shrinks() {
    let pipeline = pipeline(json!([projector("ledger", json!(["events"]))]));
    for (source_has, standing, wanted) in [(3, 3, 3), (6, 3, 6), (3, 6, 6)] {
        let mut world = world(&[("events", source(source_has, 3, 2, 1_000))]);
        let own = Holder::Own { partitions: standing, view: TopicView::default() };
        world.holders.insert("ledger.events.retry".into(), own);
        assert_eq!(named(&topics(&pipeline, &world), "ledger.events.retry")["partitions"], wanted);
    }
}

#[test]
fn what_somebody_else_has_is_not_applied() {
    let pipeline = pipeline(json!([projector("ledger", json!(["events"]))]));
    for holder in [
        Holder::Made(TopicView::default()),
        Holder::Rival { pipeline: "shop/orders".into() },
        Holder::Foreign { resource: "shop/dlq".into() },
        Holder::Gone { resource: "bank/dlq".into() },
    ] {
        let mut world = world(&[("events", source(3, 3, 2, 1_000))]);
        world.holders.insert("dlq".into(), holder);
        let made = topics(&pipeline, &world);
        assert_eq!(made.iter().map(KafkaTopic::topic_name).collect::<Vec<_>>(), ["ledger.events.retry"]);
    }
}

#[test]
fn in_place_there_is_no_retry_topic_and_a_written_name_is_guarded_by_adoption() {
    let mut in_place = projector("ledger", json!(["events"]));
    in_place["retry"] = json!({"mode": "InPlace"});
    let world = world(&[("events", source(3, 3, 2, 1_000))]);
    let made = topics(&pipeline(json!([in_place])), &world);
    assert_eq!(made.iter().map(KafkaTopic::topic_name).collect::<Vec<_>>(), ["dlq"]);

    let mut written = projector("ledger", json!(["events"]));
    written["retry"] = json!({"topic": "Again"});
    let made = topics(&pipeline(json!([written])), &world);
    assert_eq!(made[0].spec.adoption_policy, None);
    assert_eq!(made[0].topic_name(), "Again");
}

#[test]
fn a_connection_that_is_not_the_default_is_the_topics_too() {
    let mut elsewhere = pipeline(json!([projector("ledger", json!(["events"]))]));
    elsewhere.spec.kafka.connection = Some("second".into());
    let made = topics(&elsewhere, &world(&[("events", source(3, 3, 2, 1_000))]));
    assert!(made.iter().all(|topic| topic.connection() == "second"));
}

#[test]
fn a_topics_name_is_its_resources_where_kubernetes_takes_it() {
    for same in ["wallet-events-dlq", "ledger.wallet-events.retry", "7"] {
        assert_eq!(resource_name(same), same);
    }
    for (topic, stem) in [("Orders_DLQ", "orders-dlq-"), ("a..b", "a--b-"), ("_", "topic-"), ("a.-b", "a--b-")] {
        let name = resource_name(topic);
        assert!(name.starts_with(stem) && name.len() == stem.len() + 16, "{topic}: {name}");
    }
    assert_ne!(resource_name("Orders"), resource_name("ORDERS"));
}

fn any_source() -> impl Strategy<Value = Source> {
    (1_i32..100, 1_i32..5, 1_i32..3, 1_i64..20_000_000).prop_map(|(partitions, replicas, min_in_sync, max_bytes)| {
        Source { partitions, growing_to: None, replicas, min_in_sync: min_in_sync.min(replicas), max_bytes }
    })
}

proptest! {
    #[test]
    fn every_name_that_kafka_takes_becomes_one_that_kubernetes_takes(topic in "[a-zA-Z0-9._-]{1,249}") {
        let name = resource_name(&topic);
        prop_assert!(name.len() <= 253);
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        for part in name.split('.') {
            prop_assert!(part.bytes().next().is_some_and(plain) && part.bytes().last().is_some_and(plain), "{name}");
            prop_assert!(part.bytes().all(|byte| plain(byte) || byte == b'-'), "{name}");
        }
    }

    // Whatever the sources are: records fit, partitions correspond, a write is as safe as in the source, and nothing else matters.
    #[test]
    fn owned_topics_are_a_function_of_the_spec_and_the_sources(
        first in any_source(), second in any_source(), other in any_source()
    ) {
        let pipeline = pipeline(json!([projector("ledger", json!(["first", "second"]))]));
        let world = world(&[("first", first), ("second", second), ("other", other)]);
        let made = topics(&pipeline, &world);
        prop_assert_eq!(made.len(), 3);
        let number = |spec: &Value, key: &str| spec["config"][key].as_i64().unwrap_or_default();
        for (name, source) in [("ledger.first.retry", first), ("ledger.second.retry", second)] {
            let spec = named(&made, name);
            prop_assert_eq!(spec["partitions"].as_i64(), Some(i64::from(source.partitions)));
            prop_assert_eq!(spec["replicas"].as_i64(), Some(i64::from(source.replicas)));
            prop_assert_eq!(number(&spec, "min.insync.replicas"), i64::from(source.min_in_sync));
            prop_assert_eq!(number(&spec, "max.message.bytes"), source.max_bytes + 65_536);
        }
        let dead = named(&made, "dlq");
        for source in [first, second] {
            prop_assert!(number(&dead, "max.message.bytes") >= source.max_bytes + 65_536);
            prop_assert!(number(&dead, "min.insync.replicas") >= i64::from(source.min_in_sync));
            prop_assert!(dead["replicas"].as_i64() >= Some(i64::from(source.replicas)));
        }
        prop_assert!(number(&dead, "min.insync.replicas") <= dead["replicas"].as_i64().unwrap_or_default());
        let fewer = World { topics: world.topics.iter().filter(|(name, _)| *name != "other")
            .map(|(name, view)| (name.clone(), view.clone())).collect(), ..World::default() };
        prop_assert_eq!(made, topics(&pipeline, &fewer));
    }
}

#[test]
fn a_retry_topic_grows_before_its_source_does() {
    let pipeline = pipeline(json!([projector("ledger", json!(["events"]))]));
    let growing = Source { growing_to: Some(12), ..source(10, 3, 2, 1_000) };
    let made = topics(&pipeline, &world(&[("events", growing)]));
    assert_eq!(named(&made, "ledger.events.retry")["partitions"], 12);
    assert_eq!(named(&made, "dlq")["partitions"], 5);
}
