//! Projectors are killed while they work through a backlog.

use std::collections::BTreeMap;

use crate::world::{LATER, SOON, World, ensure, eventually, story};

/// Events that the processor has applied, and that are committed.
async fn progress(world: &World, processor: &str) -> (i64, i64) {
    let progress = world.progress().await;
    let applied = if processor == "ledger-projector" { progress.ledger } else { progress.read_model };
    (applied, progress.committed)
}

/// Pods with a label, once Kubernetes has made some in place of those that were killed.
async fn there_are(world: &World, selector: &str) -> BTreeMap<String, String> {
    eventually(&format!("there is a pod with {selector}"), SOON, async || {
        let pods = world.pods_of("wallet", selector).await;
        ensure(!pods.is_empty(), || "there is none".into()).map(|()| pods)
    })
    .await
}

async fn kill(world: &World, selector: &str) -> Vec<String> {
    let pods = there_are(world, selector).await;
    for pod in pods.keys() {
        world.kill_pod("wallet", pod).await;
    }
    pods.into_values().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn projectors_killed_mid_batch_come_back_and_make_the_same_of_the_log() {
    story("projector", async |world| {
        let load = world.begin_load().await;
        world.load_has_committed(&load, 300).await;

        for processor in ["ledger-projector", "read-model-projector"] {
            let selector = format!("tidegate.dev/pipeline=wallet,tidegate.dev/processor={processor}");

            // The load goes on while nobody projects, so the successor finds a backlog,
            let mut killed = kill(world, &selector).await;
            there_are(world, &selector).await;
            let (before, _) = progress(world, processor).await;
            eventually(&format!("{processor} is in the middle of its backlog"), LATER, async || {
                let (applied, committed) = progress(world, processor).await;
                ensure(before < applied && applied < committed, || format!("{applied} of {committed}, was {before}"))
            })
            .await;

            // and is killed while it works through it.
            killed.extend(kill(world, &selector).await);
            world.pods_are_ready("wallet", &selector, 1, &killed.iter().collect::<Vec<_>>()).await;
        }

        world.load_ends_without_a_loss(load).await;
    })
    .await;
}
