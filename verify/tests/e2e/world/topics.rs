//! Kafka as somebody with a command line tool sees it, without Tidegate's own administration code.

use std::time::Duration;

use rdkafka::{
    admin::{AdminClient, AdminOptions, AlterConfig, NewTopic, ResourceSpecifier, TopicReplication},
    client::DefaultClientContext,
    consumer::{BaseConsumer, Consumer},
};

use super::{SOON, World, ensure, eventually};

const REQUEST: Duration = Duration::from_secs(15);

impl World {
    fn kafka(&self) -> AdminClient<DefaultClientContext> {
        self.environment.kafka.client_config().create().expect("a Kafka client can be built")
    }

    /// Partition ids to replica counts of a topic; none when there is no such topic.
    pub fn partitions_in_kafka(&self, topic: &str) -> Option<Vec<usize>> {
        let consumer: BaseConsumer =
            self.environment.kafka.client_config().create().expect("a Kafka client can be built");
        let metadata = consumer.fetch_metadata(None, REQUEST).expect("Kafka lists its topics");
        let found = metadata.topics().iter().find(|found| found.name() == topic)?;
        Some(found.partitions().iter().map(|partition| partition.replicas().len()).collect())
    }

    /// Waits until Kafka has the topic with so many partitions.
    pub async fn kafka_has_partitions(&self, topic: &str, count: usize) {
        eventually(&format!("topic {topic} has {count} partitions"), SOON, async || {
            let found = self.partitions_in_kafka(topic);
            ensure(found.as_ref().is_some_and(|partitions| partitions.len() == count), || format!("{found:?}"))
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
