//! What the run asks of the operator: KafkaTopics and EventPipelines, as they are written at the moment. Pure.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::stores::Streams;

/// The pipeline that keeps money.
pub const BANK: &str = "bank";
/// The pipeline that is somebody's own program.
pub const PRICES: &str = "prices";
/// The processor of [`PRICES`] that is always there.
pub const PRICING: &str = "price-orders";

/// A resource as it should be.
#[derive(Clone, Debug, PartialEq)]
pub struct Resource {
    /// Its spec.
    pub spec: Value,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// Whether it is there at all: one that is deleted keeps its spec for when it is made again.
    pub there: bool,
}

impl Resource {
    fn new(spec: Value) -> Self {
        Self { spec, annotations: BTreeMap::new(), there: true }
    }

    /// The processors of an EventPipeline.
    pub fn processors(&self) -> &[Value] {
        self.spec["processors"].as_array().map_or(&[], Vec::as_slice)
    }

    /// The same, to change them.
    pub fn processors_mut(&mut self) -> Option<&mut Vec<Value>> {
        self.spec["processors"].as_array_mut()
    }

    /// Whether its users are the operator's affair.
    pub fn is_managed(&self) -> bool {
        self.spec["kafka"]["user"]["managed"].is_object()
    }
}

/// Everything that is asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    /// The namespace, and what topics and groups begin with.
    pub run: String,
    /// KafkaTopics by name. In Kafka they are called `<run>-<name>`.
    pub topics: BTreeMap<String, Resource>,
    /// EventPipelines by name.
    pub pipelines: BTreeMap<String, Resource>,
}

impl Wanted {
    /// What a run begins and ends with. `image`: that of docs/examples/python-consumer.
    pub fn base(run: &str, image: &str) -> Self {
        let topic = |name: &str, partitions: i32, policy: &str, config: Value| {
            let spec = json!({
                "topicName": format!("{run}-{name}"), "partitions": partitions, "replicas": 3, "deletionPolicy": policy,
                "config": config,
            });
            (name.to_owned(), Resource::new(spec))
        };
        // One that stays in Kafka comes back to its resource though somebody has edited it meanwhile.
        let retained = |(name, mut topic): (String, Resource)| {
            topic.spec["adoptionPolicy"] = "Always".into();
            (name, topic)
        };
        let topics = BTreeMap::from([
            topic("events", 3, "Delete", json!({"min.insync.replicas": 2})),
            topic("orders", 3, "Delete", json!({"min.insync.replicas": 2})),
            topic("priced", 3, "Delete", json!({"min.insync.replicas": 2})),
            topic("priced-again", 2, "Delete", json!({"min.insync.replicas": 2})),
            retained(topic("spare", 2, "Retain", json!({"retention.ms": 86_400_000}))),
            topic("scratch", 2, "Delete", json!({"retention.ms": 3_600_000})),
        ]);
        let wanted = Self { run: run.into(), topics, pipelines: BTreeMap::new() };
        let bank = json!({
            "kafka": {"user": {"managed": {}}},
            "database": {"secretRef": {"name": "db"}},
            "processors": [
                {
                    "name": "commands", "run": {"wallet": {"role": "Commands"}}, "produces": [wanted.in_kafka("events")],
                    "http": {"port": 8080, "auth": "None"}, "replicas": 1,
                },
                wanted.projector("ledger", "LedgerProjector", json!({"replicas": 1})),
                wanted.projector("read-model", "ReadModelProjector", json!({"scaling": {"min": 1, "max": 2, "targetLag": "30s"}})),
            ],
        });
        let prices = json!({
            "kafka": {"user": {"managed": {}}},
            "processors": [wanted.pricing(PRICING, "priced", image)],
        });
        let pipelines = BTreeMap::from([(BANK.into(), Resource::new(bank)), (PRICES.into(), Resource::new(prices))]);
        Self { pipelines, ..wanted }
    }

    /// A name of the run's own in Kafka.
    pub fn in_kafka(&self, stem: &str) -> String {
        format!("{}-{stem}", self.run)
    }

    /// What the bank's topic and groups are called.
    pub fn streams(&self) -> Streams {
        let [topic, dead_letters, ledger, read_model] =
            ["events", "dlq", "ledger", "read-model"].map(|stem| self.in_kafka(stem));
        Streams { topic, dead_letters, ledger, read_model }
    }

    fn projector(&self, name: &str, role: &str, pods: Value) -> Value {
        let mut processor = json!({
            "name": name, "run": {"wallet": {"role": role}},
            "consumes": {"topics": [self.in_kafka("events")], "group": self.in_kafka(name)},
            "retry": {"attempts": 12, "backoff": {"initial": "200ms", "max": "5s"}},
            "deadLetter": {"topic": self.in_kafka("dlq"), "partitions": 2, "retention": "7d"},
        });
        for (key, value) in pods.as_object().into_iter().flatten() {
            processor[key] = value.clone();
        }
        processor
    }

    /// A processor that prices orders into a topic.
    pub fn pricing(&self, name: &str, into: &str, image: &str) -> Value {
        json!({
            "name": name,
            "run": {"container": {
                "image": image, "imagePullPolicy": "Never", "idempotent": true,
                "health": {"readiness": "/readyz", "liveness": "/livez"},
            }},
            // More partitions move keys, which nobody minds here.
            "consumes": {"topics": [self.in_kafka("orders")], "group": self.in_kafka(name), "ordered": false},
            "produces": [self.in_kafka(into)],
            "deadLetter": {"topic": self.in_kafka("orders-dlq"), "partitions": 2, "retention": "7d"},
            "replicas": 1,
            "resources": {"requests": {"cpu": "20m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}},
        })
    }

    /// As it was at the beginning, but for what cannot be taken back: partitions.
    pub fn restored(&self, base: &Self) -> Self {
        let mut restored = base.clone();
        for (name, topic) in &mut restored.topics {
            let grown = self.topics.get(name).map_or(0, |found| found.spec["partitions"].as_i64().unwrap_or(0));
            if topic.spec["partitions"].as_i64().unwrap_or(0) < grown {
                topic.spec["partitions"] = json!(grown);
            }
        }
        restored
    }
}
