//! Requests counted and timed, by route; and whatever an extractor of the framework refuses, told as a problem.

use axum::{
    body::to_bytes,
    extract::{MatchedPath, Request, State},
    http::header,
    middleware::Next,
    response::{IntoResponse, Response},
};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
};
use tokio::time::Instant;

use super::Problem;
use crate::telemetry::Metrics;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    route: String,
    method: &'static str,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Route {
    route: String,
    method: &'static str,
}

/// Counts and times requests.
#[derive(Clone, Debug)]
pub(super) struct RequestMetrics {
    answered: Family<Answered, Counter>,
    seconds: Family<Route, Histogram, fn() -> Histogram>,
    under_way: Gauge,
}

fn seconds() -> Histogram {
    Histogram::new([0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0])
}

impl RequestMetrics {
    pub(super) fn new(metrics: &Metrics) -> Self {
        Self {
            answered: metrics.register("http_requests", "Requests answered.", Family::default()),
            seconds: metrics.register(
                "http_request_seconds",
                "Time from a request's head to its answer's.",
                Family::new_with_constructor(seconds as fn() -> Histogram),
            ),
            under_way: metrics.register("http_requests_in_flight", "Requests that are under way.", Gauge::default()),
        }
    }
}

/// The methods that there are; whatever else a caller may invent is one label.
fn method(request: &Request) -> &'static str {
    match request.method().as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}

pub(super) async fn count(State(metrics): State<RequestMetrics>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map_or("unmatched", MatchedPath::as_str).to_owned();
    let method = method(&request);
    let begun = Instant::now();
    metrics.under_way.inc();
    // Counted down too when the caller goes away and the rest of this is dropped.
    let under_way = Decrease(&metrics.under_way);
    let response = next.run(request).await;
    drop(under_way);
    let status = response.status().as_u16();
    metrics.answered.get_or_create(&Answered { route: route.clone(), method, status }).inc();
    metrics.seconds.get_or_create(&Route { route, method }).observe(begun.elapsed().as_secs_f64());
    response
}

struct Decrease<'a>(&'a Gauge);

impl Drop for Decrease<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// The longest refusal that is quoted.
const QUOTED: usize = 1024;

/// Makes problems of the plain texts that the framework's own extractors refuse with.
pub(super) async fn as_problems(request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        return response;
    }
    let plain = match response.headers().get(header::CONTENT_TYPE) {
        None => true,
        Some(value) => value.as_bytes().starts_with(b"text/plain"),
    };
    if !plain {
        return response;
    }
    let (parts, body) = response.into_parts();
    let text = to_bytes(body, QUOTED).await.unwrap_or_default();
    let mut problem = Problem::of_status(status);
    if status.is_client_error() && !text.is_empty() {
        problem = problem.detail(String::from_utf8_lossy(&text));
    }
    let mut answer = problem.into_response();
    // What else the refusal says stays: Allow of a 405.
    for (name, value) in &parts.headers {
        if name != header::CONTENT_TYPE && name != header::CONTENT_LENGTH {
            answer.headers_mut().append(name, value.clone());
        }
    }
    answer
}
