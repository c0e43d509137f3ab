//! Transfers over HTTP against the textbook's transaction on the same PostgreSQL.

mod load;
mod textbook;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::ensure;
use serde_json::json;
use tidegate_verify::{load::microseconds, stores::postgres};

pub use load::{Load, Purse, Window};
use textbook::Textbook;

use crate::{
    cluster::{Cluster, Scratch},
    report::{Aim, Figure, Report, median, percentile, percentiles, rounded},
    usage::{Census, average},
};

/// Most connections that pgbench may be given: the server has 200, and the wallet's own are among them.
pub const MOST_CONNECTIONS: u32 = 128;
/// How long the relay and the projections have to catch up after a window.
const SETTLE: Duration = Duration::from_secs(180);

/// How to measure.
#[derive(clap::Args)]
pub struct Options {
    /// Wallets that transfers are spread over.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(2..=100_000))]
    wallets: u32,
    /// Connections, of the reference too.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=i64::from(MOST_CONNECTIONS)))]
    connections: u32,
    /// Seconds that are counted of each window.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Seconds before that, which are not.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(0..=60))]
    warm_up: u64,
    /// Windows of each side, in turn.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=20))]
    rounds: u32,
}

/// Which wallets a transfer is between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spread {
    /// Any two.
    Uniform,
    /// One and the same, and any other.
    Hot,
}

impl Spread {
    fn name(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Hot => "hot",
        }
    }

    /// How many times the textbook's throughput is aimed at.
    fn aim(self) -> f64 {
        match self {
            Self::Uniform => 3.0,
            Self::Hot => 8.0,
        }
    }
}

/// Runs the benchmark.
pub async fn run(options: &Options, cluster: &Cluster, scratch: &mut Scratch) -> anyhow::Result<()> {
    let report = Report::new("wallet", cluster.versions().await?);
    let textbook = Textbook::open(cluster, scratch, options.wallets).await?;
    eprintln!("opening {} wallets", options.wallets);
    let purse = Purse::fill(cluster, options.wallets).await?;
    for spread in [Spread::Uniform, Spread::Hot] {
        measure(options, cluster, &textbook, &purse, spread, &report).await?;
    }
    textbook.check(cluster).await
}

async fn measure(
    options: &Options,
    cluster: &Cluster,
    textbook: &Textbook,
    purse: &Arc<Purse>,
    spread: Spread,
    report: &Report,
) -> anyhow::Result<()> {
    let census = Census::take().await?;
    let (mut references, mut windows, mut settled) = (Vec::new(), Vec::<Window>::new(), Vec::new());
    for round in 1..=options.rounds {
        cluster.checkpoint().await?;
        let reference = textbook.run(options, spread, &census).await?;
        eprintln!("{} round {round}: reference {:.0}/s", spread.name(), reference.rate);
        references.push(reference);
        cluster.checkpoint().await?;
        let load = Load {
            spread,
            connections: options.connections,
            warm_up: Duration::from_secs(options.warm_up),
            counted: Duration::from_secs(options.seconds),
            reference: String::new(),
        };
        let window = load.run(cluster, purse, &census).await?;
        eprintln!(
            "{} round {round}: wallet {:.0}/s, p99 {:.1} ms",
            spread.name(),
            window.rate,
            percentile(&window.latency, 99.0)
        );
        windows.push(window);
        // What the wallet left to do must not be the reference's burden.
        settled.push(settle(cluster).await?);
    }
    let rates = |rates: &mut dyn Iterator<Item = f64>| rates.map(rounded).collect::<Vec<_>>();
    let p99 = median(windows.iter().map(|window| percentile(&window.latency, 99.0)));
    let mut latency = microseconds();
    for window in &windows {
        latency.add(&window.latency)?;
    }
    report.print(Figure {
        case: spread.name().into(),
        unit: "transfers/s",
        value: median(windows.iter().map(|window| window.rate)),
        reference: Some(median(references.iter().map(|reference| reference.rate))),
        aim: Some(Aim::RatioAtLeast(spread.aim())),
        raw: json!({
            "connections": options.connections,
            "wallets": options.wallets,
            "seconds": options.seconds,
            "rates": rates(&mut windows.iter().map(|window| window.rate)),
            "referenceRates": rates(&mut references.iter().map(|reference| reference.rate)),
            "latencyMs": percentiles(&latency),
            "referenceLatencyMeanMs": rounded(median(references.iter().map(|reference| reference.latency_ms))),
            "processors": average(&windows.iter().map(|window| window.processors.clone()).collect::<Vec<_>>()),
            "referenceProcessors": average(&references.iter().map(|reference| reference.processors.clone()).collect::<Vec<_>>()),
            "settledAfterSeconds": settled.iter().map(|took: &Duration| rounded(took.as_secs_f64())).collect::<Vec<_>>(),
        }),
    });
    report.print(Figure {
        case: format!("{} p99", spread.name()),
        unit: "ms",
        value: p99,
        reference: None,
        aim: Some(Aim::AtMost(50.0)),
        raw: json!({
            "p99s": rates(&mut windows.iter().map(|window| percentile(&window.latency, 99.0))),
            "latencyMs": percentiles(&latency),
        }),
    });
    Ok(())
}

/// Waits until every committed event is published and projected; how long that took.
pub async fn settle(cluster: &Cluster) -> anyhow::Result<Duration> {
    let started = Instant::now();
    let mut connection = postgres::connect(&cluster.environment.wallet_database_url).await?;
    while !postgres::progress(&mut connection).await?.is_settled() {
        ensure!(started.elapsed() < SETTLE, "the projections did not catch up within {} s", SETTLE.as_secs());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(started.elapsed())
}
