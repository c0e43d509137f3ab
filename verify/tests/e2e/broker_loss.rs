//! One of the three brokers is lost under load.

use crate::world::{BROKERS, LATER, condition, ensure, eventually, story};

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_is_killed_under_load_and_nothing_is_lost() {
    story("broker", async |world| {
        let brokers = world.pods_of("kafka", BROKERS).await;
        let victim = "kafka-1";
        let uid = brokers.get(victim).unwrap_or_else(|| panic!("{victim} is one of {brokers:?}"));
        // Users that are gone by then: a broker that replays them from the beginning of its metadata may come back without any user.
        world.users_come_and_go(20).await;
        let load = world.begin_load().await;
        world.load_has_committed(&load, 500).await;

        world.kill_pod("kafka", victim).await;
        world.pods_are_ready("kafka", BROKERS, brokers.len(), &[uid]).await;
        world.broker_lets_in(victim).await;
        let after_the_loss = world.committed_by(&load).await;
        world.load_has_committed(&load, after_the_loss + 500).await;

        world.load_ends_without_a_loss(load).await;
        world.the_way_to_kafka_is_healthy().await;

        // The operator sees it too: everything Ready, and nothing left to read.
        eventually("the wallet's status shows no lag", LATER, async || {
            let pipeline = world.pipeline("wallet", "wallet").await?;
            let ready = condition(&pipeline, "Ready").is_some_and(|(status, _, _)| status == "True");
            ensure(ready && pipeline["status"]["summary"]["lagRecords"] == 0, || pipeline["status"].to_string())
        })
        .await;
    })
    .await;
}
