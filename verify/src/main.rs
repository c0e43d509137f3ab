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
    invariants::Invariant,
    load::{MOST_OPERATIONS, MOST_WALLETS, MOST_WORKERS, Options, Outcome, describe, drive},
    stores::{Reading, settle},
};

/// Violations of one invariant that are printed.
const SHOWN: usize = 10;

/// Load on a service of the local cluster, and proof that nothing was lost or made up.
#[derive(Parser)]
#[command(name = "hack/load")]
struct Arguments {
    #[command(subcommand)]
    service: Service,
}

#[derive(Subcommand)]
enum Service {
    /// Deposits, withdrawals and transfers on wallets of its own; then invariants 1 to 4 on PostgreSQL and Kafka.
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
        stop: Arc::default(),
        deadline: Duration::from_secs(wallet.deadline),
        progress: true,
    };
    let api = WalletApi::new(&environment.wallet_url)?;

    println!("seed {seed}, wallets {}-0 to {}-{}", options.run, options.run, options.wallets - 1);
    let outcome = drive(api, options.clone()).await;
    print!("{}", describe(&options, &outcome));
    let reading = settle(&environment, Duration::from_secs(wallet.settle)).await?;
    let held = judge(&options, &outcome, &reading);

    let complete = outcome.failed == 0 && outcome.succeeded == options.operations && outcome.failures.is_empty();
    Ok(if complete && held { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Prints what the stores say, and whether all of it is as promised.
fn judge(options: &Options, outcome: &Outcome, reading: &Reading) -> bool {
    let facts = &reading.facts;
    let mut held = true;
    match reading.caught_up_after {
        Some(after) => println!("projections        caught up {:.2} s after the last operation", after.as_secs_f64()),
        None => {
            held = false;
            println!("projections        did NOT catch up within the limit: {:?}", reading.progress);
        }
    }
    for (group, unread) in &reading.lag {
        held &= *unread == 0;
        println!("lag                {unread} records, group {group}");
    }
    println!(
        "stores             {} wallets, {} events committed, {} published, {} ledger entries",
        facts.command_state.len(),
        facts.committed.len(),
        facts.published.len(),
        facts.ledger.len()
    );
    for invariant in Invariant::ALL {
        let violations = invariant.violations(facts);
        let said = if violations.is_empty() { "held".into() } else { format!("VIOLATED {} times", violations.len()) };
        println!("invariant {}        {said}: {}", invariant.number(), invariant.promise());
        violations.iter().take(SHOWN).for_each(|violation| println!("  {violation}"));
        held &= violations.is_empty();
    }
    // What a failed operation did is unknown, so only a run without failures can be held against the stores.
    if outcome.failed == 0 {
        let lost = acknowledged::violations(options, &outcome.balances, facts);
        let said = if lost.is_empty() { "held".into() } else { format!("VIOLATED {} times", lost.len()) };
        println!("acknowledged       {said}: what the service acknowledged in this run is what is stored");
        lost.iter().take(SHOWN).for_each(|violation| println!("  {violation}"));
        held &= lost.is_empty();
    }
    held
}
