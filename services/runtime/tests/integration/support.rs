//! Topics, databases and groups of a test's own, and ways to wait for a condition.

use std::{
    collections::{BTreeSet, HashMap},
    env,
    future::Future,
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, AlterConfig, NewTopic, ResourceSpecifier, TopicReplication},
    client::DefaultClientContext,
    consumer::{BaseConsumer, Consumer},
    message::{Header, OwnedHeaders},
    producer::{FutureProducer, FutureRecord},
};
use sqlx::{Connection, PgConnection, PgPool};
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

/// A topic that goes when the test does.
pub struct Topic {
    pub name: String,
    pub partitions: i32,
    configs: Vec<(&'static str, &'static str)>,
}

impl Topic {
    pub async fn create(partitions: i32) -> Self {
        Self::create_with(partitions, &[]).await
    }

    /// With configuration of its own.
    pub async fn create_with(partitions: i32, configs: &[(&'static str, &'static str)]) -> Self {
        let name = format!("test-{}", Uuid::new_v4().simple());
        let topic = Self { name, partitions, configs: configs.to_vec() };
        topic.make().await;
        topic
    }

    /// Makes the topic under its name, again if it was deleted.
    pub async fn make(&self) {
        let admin: AdminClient<DefaultClientContext> = client().create().unwrap();
        let replicas = TopicReplication::Fixed(3);
        let new = NewTopic::new(&self.name, self.partitions, replicas).set("min.insync.replicas", "2");
        let new = self.configs.iter().fold(new, |new, (name, value)| new.set(name, value));
        // Deleting a topic takes the brokers a moment; until then its name is taken.
        eventually("the topic is created", || async {
            let made = admin.create_topics([&new], &AdminOptions::new()).await.unwrap();
            made[0].is_ok()
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

    /// Writes records with those keys and values, each into its key's partition.
    pub async fn produce(&self, records: impl IntoIterator<Item = (String, String)>) {
        let producer: FutureProducer = kafka::producer(&kafka(), "test").create().unwrap();
        let mut sent = Vec::new();
        for (key, value) in records {
            sent.push(producer.send_result(FutureRecord::to(&self.name).key(&key).payload(&value)).unwrap());
        }
        for delivery in sent {
            delivery.await.unwrap().unwrap();
        }
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

    /// Lets it take batches of that many bytes.
    pub async fn allow(&self, bytes: usize) {
        let admin: AdminClient<DefaultClientContext> = client().create().unwrap();
        let bytes = bytes.to_string();
        let alter = AlterConfig::new(ResourceSpecifier::Topic(&self.name))
            .set("max.message.bytes", &bytes)
            .set("min.insync.replicas", "2");
        admin.alter_configs([&alter], &AdminOptions::new()).await.unwrap()[0].as_ref().unwrap();
    }

    /// What a group has committed, by partition.
    pub async fn committed(&self, group: &str) -> HashMap<i32, i64> {
        let (name, partitions, group) = (self.name.clone(), self.partitions, group.to_owned());
        tokio::task::spawn_blocking(move || {
            let reader: BaseConsumer = client().set("group.id", group).create().unwrap();
            let mut list = TopicPartitionList::new();
            list.add_partition_range(&name, 0, partitions - 1);
            let answered = reader.committed_offsets(list, Duration::from_secs(10)).unwrap();
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
    let watermarks = |partition| consumer.fetch_watermarks(topic, partition, Duration::from_secs(10)).unwrap();
    let ends: Vec<i64> = (0..partitions).map(|partition| watermarks(partition).1).collect();
    let mut records = Vec::new();
    let mut open: BTreeSet<i32> = (0..partitions).collect();
    let begun = Instant::now();
    while !open.is_empty() {
        assert!(begun.elapsed() < DEADLINE, "the topic could not be read to its end");
        match consumer.poll(Duration::from_millis(500)) {
            Some(Ok(message)) => {
                let record = Record::from_message(&message);
                if record.offset + 1 >= ends[record.partition as usize] {
                    open.remove(&record.partition);
                }
                records.push(record);
            }
            Some(Err(rdkafka::error::KafkaError::PartitionEOF(partition))) => drop(open.remove(&partition)),
            Some(Err(error)) => panic!("{error}"),
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
