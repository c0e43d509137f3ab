//! Whole reconciliations, one conversation with the API server and Kafka per test.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Value, json};
use tidegate_crds::KafkaTopic;
use tidegate_kafka::{Api, ErrorCode, NewTopic, WriteMode, twin::Fault};

use super::{delete::FINALIZER, drift, reconcile};
use crate::testing::{World, last_status};
use tidegate_kafka::KafkaAdmin;

fn topic(spec: Value) -> KafkaTopic {
    let mut whole = json!({"partitions": 3, "replicas": 3, "config": {"retention.ms": 1000}});
    for (key, value) in spec.as_object().unwrap() {
        whole[key] = value.clone();
    }
    serde_json::from_value(json!({
        "apiVersion": "tidegate.dev/v1alpha1", "kind": "KafkaTopic",
        "metadata": {"name": "orders", "namespace": "shop", "uid": "u-1", "generation": 1},
        "spec": whole,
    }))
    .unwrap()
}

/// Reconciles until nothing more is to be done; what was asked of the API server, and the status that came of it.
async fn settle(world: &World, topic: &mut KafkaTopic) -> Vec<String> {
    let mut conversation = Vec::new();
    world.watch(topic);
    for _ in 0..10 {
        let action = reconcile(Arc::new(topic.clone()), world.context.clone()).await.unwrap();
        let said = world.conversation();
        if let Some(status) = last_status(&said) {
            topic.status = Some(serde_json::from_value(status).unwrap());
            world.watch(topic);
        }
        conversation.extend(said.into_iter().map(|(line, _)| line));
        if action == kube::runtime::controller::Action::await_change() {
            return conversation;
        }
    }
    panic!("did not come to rest: {conversation:?}");
}

fn reason(topic: &KafkaTopic) -> String {
    let conditions = &topic.status.as_ref().unwrap().conditions;
    conditions.iter().map(|one| format!("{}={}:{}", one.type_, one.status, one.reason)).collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn a_new_topic_takes_two_status_writes_and_an_event_and_then_there_is_silence() {
    let world = World::new();
    let mut topic = topic(json!({}));
    let said = settle(&world, &mut topic).await;
    assert_eq!(said, ["PATCH kafkatopics/orders/status", "POST events", "PATCH kafkatopics/orders/status"]);
    assert_eq!(reason(&topic), "Ready=True:InSync");
    assert!(topic.status.as_ref().unwrap().intent.is_none());

    // Reconciled again, and compared in a drift cycle: nothing is asked of the API server, nothing is written to Kafka.
    world.twin.forget_calls();
    assert_eq!(settle(&world, &mut topic).await, Vec::<String>::new());
    assert!(drift::cycle(&world.context).await.is_empty());
    assert_eq!((world.asked(), world.twin.writes()), (vec![], 0));
}

#[tokio::test]
async fn the_intent_is_on_record_before_kafka_is_written_to() {
    let world = World::new();
    world.twin.fail_next(Api::CreateTopics, Fault::Unreachable);
    let topic = topic(json!({}));
    world.watch(&topic);
    let failed = reconcile(Arc::new(topic), world.context.clone()).await;
    assert!(failed.is_err());
    let status = last_status(&world.conversation()[..1]).unwrap();
    assert_eq!(status["intent"], json!({"create": true, "configKeys": ["retention.ms"]}));
}

#[tokio::test]
async fn a_successor_recognises_what_its_predecessor_had_begun() {
    let world = World::new();
    // The answer to the creation is lost, and the operator with it.
    world.twin.lose_next_answer(Api::CreateTopics);
    let mut topic = topic(json!({"adoptionPolicy": "Never", "deletionPolicy": "Retain"}));
    world.watch(&topic);
    assert!(reconcile(Arc::new(topic.clone()), world.context.clone()).await.is_err());
    let intended = last_status(&world.conversation()[..1]).unwrap();
    topic.status = Some(serde_json::from_value(intended).unwrap());

    let successor = World::after(&world.twin);
    settle(&successor, &mut topic).await;
    assert_eq!(reason(&topic), "Ready=True:InSync", "it is its own topic, not one from before");
}

/// A topic that somebody made a moment ago, and the broker that is asked does not know yet.
async fn made_behind_the_brokers_back(world: &World) {
    world.twin.delay_new_topics(1);
    world.twin.create_topics(&[NewTopic::new("orders", 1, 3)], WriteMode::Apply).await;
}

#[tokio::test]
async fn a_topic_that_others_made_a_moment_ago_is_theirs_though_no_broker_told_of_it() {
    for (policy, outcome) in [
        ("Never", "TopicExists"),
        ("IfMatching", "AdoptionMismatch"),
        ("Always", "Ready=True:InSync Adopted=True:ExistedBefore"),
    ] {
        let world = World::new();
        made_behind_the_brokers_back(&world).await;
        let mut topic = topic(json!({"adoptionPolicy": policy}));
        settle(&world, &mut topic).await;
        assert!(reason(&topic).contains(outcome), "{policy}: {}", reason(&topic));
        assert_eq!(topic.status.as_ref().unwrap().intent, None, "{policy}");
    }
}

#[tokio::test]
async fn an_intent_that_the_api_server_does_not_let_go_of_is_no_attempt_either() {
    let world = World::new();
    made_behind_the_brokers_back(&world).await;
    let mut topic = topic(json!({"adoptionPolicy": "Never"}));
    world.watch(&topic);
    world.take_status_writes(1);
    assert!(reconcile(Arc::new(topic.clone()), world.context.clone()).await.is_err());
    world.take_status_writes(usize::MAX);
    settle(&world, &mut topic).await;
    assert!(reason(&topic).contains("TopicExists"), "{}", reason(&topic));
}

#[tokio::test]
async fn what_others_make_while_the_operator_may_not_is_theirs() {
    let refused = Fault::Refused(ErrorCode::TOPIC_AUTHORIZATION_FAILED, "Topic authorization failed.".into());
    for fault in [refused, Fault::Authentication] {
        let world = World::new();
        world.twin.fail_next(Api::CreateTopics, fault.clone());
        let mut topic = topic(json!({"adoptionPolicy": "Never"}));
        world.watch(&topic);
        assert!(reconcile(Arc::new(topic.clone()), world.context.clone()).await.is_err());
        world.twin.create_topics(&[NewTopic::new("orders", 3, 3)], WriteMode::Apply).await;
        settle(&world, &mut topic).await;
        assert!(reason(&topic).contains("TopicExists"), "{fault:?}: {}", reason(&topic));
    }
}

#[tokio::test]
async fn deleting_a_resource_does_not_delete_a_topic_that_others_made_just_before_it() {
    let world = World::new();
    made_behind_the_brokers_back(&world).await;
    let mut topic = topic(json!({"adoptionPolicy": "Never", "deletionPolicy": "Delete"}));
    world.watch(&topic);
    reconcile(Arc::new(topic.clone()), world.context.clone()).await.unwrap();
    let said = world.conversation();
    topic.status = Some(serde_json::from_value(last_status(&said).unwrap()).unwrap());

    let successor = World::after(&world.twin);
    topic.metadata.finalizers = Some(vec![FINALIZER.into()]);
    topic.metadata.deletion_timestamp = Some(Time(Timestamp::now()));
    reconcile(Arc::new(topic), successor.context.clone()).await.unwrap();
    assert_eq!(world.twin.topic_names(), ["orders"]);
}

#[tokio::test]
async fn drift_is_found_by_the_cycle_reverted_and_told() {
    let world = World::new();
    let mut topic = topic(json!({}));
    settle(&world, &mut topic).await;
    world.twin.edit_config("orders", "retention.ms", Some("9"));

    assert_eq!(drift::cycle(&world.context).await.len(), 1);
    world.watch(&topic);
    reconcile(Arc::new(topic.clone()), world.context.clone()).await.unwrap();
    let said = world.conversation();
    let event = said.iter().find(|(line, _)| line == "POST events").map(|(_, body)| body.clone()).unwrap();
    assert_eq!(event["reason"], "DriftReverted");
    assert_eq!(event["note"], "put back: retention.ms is 9, should be 1000");
    topic.status = last_status(&said).map(|status| serde_json::from_value(status).unwrap());
    settle(&world, &mut topic).await;
    assert_eq!(reason(&topic), "Ready=True:InSync");
    assert!(drift::cycle(&world.context).await.is_empty());
}

#[tokio::test]
async fn what_kafka_refuses_is_said_once_and_not_tried_again() {
    let world = World::new();
    let mut topic = topic(json!({"replicas": 5}));
    let said = settle(&world, &mut topic).await;
    assert_eq!(reason(&topic), "Ready=False:InvalidReplicationFactor Stalled=True:InvalidReplicationFactor");
    assert!(topic.status.as_ref().unwrap().intent.is_none(), "nothing is under way");
    assert_eq!(said.iter().filter(|line| *line == "POST events").count(), 1);

    world.twin.forget_calls();
    assert_eq!(settle(&world, &mut topic).await, Vec::<String>::new());
    assert_eq!(world.twin.count(Api::CreateTopics), 0);

    // Another wish is another matter.
    topic.spec.replicas = 3;
    topic.metadata.generation = Some(2);
    settle(&world, &mut topic).await;
    assert_eq!(reason(&topic), "Ready=True:InSync");
}

#[tokio::test]
async fn kafka_away_for_a_moment_is_no_news_of_a_topic_that_is_ready() {
    let world = World::new();
    let mut topic = topic(json!({}));
    settle(&world, &mut topic).await;
    world.twin.fail_all(Fault::Unreachable);
    for _ in 0..4 {
        assert!(reconcile(Arc::new(topic.clone()), world.context.clone()).await.is_err());
    }
    assert_eq!(world.asked(), Vec::<String>::new());
    assert!(reconcile(Arc::new(topic.clone()), world.context.clone()).await.is_err());
    let status = last_status(&world.conversation()).unwrap();
    assert_eq!(status["conditions"][0]["reason"], "KafkaUnreachable");

    world.twin.heal();
    settle(&world, &mut topic).await;
    assert_eq!(reason(&topic), "Ready=True:InSync");
}

#[tokio::test]
async fn under_delete_the_topic_goes_by_id_and_the_finalizer_after_it() {
    let world = World::new();
    let mut topic = topic(json!({"deletionPolicy": "Delete"}));
    let said = settle(&world, &mut topic).await;
    assert_eq!(said[0], "PATCH kafkatopics/orders", "the finalizer is on before anything is made");
    topic.metadata.finalizers = Some(vec![FINALIZER.into()]);
    topic.metadata.deletion_timestamp = Some(Time(Timestamp::now()));

    // While Kafka is away the finalizer stays.
    world.twin.fail_all(Fault::Unreachable);
    assert!(reconcile(Arc::new(topic.clone()), world.context.clone()).await.is_err());
    assert!(!world.asked().contains(&"PATCH kafkatopics/orders".to_owned()));

    world.twin.heal();
    reconcile(Arc::new(topic.clone()), world.context.clone()).await.unwrap();
    let said = world.conversation();
    let (_, last) = said.iter().find(|(line, _)| line == "PATCH kafkatopics/orders").unwrap();
    assert_eq!(last["metadata"]["finalizers"], json!([]));
    assert_eq!(world.twin.topic_names(), Vec::<String>::new());
}

#[tokio::test]
async fn under_retain_there_never_is_a_finalizer() {
    let world = World::new();
    let mut topic = topic(json!({}));
    let said = settle(&world, &mut topic).await;
    assert!(!said.contains(&"PATCH kafkatopics/orders".to_owned()), "{said:?}");
}

#[tokio::test]
async fn of_two_claims_the_older_holds_and_deleting_it_under_delete_leaves_the_topic_to_the_other() {
    let world = World::new();
    let mut first = topic(json!({"deletionPolicy": "Delete"}));
    first.metadata.creation_timestamp = Some(Time(Timestamp::from_second(1).unwrap()));
    settle(&world, &mut first).await;

    let mut second = topic(json!({"topicName": "orders"}));
    second.metadata.name = Some("rival".into());
    second.metadata.uid = Some("u-2".into());
    second.metadata.creation_timestamp = Some(Time(Timestamp::from_second(2).unwrap()));
    settle(&world, &mut second).await;
    assert_eq!(reason(&second), "Ready=False:Conflict Stalled=True:Conflict");

    first.metadata.finalizers = Some(vec![FINALIZER.into()]);
    first.metadata.deletion_timestamp = Some(Time(Timestamp::now()));
    world.watch(&first);
    reconcile(Arc::new(first.clone()), world.context.clone()).await.unwrap();
    assert_eq!(world.twin.topic_names(), ["orders"], "a rival claim blocks deletion");
    let said = world.conversation();
    let event = said.iter().find(|(line, _)| line == "POST events").map(|(_, body)| body.clone()).unwrap();
    assert_eq!(event["reason"], "ClaimedElsewhere");

    settle(&world, &mut second).await;
    assert_eq!(reason(&second), "Ready=True:InSync Adopted=True:ExistedBefore");
}

#[tokio::test]
async fn an_adoption_that_is_refused_claims_nothing() {
    let world = World::new();
    world.twin.create_topics(&[NewTopic::new("orders", 1, 3)], WriteMode::Apply).await;
    let mut topic = topic(json!({"deletionPolicy": "Delete"}));
    settle(&world, &mut topic).await;
    let status = topic.status.clone().unwrap();
    assert_eq!((status.conditions[0].reason.as_str(), status.topic_id), ("AdoptionMismatch", None));

    // And so deleting the resource deletes nothing.
    topic.metadata.finalizers = Some(vec![FINALIZER.into()]);
    topic.metadata.deletion_timestamp = Some(Time(Timestamp::now()));
    reconcile(Arc::new(topic), world.context.clone()).await.unwrap();
    assert_eq!(world.twin.topic_names(), ["orders"]);
}
