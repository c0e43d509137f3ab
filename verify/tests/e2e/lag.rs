//! A consumer that is stopped falls behind: what the operator says of it grows with the clock, also while a broker is down, and is 0 again
//! when it has caught up.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::world::{LATER, SOON, World, ensure, eventually, story};

const NAME: &str = "own";
const AGE: &str = "tidegate_processor_lag_seconds";
const RECORDS: &str = "tidegate_processor_lag_records";
/// When the cycle began that all others are of.
const CYCLE: &str = "tidegate_lag_cycle_timestamp_seconds";
/// What is scraped is as old as the last cycle, and one begins every 5 s.
const OFF: Duration = Duration::from_secs(7);

/// What the operator that leads shows to Prometheus, all of it of one cycle.
async fn scrape(world: &World) -> Result<String, String> {
    for pod in world.pods_of("tidegate-system", "app.kubernetes.io/component=operator").await.into_keys() {
        let uri = format!("/api/v1/namespaces/tidegate-system/pods/{pod}:8080/proxy/metrics");
        let request = http::Request::get(&uri).body(vec![]).expect("a request can be built");
        let text = world.client.request_text(request).await.map_err(|error| format!("{pod}: {error}"))?;
        if text.lines().any(|line| line.starts_with(CYCLE)) {
            return Ok(text);
        }
    }
    Err(format!("no operator shows {CYCLE}"))
}

/// The value of a line that begins so.
fn value(text: &str, series: &str) -> Result<f64, String> {
    let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok());
    value.ok_or_else(|| format!("there is no {series}"))
}

/// A series of a processor.
fn of_processor(world: &World, text: &str, name: &str, processor: &str) -> Result<f64, String> {
    let of = format!(r#"namespace="{}",pipeline="{NAME}",processor="{processor}""#, world.namespace);
    value(text, &format!("{name}{{{of}}}"))
}

async fn series(world: &World, name: &str, processor: &str) -> Result<f64, String> {
    of_processor(world, &scrape(world).await?, name, processor)
}

/// Seconds since 1970, by the clock that the operator has, too.
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970").as_secs_f64()
}

/// Waits until the ledger has read everything that can be read now; when the cycle began that saw it. A status, and what is scraped, may
/// be of before.
async fn has_read_everything(world: &World) -> f64 {
    let since = now();
    eventually("the ledger has read everything", LATER, async || {
        let text = scrape(world).await?;
        let (cycle, records) = (value(&text, CYCLE)?, of_processor(world, &text, RECORDS, "ledger")?);
        let has = cycle > since && records == 0.0;
        ensure(has, || format!("{records} wait, seen {} s after that", cycle - since)).map(|()| cycle)
    })
    .await
}

/// When the oldest record was written that the ledger has not read.
struct Clock {
    /// A cycle that began before that and saw nothing that waits, in seconds since 1970: no age reaches back beyond it.
    seen: f64,
    /// The record lay in Kafka by then.
    after: Instant,
}

/// Waits until the ledger is said to be so far behind, as the clock says. It is never said to be further, and never to have read
/// everything. A deposit that comes meanwhile is not the oldest, and changes nothing.
async fn is_behind(world: &World, clock: &Clock, age: Duration) {
    let mut last = 0.0;
    eventually(&format!("it is {} s behind, as the clock says", age.as_secs()), LATER, async || {
        let least = clock.after.elapsed().saturating_sub(OFF).max(age).as_secs_f64();
        let said = series(world, AGE, "ledger").await?;
        let most = now() - clock.seen;
        assert!(said > 0.0 && said <= most, "said {said} s, and the record is not older than {most} s");
        if said > last {
            last = said;
            world.try_deposit().await?;
        }
        ensure(said >= least, || format!("said {said} s, and the record is {least} s old at least"))
    })
    .await;
}

/// Waits until a processor's series is so.
async fn series_is(world: &World, name: &str, processor: &str, is: impl Fn(f64) -> bool) -> f64 {
    eventually(&format!("{name} of {processor} is as it should be"), SOON, async || {
        let found = series(world, name, processor).await?;
        ensure(is(found), || found.to_string()).map(|()| found)
    })
    .await
}

/// Waits until a processor's line of the status, and the summary, are so.
async fn status_is(world: &World, what: &str, processor: &str, is: impl Fn(&Value, &Value) -> bool) {
    eventually(&format!("{processor} {what}"), LATER, async || {
        let pipeline = world.pipeline(&world.namespace, NAME).await?;
        let lines = pipeline["status"]["processors"].as_array().cloned().unwrap_or_default();
        let line = lines.into_iter().find(|line| line["name"] == processor).unwrap_or_default();
        let summary = &pipeline["status"]["summary"];
        ensure(is(&line, summary), || format!("{line}, {summary}"))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lag_of_a_stopped_consumer_grows_with_the_clock_even_without_a_broker_and_is_0_when_it_has_caught_up() {
    story("lag", async |world| {
        let topic = world.furnish().await;
        let spec = |ledger: i32| {
            let mut spec = world.wallet_spec(&topic);
            spec["processors"][1]["replicas"] = json!(ledger);
            spec
        };
        let is_read = |line: &Value, _: &Value| line["lagRecords"] == 0 && line["lagSeconds"] == 0;
        world.apply_pipeline(NAME, spec(1)).await.unwrap();
        world.pipeline_is_ready(NAME).await;
        world.open_ada().await;
        world.deposit().await;
        // The ledger's word counts: a group that has not begun on an empty topic is not behind either.
        world.deposits_are_projected(1).await;
        has_read_everything(world).await;

        world.apply_pipeline(NAME, spec(0)).await.unwrap();
        world.pods_are_gone(&world.namespace, "tidegate.dev/processor=ledger").await;
        let seen = has_read_everything(world).await;
        world.deposit().await;
        // It is taken before it is in Kafka.
        series_is(world, AGE, "ledger", |seconds| seconds > 0.0).await;
        let after = Instant::now();
        let clock = Clock { seen, after };
        is_behind(world, &clock, Duration::from_secs(30)).await;
        status_is(world, "is told to be behind", "ledger", |line, summary| {
            let behind = |seconds: &Value| seconds.as_i64() >= Some(20);
            behind(&line["lagSeconds"]) && line["lagRecords"].as_i64() >= Some(2) && behind(&summary["lagSeconds"])
        })
        .await;
        status_is(world, "has nothing to do with it", "read-model", is_read).await;

        // A broker that is down takes nothing of that away: the age goes on growing, and the deposits that come meanwhile are counted.
        let records = series_is(world, RECORDS, "ledger", |records| records >= 2.0).await;
        world
            .without_a_broker(async || {
                is_behind(world, &clock, after.elapsed() + Duration::from_secs(30)).await;
                series_is(world, RECORDS, "ledger", |now| now > records).await;
                // Who reads on has nothing to do with it.
                series_is(world, RECORDS, "read-model", |now| now == 0.0).await;
            })
            .await;

        world.apply_pipeline(NAME, spec(1)).await.unwrap();
        status_is(world, "has caught up", "ledger", |line, summary| {
            is_read(line, summary) && summary["lagSeconds"] == 0
        })
        .await;
        series_is(world, AGE, "ledger", |seconds| seconds == 0.0).await;
    })
    .await;
}
