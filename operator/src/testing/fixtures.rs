//! What several tests begin with.

use serde_json::{Value, json};
use tidegate_crds::{EventPipeline, pipeline::Processor};
use tidegate_kafka::{KafkaAdmin, NewTopic, WriteMode, twin::Twin};

/// The pipeline `bank/wallet`: `commands` produces to the topic `events`, which `ledger` projects. With what a test changes in it.
pub fn wallet(change: impl FnOnce(&mut Value)) -> EventPipeline {
    let mut value = json!({
        "apiVersion": "tidegate.dev/v1alpha1", "kind": "EventPipeline",
        "metadata": {"name": "wallet", "namespace": "bank", "uid": "u-1"},
        "spec": {
            "kafka": {"user": {"secretRef": {"name": "kafka"}}},
            "database": {"secretRef": {"name": "db"}},
            "processors": [
                {"name": "commands", "run": {"wallet": {"role": "Commands"}}, "produces": ["events"],
                 "http": {"port": 8080, "auth": "None"}},
                {"name": "ledger", "run": {"wallet": {"role": "LedgerProjector"}},
                 "consumes": {"topics": ["events"], "group": "ledger"}},
            ],
        },
    });
    change(&mut value);
    serde_json::from_value(value).unwrap()
}

/// The processor `p`, which reads the topic `t` as the group `g`, retries through `g.t.retry` and gives up into `dead`.
pub fn retrying_projector() -> Processor {
    serde_json::from_value(json!({
        "name": "p", "run": {"wallet": {"role": "LedgerProjector"}}, "consumes": {"topics": ["t"], "group": "g"},
        "retry": {}, "deadLetter": {"topic": "dead"},
    }))
    .unwrap()
}

/// A Kafka cluster that has topics.
pub async fn kafka(topics: &[NewTopic]) -> Twin {
    let twin = Twin::new();
    for outcome in twin.create_topics(topics, WriteMode::Apply).await.into_values() {
        outcome.unwrap();
    }
    twin
}

/// Tells a story to its end, where a property test's body may not be async.
pub fn run<T>(story: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(story)
}
