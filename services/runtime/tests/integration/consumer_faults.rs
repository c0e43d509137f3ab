//! Processes that die at an await, are frozen past their session, and wake up: in each of the ways to work on records, nothing is lost,
//! the order of a key holds, and what is to happen once happens once.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use sqlx::{PgConnection, PgPool, postgres::PgTransaction};
use tidegate_contracts::headers;
use tidegate_runtime::{
    consumer::{
        BatchHandler, Consumer, ConsumerConfig, ConsumerError, ConsumerMetrics, Each, GroupProtocol, Handler,
        HandlerError, MemberHealth, Outgoing, Projection, Record, Records, Rows, Together, Transform,
    },
    shutdown::Shutdown,
    telemetry::Metrics,
};
use tokio::task::JoinHandle;

use crate::{
    process::{Process, is_part, told},
    stream::{Stream, config, numbered},
    support::{Database, Topic, all_are_done, connect, eventually, kafka, soon},
};

/// Every try with its end, and every row of a projection, in the order in which they were.
const TABLES: &str = "
    CREATE TABLE tries (
        nth bigint GENERATED ALWAYS AS IDENTITY, member text NOT NULL, key text NOT NULL, value bigint NOT NULL, record_offset bigint NOT NULL,
        worked boolean NOT NULL);
    CREATE TABLE applied (
        nth bigint GENERATED ALWAYS AS IDENTITY, key text NOT NULL, value bigint NOT NULL, record_offset bigint NOT NULL)";

/// Of the records, every fifth fails twice and every eleventh can never be handled. All tries are written down where a crash does not
/// reach them.
#[derive(Clone)]
struct Work {
    member: String,
    pool: PgPool,
    out: String,
    /// At that value it takes long on purpose: it is to be frozen while it works.
    slow: Option<i64>,
}

struct Read {
    key: String,
    value: i64,
}

fn read(record: &Record) -> Read {
    let text = |bytes: &Option<Vec<u8>>| String::from_utf8(bytes.clone().unwrap()).unwrap();
    Read { key: text(&record.key), value: text(&record.value).parse().unwrap() }
}

impl Work {
    async fn attempt(&self, record: &Record) -> Result<Read, HandlerError> {
        let read = read(record);
        let came: i64 = sqlx::query_scalar("SELECT count(*) FROM tries WHERE value = $1")
            .bind(read.value)
            .fetch_one(&self.pool)
            .await?;
        let failed = if read.value % 11 == 7 {
            Some(HandlerError::poison("nobody can read this"))
        } else if read.value % 5 == 3 && came < 2 {
            Some(HandlerError::retry("not yet"))
        } else {
            None
        };
        if self.slow == Some(read.value) && came == 0 {
            tokio::time::sleep(Duration::from_secs(10)).await;
        }
        sqlx::query("INSERT INTO tries (member, key, value, record_offset, worked) VALUES ($1, $2, $3, $4, $5)")
            .bind(&self.member)
            .bind(&read.key)
            .bind(read.value)
            .bind(record.offset)
            .bind(failed.is_none())
            .execute(&self.pool)
            .await?;
        failed.map_or(Ok(read), Err)
    }
}

impl Handler for Work {
    async fn handle(&self, record: &Record) -> Result<(), HandlerError> {
        self.attempt(record).await.map(drop)
    }
}

impl BatchHandler for Work {
    async fn handle(&self, records: &[Record]) -> Result<(), HandlerError> {
        for record in records {
            self.attempt(record).await?;
        }
        Ok(())
    }
}

impl Projection for Work {
    async fn apply(&self, transaction: &mut PgTransaction<'_>, records: &[Record]) -> Result<(), HandlerError> {
        for record in records {
            let read = self.attempt(record).await?;
            sqlx::query("INSERT INTO applied (key, value, record_offset) VALUES ($1, $2, $3)")
                .bind(read.key)
                .bind(read.value)
                .bind(record.offset)
                .execute(&mut **transaction)
                .await?;
        }
        Ok(())
    }

    async fn clear(&self, connection: &mut PgConnection) -> Result<(), HandlerError> {
        sqlx::query("TRUNCATE applied").execute(connection).await?;
        Ok(())
    }
}

impl Transform for Work {
    async fn transform(&self, records: &[Record]) -> Result<Vec<Outgoing>, HandlerError> {
        let mut written = Vec::new();
        for record in records {
            self.attempt(record).await?;
            written.push(Outgoing {
                topic: self.out.clone(),
                partition: Some(0),
                key: record.key.clone(),
                value: record.value.clone(),
                headers: Vec::new(),
            });
        }
        Ok(written)
    }
}

/// A way to work on records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Each,
    Together,
    Rows,
    Records,
}

impl Way {
    fn of(name: &str) -> Self {
        match name {
            "Each" => Self::Each,
            "Together" => Self::Together,
            "Rows" => Self::Rows,
            "Records" => Self::Records,
            other => panic!("{other} is no way"),
        }
    }
}

struct Member {
    shutdown: Shutdown,
    task: JoinHandle<Result<(), ConsumerError>>,
    metrics: Metrics,
}

impl Member {
    fn start(way: Way, config: ConsumerConfig, work: Work) -> Self {
        let (metrics, health) = (Metrics::default(), Arc::new(MemberHealth::default()));
        let shutdown = Shutdown::new();
        let (counters, brokers) = (ConsumerMetrics::new(&metrics, Arc::clone(&health)), kafka().into());
        let token = shutdown.clone();
        let task = match way {
            Way::Each => {
                tokio::spawn(Consumer { config, brokers, work: Each(work), metrics: counters, health }.run(token))
            }
            Way::Together => {
                tokio::spawn(Consumer { config, brokers, work: Together(work), metrics: counters, health }.run(token))
            }
            Way::Rows => {
                let work = Rows { pool: work.pool.clone(), projection: work };
                tokio::spawn(Consumer { config, brokers, work, metrics: counters, health }.run(token))
            }
            Way::Records => {
                tokio::spawn(Consumer { config, brokers, work: Records(work), metrics: counters, health }.run(token))
            }
        };
        Self { shutdown, task, metrics }
    }

    async fn stop(self) {
        self.shutdown.begin();
        soon("the member to stop", self.task).await.unwrap().unwrap();
    }
}

/// The part of a member in a process of its own.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "other tests start it as a process"]
async fn member_process() {
    if is_part() {
        tidegate_runtime::arm_crash_points();
        let config = config(&told("GROUP"), &told("SOURCE"), &told("RETRY"), &told("DEAD"));
        let config = short_session(ConsumerConfig { batch_records: 7, ..config });
        let work = Work {
            member: "process".into(),
            pool: connect(&told("DATABASE")).await,
            out: told("OUT"),
            slow: told("SLOW").parse().ok(),
        };
        Member::start(Way::of(&told("WAY")), config, work).task.await.unwrap().unwrap();
    }
}

/// Members that are away are missed after six seconds, which only the classic protocol lets a member say.
fn short_session(config: ConsumerConfig) -> ConsumerConfig {
    ConsumerConfig { protocol: GroupProtocol::Classic, session: Some(Duration::from_secs(6)), ..config }
}

struct Place {
    stream: Stream,
    out: Topic,
    database: Database,
    way: Way,
}

impl Place {
    async fn create(way: Way) -> Self {
        let (stream, out, database) = tokio::join!(Stream::create(1), Topic::create(1), Database::create(TABLES));
        Self { stream, out, database, way }
    }

    fn process(&self, failpoints: &str, slow: &str) -> Process {
        let way = format!("{:?}", self.way);
        let Stream { source, retry, dead, group } = &self.stream;
        let variables = [
            ("GROUP", group.as_str()),
            ("SOURCE", &source.name),
            ("RETRY", &retry.name),
            ("DEAD", &dead.name),
            ("OUT", &self.out.name),
            ("DATABASE", &self.database.url),
            ("WAY", &way),
            ("FAILPOINTS", failpoints),
            ("SLOW", slow),
        ];
        Process::start("consumer_faults::member_process", &variables)
    }

    fn work(&self, member: &str) -> Work {
        Work { member: member.into(), pool: self.database.pool.clone(), out: self.out.name.clone(), slow: None }
    }

    fn member(&self, config: ConsumerConfig) -> Member {
        Member::start(self.way, config, self.work("heir"))
    }

    async fn tries(&self) -> i64 {
        sqlx::query_scalar("SELECT count(*) FROM tries").fetch_one(&self.database.pool).await.unwrap()
    }

    /// What took effect, in its order: key and offset.
    async fn effects(&self) -> Vec<(String, i64)> {
        let query = match self.way {
            Way::Each | Way::Together => "SELECT key, record_offset FROM tries WHERE worked ORDER BY nth",
            Way::Rows => "SELECT key, record_offset FROM applied ORDER BY nth",
            Way::Records => {
                let source = self.stream.source.records().await;
                let offsets: BTreeMap<_, _> =
                    source.iter().map(|record| (record.value.clone(), record.offset)).collect();
                let out = self.out.records().await;
                return out.iter().map(|record| (read(record).key, offsets[&record.value])).collect();
            }
        };
        sqlx::query_as(query).fetch_all(&self.database.pool).await.unwrap()
    }

    /// Everybody who asks gets on with it: dead letters are given up as they come, until all has ended.
    async fn all_ends(&self, records: i64) {
        let mut skipped = BTreeSet::new();
        all_are_done("records that took effect or are dead", records as usize, async || {
            for record in &self.stream.dead.records().await {
                if skipped.insert(record.header(headers::ORIGIN_OFFSET).unwrap().to_owned()) {
                    self.stream.say("skip", record).await;
                }
            }
            let effects: BTreeSet<i64> = self.effects().await.iter().map(|(_, offset)| *offset).collect();
            effects.len() + skipped.len()
        })
        .await;
    }

    /// Accepted is handled and dead, each in its order, and once where that is promised.
    async fn holds(&self) {
        let effects = self.effects().await;
        let mut last: BTreeMap<&str, i64> = BTreeMap::new();
        let mut seen = BTreeSet::new();
        for (key, offset) in &effects {
            if seen.insert(*offset) {
                let before = last.insert(key, *offset);
                assert!(before.is_none_or(|before| before < *offset), "{key}: {offset} after {before:?}: {effects:?}");
            } else {
                assert!(matches!(self.way, Way::Each | Way::Together), "{offset} took effect twice: {effects:?}");
            }
        }
        let dead: BTreeSet<i64> = (self.stream.dead.records().await.iter())
            .map(|record| record.header(headers::ORIGIN_OFFSET).unwrap().parse().unwrap())
            .collect();
        let all: BTreeSet<i64> = self.stream.source.records().await.iter().map(|record| record.offset).collect();
        assert!(seen.is_disjoint(&dead), "handled and dead: {:?}", seen.intersection(&dead));
        assert_eq!(seen.union(&dead).copied().collect::<BTreeSet<_>>(), all);
    }

    fn config(&self) -> ConsumerConfig {
        short_session(ConsumerConfig { batch_records: 7, ..self.stream.config() })
    }
}

/// A process dies at that place, when it comes there for the n-th time; then another takes over.
async fn dies_at(way: Way, points: &[(&str, u32)]) {
    let place = Place::create(way).await;
    let mut records = 0;
    for (point, times) in points {
        place.stream.source.produce(numbered(records, records + 20, 5)).await;
        records += 20;
        let process = place.process(&format!("{point}={times}*off->return"), "");
        process.ended().await;
    }
    assert!(place.tries().await > 0, "nothing was tried before the crash");
    let heir = place.member(place.config());
    place.all_ends(i64::from(records)).await;
    heir.stop().await;
    place.holds().await;
    // Nothing comes again to the next one, either.
    let tries = place.tries().await;
    let next = place.member(place.config());
    place.stream.source.produce([("new".to_owned(), "1000001".to_owned())]).await;
    place.all_ends(i64::from(records) + 1).await;
    assert_eq!(place.tries().await, tries + 1, "what had been finished came again");
    eventually("nothing waits", || async { metric(&next.metrics, "tidegate_consumer_records_waiting") == 0.0 }).await;
    next.stop().await;
}

fn metric(metrics: &Metrics, name: &str) -> f64 {
    let text = metrics.render();
    let values = text.lines().filter(|line| line.starts_with(name)).filter_map(|line| line.rsplit(' ').next());
    values.filter_map(|value| value.parse::<f64>().ok()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_dies_while_it_takes_handles_and_parks() {
    let points = [("consumer::settled", 5), ("consumer::produced", 0), ("consumer::transacted", 1)];
    dies_at(Way::Each, &points).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_handler_dies_while_it_takes_handles_and_parks() {
    let points =
        [("consumer::taken", 1), ("consumer::applied", 2), ("consumer::produced", 1), ("consumer::written", 1)];
    dies_at(Way::Together, &points).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_projection_dies_while_it_applies_and_parks_and_each_record_is_applied_once() {
    let points =
        [("consumer::projected", 1), ("consumer::applied", 2), ("consumer::offsets_sent", 0), ("consumer::written", 3)];
    dies_at(Way::Rows, &points).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transform_dies_in_its_transaction_and_each_record_is_made_once() {
    let points = [("consumer::offsets_sent", 1), ("consumer::transacted", 2), ("consumer::written", 1)];
    dies_at(Way::Records, &points).await;
}

/// A process is frozen at work, past its session; another takes over; it wakes up.
async fn wakes_up_late(way: Way) {
    let place = Place::create(way).await;
    let frozen = place.process("", "14");
    place.stream.source.produce(numbered(0, 30, 5)).await;
    eventually("the process is at work", || async { place.tries().await > 5 }).await;
    frozen.freeze();
    let heir = place.member(place.config());
    place.stream.source.produce(numbered(30, 45, 5)).await;
    place.all_ends(45).await;
    let dead = place.stream.dead.records().await.len();
    let tries = place.tries().await;
    frozen.thaw();
    place.stream.source.produce(numbered(45, 60, 5)).await;
    place.all_ends(60).await;
    eventually("the one that woke up is at work, or gone", || async {
        let by = "SELECT count(*) FROM tries WHERE nth > $1 AND member = 'process'";
        let woke: i64 = sqlx::query_scalar(by).bind(tries).fetch_one(&place.database.pool).await.unwrap();
        woke > 0 || way == Way::Rows
    })
    .await;
    place.holds().await;
    assert!(dead > 0);
    frozen.kill();
    heir.stop().await;
    // Neither the offsets nor what is finished in the retry topic went back.
    let tries = place.tries().await;
    let next = place.member(place.config());
    place.stream.source.produce([("new".to_owned(), "1000001".to_owned())]).await;
    place.all_ends(61).await;
    assert_eq!(place.tries().await, tries + 1, "what had been finished came again");
    next.stop().await;
    place.holds().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_that_wakes_up_late_does_no_harm() {
    wakes_up_late(Way::Each).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_projection_that_wakes_up_late_does_no_harm() {
    wakes_up_late(Way::Rows).await;
}
