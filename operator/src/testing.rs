//! An API server for one conversation: it answers what the controllers ask, keeps the objects that they patch, and remembers
//! every request, so that a test can say what was written and that nothing else was.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use kube::{
    Client,
    client::Body,
    runtime::{
        reflector::{self, store::Writer},
        watcher::Event,
    },
};
use serde_json::{Value, json};
use tidegate_crds::{EventPipeline, KafkaTopic};
use tidegate_kafka::twin::Twin;
use tokio::sync::mpsc;

use crate::{
    alerts::kinds::Served,
    busy::Busy,
    config::Config,
    context::{Context, Filling},
    events::Events,
    gateway::Gateway,
    lag::Readings,
    metrics::Metrics,
    pipeline::{children::Children, memory::PipelineMemories},
    scaling::Scalers,
    topic::memory::TopicMemories,
};

/// What was asked: `PATCH kafkatopics/orders/status`, and with what.
type Requests = Arc<Mutex<Vec<(String, Value)>>>;

/// A controller's surroundings: an API server, a Kafka, and the stores that watches would fill.
pub struct World {
    /// What the controller gets.
    pub context: Arc<Context>,
    /// Kafka.
    pub twin: Twin,
    requests: Requests,
    topics: Mutex<Writer<KafkaTopic>>,
    pipelines: Mutex<Writer<EventPipeline>>,
}

impl World {
    /// An empty one.
    pub fn new() -> Self {
        Self::after(&Twin::new())
    }

    /// Another leadership over the same Kafka: everything that the one before remembered is gone.
    pub fn after(twin: &Twin) -> Self {
        let requests = Requests::default();
        let client = client(requests.clone());
        let (topics, topics_writer) = reflector::store();
        let (pipelines, pipelines_writer) = reflector::store();
        let gateway = Gateway::new(Arc::new(twin.clone()));
        let config = json!({
            "installationId": "test", "namespace": "tidegate-system", "connections": {"main": {"path": "/nowhere"}},
            "images": {}, "http": {"port": 8080},
        });
        let context = Context {
            events: Events::new(client.clone(), "test".into()),
            client,
            config: Arc::new(serde_json::from_value::<Config>(config).unwrap()),
            connections: BTreeMap::from([("main".to_owned(), gateway)]),
            busy: Busy::default(),
            filling: Filling::default(),
            topics: topics.clone(),
            pipelines,
            children: Children {
                deployments: reflector::store().0,
                service_accounts: reflector::store().0,
                config_maps: reflector::store().0,
                services: reflector::store().0,
                budgets: reflector::store().0,
                prometheus_rules: reflector::store().0,
                pod_monitors: reflector::store().0,
                topics,
                secrets: reflector::store().0,
            },
            served: Served::default(),
            readings: Readings::default(),
            scalers: Scalers::default(),
            topic_memories: TopicMemories::default(),
            pipeline_memories: PipelineMemories::default(),
            topic_triggers: mpsc::unbounded_channel().0,
            pipeline_triggers: mpsc::unbounded_channel().0,
            metrics: Metrics::default(),
        };
        Self {
            context: Arc::new(context),
            twin: twin.clone(),
            requests,
            topics: Mutex::new(topics_writer),
            pipelines: Mutex::new(pipelines_writer),
        }
    }

    /// Puts a topic where the watch would.
    pub fn watch(&self, topic: &KafkaTopic) {
        self.topics.lock().unwrap().apply_watcher_event(&Event::Apply(topic.clone()));
    }

    /// Puts a pipeline where the watch would.
    pub fn watch_pipeline(&self, pipeline: &EventPipeline) {
        self.pipelines.lock().unwrap().apply_watcher_event(&Event::Apply(pipeline.clone()));
    }

    /// What was asked since the last time, without the bodies.
    pub fn asked(&self) -> Vec<String> {
        self.requests.lock().unwrap().drain(..).map(|(line, _)| line).collect()
    }

    /// What was asked since the last time.
    pub fn conversation(&self) -> Vec<(String, Value)> {
        self.requests.lock().unwrap().drain(..).collect()
    }
}

/// The status that the last status patch of a conversation wrote.
pub fn last_status(conversation: &[(String, Value)]) -> Option<Value> {
    conversation.iter().rev().find(|(line, _)| line.ends_with("/status")).map(|(_, body)| body["status"].clone())
}

fn client(requests: Requests) -> Client {
    let service = tower::service_fn(move |request: Request<Body>| {
        let requests = requests.clone();
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await.map_err(|error| std::io::Error::other(error.to_string()))?.to_bytes();
            let body: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
            // .../namespaces/<namespace>/<plural>/<name>[/<subresource>]
            let path: Vec<&str> = parts.uri.path().split('/').collect();
            let at = path.iter().position(|part| *part == "namespaces").map_or(0, |at| at + 2);
            let what = path[at..].join("/");
            requests.lock().unwrap().push((format!("{} {what}", parts.method), body.clone()));
            let mut answer = body;
            if parts.method == Method::PATCH {
                answer["metadata"]["resourceVersion"] = json!("1");
                if answer["spec"].is_null() {
                    answer["spec"] = json!({"partitions": 1, "replicas": 1});
                }
            }
            let response = Response::builder().status(StatusCode::OK).header("content-type", "application/json");
            response.body(Body::from(serde_json::to_vec(&answer).unwrap())).map_err(std::io::Error::other)
        }
    });
    Client::new(service, "default")
}
