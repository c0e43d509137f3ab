//! Kafka as one of its users sees it: what a client gets that has a processor's Secret and no other.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, RDKafkaErrorCode},
    producer::{FutureProducer, FutureRecord, Producer},
    topic_partition_list::{Offset, TopicPartitionList},
};
use serde_json::json;
use tidegate_kafka::{Acl, AclFilter, KafkaAdmin, Krafka};
use tidegate_settings::binding::Secret as Password;
use tidegate_verify::stores::kafka::is_transient;
use uuid::Uuid;

use super::{SOON, World, ensure, eventually, requests::edit};

const REQUEST: Duration = Duration::from_secs(15);
/// How long an answer is waited for that is not to come.
const REFUSAL: Duration = Duration::from_secs(5);

/// What became of something that was tried.
pub type Tried = Result<(), RDKafkaErrorCode>;

/// Somebody who has a Secret.
pub struct Client {
    /// Its name in Kafka.
    pub username: String,
    config: ClientConfig,
}

fn tried<T>(outcome: Result<T, KafkaError>) -> Tried {
    outcome.map(drop).map_err(|error| error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown))
}

/// What a consumer is told first, be it a record, the end of a partition or a refusal. Connections that break are none of that: librdkafka
/// makes new ones by itself.
fn told(consumer: &BaseConsumer) -> Tried {
    let started = Instant::now();
    while let Some(left) = REQUEST.checked_sub(started.elapsed()) {
        match consumer.poll(left) {
            Some(Ok(_) | Err(KafkaError::PartitionEOF(_))) => return Ok(()),
            Some(Err(error)) if !is_transient(&error) => return tried::<()>(Err(error)),
            Some(Err(_)) | None => {}
        }
    }
    Err(RDKafkaErrorCode::OperationTimedOut)
}

impl Client {
    /// Whether brokers let it in. One that they do not is told by no answer.
    fn is_let_in(&self, within: Duration) -> bool {
        let consumer: BaseConsumer = self.config.create().expect("a Kafka client can be built");
        consumer.fetch_metadata(None, within).is_ok()
    }

    /// Whether brokers let it in, or do so no more, whichever is asked for.
    pub fn logs_in_is(&self, is: bool) -> bool {
        let within = if is { REQUEST } else { REFUSAL };
        self.is_let_in(within) == is
    }

    /// Waits until brokers let it in, or do so no more: each hears of a user, and of its end, in its own time.
    pub async fn comes_to_log_in(&self, is: bool) {
        eventually(&format!("{} logs in: {is}", self.username), SOON, async || {
            ensure(self.logs_in_is(is), || "it does not, or does still".into())
        })
        .await;
    }

    /// Looks at a topic.
    pub fn sees(&self, topic: &str) -> Tried {
        let consumer: BaseConsumer = self.config.create().expect("a Kafka client can be built");
        let metadata =
            consumer.fetch_metadata(Some(topic), REQUEST).map_err(|_| RDKafkaErrorCode::OperationTimedOut)?;
        match metadata.topics().first().and_then(|found| found.error()) {
            None => Ok(()),
            Some(error) => Err(error.into()),
        }
    }

    /// Fetches from the beginning of a topic's partition, which holds something. `group`: one that the user may look for, since librdkafka
    /// fetches nothing before it has; nothing is committed, and nobody joins.
    pub fn reads(&self, topic: &str, partition: i32, group: &str) -> Tried {
        let mut config = self.config.clone();
        config.set("group.id", group).set("enable.auto.commit", "false").set("enable.partition.eof", "true");
        let consumer: BaseConsumer = config.create().expect("a Kafka consumer can be built");
        let mut wanted = TopicPartitionList::new();
        wanted.add_partition_offset(topic, partition, Offset::Offset(0)).expect("an offset can be asked for");
        consumer.assign(&wanted).expect("partitions can be assigned");
        told(&consumer)
    }

    /// Writes a record, once.
    pub async fn writes(&self, topic: &str) -> Tried {
        let mut config = self.config.clone();
        config.set("enable.idempotence", "true").set("message.timeout.ms", "60000");
        let producer: FutureProducer = config.create().expect("a Kafka producer can be built");
        let record = FutureRecord::to(topic).key("nobody").payload("nothing that anybody understands");
        tried(producer.send(record, REQUEST).await.map_err(|(error, _)| error))
    }

    /// Asks for what a group has committed.
    pub fn reads_offsets_of(&self, group: &str, topic: &str) -> Tried {
        let mut config = self.config.clone();
        config.set("group.id", group);
        let consumer: BaseConsumer = config.create().expect("a Kafka consumer can be built");
        let mut asked = TopicPartitionList::new();
        asked.add_partition(topic, 0);
        let answered = consumer.committed_offsets(asked, REQUEST);
        match tried(answered.and_then(|list| list.elements().into_iter().try_for_each(|one| one.error()))) {
            // Whoever may not look for a group's coordinator waits for it, and is told why beside.
            Err(RDKafkaErrorCode::OperationTimedOut) => told(&consumer).and(Err(RDKafkaErrorCode::OperationTimedOut)),
            otherwise => otherwise,
        }
    }

    /// Becomes a member of a group.
    pub fn joins(&self, group: &str, topic: &str) -> Tried {
        let mut config = self.config.clone();
        config.set("group.id", group).set("enable.partition.eof", "true").set("enable.auto.commit", "false");
        let consumer: BaseConsumer = config.create().expect("a Kafka consumer can be built");
        consumer.subscribe(&[topic]).expect("a subscription can be wished for");
        told(&consumer)
    }

    /// Takes a transactional id, and fences whoever has it.
    pub fn takes(&self, transactional_id: &str) -> Tried {
        let mut config = self.config.clone();
        config.set("transactional.id", transactional_id);
        let producer: FutureProducer = config.create().expect("a Kafka producer can be built");
        tried(producer.init_transactions(REQUEST))
    }

    /// Creates a topic.
    pub async fn creates(&self, topic: &str) -> Tried {
        let admin: AdminClient<DefaultClientContext> = self.config.create().expect("a Kafka client can be built");
        let wanted = NewTopic::new(topic, 1, TopicReplication::Fixed(3));
        let answers = admin.create_topics([&wanted], &AdminOptions::new()).await.expect("Kafka answers");
        answers.into_iter().try_for_each(|answer| answer.map(drop).map_err(|(_, code)| code))
    }

    /// Deletes a topic.
    pub async fn deletes(&self, topic: &str) -> Tried {
        let admin: AdminClient<DefaultClientContext> = self.config.create().expect("a Kafka client can be built");
        let answers = admin.delete_topics(&[topic], &AdminOptions::new()).await.expect("Kafka answers");
        answers.into_iter().try_for_each(|answer| answer.map(drop).map_err(|(_, code)| code))
    }
}

impl World {
    /// Whoever has a Secret of a namespace.
    pub async fn who_has(&self, namespace: &str, secret: &str) -> Client {
        let values = self.secret(namespace, secret).await;
        let text = |key: &str| values[key].as_str().unwrap_or_else(|| panic!("Secret {secret} has {key}")).to_owned();
        let username = text("username");
        let mut config = self.environment.kafka.client_config();
        config.set("sasl.mechanism", text("sasl-mechanism"));
        config.set("sasl.username", &username).set("sasl.password", text("password"));
        Client { username, config }
    }

    /// Kafka's ACLs and users, as an administrator has them.
    pub fn administration(&self) -> Krafka {
        self.environment.kafka.administration()
    }

    /// Makes users and removes them again.
    pub async fn users_come_and_go(&self, count: usize) {
        let names: Vec<String> = (0..count).map(|number| self.name(&format!("passer-by-{number}"))).collect();
        let password = |name: &String| (name.clone(), Password::new(Uuid::new_v4().to_string()));
        let administration = self.administration();
        // A request for each: passwords are salted within its time, one after the other.
        for name in &names {
            let made = administration.upsert_users(&[password(name)].into()).await;
            assert!(made.values().all(Result::is_ok), "{made:?}");
        }
        let removed = administration.delete_users(&names).await;
        assert!(removed.values().all(Result::is_ok), "{removed:?}");
    }

    /// Waits until a broker, by the name of its pod, lets the administrator in.
    pub async fn broker_lets_in(&self, pod: &str) {
        let number = pod.rsplit('-').next().and_then(|number| number.parse().ok()).expect("a broker has a number");
        let (username, config) = (self.environment.kafka.username.clone(), self.at_broker(number));
        Client { username, config }.comes_to_log_in(true).await;
    }

    /// What is said of a user.
    pub async fn acls_of(&self, username: &str) -> BTreeSet<Acl> {
        eventually("Kafka says which ACLs there are", SOON, async || {
            let found = self.administration().describe_acls(&AclFilter::of_user(username)).await;
            found.map_err(|error| error.to_string())
        })
        .await
    }

    /// Users of which the name begins so.
    pub async fn users_in_kafka(&self, prefix: &str) -> Vec<String> {
        let listed = eventually("Kafka says which users there are", SOON, async || {
            self.administration().list_users().await.map_err(|error| error.to_string())
        })
        .await;
        listed.into_keys().filter(|name| name.starts_with(prefix)).collect()
    }

    /// `kubectl annotate --overwrite` of an EventPipeline.
    pub async fn annotate_pipeline(&self, namespace: &str, name: &str, key: &str, value: &str) {
        edit(&self.event_pipelines(namespace), name, &json!({"metadata": {"annotations": {key: value}}})).await;
    }

    /// Secrets of a namespace.
    pub fn secrets(&self, namespace: &str) -> Api<Secret> {
        Api::namespaced(self.client.clone(), namespace)
    }
}
