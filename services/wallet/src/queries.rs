//! What can be asked. The read model answers, or the event store's state for a wallet that the read model has not seen.

/// Times as they are everywhere on the wire: RFC 3339 with milliseconds, UTC.
macro_rules! rfc3339 {
    ($column:literal) => {
        concat!("to_char(", $column, " AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')")
    };
}

mod holds;
mod wallets;

use serde::Serialize;
use sqlx::{PgPool, Row, postgres::PgRow};
use tidegate_contracts::{Currency, Money};
use utoipa::ToSchema;
use uuid::Uuid;

pub use holds::{HoldView, hold};
pub use wallets::{Then, WalletView, wallet, wallet_at};

use crate::{domain::WalletId, error::StoreError};

/// What one event did to the wallet, as the ledger books it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({"version": 3, "transactionId": "019aa5c8-6b7e-7c11-9f31-0d6a3c1f2b44", "eventId":
    "019aa5c8-6b7e-7c11-9f31-0d6a3c1f2b45", "eventType": "TransferSent", "amount": "-5.00", "balance": "7.34", "currency": "EUR",
    "counterAccount": "transit:EUR", "counterparty": "bob-eur", "reference": null, "timestamp": "2026-03-01T12:00:05.120Z"}))]
pub struct LedgerLine {
    /// The wallet's version after it.
    pub version: i64,
    /// The transaction that it belongs to.
    pub transaction_id: Uuid,
    /// The event that it is made of.
    pub event_id: Uuid,
    /// The event's type.
    pub event_type: String,
    /// What it adds to the wallet: negative when money left it.
    pub amount: String,
    /// The wallet's balance after it.
    pub balance: String,
    /// ISO 4217 code.
    pub currency: String,
    /// The account on which the other half is booked.
    pub counter_account: String,
    /// The other wallet of a transfer.
    pub counterparty: Option<String>,
    /// What the caller called it.
    pub reference: Option<String>,
    /// RFC 3339, UTC.
    pub timestamp: String,
}

/// A stretch of a list.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Page<T> {
    /// The wallet.
    pub wallet_id: String,
    /// In the order of the wallet's versions.
    pub items: Vec<T>,
    /// Give it as `after` to read on; null at the end.
    pub next: Option<i64>,
}

impl<T> Page<T> {
    /// A page of at most `limit` of the items, of which one more may have been read to know whether there is more.
    fn of(wallet: &WalletId, mut items: Vec<T>, limit: i64, version: impl Fn(&T) -> i64) -> Self {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let more = items.len() > limit;
        items.truncate(limit);
        let next = items.last().filter(|_| more).map(version);
        Self { wallet_id: wallet.to_string(), items, next }
    }
}

/// Whether the wallet was ever opened.
pub async fn exists(pool: &PgPool, wallet: &WalletId) -> Result<bool, StoreError> {
    sqlx::query_scalar("SELECT EXISTS (SELECT FROM wallet_state WHERE wallet_id = $1)")
        .bind(wallet.as_str())
        .fetch_one(pool)
        .await
        .map_err(StoreError::on("looking for a wallet"))
}

/// The wallet's lines of the ledger behind version `after`.
pub async fn ledger(pool: &PgPool, wallet: &WalletId, after: i64, limit: i64) -> Result<Page<LedgerLine>, StoreError> {
    let on = "reading the ledger";
    let rows = sqlx::query(concat!(
        "SELECT own.version, own.transaction_id, own.event_id, own.event_type, own.amount, own.balance, own.currency,
                other.account AS counter_account, own.counterparty, own.reference, ",
        rfc3339!("own.occurred_at"),
        " AS timestamp
         FROM ledger_entries AS own
         JOIN ledger_entries AS other ON (other.wallet_id, other.version, other.line) = (own.wallet_id, own.version, 2)
         WHERE own.wallet_id = $1 AND own.version > $2 AND own.line = 1
         ORDER BY own.version LIMIT $3"
    ))
    .bind(wallet.as_str())
    .bind(after)
    .bind(limit + 1)
    .fetch_all(pool)
    .await
    .map_err(StoreError::on(on))?;
    let lines = rows.iter().map(|row| line(row, on)).collect::<Result<Vec<_>, _>>()?;
    Ok(Page::of(wallet, lines, limit, |line| line.version))
}

fn line(row: &PgRow, on: &'static str) -> Result<LedgerLine, StoreError> {
    let currency: String = column(row, "currency", on)?;
    Ok(LedgerLine {
        version: column(row, "version", on)?,
        transaction_id: column(row, "transaction_id", on)?,
        event_id: column(row, "event_id", on)?,
        event_type: column(row, "event_type", on)?,
        amount: decimal(column(row, "amount", on)?, &currency)?,
        balance: decimal(column(row, "balance", on)?, &currency)?,
        currency,
        counter_account: column(row, "counter_account", on)?,
        counterparty: column(row, "counterparty", on)?,
        reference: column(row, "reference", on)?,
        timestamp: column(row, "timestamp", on)?,
    })
}

/// The wallet's events behind version `after`, from the event store, as they are on the topic.
pub async fn events(
    pool: &PgPool,
    wallet: &WalletId,
    after: i64,
    limit: i64,
) -> Result<Page<serde_json::Value>, StoreError> {
    let on = "reading the events of a wallet";
    let events = sqlx::query_scalar::<_, serde_json::Value>(concat!(
        "SELECT jsonb_build_object('eventId', event_id, 'eventType', event_type, 'aggregateType', 'Wallet',
                  'aggregateId', wallet_id, 'aggregateVersion', version, 'timestamp', ",
        rfc3339!("occurred_at"),
        ", 'correlationId', correlation_id, 'causationId', causation_id, 'data', data)
         FROM wallet_events WHERE wallet_id = $1 AND version > $2 ORDER BY version LIMIT $3"
    ))
    .bind(wallet.as_str())
    .bind(after)
    .bind(limit + 1)
    .fetch_all(pool)
    .await
    .map_err(StoreError::on(on))?;
    Ok(Page::of(wallet, events, limit, |event| event["aggregateVersion"].as_i64().unwrap_or_default()))
}

fn column<'r, T>(row: &'r PgRow, name: &str, on: &'static str) -> Result<T, StoreError>
where
    T: sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
{
    row.try_get(name).map_err(StoreError::on(on))
}

fn decimal(minor: i64, code: &str) -> Result<String, StoreError> {
    Ok(Money::new(minor, currency(code)?).to_string())
}

fn currency(code: &str) -> Result<Currency, StoreError> {
    code.parse().map_err(|_| StoreError::Unreadable { what: "a currency", value: code.to_owned() })
}
