//! Projectors are killed while they work through a backlog.

use crate::world::{SOON, ensure, eventually, story};

#[tokio::test(flavor = "multi_thread")]
async fn projectors_killed_mid_batch_come_back_and_make_the_same_of_the_log() {
    story("projector", async |world| {
        let load = world.begin_load().await;
        for processor in ["ledger-projector", "read-model-projector", "ledger-projector"] {
            let selector = format!("tidegate.dev/pipeline=wallet,tidegate.dev/processor={processor}");
            let so_far = world.committed_by(&load).await;
            world.load_has_committed(&load, so_far + 300).await;
            eventually(&format!("{processor} is in the middle of its work"), SOON, async || {
                let progress = world.progress().await;
                let applied = if processor == "ledger-projector" { progress.ledger } else { progress.read_model };
                ensure(applied < progress.committed, || format!("{progress:?}"))
            })
            .await;
            let pods = world.pods_of("wallet", &selector).await;
            assert!(!pods.is_empty(), "there is a pod with {selector}");
            for pod in pods.keys() {
                world.kill_pod("wallet", pod).await;
            }
            world.pods_are_ready("wallet", &selector, pods.len(), &pods.values().collect::<Vec<_>>()).await;
        }
        world.load_ends_without_a_loss(load).await;
    })
    .await;
}
