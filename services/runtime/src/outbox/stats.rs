//! What is waiting in the outbox, and how the relay is.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use prometheus_client::metrics::{counter::Counter, gauge::Gauge, histogram::Histogram};
use serde::Serialize;
use sqlx::{PgPool, Row};
use utoipa::ToSchema;

use super::SHARDS;
use crate::telemetry::Metrics;

/// What is waiting, and how the relay is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OutboxStats {
    /// Events that are committed and not published.
    pub unprocessed_events: i64,
    /// Age of the oldest of them, ms; 0 if there is none.
    pub lag_ms: i64,
    /// Whether this process has a relay that runs.
    pub is_running: bool,
    /// Whether all shards are being published, by this process or another, and none of this process's is in trouble.
    pub connected: bool,
}

/// How a relay that runs is asked how it is. Cheap to clone.
#[derive(Clone)]
pub struct RelayHandle {
    pub(super) pool: PgPool,
    pub(super) state: Arc<RelayState>,
}

impl RelayHandle {
    /// Counts what is waiting.
    pub async fn stats(&self) -> Result<OutboxStats, sqlx::Error> {
        // One look at the rows: both figures are of the same moment.
        let row = sqlx::query(
            "SELECT unprocessed,
                    coalesce(greatest(floor(extract(epoch FROM clock_timestamp() - oldest) * 1000), 0), 0)::bigint AS lag_ms,
                    (SELECT count(*) FROM tidegate.outbox_leases WHERE expires_at > now()) AS owned
             FROM (SELECT count(*) AS unprocessed, min(created_at) AS oldest FROM tidegate.outbox) AS waiting",
        )
        .fetch_one(&self.pool)
        .await?;
        let owned: i64 = row.try_get("owned")?;
        Ok(OutboxStats {
            unprocessed_events: row.try_get("unprocessed")?,
            lag_ms: row.try_get("lag_ms")?,
            is_running: self.state.running.load(Ordering::Relaxed),
            connected: owned == i64::from(SHARDS) && self.state.in_trouble.get() == 0,
        })
    }

    /// Batches that failed and were tried again, since the start.
    pub fn failures(&self) -> u64 {
        self.state.failures.get()
    }

    /// Shards of this process in which events wait for a transaction that is older than theirs and still running.
    pub fn held_up_shards(&self) -> i64 {
        self.state.held_up.get()
    }

    /// Shards that this process took, or took again with another password.
    pub fn takeovers(&self) -> u64 {
        self.state.takeovers.get()
    }

    /// Shards that this process publishes.
    pub fn owned_shards(&self) -> i64 {
        self.state.owned.get()
    }
}

/// What the relay's tasks know, and count.
#[derive(Debug)]
pub(super) struct RelayState {
    pub(super) running: AtomicBool,
    pub(super) in_trouble: Gauge,
    pub(super) owned: Gauge,
    pub(super) held_up: Gauge,
    pub(super) published: Counter,
    pub(super) transactions: Histogram,
    pub(super) delay: Histogram,
    pub(super) failures: Counter,
    pub(super) takeovers: Counter,
    pub(super) wakeups: Counter,
    pub(super) unprocessed: Gauge,
    pub(super) lag_seconds: Gauge<f64, AtomicU64>,
}

impl RelayState {
    pub(super) fn new(metrics: &Metrics) -> Self {
        let seconds = || Histogram::new([0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0]);
        Self {
            running: AtomicBool::new(false),
            in_trouble: metrics.register(
                "outbox_shards_in_trouble",
                "Shards that this process should publish and cannot.",
                Gauge::default(),
            ),
            owned: metrics.register("outbox_shards_owned", "Shards that this process publishes.", Gauge::default()),
            held_up: metrics.register(
                "outbox_shards_held_up",
                "Shards in which events wait for a transaction that is older than theirs and still running.",
                Gauge::default(),
            ),
            published: metrics.register("outbox_events_published", "Events published.", Counter::default()),
            transactions: metrics.register(
                "outbox_transaction_seconds",
                "Time from reading a batch until its Kafka transaction is committed.",
                seconds(),
            ),
            delay: metrics.register(
                "outbox_delay_seconds",
                "Time from an event's being written to its being published, of the oldest of each batch.",
                seconds(),
            ),
            failures: metrics.register(
                "outbox_failures",
                "Batches that failed and are tried again.",
                Counter::default(),
            ),
            takeovers: metrics.register("outbox_takeovers", "Shards that this process took.", Counter::default()),
            wakeups: metrics.register(
                "outbox_wakeups",
                "Times that this process was told of events while it slept.",
                Counter::default(),
            ),
            unprocessed: metrics.register(
                "outbox_unprocessed_events",
                "Events that are committed and not published.",
                Gauge::default(),
            ),
            lag_seconds: metrics.register(
                "outbox_lag_seconds",
                "Age of the oldest event that is not published.",
                Gauge::default(),
            ),
        }
    }
}
