//! Whether anybody has to be told of new events: a NOTIFY makes every commit of the server wait for one lock, so it is sent only to an
//! owner that sleeps.
//!
//! Each shard has an advisory lock. The owner holds them, alone, while it sleeps. Whoever appends events tries to share it until the end
//! of the transaction: who gets it knows that the owner is awake, and that it cannot fall asleep before the events are there to be
//! found; who does not get it notifies. Nothing here has to be written, renewed or expire: the server lets go of the lock of whoever
//! dies, and an owner that is frozen in its sleep makes others notify.

use sqlx::PgConnection;

use super::SHARDS;

/// The first half of the locks' names ("tide"); the second is the shard.
pub(super) const LOCKS: i32 = 0x7469_6465;

/// Announces that the owner of all shards sleeps; false if events are just being written. It has to look once more after that, and then
/// may wait to be told. The connection holds no other advisory lock.
pub(super) async fn fall_asleep(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    let asleep: bool =
        sqlx::query_scalar("SELECT bool_and(pg_try_advisory_lock($1, shard)) FROM generate_series(0, $2 - 1) AS shard")
            .bind(LOCKS)
            .bind(i32::from(SHARDS))
            .fetch_one(&mut *connection)
            .await?;
    if !asleep {
        // It may have got some of them.
        wake_up(connection).await?;
    }
    Ok(asleep)
}

/// Announces that the owner is awake.
pub(super) async fn wake_up(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query("SELECT pg_advisory_unlock_all()").execute(connection).await.map(drop)
}
