//! The command side's tables, several rows a statement. Everything here happens inside the committer's transaction.

use std::collections::HashMap;

use jiff::Timestamp;
use sqlx::{PgConnection, PgPool, Row, postgres::PgRow};
use tidegate_contracts::{Currency, Envelope, Event, Money, wallet::WalletEvent};
use uuid::Uuid;

use super::{answer::Answer, plan::IdempotencyKey};
use crate::{
    domain::{Book, Wallet, WalletId},
    error::StoreError,
};

/// What a key was answered with, and to which request.
pub struct StoredAnswer {
    pub request_hash: Vec<u8>,
    pub answer: Answer,
}

/// Takes the locks in the order given, until the transaction ends.
///
/// Advisory locks and not row locks: taking a row lock assigns the transaction id, which must happen only once every lock is held.
/// The outbox is read in the order of transaction ids; so whoever writes a wallet later has the greater one.
pub async fn lock(connection: &mut PgConnection, keys: &[i64]) -> Result<(), StoreError> {
    sqlx::query(
        "SELECT pg_advisory_xact_lock(key) FROM unnest($1::bigint[]) WITH ORDINALITY AS wanted (key, nth) ORDER BY nth",
    )
    .bind(keys)
    .execute(connection)
    .await
    .map_err(StoreError::on("locking the wallets"))?;
    Ok(())
}

/// The wallets of those ids that exist.
pub async fn wallets(connection: &mut PgConnection, ids: &[&str]) -> Result<Book, StoreError> {
    let rows = sqlx::query(
        "SELECT wallet_id, version, owner_id, currency, balance FROM wallet_state WHERE wallet_id = ANY($1)",
    )
    .bind(ids)
    .fetch_all(connection)
    .await
    .map_err(StoreError::on("reading the wallets"))?;
    rows.iter().map(|row| wallet(row).map(|wallet| (wallet.id.clone(), wallet))).collect()
}

fn wallet(row: &PgRow) -> Result<Wallet, StoreError> {
    let on = "reading the wallets";
    let id: String = row.try_get("wallet_id").map_err(StoreError::on(on))?;
    let currency: String = row.try_get("currency").map_err(StoreError::on(on))?;
    let currency: Currency =
        currency.parse().map_err(|_| StoreError::Unreadable { what: "wallet_state.currency", value: currency })?;
    Ok(Wallet {
        id: WalletId::parse(&id).map_err(|_| StoreError::Unreadable { what: "wallet_state.wallet_id", value: id })?,
        version: row.try_get("version").map_err(StoreError::on(on))?,
        owner_id: row.try_get("owner_id").map_err(StoreError::on(on))?,
        balance: Money::new(row.try_get("balance").map_err(StoreError::on(on))?, currency),
    })
}

/// The answers that were given to those keys.
pub async fn answers(
    connection: &mut PgConnection,
    keys: &[&str],
) -> Result<HashMap<String, StoredAnswer>, StoreError> {
    let on = "reading the answers given before";
    let rows = sqlx::query("SELECT key, request_hash, status, body FROM idempotency_keys WHERE key = ANY($1)")
        .bind(keys)
        .fetch_all(connection)
        .await
        .map_err(StoreError::on(on))?;
    rows.iter()
        .map(|row| {
            let status: i16 = row.try_get("status").map_err(StoreError::on(on))?;
            let answer = Answer {
                status: u16::try_from(status).map_err(|_| StoreError::Unreadable {
                    what: "idempotency_keys.status",
                    value: status.to_string(),
                })?,
                body: row.try_get("body").map_err(StoreError::on(on))?,
            };
            let request_hash = row.try_get("request_hash").map_err(StoreError::on(on))?;
            Ok((row.try_get("key").map_err(StoreError::on(on))?, StoredAnswer { request_hash, answer }))
        })
        .collect()
}

/// Whether the event is there: after a commit whose outcome nobody heard.
pub async fn is_stored(connection: &mut PgConnection, event_id: Uuid) -> Result<bool, StoreError> {
    sqlx::query_scalar("SELECT EXISTS (SELECT FROM wallet_events WHERE event_id = $1)")
        .bind(event_id)
        .fetch_one(connection)
        .await
        .map_err(StoreError::on("looking whether a commit took place"))
}

/// What a batch writes.
pub struct Writes<'a> {
    /// When.
    pub now: Timestamp,
    /// The events, to be appended to their streams.
    pub events: &'a [Envelope<WalletEvent>],
    /// The wallets as the batch leaves them.
    pub wallets: &'a [Wallet],
    /// The answers to be kept, under their keys.
    pub answers: &'a [(&'a IdempotencyKey, &'a Answer)],
}

/// Writes it in one statement: one way to the database and back, whatever there is to write.
///
/// That nobody wrote the wallets meanwhile is not asked: the events' primary key refuses a version that is there already.
pub async fn write(connection: &mut PgConnection, writes: Writes<'_>) -> Result<(), StoreError> {
    let Writes { now, events, wallets, answers } = writes;
    sqlx::query(
        "WITH clock AS (SELECT 'epoch'::timestamptz + $1 * interval '1 ms' AS at),
         appended AS (
           INSERT INTO wallet_events
             (wallet_id, version, event_id, event_type, occurred_at, correlation_id, causation_id, transaction_id, data)
           SELECT wallet_id, version, event_id, event_type, at, correlation_id, causation_id, transaction_id, data
           FROM unnest($2::text[], $3::bigint[], $4::uuid[], $5::text[], $6::uuid[], $7::uuid[], $8::uuid[], $9::jsonb[])
             AS new (wallet_id, version, event_id, event_type, correlation_id, causation_id, transaction_id, data), clock),
         folded AS (
           INSERT INTO wallet_state (wallet_id, version, owner_id, currency, balance, opened_at, updated_at)
           SELECT wallet_id, version, owner_id, currency, balance, at, at
           FROM unnest($10::text[], $11::bigint[], $12::text[], $13::text[], $14::bigint[])
             AS new (wallet_id, version, owner_id, currency, balance), clock
           ON CONFLICT ON CONSTRAINT wallet_state_wallet_id DO UPDATE
             SET version = excluded.version, balance = excluded.balance, updated_at = excluded.updated_at)
         INSERT INTO idempotency_keys (key, request_hash, status, body, created_at)
         SELECT key, request_hash, status, body, at
         FROM unnest($15::text[], $16::bytea[], $17::smallint[], $18::text[]) AS new (key, request_hash, status, body), clock",
    )
    .bind(now.as_millisecond())
    .bind(events.iter().map(|event| event.aggregate_id.as_str()).collect::<Vec<_>>())
    .bind(events.iter().map(|event| event.aggregate_version).collect::<Vec<_>>())
    .bind(events.iter().map(|event| event.event_id).collect::<Vec<_>>())
    .bind(events.iter().map(|event| event.event.event_type()).collect::<Vec<_>>())
    .bind(events.iter().map(|event| event.correlation_id).collect::<Vec<_>>())
    .bind(events.iter().map(|event| event.causation_id).collect::<Vec<_>>())
    .bind(events.iter().map(|event| event.event.transaction_id()).collect::<Vec<_>>())
    .bind(events.iter().map(|event| event.event.to_data()).collect::<Vec<_>>())
    .bind(wallets.iter().map(|wallet| wallet.id.as_str()).collect::<Vec<_>>())
    .bind(wallets.iter().map(|wallet| wallet.version).collect::<Vec<_>>())
    .bind(wallets.iter().map(|wallet| wallet.owner_id.as_str()).collect::<Vec<_>>())
    .bind(wallets.iter().map(|wallet| wallet.currency().code()).collect::<Vec<_>>())
    .bind(wallets.iter().map(|wallet| wallet.balance.units()).collect::<Vec<_>>())
    .bind(answers.iter().map(|(key, _)| key.key.as_str()).collect::<Vec<_>>())
    .bind(answers.iter().map(|(key, _)| &key.request_hash[..]).collect::<Vec<_>>())
    .bind(answers.iter().map(|(_, answer)| i16::try_from(answer.status).unwrap_or(i16::MAX)).collect::<Vec<_>>())
    .bind(answers.iter().map(|(_, answer)| answer.body.as_str()).collect::<Vec<_>>())
    .execute(connection)
    .await
    .map_err(StoreError::on("writing a batch"))?;
    Ok(())
}

/// Forgets answers that were given before then, some at a time, so that nobody waits for it; how many.
pub async fn forget_answers(pool: &PgPool, before: Timestamp) -> Result<u64, StoreError> {
    let done = sqlx::query(
        "DELETE FROM idempotency_keys WHERE key IN (
           SELECT key FROM idempotency_keys WHERE created_at < 'epoch'::timestamptz + $1 * interval '1 ms'
           ORDER BY created_at LIMIT 1000 FOR UPDATE SKIP LOCKED)",
    )
    .bind(before.as_millisecond())
    .execute(pool)
    .await
    .map_err(StoreError::on("forgetting old answers"))?;
    Ok(done.rows_affected())
}
