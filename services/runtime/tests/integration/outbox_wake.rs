//! Whoever commits events tells the relay if it sleeps, and only then; no event is left lying.

use std::time::Duration;

use sqlx::postgres::PgListener;
use tidegate_runtime::outbox::{CHANNEL, OutboxEvent, append, shard_of};

use crate::{
    outbox::{Running, TABLES, config, count, count_once, published_is_committed},
    support::{Database, Topic, eventually, open_transaction},
};

/// Whether every shard's owner sleeps, as the server sees it.
async fn all_sleep(database: &Database) {
    eventually("all shards' owners sleep", || async {
        sqlx::query_scalar::<_, i64>(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND mode = 'ExclusiveLock' AND granted AND objsubid = 2
               AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
        )
        .fetch_one(&database.pool)
        .await
        .unwrap()
            == 3
    })
    .await;
}

/// What was notified since the last time: everything that was sent before this is called comes before its own.
async fn heard(listener: &mut PgListener, database: &Database) -> Vec<String> {
    sqlx::query("SELECT pg_notify($1, 'mark')").bind(CHANNEL).execute(&database.pool).await.unwrap();
    let mut heard = Vec::new();
    loop {
        let payload = listener.recv().await.unwrap().payload().to_owned();
        if payload == "mark" {
            return heard;
        }
        heard.push(payload);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_notifies_once_those_who_sleep_and_nobody_who_is_awake() {
    let (topic, database) = (Topic::create(3).await, Database::create(TABLES).await);
    let mut listener = PgListener::connect_with(&database.pool).await.unwrap();
    listener.listen(CHANNEL).await.unwrap();

    // Nobody is there to be told.
    count_once(&database.pool, &topic.name, "alice").await;
    assert_eq!(heard(&mut listener, &database).await, [""; 0]);

    let relay = Running::start(config(&topic.name), &database.pool);
    published_is_committed(&topic, &database.pool).await;
    all_sleep(&database).await;
    let keys = ["wallet-1", "bob-eur", "wallet-4"];
    assert_eq!(keys.map(|key| shard_of(key.as_bytes())), [1, 1, 0]);
    let events = keys.map(|key| OutboxEvent {
        topic: topic.name.clone(),
        key: key.into(),
        headers: Vec::new(),
        payload: b"1".to_vec(),
    });
    let mut transaction = database.pool.begin().await.unwrap();
    append(&mut transaction, &events[..2]).await.unwrap();
    append(&mut transaction, &events[1..]).await.unwrap();
    transaction.commit().await.unwrap();
    let mut told: Vec<_> =
        heard(&mut listener, &database).await.iter().flat_map(|shards| shards.split(',')).map(str::to_owned).collect();
    told.sort();
    told.dedup();
    assert_eq!(told, ["0", "1"]);
    eventually("they are published", || async { relay.handle.stats().await.unwrap().unprocessed_events == 0 }).await;
    all_sleep(&database).await;

    // An event waits for an older transaction, so its shard's owner has to look again and again: it is awake.
    let mut older = open_transaction(&database.pool).await;
    sqlx::query("SELECT pg_current_xact_id()").execute(&mut *older).await.unwrap();
    count_once(&database.pool, &topic.name, "alice").await;
    assert_eq!(heard(&mut listener, &database).await, [shard_of(b"alice").to_string()]);
    eventually("it waits", || async { relay.handle.held_up_shards() == 1 }).await;
    for _ in 0..20 {
        count_once(&database.pool, &topic.name, "alice").await;
    }
    assert_eq!(heard(&mut listener, &database).await, [""; 0]);
    older.rollback().await.unwrap();
    eventually("all are published", || async { relay.handle.stats().await.unwrap().unprocessed_events == 0 }).await;
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_commit_is_overlooked_however_it_meets_the_relays_falling_asleep() {
    let (topic, database) = (Topic::create(3).await, Database::create(TABLES).await);
    let relay = Running::start(config(&topic.name), &database.pool);
    relay.owns_everything().await;
    // The sweep is an hour away, so an event that nobody is told of stays.
    for round in 0..150_u64 {
        count_once(&database.pool, &topic.name, "alice").await;
        let mut slow = database.pool.begin().await.unwrap();
        count(&mut slow, &topic.name, "bob").await;
        tokio::time::sleep(Duration::from_micros(round * 397 % 60_000)).await;
        slow.commit().await.unwrap();
        let waiting = || async { relay.handle.stats().await.unwrap().unprocessed_events };
        if round % 3 == 0 {
            eventually("both are published", || async { waiting().await == 0 }).await;
        }
    }
    published_is_committed(&topic, &database.pool).await;
    relay.stop().await;
}
