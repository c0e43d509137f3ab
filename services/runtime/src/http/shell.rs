//! The server: the service's routes inside, health, metrics and limits around them.

use std::{net::SocketAddr, time::Duration};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    middleware::{from_fn, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::get,
};
use serde_json::json;
use tokio::{net::TcpListener, time::timeout};

use super::{
    Health, Problem,
    limits::{self, Limits},
    requests::{self, RequestMetrics},
    trace,
};
use crate::{shutdown::Shutdown, telemetry::Metrics};

/// What a service serves.
#[derive(Default)]
pub struct Api {
    /// Its routes.
    pub router: Router,
    /// The document that describes them. None for a role that has none.
    pub openapi: Option<utoipa::openapi::OpenApi>,
}

impl From<(Router, utoipa::openapi::OpenApi)> for Api {
    fn from((router, openapi): (Router, utoipa::openapi::OpenApi)) -> Self {
        Self { router, openapi: Some(openapi) }
    }
}

/// Why the server does not serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The port is taken, or not ours.
    #[error("listening on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The server broke off.
    #[error("serving HTTP: {0}")]
    Serve(#[source] std::io::Error),
}

/// What the shell tells of the process.
#[derive(Clone, Debug)]
pub struct Shell {
    /// Service's name.
    pub service: &'static str,
    /// Its version.
    pub version: &'static str,
    /// `<namespace>/<pipeline>/<processor>`.
    pub instance: String,
    /// Whether it talks to Kafka at all.
    pub kafka_enabled: bool,
    /// Its parts.
    pub health: Health,
    /// Its metrics.
    pub metrics: Metrics,
    /// Its end.
    pub shutdown: Shutdown,
}

/// How long new requests are still let in after the end has begun: until whoever balances load has heard of it.
const LINGER: Duration = Duration::from_secs(2);
/// How long requests under way may take to finish.
const DRAIN: Duration = Duration::from_secs(10);

impl Shell {
    /// The service's routes with the shell around them.
    pub fn router(&self, api: Api) -> Router {
        self.limited(api, Limits::default())
    }

    pub(super) fn limited(&self, api: Api, limits: Limits) -> Router {
        let requests = RequestMetrics::new(&self.metrics);
        let document = api.openapi.map(|openapi| openapi.to_json().unwrap_or_else(|_| "{}".to_owned()));
        let openapi = move || async move {
            match document {
                Some(document) => ([(header::CONTENT_TYPE, "application/json")], document).into_response(),
                None => Problem::of_status(StatusCode::NOT_FOUND).detail("this role has no API").into_response(),
            }
        };
        let service = api
            .router
            .route("/openapi.json", get(openapi))
            .fallback(|| async { Problem::of_status(StatusCode::NOT_FOUND) })
            .layer(from_fn(requests::as_problems))
            .layer(from_fn_with_state(limits, limits::layer))
            .layer(from_fn_with_state(requests, requests::count))
            .layer(from_fn(trace::layer));
        // Probes and scrapes stand outside the limits: a busy process is alive.
        let probes = Router::new()
            .route("/livez", get(livez))
            .route("/readyz", get(readyz))
            .route("/metrics", get(metrics))
            .route("/health", get(health))
            .with_state(self.clone());
        probes.merge(service)
    }

    /// Serves until the process stops, then lets what is under way finish.
    pub async fn serve(&self, port: u16, api: Api) -> Result<(), ServeError> {
        let address = SocketAddr::from((std::net::Ipv6Addr::UNSPECIFIED, port));
        let listener = match TcpListener::bind(address).await {
            Ok(listener) => listener,
            // A machine without IPv6.
            Err(_) => {
                let address = SocketAddr::from((std::net::Ipv4Addr::UNSPECIFIED, port));
                TcpListener::bind(address).await.map_err(|source| ServeError::Listen { address, source })?
            }
        };
        tracing::info!(port, "listening");
        let shutdown = self.shutdown.clone();
        let (stopped, stopping) = tokio::sync::oneshot::channel();
        let end = async move {
            shutdown.begun().await;
            tokio::time::sleep(LINGER).await;
            let _ = stopped.send(());
        };
        let mut serving =
            std::pin::pin!(axum::serve(listener, self.router(api)).with_graceful_shutdown(end).into_future());
        tokio::select! {
            served = &mut serving => return served.map_err(ServeError::Serve),
            _ = stopping => {}
        }
        match timeout(DRAIN, serving).await {
            Ok(served) => served.map_err(ServeError::Serve),
            Err(_) => {
                tracing::warn!(seconds = DRAIN.as_secs(), "requests that did not finish in time are cut off");
                Ok(())
            }
        }
    }
}

async fn livez(State(shell): State<Shell>) -> Response {
    probe("alive", &shell.health.not_alive())
}

async fn readyz(State(shell): State<Shell>) -> Response {
    let mut failing = shell.health.not_ready();
    if shell.shutdown.has_begun() {
        failing.push("stopping");
    }
    probe("ready", &failing)
}

fn probe(word: &str, failing: &[&str]) -> Response {
    match failing {
        [] => (StatusCode::OK, word.to_owned()).into_response(),
        parts => (StatusCode::SERVICE_UNAVAILABLE, format!("not {word}: {}", parts.join(", "))).into_response(),
    }
}

async fn metrics(State(shell): State<Shell>) -> Response {
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, content_type)], shell.metrics.render()).into_response()
}

async fn health(State(shell): State<Shell>) -> Response {
    let healthy = shell.health.not_ready().is_empty() && shell.health.not_alive().is_empty();
    let (status, word) = if healthy && !shell.shutdown.has_begun() {
        (StatusCode::OK, "healthy")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "unhealthy")
    };
    let body = json!({
        "status": word,
        "service": shell.service,
        "version": shell.version,
        "instance": shell.instance,
        "kafka_enabled": shell.kafka_enabled,
        "parts": shell.health.parts(),
    });
    (status, axum::Json(body)).into_response()
}
