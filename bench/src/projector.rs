//! A replay of the wallet's ledger by the real binary, against COPY of the same rows by psql.

mod history;
mod service;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use serde_json::json;
use sqlx::{AssertSqlSafe, PgPool};

use crate::{
    cluster::{Cluster, Scratch, in_postgres},
    report::{Aim, Figure, Report, median, rounded},
    usage::{Census, average},
};

/// Partitions of the topic, as the wallet's topic has.
const PARTITIONS: i32 = 10;
/// Rows of an event that moves money.
const ROWS: f64 = 2.0;
/// How long a replay may stand still.
const PATIENCE: Duration = Duration::from_secs(90);

/// How to measure.
#[derive(clap::Args)]
pub struct Options {
    /// Events to replay.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(10_000..=20_000_000))]
    events: u64,
    /// Wallets that they are of.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    wallets: u64,
    /// Replays, and copies, in turn.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=20))]
    rounds: u32,
    /// The wallet's binary.
    #[arg(long, env = "TIDEGATE_BENCH_WALLET", value_name = "FILE")]
    wallet: PathBuf,
}

/// One replay.
struct Replay {
    rate: f64,
    processors: BTreeMap<String, f64>,
    peak_bytes: u64,
}

/// Runs the benchmark.
pub async fn run(options: &Options, cluster: &Cluster, scratch: &mut Scratch) -> anyhow::Result<()> {
    let report = Report::new("projector", cluster.versions().await?);
    // One replica: the log is written once and then only read.
    let topic = scratch.topic(cluster, "history", PARTITIONS, 1).await?;
    eprintln!("writing {} events", options.events);
    history::write(cluster, &topic, options.events, options.wallets).await?;

    let (mut replays, mut copies) = (Vec::<Replay>::new(), Vec::new());
    for round in 1..=options.rounds {
        let database = scratch.database(cluster, &format!("replay-{round}")).await?;
        let group = scratch.group(cluster, &format!("replay-{round}"));
        cluster.checkpoint().await?;
        let replay = replay(options, cluster, &topic, &group, &database).await?;
        eprintln!("round {round}: replayed {:.0} rows/s", replay.rate);
        replays.push(replay);
        let copied = copy(cluster, &database).await?;
        eprintln!("round {round}: copied {copied:.0} rows/s");
        copies.push(copied);
        scratch.drop_database(cluster, &database).await?;
    }
    report.print(Figure {
        case: format!("ledger, {} events", options.events),
        unit: "rows/s",
        value: median(replays.iter().map(|replay| replay.rate)),
        reference: Some(median(copies.iter().copied())),
        aim: Some(Aim::RatioAtLeast(0.3)),
        raw: json!({
            "events": options.events,
            "wallets": options.wallets,
            "rates": replays.iter().map(|replay| rounded(replay.rate)).collect::<Vec<_>>(),
            "referenceRates": copies.iter().copied().map(rounded).collect::<Vec<_>>(),
            "eventsPerSecond": rounded(median(replays.iter().map(|replay| replay.rate)) / ROWS),
            "processors": average(&replays.iter().map(|replay| replay.processors.clone()).collect::<Vec<_>>()),
            "peakMB": replays.iter().map(|replay| rounded(replay.peak_bytes as f64 / 1e6)).collect::<Vec<_>>(),
        }),
    });
    Ok(())
}

/// Replays the topic into an empty database. Counted from the first progress that is seen until everything is applied: how long a
/// member needs to join its group is no throughput.
async fn replay(
    options: &Options,
    cluster: &Cluster,
    topic: &str,
    group: &str,
    database: &str,
) -> anyhow::Result<Replay> {
    let mut census = Census::take().await?;
    let service = service::Service::start(cluster, &options.wallet, topic, group, database).await?;
    census.name(service.id(), "projector");
    let pool = cluster.pool(database, 1);
    let mut progress = (0, Instant::now());
    let mut begun = None;
    while progress.0 < options.events {
        tokio::time::sleep(Duration::from_millis(20)).await;
        ensure!(
            progress.1.elapsed() < PATIENCE,
            "the replay stands at {} of {}; {}",
            progress.0,
            options.events,
            service.tail()
        );
        let applied = applied(&pool).await;
        if applied > progress.0 {
            progress = (applied, Instant::now());
            begun.get_or_insert_with(|| (applied, Instant::now(), census.usage()));
        }
    }
    let (at_first, begun, before) =
        begun.context("the replay was over before it could be watched; ask for more events")?;
    let seconds = (progress.1 - begun).as_secs_f64();
    let processors = census.usage().since(&before, seconds);
    let peak_bytes = service.peak_bytes();
    service.stop().await?;
    check(options, &pool).await?;
    pool.close().await;
    Ok(Replay { rate: (options.events - at_first) as f64 * ROWS / seconds, processors, peak_bytes })
}

/// Events that are applied; none while the service has not made its tables.
async fn applied(pool: &PgPool) -> u64 {
    let sum = sqlx::query_scalar::<_, i64>("SELECT coalesce(sum(version), 0)::bigint FROM ledger_watermarks");
    sum.fetch_one(pool).await.map_or(0, i64::unsigned_abs)
}

/// A replay counts only if everything is there.
async fn check(options: &Options, pool: &PgPool) -> anyhow::Result<()> {
    let (rows, sum): (i64, i64) =
        sqlx::query_as("SELECT count(*), sum(amount)::bigint FROM ledger_entries").fetch_one(pool).await?;
    let expected = history::movements(options.events, options.wallets) as f64 * ROWS;
    ensure!(rows as f64 == expected && sum == 0, "the ledger has {rows} rows of {expected}, and they sum to {sum}");
    Ok(())
}

/// Copies the rows of the replay into a table like the ledger's; rows a second.
async fn copy(cluster: &Cluster, database: &str) -> anyhow::Result<f64> {
    let pool = cluster.pool(database, 1);
    sqlx::query("CREATE TABLE copied (LIKE ledger_entries INCLUDING ALL)").execute(&pool).await?;
    let rows: i64 = sqlx::query_scalar("SELECT count(*) FROM ledger_entries").fetch_one(&pool).await?;
    pool.close().await;
    // On the volume of the data: /tmp is small.
    let file = format!("/var/lib/postgresql/{database}.copy");
    in_postgres(&format!("psql -X -q -d {database} -c 'COPY ledger_entries TO STDOUT' > {file}"), None).await?;
    cluster.checkpoint().await?;
    let said =
        in_postgres(&format!("psql -X -d {database} -c '\\timing on' -c 'COPY copied FROM STDIN' < {file}"), None)
            .await;
    in_postgres(&format!("rm -f {file}"), None).await?;
    let said = said?;
    let milliseconds = milliseconds(&said).with_context(|| format!("psql said: {said}"))?;
    let pool = cluster.pool(database, 1);
    let copied: i64 = sqlx::query_scalar(AssertSqlSafe("SELECT count(*) FROM copied")).fetch_one(&pool).await?;
    pool.close().await;
    ensure!(copied == rows, "{copied} of {rows} rows were copied");
    Ok(rows as f64 / (milliseconds / 1000.0))
}

/// What `\timing` of psql prints: `Time: 9123.456 ms (00:09.123)`.
fn milliseconds(said: &str) -> Option<f64> {
    said.lines().find_map(|line| line.strip_prefix("Time: "))?.split(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_psql_says_is_understood() {
        assert_eq!(milliseconds("Timing is on.\nCOPY 20\nTime: 9123.456 ms (00:09.123)\n"), Some(9123.456));
        assert_eq!(milliseconds("ERROR"), None);
    }
}
