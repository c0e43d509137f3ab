//! The commands.

use axum::{extract::State, http::HeaderMap, response::Response};
use sha2::{Digest, Sha256};
use tidegate_runtime::http::TraceContext;

use super::{
    Api, CommandProblems,
    bodies::{
        self, Bulk, BulkDone, CaptureHold, HoldCaptured, HoldPlaced, HoldReleased, MoneyMoved, MoveMoney, OpenWallet,
        PlaceHold, ReleaseHold, TransferMoney, Transferred, WalletOpened,
    },
    extract::{Body, HoldPath, WalletPath, text},
    fields::Fields,
    respond,
};
use crate::{
    commands::{IdempotencyKey, Request, Work},
    domain::Command,
    problem::{Kind, Problem},
};

const IDEMPOTENCY_KEY: &str = "Idempotency-Key";
const LONGEST_KEY: usize = 255;

/// Open a wallet.
#[utoipa::path(
    post, path = "/wallets", tag = "wallets", request_body = OpenWallet,
    params(("Idempotency-Key" = Option<String>, Header, max_length = 255, description = "The same key, the same answer.")),
    responses((status = 201, body = WalletOpened), CommandProblems)
)]
pub async fn open_wallet(
    State(api): State<Api>,
    trace: TraceContext,
    headers: HeaderMap,
    Body(mut fields): Body,
) -> Result<Response, Problem> {
    let command = bodies::open(&mut fields, api.new_id)?;
    submit(&api, trace, &headers, "/wallets", fields, command).await
}

/// Bring money from outside into a wallet.
#[utoipa::path(
    post, path = "/wallets/{walletId}/deposits", tag = "movements", request_body = MoveMoney,
    params(
        ("walletId" = String, Path),
        ("Idempotency-Key" = Option<String>, Header, max_length = 255, description = "The same key, the same answer."),
    ),
    responses((status = 201, body = MoneyMoved), CommandProblems)
)]
pub async fn deposit(
    State(api): State<Api>,
    WalletPath(wallet): WalletPath,
    trace: TraceContext,
    headers: HeaderMap,
    Body(mut fields): Body,
) -> Result<Response, Problem> {
    let movement = bodies::movement(&mut fields, api.new_id)?;
    let target = format!("/wallets/{wallet}/deposits");
    submit(&api, trace, &headers, &target, fields, Command::Deposit { wallet, movement }).await
}

/// Take money out of a wallet.
#[utoipa::path(
    post, path = "/wallets/{walletId}/withdrawals", tag = "movements", request_body = MoveMoney,
    params(
        ("walletId" = String, Path),
        ("Idempotency-Key" = Option<String>, Header, max_length = 255, description = "The same key, the same answer."),
    ),
    responses((status = 201, body = MoneyMoved), CommandProblems)
)]
pub async fn withdraw(
    State(api): State<Api>,
    WalletPath(wallet): WalletPath,
    trace: TraceContext,
    headers: HeaderMap,
    Body(mut fields): Body,
) -> Result<Response, Problem> {
    let movement = bodies::movement(&mut fields, api.new_id)?;
    let target = format!("/wallets/{wallet}/withdrawals");
    submit(&api, trace, &headers, &target, fields, Command::Withdraw { wallet, movement }).await
}

/// Move money from one wallet to another.
#[utoipa::path(
    post, path = "/transfers", tag = "movements", request_body = TransferMoney,
    params(("Idempotency-Key" = Option<String>, Header, max_length = 255, description = "The same key, the same answer.")),
    responses((status = 201, body = Transferred), CommandProblems)
)]
pub async fn transfer(
    State(api): State<Api>,
    trace: TraceContext,
    headers: HeaderMap,
    Body(mut fields): Body,
) -> Result<Response, Problem> {
    let command = bodies::transfer(&mut fields, api.new_id)?;
    submit(&api, trace, &headers, "/transfers", fields, command).await
}

/// Set money of a wallet aside. It stays in the balance and is not available until the hold ends.
#[utoipa::path(
    post, path = "/holds", tag = "holds", request_body = PlaceHold,
    params(("Idempotency-Key" = Option<String>, Header, max_length = 255, description = "The same key, the same answer.")),
    responses((status = 201, body = HoldPlaced), CommandProblems)
)]
pub async fn place_hold(
    State(api): State<Api>,
    trace: TraceContext,
    headers: HeaderMap,
    Body(mut fields): Body,
) -> Result<Response, Problem> {
    let command = bodies::place(&mut fields, api.new_id)?;
    submit(&api, trace, &headers, "/holds", fields, command).await
}

/// Let money leave out of a hold, to another wallet or to the outside. What is left of the hold is available again.
#[utoipa::path(
    post, path = "/holds/{holdId}/capture", tag = "holds", request_body = CaptureHold,
    params(
        ("holdId" = String, Path, format = Uuid),
        ("Idempotency-Key" = Option<String>, Header, max_length = 255, description = "The same key, the same answer."),
    ),
    responses((status = 201, body = HoldCaptured), CommandProblems)
)]
pub async fn capture_hold(
    State(api): State<Api>,
    HoldPath(hold): HoldPath,
    trace: TraceContext,
    headers: HeaderMap,
    Body(mut fields): Body,
) -> Result<Response, Problem> {
    let command = bodies::capture(hold, &mut fields, api.new_id)?;
    submit(&api, trace, &headers, &format!("/holds/{hold}/capture"), fields, command).await
}

/// Make money that was set aside available again.
#[utoipa::path(
    post, path = "/holds/{holdId}/release", tag = "holds", request_body = Option<ReleaseHold>,
    params(
        ("holdId" = String, Path, format = Uuid),
        ("Idempotency-Key" = Option<String>, Header, max_length = 255, description = "The same key, the same answer."),
    ),
    responses((status = 201, body = HoldReleased), CommandProblems)
)]
pub async fn release_hold(
    State(api): State<Api>,
    HoldPath(hold): HoldPath,
    trace: TraceContext,
    headers: HeaderMap,
    Body(fields): Body,
) -> Result<Response, Problem> {
    submit(&api, trace, &headers, &format!("/holds/{hold}/release"), fields, bodies::release(hold)).await
}

/// Many commands in one request: all or nothing, or each for itself.
#[utoipa::path(
    post, path = "/bulk", tag = "bulk", request_body = Bulk,
    params(("Idempotency-Key" = Option<String>, Header, max_length = 255, description = "Covers the whole bulk.")),
    responses(
        (status = 201, body = BulkDone, description = "Atomic: all of them happened."),
        (status = 200, body = BulkDone, description = "Independent: the results say which happened."),
        CommandProblems
    )
)]
pub async fn bulk(
    State(api): State<Api>,
    trace: TraceContext,
    headers: HeaderMap,
    Body(mut fields): Body,
) -> Result<Response, Problem> {
    let work = bodies::bulk(&mut fields, api.new_id)?;
    submit(&api, trace, &headers, "/bulk", fields, work).await
}

async fn submit(
    api: &Api,
    trace: TraceContext,
    headers: &HeaderMap,
    target: &str,
    fields: Fields,
    work: impl Into<Work>,
) -> Result<Response, Problem> {
    let key = idempotency_key(headers, target, fields.canonical())?;
    fields.end()?;
    let correlation_id = text(headers, "X-Correlation-Id").and_then(|id| id.parse().ok());
    let request = Request {
        work: work.into(),
        key,
        correlation_id: correlation_id.unwrap_or_else(api.new_id),
        traceparent: Some(trace.to_string()),
    };
    Ok(respond(api.committer.submit(request).await?))
}

/// The key of the request, bound to what the request says.
fn idempotency_key(headers: &HeaderMap, target: &str, body: &str) -> Result<Option<IdempotencyKey>, Problem> {
    let Some(value) = headers.get(IDEMPOTENCY_KEY) else { return Ok(None) };
    let fits = (1..=LONGEST_KEY).contains(&value.len()) && value.as_bytes().iter().all(u8::is_ascii_graphic);
    let key = value.to_str().ok().filter(|_| fits).ok_or_else(|| {
        let detail = format!("a key is 1 to {LONGEST_KEY} visible ASCII characters without spaces");
        Problem::of(Kind::InvalidIdempotencyKey, IDEMPOTENCY_KEY, detail)
    })?;
    let hash = Sha256::new().chain_update(target).chain_update([b'\n']).chain_update(body).finalize();
    Ok(Some(IdempotencyKey { key: key.to_owned(), request_hash: hash.into() }))
}
