//! Problem documents (RFC 9457). A `type` is a promise: it is never renamed, and never means something else.

use axum::{
    body::Body,
    http::{HeaderValue, Response, StatusCode, header},
    response::IntoResponse,
};
use serde::Serialize;
use utoipa::ToSchema;

/// What every problem's `type` begins with; its name follows.
pub const PROBLEM_BASE: &str = "https://tidegate.dev/problems/";

/// What is wrong, for programs (`type`, `field`) and for people (`title`, `detail`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Problem {
    /// A URI that never changes its meaning.
    #[serde(rename = "type")]
    kind: String,
    /// A few words, the same each time.
    title: String,
    /// HTTP status.
    status: u16,
    /// A sentence about this time.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    /// The field, path or query parameter that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
}

impl Problem {
    /// A problem of that name: the last part of its type.
    pub fn new(status: StatusCode, name: &str, title: &str) -> Self {
        let kind = format!("{PROBLEM_BASE}{name}");
        Self { kind, title: title.to_owned(), status: status.as_u16(), detail: None, field: None }
    }

    /// With a sentence about this time. It must not hold a secret, or what is nobody's business outside.
    #[must_use]
    pub fn detail(self, detail: impl ToString) -> Self {
        Self { detail: Some(detail.to_string()), ..self }
    }

    /// With the field that it is about.
    #[must_use]
    pub fn field(self, field: impl Into<String>) -> Self {
        Self { field: Some(field.into()), ..self }
    }

    /// HTTP status.
    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// The problem that stands for a status when nothing more is known.
    pub(super) fn of_status(status: StatusCode) -> Self {
        let (name, title) = match status {
            StatusCode::BAD_REQUEST => ("bad-request", "The request is not well-formed"),
            StatusCode::NOT_FOUND => ("not-found", "There is nothing here"),
            StatusCode::METHOD_NOT_ALLOWED => ("method-not-allowed", "This is not done here"),
            StatusCode::REQUEST_TIMEOUT => ("request-timeout", "The request took too long to arrive"),
            StatusCode::PAYLOAD_TOO_LARGE => ("body-too-large", "The body is too large"),
            StatusCode::UNSUPPORTED_MEDIA_TYPE => ("unsupported-media-type", "The body is not JSON"),
            StatusCode::UNPROCESSABLE_ENTITY => ("unprocessable", "The request cannot be understood"),
            StatusCode::SERVICE_UNAVAILABLE => ("unavailable", "The service cannot answer now"),
            status if status.is_client_error() => ("refused", "The request is refused"),
            _ => ("internal", "Something is wrong here"),
        };
        Self::new(status, name, title)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response<Body> {
        let status = self.status();
        let mut response = (status, axum::Json(self)).into_response();
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        response
    }
}
