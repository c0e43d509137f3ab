//! Relays that die, freeze, come twice or lose their connections: each committed event is published once, and never behind a newer one
//! of its key.

use std::time::Duration;

use sqlx::PgPool;
use tidegate_runtime::{outbox::RelayConfig, shutdown::Shutdown};

use crate::{
    outbox::{Running, TABLES, config, count_once, published_is_committed, stop_writing, write},
    process::{Process, is_part, told},
    support::{Database, Topic, connect, connect_as, eventually, open_transaction},
};

#[tokio::test(flavor = "multi_thread")]
async fn two_relays_that_break_off_at_any_await_publish_each_event_once() {
    let (topic, database) = (Topic::create(4).await, Database::create(TABLES).await);
    let config = RelayConfig { lease: Duration::from_millis(600), ..config(&topic.name) };
    let until = Shutdown::new();
    let writers = write(&database.pool, &topic.name, &until);
    for round in 0..6_u64 {
        let relays = [Running::start(config.clone(), &database.pool), Running::start(config.clone(), &database.pool)];
        // However long each lives, somewhere between taking its shards and publishing them.
        tokio::time::sleep(Duration::from_millis(700 + 370 * round)).await;
        for relay in relays {
            relay.task.abort();
        }
    }
    let commits = stop_writing(writers, &until).await;
    let last = Running::start(config, &database.pool);
    published_is_committed(&topic, &database.pool).await;
    assert!(commits > 20, "{commits} commits are too few to show anything");
    last.stop().await;
}

/// Ends those connections to this database, and none else: chosen first, ended then. How many they were.
async fn cut(pool: &PgPool, which: &str) -> i64 {
    let statement = format!(
        "WITH chosen AS MATERIALIZED (SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND {which})
         SELECT count(*) FROM chosen WHERE pg_terminate_backend(pid)"
    );
    sqlx::query_scalar(sqlx::AssertSqlSafe(statement)).fetch_one(pool).await.unwrap()
}

/// Publishes what is there and breaks off before it is deleted.
async fn publish_and_break_off(config: RelayConfig, pool: &PgPool, topic: &Topic) {
    let waits = || async {
        sqlx::query_scalar::<_, i64>("SELECT count(*) FROM tidegate.outbox").fetch_one(pool).await.unwrap()
    };
    let (waiting, before) = (waits().await, topic.records().await.len());
    // Whoever wants to delete has to wait.
    let mut holder = open_transaction(pool).await;
    sqlx::query("SELECT FROM tidegate.outbox FOR UPDATE").execute(&mut *holder).await.unwrap();
    let relay = Running::start(config, pool);
    eventually("the events are published", || async { topic.records().await.len() == before + waiting as usize }).await;
    // It dies, and what it was about to do with it.
    eventually("somebody is about to delete", || async {
        sqlx::query_scalar::<_, i64>(
            "SELECT count(*) FROM pg_stat_activity
             WHERE datname = current_database() AND query LIKE 'DELETE FROM tidegate.outbox%' AND state = 'active'",
        )
        .fetch_one(pool)
        .await
        .unwrap()
            > 0
    })
    .await;
    relay.task.abort();
    assert!(cut(pool, "query LIKE 'DELETE FROM tidegate.outbox%'").await >= 1, "nobody was about to delete");
    holder.rollback().await.unwrap();
    assert_eq!(waits().await, waiting);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_breaks_off_between_publishing_and_deleting_is_found_out() {
    let (topic, database) = (Topic::create(3).await, Database::create(TABLES).await);
    for _ in 0..5 {
        count_once(&database.pool, &topic.name, "alice").await;
    }
    publish_and_break_off(config(&topic.name), &database.pool, &topic).await;
    let second = Running::start(config(&topic.name), &database.pool);
    count_once(&database.pool, &topic.name, "alice").await;
    published_is_committed(&topic, &database.pool).await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_position_that_was_left_under_the_group_of_all_outboxes_is_found() {
    let (topic, database) = (Topic::create(3).await, Database::create(TABLES).await);
    for _ in 0..5 {
        count_once(&database.pool, &topic.name, "alice").await;
    }
    let of_all = format!("kafka-publisher.of-all.{}", topic.name);
    let former = RelayConfig { group: of_all.clone(), shared_group: None, ..config(&topic.name) };
    publish_and_break_off(former, &database.pool, &topic).await;
    let now = RelayConfig { shared_group: Some(of_all.clone()), ..config(&topic.name) };
    let relay = Running::start(now.clone(), &database.pool);
    count_once(&database.pool, &topic.name, "alice").await;
    published_is_committed(&topic, &database.pool).await;
    relay.stop().await;
    // It goes on counting where the other stopped, and leaves that alone.
    assert_eq!(topic.committed(&now.group).await.into_values().collect::<Vec<_>>(), [6]);
    assert_eq!(topic.committed(&of_all).await.into_values().collect::<Vec<_>>(), [5]);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_outboxes_of_one_topic_keep_their_positions_apart() {
    let (topic, one, other) = (Topic::create(3).await, Database::create(TABLES).await, Database::create(TABLES).await);
    let of = |outbox: &str| RelayConfig {
        lease: Duration::from_secs(2),
        sweep: Duration::from_secs(3600),
        ..RelayConfig::new("test", &format!("{}.{outbox}", topic.name), &topic.name)
    };
    count_once(&one.pool, &topic.name, "alice").await;
    publish_and_break_off(of("one"), &one.pool, &topic).await;
    // The same key, shard and topic: what it commits must not hide how far the first one is.
    let second = Running::start(of("other"), &other.pool);
    count_once(&other.pool, &topic.name, "alice").await;
    eventually("the other one is published", || async { topic.records().await.len() == 2 }).await;
    let first = Running::start(of("one"), &one.pool);
    first.owns_everything().await;
    eventually("the outbox is empty", || async { first.handle.stats().await.unwrap().unprocessed_events == 0 }).await;
    assert_eq!(topic.records().await.len(), 2);
    first.stop().await;
    second.stop().await;
}

/// The part of a relay in a process of its own.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "other tests start it as a process"]
async fn relay_process() {
    if is_part() {
        let pool = connect(&told("RELAY_DATABASE")).await;
        tidegate_runtime::arm_crash_points();
        Running::start(config(&told("RELAY_TOPIC")), &pool).task.await.unwrap();
    }
}

fn relay_process_of(topic: &Topic, database: &Database, failpoints: &str) -> Process {
    let variables =
        [("RELAY_DATABASE", database.url.as_str()), ("RELAY_TOPIC", &topic.name), ("FAILPOINTS", failpoints)];
    Process::start("outbox_crashes::relay_process", &variables)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_was_frozen_and_wakes_up_publishes_nothing_twice() {
    let (topic, database) = (Topic::create(4).await, Database::create(TABLES).await);
    let until = Shutdown::new();
    let frozen = relay_process_of(&topic, &database, "");
    let writers = write(&database.pool, &topic.name, &until);
    eventually("the process publishes", || async { topic.records().await.len() > 50 }).await;
    frozen.freeze();

    let other = Running::start(config(&topic.name), &database.pool);
    other.owns_everything().await;
    let before = topic.records().await.len();
    eventually("the other relay publishes", || async { topic.records().await.len() > before + 50 }).await;
    frozen.thaw();
    // It is back, and finds out by trying: it owns nothing, and its producers are fenced.
    let before = topic.records().await.len();
    eventually("the other relay publishes on", || async { topic.records().await.len() > before + 50 }).await;
    stop_writing(writers, &until).await;
    published_is_committed(&topic, &database.pool).await;
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_process_that_is_killed_loses_nothing() {
    let (topic, database) = (Topic::create(4).await, Database::create(TABLES).await);
    let until = Shutdown::new();
    let writers = write(&database.pool, &topic.name, &until);
    for _ in 0..3 {
        let before = topic.records().await.len();
        let process = relay_process_of(&topic, &database, "");
        eventually("the process publishes", || async { topic.records().await.len() > before + 50 }).await;
        process.kill();
    }
    stop_writing(writers, &until).await;
    let last = Running::start(config(&topic.name), &database.pool);
    published_is_committed(&topic, &database.pool).await;
    last.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_dies_at_any_await_loses_and_repeats_nothing() {
    let (topic, database) = (Topic::create(4).await, Database::create(TABLES).await);
    let until = Shutdown::new();
    let writers = write(&database.pool, &topic.name, &until);
    for point in ["opened", "read", "begun", "queued", "produced", "positioned", "committed", "deleted"] {
        // It opens the outbox once; of the others, after some batches.
        let times = if point == "opened" { 0 } else { 7 };
        relay_process_of(&topic, &database, &format!("outbox::{point}={times}*off->return")).ended().await;
    }
    stop_writing(writers, &until).await;
    let last = Running::start(config(&topic.name), &database.pool);
    published_is_committed(&topic, &database.pool).await;
    last.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_whose_connections_are_cut_in_mid_batch_goes_on() {
    let (topic, database) = (Topic::create(4).await, Database::create(TABLES).await);
    let relays = connect_as(&database.url, "relay").await;
    let relay = Running::start(config(&topic.name), &relays);
    relay.owns_everything().await;
    let until = Shutdown::new();
    let writers = write(&database.pool, &topic.name, &until);
    for round in 0..8_u64 {
        let before = topic.records().await.len();
        eventually("connections are cut", || async { cut(&database.pool, "application_name = 'relay'").await > 0 })
            .await;
        eventually("the relay publishes on", || async { topic.records().await.len() > before + 20 }).await;
        // Another moment of its batches each time.
        tokio::time::sleep(Duration::from_millis(7 * round)).await;
    }
    stop_writing(writers, &until).await;
    published_is_committed(&topic, &database.pool).await;
    relay.stop().await;
}
