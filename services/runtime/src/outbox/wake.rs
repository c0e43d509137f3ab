//! Whether anybody has to be told of new events: a NOTIFY makes every commit of the server wait for one lock, so it is sent only to an
//! owner that sleeps.
//!
//! Each shard has an advisory lock. Its owner holds it, alone, while it sleeps. Whoever appends events tries to share it until the end
//! of the transaction: who gets it knows that the owner is awake, and that it cannot fall asleep before the events are there to be
//! found; who does not get it notifies. Nothing here has to be written, renewed or expire: the server lets go of the lock of whoever
//! dies, and an owner that is frozen in its sleep makes others notify.

use sqlx::PgConnection;

/// The first half of the locks' names ("tide"); the second is the shard.
pub(super) const LOCKS: i32 = 0x7469_6465;

/// Announces that the shard's owner sleeps; false if events are just being written. It has to look once more after that, and then may
/// wait to be told.
pub(super) async fn fall_asleep(connection: &mut PgConnection, shard: i16) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("SELECT pg_try_advisory_lock($1, $2)")
        .bind(LOCKS)
        .bind(i32::from(shard))
        .fetch_one(connection)
        .await
}

/// Announces that the shard's owner is awake.
pub(super) async fn wake_up(connection: &mut PgConnection, shard: i16) -> Result<(), sqlx::Error> {
    sqlx::query("SELECT pg_advisory_unlock($1, $2)")
        .bind(LOCKS)
        .bind(i32::from(shard))
        .execute(connection)
        .await
        .map(drop)
}

/// The shards that a notification names; all of them if it names none.
pub(super) fn told(payload: &str) -> impl Fn(i16) -> bool {
    let shards: Vec<i16> = payload.split(',').filter_map(|shard| shard.parse().ok()).collect();
    move |shard| shards.is_empty() || shards.contains(&shard)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notification_names_its_shards_or_means_all() {
        let shards = |payload| (0..3).filter(|shard| told(payload)(*shard)).collect::<Vec<_>>();
        assert_eq!(shards("0,2"), [0, 2]);
        assert_eq!(shards("1"), [1]);
        for payload in ["", "?"] {
            assert_eq!(shards(payload), [0, 1, 2]);
        }
    }
}
