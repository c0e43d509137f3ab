//! The questions.

use axum::{Json, extract::State};

use super::{
    Api, QueryProblems,
    extract::{Stretch, WalletPath},
};
use crate::{
    domain::WalletId,
    error::StoreError,
    problem::{Kind, Problem},
    queries::{self, LedgerLine, Page, WalletView},
};

/// A wallet, from the read model, or from the event store while the read model has not seen it.
#[utoipa::path(
    get, path = "/wallets/{walletId}", tag = "wallets",
    params(("walletId" = String, Path)),
    responses((status = 200, body = WalletView), QueryProblems)
)]
pub async fn wallet(State(api): State<Api>, WalletPath(id): WalletPath) -> Result<Json<WalletView>, Problem> {
    queries::wallet(&api.pool, &id).await?.map(Json).ok_or_else(|| unknown(&id))
}

/// What happened to a wallet's money, as the ledger books it, oldest first.
#[utoipa::path(
    get, path = "/wallets/{walletId}/ledger", tag = "wallets",
    params(
        ("walletId" = String, Path),
        ("after" = Option<i64>, Query, minimum = 0, description = "What the page before said as `next`."),
        ("limit" = Option<i64>, Query, minimum = 1, maximum = 500, description = "100 if not given."),
    ),
    responses((status = 200, body = Page<LedgerLine>), QueryProblems)
)]
pub async fn ledger(
    State(api): State<Api>,
    WalletPath(id): WalletPath,
    stretch: Stretch,
) -> Result<Json<Page<LedgerLine>>, Problem> {
    let page = queries::ledger(&api.pool, &id, stretch.after, stretch.limit).await?;
    known_if_empty(&api, &id, page).await
}

/// A wallet's events, from the event store, as they are on the topic, oldest first.
#[utoipa::path(
    get, path = "/wallets/{walletId}/events", tag = "wallets",
    params(
        ("walletId" = String, Path),
        ("after" = Option<i64>, Query, minimum = 0, description = "What the page before said as `next`."),
        ("limit" = Option<i64>, Query, minimum = 1, maximum = 500, description = "100 if not given."),
    ),
    responses((status = 200, body = Page<serde_json::Value>), QueryProblems)
)]
pub async fn events(
    State(api): State<Api>,
    WalletPath(id): WalletPath,
    stretch: Stretch,
) -> Result<Json<Page<serde_json::Value>>, Problem> {
    let page = queries::events(&api.pool, &id, stretch.after, stretch.limit).await?;
    known_if_empty(&api, &id, page).await
}

/// Nothing to show is an answer only for a wallet that exists.
async fn known_if_empty<T>(api: &Api, id: &WalletId, page: Page<T>) -> Result<Json<Page<T>>, Problem> {
    if page.items.is_empty() && !queries::exists(&api.pool, id).await? {
        return Err(unknown(id));
    }
    Ok(Json(page))
}

fn unknown(id: &WalletId) -> Problem {
    Problem::of(Kind::UnknownWallet, "walletId", format!("there is no wallet {id}"))
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        tracing::error!(error = &error as &dyn std::error::Error, "a question could not be answered");
        match error.again() {
            crate::error::Again::Never => Problem::whole(Kind::Internal, "the question could not be answered"),
            _ => Problem::whole(Kind::Unavailable, "the database cannot be reached"),
        }
    }
}
