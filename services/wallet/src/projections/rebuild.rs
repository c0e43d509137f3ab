//! A projection that begins, or begins anew, takes what it lacks from the event store before it reads the topic, which keeps events
//! for some days only (docs/adr/0018-projections-are-rebuilt-from-the-event-store.md).

use jiff::Timestamp;
use sqlx::{Connection, PgConnection, PgPool, Row, postgres::PgRow};
use tidegate_contracts::{Envelope, Event, wallet::WalletEvent};
use tidegate_runtime::consumer::generation;
use tidegate_settings::Generation;

use super::{Ledger, ProjectionError, ReadModel, apply_to_ledger, apply_to_read_model};
use crate::error::{Again, StoreError};

/// The advisory lock that whoever catches up holds, with the projection's own number beside it.
const LOCK: i32 = i32::from_be_bytes(*b"wall");
/// Wallets that are caught up together.
const WALLETS: i64 = 200;
/// Events that are applied in one transaction.
const EVENTS: i64 = 2000;

const DOING: &str = "catching up from the event store";

/// A projection that can be made from the event store.
pub trait Rebuild {
    /// Tells its lock from the others'.
    const NUMBER: i32;
    /// The table that holds the version up to which each wallet was applied.
    const WATERMARKS: &'static str;

    /// Applies events as if they had come by the topic.
    fn apply_events(
        connection: &mut PgConnection,
        events: &[Envelope<WalletEvent>],
    ) -> impl Future<Output = Result<(), ProjectionError>> + Send;
}

impl Rebuild for Ledger {
    const NUMBER: i32 = 1;
    const WATERMARKS: &'static str = "ledger_watermarks";

    async fn apply_events(
        connection: &mut PgConnection,
        events: &[Envelope<WalletEvent>],
    ) -> Result<(), ProjectionError> {
        apply_to_ledger(connection, events).await
    }
}

impl Rebuild for ReadModel {
    const NUMBER: i32 = 2;
    const WATERMARKS: &'static str = "wallet_read_model";

    async fn apply_events(
        connection: &mut PgConnection,
        events: &[Envelope<WalletEvent>],
    ) -> Result<(), ProjectionError> {
        apply_to_read_model(connection, events).await
    }
}

/// Applies what the projection lacks, if its group has no offset yet: before the first start, and before that of a rebuild. Whoever
/// breaks off goes on from there the next time, unless another generation has begun.
pub async fn catch_up<P: Rebuild>(pool: &PgPool, group: &str, generation: &Generation) -> Result<(), ProjectionError> {
    let of = (group, generation);
    // A connection of its own, which is closed in the end whatever happens, and with it the lock is given up.
    let mut connection = pool.acquire().await.map_err(StoreError::on(DOING))?.detach();
    if !is_new(&mut connection, of).await? {
        return Ok(());
    }
    sqlx::query("SELECT pg_advisory_lock($1, $2)")
        .bind(LOCK)
        .bind(P::NUMBER)
        .execute(&mut connection)
        .await
        .map_err(StoreError::on(DOING))?;
    let mut events = 0;
    let mut after = String::new();
    while is_new(&mut connection, of).await? {
        let wallets = behind::<P>(&mut connection, &after).await?;
        let Some(last) = wallets.last() else { break };
        after.clone_from(last);
        loop {
            match apply_some::<P>(&mut connection, of, &wallets).await {
                Ok(0) => break,
                Ok(some) => events += some,
                // Another replica, which reads the topic already, was there first.
                Err(ProjectionError::Store(error)) if error.again() == Again::Now => {}
                Err(error) => return Err(error),
            }
        }
    }
    if events > 0 {
        tracing::info!(events, projection = P::WATERMARKS, "caught up from the event store");
    }
    // Errors are no matter any more: the server gives the lock back when it misses the connection.
    let _ = connection.close().await;
    Ok(())
}

/// Whether the generation is the present one, and nothing was read in it.
async fn is_new(connection: &mut PgConnection, (group, generation): (&str, &Generation)) -> Result<bool, StoreError> {
    sqlx::query_scalar(
        "SELECT NOT EXISTS (SELECT FROM tidegate.projection_offsets WHERE consumer_group = $1)
            AND coalesce((SELECT generation FROM tidegate.projection_generations WHERE consumer_group = $1), '') = $2",
    )
    .bind(group)
    .bind(&generation.id)
    .fetch_one(connection)
    .await
    .map_err(StoreError::on(DOING))
}

/// The next wallets of which the projection lacks events.
async fn behind<P: Rebuild>(connection: &mut PgConnection, after: &str) -> Result<Vec<String>, StoreError> {
    let query = format!(
        "SELECT s.wallet_id FROM wallet_state AS s LEFT JOIN {} AS w ON w.wallet_id = s.wallet_id
         WHERE s.wallet_id > $1 AND s.version > coalesce(w.version, 0) ORDER BY s.wallet_id LIMIT $2",
        P::WATERMARKS
    );
    sqlx::query_scalar(sqlx::AssertSqlSafe(query))
        .bind(after)
        .bind(WALLETS)
        .fetch_all(connection)
        .await
        .map_err(StoreError::on(DOING))
}

/// Applies the next events of those wallets; how many.
async fn apply_some<P: Rebuild>(
    connection: &mut PgConnection,
    (group, generation): (&str, &Generation),
    wallets: &[String],
) -> Result<usize, ProjectionError> {
    let mut transaction = connection.begin().await.map_err(StoreError::on(DOING))?;
    if !generation::hold(&mut transaction, group, generation).await.map_err(StoreError::on(DOING))? {
        return Ok(0);
    }
    // Whoever applies events of these wallets by the topic waits, or is waited for.
    let lock = format!("SELECT FROM {} WHERE wallet_id = ANY($1) ORDER BY wallet_id FOR UPDATE", P::WATERMARKS);
    sqlx::query(sqlx::AssertSqlSafe(lock))
        .bind(wallets)
        .execute(&mut *transaction)
        .await
        .map_err(StoreError::on(DOING))?;
    let query = format!(
        "SELECT e.wallet_id, e.version, e.event_id, e.event_type, (extract(epoch FROM e.occurred_at) * 1000)::bigint AS at,
                e.correlation_id, e.causation_id, e.data
         FROM wallet_events AS e LEFT JOIN {} AS w ON w.wallet_id = e.wallet_id
         WHERE e.wallet_id = ANY($1) AND e.version > coalesce(w.version, 0) ORDER BY e.wallet_id, e.version LIMIT $2",
        P::WATERMARKS
    );
    let rows = sqlx::query(sqlx::AssertSqlSafe(query))
        .bind(wallets)
        .bind(EVENTS)
        .fetch_all(&mut *transaction)
        .await
        .map_err(StoreError::on(DOING))?;
    let events = rows.iter().map(envelope).collect::<Result<Vec<_>, _>>()?;
    P::apply_events(&mut transaction, &events).await?;
    transaction.commit().await.map_err(StoreError::on(DOING))?;
    Ok(events.len())
}

fn envelope(row: &PgRow) -> Result<Envelope<WalletEvent>, StoreError> {
    let event_type: &str = row.try_get("event_type").map_err(StoreError::on(DOING))?;
    let data = row.try_get("data").map_err(StoreError::on(DOING))?;
    let at: i64 = row.try_get("at").map_err(StoreError::on(DOING))?;
    let unreadable = |value: String| StoreError::Unreadable { what: "wallet_events", value };
    Ok(Envelope {
        event_id: row.try_get("event_id").map_err(StoreError::on(DOING))?,
        aggregate_id: row.try_get("wallet_id").map_err(StoreError::on(DOING))?,
        aggregate_version: row.try_get("version").map_err(StoreError::on(DOING))?,
        timestamp: Timestamp::from_millisecond(at).map_err(|_| unreadable(at.to_string()))?,
        correlation_id: row.try_get("correlation_id").map_err(StoreError::on(DOING))?,
        causation_id: row.try_get("causation_id").map_err(StoreError::on(DOING))?,
        event: WalletEvent::from_data(event_type, data).map_err(|error| unreadable(error.to_string()))?,
    })
}
