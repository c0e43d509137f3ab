//! `/livez`, `/readyz`, `/metrics` and, unless that is turned off, `/dead-letters` on one port. A follower is ready, too: it is there to take over.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use axum::{Router, extract::State, http::StatusCode, response::IntoResponse, routing::get};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{dead_letters::Desk, metrics::Metrics};

/// Whether the process has reached the API server.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<AtomicBool>);

impl Readiness {
    /// It has.
    pub fn ready(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[derive(Clone)]
struct Shared {
    metrics: Metrics,
    readiness: Readiness,
}

/// Serves until `stop`. Without a desk, dead letters are nobody's business.
///
/// # Errors
/// When the port cannot be taken.
pub async fn serve(
    port: u16,
    metrics: Metrics,
    readiness: Readiness,
    desk: Option<Desk>,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let listener = TcpListener::bind(("0.0.0.0", port)).await?;
    let dead_letters = desk.map_or_else(Router::new, Desk::router);
    axum::serve(listener, router(metrics, readiness).merge(dead_letters))
        .with_graceful_shutdown(stop.cancelled_owned())
        .await
}

fn router(metrics: Metrics, readiness: Readiness) -> Router {
    Router::new()
        .route("/livez", get(|| async { "ok" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics_text))
        .with_state(Shared { metrics, readiness })
}

async fn readyz(State(shared): State<Shared>) -> impl IntoResponse {
    if shared.readiness.0.load(Ordering::Relaxed) {
        (StatusCode::OK, "ok")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "the API server has not been reached yet")
    }
}

async fn metrics_text(State(shared): State<Shared>) -> impl IntoResponse {
    const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    match shared.metrics.text() {
        Ok(text) => (StatusCode::OK, [("content-type", OPEN_METRICS)], text),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, [("content-type", "text/plain")], error.to_string()),
    }
}
