//! Anybody's program as a processor: docs/examples/python-consumer, as it is documented, on an image that hack/up assembled.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use tidegate_contracts::headers;

use crate::world::{LATER, World, ensure, eventually, story};

const NAME: &str = "prices";
const PODS: &str = "tidegate.dev/pipeline=prices";
const EXAMPLE: &str = include_str!("../../../docs/examples/python-consumer/pipeline.yaml");

/// The example's documents with names of this story's own; its KafkaTopics are applied, the pipeline's spec comes back.
async fn furnish_example(world: &World) -> Value {
    let image = std::env::var("TIDEGATE_PYTHON_CONSUMER_IMAGE")
        .expect("TIDEGATE_PYTHON_CONSUMER_IMAGE is set by: hack/up examples; eval \"$(hack/env)\"");
    let mut spec = Value::Null;
    for document in EXAMPLE.split("\n---\n") {
        let document: Value = serde_saphyr::from_str(document).expect("the example is YAML");
        let text = document["spec"].to_string();
        let own = text
            .replace("shop-", &format!("{}-shop-", world.namespace))
            .replace("registry.example/price-orders:1", &image);
        let own: Value = serde_json::from_str(&own).expect("names have no quotes");
        let name = document["metadata"]["name"].as_str().expect("the example has names");
        if document["kind"] == "EventPipeline" {
            spec = own;
        } else {
            let mut topic = own;
            topic["topicName"] = json!(topic_name(world, name));
            world.apply_topic(name, topic).await.expect("the example's KafkaTopic is taken");
        }
    }
    // Assembled here, and in no registry.
    spec["processors"][0]["run"]["container"]["imagePullPolicy"] = json!("Never");
    spec
}

fn topic_name(world: &World, example: &str) -> String {
    format!("{}-{example}", world.namespace)
}

async fn order(world: &World, number: usize) {
    let order = match number % 25 {
        0 => format!("no order {number}"),
        _ => json!({"orderId": number.to_string(), "unitPrice": "2.50", "quantity": number}).to_string(),
    };
    world.produce(&topic_name(world, "shop-orders"), &format!("customer-{}", number % 7), order.as_bytes()).await;
}

/// How often each order was priced, and each that is none is a dead letter.
async fn everything_came_out_once(world: &World, orders: usize) {
    eventually(&format!("{orders} orders are priced or dead-lettered, each once"), LATER, async || {
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        for priced in world.records_in_kafka(&topic_name(world, "shop-priced-orders")) {
            let priced: Value =
                serde_json::from_str(priced.value.as_deref().unwrap_or_default()).map_err(|error| error.to_string())?;
            let number: usize =
                priced["orderId"].as_str().and_then(|id| id.parse().ok()).ok_or("an order without its id")?;
            let (cents, total) = (number * 250, priced["total"].as_str().unwrap_or_default());
            assert_eq!(total, format!("{}.{:02}", cents / 100, cents % 100), "{priced}");
            *seen.entry(number.to_string()).or_default() += 1;
        }
        for dead in world.records_in_kafka(&topic_name(world, "shop-orders-dlq")) {
            let value = dead.value.unwrap_or_default();
            *seen.entry(value.trim_start_matches("no order ").to_owned()).or_default() += 1;
        }
        let twice: Vec<_> = seen.iter().filter(|(_, count)| **count > 1).collect();
        assert!(twice.is_empty(), "what is committed is committed once: {twice:?}");
        ensure(seen.len() == orders, || format!("{} of {orders} came out", seen.len()))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_in_another_language_handles_each_record_once_whoever_dies() {
    story("container", async |world| {
        world.furnish().await;
        let spec = furnish_example(world).await;

        world.apply_pipeline(NAME, spec).await.unwrap();
        let pipeline = world.pipeline_is_ready(NAME).await;
        assert_eq!(pipeline["status"]["summary"]["ready"], "1/1");
        for number in 1..=100 {
            order(world, number).await;
        }
        everything_came_out_once(world, 100).await;

        let dead = world.records_in_kafka(&topic_name(world, "shop-orders-dlq"));
        let origins: BTreeSet<_> = dead
            .iter()
            .map(|record| {
                (record.headers[headers::ORIGIN_PARTITION].clone(), record.headers[headers::ORIGIN_OFFSET].clone())
            })
            .collect();
        assert_eq!(origins.len(), 4, "each says where it came from: {origins:?}");
        for record in &dead {
            assert_eq!(record.headers[headers::GROUP], topic_name(world, "shop-price-orders"));
            assert_eq!(record.headers[headers::ORIGIN_TOPIC], topic_name(world, "shop-orders"));
            assert_eq!(
                (record.headers[headers::ERROR_CLASS].as_str(), record.headers[headers::ATTEMPTS].as_str()),
                ("Poison", "1")
            );
        }

        // Orders go on coming in while the pods die, one after the other, without a goodbye.
        let pods = world.pods_of(&world.namespace, PODS).await;
        assert_eq!(pods.len(), 2, "{pods:?}");
        for (index, pod) in pods.keys().enumerate() {
            for number in 0..50 {
                if number == 20 {
                    world.kill_pod(&world.namespace, pod).await;
                }
                order(world, 101 + 50 * index + number).await;
            }
        }
        everything_came_out_once(world, 200).await;
        let gone: Vec<&String> = pods.values().collect();
        world.pods_are_ready(&world.namespace, PODS, 2, &gone).await;

        // The status is written at most every 30 s.
        eventually("the status says that nothing is behind", LATER, async || {
            let status = world.pipeline(&world.namespace, NAME).await?["status"].clone();
            let summary = &status["summary"];
            ensure(summary["lagRecords"] == 0 && summary["deadLetters"] == 8, || status.to_string())
        })
        .await;
    })
    .await;
}
