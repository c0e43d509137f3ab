//! `tidegate-load`, which `hack/load` builds and runs: load on a service of the local cluster, then the invariants on its stores.

use std::{
    process::ExitCode,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::Context;
use clap::{Parser, Subcommand};
use tidegate_verify::{
    acknowledged,
    client::WalletApi,
    environment::Environment,
    load::{MOST_OPERATIONS, MOST_WALLETS, MOST_WORKERS, Mix, Options, describe, drive},
    stores::settle,
    verdict::Verdict,
};

/// Load on a service of the local cluster, and proof that nothing was lost or made up.
#[derive(Parser)]
#[command(name = "hack/load")]
struct Arguments {
    #[command(subcommand)]
    service: Service,
}

#[derive(Subcommand)]
enum Service {
    /// Deposits, withdrawals and transfers on wallets of its own; then the invariants on PostgreSQL and Kafka.
    Wallet(Wallet),
}

#[derive(clap::Args)]
struct Wallet {
    /// Wallets to open.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=i64::from(MOST_WALLETS)))]
    wallets: u32,
    /// Operations on them.
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(0..=MOST_OPERATIONS))]
    operations: u64,
    /// Connections that work at the same time.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=i64::from(MOST_WORKERS)))]
    workers: u32,
    /// At most so many operations a second, over all workers. Default: as many as the service takes.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rate: Option<u32>,
    /// Holds, captures, releases and bulks, too.
    #[arg(long)]
    full: bool,
    /// Chooses the operations; printed, so that a run can be made again. Default: from the clock.
    #[arg(long)]
    seed: Option<u64>,
    /// The whole run ends after so many seconds, finished or not.
    #[arg(long, default_value_t = 900, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    deadline: u64,
    /// Seconds that the projections have to catch up after the last operation.
    #[arg(long, default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..=3600))]
    settle: u64,
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let Service::Wallet(wallet) = Arguments::parse().service;
    let environment = Environment::from_env()?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")?.as_millis();
    let seed = wallet.seed.unwrap_or(now as u64);
    let options = Options {
        wallets: wallet.wallets,
        operations: wallet.operations,
        workers: wallet.workers,
        seed,
        run: format!("load-{seed:x}-{now:x}"),
        rate: wallet.rate,
        mix: if wallet.full { Mix::Full } else { Mix::Plain },
        stop: Arc::default(),
        deadline: Duration::from_secs(wallet.deadline),
        progress: true,
    };
    let api = WalletApi::new(&environment.wallet_url)?;

    println!("seed {seed}, wallets {}-0 to {}-{}", options.run, options.run, options.wallets - 1);
    let outcome = drive(api, options.clone()).await;
    print!("{}", describe(&options, &outcome));
    let reading = settle(&environment, Duration::from_secs(wallet.settle)).await?;
    let mut verdict = Verdict::of(&reading);
    // What a failed operation did is unknown, so only a run without failures can be held against the stores.
    if outcome.failed == 0 {
        let lost = acknowledged::violations(&options, &outcome.wallets, &reading.facts);
        verdict.rule("acknowledged", acknowledged::PROMISE, &lost);
    }
    print!("{verdict}");

    let complete = outcome.failed == 0 && outcome.succeeded == options.operations && outcome.failures.is_empty();
    Ok(if complete && verdict.held() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
