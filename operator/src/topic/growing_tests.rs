//! A growth with ordered consumers as the controller does it, by an operator that dies after every look.

use std::{sync::Arc, time::Instant};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::json;
use tidegate_crds::{EventPipeline, KafkaTopic, topic::GrowthStep};
use tidegate_kafka::{KafkaAdmin, twin::Twin};

use super::super::reconcile;
use crate::{
    lag::{PartitionReading, Reading},
    testing::{World, last_status},
};

fn topic(partitions: i32, consent: Option<&str>) -> KafkaTopic {
    serde_json::from_value(json!({
        "apiVersion": "tidegate.dev/v1alpha1", "kind": "KafkaTopic",
        "metadata": {
            "name": "orders", "namespace": "shop", "uid": "u-1", "generation": 1,
            "annotations": {"tidegate.dev/allow-reorder": consent.unwrap_or_default()},
        },
        "spec": {"partitions": partitions, "replicas": 3},
    }))
    .unwrap()
}

fn pipeline(processors: serde_json::Value) -> EventPipeline {
    serde_json::from_value(json!({
        "apiVersion": "tidegate.dev/v1alpha1", "kind": "EventPipeline",
        "metadata": {"name": "orders", "namespace": "shop", "uid": "p-1"},
        "spec": {"kafka": {"user": {"secretRef": {"name": "kafka"}}}, "processors": processors},
    }))
    .unwrap()
}

fn reader() -> serde_json::Value {
    json!({
        "name": "ledger", "run": {"wallet": {"role": "LedgerProjector"}},
        "consumes": {"topics": ["orders"], "group": "ledger"},
    })
}

/// One look of an operator that has just started, while no pod runs.
async fn look(twin: &Twin, topic: &mut KafkaTopic, pipeline: &EventPipeline, lag: Option<i64>) {
    look_at(twin, topic, pipeline, lag, &[]).await;
}

/// The same while there are pods. What it wrote is the topic's status afterwards, as if a step had begun long ago.
async fn look_at(twin: &Twin, topic: &mut KafkaTopic, pipeline: &EventPipeline, lag: Option<i64>, pods: &[&str]) {
    let world = World::after(twin);
    world.pods(pods);
    world.watch(topic);
    world.watch_pipeline(pipeline);
    let partition = PartitionReading {
        topic: "orders".into(),
        partition: 0,
        committed: Some(0),
        log_start: Some(0),
        stable_end: lag,
        lag,
        lag_seconds: None,
        consumed_rate: None,
        produced_rate: None,
        stuck_for: None,
    };
    let reading = Reading { lag, partitions: vec![partition], ..Reading::default() };
    world.context.readings.take(("p-1".into(), "ledger".into()), reading, Instant::now());
    reconcile(Arc::new(topic.clone()), world.context.clone()).await.unwrap();
    if let Some(status) = last_status(&world.conversation()) {
        topic.status = Some(serde_json::from_value(status).unwrap());
    }
    let growth = topic.status.as_mut().and_then(|status| status.growth.as_mut());
    if let Some(growth) = growth {
        growth.since = Some(Time(Timestamp::now() - SignedDuration::from_hours(1)));
    }
}

fn step(topic: &KafkaTopic) -> Option<GrowthStep> {
    topic.status.as_ref().and_then(|status| status.growth.as_ref()).map(|growth| growth.step)
}

async fn partitions(twin: &Twin) -> usize {
    let found = twin.describe_topics(&["orders".to_owned()]).await;
    found.into_values().find_map(Result::ok).map_or(0, |topic| topic.partitions.len())
}

async fn three_partitions(twin: &Twin) -> KafkaTopic {
    let mut topic = topic(3, None);
    let nobody = pipeline(json!([]));
    for _ in 0..3 {
        look(twin, &mut topic, &nobody, None).await;
    }
    assert_eq!(partitions(twin).await, 3);
    topic
}

#[tokio::test]
async fn each_step_is_on_record_before_the_next_and_an_operator_that_dies_after_any_goes_on() {
    let twin = Twin::new();
    let status = three_partitions(&twin).await.status;
    let mut topic = KafkaTopic { status, ..topic(5, Some("5")) };
    let pipeline = pipeline(json!([reader()]));
    let mut steps = Vec::new();
    for lag in [None, None, None, Some(7), Some(2), Some(0), Some(0), Some(0), Some(0)] {
        look(&twin, &mut topic, &pipeline, lag).await;
        steps.push((step(&topic), partitions(&twin).await));
    }
    use GrowthStep::{Draining, Growing, GrowingRetryTopics, StoppingProducers};
    let expected = [
        (Some(StoppingProducers), 3),
        (Some(Draining), 3),
        (Some(Draining), 3),
        (Some(Draining), 3),
        (Some(Draining), 3),
        (Some(GrowingRetryTopics), 3),
        (Some(Growing), 3),
        (Some(Growing), 5),
        (None, 5),
    ];
    assert_eq!(steps, expected);
}

#[tokio::test]
async fn a_step_is_told_of_before_it_is_on_record() {
    let twin = Twin::new();
    let status = three_partitions(&twin).await.status;
    let topic = KafkaTopic { status, ..topic(5, Some("5")) };
    let world = World::after(&twin);
    world.watch(&topic);
    world.watch_pipeline(&pipeline(json!([reader()])));
    world.take_status_writes(0);
    assert!(reconcile(Arc::new(topic), world.context.clone()).await.is_err());
    let told: Vec<_> = world.conversation().into_iter().filter(|(line, _)| line == "POST events").collect();
    assert!(told.iter().any(|(_, event)| event["reason"] == "StoppingProducers"), "{told:?}");
}

#[tokio::test]
async fn while_a_pod_of_a_producer_is_there_nothing_grows_and_giving_up_ends_it() {
    let twin = Twin::new();
    let status = three_partitions(&twin).await.status;
    let mut topic = KafkaTopic { status, ..topic(5, Some("5")) };
    let writer = json!({"name": "commands", "run": {"wallet": {"role": "Commands"}}, "produces": ["orders"]});
    let pipeline = pipeline(json!([reader(), writer]));
    for _ in 0..4 {
        look_at(&twin, &mut topic, &pipeline, Some(0), &["ending"]).await;
    }
    assert_eq!((step(&topic), partitions(&twin).await), (Some(GrowthStep::StoppingProducers), 3));
    look(&twin, &mut topic, &pipeline, Some(0)).await;
    assert_eq!(step(&topic), Some(GrowthStep::Draining));
    topic.metadata.annotations = None;
    look(&twin, &mut topic, &pipeline, Some(0)).await;
    assert_eq!((step(&topic), partitions(&twin).await), (None, 3), "whoever was stopped goes on");
    let status = topic.status.as_ref().unwrap();
    assert!(status.conditions.iter().any(|one| one.type_ == "Stalled" && one.reason == "OrderedConsumers"));
}

#[tokio::test]
async fn who_reads_and_writes_is_refused() {
    let twin = Twin::new();
    let status = three_partitions(&twin).await.status;
    let mut topic = KafkaTopic { status, ..topic(5, Some("5")) };
    let mut both = reader();
    both["produces"] = json!(["orders"]);
    look(&twin, &mut topic, &pipeline(json!([both])), Some(0)).await;
    let status = topic.status.as_ref().unwrap();
    assert!(status.conditions.iter().any(|one| one.type_ == "Stalled" && one.reason == "OrderedLoop"));
    assert_eq!((step(&topic), partitions(&twin).await), (None, 3));
}
