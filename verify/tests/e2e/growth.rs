//! A topic that is read in order grows, with consent, while nobody writes to it.

use serde_json::{Value, json};

use crate::world::{LATER, SOON, World, ensure, eventually, requests::edit, story};

const NAME: &str = "own";
/// Pods that write to the topic.
const WRITERS: &str = "tidegate.dev/processor=commands";

/// A wallet of one's own without the read model, whose ledger tries again; the spec, and Kafka's name of its retry topic.
fn spec(world: &World, topic: &str) -> (Value, String) {
    let mut spec = world.wallet_spec(topic);
    spec["processors"][1]["retry"] = json!({"attempts": 3, "backoff": {"initial": "100ms", "max": "1s"}});
    spec["processors"][1]["deadLetter"] = json!({"topic": world.name("dlq"), "partitions": 2, "retention": "7d"});
    if let Some(processors) = spec["processors"].as_array_mut() {
        processors.truncate(2);
    }
    (spec, format!("{}.{topic}.retry", world.name("ledger")))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_read_in_order_grows_while_nobody_writes_to_it() {
    story("growth", async |world| {
        let topic = world.furnish().await;
        let (spec, retry) = spec(world, &topic);
        world.apply_pipeline(NAME, spec).await.unwrap();
        world.pipeline_is_ready(NAME).await;
        world.open_ada().await;
        world.deposit().await;
        world.deposits_are_projected(1).await;

        // Without consent nothing happens, and it says how.
        let grown = json!({"topicName": topic, "partitions": 5, "replicas": 3, "deletionPolicy": "Delete"});
        world.apply_topic("events", grown).await.unwrap();
        let (reason, message) = world.topic_becomes("events", "Stalled").await;
        assert!(reason == "OrderedConsumers" && message.contains("tidegate.dev/allow-reorder: \"5\""), "{message}");

        // With it, step by step. The operator is killed in the middle.
        let writers = world.pods_of(&world.namespace, WRITERS).await;
        assert_eq!(writers.len(), 1, "{writers:?}");
        let consent = json!({"metadata": {"annotations": {"tidegate.dev/allow-reorder": "5"}}});
        let topics = world.kafka_topics(&world.namespace);
        edit(&topics, "events", &consent).await;
        eventually("the producers are being stopped", SOON, async || {
            let growth = world.topic("events").await["status"]["growth"].clone();
            ensure(growth["producersStopped"] == true, || growth.to_string())
        })
        .await;
        world.event_says("events", &["StoppingProducers", "5 partitions"]).await;
        for pod in world.pods_of("tidegate-system", "app.kubernetes.io/component=operator").await.keys() {
            world.kill_pod("tidegate-system", pod).await;
        }
        let mut ahead = false;
        eventually("the topic has grown", LATER, async || {
            let [has, waits] = world.partition_counts([&topic, &retry]);
            ahead |= has == 3 && waits == 5;
            assert!(has == 3 || waits == 5, "it grew before its retry topic");
            ensure(has == 5, || format!("{has} partitions, {waits} of the retry topic"))
        })
        .await;
        let left = world.pods_at_work(&world.namespace, WRITERS).await;
        let still: Vec<&String> = left.iter().filter(|pod| writers.contains_key(*pod)).collect();
        assert!(still.is_empty(), "it grew while {still:?} could write to it");
        println!("the retry topic was seen to be ahead: {ahead}");

        // And everybody goes on.
        let done = world.topic_is_ready("events").await;
        assert_eq!(done["status"]["growth"], Value::Null);
        world.pipeline_is_ready(NAME).await;
        world.pods_are_ready(&world.namespace, WRITERS, 1, &[]).await;
        eventually("the producers take a deposit again", LATER, async || world.try_deposit().await).await;
        world.deposits_are_projected(2).await;
        for step in ["Draining", "GrowingRetryTopics", "Growing"] {
            world.event_says("events", &[step, "5 partitions"]).await;
        }
    })
    .await;
}
