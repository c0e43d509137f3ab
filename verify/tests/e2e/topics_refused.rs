//! What is refused: at apply by the API server where the schema knows, and in the status with Kafka's own words where only Kafka knows.

use serde_json::{Value, json};

use crate::world::{World, story};

/// Edits of a topic of 6 partitions in which a wallet keeps its events, and a part of what is said.
fn edits() -> [((&'static str, Value), &'static str); 4] {
    [
        (
            ("partitions", json!(3)),
            "spec.partitions cannot decrease, because Kafka cannot remove partitions; put the old number back",
        ),
        (("partitions", json!(7)), "spec.partitions cannot grow where role is EventStore"),
        (("topicName", json!("another")), "spec.topicName cannot change, because Kafka cannot rename a topic"),
        (
            ("connection", json!("other")),
            "spec.connection cannot change, because a topic cannot move to another cluster",
        ),
    ]
}

/// Names and specs that nothing begins with.
fn beginnings() -> [(String, Value, &'static str); 5] {
    let named = |topic: &str| json!({"topicName": topic, "partitions": 1, "replicas": 1});
    [
        ("internal".into(), named("__mine"), "names that begin with __ belong to Kafka itself"),
        ("spaced".into(), named("two words"), "Kafka takes only a-z"),
        ("dots".into(), named(".."), "Kafka takes neither . nor .. as a topic's name"),
        ("t".repeat(250), json!({"partitions": 1, "replicas": 1}), "metadata.name is longer than the 249 characters"),
        ("none".into(), json!({"partitions": 0, "replicas": 1}), "spec.partitions"),
    ]
}

/// All that the API server is made to say here.
pub fn sentences() -> Vec<&'static str> {
    edits().into_iter().map(|(_, said)| said).chain(beginnings().into_iter().map(|(.., said)| said)).collect()
}

/// What the API server says to an apply; the story fails when it takes it.
async fn refusal(world: &World, name: &str, spec: Value) -> String {
    match world.apply_topic(name, spec.clone()).await {
        Ok(_) => panic!("{spec} was taken"),
        Err(kube::Error::Api(status)) if status.code == 422 => status.message.clone(),
        Err(error) => panic!("{spec} was not refused as invalid, but: {error}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_edit_is_refused_at_apply_with_a_sentence_that_says_what_to_do() {
    story("refused", async |world| {
        let topic = world.name("refused");
        let spec = json!({"topicName": topic, "partitions": 6, "replicas": 3, "role": "EventStore"});
        world.apply_topic("refused", spec.clone()).await.unwrap();
        world.topic_is_ready("refused").await;

        for ((field, value), said) in edits() {
            let mut bad = spec.clone();
            bad[field] = value;
            let refusal = refusal(world, "refused", bad).await;
            assert!(refusal.contains(said), "{refusal}");
        }
        for (name, spec, said) in beginnings() {
            let refusal = refusal(world, &name, spec).await;
            assert!(refusal.contains(said), "{refusal}");
        }

        assert_eq!(world.partitions_in_kafka(&topic).map(|found| found.len()), Some(6), "nothing of it reached Kafka");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_kafka_can_refuse_stalls_with_kafkas_reason_and_changes_nothing() {
    story("stalled", async |world| {
        let topic = world.name("stalled");
        let spec = json!({"topicName": topic, "partitions": 1, "replicas": 3});
        world.apply_topic("stalled", spec).await.unwrap();
        world.topic_is_ready("stalled").await;

        // One good key and one that Kafka does not know, in one edit: none of it is applied.
        let spec = json!({
            "topicName": topic, "partitions": 2, "replicas": 3,
            "config": {"retention.ms": 60_000, "retention.mss": 1},
        });
        world.apply_topic("stalled", spec).await.unwrap();
        let (_, message) = world.topic_becomes("stalled", "Stalled").await;
        assert!(message.contains("retention.mss"), "the message names the part: {message}");
        assert_eq!(world.partitions_in_kafka(&topic).map(|found| found.len()), Some(1), "{message}");
        assert_ne!(world.config_in_kafka(&topic, "retention.ms").await, Ok("60000".into()), "{message}");

        // Mended, it goes on by itself.
        let spec = json!({
            "topicName": topic, "partitions": 2, "replicas": 3, "config": {"retention.ms": 60_000},
        });
        world.apply_topic("stalled", spec).await.unwrap();
        world.topic_is_ready("stalled").await;
        world.kafka_has_config(&topic, "retention.ms", "60000").await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_resources_that_name_one_topic_the_second_is_told_of_the_conflict_and_takes_over_later() {
    story("conflict", async |world| {
        let topic = world.name("shared");
        let spec = json!({"topicName": topic, "partitions": 1, "replicas": 3});
        world.apply_topic("first", spec.clone()).await.unwrap();
        let first = world.topic_is_ready("first").await;

        world.apply_topic("second", spec).await.unwrap();
        let (reason, message) = world.topic_becomes("second", "Stalled").await;
        assert_eq!(reason, "Conflict", "{message}");

        world.delete_topic("first").await;
        let second = world.topic_is_ready("second").await;
        assert_eq!(second["status"]["topicId"], first["status"]["topicId"]);
    })
    .await;
}
