//! From a commit in PostgreSQL until a reader of committed records sees the event, against one bare Kafka transaction.

mod bare;
mod relayed;
mod watcher;

use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use crate::{
    cluster::{Cluster, Scratch},
    report::{Aim, Figure, Report, median, percentile, percentiles, rounded},
};

/// Partitions of the topics, as the wallet's topic has.
const PARTITIONS: i32 = 10;
/// Their replicas.
const REPLICAS: i32 = 3;
/// Bytes of an event: what a transfer's is.
const EVENT_BYTES: usize = 450;
/// Aggregates that events are of.
const KEYS: u64 = 1000;

/// How to measure.
#[derive(clap::Args)]
pub struct Options {
    /// Events a second.
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u64).range(100..=20_000))]
    rate: u64,
    /// Seconds of each window; the first fifth is not counted.
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u64).range(5..=600))]
    seconds: u64,
    /// Windows of each side, in turn.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=20))]
    rounds: u32,
}

impl Options {
    fn window(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }

    fn warm_up(&self) -> Duration {
        self.window() / 5
    }
}

/// How the relay hears of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wake {
    /// NOTIFY, with the sweep as its safety net.
    Notified,
    /// The sweep alone.
    PollOnly,
}

/// Runs the benchmark.
pub async fn run(options: &Options, cluster: &Cluster, scratch: &mut Scratch) -> anyhow::Result<()> {
    let report = Report::new("outbox", cluster.versions().await?);
    let bare_topic = scratch.topic(cluster, "bare", PARTITIONS, REPLICAS).await?;
    let bare_group = scratch.group(cluster, "bare");
    let relayed = relayed::Outbox::open(cluster, scratch).await?;

    let (mut references, mut committing, mut ours) = (Vec::new(), Vec::new(), Vec::new());
    for round in 1..=options.rounds {
        let transactions = bare::run(cluster, &bare_topic, &bare_group, options).await?;
        eprintln!("round {round}: a bare transaction took {:.1} ms", percentile(&transactions.visible, 50.0));
        references.push(transactions.visible);
        committing.push(transactions.committed);
        let latency = relayed.run(cluster, options, Wake::Notified).await?;
        eprintln!("round {round}: an event took {:.1} ms", percentile(&latency, 50.0));
        ours.push(latency);
    }
    let polled = relayed.run(cluster, options, Wake::PollOnly).await?;

    let of = |side: &[Histogram<u64>], percent| median(side.iter().map(|window| percentile(window, percent)));
    let raw = json!({
        "eventsPerSecond": options.rate,
        "eventBytes": EVENT_BYTES,
        "windows": windows(&ours),
        "referenceWindows": windows(&references),
        "referenceUntilCommitReturned": windows(&committing),
    });
    for (percent, aim) in [(50.0, Some(1.5)), (90.0, None), (99.0, Some(3.0))] {
        report.print(Figure {
            case: format!("commit to visible p{percent}"),
            unit: "ms",
            value: of(&ours, percent),
            reference: Some(of(&references, percent)),
            aim: aim.map(Aim::RatioAtMost),
            raw: raw.clone(),
        });
    }
    report.print(Figure {
        case: "poll only, commit to visible p50".into(),
        unit: "ms",
        value: percentile(&polled, 50.0),
        reference: Some(of(&references, 50.0)),
        aim: None,
        raw: json!({"sweepSeconds": rounded(relayed.sweep().as_secs_f64()), "latencyMs": percentiles(&polled)}),
    });
    Ok(())
}

fn windows(side: &[Histogram<u64>]) -> Value {
    side.iter().map(percentiles).collect()
}

/// An event that says which it is.
fn event(number: u64) -> Vec<u8> {
    let mut payload = vec![b'.'; EVENT_BYTES];
    payload[..8].copy_from_slice(&number.to_be_bytes());
    payload
}

/// Which event it is.
fn number(payload: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(payload.get(..8)?.try_into().ok()?))
}

fn key(number: u64) -> String {
    format!("aggregate-{}", number % KEYS)
}
