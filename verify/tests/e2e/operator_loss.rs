//! The operator's leader is killed in the middle of its work.

use serde_json::json;

use crate::world::{SOON, ensure, eventually, story};

const TOPICS: usize = 24;
const OPERATORS: &str = "app.kubernetes.io/component=operator";

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_operator_left_unfinished_the_next_one_finishes() {
    story("operator", async |world| {
        let name = |index: usize| format!("topic-{index}");
        let kafka_name = |index: usize| world.name(&format!("operator-{index}"));
        let leader = eventually("an operator leads", SOON, async || world.leader().await.ok_or("nobody".into())).await;
        let pods = world.pods_of("tidegate-system", OPERATORS).await;
        let leader_uid = pods.get(&leader).unwrap_or_else(|| panic!("the leader {leader} is one of {pods:?}"));

        for index in 0..TOPICS {
            let spec = json!({
                "topicName": kafka_name(index), "partitions": 2, "replicas": 3, "deletionPolicy": "Delete",
                "config": {"retention.ms": 3_600_000},
            });
            world.apply_topic(&name(index), spec).await.unwrap();
            if index == TOPICS / 2 {
                // Some are made, some are being made, the others are yet to come.
                world.kill_pod("tidegate-system", &leader).await;
            }
        }

        for index in 0..TOPICS {
            world.topic_is_ready(&name(index)).await;
            world.kafka_has_replicas(&kafka_name(index), &[3; 2]).await;
            world.kafka_has_config(&kafka_name(index), "retention.ms", "3600000").await;
        }
        eventually("another pod leads", SOON, async || {
            let leads = world.leader().await;
            ensure(leads.as_ref().is_some_and(|now| *now != leader), || format!("{leads:?}, and it was {leader}"))
        })
        .await;
        world.pods_are_ready("tidegate-system", OPERATORS, pods.len(), &[leader_uid]).await;

        // What was left of the killed one's work must not hold up deletion either.
        for index in 0..TOPICS {
            world.delete_topic(&name(index)).await;
        }
        let names: [String; TOPICS] = std::array::from_fn(kafka_name);
        eventually("all topics are gone", SOON, async || {
            let counts = world.partition_counts(names.each_ref().map(String::as_str));
            let left = counts.into_iter().filter(|partitions| *partitions > 0).count();
            ensure(left == 0, || format!("{left} are left"))
        })
        .await;
    })
    .await;
}
