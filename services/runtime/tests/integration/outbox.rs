//! Each committed event is published once, and never behind a newer one of its key; whoever crashes, freezes or comes twice.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use sqlx::{Acquire, PgPool, postgres::PgTransaction};
use tidegate_contracts::partition;
use tidegate_runtime::{
    consumer::Record,
    kafka::Brokers,
    outbox::{OutboxEvent, Relay, RelayConfig, RelayHandle, SHARDS, append},
    shutdown::Shutdown,
    telemetry::Metrics,
};
use tokio::task::JoinHandle;

use crate::support::{DEADLINE, Database, Topic, eventually, kafka, open_transaction, soon};

pub const TABLES: &str = "CREATE TABLE counters (key text PRIMARY KEY, value bigint NOT NULL)";

/// A relay whose lease is short, and which is told of news or sweeps once an hour.
pub fn config(topic: &str) -> RelayConfig {
    RelayConfig {
        sweep: Duration::from_secs(3600),
        lease: Duration::from_secs(2),
        ..RelayConfig::new("test", topic, topic)
    }
}

pub struct Running {
    pub handle: RelayHandle,
    pub shutdown: Shutdown,
    pub task: JoinHandle<()>,
}

impl Running {
    pub fn start(config: RelayConfig, pool: &PgPool) -> Self {
        Self::start_by(kafka().into(), config, pool)
    }

    pub fn start_by(brokers: Brokers, config: RelayConfig, pool: &PgPool) -> Self {
        let (handle, relay) = Relay::new(config, brokers, pool.clone(), &Metrics::default());
        let shutdown = Shutdown::new();
        let task = tokio::spawn(relay.run(shutdown.clone()));
        Self { handle, shutdown, task }
    }

    pub async fn owns_everything(&self) {
        eventually("the relay owns all shards", || async {
            let stats = self.handle.stats().await.unwrap();
            self.handle.owned_shards() == i64::from(SHARDS) && stats.connected
        })
        .await;
    }

    pub async fn stop(self) {
        self.shutdown.begin();
        soon("the relay to stop", self.task).await.unwrap();
    }
}

fn event(topic: &str, key: &str, value: i64) -> OutboxEvent {
    OutboxEvent {
        topic: topic.into(),
        key: key.into(),
        headers: vec![("eventType".into(), "Counted".into())],
        payload: value.to_string().into(),
    }
}

/// Counts the key up and says so: as a service writes an aggregate, its lock first.
pub async fn count(transaction: &mut PgTransaction<'_>, topic: &str, key: &str) -> i64 {
    sqlx::query("SELECT pg_advisory_xact_lock(hashtext($1))").bind(key).execute(&mut **transaction).await.unwrap();
    let value: i64 = sqlx::query_scalar(
        "INSERT INTO counters VALUES ($1, 1) ON CONFLICT (key) DO UPDATE SET value = counters.value + 1 RETURNING value",
    )
    .bind(key)
    .fetch_one(&mut **transaction)
    .await
    .unwrap();
    append(&mut *transaction, &[event(topic, key, value)]).await.unwrap();
    value
}

pub async fn count_once(pool: &PgPool, topic: &str, key: &str) {
    let mut transaction = pool.begin().await.unwrap();
    count(&mut transaction, topic, key).await;
    transaction.commit().await.unwrap();
}

/// What is on the topic, by key, in order.
pub fn by_key(records: &[Record]) -> BTreeMap<String, Vec<i64>> {
    let mut keys: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    for record in records {
        let key = String::from_utf8(record.key.clone().unwrap()).unwrap();
        let value = String::from_utf8(record.value.clone().unwrap()).unwrap();
        keys.entry(key).or_default().push(value.parse().unwrap());
    }
    keys
}

/// On the topic is exactly what was committed: of each key 1, 2, 3, ... up to its counter.
pub async fn published_is_committed(topic: &Topic, pool: &PgPool) {
    eventually("the outbox is empty", || async {
        sqlx::query_scalar::<_, i64>("SELECT count(*) FROM tidegate.outbox").fetch_one(pool).await.unwrap() == 0
    })
    .await;
    let counters: Vec<(String, i64)> = sqlx::query_as("SELECT key, value FROM counters").fetch_all(pool).await.unwrap();
    let committed: BTreeMap<_, Vec<_>> =
        counters.into_iter().map(|(key, value)| (key, (1..=value).collect())).collect();
    assert!(!committed.is_empty());
    let all = committed.values().map(Vec::len).sum();
    assert_eq!(by_key(&topic.records_once(|records| records.len() >= all).await), committed);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_published_as_it_was_written_soon_after_its_commit_and_leaves_the_outbox() {
    let (topic, database) = (Topic::create(6).await, Database::create(TABLES).await);
    let relay = Running::start(config(&topic.name), &database.pool);
    relay.owns_everything().await;

    for key in ["alice", "bob", "carol"] {
        count_once(&database.pool, &topic.name, key).await;
    }
    // The sweep is an hour away, and nobody waits for so long: it was told.
    assert!(config(&topic.name).sweep >= DEADLINE * 10);
    published_is_committed(&topic, &database.pool).await;
    for record in topic.records().await {
        let key = record.key.clone().unwrap();
        assert_eq!(record.partition, partition::of_key(&key, 6) as i32, "{}", String::from_utf8_lossy(&key));
        assert_eq!(record.header("eventType"), Some("Counted"));
    }
    let stats = relay.handle.stats().await.unwrap();
    assert_eq!((stats.unprocessed_events, stats.lag_ms), (0, 0));
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_partitions_to_keep_positions_at_nothing_is_published_and_the_relay_says_so() {
    let (topic, database) = (Topic::create(1).await, Database::create(TABLES).await);
    let relay = Running::start(config(&topic.name), &database.pool);
    count_once(&database.pool, &topic.name, "alice").await;
    eventually("the relay has tried", || async { relay.handle.failures() >= u64::from(SHARDS) }).await;
    let stats = relay.handle.stats().await.unwrap();
    assert_eq!((stats.unprocessed_events, stats.connected, stats.is_running), (1, false, true));
    assert_eq!(topic.records().await, []);
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_commit_is_not_skipped_and_nothing_overtakes_it() {
    let (topic, database) = (Topic::create(3).await, Database::create(TABLES).await);
    let relay = Running::start(config(&topic.name), &database.pool);
    relay.owns_everything().await;

    let mut late = open_transaction(&database.pool).await;
    count(&mut late, &topic.name, "late").await;
    for _ in 0..3 {
        count_once(&database.pool, &topic.name, "prompt").await;
    }
    eventually("the events behind the late one are known to wait", || async { relay.handle.held_up_shards() > 0 })
        .await;
    assert_eq!(topic.records().await, []);
    late.commit().await.unwrap();
    published_is_committed(&topic, &database.pool).await;
    assert_eq!(by_key(&topic.records().await).len(), 2);
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_waits_for_somebody_elses_transaction_is_not_forgotten_when_that_ends() {
    let (topic, database) = (Topic::create(3).await, Database::create(TABLES).await);
    let relay = Running::start(config(&topic.name), &database.pool);
    relay.owns_everything().await;
    // The transaction writes no event, so nobody is told of its end; it comes at any moment of the relay's looking.
    for round in 0..60 {
        let mut older = database.pool.begin().await.unwrap();
        sqlx::query("SELECT pg_current_xact_id()").execute(&mut *older).await.unwrap();
        count_once(&database.pool, &topic.name, "alice").await;
        tokio::time::sleep(Duration::from_micros(150 * round)).await;
        older.rollback().await.unwrap();
        eventually("the event is published", || async { relay.handle.stats().await.unwrap().unprocessed_events == 0 })
            .await;
    }
    published_is_committed(&topic, &database.pool).await;
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_rolled_back_is_never_published() {
    let (topic, database) = (Topic::create(3).await, Database::create(TABLES).await);
    let relay = Running::start(config(&topic.name), &database.pool);
    relay.owns_everything().await;
    let mut transaction = database.pool.begin().await.unwrap();
    count(&mut transaction, &topic.name, "never").await;
    transaction.rollback().await.unwrap();
    count_once(&database.pool, &topic.name, "committed").await;
    published_is_committed(&topic, &database.pool).await;
    relay.stop().await;
}

/// Commits under load from several writers, each of which writes all keys, until told to stop.
pub fn write(pool: &PgPool, topic: &str, until: &Shutdown) -> Vec<JoinHandle<u32>> {
    (0..4)
        .map(|writer| {
            let (pool, topic, until) = (pool.clone(), topic.to_owned(), until.clone());
            tokio::spawn(async move {
                let mut commits = 0;
                while !until.has_begun() {
                    let mut connection = pool.acquire().await.unwrap();
                    let mut transaction = connection.begin().await.unwrap();
                    count(&mut transaction, &topic, &format!("key-{}", (commits * 7 + writer) % 12)).await;
                    transaction.commit().await.unwrap();
                    commits += 1;
                    // Not as fast as it goes: the machine is to be left for those who are tested.
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                commits
            })
        })
        .collect()
}

pub async fn stop_writing(writers: Vec<JoinHandle<u32>>, until: &Shutdown) -> u32 {
    until.begin();
    let mut commits = 0;
    for writer in writers {
        commits += soon("a writer to stop", writer).await.unwrap();
    }
    commits
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_database_whose_numbers_start_over_is_published_whole() {
    let topic = Topic::create(3).await;
    // The second database is what a dump read into a younger cluster makes: other events, the same numbers.
    for published in [vec![1, 2], vec![1, 2, 1, 2]] {
        let database = Database::create(TABLES).await;
        let mut transaction = database.pool.begin().await.unwrap();
        count(&mut transaction, &topic.name, "alice").await;
        count(&mut transaction, &topic.name, "alice").await;
        sqlx::query("UPDATE tidegate.outbox SET transaction_id = '3'::xid8").execute(&mut *transaction).await.unwrap();
        transaction.commit().await.unwrap();
        let relay = Running::start(config(&topic.name), &database.pool);
        eventually("the outbox is empty", || async { relay.handle.stats().await.unwrap().unprocessed_events == 0 })
            .await;
        relay.stop().await;
        let records = topic.records_once(|records| records.len() >= published.len()).await;
        assert_eq!(by_key(&records), BTreeMap::from([("alice".to_owned(), published)]));
    }
    let positions = topic.committed(&format!("kafka-publisher.{}", topic.name)).await;
    assert_eq!(positions.into_values().collect::<Vec<_>>(), [4]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_is_counted_exactly_by_the_databases_clock() {
    let (topic, database) = (Topic::create(3).await, Database::create(TABLES).await);
    // Nobody publishes: three are committed, one is not yet, one never.
    let (handle, _relay) = Relay::new(config(&topic.name), kafka().into(), database.pool.clone(), &Metrics::default());
    let stats = handle.stats().await.unwrap();
    assert_eq!((stats.unprocessed_events, stats.lag_ms), (0, 0));
    for key in ["alice", "bob", "carol"] {
        count_once(&database.pool, &topic.name, key).await;
    }
    let mut open = open_transaction(&database.pool).await;
    count(&mut open, &topic.name, "dave").await;
    let mut never = database.pool.begin().await.unwrap();
    count(&mut never, &topic.name, "eve").await;
    never.rollback().await.unwrap();
    let aged = Instant::now();
    sqlx::query("UPDATE tidegate.outbox SET created_at = clock_timestamp() - interval '90 s' WHERE key = 'bob'")
        .execute(&database.pool)
        .await
        .unwrap();
    let stats = handle.stats().await.unwrap();
    let took = aged.elapsed().as_millis() as i64 + 1000;
    assert_eq!(stats.unprocessed_events, 3);
    assert!((90_000..=90_000 + took).contains(&stats.lag_ms), "{} ms", stats.lag_ms);

    // Published, all but what is behind the open transaction, which is nothing of these three: they are older.
    let relay = Running::start(config(&topic.name), &database.pool);
    eventually("the three are published", || async { handle.stats().await.unwrap().unprocessed_events == 0 }).await;
    count_once(&database.pool, &topic.name, "frank").await;
    eventually("one is held up", || async { relay.handle.held_up_shards() == 1 }).await;
    let stats = handle.stats().await.unwrap();
    assert_eq!(stats.unprocessed_events, 1);
    assert!(stats.lag_ms < 60_000, "{} ms", stats.lag_ms);
    open.commit().await.unwrap();
    published_is_committed(&topic, &database.pool).await;
    relay.stop().await;
}
