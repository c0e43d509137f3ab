//! The questions.

use axum::{Json, extract::State};

use super::{
    Api, QueryProblems,
    extract::{At, HoldPath, MaxAge, Stretch, WalletPath},
};
use crate::{
    chain::{self, ChainView},
    domain::WalletId,
    error::StoreError,
    problem::{Kind, Problem},
    queries::{self, HoldView, LedgerLine, Page, Then, WalletView},
    reconcile::{self, Report},
};

/// A wallet, from the read model, or from the event store while the read model has not seen it; or as it was at a time, from the
/// event store.
#[utoipa::path(
    get, path = "/wallets/{walletId}", tag = "wallets",
    params(
        ("walletId" = String, Path),
        ("at" = Option<String>, Query, format = DateTime, description = "RFC 3339: the wallet as its events up to then made it."),
    ),
    responses((status = 200, body = WalletView), QueryProblems)
)]
pub async fn wallet(
    State(api): State<Api>,
    WalletPath(id): WalletPath,
    At(at): At,
) -> Result<Json<WalletView>, Problem> {
    let Some(at) = at else { return queries::wallet(&api.pool, &id).await?.map(Json).ok_or_else(|| unknown(&id)) };
    match queries::wallet_at(&api.pool, &id, at).await? {
        Then::Was(wallet) => Ok(Json(wallet)),
        Then::Unknown => Err(unknown(&id)),
        Then::NotYet(opened_at) => {
            let detail = format!("the wallet {id} was opened at {opened_at}, later than {at}");
            Err(Problem::of(Kind::WalletNotYetOpened, "at", detail))
        }
    }
}

/// A hold as it is now.
#[utoipa::path(
    get, path = "/holds/{holdId}", tag = "holds",
    params(("holdId" = String, Path, format = Uuid)),
    responses((status = 200, body = HoldView), QueryProblems)
)]
pub async fn hold(State(api): State<Api>, HoldPath(id): HoldPath) -> Result<Json<HoldView>, Problem> {
    let unknown = || Problem::of(Kind::UnknownHold, "holdId", format!("there is no hold {id}"));
    queries::hold(&api.pool, id).await?.map(Json).ok_or_else(unknown)
}

/// Whether a wallet's events are what was written: their hash chain, followed from its beginning.
#[utoipa::path(
    get, path = "/wallets/{walletId}/chain", tag = "proof",
    params(("walletId" = String, Path)),
    responses((status = 200, body = ChainView), QueryProblems)
)]
pub async fn chain(State(api): State<Api>, WalletPath(id): WalletPath) -> Result<Json<ChainView>, Problem> {
    let mut view = None;
    chain::verify(&api.pool, &[id.as_str()], |told| view = Some(told)).await?;
    view.map(Json).ok_or_else(|| unknown(&id))
}

/// Whether events, balances, ledger and read model say the same, over all wallets.
#[utoipa::path(
    get, path = "/reconciliation", tag = "proof",
    params(("maxAge" = Option<u32>, Query, description = "Seconds; an older report is made anew. 900 if not given.")),
    responses((status = 200, body = Report), QueryProblems)
)]
pub async fn reconciliation(State(api): State<Api>, MaxAge(seconds): MaxAge) -> Result<Json<Report>, Problem> {
    Ok(Json(reconcile::reconcile(&api.pool, f64::from(seconds)).await?))
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
