//! `tidegate-bench`, which `hack/bench` builds and runs: benchmarks on the local cluster, each with its reference in the same run.
//! Figures go to standard output, a JSON object a line; progress and a line for people to standard error.

mod cluster;
mod consumer;
mod http;
mod lag;
mod memory;
mod outbox;
mod projector;
mod report;
mod usage;
mod wallet;
mod writer;

use std::process::ExitCode;

use anyhow::bail;
use clap::{Parser, Subcommand};

use crate::cluster::{Cluster, Scratch};

/// Benchmarks on the local cluster. docs/benchmarks.md tells how to read them.
#[derive(Parser)]
#[command(name = "hack/bench")]
struct Arguments {
    #[command(subcommand)]
    bench: Bench,
}

#[derive(Subcommand)]
enum Bench {
    /// Transfers over HTTP; reference: pgbench with the textbook's transaction.
    Wallet(wallet::Options),
    /// From commit to visible; reference: a bare Kafka transaction.
    Outbox(outbox::Options),
    /// A replay of the ledger; reference: psql COPY of the same rows.
    Projector(projector::Options),
    /// Records through the runtime's consumer; reference: a bare loop on librdkafka.
    Consumer(consumer::Options),
    /// The operator's reading of the lag of many groups: requests of a broker, and how far ages are off.
    Lag(lag::Options),
    /// Memory of the operator and the services, idle and at load.
    Memory(memory::Options),
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let Arguments { bench } = Arguments::parse();
    let cluster = Cluster::from_env()?;
    let mut scratch = Scratch::default();
    let ran = tokio::select! {
        ran = run(&bench, &cluster, &mut scratch) => ran,
        _ = tokio::signal::ctrl_c() => interrupted(),
    };
    scratch.clear(&cluster).await;
    ran.map(|()| ExitCode::SUCCESS)
}

async fn run(bench: &Bench, cluster: &Cluster, scratch: &mut Scratch) -> anyhow::Result<()> {
    match bench {
        Bench::Wallet(options) => wallet::run(options, cluster, scratch).await,
        Bench::Outbox(options) => outbox::run(options, cluster, scratch).await,
        Bench::Projector(options) => projector::run(options, cluster, scratch).await,
        Bench::Consumer(options) => consumer::run(options, cluster, scratch).await,
        Bench::Lag(options) => lag::run(options, cluster, scratch).await,
        Bench::Memory(options) => memory::run(options, cluster, scratch).await,
    }
}

fn interrupted() -> anyhow::Result<()> {
    bail!("interrupted")
}
