//! The command side's tables, several rows a statement. Everything here happens inside the committer's transaction.

use std::{collections::HashMap, fmt::Write};

use jiff::Timestamp;
use sqlx::{
    AssertSqlSafe, PgConnection, PgPool, Row,
    postgres::{PgRow, PgTransaction},
};
use tidegate_contracts::{Currency, Event, Money, wallet::chain::Hash};
use uuid::Uuid;

use super::{answer::Answer, chain::Written, plan::IdempotencyKey};
use crate::{
    domain::{Book, Hold, Settled, Wallet, WalletId},
    error::StoreError,
};

/// What a key was answered with, and to which request.
pub struct StoredAnswer {
    pub request_hash: Vec<u8>,
    pub answer: Answer,
}

/// Begins a transaction that holds these locks, taken in the order given, until it ends: one way to the database and back.
///
/// Advisory locks and not row locks: taking a row lock assigns the transaction id, which must happen only once every lock is held.
/// The outbox is read in the order of transaction ids; so whoever writes a wallet later has the greater one. What is decided on must be
/// read by a later statement: the snapshot of this one is older than the wait for its locks.
pub async fn begin(pool: &PgPool, locks: &[i64]) -> Result<PgTransaction<'static>, StoreError> {
    let mut statement = String::with_capacity(160 + 20 * locks.len());
    statement.push_str("BEGIN; SELECT pg_advisory_xact_lock(key) FROM unnest('{");
    for (nth, lock) in locks.iter().enumerate() {
        // Writing to a string does not fail.
        let _ = write!(statement, "{}{lock}", if nth == 0 { "" } else { "," });
    }
    statement.push_str("}'::bigint[]) WITH ORDINALITY AS wanted (key, nth) ORDER BY nth");
    // Numbers and nothing else were put into it.
    pool.begin_with(AssertSqlSafe(statement)).await.map_err(StoreError::on("locking the wallets"))
}

/// The wallets of those holds that were placed. A hold never changes its wallet, so this needs no lock.
pub async fn wallets_of_holds(pool: &PgPool, holds: &[Uuid]) -> Result<HashMap<Uuid, WalletId>, StoreError> {
    let on = "looking for the wallets of holds";
    let rows: Vec<(Uuid, String)> =
        sqlx::query_as("SELECT hold_id, wallet_id FROM wallet_holds WHERE hold_id = ANY($1)")
            .bind(holds)
            .fetch_all(pool)
            .await
            .map_err(StoreError::on(on))?;
    rows.into_iter().map(|(hold, wallet)| Ok((hold, wallet_id(wallet)?))).collect()
}

/// What a batch is decided on.
#[derive(Default)]
pub struct Loaded {
    /// The wallets that it names, as far as they exist.
    pub book: Book,
    /// The last hash of each.
    pub heads: HashMap<WalletId, Hash>,
    /// Those whose last events an older build wrote, without hashes.
    pub unchained: Vec<WalletId>,
    /// The answers that were given to its keys.
    pub given: HashMap<String, StoredAnswer>,
}

/// The wallets of those ids that exist, and the answers that were given to those keys: one way to the database and back for both.
pub async fn load(connection: &mut PgConnection, ids: &[&str], keys: &[&str]) -> Result<Loaded, StoreError> {
    let on = "reading the wallets and the answers given before";
    // A row with a request's hash is an answer. Each id is looked up by itself: left to choose, the planner compares every row of a
    // table that was small when it looked with every id.
    let rows = sqlx::query(
        "SELECT wallet_id AS id, version, owner_id, currency, balance, held, head, chained = version AS is_chained,
                (extract(epoch FROM opened_at) * 1000)::bigint AS opened_at,
                (extract(epoch FROM updated_at) * 1000)::bigint AS updated_at,
                NULL::bytea AS request_hash, NULL::smallint AS status, NULL::text AS body
         FROM unnest($1::text[]) AS wanted (id)
           CROSS JOIN LATERAL (SELECT * FROM wallet_state WHERE wallet_id = wanted.id LIMIT 1) AS found
         UNION ALL
         SELECT key, 0, '', '', 0, 0, NULL, false, 0, 0, request_hash, status, body
         FROM unnest($2::text[]) AS wanted (id)
           CROSS JOIN LATERAL (SELECT * FROM idempotency_keys WHERE key = wanted.id LIMIT 1) AS found",
    )
    .bind(ids)
    .bind(keys)
    .fetch_all(connection)
    .await
    .map_err(StoreError::on(on))?;
    let mut loaded = Loaded::default();
    for row in &rows {
        if let Some(request_hash) = row.try_get("request_hash").map_err(StoreError::on(on))? {
            let key = row.try_get("id").map_err(StoreError::on(on))?;
            loaded.given.insert(key, StoredAnswer { request_hash, answer: answer(row)? });
            continue;
        }
        let wallet = wallet(row)?;
        let head: Option<&[u8]> = row.try_get("head").map_err(StoreError::on(on))?;
        let is_chained: bool = row.try_get("is_chained").map_err(StoreError::on(on))?;
        match head.and_then(|head| Hash::try_from(head).ok()).filter(|_| is_chained) {
            Some(head) => {
                loaded.heads.insert(wallet.id.clone(), head);
            }
            None => loaded.unchained.push(wallet.id.clone()),
        }
        loaded.book.wallets.insert(wallet.id.clone(), wallet);
    }
    Ok(loaded)
}

fn wallet(row: &PgRow) -> Result<Wallet, StoreError> {
    let on = "reading the wallets";
    let units = |name: &str| row.try_get::<i64, _>(name).map_err(StoreError::on(on));
    let currency = currency(row.try_get("currency").map_err(StoreError::on(on))?)?;
    Ok(Wallet {
        id: wallet_id(row.try_get("id").map_err(StoreError::on(on))?)?,
        version: units("version")?,
        owner_id: row.try_get("owner_id").map_err(StoreError::on(on))?,
        balance: Money::new(units("balance")?, currency),
        held: Money::new(units("held")?, currency),
        opened_at: time(units("opened_at")?)?,
        updated_at: time(units("updated_at")?)?,
    })
}

/// The holds of those ids that were placed.
pub async fn holds(connection: &mut PgConnection, ids: &[Uuid]) -> Result<Vec<Hold>, StoreError> {
    let on = "reading the holds";
    let rows = sqlx::query(
        "SELECT hold_id, wallet_id, placed, settled, currency, amount, captured, captured_to, reference
         FROM wallet_holds WHERE hold_id = ANY($1)",
    )
    .bind(ids)
    .fetch_all(connection)
    .await
    .map_err(StoreError::on(on))?;
    rows.iter()
        .map(|row| {
            let currency = currency(row.try_get("currency").map_err(StoreError::on(on))?)?;
            let settled: Option<i64> = row.try_get("settled").map_err(StoreError::on(on))?;
            let captured: Option<i64> = row.try_get("captured").map_err(StoreError::on(on))?;
            let to: Option<String> = row.try_get("captured_to").map_err(StoreError::on(on))?;
            let to = to.map(wallet_id).transpose()?;
            Ok(Hold {
                id: row.try_get("hold_id").map_err(StoreError::on(on))?,
                wallet: wallet_id(row.try_get("wallet_id").map_err(StoreError::on(on))?)?,
                amount: Money::new(row.try_get("amount").map_err(StoreError::on(on))?, currency),
                reference: row.try_get("reference").map_err(StoreError::on(on))?,
                placed: row.try_get("placed").map_err(StoreError::on(on))?,
                settled: settled.zip(captured).map(|(version, captured)| Settled {
                    version,
                    captured: Money::new(captured, currency),
                    to,
                }),
            })
        })
        .collect()
}

fn wallet_id(id: String) -> Result<WalletId, StoreError> {
    WalletId::parse(&id).map_err(|_| StoreError::Unreadable { what: "a wallet's id", value: id })
}

fn currency(code: String) -> Result<Currency, StoreError> {
    code.parse().map_err(|_| StoreError::Unreadable { what: "a currency", value: code })
}

fn time(ms: i64) -> Result<Timestamp, StoreError> {
    Timestamp::from_millisecond(ms).map_err(|_| StoreError::Unreadable { what: "a time", value: ms.to_string() })
}

fn answer(row: &PgRow) -> Result<Answer, StoreError> {
    let on = "reading the answers given before";
    let status: i16 = row.try_get("status").map_err(StoreError::on(on))?;
    let status = u16::try_from(status)
        .map_err(|_| StoreError::Unreadable { what: "idempotency_keys.status", value: status.to_string() })?;
    Ok(Answer { status, body: row.try_get("body").map_err(StoreError::on(on))? })
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
    /// When answers were given.
    pub now: Timestamp,
    /// The events, to be appended to their streams.
    pub events: &'a [Written],
    /// The wallets as the batch leaves them, and the hash of the last event of each.
    pub wallets: &'a [(&'a Wallet, Hash)],
    /// The holds that the batch places or ends, as it leaves them.
    pub holds: &'a [&'a Hold],
    /// The answers to be kept, under their keys.
    pub answers: &'a [(&'a IdempotencyKey, &'a Answer)],
}

/// Writes it in one statement, and holds in another: one or two ways to the database and back, whatever there is to write.
///
/// That nobody wrote the wallets meanwhile is not asked: the events' primary key refuses a version that is there already.
pub async fn write(connection: &mut PgConnection, writes: Writes<'_>) -> Result<(), StoreError> {
    let Writes { now, events, wallets, holds, answers } = writes;
    sqlx::query(
        "WITH appended AS (
           INSERT INTO wallet_events (wallet_id, version, event_id, event_type, occurred_at, correlation_id, causation_id,
             transaction_id, data, hash)
           SELECT wallet_id, version, event_id, event_type, 'epoch'::timestamptz + at * interval '1 ms', correlation_id,
             causation_id, transaction_id, data::jsonb, hash
           FROM unnest($1::text[], $2::bigint[], $3::uuid[], $4::text[], $5::bigint[], $6::uuid[], $7::uuid[], $8::uuid[],
                       $9::text[], $10::bytea[])
             AS new (wallet_id, version, event_id, event_type, at, correlation_id, causation_id, transaction_id, data, hash)),
         folded AS (
           INSERT INTO wallet_state
             (wallet_id, version, owner_id, currency, balance, held, opened_at, updated_at, chained, head)
           SELECT wallet_id, version, owner_id, currency, balance, held, 'epoch'::timestamptz + opened_at * interval '1 ms',
             'epoch'::timestamptz + updated_at * interval '1 ms', version, head
           FROM unnest($11::text[], $12::bigint[], $13::text[], $14::text[], $15::bigint[], $16::bigint[], $17::bigint[],
                       $18::bigint[], $19::bytea[])
             AS new (wallet_id, version, owner_id, currency, balance, held, opened_at, updated_at, head)
           ON CONFLICT ON CONSTRAINT wallet_state_wallet_id DO UPDATE
             SET version = excluded.version, balance = excluded.balance, held = excluded.held,
                 updated_at = excluded.updated_at, chained = excluded.chained, head = excluded.head)
         INSERT INTO idempotency_keys (key, request_hash, status, body, created_at)
         SELECT key, request_hash, status, body, 'epoch'::timestamptz + $24 * interval '1 ms'
         FROM unnest($20::text[], $21::bytea[], $22::smallint[], $23::text[]) AS new (key, request_hash, status, body)",
    )
    .bind(events.iter().map(|event| event.envelope.aggregate_id.as_str()).collect::<Vec<_>>())
    .bind(events.iter().map(|event| event.envelope.aggregate_version).collect::<Vec<_>>())
    .bind(events.iter().map(|event| event.envelope.event_id).collect::<Vec<_>>())
    .bind(events.iter().map(|event| event.envelope.event.event_type()).collect::<Vec<_>>())
    .bind(events.iter().map(|event| event.envelope.timestamp.as_millisecond()).collect::<Vec<_>>())
    .bind(events.iter().map(|event| event.envelope.correlation_id).collect::<Vec<_>>())
    .bind(events.iter().map(|event| event.envelope.causation_id).collect::<Vec<_>>())
    .bind(events.iter().map(|event| event.envelope.event.transaction_id()).collect::<Vec<_>>())
    .bind(events.iter().map(|event| event.data.as_str()).collect::<Vec<_>>())
    .bind(events.iter().map(|event| &event.hash[..]).collect::<Vec<_>>())
    .bind(wallets.iter().map(|(wallet, _)| wallet.id.as_str()).collect::<Vec<_>>())
    .bind(wallets.iter().map(|(wallet, _)| wallet.version).collect::<Vec<_>>())
    .bind(wallets.iter().map(|(wallet, _)| wallet.owner_id.as_str()).collect::<Vec<_>>())
    .bind(wallets.iter().map(|(wallet, _)| wallet.currency().code()).collect::<Vec<_>>())
    .bind(wallets.iter().map(|(wallet, _)| wallet.balance.units()).collect::<Vec<_>>())
    .bind(wallets.iter().map(|(wallet, _)| wallet.held.units()).collect::<Vec<_>>())
    .bind(wallets.iter().map(|(wallet, _)| wallet.opened_at.as_millisecond()).collect::<Vec<_>>())
    .bind(wallets.iter().map(|(wallet, _)| wallet.updated_at.as_millisecond()).collect::<Vec<_>>())
    .bind(wallets.iter().map(|(_, head)| &head[..]).collect::<Vec<_>>())
    .bind(answers.iter().map(|(key, _)| key.key.as_str()).collect::<Vec<_>>())
    .bind(answers.iter().map(|(key, _)| &key.request_hash[..]).collect::<Vec<_>>())
    .bind(answers.iter().map(|(_, answer)| i16::try_from(answer.status).unwrap_or(i16::MAX)).collect::<Vec<_>>())
    .bind(answers.iter().map(|(_, answer)| answer.body.as_str()).collect::<Vec<_>>())
    .bind(now.as_millisecond())
    .execute(&mut *connection)
    .await
    .map_err(StoreError::on("writing a batch"))?;
    if holds.is_empty() { Ok(()) } else { write_holds(connection, holds).await }
}

async fn write_holds(connection: &mut PgConnection, holds: &[&Hold]) -> Result<(), StoreError> {
    fn settled<T>(holds: &[&Hold], of: impl Fn(&Settled) -> T) -> Vec<Option<T>> {
        holds.iter().map(|hold| hold.settled.as_ref().map(&of)).collect()
    }
    sqlx::query(
        "INSERT INTO wallet_holds
           (hold_id, wallet_id, placed, settled, currency, amount, captured, captured_to, reference)
         SELECT * FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::bigint[], $5::text[], $6::bigint[], $7::bigint[],
                              $8::text[], $9::text[])
         ON CONFLICT ON CONSTRAINT wallet_holds_hold_id DO UPDATE
           SET settled = excluded.settled, captured = excluded.captured, captured_to = excluded.captured_to",
    )
    .bind(holds.iter().map(|hold| hold.id).collect::<Vec<_>>())
    .bind(holds.iter().map(|hold| hold.wallet.as_str()).collect::<Vec<_>>())
    .bind(holds.iter().map(|hold| hold.placed).collect::<Vec<_>>())
    .bind(settled(holds, |settled| settled.version))
    .bind(holds.iter().map(|hold| hold.amount.currency().code()).collect::<Vec<_>>())
    .bind(holds.iter().map(|hold| hold.amount.units()).collect::<Vec<_>>())
    .bind(settled(holds, |settled| settled.captured.units()))
    .bind(
        holds
            .iter()
            .map(|hold| Some(hold.settled.as_ref()?.to.as_ref()?.as_str()))
            .collect::<Vec<_>>(),
    )
    .bind(holds.iter().map(|hold| hold.reference.as_deref()).collect::<Vec<_>>())
    .execute(connection)
    .await
    .map_err(StoreError::on("writing holds"))?;
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
