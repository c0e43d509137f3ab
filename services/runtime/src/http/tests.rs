//! The shell as a caller sees it.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    http::{Request, Response, StatusCode, header},
    routing::{get, post},
};
use futures::stream;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tower::ServiceExt;

use super::{Api, Check, Health, Json, Shell, TraceContext, limits::Limits};
use crate::{shutdown::Shutdown, telemetry::Metrics};

fn shell() -> Shell {
    Shell {
        service: "wallet",
        version: "1.2.3",
        instance: "wallet/wallet/commands".into(),
        kafka_enabled: true,
        health: Health::default(),
        metrics: Metrics::default(),
        shutdown: Shutdown::new(),
    }
}

fn limits() -> Limits {
    Limits {
        body_bytes: 64,
        arrival: Duration::from_millis(50),
        handling: Duration::from_millis(50),
        requests: Arc::new(Semaphore::new(8)),
    }
}

#[derive(serde::Deserialize)]
struct Amount {
    amount: String,
}

/// A service with a route of each kind.
fn service() -> Api {
    let router = Router::new()
        .route("/amounts/{id}", post(|Json(body): Json<Amount>| async move { body.amount }))
        .route("/framework", post(|body: axum::Json<Value>| async move { body.0.to_string() }))
        .route("/slow", get(std::future::pending::<()>))
        .route("/trace", get(|trace: TraceContext| async move { trace.to_string() }));
    Api { router, openapi: None }
}

async fn ask(shell: &Shell, request: Request<Body>) -> Response<Body> {
    shell.limited(service(), limits()).oneshot(request).await.unwrap()
}

fn get_request(path: &str) -> Request<Body> {
    Request::get(path).body(Body::empty()).unwrap()
}

fn post_json(path: &str, body: impl Into<Body>) -> Request<Body> {
    Request::post(path).header(header::CONTENT_TYPE, "application/json").body(body.into()).unwrap()
}

async fn text(response: Response<Body>) -> String {
    String::from_utf8(to_bytes(response.into_body(), usize::MAX).await.unwrap().to_vec()).unwrap()
}

/// The problem's status, name and field.
async fn problem(response: Response<Body>) -> (u16, String, Option<String>) {
    let status = response.status();
    assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
    let document: Value = serde_json::from_str(&text(response).await).unwrap();
    assert_eq!(document["status"], status.as_u16(), "{document}");
    let name = document["type"].as_str().unwrap().strip_prefix("https://tidegate.dev/problems/").unwrap().to_owned();
    (status.as_u16(), name, document["field"].as_str().map(str::to_owned))
}

#[tokio::test]
async fn whatever_is_wrong_with_a_request_is_a_problem_that_says_what() {
    let drip = stream::pending::<Result<Bytes, std::io::Error>>();
    let flood = stream::iter((0..100).map(|_| Ok::<_, std::io::Error>(Bytes::from_static(b"0123456789"))));
    for (request, expected) in [
        (get_request("/nowhere"), (404, "not-found", None)),
        (get_request("/amounts/1"), (405, "method-not-allowed", None)),
        (post_json("/amounts/1", r#"{"amount": 1}"#), (400, "malformed-body", Some("amount"))),
        (post_json("/amounts/1", "{}"), (400, "malformed-body", Some("amount"))),
        (post_json("/amounts/1", "{"), (400, "malformed-body", None)),
        (Request::post("/amounts/1").body("{}".into()).unwrap(), (415, "unsupported-media-type", None)),
        (post_json("/framework", "{"), (400, "bad-request", None)),
        (post_json("/amounts/1", "x".repeat(65)), (413, "body-too-large", None)),
        (post_json("/amounts/1", Body::from_stream(flood)), (413, "body-too-large", None)),
        (post_json("/amounts/1", Body::from_stream(drip)), (408, "request-timeout", None)),
        (get_request("/slow"), (503, "time-limit", None)),
        (get_request("/openapi.json"), (404, "not-found", None)),
    ] {
        let what = format!("{} {}", request.method(), request.uri());
        let (status, name, field) = problem(ask(&shell(), request).await).await;
        assert_eq!((status, &*name, field.as_deref()), expected, "{what}");
    }
}

#[tokio::test]
async fn a_405_says_what_is_allowed() {
    let response = ask(&shell(), get_request("/amounts/1")).await;
    assert_eq!(response.headers()[header::ALLOW], "POST");
}

#[tokio::test]
async fn what_is_right_passes() {
    let response = ask(&shell(), post_json("/amounts/1", r#"{"amount": "12.34"}"#)).await;
    assert_eq!((response.status(), &*text(response).await), (StatusCode::OK, "12.34"));
}

#[tokio::test]
async fn more_requests_than_there_is_room_for_are_turned_away_but_probes_are_not() {
    let shell = shell();
    let full = Limits { requests: Arc::new(Semaphore::new(0)), ..limits() };
    let router = shell.limited(service(), full);
    let response = router.clone().oneshot(get_request("/trace")).await.unwrap();
    assert_eq!(response.headers()[header::RETRY_AFTER], "1");
    assert_eq!(problem(response).await, (503, "unavailable".into(), None));
    assert_eq!(router.oneshot(get_request("/livez")).await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn a_trace_goes_on_through_the_service() {
    let given = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let request = Request::get("/trace").header("traceparent", given).body(Body::empty()).unwrap();
    let response = ask(&shell(), request).await;
    let told = response.headers()["traceparent"].to_str().unwrap().to_owned();
    let seen = text(response).await;
    assert_eq!(told, seen);
    assert!(seen.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-") && seen != given, "{seen}");
}

#[tokio::test]
async fn probes_say_which_part_is_not_ready() {
    let shell = shell();
    assert_eq!(ask(&shell, get_request("/readyz")).await.status(), StatusCode::OK);
    shell.health.add(Check::ready("consumer", || false));
    let response = ask(&shell, get_request("/readyz")).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(text(response).await, "not ready: consumer");
    assert_eq!(ask(&shell, get_request("/livez")).await.status(), StatusCode::OK);
    shell.health.add(Check::ready("loop", || true).alive(|| false));
    assert_eq!(text(ask(&shell, get_request("/livez")).await).await, "not alive: loop");
}

#[tokio::test]
async fn health_says_what_the_process_is() {
    let shell = shell();
    shell.health.add(Check::ready("consumer", || true));
    let response = ask(&shell, get_request("/health")).await;
    assert_eq!(response.status(), StatusCode::OK);
    let said: Value = serde_json::from_str(&text(response).await).unwrap();
    let expected = json!({
        "status": "healthy", "service": "wallet", "version": "1.2.3", "instance": "wallet/wallet/commands",
        "kafka_enabled": true, "parts": {"consumer": {"ready": true, "alive": true}},
    });
    assert_eq!(said, expected);
}

#[tokio::test]
async fn a_process_that_stops_is_not_ready_but_alive() {
    let shell = shell();
    shell.shutdown.begin();
    assert_eq!(text(ask(&shell, get_request("/readyz")).await).await, "not ready: stopping");
    assert_eq!(ask(&shell, get_request("/livez")).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn requests_are_counted_by_route_and_not_by_path() {
    let shell = shell();
    let router = shell.limited(service(), limits());
    for path in ["/amounts/1", "/amounts/2", "/no", "/where"] {
        router.clone().oneshot(post_json(path, r#"{"amount": "1"}"#)).await.unwrap();
    }
    let metrics = text(router.oneshot(get_request("/metrics")).await.unwrap()).await;
    for line in [
        r#"tidegate_http_requests_total{route="/amounts/{id}",method="POST",status="200"} 2"#,
        r#"tidegate_http_requests_total{route="unmatched",method="POST",status="404"} 2"#,
        r#"tidegate_http_requests_in_flight 0"#,
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
}
