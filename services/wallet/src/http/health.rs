//! How the way to Kafka is: what is committed and not yet published.

use axum::{Json, extract::State, http::StatusCode};
use serde::Serialize;
use tidegate_runtime::outbox::{OutboxStats, SHARDS};
use utoipa::ToSchema;

use super::Api;
use crate::{error::StoreError, problem::Problem};

/// Whether events get to Kafka.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({"status": "healthy", "producer": {"connected": true},
    "publisher": {"isRunning": true, "unprocessedEvents": 0, "lagMs": 0}}))]
pub struct KafkaHealth {
    /// `healthy`; `unhealthy` (and 503) when nobody publishes; `elsewhere` when the relay is a processor of its own, or there is none.
    status: &'static str,
    producer: Producer,
    publisher: Publisher,
}

/// The client.
#[derive(Serialize, ToSchema)]
pub struct Producer {
    /// Whether every shard of the outbox is being published, by this process or another one.
    connected: bool,
}

/// The relay.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Publisher {
    /// Whether a relay runs in this process.
    is_running: bool,
    /// Events that are committed and not published; null where no relay runs.
    unprocessed_events: Option<i64>,
    /// Age of the oldest of them, in ms; null where no relay runs.
    lag_ms: Option<i64>,
}

/// The relay's figures.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct KafkaStats {
    /// Where events go.
    topic: String,
    /// Parts of the outbox, each published by one process at a time.
    shards: u16,
    /// Those that this process publishes.
    shards_owned: i64,
    /// What waits; null where no relay runs.
    outbox: Option<OutboxStats>,
}

/// Whether events get to Kafka.
#[utoipa::path(
    get, path = "/health/kafka", tag = "health",
    responses((status = 200, body = KafkaHealth), (status = 503, body = KafkaHealth, description = "Nobody publishes."))
)]
pub async fn kafka(State(api): State<Api>) -> Result<(StatusCode, Json<KafkaHealth>), Problem> {
    let stats = outbox(&api).await?;
    let connected = stats.is_some_and(|stats| stats.connected);
    let is_running = stats.is_some_and(|stats| stats.is_running);
    let (code, status) = match stats {
        None => (StatusCode::OK, "elsewhere"),
        Some(_) if connected && is_running => (StatusCode::OK, "healthy"),
        Some(_) => (StatusCode::SERVICE_UNAVAILABLE, "unhealthy"),
    };
    let publisher = Publisher {
        is_running,
        unprocessed_events: stats.map(|stats| stats.unprocessed_events),
        lag_ms: stats.map(|stats| stats.lag_ms),
    };
    Ok((code, Json(KafkaHealth { status, producer: Producer { connected }, publisher })))
}

/// The relay's figures.
#[utoipa::path(get, path = "/health/kafka/stats", tag = "health", responses((status = 200, body = KafkaStats)))]
pub async fn stats(State(api): State<Api>) -> Result<Json<KafkaStats>, Problem> {
    let outbox = outbox(&api).await?;
    let shards_owned = api.relay.as_ref().map_or(0, |relay| relay.owned_shards());
    Ok(Json(KafkaStats { topic: api.topic, shards: SHARDS, shards_owned, outbox }))
}

async fn outbox(api: &Api) -> Result<Option<OutboxStats>, StoreError> {
    match &api.relay {
        Some(relay) => relay.stats().await.map(Some).map_err(StoreError::on("counting what is not published")),
        None => Ok(None),
    }
}
