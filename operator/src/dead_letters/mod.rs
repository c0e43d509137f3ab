//! Dead letters for people: the operator that leads reads them, because it reaches Kafka and whoever looks often does not, and shows a
//! processor's to those who may act as that processor (ADR 64). Reads only.

mod door;
mod read;
#[cfg(test)]
mod read_tests;
mod refusal;
mod view;

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::{Path, Query, State},
    http::HeaderMap,
    routing::get,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use kube::{
    Client,
    runtime::reflector::{ObjectRef, Store},
};
use serde::Deserialize;
use tidegate_crds::EventPipeline;
use tidegate_kafka::KafkaAdmin;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use self::{
    door::enter,
    read::{Source, list, show},
};
pub use self::{
    door::{TOKEN, audience},
    refusal::Refusal,
    view::{Blob, Content, End, Filter, Header, Letter, Listing, Origin, Whole},
};
use crate::context::Context;

/// The header in which the wanted key is, in base64: an address is written to audit logs, and a key may tell about a person.
pub const KEY: &str = "tidegate-key";
/// The most letters of a list.
pub const LIMIT: usize = 1_000;
/// Letters of a list where nobody says how many.
const DEFAULT_LIMIT: usize = 20;
/// How long a question may take; half of it, to look for letters.
const PATIENCE: Duration = Duration::from_secs(30);
/// Tokens that are reviewed at once: anybody may send one.
const AT_THE_DOOR: usize = 4;
/// Questions that are answered at once: each holds some MiB.
const INSIDE: usize = 2;

/// Where dead letters are shown: by nobody, or by the operator while it leads.
#[derive(Clone, Debug)]
pub struct Desk(Arc<watch::Sender<Option<Arc<Clerk>>>>);

/// The desk is open for as long as this is there.
#[must_use]
pub struct Open(Desk);

/// What a leadership has for it. Nothing of it writes, so that it may outlive the leadership by a question.
struct Clerk {
    client: Client,
    audience: String,
    pipelines: Store<EventPipeline>,
    clusters: BTreeMap<String, Arc<dyn KafkaAdmin>>,
    door: Semaphore,
    inside: Arc<Semaphore>,
}

/// Somebody who may know, until his answer is there.
struct Admitted {
    cluster: Arc<dyn KafkaAdmin>,
    source: Source,
    _turn: OwnedSemaphorePermit,
}

/// Whose dead letters.
#[derive(Deserialize)]
struct Whose {
    namespace: String,
    pipeline: String,
    processor: String,
}

/// Which of them.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Which {
    limit: Option<usize>,
    origin: Option<String>,
    error_class: Option<String>,
}

impl Default for Desk {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(None)))
    }
}

impl fmt::Debug for Clerk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clerk").field("audience", &self.audience).finish_non_exhaustive()
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.0.send_replace(None);
    }
}

impl Desk {
    /// Opens it, for a leadership.
    pub fn open(&self, context: &Context) -> Open {
        let clusters = context.connections.iter().map(|(name, gateway)| (name.clone(), gateway.reader())).collect();
        self.0.send_replace(Some(Arc::new(Clerk {
            client: context.client.clone(),
            audience: audience(&context.config.installation_id),
            pipelines: context.pipelines.clone(),
            clusters,
            door: Semaphore::new(AT_THE_DOOR),
            inside: Arc::new(Semaphore::new(INSIDE)),
        })));
        Open(self.clone())
    }

    /// Its paths: `/dead-letters/<namespace>/<pipeline>/<processor>`, and `.../<partition>/<offset>` for one.
    pub fn router(self) -> Router {
        Router::new()
            .route("/dead-letters/{namespace}/{pipeline}/{processor}", get(listing))
            .route("/dead-letters/{namespace}/{pipeline}/{processor}/{partition}/{offset}", get(one))
            .with_state(self)
    }

    /// Lets somebody ask whoever leads.
    async fn admit(&self, whose: &Whose, asked: &HeaderMap) -> Result<Admitted, Refusal> {
        let clerk = self.0.borrow().clone();
        clerk.ok_or_else(|| Refusal::Unavailable("this operator does not lead".to_owned()))?.admit(whose, asked).await
    }
}

impl Clerk {
    async fn admit(&self, whose: &Whose, asked: &HeaderMap) -> Result<Admitted, Refusal> {
        let Whose { namespace, pipeline, processor } = whose;
        // Before anything else: who may not look does not learn what there is either.
        {
            let _turn = self.door.try_acquire().map_err(|_| Refusal::Busy)?;
            let token = asked.get(TOKEN).and_then(|token| token.to_str().ok());
            let user = format!("system:serviceaccount:{namespace}:{pipeline}-{processor}");
            in_time(enter(&self.client, &self.audience, token, &user)).await?;
        }
        let turn = self.inside.clone().try_acquire_owned().map_err(|_| Refusal::Busy)?;
        let found = self.pipelines.get(&ObjectRef::new(pipeline).within(namespace));
        let found =
            found.ok_or_else(|| Refusal::NotFound(format!("there is no EventPipeline {namespace}/{pipeline}")))?;
        let source = Source::of(&found, processor)?;
        let connection = found.spec.connection();
        let cluster = self.clusters.get(connection).cloned();
        let cluster = cluster.ok_or_else(|| Refusal::NotFound(format!("there is no connection {connection}")))?;
        tracing::info!(namespace, pipeline, processor, "dead letters are shown");
        Ok(Admitted { cluster, source, _turn: turn })
    }
}

async fn in_time<T>(answer: impl Future<Output = Result<T, Refusal>>) -> Result<T, Refusal> {
    let late = |_| Refusal::Unavailable("the answer took too long".to_owned());
    tokio::time::timeout(PATIENCE, answer).await.map_err(late)?
}

async fn listing(
    State(desk): State<Desk>,
    Path(whose): Path<Whose>,
    Query(which): Query<Which>,
    asked: HeaderMap,
) -> Result<Json<Listing>, Refusal> {
    let key = asked.get(KEY).map(|key| STANDARD.decode(key.as_bytes())).transpose();
    let key = key.map_err(|_| Refusal::BadRequest(format!("header {KEY} is no base64")))?;
    let filter = Filter { origin: which.origin, error_class: which.error_class, key };
    let limit = which.limit.unwrap_or(DEFAULT_LIMIT).clamp(1, LIMIT);
    let Admitted { cluster, source, _turn } = desk.admit(&whose, &asked).await?;
    in_time(list(cluster.as_ref(), &source, &filter, limit, PATIENCE / 2)).await.map(Json)
}

async fn one(
    State(desk): State<Desk>,
    Path((namespace, pipeline, processor, partition, offset)): Path<(String, String, String, i32, i64)>,
    asked: HeaderMap,
) -> Result<Json<Whole>, Refusal> {
    let whose = Whose { namespace, pipeline, processor };
    let Admitted { cluster, source, _turn } = desk.admit(&whose, &asked).await?;
    in_time(show(cluster.as_ref(), &source, partition, offset)).await.map(Json)
}
