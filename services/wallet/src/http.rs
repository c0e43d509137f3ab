//! The API of role Commands: requests to commands, outcomes to answers.

mod bodies;
mod extract;
pub mod fields;
mod posts;
mod reads;

use axum::{
    Router,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use sqlx::PgPool;
use utoipa::{IntoResponses, OpenApi, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use crate::{
    commands::{Answer, Committer},
    problem::Problem,
};

/// What the handlers work with.
#[derive(Clone)]
pub struct Api {
    /// Where commands go.
    pub committer: Committer,
    /// Where questions go.
    pub pool: PgPool,
    /// A new UUIDv7.
    pub new_id: fn() -> Uuid,
}

#[derive(OpenApi)]
#[openapi(info(
    title = "Tidegate wallet",
    description = "Wallets of one currency each. Amounts are decimal strings. Errors are problem documents (RFC 9457) whose `type` is \
                   stable and whose `field` names what they are about. Every POST takes an `Idempotency-Key`."
))]
struct Description;

/// The routes, and the OpenAPI document that describes them.
pub fn routes(api: Api) -> (Router, utoipa::openapi::OpenApi) {
    OpenApiRouter::with_openapi(Description::openapi())
        .routes(routes!(posts::open_wallet))
        .routes(routes!(posts::deposit))
        .routes(routes!(posts::withdraw))
        .routes(routes!(posts::transfer))
        .routes(routes!(reads::wallet))
        .routes(routes!(reads::ledger))
        .routes(routes!(reads::events))
        .with_state(api)
        .split_for_parts()
}

const JSON: &str = "application/json";
const PROBLEM_JSON: &str = "application/problem+json";

fn respond(answer: Answer) -> Response {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let content_type = if status.is_success() { JSON } else { PROBLEM_JSON };
    (status, [(header::CONTENT_TYPE, content_type)], answer.body).into_response()
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        respond(self.into())
    }
}

/// A problem document (RFC 9457).
#[derive(Serialize, ToSchema)]
#[allow(dead_code, reason = "describes what Problem::document makes")]
#[schema(example = json!({"type": "https://tidegate.dev/problems/insufficient-funds", "title": "The balance does not suffice",
    "status": 422, "detail": "the wallet alice-eur holds 5.00 EUR, less than 7.00", "field": "amount"}))]
struct ProblemDocument {
    /// A URI that never changes its meaning.
    r#type: String,
    /// The same for every problem of the type.
    title: String,
    /// The HTTP status.
    status: u16,
    /// What is wrong this time.
    detail: String,
    /// The field, header, path or query parameter that it is about, if it is about one.
    field: Option<String>,
}

/// How a command may be refused.
#[derive(IntoResponses)]
#[allow(dead_code, reason = "describes what handlers answer")]
enum CommandProblems {
    /// The request is malformed.
    #[response(status = 400, content_type = "application/problem+json")]
    Malformed(ProblemDocument),
    /// A wallet does not exist.
    #[response(status = 404, content_type = "application/problem+json", example = json!({"type":
        "https://tidegate.dev/problems/unknown-wallet", "title": "The wallet does not exist", "status": 404,
        "detail": "there is no wallet carol-eur", "field": "walletId"}))]
    UnknownWallet(ProblemDocument),
    /// The wallet exists already.
    #[response(status = 409, content_type = "application/problem+json", example = json!({"type":
        "https://tidegate.dev/problems/wallet-exists", "title": "The wallet exists already", "status": 409,
        "detail": "the wallet alice-eur exists", "field": "walletId"}))]
    Conflict(ProblemDocument),
    /// The body is larger than any command.
    #[response(status = 413, content_type = "application/problem+json")]
    TooLarge(ProblemDocument),
    /// The request is understood and refused.
    #[response(status = 422, content_type = "application/problem+json")]
    Refused(ProblemDocument),
    /// The database cannot be reached; the request may be repeated under its Idempotency-Key.
    #[response(status = 503, content_type = "application/problem+json")]
    Unavailable(ProblemDocument),
}

/// How a question may be refused.
#[derive(IntoResponses)]
#[allow(dead_code, reason = "describes what handlers answer")]
enum QueryProblems {
    /// The request is malformed.
    #[response(status = 400, content_type = "application/problem+json")]
    Malformed(ProblemDocument),
    /// The wallet does not exist.
    #[response(status = 404, content_type = "application/problem+json")]
    UnknownWallet(ProblemDocument),
    /// The database cannot be reached.
    #[response(status = 503, content_type = "application/problem+json")]
    Unavailable(ProblemDocument),
}
