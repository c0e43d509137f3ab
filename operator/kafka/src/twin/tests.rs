//! What the twin does for the tests of others, beyond the contract: failures to order, calls to count, brokers to stop.

use std::collections::BTreeMap;

use super::{Fault, Twin};
use crate::{
    AdminError, Api, ConfigChange, ConfigSource, ErrorClass, ErrorCode, KafkaAdmin, NewTopic, Partition, WriteMode,
};

async fn with_topic(name: &str) -> Twin {
    let twin = Twin::new();
    let created = twin.create_topics(&[NewTopic::new(name, 3, 3)], WriteMode::Apply).await;
    assert!(created[name].is_ok(), "{created:?}");
    twin.forget_calls();
    twin
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[tokio::test]
async fn an_ordered_failure_hits_the_next_call_of_its_kind_once() {
    let twin = with_topic("orders").await;
    twin.fail_next(Api::DescribeTopics, Fault::Unreachable);

    assert!(twin.describe_configs(&names(&["orders"])).await["orders"].is_ok());
    let first = twin.describe_topics(&names(&["orders", "other"])).await;
    let second = twin.describe_topics(&names(&["orders"])).await;

    assert!(first.values().all(|topic| matches!(topic, Err(AdminError::Unreachable { .. }))), "{first:?}");
    assert!(second["orders"].is_ok());
}

#[tokio::test]
async fn one_item_may_fail_while_the_others_of_its_call_succeed() {
    let twin = with_topic("orders").await;
    let denied = Fault::Refused(ErrorCode::TOPIC_AUTHORIZATION_FAILED, "Not authorized.".to_owned());
    twin.fail_item(Api::CreateTopics, "secret", denied);

    let topics = [NewTopic::new("secret", 1, 1), NewTopic::new("public", 1, 1)];
    let created = twin.create_topics(&topics, WriteMode::Apply).await;

    assert_eq!(created["secret"].as_ref().map_err(AdminError::code), Err(Some(ErrorCode::TOPIC_AUTHORIZATION_FAILED)));
    assert!(created["public"].is_ok());
    assert_eq!(twin.topic_names(), ["orders", "public"]);
}

#[tokio::test]
async fn a_lost_answer_leaves_the_write_done() {
    let twin = with_topic("orders").await;
    twin.lose_next_answer(Api::CreateTopics);

    let created = twin.create_topics(&[NewTopic::new("bills", 1, 1)], WriteMode::Apply).await;

    assert_eq!(created["bills"].as_ref().map_err(AdminError::class), Err(ErrorClass::Transient));
    assert_eq!(twin.topic_names(), ["bills", "orders"]);
}

#[tokio::test]
async fn while_the_cluster_is_away_every_call_fails_until_it_is_back() {
    let twin = with_topic("orders").await;
    twin.fail_all(Fault::Authentication);
    let error = twin.cluster().await.expect_err("away");
    assert_eq!((error.code(), error.class()), (Some(ErrorCode::SASL_AUTHENTICATION_FAILED), ErrorClass::Connection));

    twin.heal();
    assert!(twin.cluster().await.is_ok());
}

#[tokio::test]
async fn a_new_topic_is_not_yet_known_for_as_many_reads_as_ordered() {
    let twin = Twin::new();
    twin.delay_new_topics(2);
    twin.create_topics(&[NewTopic::new("orders", 1, 1)], WriteMode::Apply).await["orders"].clone().expect("created");

    for known in [false, false, true, true] {
        assert_eq!(twin.describe_topics(&names(&["orders"])).await["orders"].is_ok(), known);
    }
}

#[tokio::test]
async fn calls_are_counted_with_their_items_and_validating_is_no_write() {
    let twin = with_topic("orders").await;
    let change =
        ConfigChange { set: BTreeMap::from([("retention.ms".to_owned(), "1000".to_owned())]), ..Default::default() };
    let changes = BTreeMap::from([("orders".to_owned(), change)]);

    twin.describe_topics(&names(&["a", "b"])).await;
    assert!(twin.alter_configs(&changes, WriteMode::ValidateOnly).await["orders"].is_ok());
    assert_eq!((twin.count(Api::DescribeTopics), twin.count(Api::AlterConfigs), twin.writes()), (1, 1, 0));

    assert!(twin.alter_configs(&changes, WriteMode::Apply).await["orders"].is_ok());
    assert_eq!(twin.writes(), 1);
    assert_eq!(twin.calls().first().map(|call| call.subjects.clone()), Some(names(&["a", "b"])));
}

#[tokio::test]
async fn a_stopped_broker_leaves_its_partitions_to_others_and_comes_back_in_sync() {
    let twin = with_topic("orders").await;
    let partitions = || async {
        let topic = twin.describe_topics(&names(&["orders"])).await.remove("orders").expect("an outcome");
        topic.expect("known").partitions
    };
    let before: Vec<Partition> = partitions().await;

    twin.stop_broker(1);
    let during = partitions().await;
    assert_eq!(twin.cluster().await.map(|cluster| cluster.brokers.len()), Ok(2));
    for (before, during) in before.iter().zip(&during) {
        assert_eq!((during.offline.as_slice(), during.isr.len()), ([1].as_slice(), 2), "{during:?}");
        assert_ne!(during.leader, Some(1));
        assert_eq!(before.leader != during.leader, before.leader == Some(1), "only what it led moves");
        assert_eq!(before.leader_epoch < during.leader_epoch, before.leader == Some(1));
    }

    twin.start_broker(1);
    for partition in partitions().await {
        assert_eq!((partition.offline.len(), partition.isr.len()), (0, 3), "{partition:?}");
    }
}

#[tokio::test]
async fn an_edit_by_somebody_else_shows_as_the_topics_own() {
    let twin = with_topic("orders").await;

    twin.edit_config("orders", "retention.ms", Some("5"));

    let configs =
        twin.describe_configs(&names(&["orders"])).await.remove("orders").expect("an outcome").expect("known");
    assert_eq!(configs["retention.ms"].value.as_deref(), Some("5"));
    assert_eq!(configs["retention.ms"].source, ConfigSource::Topic);
}
