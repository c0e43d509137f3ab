//! The life of a KafkaTopic: it is made, grows, is kept as written, and goes or stays as its policy says.

use serde_json::json;

use crate::world::{SOON, condition, ensure, eventually, story};

#[tokio::test(flavor = "multi_thread")]
async fn partitions_grow_by_an_edit() {
    story("grow", async |world| {
        let topic = world.name("orders");

        world.apply_topic("orders", json!({"topicName": topic, "partitions": 3, "replicas": 3})).await.unwrap();
        let before = world.topic_is_ready("orders").await;
        world.kafka_has_replicas(&topic, &[3; 3]).await;

        world.apply_topic("orders", json!({"topicName": topic, "partitions": 6, "replicas": 3})).await.unwrap();
        world.kafka_has_replicas(&topic, &[3; 6]).await;
        let after = world.topic_is_ready("orders").await;
        assert_eq!(after["status"]["partitions"], 6);
        assert_eq!(after["status"]["topicId"], before["status"]["topicId"], "it is the same topic, not a new one");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_behind_the_operators_back_is_reverted_and_told() {
    story("drift", async |world| {
        let topic = world.name("drift");
        let spec = json!({
            "topicName": topic, "partitions": 1, "replicas": 3,
            "config": {"retention.ms": 604_800_000, "min.insync.replicas": 2},
        });
        world.apply_topic("drift", spec).await.unwrap();
        world.topic_is_ready("drift").await;
        world.kafka_has_config(&topic, "retention.ms", "604800000").await;

        world.edit_topic_by_hand(&topic, "retention.ms", "60000").await;

        // The drift interval is 60 s: noticed a look later, reverted at once. Until then a broker that has not heard of the edit says what
        // the resource says.
        world.event_says_within(SOON * 2, "drift", &["DriftReverted", "retention.ms"]).await;
        world.kafka_has_config(&topic, "retention.ms", "604800000").await;
        let topic = world.topic_is_ready("drift").await;
        assert_eq!(topic["status"]["config"]["retention.ms"], "604800000");
        assert_eq!(condition(&topic, "Drifted").filter(|(status, _, _)| status == "True"), None);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_stays_under_retain_and_goes_under_delete() {
    story("policies", async |world| {
        let (kept, removed) = (world.name("kept"), world.name("removed"));
        let spec = |topic: &str, policy: &str| {
            json!({"topicName": topic, "partitions": 1, "replicas": 3, "deletionPolicy": policy})
        };
        world.apply_topic("kept", spec(&kept, "Retain")).await.unwrap();
        world.apply_topic("removed", spec(&removed, "Delete")).await.unwrap();
        let of_kept = world.topic_is_ready("kept").await;
        let of_removed = world.topic_is_ready("removed").await;
        assert_eq!(of_kept["metadata"]["finalizers"].as_array().map_or(0, Vec::len), 0, "nothing holds up a Retain");
        assert_eq!(of_removed["metadata"]["finalizers"].as_array().map_or(0, Vec::len), 1);

        world.delete_topic("kept").await;
        world.delete_topic("removed").await;

        assert_eq!(world.partitions_in_kafka(&kept), Some(vec![3]), "the topic of the Retain is still there");
        // The finalizer went because Kafka had taken the order; a broker may know of it a moment later.
        eventually("the topic of the Delete is gone", SOON, async || {
            let found = world.partitions_in_kafka(&removed);
            ensure(found.is_none(), || format!("{found:?}"))
        })
        .await;

        // A resource that comes back finds the topic that stayed, and takes it over.
        world.apply_topic("kept", spec(&kept, "Retain")).await.unwrap();
        let adopted = world.topic_is_ready("kept").await;
        assert_eq!(adopted["status"]["topicId"], of_kept["status"]["topicId"]);
        assert_eq!(condition(&adopted, "Adopted").map(|(status, _, _)| status), Some("True".into()));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_was_there_before_is_taken_over_only_as_the_policy_says() {
    story("adoption", async |world| {
        let topic = world.name("before");
        world.create_topic_by_hand(&topic, 2).await;
        let spec = |policy: &str| {
            json!({
                "topicName": topic, "partitions": 4, "replicas": 3, "adoptionPolicy": policy,
                "config": {"retention.ms": 3_600_000},
            })
        };

        // It is not as the resource says, so the default lets it be, and says why.
        world.apply_topic("before", spec("IfMatching")).await.unwrap();
        let (_, message) = world.topic_becomes("before", "Stalled").await;
        assert!(message.contains("partitions"), "{message}");
        assert_eq!(world.partitions_in_kafka(&topic), Some(vec![3, 3]), "{message}");

        world.apply_topic("before", spec("Always")).await.unwrap();
        let adopted = world.topic_is_ready("before").await;
        assert_eq!(condition(&adopted, "Adopted").map(|(status, _, _)| status), Some("True".into()));
        world.kafka_has_replicas(&topic, &[3; 4]).await;
        world.kafka_has_config(&topic, "retention.ms", "3600000").await;
    })
    .await;
}
