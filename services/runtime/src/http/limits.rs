//! How large a request may be, how long it may take, how many there may be at once.

use std::{sync::Arc, time::Duration};

use axum::{
    body::{Body, to_bytes},
    extract::{Request, State},
    http::{HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use tokio::{sync::Semaphore, time::timeout};

use super::Problem;

/// The limits of a server.
#[derive(Clone, Debug)]
pub(super) struct Limits {
    /// Most bytes of a body.
    pub(super) body_bytes: usize,
    /// How long a body may take to arrive.
    pub(super) arrival: Duration,
    /// How long a handler may take.
    pub(super) handling: Duration,
    /// Requests at once.
    pub(super) requests: Arc<Semaphore>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: 1024 * 1024,
            arrival: Duration::from_secs(10),
            handling: Duration::from_secs(30),
            requests: Arc::new(Semaphore::new(2048)),
        }
    }
}

/// Reads the body whole before the handler is called, so that a slow or large one costs nobody else anything.
pub(super) async fn layer(State(limits): State<Limits>, request: Request, next: Next) -> Response {
    let Ok(_permit) = limits.requests.try_acquire() else {
        return again_later(
            Problem::of_status(StatusCode::SERVICE_UNAVAILABLE).detail("too many requests are under way"),
        );
    };
    let (parts, body) = request.into_parts();
    let too_large =
        || Problem::of_status(StatusCode::PAYLOAD_TOO_LARGE).detail(format!("the most is {} bytes", limits.body_bytes));
    let announced = parts.headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if announced.is_some_and(|length: usize| length > limits.body_bytes) {
        return too_large().into_response();
    }
    let body = match timeout(limits.arrival, to_bytes(body, limits.body_bytes)).await {
        Ok(Ok(body)) => body,
        // Too large without having said so, or the caller went away and reads no answer.
        Ok(Err(_)) => return too_large().into_response(),
        Err(_) => {
            let detail = format!("a body must arrive within {} s", limits.arrival.as_secs());
            return Problem::of_status(StatusCode::REQUEST_TIMEOUT).detail(detail).into_response();
        }
    };
    match timeout(limits.handling, next.run(Request::from_parts(parts, Body::from(body)))).await {
        Ok(response) => response,
        Err(_) => {
            let title = "The service took too long; whether it was done is not known";
            let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "time-limit", title);
            again_later(problem.detail(format!("a request may take {} s", limits.handling.as_secs())))
        }
    }
}

fn again_later(problem: Problem) -> Response {
    let mut response = problem.into_response();
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    response
}
