//! A consumer that is stopped falls behind: what the operator says of it grows with the clock, and is 0 again when it has caught up.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::world::{LATER, SOON, World, ensure, eventually, story};

const NAME: &str = "own";
/// An age may be off by a cycle of 5 s, and what is scraped is as old as the last cycle.
const OFF: Duration = Duration::from_secs(12);

/// A series of the processor, from whichever operator shows it.
async fn series(world: &World, name: &str, processor: &str) -> Result<f64, String> {
    let of = format!(r#"namespace="{}",pipeline="{NAME}",processor="{processor}""#, world.namespace);
    let mut last = String::from("no operator");
    for pod in world.pods_of("tidegate-system", "app.kubernetes.io/component=operator").await.into_keys() {
        let uri = format!("/api/v1/namespaces/tidegate-system/pods/{pod}:8080/proxy/metrics");
        let request = http::Request::get(&uri).body(vec![]).expect("a request can be built");
        let text = world.client.request_text(request).await.map_err(|error| format!("{pod}: {error}"))?;
        let line = text.lines().find(|line| line.starts_with(&format!("{name}{{{of}}} ")));
        match line.and_then(|line| line.rsplit_once(' ')?.1.parse().ok()) {
            Some(value) => return Ok(value),
            None => last = format!("{pod} shows no {name} of {processor}"),
        }
    }
    Err(last)
}

/// A processor's line of the status, when it is as it should be.
async fn status(world: &World, what: &str, processor: &str, is: impl Fn(&Value) -> bool) -> Value {
    eventually(&format!("{processor} {what}"), LATER, async || {
        let pipeline = world.pipeline(&world.namespace, NAME).await?;
        let lines = pipeline["status"]["processors"].as_array().cloned().unwrap_or_default();
        let line = lines.into_iter().find(|line| line["name"] == processor).unwrap_or_default();
        ensure(is(&line), || line.to_string()).map(|()| pipeline)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lag_of_a_stopped_consumer_grows_with_the_clock_and_is_0_when_it_has_caught_up() {
    story("lag", async |world| {
        let topic = world.furnish().await;
        let spec = |ledger: i32| {
            let mut spec = world.wallet_spec(&topic);
            spec["processors"][1]["replicas"] = json!(ledger);
            spec
        };
        let is_read = |line: &Value| line["lagRecords"] == 0 && line["lagSeconds"] == 0;
        world.apply_pipeline(NAME, spec(1)).await.unwrap();
        world.pipeline_is_ready(NAME).await;
        world.open_ada().await;
        world.deposit().await;
        status(world, "has read everything", "ledger", is_read).await;

        world.apply_pipeline(NAME, spec(0)).await.unwrap();
        eventually("nobody projects the ledger", SOON, async || {
            let pods = world.pods_of(&world.namespace, "tidegate.dev/processor=ledger").await;
            ensure(pods.is_empty(), || format!("{pods:?}"))
        })
        .await;
        let before = Instant::now();
        world.deposit().await;
        let after = Instant::now();
        eventually("its lag is seen", SOON, async || {
            let seconds = series(world, "tidegate_processor_lag_seconds", "ledger").await?;
            ensure(seconds > 0.0, || format!("{seconds}"))
        })
        .await;
        // It is never ahead of the clock, and catches up with it. A deposit that comes meanwhile is not the oldest, and changes nothing.
        let mut last = 0.0;
        eventually("it is half a minute behind, as the clock says", LATER, async || {
            let least = after.elapsed().saturating_sub(OFF).as_secs_f64();
            let said = series(world, "tidegate_processor_lag_seconds", "ledger").await?;
            let most = (before.elapsed() + Duration::from_secs(5)).as_secs_f64();
            assert!(said <= most, "said {said} s, and the record is not older than {most} s");
            if said > last {
                last = said;
                world.try_deposit().await?;
            }
            ensure(said >= least.max(30.0), || format!("said {said} s, and the record is {least} s old at least"))
        })
        .await;
        let grown = status(world, "is told to be behind", "ledger", |line| {
            line["lagSeconds"].as_i64().is_some_and(|seconds| seconds >= 20) && line["lagRecords"].as_i64() >= Some(2)
        })
        .await;
        assert!(grown["status"]["summary"]["lagSeconds"].as_i64() >= Some(20), "{}", grown["status"]);
        status(world, "has nothing to do with it", "read-model", is_read).await;
        assert!(series(world, "tidegate_processor_lag_records", "ledger").await.is_ok_and(|records| records >= 2.0));

        world.apply_pipeline(NAME, spec(1)).await.unwrap();
        let caught_up = status(world, "has caught up", "ledger", is_read).await;
        assert_eq!(caught_up["status"]["summary"]["lagSeconds"], 0, "{}", caught_up["status"]);
        eventually("its series are 0", SOON, async || {
            let seconds = series(world, "tidegate_processor_lag_seconds", "ledger").await?;
            ensure(seconds == 0.0, || format!("{seconds}"))
        })
        .await;
    })
    .await;
}
