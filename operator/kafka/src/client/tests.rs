//! What a caller hears when there is no cluster, when brokers come and go, and when they are too old. All else about the
//! client is the contract suite's.

use std::{collections::BTreeMap, num::NonZeroUsize, time::Duration};

use krafka::testing::{ApiKey, Control, FakeBroker};
use tidegate_settings::binding::{KafkaConnection, KafkaSecurity, ScramMechanism, Secret};
use tokio::{net::TcpListener, time::Instant};
use uuid::Uuid;

use super::{AdminOptions, Krafka};
use crate::{
    AdminError, Api, ErrorClass, ErrorCode, KafkaAdmin, NewTopic, OffsetSpec, Outcome, RequestMetrics, TopicPartition,
    WriteMode,
};

const DEADLINE: Duration = Duration::from_millis(600);

fn admin_of(bootstrap_servers: &str, metrics: &RequestMetrics) -> Krafka {
    let connection =
        KafkaConnection { bootstrap_servers: bootstrap_servers.to_owned(), security: KafkaSecurity::Plaintext };
    let options = AdminOptions { deadline: DEADLINE, connect_timeout: DEADLINE / 2, ..AdminOptions::default() };
    Krafka::new(connection, options, metrics.clone())
}

#[tokio::test]
async fn a_host_that_does_not_exist_is_unreachable_and_every_item_hears_it() {
    let metrics = RequestMetrics::default();
    let admin = admin_of("no-such-broker.invalid:9092", &metrics);

    let outcomes = admin.describe_topics(&["orders".to_owned(), "bills".to_owned()]).await;

    for name in ["orders", "bills"] {
        let error = outcomes[name].as_ref().expect_err("nobody is there");
        assert!(matches!(error, AdminError::Unreachable { .. }), "{error:?}");
        assert_eq!((error.class(), error.action().subject.as_str()), (ErrorClass::Connection, name));
        assert!(error.message().contains("no-such-broker.invalid"), "{error}");
    }
    assert_eq!(metrics.count(Api::DescribeTopics, Outcome::Unreachable), 1);
}

#[tokio::test]
async fn a_port_that_nobody_listens_on_is_unreachable() {
    let free = TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("an address");
    let admin = admin_of(&free.to_string(), &RequestMetrics::default());

    let error = admin.cluster().await.expect_err("nobody is there");

    assert!(matches!(error, AdminError::Unreachable { .. }), "{error:?}");
}

#[tokio::test]
async fn a_broker_that_accepts_and_says_nothing_costs_no_more_than_the_deadline() {
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let admin = admin_of(&silent.local_addr().expect("an address").to_string(), &RequestMetrics::default());
    let partition = TopicPartition::new("orders", 0);
    let started = Instant::now();

    let created = admin.create_topics(&[NewTopic::new("orders", 1, 1)], WriteMode::Apply).await;
    let listed = admin.list_offsets(&BTreeMap::from([(partition.clone(), OffsetSpec::MaxTimestamp)])).await;

    let took = started.elapsed();
    assert!(took < DEADLINE * 2 + Duration::from_millis(500), "{took:?}");
    assert!(matches!(created["orders"], Err(AdminError::Unreachable { .. })), "{created:?}");
    assert!(matches!(listed[&partition], Err(AdminError::Unreachable { .. })), "{listed:?}");
}

#[tokio::test]
async fn callers_who_waited_for_one_failed_attempt_share_its_error() {
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let admin = admin_of(&silent.local_addr().expect("an address").to_string(), &RequestMetrics::default());
    let started = Instant::now();

    let (first, second, third) = tokio::join!(admin.cluster(), admin.cluster(), admin.cluster());

    assert!(started.elapsed() < DEADLINE * 2, "{:?}", started.elapsed());
    assert_eq!((first.is_err(), &second, &third), (true, &first, &first));
}

#[tokio::test]
async fn names_that_no_request_can_carry_are_refused_without_a_broker() {
    let admin = admin_of("no-such-broker.invalid:9092", &RequestMetrics::default());
    let long = "x".repeat(250);

    let outcomes = admin.describe_configs(&[String::new(), long.clone()]).await;

    for name in ["", &long] {
        assert_eq!(outcomes[name].as_ref().map_err(AdminError::code), Err(Some(ErrorCode::INVALID_TOPIC_EXCEPTION)));
    }
}

#[tokio::test]
async fn a_missing_ca_file_is_an_error_of_the_settings_and_names_the_file() {
    let security = KafkaSecurity::SaslSsl {
        mechanism: ScramMechanism::Sha512,
        username: "operator".to_owned(),
        password: Secret::new("correct horse"),
        ca_file: Some("/does/not/exist/ca.crt".into()),
    };
    let connection = KafkaConnection { bootstrap_servers: "127.0.0.1:1".to_owned(), security };
    let admin = Krafka::new(connection, AdminOptions::default(), RequestMetrics::default());

    let error = admin.cluster().await.expect_err("no CA");

    assert!(matches!(error, AdminError::Settings { .. }), "{error:?}");
    assert!(error.to_string().contains("/does/not/exist/ca.crt"), "{error}");
    let shown = format!("{error:?} {error} {admin:?}");
    assert!(!shown.contains("correct horse"), "no secret is shown: {shown}");
}

async fn brokers(count: usize) -> FakeBroker {
    FakeBroker::start_cluster(count).await.expect("the fake brokers listen")
}

/// With the patience that an election takes.
fn patient(broker: &FakeBroker) -> Krafka {
    let connection =
        KafkaConnection { bootstrap_servers: broker.bootstrap_servers(), security: KafkaSecurity::Plaintext };
    Krafka::new(connection, AdminOptions::default(), RequestMetrics::default())
}

#[tokio::test]
async fn after_every_broker_restarted_the_same_connection_reads_and_writes_again() {
    let broker = brokers(3).await;
    let admin = patient(&broker);
    admin.create_topics(&[NewTopic::new("orders", 1, 1)], WriteMode::Apply).await["orders"].clone().expect("created");

    for node in 0..3 {
        broker.crash(node);
    }
    for node in 0..3 {
        broker.restart(node);
    }

    let described = admin.describe_topics(&["orders".to_owned()]).await.remove("orders").expect("an outcome");
    assert!(described.is_ok(), "reads go on: {described:?}");
    let created = admin.create_topics(&[NewTopic::new("bills", 1, 1)], WriteMode::Apply).await;
    assert!(created["bills"].is_ok(), "writes go on: {created:?}");
}

#[tokio::test]
async fn a_write_goes_to_another_broker_when_the_controller_is_gone() {
    let broker = brokers(3).await;
    let admin = patient(&broker);
    let create = async |name: &str| {
        let mut created = admin.create_topics(&[NewTopic::new(name, 1, 1)], WriteMode::Apply).await;
        created.remove(name).expect("an outcome")
    };
    broker.set_controller(1);
    create("bills").await.expect("created");

    broker.crash(1);
    broker.set_controller(2);
    // The first may still go into the connection that just broke; then nobody can say whether it arrived.
    let outcome = match create("orders").await {
        Err(AdminError::Unreachable { .. }) => create("orders").await,
        outcome => outcome,
    };

    assert!(outcome.is_ok(), "{outcome:?}");
    assert_eq!(broker.request_nodes(ApiKey::CreateTopics), [1, 2]);
}

#[tokio::test]
async fn a_write_whose_answer_is_lost_is_not_repeated_behind_the_callers_back() {
    let broker = brokers(1).await;
    let admin = patient(&broker);
    broker.on_once(ApiKey::CreateTopics, |_| Control::ApplyThen(Box::new(Control::Disconnect)));

    let created = admin.create_topics(&[NewTopic::new("orders", 1, 1)], WriteMode::Apply).await;

    assert!(matches!(created["orders"], Err(AdminError::Unreachable { .. })), "{created:?}");
    assert_eq!(broker.request_count(ApiKey::CreateTopics), 1);
    let described = admin.describe_topics(&["orders".to_owned()]).await;
    assert!(described["orders"].is_ok(), "it was applied: that is for the caller to find out");
}

#[tokio::test]
async fn a_broker_that_can_delete_by_name_only_is_not_asked_to_delete() {
    let broker = brokers(1).await;
    broker.set_api_versions(ApiKey::DeleteTopics, 1, 5);
    let admin = patient(&broker);
    let id = Uuid::from_u128(7);

    let deleted = admin.delete_topics(&[id]).await;

    let error = deleted[&id].as_ref().expect_err("it cannot");
    assert!(matches!(error, AdminError::Unexpected { .. }), "{error:?}");
    assert_eq!(broker.request_count(ApiKey::DeleteTopics), 0);
}

#[tokio::test]
async fn many_topics_travel_in_requests_of_bounded_size() {
    let broker = brokers(1).await;
    let connection =
        KafkaConnection { bootstrap_servers: broker.bootstrap_servers(), security: KafkaSecurity::Plaintext };
    let options = AdminOptions { topics_per_request: NonZeroUsize::MIN.saturating_add(9), ..AdminOptions::default() };
    let admin = Krafka::new(connection, options, RequestMetrics::default());
    let topics: Vec<NewTopic> = (0..25).map(|number| NewTopic::new(format!("topic-{number}"), 1, 1)).collect();

    let created = admin.create_topics(&topics, WriteMode::Apply).await;

    assert!(created.len() == 25 && created.values().all(Result::is_ok), "{created:?}");
    assert_eq!(broker.request_count(ApiKey::CreateTopics), 3);
}

#[tokio::test]
async fn nothing_is_sent_before_the_first_call_or_for_an_empty_one() {
    let broker = brokers(1).await;
    let admin = patient(&broker);

    assert!(admin.describe_topics(&[]).await.is_empty());

    assert_eq!(broker.requests().len(), 0);
}

#[tokio::test]
async fn a_partition_without_a_leader_keeps_no_other_waiting() {
    let broker = brokers(1).await;
    broker.create_topic("orders", 2);
    broker.set_leader("orders", 1, -1);
    let admin = patient(&broker);
    let [led, leaderless] = [0, 1].map(|index| TopicPartition::new("orders", index));
    let wanted = BTreeMap::from([(led.clone(), OffsetSpec::Latest), (leaderless.clone(), OffsetSpec::Latest)]);
    let started = Instant::now();

    let listed = admin.list_offsets(&wanted).await;

    assert!(started.elapsed() < AdminOptions::default().deadline / 5, "{:?}", started.elapsed());
    assert!(listed[&led].is_ok(), "{listed:?}");
    let error = listed[&leaderless].as_ref().expect_err("nobody leads it");
    assert_eq!((error.code(), error.class()), (Some(ErrorCode::LEADER_NOT_AVAILABLE), ErrorClass::Transient));
}
