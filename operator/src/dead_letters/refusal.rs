//! Why dead letters are not shown, as the API server would say it: the plugin's client reads it like any other refusal.

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::json;

/// Why they are not shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The question makes no sense.
    BadRequest(String),
    /// Nobody knows who asks.
    Unauthorized(String),
    /// There is no such thing.
    NotFound(String),
    /// Not as the pipeline is.
    Conflict(String),
    /// Too many ask.
    Busy,
    /// Not now.
    Unavailable(String),
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (code, reason, message) = match self {
            Self::BadRequest(message) => (StatusCode::BAD_REQUEST, "BadRequest", message),
            Self::Unauthorized(message) => (StatusCode::UNAUTHORIZED, "Unauthorized", message),
            Self::NotFound(message) => (StatusCode::NOT_FOUND, "NotFound", message),
            Self::Conflict(message) => (StatusCode::CONFLICT, "Conflict", message),
            Self::Busy => {
                let message = "others look at dead letters at the moment; try again".to_owned();
                (StatusCode::TOO_MANY_REQUESTS, "TooManyRequests", message)
            }
            Self::Unavailable(message) => (StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", message),
        };
        let status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": message, "reason": reason, "code": code.as_u16(),
        });
        (code, Json(status)).into_response()
    }
}
