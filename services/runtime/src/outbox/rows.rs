//! The outbox's rows, as the relay reads and deletes them. xid8 travels as text, for which every driver has a type.

use sqlx::{PgConnection, PgPool, Row as _, postgres::PgRow, types::Json};

use super::position::{Batch, RowKey};

/// An event that is committed and not published.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) key: RowKey,
    pub(super) created: i64,
    pub(super) topic: String,
    pub(super) record_key: Vec<u8>,
    pub(super) headers: Vec<(String, String)>,
    pub(super) payload: Vec<u8>,
}

/// What may be read of a shard at once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) rows: i64,
    /// Bytes of values at which it is enough. One event may be larger.
    pub(super) bytes: i64,
}

/// Makes the connection read rows in the order of their index, as far as they are asked for. The table's statistics are always of another
/// moment: by them the planner would read a whole backlog, and sort it, for each of its batches.
pub(super) async fn prepare(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::raw_sql("SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_sort = off")
        .execute(connection)
        .await
        .map(drop)
}

/// Rows of a shard that may be published now, in order, behind that row: those of transactions older than the oldest that is still
/// running. At least one if there is any, and no more than the limits allow.
pub(super) async fn ready(
    connection: &mut PgConnection,
    shard: i16,
    after: Option<RowKey>,
    limits: Limits,
) -> Result<Vec<Row>, sqlx::Error> {
    let after = after.unwrap_or(RowKey::FIRST);
    sqlx::query(
        "SELECT measured.transaction_id::text AS transaction, id, topic, key, headers, payload,
                (extract(epoch FROM created_at) * 1000000)::bigint AS created
         FROM (SELECT *, sum(octet_length(payload)) OVER (ORDER BY transaction_id, id) - octet_length(payload) AS before
               FROM (SELECT * FROM tidegate.outbox
                     WHERE shard = $1 AND (transaction_id, id) > ($4::text::xid8, $5)
                       AND transaction_id < pg_snapshot_xmin(pg_current_snapshot())
                     ORDER BY transaction_id, id LIMIT $2) AS oldest) AS measured
         WHERE before < $3
         ORDER BY measured.transaction_id, id",
    )
    .bind(shard)
    .bind(limits.rows)
    .bind(limits.bytes)
    .bind(after.transaction_id.to_string())
    .bind(after.id)
    .fetch_all(connection)
    .await?
    .iter()
    .map(row)
    .collect()
}

/// Whether there are rows behind that one that are committed: after [`ready`] found none, such that waited then for an older
/// transaction. They are not asked for that again, because it may have ended in between; nobody would tell of them a second time.
pub(super) async fn any(connection: &mut PgConnection, shard: i16, after: Option<RowKey>) -> Result<bool, sqlx::Error> {
    let after = after.unwrap_or(RowKey::FIRST);
    sqlx::query_scalar(
        "SELECT EXISTS (SELECT FROM tidegate.outbox WHERE shard = $1 AND (transaction_id, id) > ($2::text::xid8, $3))",
    )
    .bind(shard)
    .bind(after.transaction_id.to_string())
    .bind(after.id)
    .fetch_one(connection)
    .await
}

/// Deletes a batch that is published.
pub(super) async fn delete(pool: &PgPool, shard: i16, batch: &Batch) -> Result<u64, sqlx::Error> {
    let deleted = sqlx::query(
        "DELETE FROM tidegate.outbox
         WHERE shard = $1 AND (transaction_id, id) >= ($2::text::xid8, $3) AND (transaction_id, id) <= ($4::text::xid8, $5)",
    )
    .bind(shard)
    .bind(batch.first.transaction_id.to_string())
    .bind(batch.first.id)
    .bind(batch.last.transaction_id.to_string())
    .bind(batch.last.id)
    .execute(pool)
    .await?;
    Ok(deleted.rows_affected())
}

/// Whether the batch's last row is still there, the very one.
pub(super) async fn is_there(pool: &PgPool, shard: i16, batch: &Batch) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar(
        "SELECT EXISTS (SELECT FROM tidegate.outbox
                        WHERE shard = $1 AND transaction_id = $2::text::xid8 AND id = $3
                          AND (extract(epoch FROM created_at) * 1000000)::bigint = $4)",
    )
    .bind(shard)
    .bind(batch.last.transaction_id.to_string())
    .bind(batch.last.id)
    .bind(batch.last_created)
    .fetch_one(pool)
    .await
}

fn row(row: &PgRow) -> Result<Row, sqlx::Error> {
    let transaction_id: String = row.try_get("transaction")?;
    let transaction_id = transaction_id.parse().map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
    let Json(headers) = row.try_get("headers")?;
    Ok(Row {
        key: RowKey { transaction_id, id: row.try_get("id")? },
        created: row.try_get("created")?,
        topic: row.try_get("topic")?,
        record_key: row.try_get("key")?,
        headers,
        payload: row.try_get("payload")?,
    })
}
