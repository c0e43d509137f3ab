//! Topics, databases and groups of a test's own, and ways to wait for a condition.

use std::{
    collections::{BTreeSet, HashMap},
    env,
    future::Future,
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication, TopicResult},
    client::DefaultClientContext,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, KafkaResult},
    message::{Header, OwnedHeaders},
    producer::{DeliveryFuture, FutureProducer, FutureRecord},
    types::RDKafkaErrorCode,
};
use sqlx::{Connection, PgConnection, PgPool, postgres::PgTransaction};
use tidegate_runtime::{consumer::Record, database, kafka};
use tidegate_settings::binding::{DatabaseConnection, KafkaConnection, KafkaSecurity, ScramMechanism, Secret};
use tracing_subscriber::EnvFilter;
use uuid::Uuid;

/// The longest that anything here may take.
pub const DEADLINE: Duration = Duration::from_secs(90);

fn variable(name: &str) -> String {
    env::var(name)
        .unwrap_or_else(|_| panic!("{name} is not set; start the local cluster and run: eval \"$(hack/env)\""))
}

/// The local cluster's Kafka, as its administrator.
pub fn kafka() -> KafkaConnection {
    // The log of a test that fails; the first one starts it.
    let _ = tracing_subscriber::fmt().with_env_filter(EnvFilter::from_default_env()).with_test_writer().try_init();
    let mechanism = variable("KAFKA_SASL_MECHANISM");
    KafkaConnection {
        bootstrap_servers: variable("KAFKA_BOOTSTRAP_SERVERS"),
        security: KafkaSecurity::SaslSsl {
            mechanism: ScramMechanism::from_name(&mechanism).unwrap(),
            username: variable("KAFKA_ADMIN_USERNAME"),
            password: Secret::new(variable("KAFKA_ADMIN_PASSWORD")),
            ca_file: Some(variable("KAFKA_CA_FILE").into()),
        },
    }
}

fn client() -> ClientConfig {
    kafka::client(&kafka(), "test")
}

/// A topic's configuration: keys and values.
pub type Configs = &'static [(&'static str, &'static str)];

/// A topic that goes when the test does.
pub struct Topic {
    pub name: String,
    pub partitions: i32,
    configs: Configs,
}

impl Topic {
    pub async fn create(partitions: i32) -> Self {
        Self::create_with(partitions, &[]).await
    }

    /// With configuration of its own.
    pub async fn create_with(partitions: i32, configs: Configs) -> Self {
        let name = format!("test-{}", Uuid::new_v4().simple());
        let topic = Self { name, partitions, configs };
        // Nobody else has that name: where it is taken, a request has worked whose answer was lost.
        topic.make(|made| matches!(made, Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)))).await;
        topic
    }

    /// Makes the topic under its name again, which was deleted. That takes the brokers a moment; until then its name is taken.
    pub async fn make_again(&self) {
        self.make(Result::is_ok).await;
        // A broker that has not heard of it yet has the former one.
        eventually("it is the new one that is read", || async { self.records().await.is_empty() }).await;
    }

    async fn make(&self, is_made: impl Fn(&TopicResult) -> bool) {
        let admin: AdminClient<DefaultClientContext> = client().create().unwrap();
        let replicas = TopicReplication::Fixed(3);
        let new = NewTopic::new(&self.name, self.partitions, replicas).set("min.insync.replicas", "2");
        let new = self.configs.iter().fold(new, |new, (name, value)| new.set(name, value));
        eventually("the topic is created", || async {
            admin.create_topics([&new], &AdminOptions::new()).await.is_ok_and(|made| is_made(&made[0]))
        })
        .await;
        eventually("all brokers know the topic", || async {
            let probe: BaseConsumer = client().create().unwrap();
            let (name, partitions) = (self.name.clone(), self.partitions);
            let known = tokio::task::spawn_blocking(move || {
                (0..partitions)
                    .all(|partition| probe.fetch_watermarks(&name, partition, Duration::from_secs(5)).is_ok())
            });
            known.await.unwrap()
        })
        .await;
    }

    pub async fn delete(&self) {
        let admin: AdminClient<DefaultClientContext> = client().create().unwrap();
        admin.delete_topics(&[&self.name], &AdminOptions::new()).await.unwrap();
    }

    /// Every record that a reader of committed records sees now, in the order of its partition.
    pub async fn records(&self) -> Vec<Record> {
        let (name, partitions) = (self.name.clone(), self.partitions);
        tokio::task::spawn_blocking(move || read(&name, partitions)).await.unwrap()
    }

    /// Its records once they are enough: the parts of a transaction can be read one by one after its commit was answered. What is not
    /// there at the deadline is left to the caller to miss.
    pub async fn records_once(&self, enough: impl Fn(&[Record]) -> bool) -> Vec<Record> {
        let begun = Instant::now();
        loop {
            let records = self.records().await;
            if enough(&records) || begun.elapsed() > DEADLINE {
                return records;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Writes records with those keys and values, each into its key's partition.
    pub async fn produce(&self, records: impl IntoIterator<Item = (String, String)>) {
        let producer: FutureProducer = kafka::producer(&kafka(), "test").create().unwrap();
        let sent: Vec<_> = records.into_iter().map(|record| self.send(&producer, record)).collect();
        for delivery in sent {
            delivery.await.unwrap().unwrap();
        }
    }

    /// The same, each when the one before it is in the log.
    pub async fn produce_one_by_one(&self, records: impl IntoIterator<Item = (String, String)>) {
        let producer: FutureProducer = kafka::producer(&kafka(), "test").create().unwrap();
        for record in records {
            self.send(&producer, record).await.unwrap().unwrap();
        }
    }

    fn send(&self, producer: &FutureProducer, (key, value): (String, String)) -> DeliveryFuture {
        producer.send_result(FutureRecord::to(&self.name).key(&key).payload(&value)).unwrap()
    }

    /// Writes that record, key, value and headers as they are, into that partition.
    pub async fn write(&self, partition: i32, record: &Record) {
        let producer: FutureProducer = kafka::producer(&kafka(), "test").create().unwrap();
        let headers = record
            .headers
            .iter()
            .fold(OwnedHeaders::new(), |all, (key, value)| all.insert(Header { key, value: value.as_deref() }));
        let mut sent: FutureRecord<'_, [u8], [u8]> = FutureRecord::to(&self.name).partition(partition).headers(headers);
        (sent.key, sent.payload) = (record.key.as_deref(), record.value.as_deref());
        producer.send_result(sent).unwrap().await.unwrap().unwrap();
    }

    /// What a group has committed, by partition; what is committed in a transaction, once that is over.
    pub async fn committed(&self, group: &str) -> HashMap<i32, i64> {
        let (name, partitions, group) = (self.name.clone(), self.partitions, group.to_owned());
        tokio::task::spawn_blocking(move || {
            let reader: BaseConsumer = client().set("group.id", group).create().unwrap();
            let mut list = TopicPartitionList::new();
            list.add_partition_range(&name, 0, partitions - 1);
            let answered = answered(|| {
                let offsets = reader.committed_offsets(list.clone(), Duration::from_secs(10))?;
                offsets.elements().into_iter().try_for_each(|element| element.error())?;
                Ok(offsets)
            });
            let offset = |offset| if let Offset::Offset(offset) = offset { Some(offset) } else { None };
            answered.elements().iter().filter_map(|e| Some((e.partition(), offset(e.offset())?))).collect()
        })
        .await
        .unwrap()
    }
}

impl Drop for Topic {
    fn drop(&mut self) {
        let name = self.name.clone();
        let cleaning = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let admin: AdminClient<DefaultClientContext> = client().create().unwrap();
                let _ = admin.delete_topics(&[&name], &AdminOptions::new()).await;
            });
        });
        let _ = cleaning.join();
    }
}

/// What librdkafka answers, asked again while it does not: a coordinator loads, a leader moves, a transaction's outcome is being written.
fn answered<T>(mut ask: impl FnMut() -> KafkaResult<T>) -> T {
    let begun = Instant::now();
    loop {
        match ask() {
            Ok(answer) => return answer,
            Err(error) => assert!(begun.elapsed() < DEADLINE, "asked for {} s, and still: {error}", DEADLINE.as_secs()),
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn read(topic: &str, partitions: i32) -> Vec<Record> {
    let consumer: BaseConsumer = client()
        .set("group.id", "test-reader")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("isolation.level", "read_committed")
        .create()
        .unwrap();
    let mut list = TopicPartitionList::new();
    list.add_partition_range(topic, 0, partitions - 1);
    list.set_all_offsets(Offset::Beginning).unwrap();
    consumer.assign(&list).unwrap();
    // To the ends as they are now: somebody may be writing faster than this reads.
    let watermarks = |partition| consumer.fetch_watermarks(topic, partition, Duration::from_secs(10));
    let ends: Vec<i64> = (0..partitions).map(|partition| answered(|| watermarks(partition)).1).collect();
    let mut records = Vec::new();
    let mut open: BTreeSet<i32> = (0..partitions).collect();
    let (begun, mut trouble) = (Instant::now(), None);
    while !open.is_empty() {
        assert!(begun.elapsed() < DEADLINE, "the topic could not be read to its end; the last error: {trouble:?}");
        match consumer.poll(Duration::from_millis(500)) {
            Some(Ok(message)) => {
                let record = Record::from_message(&message);
                if record.offset + 1 >= ends[record.partition as usize] {
                    open.remove(&record.partition);
                }
                records.push(record);
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => drop(open.remove(&partition)),
            // A broker that is restarted under the reader: librdkafka reconnects, the deadline decides.
            Some(Err(error)) => trouble = Some(error),
            None => {}
        }
    }
    records
}

/// A database that goes when the test does.
pub struct Database {
    pub pool: PgPool,
    pub url: String,
    name: String,
}

impl Database {
    /// With the runtime's tables, and those of the statement.
    pub async fn create(tables: &'static str) -> Self {
        let admin = variable("DATABASE_ADMIN_URL");
        let name = format!("test_{}", Uuid::new_v4().simple());
        let mut connection = PgConnection::connect(&admin).await.unwrap();
        sqlx::query(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&mut connection).await.unwrap();
        let url = admin.replacen("/postgres?", &format!("/{name}?"), 1);
        let pool = connect(&url).await;
        database::migrate_runtime(&pool).await.unwrap();
        sqlx::raw_sql(tables).execute(&pool).await.unwrap();
        Self { pool, url, name }
    }
}

/// A transaction of the test's own, open for as long as the test wants. The server ends others in which nothing happens for 30 s.
pub async fn open_transaction(pool: &PgPool) -> PgTransaction<'static> {
    pool.begin_with("BEGIN; SET LOCAL idle_in_transaction_session_timeout = 0").await.unwrap()
}

/// A pool of the database at that address.
pub async fn connect(url: &str) -> PgPool {
    connect_as(url, "test").await
}

/// A pool under that name, as the server knows it.
pub async fn connect_as(url: &str, application: &str) -> PgPool {
    let connection = DatabaseConnection { uri: Secret::new(url), ca_file: None };
    database::pool()
        .max_connections(16)
        .connect_with(database::options(&connection, application).unwrap())
        .await
        .unwrap()
}

impl Drop for Database {
    fn drop(&mut self) {
        let name = self.name.clone();
        let cleaning = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let mut connection = PgConnection::connect(&variable("DATABASE_ADMIN_URL")).await.unwrap();
                let drop = sqlx::AssertSqlSafe(format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"));
                let _ = sqlx::query(drop).execute(&mut connection).await;
            });
        });
        let _ = cleaning.join();
    }
}

/// Waits until it holds.
pub async fn eventually<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let begun = Instant::now();
    while !holds().await {
        assert!(begun.elapsed() < DEADLINE, "waited {} s, and still not: {what}", DEADLINE.as_secs());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Waits until so many are done, for as long as there are more of them from time to time.
pub async fn all_are_done(what: &str, all: usize, mut done: impl AsyncFnMut() -> usize) {
    let (mut progress, mut before) = (Instant::now(), 0);
    loop {
        let now = done().await;
        if now == all {
            return;
        }
        if now > before {
            (progress, before) = (Instant::now(), now);
        }
        assert!(progress.elapsed() < DEADLINE, "{now} of {all}, and for {} s no more: {what}", DEADLINE.as_secs());
        // Rarely: whoever counts reads whole topics, and the machine is to be left for those who are tested.
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Polls the future to its end, which must not be far.
pub async fn soon<F: Future>(what: &str, future: F) -> F::Output {
    match tokio::time::timeout(DEADLINE, future).await {
        Ok(output) => output,
        Err(_) => panic!("waited {} s for: {what}", DEADLINE.as_secs()),
    }
}
