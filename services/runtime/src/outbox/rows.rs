//! The outbox's rows, as the relay reads and deletes them. xid8 travels as text, for which every driver has a type.

use sqlx::{PgConnection, PgPool, Row as _, postgres::PgRow, types::Json};

use super::position::{Batch, RowKey};

/// An event that is committed and not published.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) shard: i16,
    pub(super) key: RowKey,
    pub(super) created: i64,
    pub(super) topic: String,
    pub(super) record_key: Vec<u8>,
    pub(super) headers: Vec<(String, String)>,
    pub(super) payload: Vec<u8>,
}

/// What may be read of each shard at once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) rows: i64,
    /// Bytes of values at which it is enough. One event may be larger.
    pub(super) bytes: i64,
}

impl Limits {
    /// Whether the rows are so many that more of them wait, most likely.
    pub(super) fn are_near(self, rows: &[Row]) -> bool {
        let bytes: usize = rows.iter().map(|row| row.payload.len()).sum();
        rows.len() as i64 >= self.rows / 2 || bytes as i64 >= self.bytes / 2
    }
}

/// Makes the connection read rows in the order of their index, as far as they are asked for. The table's statistics are always of another
/// moment: by them the planner would read a whole backlog, and sort it, for each of its batches.
pub(super) async fn prepare(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::raw_sql("SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_sort = off")
        .execute(connection)
        .await
        .map(drop)
}

/// Rows of each shard that may be published now, all in order, behind a row of that shard: those of transactions older than the oldest
/// that is still running. Of a shard at least one if there is any, and no more than the limits allow.
pub(super) async fn ready(
    connection: &mut PgConnection,
    after: &[RowKey],
    limits: Limits,
) -> Result<Vec<Row>, sqlx::Error> {
    let (transactions, ids) = split(after);
    let rows = sqlx::query(
        "SELECT measured.*
         FROM unnest($1::text[]::xid8[], $2::bigint[]) WITH ORDINALITY AS after (transaction_id, id, nth)
           CROSS JOIN LATERAL (
             SELECT shard, transaction_id::text AS transaction, id, topic, key, headers, payload,
                    (extract(epoch FROM created_at) * 1000000)::bigint AS created,
                    sum(octet_length(payload)) OVER (ORDER BY transaction_id, id) - octet_length(payload) AS before
             FROM (SELECT * FROM tidegate.outbox
                   WHERE shard = (after.nth - 1)::smallint AND (transaction_id, id) > (after.transaction_id, after.id)
                     AND transaction_id < pg_snapshot_xmin(pg_current_snapshot())
                   ORDER BY transaction_id, id LIMIT $3) AS oldest) AS measured
         WHERE before < $4",
    )
    .bind(transactions)
    .bind(ids)
    .bind(limits.rows)
    .bind(limits.bytes)
    .fetch_all(connection)
    .await?;
    let mut rows = rows.iter().map(row).collect::<Result<Vec<_>, _>>()?;
    rows.sort_by_key(|row| row.key);
    Ok(rows)
}

/// How many shards have rows behind those that are committed: after [`ready`] found none, such that waited then for an older
/// transaction. They are not asked for that again, because it may have ended in between; nobody would tell of them a second time.
pub(super) async fn left(connection: &mut PgConnection, after: &[RowKey]) -> Result<i64, sqlx::Error> {
    let (transactions, ids) = split(after);
    sqlx::query_scalar(
        "SELECT count(*)
         FROM unnest($1::text[]::xid8[], $2::bigint[]) WITH ORDINALITY AS after (transaction_id, id, nth)
         WHERE EXISTS (SELECT FROM tidegate.outbox AS event
                       WHERE event.shard = (after.nth - 1)::smallint
                         AND (event.transaction_id, event.id) > (after.transaction_id, after.id))",
    )
    .bind(transactions)
    .bind(ids)
    .fetch_one(connection)
    .await
}

fn split(keys: &[RowKey]) -> (Vec<String>, Vec<i64>) {
    keys.iter().map(|key| (key.transaction_id.to_string(), key.id)).unzip()
}

/// Deletes batches that are published, each of a shard: all of them, or none. How many rows they were.
pub(super) async fn delete(pool: &PgPool, batches: &[(i16, Batch)]) -> Result<u64, sqlx::Error> {
    let mut transaction = pool.begin().await?;
    let mut rows = 0;
    for (shard, batch) in batches {
        let deleted = sqlx::query(
            "DELETE FROM tidegate.outbox
             WHERE shard = $1 AND (transaction_id, id) >= ($2::text::xid8, $3) AND (transaction_id, id) <= ($4::text::xid8, $5)",
        )
        .bind(shard)
        .bind(batch.first.transaction_id.to_string())
        .bind(batch.first.id)
        .bind(batch.last.transaction_id.to_string())
        .bind(batch.last.id)
        .execute(&mut *transaction)
        .await?;
        rows += deleted.rows_affected();
    }
    transaction.commit().await?;
    Ok(rows)
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
        shard: row.try_get("shard")?,
        key: RowKey { transaction_id, id: row.try_get("id")? },
        created: row.try_get("created")?,
        topic: row.try_get("topic")?,
        record_key: row.try_get("key")?,
        headers,
        payload: row.try_get("payload")?,
    })
}
