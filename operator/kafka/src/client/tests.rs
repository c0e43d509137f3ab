//! What a caller hears when there is no cluster to talk to. All else about the client is the contract suite's.

use std::{collections::BTreeMap, time::Duration};

use tidegate_settings::binding::{KafkaConnection, KafkaSecurity, ScramMechanism, Secret};
use tokio::{net::TcpListener, time::Instant};

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
