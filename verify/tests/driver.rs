//! The load driver against a service that misbehaves in the ways that it has to tell apart. No cluster: the service is in here.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a step that does not work ends the test")]

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode, Uri},
    routing::post,
};
use tidegate_verify::{
    client::WalletApi,
    load::{Holdings, Mix, Options, Outcome, drive},
};

/// How often each key was seen, and what is answered to the nth time.
struct Service {
    seen: Mutex<HashMap<String, u32>>,
    answer: fn(path: &str, times: u32) -> StatusCode,
}

async fn handle(State(service): State<Arc<Service>>, uri: Uri, headers: HeaderMap) -> (StatusCode, String) {
    let key = headers["idempotency-key"].to_str().unwrap().to_owned();
    let times = *service.seen.lock().unwrap().entry(key).and_modify(|times| *times += 1).or_insert(1);
    ((service.answer)(uri.path(), times), "{}".into())
}

/// Runs a load of 5 wallets and 60 operations; what came of it, and how often each key was seen.
async fn load(answer: fn(&str, u32) -> StatusCode, deadline: Duration) -> (Outcome, HashMap<String, u32>) {
    let service = Arc::new(Service { seen: Mutex::default(), answer });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().fallback(post(handle)).with_state(service.clone());
    let server = tokio::spawn(async move { axum::serve(listener, router).await });
    let options = Options {
        wallets: 5,
        operations: 60,
        workers: 4,
        seed: 7,
        run: "run".into(),
        rate: None,
        mix: Mix::Plain,
        stop: Arc::default(),
        deadline,
        progress: false,
    };
    let outcome = drive(WalletApi::new(&url).unwrap(), options).await;
    server.abort();
    let seen = service.seen.lock().unwrap().clone();
    (outcome, seen)
}

#[tokio::test]
async fn every_operation_is_made_once_under_a_key_of_its_own() {
    let (outcome, seen) = load(|_, _| StatusCode::CREATED, Duration::from_secs(60)).await;
    assert_eq!((outcome.opened, outcome.succeeded, outcome.failed, outcome.retries), (5, 60, 0, 0));
    assert_eq!(seen.len(), 65);
    assert!(seen.values().all(|&times| times == 1));
    assert_eq!(outcome.latency.len(), 60);
    assert!(outcome.wallets.iter().any(|wallet| wallet.balance > 0), "{:?}", outcome.wallets);
}

#[tokio::test]
async fn a_503_is_repeated_under_the_same_key_and_is_no_failure() {
    let answer = |_: &str, times| if times == 1 { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::CREATED };
    let (outcome, seen) = load(answer, Duration::from_secs(60)).await;
    assert_eq!((outcome.succeeded, outcome.failed, outcome.retries), (60, 0, 65));
    assert!(seen.values().all(|&times| times == 2), "{seen:?}");
}

#[tokio::test]
async fn a_refusal_is_a_failure_and_is_not_repeated() {
    let answer = |path: &str, _| if path.ends_with("/deposits") { StatusCode::CONFLICT } else { StatusCode::CREATED };
    let (outcome, seen) = load(answer, Duration::from_secs(60)).await;
    assert!(outcome.failed > 0 && outcome.retries == 0, "{outcome:?}");
    assert!(outcome.failures[0].contains("was answered 409"), "{:?}", outcome.failures);
    assert_eq!(outcome.wallets, [Holdings::default(); 5], "nothing was acknowledged");
    assert!(seen.values().all(|&times| times == 1));
}

#[tokio::test]
async fn a_run_ends_at_its_deadline_though_the_service_never_serves() {
    let started = Instant::now();
    let (outcome, _) = load(|_, _| StatusCode::SERVICE_UNAVAILABLE, Duration::from_secs(2)).await;
    assert!(outcome.out_of_time, "{outcome:?}");
    assert!(outcome.failed > 0 && outcome.succeeded == 0);
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
}
