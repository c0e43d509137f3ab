//! How far a projection's partitions are: in its database, where it is decided with the rows.

use sqlx::{PgConnection, PgPool};

use super::{book::Commit, work::Kept};

/// How a transaction begins that may be lost when the database crashes: the rows and the offset are lost together then, and the records
/// come again.
pub(super) const BEGIN: &str = "BEGIN; SET LOCAL synchronous_commit = off";

/// A partition of a group, and its retry topic.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row<'a> {
    pub(super) group: &'a str,
    pub(super) topic: &'a str,
    pub(super) retry_topic: Option<&'a str>,
    pub(super) partition: i32,
    pub(super) generation: &'a str,
}

/// How far the partition is.
pub(super) async fn load(pool: &PgPool, row: &Row<'_>) -> Result<Kept, sqlx::Error> {
    let current: Option<String> =
        sqlx::query_scalar("SELECT generation FROM tidegate.projection_generations WHERE consumer_group = $1")
            .bind(row.group)
            .fetch_optional(pool)
            .await?;
    if current.unwrap_or_default() != row.generation {
        return Ok(Kept::Superseded);
    }
    let rows: Vec<(String, i64, String)> = sqlx::query_as(
        "SELECT topic, next_offset, state FROM tidegate.projection_offsets
         WHERE consumer_group = $1 AND topic IN ($2, $3) AND partition = $4",
    )
    .bind(row.group)
    .bind(row.topic)
    .bind(row.retry_topic)
    .bind(row.partition)
    .fetch_all(pool)
    .await?;
    let of = |name: Option<&str>| rows.iter().find(|(topic, ..)| Some(topic.as_str()) == name);
    Ok(match of(Some(row.topic)) {
        Some((_, offset, _)) => {
            let state = of(row.retry_topic).map(|(_, _, state)| state.clone()).unwrap_or_default();
            Kept::At { offset: *offset, state }
        }
        None => Kept::Nowhere,
    })
}

/// Moves the partition, if it is still where it is thought to be: nowhere at all, if that is none. Whoever does holds it until the
/// transaction ends.
pub(super) async fn advance(
    connection: &mut PgConnection,
    row: &Row<'_>,
    (from, to): (Option<&Commit>, &Commit),
) -> Result<bool, sqlx::Error> {
    let moved = match from {
        None => begin(connection, row, to.offset).await?,
        // Even where it stays: whoever holds it is waited for by a replay, and writes nothing after one.
        Some(from) => source(connection, row, (from.offset, to.offset)).await?,
    };
    let before = from.map_or("", |from| &*from.state);
    match row.retry_topic.filter(|_| moved && *before != *to.state) {
        Some(retry_topic) => retry(connection, (row, retry_topic), (before, to)).await,
        None => Ok(moved),
    }
}

async fn begin(connection: &mut PgConnection, row: &Row<'_>, next: i64) -> Result<bool, sqlx::Error> {
    let begun = sqlx::query(
        "WITH present AS (SELECT generation FROM tidegate.projection_generations WHERE consumer_group = $1 FOR SHARE)
         INSERT INTO tidegate.projection_offsets (consumer_group, topic, partition, next_offset, generation)
         SELECT $1, $2, $3, $4, $5 WHERE coalesce((SELECT generation FROM present), '') = $5
         ON CONFLICT ON CONSTRAINT projection_offsets_partition DO NOTHING",
    )
    .bind(row.group)
    .bind(row.topic)
    .bind(row.partition)
    .bind(next)
    .bind(row.generation)
    .execute(connection)
    .await?;
    Ok(begun.rows_affected() == 1)
}

async fn source(
    connection: &mut PgConnection,
    row: &Row<'_>,
    (expected, next): (i64, i64),
) -> Result<bool, sqlx::Error> {
    let moved = sqlx::query(
        "UPDATE tidegate.projection_offsets SET next_offset = $4, updated_at = now()
         WHERE consumer_group = $1 AND topic = $2 AND partition = $3 AND next_offset = $5 AND generation = $6",
    )
    .bind(row.group)
    .bind(row.topic)
    .bind(row.partition)
    .bind(next)
    .bind(expected)
    .bind(row.generation)
    .execute(connection)
    .await?;
    Ok(moved.rows_affected() == 1)
}

/// The row of the retry partition is there once something was parked.
async fn retry(
    connection: &mut PgConnection,
    (row, retry_topic): (&Row<'_>, &str),
    (before, to): (&str, &Commit),
) -> Result<bool, sqlx::Error> {
    let statement = if before.is_empty() {
        "INSERT INTO tidegate.projection_offsets AS kept (consumer_group, topic, partition, next_offset, state, generation)
         VALUES ($1, $2, $3, $4, $5, $7)
         ON CONFLICT ON CONSTRAINT projection_offsets_partition
         DO UPDATE SET next_offset = $4, state = $5, updated_at = now() WHERE kept.state = $6"
    } else {
        "UPDATE tidegate.projection_offsets SET next_offset = $4, state = $5, updated_at = now()
         WHERE consumer_group = $1 AND topic = $2 AND partition = $3 AND state = $6 AND generation = $7"
    };
    let moved = sqlx::query(statement)
        .bind(row.group)
        .bind(retry_topic)
        .bind(row.partition)
        .bind(to.retry_low)
        .bind(&*to.state)
        .bind(before)
        .bind(row.generation)
        .execute(connection)
        .await?;
    Ok(moved.rows_affected() == 1)
}
