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
    faults::{Kind, Options, Schedule, run},
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
}

#[derive(clap::Args)]
struct Wallet {
    /// How long faults are injected; recovery and checks come on top.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    minutes: u64,
    /// Chooses the faults, their targets and their order; printed, so that a run can be made again. Default: from the clock.
    #[arg(long)]
    seed: Option<u64>,
    /// Only these kinds, separated by commas. Default: all.
    #[arg(long, value_delimiter = ',')]
    kinds: Vec<Kind>,
    /// Operations a second.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=2000))]
    rate: u32,
    /// Prints the first rounds of the seed and does nothing.
    #[arg(long)]
    plan: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let Service::Wallet(wallet) = Arguments::parse().service;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")?.as_millis();
    let options = Options {
        time: Duration::from_secs(60 * wallet.minutes),
        seed: wallet.seed.unwrap_or(now as u64),
        kinds: if wallet.kinds.is_empty() { Kind::ALL.to_vec() } else { wallet.kinds },
        once: false,
        rate: wallet.rate,
        stop: Arc::default(),
    };
    println!("seed {}", options.seed);
    if wallet.plan {
        for (number, round) in (1..).zip(Schedule::new(options.seed, &options.kinds).take(PLANNED)) {
            let faults: Vec<String> = round.faults.iter().map(ToString::to_string).collect();
            println!("round {number}: {}", faults.join(" + "));
        }
        return Ok(ExitCode::SUCCESS);
    }

    let environment = Environment::from_env()?;
    end_when_told(options.stop.clone())?;
    let report = run(&environment, &options, |line| println!("{line}")).await?;
    print!("\n{}{}{}", report.load, report.faults(), report.verdict);
    println!("{}", if report.held() { "everything held" } else { "NOT everything held" });
    Ok(if report.held() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
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
