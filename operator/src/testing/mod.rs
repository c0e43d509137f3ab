//! An API server for one conversation: it answers what the controllers ask, keeps the objects that they patch, and remembers
//! every request, so that a test can say what was written and that nothing else was.

mod fixtures;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Client,
    client::Body,
    core::PartialObjectMeta,
    runtime::{
        reflector::{self, store::Writer},
        watcher::Event,
    },
};
use serde_json::{Value, json};
use tidegate_crds::{EventPipeline, KafkaTopic};
use tidegate_kafka::twin::Twin;
use tidegate_settings::binding::{self, KafkaConnection, KafkaSecurity, ScramMechanism};
use tokio::sync::mpsc;

pub use self::fixtures::{kafka, retrying_projector, run, wallet};

use crate::{
    alerts::kinds::Served,
    busy::Busy,
    config::Config,
    context::{Context, Filling},
    events::Events,
    gateway::Gateway,
    lag::Readings,
    metrics::Metrics,
    pipeline::{children::Children, memory::PipelineMemories, users},
    scaling::Scalers,
    topic::memory::TopicMemories,
};

/// What was asked: `PATCH kafkatopics/orders/status`, and with what.
type Requests = Arc<Mutex<Vec<(String, Value)>>>;

/// What the API server has of the kinds that are read.
#[derive(Default)]
struct Objects {
    secrets: BTreeMap<String, Value>,
    pods: Vec<Value>,
    tokens: BTreeMap<String, String>,
    version: u64,
    /// So many status writes are taken; none for all.
    status_writes: Option<usize>,
}

/// A controller's surroundings: an API server, a Kafka, and the stores that watches would fill.
pub struct World {
    /// What the controller gets.
    pub context: Arc<Context>,
    /// Kafka.
    pub twin: Twin,
    requests: Requests,
    objects: Arc<Mutex<Objects>>,
    secrets: Mutex<Writer<PartialObjectMeta<Secret>>>,
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
        let objects = Arc::<Mutex<Objects>>::default();
        let client = client(requests.clone(), objects.clone());
        let (secrets, secrets_writer) = reflector::store();
        let (topics, topics_writer) = reflector::store();
        let (pipelines, pipelines_writer) = reflector::store();
        let security = KafkaSecurity::SaslSsl {
            mechanism: ScramMechanism::Sha512,
            username: "tidegate-operator".into(),
            password: binding::Secret::new("the operator's own"),
            ca_file: None,
        };
        let connection = KafkaConnection { bootstrap_servers: "kafka:9092".into(), security };
        let gateway = Gateway::new(Arc::new(twin.clone())).reached_by(connection);
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
                secrets,
            },
            served: Served::default(),
            readings: Readings::default(),
            scalers: Scalers::default(),
            topic_memories: TopicMemories::default(),
            pipeline_memories: PipelineMemories::default(),
            users: users::Memories::default(),
            topic_triggers: mpsc::unbounded_channel().0,
            pipeline_triggers: mpsc::unbounded_channel().0,
            metrics: Metrics::default(),
        };
        Self {
            context: Arc::new(context),
            twin: twin.clone(),
            requests,
            objects,
            secrets: Mutex::new(secrets_writer),
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

    /// The Secret that the API server has.
    pub fn secret(&self, name: &str) -> Option<Secret> {
        let found = self.objects.lock().unwrap().secrets.get(name).cloned()?;
        Some(serde_json::from_value(found).unwrap())
    }

    /// Somebody deletes a Secret.
    pub fn delete_secret(&self, name: &str) {
        self.objects.lock().unwrap().secrets.remove(name);
    }

    /// Puts the Secrets that the API server has where the watch would.
    pub fn watch_secrets(&self) {
        for secret in self.objects.lock().unwrap().secrets.values() {
            let secret = serde_json::from_value(json!({"metadata": secret["metadata"]})).unwrap();
            self.secrets.lock().unwrap().apply_watcher_event(&Event::Apply(secret));
        }
    }

    /// The pods that there are, whoever asks: the hash that each began with.
    pub fn pods(&self, hashes: &[&str]) {
        let pod =
            |hash: &&str| json!({"metadata": {"name": "pod", "annotations": {"tidegate.dev/settings-hash": hash}}});
        self.objects.lock().unwrap().pods = hashes.iter().map(pod).collect();
    }

    /// So many status writes are taken from now on; others fail.
    pub fn take_status_writes(&self, count: usize) {
        self.objects.lock().unwrap().status_writes = Some(count);
    }

    /// A token of a user, for whoever it is reviewed.
    pub fn token(&self, token: &str, user: &str) {
        self.objects.lock().unwrap().tokens.insert(token.to_owned(), user.to_owned());
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

impl Objects {
    /// The answer, where it is about something that is kept here.
    fn answer(&mut self, method: &Method, what: &str, body: &Value) -> Option<(StatusCode, Value)> {
        let status = |code: StatusCode, reason: &str| {
            (
                code,
                json!({"kind": "Status", "status": "Failure", "code": code.as_u16(), "message": reason, "reason": reason}),
            )
        };
        if body["kind"] == "TokenReview" {
            let user = body["spec"]["token"].as_str().and_then(|token| self.tokens.get(token));
            let mut review = body.clone();
            review["status"] = json!({
                "authenticated": user.is_some(), "user": {"username": user}, "audiences": body["spec"]["audiences"],
            });
            return Some((StatusCode::CREATED, review));
        }
        if what.ends_with("/status")
            && let Some(left) = &mut self.status_writes
        {
            match left.checked_sub(1) {
                Some(fewer) => *left = fewer,
                None => return Some(status(StatusCode::INTERNAL_SERVER_ERROR, "InternalError")),
            }
        }
        if what.is_empty() {
            return Some((StatusCode::OK, json!({"metadata": {"name": "kube-system", "uid": "cluster-1"}})));
        }
        if what == "pods" {
            return Some((
                StatusCode::OK,
                json!({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": self.pods}),
            ));
        }
        let name = what.strip_prefix("secrets")?.trim_start_matches('/');
        let name = if name.is_empty() { body["metadata"]["name"].as_str()? } else { name }.to_owned();
        let known = self.secrets.get(&name).map(|secret| secret["metadata"]["resourceVersion"].clone());
        let is_written = match *method {
            Method::GET => {
                return Some(
                    self.secrets
                        .get(&name)
                        .map_or(status(StatusCode::NOT_FOUND, "NotFound"), |one| (StatusCode::OK, one.clone())),
                );
            }
            Method::POST => known.is_none(),
            Method::PUT => known.as_ref() == Some(&body["metadata"]["resourceVersion"]),
            _ => return None,
        };
        if !is_written {
            return Some(status(StatusCode::CONFLICT, "Conflict"));
        }
        self.version += 1;
        let mut written = body.clone();
        written["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.secrets.insert(name, written.clone());
        Some((StatusCode::OK, written))
    }
}

fn client(requests: Requests, objects: Arc<Mutex<Objects>>) -> Client {
    let service = tower::service_fn(move |request: Request<Body>| {
        let (requests, objects) = (requests.clone(), objects.clone());
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await.map_err(|error| std::io::Error::other(error.to_string()))?.to_bytes();
            let body: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
            // .../namespaces/<namespace>/<plural>/<name>[/<subresource>]
            let path: Vec<&str> = parts.uri.path().split('/').collect();
            let at = path.iter().position(|part| *part == "namespaces").map_or(0, |at| at + 2);
            let what = path[at..].join("/");
            requests.lock().unwrap().push((format!("{} {what}", parts.method), body.clone()));
            let held = objects.lock().unwrap().answer(&parts.method, &what, &body);
            let (code, mut answer) = held.unwrap_or((StatusCode::OK, body));
            if parts.method == Method::PATCH {
                answer["metadata"]["resourceVersion"] = json!("1");
                if answer["spec"].is_null() {
                    answer["spec"] = match what.split('/').next() {
                        Some("eventpipelines") => json!({"kafka": {"user": {"managed": {}}}, "processors": []}),
                        _ => json!({"partitions": 1, "replicas": 1}),
                    };
                }
            }
            let response = Response::builder().status(code).header("content-type", "application/json");
            response.body(Body::from(serde_json::to_vec(&answer).unwrap())).map_err(std::io::Error::other)
        }
    });
    Client::new(service, "default")
}
