//! The commands.

use axum::{extract::State, http::HeaderMap, response::Response};
use sha2::{Digest, Sha256};
use tidegate_runtime::http::TraceContext;

use super::{
    Api, CommandProblems,
    bodies::{self, MoneyMoved, MoveMoney, OpenWallet, TransferMoney, Transferred, WalletOpened},
    extract::{Body, WalletPath, text},
    fields::Fields,
    respond,
};
use crate::{
    commands::{IdempotencyKey, Request},
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

async fn submit(
    api: &Api,
    trace: TraceContext,
    headers: &HeaderMap,
    target: &str,
    fields: Fields,
    command: Command,
) -> Result<Response, Problem> {
    let key = idempotency_key(headers, target, fields.canonical())?;
    fields.end()?;
    let correlation_id = text(headers, "X-Correlation-Id").and_then(|id| id.parse().ok());
    let request = Request {
        command,
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
