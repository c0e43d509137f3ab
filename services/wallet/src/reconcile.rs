//! Whether everything that says how much money there is says the same: events, the state that commands decide on, the ledger, the
//! read model. All of it is looked at in one snapshot, each wallet at the version that a projection has come to; so a projection that
//! is behind is behind, and not wrong. The hash chains of all wallets are followed too.

mod background;
mod gauges;
mod report;
mod sums;

use sqlx::{Connection, PgConnection, PgPool};
use tokio::time::Instant;

pub use background::keep_reconciled;
pub use gauges::ReconciliationGauges;
pub use report::Report;

use crate::{chain, error::StoreError};

/// The advisory lock that whoever reconciles holds: one at a time, over all replicas.
const LOCK: i64 = i64::from_be_bytes(*b"reconcil");
/// Wallets or chains that are named in a report.
const NAMED: usize = 20;
/// Wallets whose chains are followed by one statement.
const WALLETS: i64 = 200;

/// The last report if it is no older than that when this is called, and else a new one.
pub async fn reconcile(pool: &PgPool, max_age_seconds: f64) -> Result<Report, StoreError> {
    // A connection of its own, which is closed in the end whatever happens, and with it the lock is given up.
    let mut connection = pool.acquire().await.map_err(StoreError::on("reconciling"))?.detach();
    let oldest = "SELECT extract(epoch FROM clock_timestamp())::float8 - $1";
    let oldest: f64 = sqlx::query_scalar(oldest)
        .bind(max_age_seconds)
        .fetch_one(&mut connection)
        .await
        .map_err(StoreError::on("reconciling"))?;
    sqlx::query("SELECT pg_advisory_lock($1)")
        .bind(LOCK)
        .execute(&mut connection)
        .await
        .map_err(StoreError::on("waiting for a reconciliation"))?;
    let report = match kept(&mut connection, oldest).await? {
        Some(report) => report,
        None => make(&mut connection).await?,
    };
    // Errors are no matter any more: the server gives the lock back when it misses the connection.
    let _ = connection.close().await;
    Ok(report)
}

async fn kept(connection: &mut PgConnection, oldest: f64) -> Result<Option<Report>, StoreError> {
    let on = "reading the last reconciliation";
    let query = "SELECT report FROM wallet_reconciliation WHERE checked_at >= to_timestamp($1)";
    let kept: Option<serde_json::Value> =
        sqlx::query_scalar(query).bind(oldest).fetch_optional(connection).await.map_err(StoreError::on(on))?;
    // A report that another build made may have another form: it is made anew then.
    Ok(kept.and_then(|report| serde_json::from_value(report).ok()))
}

async fn make(connection: &mut PgConnection) -> Result<Report, StoreError> {
    let on = "reconciling";
    let started = Instant::now();
    let checked_at: String =
        sqlx::query_scalar("SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')")
            .fetch_one(&mut *connection)
            .await
            .map_err(StoreError::on(on))?;
    let mut snapshot = connection.begin().await.map_err(StoreError::on(on))?;
    sqlx::query("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        .execute(&mut *snapshot)
        .await
        .map_err(StoreError::on(on))?;
    let compared = sums::wallets(&mut snapshot, NAMED).await?;
    let currencies = sums::currencies(&mut snapshot, &compared).await?;
    snapshot.rollback().await.map_err(StoreError::on(on))?;
    // Not in the snapshot: a long one keeps the database from tidying up.
    let chains = chains(connection).await?;
    let took = started.elapsed();
    let report = Report::of(checked_at, took, currencies, compared.wallets, chains);
    let value = serde_json::to_value(&report)
        .map_err(|error| StoreError::Unreadable { what: "a reconciliation", value: error.to_string() })?;
    sqlx::query(
        "INSERT INTO wallet_reconciliation (checked_at, report) VALUES ($1::timestamptz, $2)
         ON CONFLICT ON CONSTRAINT wallet_reconciliation_single DO UPDATE
           SET checked_at = excluded.checked_at, report = excluded.report",
    )
    .bind(&report.checked_at)
    .bind(value)
    .execute(connection)
    .await
    .map_err(StoreError::on("keeping a reconciliation"))?;
    Ok(report)
}

/// Follows the chains of all wallets, some at a time, each as it is when its turn comes.
async fn chains(connection: &mut PgConnection) -> Result<report::Chains, StoreError> {
    let mut chains = report::Chains::default();
    let mut after = String::new();
    loop {
        let wallets: Vec<String> =
            sqlx::query_scalar("SELECT wallet_id FROM wallet_state WHERE wallet_id > $1 ORDER BY wallet_id LIMIT $2")
                .bind(&after)
                .bind(WALLETS)
                .fetch_all(&mut *connection)
                .await
                .map_err(StoreError::on("listing the wallets"))?;
        let Some(last) = wallets.last() else { return Ok(chains) };
        after.clone_from(last);
        let ids: Vec<&str> = wallets.iter().map(String::as_str).collect();
        chain::verify(&mut *connection, &ids, |view| chains.add(view, NAMED)).await?;
    }
}
