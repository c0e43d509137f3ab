//! A topic for one test.

use std::time::{Duration, Instant};

use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication, TopicResult},
    client::DefaultClientContext,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, RDKafkaErrorCode},
};
use serde_json::Value;

use super::{Environment, SOON, eventually};

const PARTITIONS: i32 = 3;

/// A record, its value read as JSON.
#[derive(Clone, Debug)]
pub struct Record {
    pub partition: i32,
    pub key: String,
    pub value: Value,
}

fn client(environment: &Environment) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &environment.bootstrap_servers)
        .set("security.protocol", "SASL_SSL")
        .set("sasl.mechanism", &environment.sasl_mechanism)
        .set("sasl.username", &environment.username)
        .set("sasl.password", &environment.password)
        .set("ssl.ca.location", &environment.ca_file);
    config
}

fn admin(environment: &Environment) -> AdminClient<DefaultClientContext> {
    client(environment).create().unwrap()
}

fn options() -> AdminOptions {
    AdminOptions::new().operation_timeout(Some(SOON)).request_timeout(Some(SOON))
}

pub(super) async fn create_topic(environment: &Environment, name: &str) {
    let topic = NewTopic::new(name, PARTITIONS, TopicReplication::Fixed(1)).set("min.insync.replicas", "1");
    // Nobody else has the name: where it is taken, a request has worked whose answer was lost.
    eventually("the topic is created", async || {
        let created =
            admin(environment).create_topics([&topic], &options()).await.map_err(|error| error.to_string())?;
        is_done(&created, RDKafkaErrorCode::TopicAlreadyExists)
    })
    .await;
}

pub(super) async fn delete_topic(environment: &Environment, name: &str) {
    eventually("the topic is deleted", async || {
        let deleted = admin(environment).delete_topics(&[name], &options()).await.map_err(|error| error.to_string())?;
        is_done(&deleted, RDKafkaErrorCode::UnknownTopicOrPartition)
    })
    .await;
}

/// Whether everything was done, now or by a request before this one, which has its own answer.
fn is_done(results: &[TopicResult], before: RDKafkaErrorCode) -> Result<(), String> {
    let is_done = |result: &TopicResult| result.as_ref().map_or_else(|(_, code)| *code == before, |_| true);
    if results.iter().all(is_done) { Ok(()) } else { Err(format!("{results:?}")) }
}

/// Removes every record, as retention does with old ones.
pub(super) async fn empty(environment: &Environment, name: &str) {
    let mut ends = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        ends.add_partition_offset(name, partition, Offset::End).unwrap();
    }
    admin(environment).delete_records(&ends, &options()).await.unwrap();
}

pub(super) async fn read(environment: &Environment, name: &str, records: usize) -> Vec<Record> {
    let (environment, name) = (environment.clone(), name.to_owned());
    tokio::task::spawn_blocking(move || read_blocking(&environment, &name, records)).await.unwrap()
}

/// Reads until there are as many records as asked for and every partition has been read to its end.
fn read_blocking(environment: &Environment, name: &str, wanted: usize) -> Vec<Record> {
    let consumer: BaseConsumer = client(environment)
        .set("group.id", "wallet-test")
        .set("enable.auto.commit", "false")
        .set("isolation.level", "read_committed")
        .set("enable.partition.eof", "true")
        .create()
        .unwrap();
    let mut assignment = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        assignment.add_partition_offset(name, partition, Offset::Beginning).unwrap();
    }
    consumer.assign(&assignment).unwrap();
    let ends = Instant::now() + SOON;
    let mut records: Vec<Record> = Vec::new();
    let mut at_end = [false; PARTITIONS as usize];
    while records.len() < wanted || at_end.contains(&false) {
        assert!(Instant::now() < ends, "{} of {wanted} records of {name} came in time", records.len());
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => {
                at_end[message.partition() as usize] = false;
                records.push(Record {
                    partition: message.partition(),
                    key: String::from_utf8(message.key().unwrap().to_vec()).unwrap(),
                    value: serde_json::from_slice(message.payload().unwrap()).unwrap(),
                });
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => at_end[partition as usize] = true,
            Some(Err(error)) if Instant::now() >= ends => panic!("reading {name}: {error}"),
            Some(Err(_)) | None => {}
        }
    }
    records
}
