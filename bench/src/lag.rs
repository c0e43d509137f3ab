//! The operator's lag engine over many groups: how many requests a broker gets in a cycle, and how far the age of the oldest unprocessed record
//! is from the truth, which the load generator knows.

mod groups;
mod load;
mod truth;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{bail, ensure};
use serde_json::json;
use tidegate_kafka::{AdminOptions, Krafka, RequestMetrics, Tally};
use tidegate_operator::lag::{Clock, Engine, Reading, Wanted};
use tidegate_settings::{Consumes, StartAt};
use tokio::time::{MissedTickBehavior, interval};

use self::{
    groups::Groups,
    load::{ALL, Load},
    truth::Truth,
};
use crate::{
    cluster::{Cluster, Scratch},
    report::{Aim, Figure, Report, median, rounded},
};

/// How often the operator reads lag.
const INTERVAL: Duration = Duration::from_secs(5);
/// Cycles before anything counts: the first asks everything, and what was there before it is read by and by.
const WARM_UP: usize = 4;
/// Requests that a broker may get in a cycle.
const REQUESTS: f64 = 5.0;
/// How far an age may be off, in seconds.
const OFF: f64 = 5.0;

/// How to measure.
#[derive(clap::Args)]
pub struct Options {
    /// Consumer groups, shared out among the loads.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(5..=10_000))]
    groups: u32,
    /// Partitions of each load's topic.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100))]
    partitions: u32,
    /// Seconds to measure.
    #[arg(long, default_value_t = 180, value_parser = clap::value_parser!(u64).range(30..=3_600))]
    seconds: u64,
    /// Seconds between two commits of a group.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=60))]
    commit_every: u64,
}

/// A load, its topic, and what is known of it.
struct Stream {
    load: Load,
    topic: String,
    truth: Arc<Truth>,
}

/// What one cycle was like.
struct Cycle {
    requests: BTreeMap<Option<i32>, u64>,
    seconds: f64,
}

impl Cycle {
    /// Requests that the busiest broker got. Those of which the library chose the broker count as if it were that one.
    fn busiest(&self) -> f64 {
        let chosen = self.requests.get(&None).copied().unwrap_or(0);
        let named = self.requests.iter().filter_map(|(broker, sent)| broker.map(|_| *sent)).max().unwrap_or(0);
        (named + chosen) as f64
    }
}

/// Runs the benchmark.
pub async fn run(options: &Options, cluster: &Cluster, scratch: &mut Scratch) -> anyhow::Result<()> {
    let report = Report::new("lag", cluster.versions().await?);
    let clock = Clock::start();
    let tally = Tally::default();
    let admin = Krafka::new(cluster.kafka()?, AdminOptions::default(), RequestMetrics::default());
    let lag = admin.beside(INTERVAL, tally.clone());

    let mut streams = Vec::new();
    let mut writers = Vec::new();
    for load in ALL {
        let topic = scratch.topic(cluster, load.name(), options.partitions as i32, 1).await?;
        let truth = Arc::new(Truth::new(options.partitions as usize));
        writers.push(load::write(cluster, &topic, load, &truth, options.partitions as usize, clock)?);
        streams.push(Stream { load, topic, truth });
    }
    let streams = Arc::new(streams);
    let wanted: Vec<Wanted> = (0..options.groups as usize)
        .map(|group| {
            let stream = &streams[group % streams.len()];
            let consumes = Consumes {
                topics: vec![stream.topic.clone()],
                group: scratch.group(cluster, &format!("{group}")),
                start_at: Some(StartAt::Earliest),
                ordered: None,
            };
            Wanted { processor: group.to_string(), consumes, retries: vec![], dead_letters: None }
        })
        .collect();
    eprintln!("{} groups commit for the first time", wanted.len());
    let groups = Groups { admin: &admin, wanted: &wanted, streams: streams.clone(), clock, started: Instant::now() };
    eprintln!("that took {:.1} s", groups.commit().await?.as_secs_f64());

    let commits = groups.commit_every(Duration::from_secs(options.commit_every));
    let measured = tokio::select! {
        measured = measure(options, &lag, &tally, &wanted, &streams, clock) => measured?,
        stopped = commits => bail!("the groups stopped committing: {stopped:?}"),
    };
    for writer in &mut writers {
        ensure!(writer.try_join_next().is_none(), "a writer stopped");
    }
    tell(&report, options, measured);
    Ok(())
}

/// What was measured.
#[derive(Default)]
struct Measured {
    cold: Option<Cycle>,
    cycles: Vec<Cycle>,
    /// By load, how far each age was off, in seconds.
    off: BTreeMap<&'static str, Vec<f64>>,
    /// Ages that were unknown.
    unknown: u64,
}

async fn measure(
    options: &Options,
    lag: &Krafka,
    tally: &Tally,
    wanted: &[Wanted],
    streams: &[Stream],
    clock: Clock,
) -> anyhow::Result<Measured> {
    let (mut engine, mut measured) = (Engine::default(), Measured::default());
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let cycles = WARM_UP + usize::try_from(options.seconds / INTERVAL.as_secs())?;
    for number in 0..cycles {
        ticks.tick().await;
        let started = Instant::now();
        let read = AtomicI64::new(0);
        let readings = engine
            .read(lag, wanted, &|| {
                let now = clock.now();
                read.store(now, Ordering::Relaxed);
                now
            })
            .await;
        let cycle = Cycle { requests: tally.take(), seconds: started.elapsed().as_secs_f64() };
        let now = read.into_inner();
        eprintln!("cycle {number}: {:.2} s, requests {:?}", cycle.seconds, cycle.requests);
        if number == 0 {
            measured.cold = Some(cycle);
        } else if number >= WARM_UP {
            measured.cycles.push(cycle);
            for (group, reading) in readings.iter().enumerate() {
                let stream = &streams[group % streams.len()];
                match reading.lag_seconds {
                    None => measured.unknown += 1,
                    Some(said) => measured
                        .off
                        .entry(stream.load.name())
                        .or_default()
                        .push((said - truth(stream, reading, now)).abs()),
                }
            }
        }
    }
    Ok(measured)
}

/// How old the oldest record is that a group has not committed, of all partitions: by what it had committed when it was read.
fn truth(stream: &Stream, reading: &Reading, now: i64) -> f64 {
    let ages = reading.partitions.iter().filter_map(|one| Some((one.partition, one.committed?)));
    ages.map(|(partition, committed)| stream.truth.age(partition as usize, committed, now)).fold(0.0, f64::max)
}

fn tell(report: &Report, options: &Options, measured: Measured) {
    let busiest: Vec<f64> = measured.cycles.iter().map(Cycle::busiest).collect();
    let cold = measured.cold.map(|cold| json!({"busiest": cold.busiest(), "seconds": rounded(cold.seconds)}));
    report.print(Figure {
        case: format!("requests, {} groups of {} partitions", options.groups, options.partitions),
        unit: "requests/broker/cycle",
        value: busiest.iter().copied().fold(0.0, f64::max),
        reference: None,
        aim: Some(Aim::AtMost(REQUESTS)),
        raw: json!({
            "median": median(busiest.iter().copied()),
            "cycles": measured.cycles.len(),
            "cycleSeconds": {
                "median": rounded(median(measured.cycles.iter().map(|cycle| cycle.seconds))),
                "max": rounded(measured.cycles.iter().map(|cycle| cycle.seconds).fold(0.0, f64::max)),
            },
            "coldStart": cold,
        }),
    });
    for (load, mut off) in measured.off {
        off.sort_by(f64::total_cmp);
        let of = |percent: usize| {
            off.get((off.len() * percent / 100).min(off.len().saturating_sub(1))).copied().unwrap_or(0.0)
        };
        report.print(Figure {
            case: format!("age, {load}"),
            unit: "s off, p99",
            value: of(99),
            reference: None,
            aim: Some(Aim::AtMost(OFF)),
            raw: json!({"p50": rounded(of(50)), "p90": rounded(of(90)), "max": rounded(of(100)), "samples": off.len(), "unknown": measured.unknown}),
        });
    }
}
