//! The API of role Commands: requests to commands, outcomes to answers.

mod bodies;
mod extract;
pub mod fields;
mod health;
mod posts;
mod reads;

use axum::{
    Router,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use sqlx::PgPool;
use tidegate_runtime::{http::Problem, outbox::RelayHandle};
use utoipa::{IntoResponses, OpenApi};
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use crate::commands::{Answer, Committer};

/// What the handlers work with.
#[derive(Clone)]
pub struct Api {
    /// Where commands go.
    pub committer: Committer,
    /// Where questions go.
    pub pool: PgPool,
    /// Where events go.
    pub topic: String,
    /// The relay of the outbox, if it runs in this process.
    pub relay: Option<RelayHandle>,
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
        .routes(routes!(posts::place_hold))
        .routes(routes!(posts::capture_hold))
        .routes(routes!(posts::release_hold))
        .routes(routes!(posts::bulk))
        .routes(routes!(reads::wallet))
        .routes(routes!(reads::chain))
        .routes(routes!(reads::hold))
        .routes(routes!(reads::reconciliation))
        .routes(routes!(reads::ledger))
        .routes(routes!(reads::events))
        .routes(routes!(health::kafka))
        .routes(routes!(health::stats))
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

/// How a command may be refused.
#[derive(IntoResponses)]
#[allow(dead_code, reason = "describes what handlers answer")]
enum CommandProblems {
    /// The request is malformed.
    #[response(status = 400, content_type = "application/problem+json")]
    Malformed(Problem),
    /// A wallet does not exist.
    #[response(status = 404, content_type = "application/problem+json", example = json!({"type":
        "https://tidegate.dev/problems/unknown-wallet", "title": "The wallet does not exist", "status": 404,
        "detail": "there is no wallet carol-eur", "field": "walletId"}))]
    UnknownWallet(Problem),
    /// The wallet exists already.
    #[response(status = 409, content_type = "application/problem+json", example = json!({"type":
        "https://tidegate.dev/problems/wallet-exists", "title": "The wallet exists already", "status": 409,
        "detail": "the wallet alice-eur exists", "field": "walletId"}))]
    Conflict(Problem),
    /// The body is larger than a request may be.
    #[response(status = 413, content_type = "application/problem+json")]
    TooLarge(Problem),
    /// The request is understood and refused.
    #[response(status = 422, content_type = "application/problem+json")]
    Refused(Problem),
    /// The database cannot be reached; the request may be repeated under its Idempotency-Key.
    #[response(status = 503, content_type = "application/problem+json")]
    Unavailable(Problem),
}

/// How a question may be refused.
#[derive(IntoResponses)]
#[allow(dead_code, reason = "describes what handlers answer")]
enum QueryProblems {
    /// The request is malformed.
    #[response(status = 400, content_type = "application/problem+json")]
    Malformed(Problem),
    /// The wallet does not exist.
    #[response(status = 404, content_type = "application/problem+json")]
    UnknownWallet(Problem),
    /// The database cannot be reached.
    #[response(status = 503, content_type = "application/problem+json")]
    Unavailable(Problem),
}
