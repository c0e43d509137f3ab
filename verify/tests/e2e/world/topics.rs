//! Kafka as somebody with a command line tool sees it, without Tidegate's own administration code.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions, AlterConfig, NewTopic, ResourceSpecifier, TopicReplication},
    client::DefaultClientContext,
    consumer::{BaseConsumer, Consumer},
    error::KafkaError,
    message::{Headers, Message},
    metadata::Metadata,
    producer::{FutureProducer, FutureRecord},
    topic_partition_list::{Offset, TopicPartitionList},
};
use tidegate_verify::stores::kafka::is_transient;

use super::{SOON, World, ensure, eventually};

const REQUEST: Duration = Duration::from_secs(15);
/// Brokers of the local cluster (deploy/kafka).
const BROKER_COUNT: u16 = 3;
/// Where the first of them is reached from this machine; the others follow (hack/kind.yaml).
const PORT_OF_THE_FIRST: u16 = 30093;

/// A record as a consumer gets it, as text.
#[derive(Debug)]
pub struct Found {
    /// Its key.
    pub key: Option<String>,
    /// Its value.
    pub value: Option<String>,
    /// Its headers; of several of one name, the last.
    pub headers: BTreeMap<String, String>,
    /// Its partition and offset.
    pub place: (i32, i64),
}

impl World {
    fn kafka(&self) -> AdminClient<DefaultClientContext> {
        self.environment.kafka.client_config().create().expect("a Kafka client can be built")
    }

    /// A client's configuration that begins with that broker, and not with whichever is found.
    pub(super) fn at_broker(&self, broker: u16) -> ClientConfig {
        let mut config = self.environment.kafka.client_config();
        config.set("bootstrap.servers", format!("localhost:{}", PORT_OF_THE_FIRST + broker));
        config
    }

    /// What one broker, whichever it is, knows of all topics. It may be a moment behind others.
    fn topics_in_kafka(&self) -> Metadata {
        let consumer: BaseConsumer =
            self.environment.kafka.client_config().create().expect("a Kafka client can be built");
        let mut tried = consumer.fetch_metadata(None, REQUEST);
        for _ in 0..3 {
            tried = tried.or_else(|_| consumer.fetch_metadata(None, REQUEST));
        }
        tried.expect("Kafka lists its topics")
    }

    /// The number of replicas of each of a topic's partitions; none when there is no such topic.
    pub fn partitions_in_kafka(&self, topic: &str) -> Option<Vec<usize>> {
        let metadata = self.topics_in_kafka();
        let found = metadata.topics().iter().find(|found| found.name() == topic)?;
        Some(found.partitions().iter().map(|partition| partition.replicas().len()).collect())
    }

    /// How many partitions each of these topics has at one and the same moment.
    pub fn partition_counts<const N: usize>(&self, topics: [&str; N]) -> [usize; N] {
        let metadata = self.topics_in_kafka();
        let found = |topic| metadata.topics().iter().find(|found| found.name() == topic);
        topics.map(|topic| found(topic).map_or(0, |found| found.partitions().len()))
    }

    /// Waits until Kafka has the topic with so many replicas of each partition. Whoever changed that may have heard of it from another
    /// broker than is asked here.
    pub async fn kafka_has_replicas(&self, topic: &str, wanted: &[usize]) {
        eventually(&format!("topic {topic} has partitions with {wanted:?} replicas"), SOON, async || {
            let found = self.partitions_in_kafka(topic);
            ensure(found.as_deref() == Some(wanted), || format!("{found:?}"))
        })
        .await;
    }

    /// Waits until Kafka says so of a topic's configuration.
    pub async fn kafka_has_config(&self, topic: &str, key: &str, wanted: &str) {
        eventually(&format!("{key} of topic {topic} is {wanted}"), SOON, async || {
            let found = self.config_in_kafka(topic, key).await?;
            ensure(found == wanted, || found)
        })
        .await;
    }

    /// A configuration value of a topic.
    pub async fn config_in_kafka(&self, topic: &str, key: &str) -> Result<String, String> {
        let asked = [ResourceSpecifier::Topic(topic)];
        let answers = self.kafka().describe_configs(&asked, &AdminOptions::new()).await;
        let resource = answers.map_err(|error| error.to_string())?.remove(0).map_err(|error| error.to_string())?;
        resource.get(key).and_then(|entry| entry.value.clone()).ok_or_else(|| format!("{topic} has no {key}"))
    }

    /// Writes a record, once; its partition and offset.
    pub async fn produce(&self, topic: &str, key: &str, value: &[u8]) -> (i32, i64) {
        let mut config = self.environment.kafka.client_config();
        config.set("acks", "all").set("enable.idempotence", "true").set("partitioner", "murmur2_random");
        let producer: FutureProducer = config.create().expect("a Kafka producer can be built");
        let sent = producer.send(FutureRecord::to(topic).key(key).payload(value), REQUEST).await;
        let delivery = sent.unwrap_or_else(|(error, _)| panic!("producing to {topic}: {error}"));
        (delivery.partition, delivery.offset)
    }

    /// Every record that a topic holds now, as a read_committed consumer gets them.
    pub fn records_in_kafka(&self, topic: &str) -> Vec<Found> {
        let mut config = self.environment.kafka.client_config();
        config.set("group.id", self.name("reader")).set("enable.auto.commit", "false");
        config.set("isolation.level", "read_committed").set("enable.partition.eof", "true");
        let consumer: BaseConsumer = config.create().expect("a Kafka consumer can be built");
        let partitions = self.partitions_in_kafka(topic).map_or(0, |found| found.len());
        let mut wanted = TopicPartitionList::new();
        for partition in (0_i32..).take(partitions) {
            wanted.add_partition_offset(topic, partition, Offset::Beginning).expect("an offset can be asked for");
        }
        consumer.assign(&wanted).expect("partitions can be assigned");
        let (mut found, mut ended) = (Vec::new(), BTreeSet::new());
        let begun = Instant::now();
        while ended.len() < partitions {
            assert!(begun.elapsed() < SOON, "reading {topic}: no end within {} s", SOON.as_secs());
            match consumer.poll(Duration::from_millis(200)) {
                Some(Ok(message)) => {
                    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                    let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
                    found.push(Found {
                        key: message.key().map(text),
                        value: message.payload().map(text),
                        headers: headers
                            .map(|header| (header.key.to_owned(), header.value.map(text).unwrap_or_default()))
                            .collect(),
                        place: (message.partition(), message.offset()),
                    });
                }
                // A partition ends again when it has grown meanwhile.
                Some(Err(KafkaError::PartitionEOF(partition))) => drop(ended.insert(partition)),
                Some(Err(error)) => assert!(is_transient(&error), "reading {topic}: {error}"),
                None => {}
            }
        }
        found
    }

    /// Edits a topic behind the operator's back.
    pub async fn edit_topic_by_hand(&self, topic: &str, key: &str, value: &str) {
        let edit = AlterConfig::new(ResourceSpecifier::Topic(topic)).set(key, value);
        let answers = self.kafka().alter_configs([&edit], &AdminOptions::new()).await.expect("Kafka takes the edit");
        answers.into_iter().for_each(|answer| drop(answer.expect("Kafka makes the edit")));
    }

    /// Creates a topic without the operator.
    pub async fn create_topic_by_hand(&self, topic: &str, partitions: i32) {
        let wanted = NewTopic::new(topic, partitions, TopicReplication::Fixed(3));
        let answers = self.kafka().create_topics([&wanted], &AdminOptions::new()).await.expect("Kafka takes the order");
        answers.into_iter().for_each(|answer| drop(answer.expect("Kafka makes the topic")));
        for broker in 0..BROKER_COUNT {
            eventually(&format!("broker {broker} knows topic {topic}"), SOON, async || {
                let consumer: BaseConsumer = self.at_broker(broker).create().map_err(|error| error.to_string())?;
                let metadata = consumer.fetch_metadata(None, REQUEST).map_err(|error| error.to_string())?;
                ensure(metadata.topics().iter().any(|found| found.name() == topic), || "it does not".into())
            })
            .await;
        }
    }

    /// Deletes every topic whose name carries this run's suffix.
    pub async fn delete_own_topics(&self) {
        let consumer: Result<BaseConsumer, _> = self.environment.kafka.client_config().create();
        let Ok(metadata) = consumer.and_then(|consumer| consumer.fetch_metadata(None, REQUEST)) else { return };
        let own: Vec<&str> =
            metadata.topics().iter().map(|topic| topic.name()).filter(|name| name.contains(&self.run)).collect();
        if !own.is_empty()
            && let Err(error) = self.kafka().delete_topics(&own, &AdminOptions::new()).await
        {
            eprintln!("topics {own:?} stay: {error}");
        }
    }
}
