//! Who publishes an outbox: a row a shard, all of which its owner renews. By the database's clock alone, and for liveness alone.

use std::time::Duration;

use sqlx::PgPool;
use uuid::Uuid;

use super::SHARDS;

/// Takes all shards if each is free, or its owner has let the time pass; else none.
pub(super) async fn claim(pool: &PgPool, owner: Uuid, lasts: Duration) -> Result<bool, sqlx::Error> {
    let mut transaction = pool.begin().await?;
    let claimed = sqlx::query(
        "INSERT INTO tidegate.outbox_leases AS lease (shard, owner, expires_at)
         SELECT shard, $2, now() + $3 * interval '1 ms' FROM generate_series(0, $1 - 1) AS shard ORDER BY shard
         ON CONFLICT ON CONSTRAINT outbox_leases_shard DO UPDATE
           SET owner = excluded.owner, expires_at = excluded.expires_at
           WHERE lease.owner = excluded.owner OR lease.expires_at < now()",
    )
    .bind(i32::from(SHARDS))
    .bind(owner)
    .bind(millis(lasts))
    .execute(&mut *transaction)
    .await?;
    // Relays of before take shards one by one: what is left of them is not taken, so that two do not wait for each other.
    let all = claimed.rows_affected() == u64::from(SHARDS);
    if all {
        transaction.commit().await?
    } else {
        transaction.rollback().await?
    }
    Ok(all)
}

/// Keeps them; false if one is somebody else's by now.
pub(super) async fn renew(pool: &PgPool, owner: Uuid, lasts: Duration) -> Result<bool, sqlx::Error> {
    let renewed =
        sqlx::query("UPDATE tidegate.outbox_leases SET expires_at = now() + $2 * interval '1 ms' WHERE owner = $1")
            .bind(owner)
            .bind(millis(lasts))
            .execute(pool)
            .await?;
    Ok(renewed.rows_affected() == u64::from(SHARDS))
}

/// Lets them go, so that somebody else need not wait.
pub(super) async fn release(pool: &PgPool, owner: Uuid) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM tidegate.outbox_leases WHERE owner = $1").bind(owner).execute(pool).await?;
    Ok(())
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
