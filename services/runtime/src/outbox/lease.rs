//! Who publishes a shard: a row that its owner renews. By the database's clock alone, and for liveness alone.

use std::time::Duration;

use sqlx::PgPool;
use uuid::Uuid;

/// Takes the shard if it is free, or its owner has let the time pass.
pub(super) async fn claim(pool: &PgPool, shard: i16, owner: Uuid, lasts: Duration) -> Result<bool, sqlx::Error> {
    let claimed = sqlx::query(
        "INSERT INTO tidegate.outbox_leases AS lease (shard, owner, expires_at)
         VALUES ($1, $2, now() + $3 * interval '1 ms')
         ON CONFLICT ON CONSTRAINT outbox_leases_shard DO UPDATE
           SET owner = excluded.owner, expires_at = excluded.expires_at
           WHERE lease.owner = excluded.owner OR lease.expires_at < now()",
    )
    .bind(shard)
    .bind(owner)
    .bind(millis(lasts))
    .execute(pool)
    .await?;
    Ok(claimed.rows_affected() == 1)
}

/// Keeps the shard; false if it is somebody else's by now.
pub(super) async fn renew(pool: &PgPool, shard: i16, owner: Uuid, lasts: Duration) -> Result<bool, sqlx::Error> {
    let renewed = sqlx::query(
        "UPDATE tidegate.outbox_leases SET expires_at = now() + $3 * interval '1 ms' WHERE shard = $1 AND owner = $2",
    )
    .bind(shard)
    .bind(owner)
    .bind(millis(lasts))
    .execute(pool)
    .await?;
    Ok(renewed.rows_affected() == 1)
}

/// Lets the shard go, so that somebody else need not wait.
pub(super) async fn release(pool: &PgPool, shard: i16, owner: Uuid) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM tidegate.outbox_leases WHERE shard = $1 AND owner = $2")
        .bind(shard)
        .bind(owner)
        .execute(pool)
        .await?;
    Ok(())
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
