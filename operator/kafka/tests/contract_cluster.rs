//! The contract of `KafkaAdmin`, kept by a real cluster, and what only a real one can show: who it lets in, and that the
//! twin knows its configuration keys. Needs the cluster of hack/up: `eval "$(hack/env)"`.
#![allow(clippy::expect_used)] // the stories' helpers are tests too

mod contract;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use contract::{World, contract};
use krafka::{
    Kafka, Record,
    admin::{AlterConsumerGroupOffsetsOptions, DeleteConsumerGroupsOptions},
    auth::{AuthConfig, TlsConfig},
    consumer::{Consumer, GroupProtocol},
    producer::{TopicPartitionOffset, TransactionalProducer},
};
use tidegate_kafka::{
    AdminError, AdminOptions, Api, ConfigSource, ErrorClass, ErrorCode, GroupKind, KafkaAdmin, Krafka, LoggedRecord,
    NewTopic, OffsetSpec, Outcome, RequestMetrics, Tally, TopicConfig, TopicPartition, WriteMode, twin::Twin,
};
use tidegate_settings::binding::{KafkaConnection, KafkaSecurity, ScramMechanism, Secret};
use tokio::{
    sync::{Mutex, oneshot},
    task::JoinHandle,
    time::sleep,
};

contract!(cluster);

struct Cluster {
    admin: Krafka,
    prefix: String,
    /// The hands of others.
    others: Kafka,
    transaction: Mutex<Option<TransactionalProducer>>,
    members: Mutex<HashMap<String, Membership>>,
}

/// A consumer that runs until it is told to leave.
struct Membership {
    leave: oneshot::Sender<()>,
    member: JoinHandle<()>,
}

fn variable(name: &str) -> String {
    std::env::var(name)
        .unwrap_or_else(|_| panic!("{name} is not set; this test needs the cluster of hack/up: eval \"$(hack/env)\""))
}

fn mechanism() -> ScramMechanism {
    let name = std::env::var("KAFKA_SASL_MECHANISM").unwrap_or_else(|_| "SCRAM-SHA-512".to_owned());
    ScramMechanism::from_name(&name).expect("KAFKA_SASL_MECHANISM is a SCRAM mechanism")
}

/// The connection of hack/env, with a password and authorities of the caller's choice.
fn connection(password: &str, ca_file: Option<&str>) -> KafkaConnection {
    KafkaConnection {
        bootstrap_servers: variable("KAFKA_BOOTSTRAP_SERVERS"),
        security: KafkaSecurity::SaslSsl {
            mechanism: mechanism(),
            username: variable("KAFKA_ADMIN_USERNAME"),
            password: Secret::new(password),
            ca_file: ca_file.map(Into::into),
        },
    }
}

fn trusted() -> KafkaConnection {
    connection(&variable("KAFKA_ADMIN_PASSWORD"), Some(&variable("KAFKA_CA_FILE")))
}

/// Somebody else, who logs in by SCRAM-SHA-512.
fn as_user(user: &str, password: &str) -> Krafka {
    let security = KafkaSecurity::SaslSsl {
        mechanism: ScramMechanism::Sha512,
        username: user.to_owned(),
        password: Secret::new(password),
        ca_file: Some(variable("KAFKA_CA_FILE").into()),
    };
    let connection = KafkaConnection { security, ..trusted() };
    Krafka::new(connection, AdminOptions::default(), RequestMetrics::default())
}

async fn cluster() -> Cluster {
    let (user, password) = (variable("KAFKA_ADMIN_USERNAME"), variable("KAFKA_ADMIN_PASSWORD"));
    let auth = match mechanism() {
        ScramMechanism::Sha256 => AuthConfig::sasl_scram_sha256(user, password),
        ScramMechanism::Sha512 => AuthConfig::sasl_scram_sha512(user, password),
    };
    let others = Kafka::builder(variable("KAFKA_BOOTSTRAP_SERVERS"))
        .security(auth.with_tls(TlsConfig::new().with_ca_cert(variable("KAFKA_CA_FILE"))))
        .connect()
        .await
        .expect("the cluster of hack/env is reachable");
    Cluster {
        admin: Krafka::new(trusted(), AdminOptions::default(), RequestMetrics::default()),
        prefix: contract::unique_prefix(),
        others,
        transaction: Mutex::new(None),
        members: Mutex::new(HashMap::new()),
    }
}

fn record(partition: &TopicPartition, time: i64) -> Record {
    Record::new(&partition.topic, "a record").partition(partition.partition).timestamp(time)
}

/// A member that does nothing with what it reads. As in applications, an error is no reason to leave: what is away comes back.
async fn reads_on(consumer: &Consumer) {
    loop {
        match consumer.recv().await {
            Ok(None) => return,
            Ok(Some(_)) => {}
            Err(_) => sleep(Duration::from_millis(100)).await,
        }
    }
}

#[async_trait]
impl World for Cluster {
    fn admin(&self) -> &dyn KafkaAdmin {
        &self.admin
    }

    fn prefix(&self) -> &str {
        &self.prefix
    }

    async fn produce(&self, partition: &TopicPartition, times: &[i64]) {
        let producer = self.others.producer().build().await.expect("a producer");
        for time in times {
            let written = producer.send(record(partition, *time)).await.expect("the record is written");
            assert!(written.is_persisted(), "{written:?}");
        }
        producer.close().await.expect("the producer closes");
    }

    async fn append(&self, partition: &TopicPartition, record: LoggedRecord) {
        let LoggedRecord { timestamp, key, value, headers, .. } = record;
        let mut sent = Record::new(&partition.topic, "").partition(partition.partition).timestamp(timestamp);
        sent.value = value.map(Into::into);
        if let Some(key) = key {
            sent = sent.key(key);
        }
        for (name, value) in headers {
            sent = match value {
                Some(value) => sent.header(name, value),
                None => sent.null_header(name),
            };
        }
        let producer = self.others.producer().build().await.expect("a producer");
        let written = producer.send(sent).await.expect("the record is written");
        assert!(written.is_persisted(), "{written:?}");
        producer.close().await.expect("the producer closes");
    }

    async fn open_transaction(&self, partition: &TopicPartition, times: &[i64]) {
        let producer = self.others.producer().build_transactional(self.name("transaction")).await.expect("a producer");
        producer.begin().expect("a transaction begins");
        for time in times {
            let written = producer.send(record(partition, *time)).await.expect("the record is written");
            assert!(written.is_persisted(), "{written:?}");
        }
        *self.transaction.lock().await = Some(producer);
    }

    async fn commit_transaction(&self, _: &TopicPartition) {
        let producer = self.transaction.lock().await.take().expect("a transaction is open");
        producer.commit().await.expect("the transaction commits");
        producer.close().await.expect("the producer closes");
    }

    async fn commit(&self, group: &str, partition: &TopicPartition, offset: i64) {
        contract::world::eventually("the commit", || async {
            let key = krafka::admin::TopicPartition::new(&partition.topic, partition.partition);
            let options = AlterConsumerGroupOffsetsOptions::default();
            let outcomes = self.others.admin().alter_consumer_group_offsets(group, [(key, offset)], options).await;
            let is_taken = outcomes.as_ref().is_ok_and(|partitions| partitions.values().all(Result::is_ok));
            if is_taken { Ok(()) } else { Err(format!("{outcomes:?}")) }
        })
        .await;
    }

    async fn join(&self, group: &str, kind: GroupKind, topic: &str, _: i32) {
        let protocol = if kind == GroupKind::Classic { GroupProtocol::Classic } else { GroupProtocol::Consumer };
        let consumer = self.others.consumer(group).group_protocol(protocol).build().await.expect("a consumer");
        let consumer = Arc::new(consumer);
        consumer.subscribe([topic]).await.expect("it subscribes");
        let (leave, left) = oneshot::channel();
        let member = tokio::spawn(async move {
            tokio::select! {
                _ = left => {}
                () = reads_on(&consumer) => {}
            }
            consumer.close().await.expect("it leaves");
        });
        self.members.lock().await.insert(group.to_owned(), Membership { leave, member });
    }

    async fn leave(&self, group: &str) {
        if let Some(Membership { leave, member }) = self.members.lock().await.remove(group) {
            let _ = leave.send(());
            member.await.expect("it left");
        }
    }

    async fn lets_in(&self, user: &str, password: &str) -> bool {
        match as_user(user, password).cluster().await {
            Ok(_) => true,
            Err(AdminError::Authentication { .. }) => false,
            Err(other) => panic!("{other}"),
        }
    }

    async fn may_describe(&self, user: &str, password: &str, topic: &str) -> bool {
        // Any broker answers, and one that has not heard of the user yet lets nobody in.
        contract::world::eventually("the user is let in", || async {
            let outcome = as_user(user, password).describe_topics(&[topic.to_owned()]).await.remove(topic);
            match outcome.expect("an outcome") {
                Ok(_) => Ok(true),
                Err(error) if error.code() == Some(ErrorCode::TOPIC_AUTHORIZATION_FAILED) => Ok(false),
                Err(error @ AdminError::Authentication { .. }) => Err(error.to_string()),
                Err(other) => panic!("{other}"),
            }
        })
        .await
    }

    async fn remove_groups(&self) {
        let groups: Vec<String> = self.members.lock().await.keys().cloned().collect();
        for group in groups {
            self.leave(&group).await;
        }
        // Most stories have none, and a group that is gone already is as good.
        let options = DeleteConsumerGroupsOptions::default();
        let numbered = (0..contract::world::GROUPS).map(|number| self.name(&format!("group-{number}")));
        let groups: Vec<String> = numbered.chain([self.name("group")]).collect();
        let _ = self.others.admin().delete_consumer_groups(groups, options).await;
    }
}

#[tokio::test]
async fn a_wrong_password_is_an_authentication_failure_and_no_secret_is_told() {
    let admin = Krafka::new(
        connection("not-the-password", Some(&variable("KAFKA_CA_FILE"))),
        AdminOptions::default(),
        RequestMetrics::default(),
    );

    let error = admin.cluster().await.expect_err("the broker refuses");

    assert!(matches!(error, AdminError::Authentication { .. }), "{error:?}");
    assert_eq!((error.code(), error.class()), (Some(ErrorCode::SASL_AUTHENTICATION_FAILED), ErrorClass::Connection));
    let shown = format!("{error} {error:?} {admin:?}");
    assert!(!shown.contains("not-the-password"), "{shown}");
    let outcomes = admin.describe_topics(&["any".to_owned()]).await;
    assert_eq!(outcomes["any"].as_ref().map_err(AdminError::code), Err(Some(ErrorCode::SASL_AUTHENTICATION_FAILED)));
}

#[tokio::test]
async fn a_broker_whose_certificate_we_do_not_trust_is_refused_by_us() {
    let admin = Krafka::new(
        connection(&variable("KAFKA_ADMIN_PASSWORD"), None), // public authorities only: none signed the broker's
        AdminOptions::default(),
        RequestMetrics::default(),
    );

    let error = admin.cluster().await.expect_err("we refuse");

    assert!(matches!(error, AdminError::Tls { .. }), "{error:?}");
    assert_eq!(error.class(), ErrorClass::Connection);
}

/// Groups that commit in transactions are between two of them most of the time; their lag is wanted all the same.
#[tokio::test]
async fn an_open_transaction_with_offsets_keeps_nobody_who_reads_them_waiting() {
    let world = cluster().await;
    let admin = Krafka::new(trusted(), AdminOptions::default(), RequestMetrics::default());
    let (name, group) = (world.name("good"), world.name("group"));
    let producer = world.others.producer().build_transactional(world.name("transaction")).await.expect("a producer");
    let consumer = world.others.consumer(&group).enable_auto_commit(false).build().await.expect("a consumer");
    contract::run(world, |world| {
        Box::pin(async move {
            contract::world::created(world, NewTopic::new(&name, 1, 3)).await;
            consumer.subscribe([&name]).await.expect("it subscribes");
            contract::world::eventually("the assignment", || async {
                consumer.poll(Duration::from_millis(100)).await.map_err(|error| error.to_string())?;
                if consumer.assignment().await.is_empty() { Err("none yet".to_owned()) } else { Ok(()) }
            })
            .await;
            let committed = async || {
                admin.committed_offsets(std::slice::from_ref(&group)).await.remove(&group).expect("an outcome")
            };
            // Whom to ask is found, and connected, before it counts how long an answer takes.
            contract::world::eventually("the coordinator", || async {
                committed().await.map(drop).map_err(|error| error.to_string())
            })
            .await;

            producer.begin().expect("a transaction begins");
            let offsets = [TopicPartitionOffset::new(&name, 0, 5)];
            let member = consumer.group_metadata().await.expect("it is a member");
            producer.send_offsets(&offsets, &member).await.expect("the offsets are pending");
            // The answer of who insists on stable offsets would be an error for as long as the transaction is open.
            assert_eq!(committed().await, Ok(BTreeMap::new()), "not committed yet");

            producer.commit().await.expect("the transaction commits");
            contract::world::eventually("the commit", || async {
                match committed().await {
                    Ok(offsets) if offsets.values().map(|commit| commit.offset).eq([5]) => Ok(()),
                    other => Err(format!("{other:?}")),
                }
            })
            .await;
            consumer.close().await.expect("it leaves");
            producer.close().await.expect("the producer closes");
        })
    })
    .await;
}

/// What lag costs: each coordinator and each leader gets one request, however many groups and partitions there are.
#[tokio::test]
async fn once_it_is_known_whom_to_ask_many_groups_and_partitions_are_a_request_of_each_broker() {
    let tally = Tally::default();
    let admin = Krafka::new(trusted(), AdminOptions::default(), RequestMetrics::default())
        .beside(Duration::from_secs(15), tally.clone());
    let world = cluster().await;
    contract::run(world, |world| {
        Box::pin(async move {
            let name = world.name("good");
            contract::world::created(world, NewTopic::new(&name, 30, 3)).await;
            let groups: Vec<String> = (0..60).map(|number| format!("{name}-{number}")).collect();
            let partitions = (0..30).map(|index| (TopicPartition::new(&name, index), OffsetSpec::LastStable)).collect();
            let ask = async || {
                let (commits, ends) = tokio::join!(admin.committed_offsets(&groups), admin.list_offsets(&partitions));
                commits.values().all(Result::is_ok) && ends.values().all(Result::is_ok)
            };
            contract::world::eventually("answers", || async { if ask().await { Ok(()) } else { Err(String::new()) } })
                .await;
            tally.take();
            assert!(ask().await);
            let sent = tally.take();
            assert!(sent.keys().all(Option::is_some), "nobody had to be found: {sent:?}");
            assert!(sent.values().all(|requests| *requests <= 2), "commits and ends: {sent:?}");
        })
    })
    .await;
}

#[tokio::test]
async fn requests_are_counted_by_what_became_of_them() {
    let metrics = RequestMetrics::default();
    let admin = Krafka::new(trusted(), AdminOptions::default(), metrics.clone());
    let nowhere = format!("{}-none", contract::unique_prefix());

    admin.cluster().await.expect("the cluster answers");
    assert!(admin.describe_topics(std::slice::from_ref(&nowhere)).await[&nowhere].is_err());

    assert_eq!(metrics.count(Api::DescribeCluster, Outcome::Ok), 1);
    assert_eq!(metrics.count(Api::DescribeTopics, Outcome::Refused), 1);
    assert_eq!(metrics.count(Api::DescribeTopics, Outcome::Ok), 0);
}

#[tokio::test]
async fn the_twin_knows_the_same_configuration_keys_and_defaults() {
    contract::run(cluster().await, |world| {
        Box::pin(async move {
            let name = world.name("good");
            contract::world::created(world, NewTopic::new(&name, 1, 3)).await;
            let twin = Twin::new();
            twin.create_topics(&[NewTopic::new(&name, 1, 3)], WriteMode::Apply).await[&name].clone().expect("created");

            let real = configs(world.admin(), &name).await;
            let imagined = configs(&twin, &name).await;

            assert_eq!(imagined.keys().collect::<BTreeSet<_>>(), real.keys().collect::<BTreeSet<_>>());
            // What the broker's own settings say differs from cluster to cluster; Kafka's defaults do not.
            let defaults = |config: &TopicConfig| -> BTreeMap<String, Option<String>> {
                config
                    .iter()
                    .filter(|(key, _)| real[*key].source == ConfigSource::Default)
                    .map(|(key, entry)| (key.clone(), entry.value.clone()))
                    .collect()
            };
            assert_eq!(defaults(&imagined), defaults(&real));
        })
    })
    .await;
}

async fn configs(admin: &dyn KafkaAdmin, name: &str) -> TopicConfig {
    admin.describe_configs(&[name.to_owned()]).await.remove(name).expect("an outcome").expect("the topic is known")
}
