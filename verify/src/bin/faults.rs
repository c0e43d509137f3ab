//! `tidegate-faults`, which `hack/faults` builds and runs: load on a service of the local cluster, faults under it, then the
//! invariants on its stores.

use std::{
    process::ExitCode,
    sync::{Arc, atomic::AtomicBool, atomic::Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::Context;
use clap::{Parser, Subcommand};
use tidegate_verify::{
    environment::Environment,
    faults::{Deal, Kind, Options, Schedule, pipeline, run},
    verdict::Verdict,
};

/// Rounds that `--plan` shows.
const PLANNED: usize = 20;

/// Faults under load, and proof that nothing was lost, doubled or reordered.
#[derive(Parser)]
#[command(name = "hack/faults")]
struct Arguments {
    #[command(subcommand)]
    service: Service,
}

#[derive(Subcommand)]
enum Service {
    /// Kills, stops, scales and poisons the wallet and what it stands on while money moves; then invariants 1 to 5, 7 and 8.
    Wallet(Wallet),
    /// Kills, freezes and cuts off the operator, restarts brokers, edits specs and what was made of them, under load; then nothing may be
    /// there but what the specs ask for, and the invariants hold.
    Pipeline(Pipeline),
}

/// What is said of every run.
#[derive(clap::Args)]
struct Run {
    /// How long faults are injected; recovery and checks come on top.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    minutes: u64,
    /// Chooses the faults, their targets and their order; printed, so that a run can be made again. Default: from the clock.
    #[arg(long)]
    seed: Option<u64>,
    /// Prints the first rounds of the seed and does nothing.
    #[arg(long)]
    plan: bool,
}

#[derive(clap::Args)]
struct Wallet {
    #[command(flatten)]
    run: Run,
    /// Only these kinds, separated by commas. Default: all.
    #[arg(long, value_delimiter = ',')]
    kinds: Vec<Kind>,
    /// Operations a second.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=2000))]
    rate: u32,
}

#[derive(clap::Args)]
struct Pipeline {
    #[command(flatten)]
    run: Run,
    /// Only these kinds, separated by commas. Default: all.
    #[arg(long, value_delimiter = ',')]
    kinds: Vec<pipeline::Kind>,
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    match Arguments::parse().service {
        Service::Wallet(arguments) => wallet(arguments).await,
        Service::Pipeline(arguments) => pipelines(arguments).await,
    }
}

async fn wallet(arguments: Wallet) -> anyhow::Result<ExitCode> {
    let kinds = all_or(arguments.kinds, Kind::ALL);
    let Some(seed) = arguments.run.seed(&kinds)? else { return Ok(ExitCode::SUCCESS) };
    let options =
        Options { time: arguments.run.time(), seed, kinds, once: false, rate: arguments.rate, stop: Arc::default() };
    let environment = Environment::from_env()?;
    end_when_told(options.stop.clone())?;
    let report = run(&environment, &options, |line| println!("{line}")).await?;
    Ok(tell(&(report.load.clone() + &report.faults()), &report.verdict, report.held()))
}

async fn pipelines(arguments: Pipeline) -> anyhow::Result<ExitCode> {
    let kinds = all_or(arguments.kinds, pipeline::Kind::ALL);
    let Some(seed) = arguments.run.seed(&kinds)? else { return Ok(ExitCode::SUCCESS) };
    let image = std::env::var("TIDEGATE_PYTHON_CONSUMER_IMAGE")
        .context("there is no program of somebody's own to run: hack/up examples; eval \"$(hack/env)\"")?;
    let options = pipeline::Options { time: arguments.run.time(), seed, kinds, image, stop: Arc::default() };
    let environment = Environment::from_env()?;
    end_when_told(options.stop.clone())?;
    let report = pipeline::run(&environment, &options, |line| println!("{line}")).await?;
    Ok(tell(&(report.load.clone() + &report.faults()), &report.verdict, report.held()))
}

impl Run {
    fn time(&self) -> Duration {
        Duration::from_secs(60 * self.minutes)
    }

    /// The seed, printed; none when the plan was all that was asked for.
    fn seed<K: Deal>(&self, kinds: &[K]) -> anyhow::Result<Option<u64>> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")?.as_millis();
        let seed = self.seed.unwrap_or(now as u64);
        println!("seed {seed}");
        if self.plan {
            for (number, round) in (1..).zip(Schedule::new(seed, kinds).take(PLANNED)) {
                println!("round {number}: {round}");
            }
        }
        Ok((!self.plan).then_some(seed))
    }
}

fn all_or<K: Copy>(asked: Vec<K>, all: &[K]) -> Vec<K> {
    if asked.is_empty() { all.to_vec() } else { asked }
}

fn tell(report: &str, verdict: &Verdict, held: bool) -> ExitCode {
    print!("\n{report}{verdict}");
    println!("{}", if held { "everything held" } else { "NOT everything held" });
    if held { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Ctrl-C or SIGTERM: no more faults, what was done is undone, and the stores are judged all the same.
fn end_when_told(stop: Arc<AtomicBool>) -> anyhow::Result<()> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::spawn(async move {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        }
        eprintln!("told to end: undoing what was done");
        stop.store(true, Ordering::SeqCst);
    });
    Ok(())
}
