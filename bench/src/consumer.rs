//! Records through the runtime's consumer, with retry and dead letters on and a handler that does nothing, against a bare loop on
//! librdkafka; and what a record costs while others are parked.

mod bare;
mod log;
mod runtime;

use std::time::{Duration, Instant};

use anyhow::Context;
use serde_json::{Value, json};

use crate::{
    cluster::{Cluster, Scratch},
    report::{Aim, Figure, Report, median, rounded},
    usage::{Census, Usage},
};

/// Partitions of the topics, as the wallet's topic has.
const PARTITIONS: i32 = 10;
/// Bytes of a record.
const BYTES: usize = 1024;
/// Keys of the records that are handled.
const KEYS: u64 = 1000;
/// How long nothing may come.
const PATIENCE: Duration = Duration::from_secs(60);
/// Keys that are parked while the others are handled. The first is the reference of the others.
const DEPTHS: [u64; 3] = [0, 100, 1000];
/// What a record may cost more with parked keys beside it: room for noise, and no more.
const FLAT: f64 = 1.25;

/// How to measure.
#[derive(clap::Args)]
pub struct Options {
    /// Records of a window.
    #[arg(long, default_value_t = 300_000, value_parser = clap::value_parser!(u64).range(10_000..=10_000_000))]
    records: u64,
    /// Windows of each side, in turn.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=20))]
    rounds: u32,
}

/// When a window's records came.
struct Drained {
    /// The last of the warm-up.
    first: Instant,
    last: Instant,
    records: u64,
}

impl Drained {
    /// Records a second, from the end of the warm-up to the last.
    fn rate(&self) -> f64 {
        (self.records - warm_up(self.records)) as f64 / (self.last - self.first).as_secs_f64()
    }
}

/// Records of a window that are not counted: until every partition is read, and what is to be parked is.
fn warm_up(records: u64) -> u64 {
    records / 5
}

/// One window.
struct Window {
    rate: f64,
    /// Processor time of this process for a record, microseconds.
    cpu: f64,
}

impl Window {
    fn of(drained: &Drained, (before, after): (&Usage, &Usage)) -> Self {
        Self { rate: drained.rate(), cpu: after.of("generator", before) * 1e6 / drained.records as f64 }
    }
}

/// Runs the benchmark.
pub async fn run(options: &Options, cluster: &Cluster, scratch: &mut Scratch) -> anyhow::Result<()> {
    let report = Report::new("consumer", cluster.versions().await?);
    throughput(options, cluster, scratch, &report).await?;
    depths(options, cluster, scratch, &report).await
}

async fn throughput(
    options: &Options,
    cluster: &Cluster,
    scratch: &mut Scratch,
    report: &Report,
) -> anyhow::Result<()> {
    let topic = scratch.topic(cluster, "records", PARTITIONS, 1).await?;
    eprintln!("writing {} records", options.records);
    log::write(cluster, &topic, (0..options.records).map(|number| key(number % KEYS))).await?;
    let census = Census::take().await?;
    let (mut references, mut windows) = (Vec::new(), Vec::new());
    for round in 1..=options.rounds {
        let member = runtime::Member::new(cluster, scratch, &topic, &format!("bare-{round}"), &topic)?;
        let client = member.client(cluster)?;
        let (topic_, records) = (topic.clone(), options.records);
        let before = census.usage();
        let drained = tokio::task::spawn_blocking(move || bare::drain(&client, &topic_, records)).await??;
        references.push(Window::of(&drained, (&before, &census.usage())));

        let member = runtime::Member::open(cluster, scratch, &topic, &format!("ours-{round}")).await?;
        let before = census.usage();
        let drained = member.drain(cluster, options.records, 0).await?;
        windows.push(Window::of(&drained, (&before, &census.usage())));
        eprintln!("round {round}: bare {:.0}/s, ours {:.0}/s", last(&references).rate, last(&windows).rate);
    }
    report.print(Figure {
        case: "1 KiB records, handler does nothing".into(),
        unit: "records/s",
        value: median(windows.iter().map(|window| window.rate)),
        reference: Some(median(references.iter().map(|window| window.rate))),
        aim: Some(Aim::RatioAtLeast(0.8)),
        raw: json!({"records": options.records, "windows": told(&windows), "referenceWindows": told(&references)}),
    });
    Ok(())
}

async fn depths(options: &Options, cluster: &Cluster, scratch: &mut Scratch, report: &Report) -> anyhow::Result<()> {
    let records = options.records / 3;
    let mut topics = Vec::new();
    for depth in DEPTHS {
        let topic = scratch.topic(cluster, &format!("depth-{depth}"), PARTITIONS, 1).await?;
        let keys = (0..depth).map(parked_key).chain((0..records).map(|number| key(number % KEYS)));
        log::write(cluster, &topic, keys).await?;
        topics.push((depth, topic, Vec::<Window>::new()));
    }
    let census = Census::take().await?;
    for round in 1..=options.rounds {
        for (depth, topic, windows) in &mut topics {
            let member = runtime::Member::open(cluster, scratch, topic, &format!("depth-{depth}-{round}")).await?;
            let before = census.usage();
            let drained = member.drain(cluster, records, *depth).await?;
            windows.push(Window::of(&drained, (&before, &census.usage())));
            eprintln!("round {round}: {:.1} us a record with {depth} parked keys", 1e6 / last(windows).rate);
        }
    }
    let micros = |windows: &[Window]| median(windows.iter().map(|window| 1e6 / window.rate));
    let reference = micros(&topics.first().context("there is a depth")?.2);
    for (depth, _, windows) in &topics {
        report.print(Figure {
            case: format!("a record with {depth} parked keys"),
            unit: "us",
            value: micros(windows),
            reference: (*depth > 0).then_some(reference),
            aim: (*depth > 0).then_some(Aim::RatioAtMost(FLAT)),
            raw: json!({"records": records, "windows": told(windows)}),
        });
    }
    Ok(())
}

fn last(windows: &[Window]) -> &Window {
    static NONE: Window = Window { rate: 0.0, cpu: 0.0 };
    windows.last().unwrap_or(&NONE)
}

fn told(windows: &[Window]) -> Value {
    windows
        .iter()
        .map(|window| json!({"rate": rounded(window.rate), "cpuMicrosPerRecord": rounded(window.cpu)}))
        .collect()
}

fn key(number: u64) -> String {
    format!("key-{number}")
}

/// A key whose record fails.
fn parked_key(number: u64) -> String {
    format!("parked-{number}")
}

fn is_parked_key(key: &[u8]) -> bool {
    key.starts_with(b"parked-")
}
