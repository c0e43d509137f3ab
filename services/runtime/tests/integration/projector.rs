//! A projection equals the log: whoever is slow, crashes, comes twice, or believes to own what is not its any more.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use sqlx::{PgConnection, PgPool, postgres::PgTransaction};
use tidegate_runtime::{
    consumer::{
        Consumer, ConsumerConfig, ConsumerError, ConsumerMetrics, GroupProtocol, HandlerError, MemberHealth,
        Projection, Record, Rows,
    },
    shutdown::Shutdown,
    telemetry::Metrics,
};
use tidegate_settings::{
    Consumes, StartAt,
    binding::{KafkaConnection, KafkaSecurity},
};
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::{
    process::{Process, is_part, told},
    support::{DEADLINE, Database, Topic, all_are_done, connect, eventually, kafka, open_transaction, soon},
};

/// Every record as it was applied, in the order in which it was. Nothing stops a record from being in it twice.
pub const TABLES: &str = "CREATE TABLE applied (
    nth bigint GENERATED ALWAYS AS IDENTITY, key text NOT NULL, value text NOT NULL, partition integer NOT NULL, record_offset bigint NOT NULL,
    member text NOT NULL)";

/// What happens when a record of that value comes.
#[derive(Clone)]
pub enum Trap {
    None,
    /// It fails for now, that many times.
    Transient(&'static str, Arc<AtomicU32>),
    /// The handler panics, that many times.
    Panic(&'static str, Arc<AtomicU32>),
    /// It can never be handled.
    Poison(&'static str),
    /// It takes very long, after its rows were written.
    Slow(&'static str, Duration),
}

/// Writes down what it is given.
#[derive(Clone)]
pub struct WriteDown {
    member: String,
    trap: Trap,
    handled: Arc<AtomicI64>,
}

impl WriteDown {
    pub fn new(member: &str, trap: Trap) -> Self {
        Self { member: member.into(), trap, handled: Arc::new(AtomicI64::new(0)) }
    }
}

impl Projection for WriteDown {
    async fn apply(&self, transaction: &mut PgTransaction<'_>, records: &[Record]) -> Result<(), HandlerError> {
        for record in records {
            let key = String::from_utf8(record.key.clone().unwrap()).unwrap();
            let value = String::from_utf8(record.value.clone().unwrap()).unwrap();
            sqlx::query(
                "INSERT INTO applied (key, value, partition, record_offset, member) VALUES ($1, $2, $3, $4, $5)",
            )
            .bind(key)
            .bind(&value)
            .bind(record.partition)
            .bind(record.offset)
            .bind(&self.member)
            .execute(&mut **transaction)
            .await?;
            let once_less =
                |left: &AtomicU32| left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok();
            match &self.trap {
                Trap::Transient(at, left) if value == *at && once_less(left) => {
                    return Err(HandlerError::transient("somebody is away"));
                }
                Trap::Panic(at, left) if value == *at && once_less(left) => panic!("a bug in the handler"),
                Trap::Poison(at) if value == *at => return Err(HandlerError::poison("nobody can read this")),
                Trap::Slow(at, time) if value == *at => tokio::time::sleep(*time).await,
                _ => {}
            }
        }
        self.handled.fetch_add(records.len() as i64, Ordering::SeqCst);
        Ok(())
    }

    async fn clear(&self, connection: &mut PgConnection) -> Result<(), HandlerError> {
        sqlx::query("TRUNCATE applied").execute(connection).await?;
        Ok(())
    }
}

pub struct Member {
    shutdown: Shutdown,
    task: JoinHandle<Result<(), ConsumerError>>,
    health: Arc<MemberHealth>,
    metrics: Metrics,
    handled: Arc<AtomicI64>,
}

pub fn config(topic: &str, group: &str) -> ConsumerConfig {
    let consumes = Consumes { topics: vec![topic.into()], group: group.into(), start_at: None, ordered: None };
    ConsumerConfig { drain: Duration::from_secs(3), ..ConsumerConfig::new("test", &consumes) }
}

impl Member {
    pub fn start(config: ConsumerConfig, pool: &PgPool, member: &str, trap: Trap) -> Self {
        Self::start_at(kafka(), config, pool, member, trap)
    }

    fn start_at(kafka: KafkaConnection, config: ConsumerConfig, pool: &PgPool, member: &str, trap: Trap) -> Self {
        let (metrics, health) = (Metrics::default(), Arc::new(MemberHealth::default()));
        let projection = WriteDown::new(member, trap);
        let handled = Arc::clone(&projection.handled);
        let projector = Consumer {
            config,
            brokers: kafka.into(),
            work: Rows { pool: pool.clone(), projection },
            metrics: ConsumerMetrics::new(&metrics, Arc::clone(&health)),
            health: Arc::clone(&health),
        };
        let shutdown = Shutdown::new();
        let task = tokio::spawn(projector.run(shutdown.clone()));
        Self { shutdown, task, health, metrics, handled }
    }

    /// How it ended by itself.
    pub async fn ended(self) -> Result<(), ConsumerError> {
        self.task.await.unwrap()
    }

    pub async fn stop(self) {
        self.shutdown.begin();
        soon("the member to stop", self.task).await.unwrap().unwrap();
    }

    fn metric(&self, name: &str) -> f64 {
        let text = self.metrics.render();
        let values = text.lines().filter(|line| line.starts_with(name)).filter_map(|line| line.rsplit(' ').next());
        values.filter_map(|value| value.parse::<f64>().ok()).sum()
    }
}

pub fn group() -> String {
    format!("test-{}", Uuid::new_v4().simple())
}

pub async fn applied(pool: &PgPool) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM applied").fetch_one(pool).await.unwrap()
}

/// The log by partition, and what was applied of it by partition, in their orders.
async fn projection_is_log(topic: &Topic, pool: &PgPool) {
    let mut log: BTreeMap<i32, Vec<(i64, String)>> = BTreeMap::new();
    for record in topic.records().await {
        let value = String::from_utf8(record.value.unwrap()).unwrap();
        log.entry(record.partition).or_default().push((record.offset, value));
    }
    let rows: Vec<(i32, i64, String)> =
        sqlx::query_as("SELECT partition, record_offset, value FROM applied ORDER BY nth")
            .fetch_all(pool)
            .await
            .unwrap();
    let mut projection: BTreeMap<i32, Vec<(i64, String)>> = BTreeMap::new();
    for (partition, offset, value) in rows {
        projection.entry(partition).or_default().push((offset, value));
    }
    assert_eq!(projection, log);
}

pub fn numbered(from: u32, to: u32) -> impl Iterator<Item = (String, String)> {
    (from..to).map(|number| (format!("key-{}", number % 17), number.to_string()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_projection_equals_the_log_and_kafka_is_told_how_far_it_is() {
    let (topic, database, group) = (Topic::create(4).await, Database::create(TABLES).await, group());
    topic.produce(numbered(0, 300)).await;
    let member = Member::start(config(&topic.name, &group), &database.pool, "a", Trap::None);
    eventually("everything is applied", || async { applied(&database.pool).await == 300 }).await;
    topic.produce(numbered(300, 400)).await;
    eventually("what came later is applied", || async { applied(&database.pool).await == 400 }).await;
    assert!(member.health.has_joined() && member.health.is_alive());
    eventually("Kafka knows", || async { topic.committed(&group).await.values().sum::<i64>() == 400 }).await;
    // Counted a moment after it can be committed.
    eventually("all are counted", || async { member.metric("tidegate_consumer_records_handled_total") == 400.0 }).await;
    eventually("none is in flight", || async { member.metric("tidegate_consumer_records_in_flight") == 0.0 }).await;
    member.stop().await;
    projection_is_log(&topic, &database.pool).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_come_all_the_time_are_left_to_gather_behind_the_first() {
    let (topic, database, group) = (Topic::create(1).await, Database::create(TABLES).await, group());
    let paced = ConsumerConfig { batch_pace: Duration::from_secs(8), ..config(&topic.name, &group) };
    let member = Member::start(paced, &database.pool, "a", Trap::None);
    // The first is applied without waiting for the others.
    topic.produce(numbered(0, 1)).await;
    eventually("the first is applied", || async { applied(&database.pool).await == 1 }).await;
    topic.produce_one_by_one(numbered(1, 9)).await;
    eventually("all are applied", || async { applied(&database.pool).await == 9 }).await;
    let transactions: i64 =
        sqlx::query_scalar("SELECT count(DISTINCT xmin::text) FROM applied").fetch_one(&database.pool).await.unwrap();
    assert!((2..=4).contains(&transactions), "nine records in {transactions} transactions");
    member.stop().await;
    projection_is_log(&topic, &database.pool).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_start_goes_on_where_the_first_one_ended_whatever_kafka_believes() {
    let (topic, database, group) = (Topic::create(2).await, Database::create(TABLES).await, group());
    topic.produce(numbered(0, 100)).await;
    let first = Member::start(config(&topic.name, &group), &database.pool, "a", Trap::None);
    eventually("everything is applied", || async { applied(&database.pool).await == 100 }).await;
    first.stop().await;
    topic.produce(numbered(100, 150)).await;
    // Another group: to Kafka, everything is new.
    let other = format!("{group}-renamed");
    sqlx::query("UPDATE tidegate.projection_offsets SET consumer_group = $1")
        .bind(&other)
        .execute(&database.pool)
        .await
        .unwrap();
    let second = Member::start(config(&topic.name, &other), &database.pool, "b", Trap::None);
    eventually("the rest is applied", || async { applied(&database.pool).await >= 150 }).await;
    second.stop().await;
    projection_is_log(&topic, &database.pool).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_starts_at_the_latest_sees_what_comes_after_its_first_start() {
    let (topic, database, group) = (Topic::create(2).await, Database::create(TABLES).await, group());
    topic.produce(numbered(0, 20)).await;
    let config = ConsumerConfig { start_at: StartAt::Latest, ..config(&topic.name, &group) };
    let begun = || async {
        sqlx::query_scalar::<_, i64>("SELECT count(*) FROM tidegate.projection_offsets")
            .fetch_one(&database.pool)
            .await
            .unwrap()
            == 2
    };
    let first = Member::start(config.clone(), &database.pool, "a", Trap::None);
    eventually("its beginning is written down", begun).await;
    first.stop().await;
    topic.produce(numbered(20, 30)).await;
    let second = Member::start(config, &database.pool, "b", Trap::None);
    eventually("what came meanwhile is applied", || async { applied(&database.pool).await == 10 }).await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_whose_partition_was_moved_by_another_applies_nothing_twice() {
    let (topic, database, group) = (Topic::create(1).await, Database::create(TABLES).await, group());
    topic.produce(numbered(0, 10)).await;
    let zombie = Member::start(config(&topic.name, &group), &database.pool, "zombie", Trap::None);
    eventually("it is at work", || async { applied(&database.pool).await == 10 }).await;
    // Another owner applies the next five; its transaction holds up the one that believes to own the partition.
    let mut other = open_transaction(&database.pool).await;
    for offset in 10..15_i64 {
        sqlx::query(
            "INSERT INTO applied (key, value, partition, record_offset, member) VALUES ('k', $1, 0, $2, 'other')",
        )
        .bind(offset.to_string())
        .bind(offset)
        .execute(&mut *other)
        .await
        .unwrap();
    }
    sqlx::query("UPDATE tidegate.projection_offsets SET next_offset = 15").execute(&mut *other).await.unwrap();
    // They are in the log first: it never ends before a position that somebody has come to.
    topic.produce(numbered(10, 20)).await;
    other.commit().await.unwrap();
    eventually("the rest is applied", || async { applied(&database.pool).await >= 20 }).await;
    zombie.stop().await;
    projection_is_log(&topic, &database.pool).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_for_now_is_tried_until_it_works_and_nothing_overtakes_it() {
    let (topic, database, group) = (Topic::create(2).await, Database::create(TABLES).await, group());
    topic.produce(numbered(0, 50)).await;
    let (fails, panics) = (Arc::new(AtomicU32::new(3)), Arc::new(AtomicU32::new(2)));
    let member =
        Member::start(config(&topic.name, &group), &database.pool, "a", Trap::Transient("20", Arc::clone(&fails)));
    eventually("everything is applied", || async { applied(&database.pool).await == 50 }).await;
    assert_eq!(member.metric("tidegate_consumer_batch_failures_total"), 3.0);
    member.stop().await;

    topic.produce(numbered(50, 100)).await;
    let member =
        Member::start(config(&topic.name, &group), &database.pool, "b", Trap::Panic("70", Arc::clone(&panics)));
    eventually("everything is applied", || async { applied(&database.pool).await == 100 }).await;
    assert_eq!(member.metric("tidegate_consumer_handler_panics_total"), 2.0);
    member.stop().await;
    projection_is_log(&topic, &database.pool).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn poison_stops_its_partition_at_the_record_and_no_other() {
    let (topic, database, group) = (Topic::create(3).await, Database::create(TABLES).await, group());
    topic.produce(numbered(0, 90)).await;
    let member = Member::start(config(&topic.name, &group), &database.pool, "a", Trap::Poison("30"));
    let records = topic.records().await;
    let poison = records.iter().find(|record| record.value.as_deref() == Some(b"30")).unwrap();
    let fit = records.iter().filter(|r| r.partition != poison.partition || r.offset < poison.offset).count() as i64;
    eventually("all that can be applied is", || async { applied(&database.pool).await == fit }).await;
    eventually("it is shown", || async { member.metric("tidegate_consumer_partitions_stopped") == 1.0 }).await;
    let stands: i64 = sqlx::query_scalar("SELECT next_offset FROM tidegate.projection_offsets WHERE partition = $1")
        .bind(poison.partition)
        .fetch_one(&database.pool)
        .await
        .unwrap();
    assert_eq!(stands, poison.offset);
    assert!(member.health.has_joined() && member.health.is_alive());
    member.stop().await;
    // A version that can read it goes on where the other stood.
    let fixed = Member::start(config(&topic.name, &group), &database.pool, "b", Trap::None);
    eventually("everything is applied", || async { applied(&database.pool).await == 90 }).await;
    fixed.stop().await;
    projection_is_log(&topic, &database.pool).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_was_deleted_and_made_again_stops_the_partition_and_hides_nothing() {
    let (topic, database, group) = (Topic::create(1).await, Database::create(TABLES).await, group());
    topic.produce(numbered(0, 20)).await;
    let first = Member::start(config(&topic.name, &group), &database.pool, "a", Trap::None);
    eventually("everything is applied", || async { applied(&database.pool).await == 20 }).await;
    first.stop().await;
    topic.delete().await;
    topic.make_again().await;
    topic.produce(numbered(0, 5)).await;
    let second = Member::start(config(&topic.name, &group), &database.pool, "b", Trap::None);
    eventually("it stops", || async { second.metric("tidegate_consumer_partitions_stopped") == 1.0 }).await;
    assert_eq!(applied(&database.pool).await, 20);
    second.stop().await;
}

/// Members come and go while records come; of either protocol.
async fn members_share(protocol: GroupProtocol) {
    let (topic, database, group) = (Topic::create(6).await, Database::create(TABLES).await, group());
    let config = ConsumerConfig { protocol, batch_records: 20, ..config(&topic.name, &group) };
    let start = |name: &str| Member::start(config.clone(), &database.pool, name, Trap::None);
    let first = start("first");
    topic.produce(numbered(0, 500)).await;
    eventually("the first is at work", || async { first.handled.load(Ordering::SeqCst) > 0 }).await;
    let second = start("second");
    let (mut number, begun) = (500, Instant::now());
    while second.handled.load(Ordering::SeqCst) < 50 {
        assert!(begun.elapsed() < DEADLINE, "the second was given nothing to do");
        topic.produce(numbered(number, number + 100)).await;
        number += 100;
        // Not as fast as it goes: the machine is to be left for those who are tested.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    first.stop().await;
    topic.produce(numbered(number, number + 300)).await;
    let all = number as usize + 300;
    all_are_done("everything is applied", all, async || (applied(&database.pool).await as usize).min(all)).await;
    second.stop().await;
    projection_is_log(&topic, &database.pool).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn members_of_a_kip_848_group_come_and_go() {
    members_share(GroupProtocol::Consumer).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn members_of_a_classic_group_come_and_go() {
    members_share(GroupProtocol::Classic).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_does_not_finish_in_time_is_left_to_the_next_owner() {
    let (topic, database, group) = (Topic::create(2).await, Database::create(TABLES).await, group());
    topic.produce(numbered(0, 40)).await;
    let slow = Trap::Slow("25", Duration::from_secs(3600));
    let config = ConsumerConfig { drain: Duration::from_secs(1), batch_records: 5, ..config(&topic.name, &group) };
    let first = Member::start(config.clone(), &database.pool, "first", slow);
    eventually("it has done what it can", || async { applied(&database.pool).await >= 20 }).await;
    first.stop().await;
    let second = Member::start(config, &database.pool, "second", Trap::None);
    eventually("everything is applied", || async { applied(&database.pool).await >= 40 }).await;
    second.stop().await;
    projection_is_log(&topic, &database.pool).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_without_partitions_is_ready() {
    let (topic, database, group) = (Topic::create(1).await, Database::create(TABLES).await, group());
    let members = ["a", "b"].map(|name| Member::start(config(&topic.name, &group), &database.pool, name, Trap::None));
    eventually("both have joined", || async { members.iter().all(|member| member.health.has_joined()) }).await;
    for member in members {
        member.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_brokers_a_member_is_alive_and_not_ready_and_stops_when_it_is_told_to() {
    let database = Database::create(TABLES).await;
    let nowhere = KafkaConnection { bootstrap_servers: "127.0.0.1:1".into(), security: KafkaSecurity::Plaintext };
    let member = Member::start_at(nowhere, config("t", "g"), &database.pool, "a", Trap::None);
    // The age grows until the loop turns, so one that is less than the one before tells of a turn.
    let mut before = Duration::ZERO;
    eventually("the loop turns", || {
        let age = member.health.last_poll_age();
        let turned = age < before;
        before = age;
        async move { turned }
    })
    .await;
    assert!(member.health.is_alive() && !member.health.has_joined() && !member.task.is_finished());
    member.stop().await;
}

/// The part of a member in a process of its own, which hangs at a record of which it has written the rows.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "other tests start it as a process"]
async fn member_process() {
    if is_part() {
        let pool = connect(&told("MEMBER_DATABASE")).await;
        let config = short_session(config(&told("MEMBER_TOPIC"), &told("MEMBER_GROUP")));
        let slow = Trap::Slow("60", Duration::from_secs(20));
        Member::start(config, &pool, "process", slow).task.await.unwrap().unwrap();
    }
}

/// Members that are away are missed after six seconds, which only the classic protocol lets a member say.
fn short_session(config: ConsumerConfig) -> ConsumerConfig {
    let session = Some(Duration::from_secs(6));
    ConsumerConfig { protocol: GroupProtocol::Classic, session, batch_records: 10, ..config }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_is_killed_in_a_batch_or_wakes_up_late_loses_and_repeats_nothing() {
    let (topic, database, group) = (Topic::create(3).await, Database::create(TABLES).await, group());
    let variables = [("MEMBER_DATABASE", &*database.url), ("MEMBER_TOPIC", &*topic.name), ("MEMBER_GROUP", &*group)];
    let killed = Process::start("projector::member_process", &variables);
    topic.produce(numbered(0, 100)).await;
    let in_transaction = || async {
        let idle =
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state = 'idle in transaction'
                      AND clock_timestamp() - state_change > interval '500 ms'";
        sqlx::query_scalar::<_, i64>(idle).fetch_one(&database.pool).await.unwrap()
    };
    eventually("the process is in the middle of a batch", || async { in_transaction().await == 1 }).await;
    let before = applied(&database.pool).await;
    killed.kill();
    eventually("its transaction is rolled back", || async { in_transaction().await == 0 }).await;

    // The next one is frozen in the same place, past its session.
    let frozen = Process::start("projector::member_process", &variables);
    eventually("the next process is in the middle of the same batch", || async { in_transaction().await == 1 }).await;
    frozen.freeze();
    assert!((before..100).contains(&applied(&database.pool).await));
    let heir = Member::start(short_session(config(&topic.name, &group)), &database.pool, "heir", Trap::None);
    // Its transaction holds the partition's offset until the server ends it, because nothing happens in it.
    eventually("everything is applied", || async { applied(&database.pool).await >= 100 }).await;
    // It wakes up in the handler, tries to commit, tries again, and finds the offset elsewhere.
    frozen.thaw();
    topic.produce(numbered(100, 130)).await;
    eventually("what came later is applied", || async { applied(&database.pool).await >= 130 }).await;
    heir.stop().await;
    projection_is_log(&topic, &database.pool).await;
}
