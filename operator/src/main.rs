//! The operator's process: configuration, lease, shutdown.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use clap::{Parser, Subcommand};
use tidegate_operator::{
    alerts::{collect, render},
    config::{self, Config},
    dead_letters::Desk,
    events::Events,
    http::{self, Readiness},
    lease::Elector,
    metrics::Metrics,
    term,
};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

/// How long a leadership may take to finish what it is doing when the process is told to stop.
const FINISH: Duration = Duration::from_secs(5);

/// What is logged unless RUST_LOG says otherwise.
const LOG: &str = "info,krafka=warn";

#[derive(Parser)]
#[command(version, about = "Turns KafkaTopic and EventPipeline resources into topics and running processors")]
struct Arguments {
    /// The operator's configuration file.
    #[arg(long, default_value = config::DEFAULT_PATH)]
    config: PathBuf,
    #[command(subcommand)]
    command: Option<Command>,
}

/// Without one of these it operates.
#[derive(Subcommand)]
enum Command {
    /// Prints the alerting rules of the EventPipelines in a file as a rule file of Prometheus; needs no cluster.
    Rules(render::Arguments),
    /// Beside a Prometheus that the Prometheus operator does not look after: keeps the rule files of all labelled ConfigMaps in a folder,
    /// and has Prometheus read them again.
    CollectRules(collect::Arguments),
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    if let Some(Command::Rules(arguments)) = &arguments.command {
        print!("{}", render::rules(arguments)?);
        return Ok(());
    }
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(LOG));
    tracing_subscriber::fmt().json().flatten_event(true).with_env_filter(filter).init();
    match arguments.command {
        Some(Command::CollectRules(arguments)) => {
            let client = kube::Client::try_default().await.context("finding the Kubernetes API server")?;
            collect::run(client, &arguments, stop_on_signal()?).await.context("collecting rules")
        }
        _ => operate(&arguments.config).await,
    }
}

async fn operate(config: &Path) -> anyhow::Result<()> {
    let config = Arc::new(Config::load(config)?);
    let metrics = Metrics::new(&config.metrics);
    // Read once before anything is served: a wrong mount should not look like a follower.
    term::bindings(&config)?;
    let client = kube::Client::try_default().await.context("finding the Kubernetes API server")?;

    let stop = stop_on_signal()?;
    let readiness = Readiness::default();
    let desk = Desk::default();
    let shown = config.dead_letters.show.then(|| desk.clone());
    let server = tokio::spawn(http::serve(config.http.port, metrics.clone(), readiness.clone(), shown, stop.clone()));

    let me = std::env::var("POD_NAME").unwrap_or_else(|_| format!("{}-{}", hostname(), std::process::id()));
    let elector = Elector::new(client.clone(), &config.namespace, &config.installation_id, &me);
    tracing::info!(version = env!("CARGO_PKG_VERSION"), me, lease = config.installation_id, "started");
    while !stop.is_cancelled() {
        tokio::select! {
            () = stop.cancelled() => break,
            () = elector.acquire(|| readiness.ready()) => {}
        }
        metrics.leads(true);
        tracing::info!(me, "leading");
        let bindings = term::bindings(&config)?;
        let connections = term::connections(&bindings, &config, &metrics);
        let events = Events::new(client.clone(), me.clone());
        let kept = (metrics.clone(), desk.clone());
        let term = term::lead(client.clone(), config.clone(), connections, events, kept, stop.clone());
        let late = async {
            stop.cancelled().await;
            tokio::time::sleep(FINISH).await;
        };
        tokio::select! {
            () = term => {}
            () = elector.hold() => tracing::warn!("the lease is lost, and every write with it"),
            () = term::changed(&config, &bindings) => tracing::info!("a connection has changed; beginning anew with it"),
            () = late => tracing::warn!("some reconciliations were cut short"),
        }
        metrics.leads(false);
        metrics.forget();
    }
    elector.release().await;
    tracing::info!("stopped");
    server.await.context("waiting for the HTTP server")?.context("serving HTTP")
}

fn stop_on_signal() -> anyhow::Result<CancellationToken> {
    let stop = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listening for SIGINT")?;
    let signalled = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        signalled.cancel();
    });
    Ok(stop)
}

fn hostname() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map_or_else(|_| "operator".to_owned(), |name| name.trim().to_owned())
}
