//! A wallet: as the read model has it, or as it was at a time.

use jiff::Timestamp;
use serde::Serialize;
use sqlx::{PgPool, postgres::PgRow};
use tidegate_contracts::Money;
use utoipa::ToSchema;

use super::{
    column, currency,
    holds::{self, OpenHold},
};
use crate::{domain::WalletId, error::StoreError};

/// A wallet as it was at its version.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({"walletId": "alice-eur", "version": 3, "balance": "7.34", "held": "5.00", "available": "2.34",
    "currency": "EUR", "ownerId": "alice", "openedAt": "2026-03-01T12:00:00.000Z", "updatedAt": "2026-03-01T12:00:05.120Z",
    "holds": [{"holdId": "019aa5c8-6b7e-7c11-9f31-0d6a3c1f2b44", "amount": "5.00", "reference": "room 12",
               "placedAt": "2026-03-01T12:00:05.120Z"}]}))]
pub struct WalletView {
    /// Its id.
    pub wallet_id: String,
    /// The events that made it: 1..n.
    pub version: i64,
    /// A decimal number in the currency's decimals.
    pub balance: String,
    /// How much of the balance is on hold.
    pub held: String,
    /// The balance less what is on hold.
    pub available: String,
    /// ISO 4217 code.
    pub currency: String,
    /// Its owner.
    pub owner_id: String,
    /// RFC 3339, UTC.
    pub opened_at: String,
    /// When its last event happened: RFC 3339, UTC.
    pub updated_at: String,
    /// Its open holds, oldest first; the first hundred of them.
    pub holds: Vec<OpenHold>,
}

/// A wallet at a time.
#[derive(Debug)]
pub enum Then {
    /// There is no such wallet now either.
    Unknown,
    /// It was opened later: at this time, RFC 3339, UTC.
    NotYet(String),
    /// As it was.
    Was(WalletView),
}

/// The wallet; none if it was never opened.
pub async fn wallet(pool: &PgPool, wallet: &WalletId) -> Result<Option<WalletView>, StoreError> {
    let on = "reading a wallet";
    let row = sqlx::query(concat!(
        "SELECT version, balance, held, currency, owner_id, ",
        rfc3339!("opened_at"),
        " AS opened_at, ",
        rfc3339!("updated_at"),
        " AS updated_at FROM (
           SELECT 1 AS choice, version, owner_id, currency, balance, held, opened_at, updated_at
           FROM wallet_read_model WHERE wallet_id = $1
           UNION ALL
           SELECT 2, version, owner_id, currency, balance, held, opened_at, updated_at
           FROM wallet_state WHERE wallet_id = $1
         ) AS found ORDER BY choice LIMIT 1"
    ))
    .bind(wallet.as_str())
    .fetch_optional(pool)
    .await
    .map_err(StoreError::on(on))?;
    match row {
        Some(row) => {
            let balance = column(&row, "balance", on)?;
            view(pool, wallet, &row, |_| Ok(balance)).await.map(Some)
        }
        None => Ok(None),
    }
}

/// The wallet as its events up to that time made it: at its last version that is not later. Its times never go back, so the version
/// is found by halving.
pub async fn wallet_at(pool: &PgPool, wallet: &WalletId, at: Timestamp) -> Result<Then, StoreError> {
    let on = "reading a wallet as it was";
    let row = sqlx::query(concat!(
        "WITH RECURSIVE search (low, high) AS (
           SELECT 0::bigint, version FROM wallet_state WHERE wallet_id = $1
           UNION ALL
           SELECT CASE WHEN later THEN low ELSE middle END, CASE WHEN later THEN middle - 1 ELSE high END
           FROM (SELECT low, high, (low + high + 1) / 2 AS middle FROM search WHERE low < high) AS step,
             LATERAL (SELECT occurred_at > 'epoch'::timestamptz + $2 * interval '1 ms' AS later
                      FROM wallet_events WHERE wallet_id = $1 AND version = middle) AS event)
         SELECT coalesce(last.version, 0) AS version, last.data ->> 'balance' AS balance,
           (SELECT coalesce(sum(amount), 0)::bigint FROM wallet_holds
            WHERE wallet_id = $1 AND placed <= low AND (settled IS NULL OR settled > low)) AS held,
           state.currency, state.owner_id, ",
        rfc3339!("state.opened_at"),
        " AS opened_at, ",
        rfc3339!("last.occurred_at"),
        " AS updated_at
         FROM search JOIN wallet_state AS state ON state.wallet_id = $1
           LEFT JOIN wallet_events AS last ON last.wallet_id = $1 AND last.version = low
         WHERE low = high"
    ))
    .bind(wallet.as_str())
    .bind(at.as_millisecond())
    .fetch_optional(pool)
    .await
    .map_err(StoreError::on(on))?;
    let Some(row) = row else { return Ok(Then::Unknown) };
    if column::<i64>(&row, "version", on)? == 0 {
        return Ok(Then::NotYet(column(&row, "opened_at", on)?));
    }
    let balance: Option<String> = column(&row, "balance", on)?;
    let balance = |code: &str| match balance {
        // No money has moved yet.
        None => Ok(0),
        Some(text) => Money::parse(&text, currency(code)?)
            .map(Money::units)
            .map_err(|_| StoreError::Unreadable { what: "the balance of an event", value: text }),
    };
    view(pool, wallet, &row, balance).await.map(Then::Was)
}

async fn view(
    pool: &PgPool,
    wallet: &WalletId,
    row: &PgRow,
    balance: impl FnOnce(&str) -> Result<i64, StoreError>,
) -> Result<WalletView, StoreError> {
    let on = "reading a wallet";
    let code: String = column(row, "currency", on)?;
    let known = currency(&code)?;
    let version = column(row, "version", on)?;
    let (balance, held): (i64, i64) = (balance(&code)?, column(row, "held", on)?);
    let holds = if held == 0 { Vec::new() } else { holds::open(pool, wallet, version, &code).await? };
    Ok(WalletView {
        wallet_id: wallet.to_string(),
        version,
        balance: Money::new(balance, known).to_string(),
        held: Money::new(held, known).to_string(),
        available: Money::new(balance.saturating_sub(held), known).to_string(),
        currency: code,
        owner_id: column(row, "owner_id", on)?,
        opened_at: column(row, "opened_at", on)?,
        updated_at: column(row, "updated_at", on)?,
        holds,
    })
}
