//! The wallet service: wires the parts of its role together. What is decided lies in `domain`, what is written in `commands` and
//! `projections`, what is asked in `queries`, what is spoken in `http`.

mod chain;
mod commands;
mod domain;
mod error;
mod http;
mod problem;
mod projections;
mod queries;
mod reconcile;

use std::process::ExitCode;

use jiff::Timestamp;
use sqlx::{PgPool, migrate::Migrator};
use tidegate_runtime::{App, Program, StartError, consumer::Projection, http::Api as Served, outbox::RelayHandle};
use tidegate_settings::{Publisher, Run, WalletRole, WalletSettings};
use uuid::Uuid;

use crate::{
    commands::{Committer, CommitterMetrics, Surroundings},
    projections::{Ledger, ReadModel, Rebuild},
    reconcile::ReconciliationGauges,
};

static MIGRATIONS: Migrator = sqlx::migrate!();

fn main() -> ExitCode {
    tidegate_runtime::main(Program { service: "wallet", version: env!("CARGO_PKG_VERSION") }, start)
}

async fn start(app: App) -> Result<(), StartError> {
    let Run::Wallet(settings) = app.settings().run.clone() else {
        return Err("these settings are those of another program".into());
    };
    let pool = app.database(&MIGRATIONS).await?;
    let api = match settings.role {
        WalletRole::Commands => commands(&app, &settings, pool)?,
        WalletRole::Publisher => {
            app.publish_outbox(pool)?;
            Served::default()
        }
        WalletRole::LedgerProjector => {
            project(&app, pool, Ledger).await?;
            Served::default()
        }
        WalletRole::ReadModelProjector => {
            project(&app, pool, ReadModel).await?;
            Served::default()
        }
    };
    app.serve(api).await
}

/// The command side: one writer, the API in front of it, and the relay behind it unless that has a processor of its own.
fn commands(app: &App, settings: &WalletSettings, pool: PgPool) -> Result<Served, StartError> {
    let topic = app.settings().produces.first().cloned().ok_or("role Commands needs a topic in `produces`")?;
    let relay: Option<RelayHandle> = match settings.publisher() {
        Publisher::Embedded if app.kafka_enabled() => Some(app.publish_outbox(pool.clone())?),
        Publisher::Embedded => {
            tracing::warn!(
                "there is no Kafka: events are committed and wait in the outbox until a relay publishes them"
            );
            None
        }
        Publisher::Separate => None,
    };
    let (committer, writer) = Committer::new(Surroundings {
        pool: pool.clone(),
        topic: topic.clone(),
        overdraft: settings.overdraft(),
        now: milliseconds,
        new_id: Uuid::now_v7,
        metrics: CommitterMetrics::new(app.metrics()),
    });
    app.spawn("committer", async move {
        writer.await;
        Ok(())
    });
    let chaining = commands::chain_old_events(pool.clone(), app.shutdown().clone());
    app.spawn("giving old events their hashes", async move {
        chaining.await;
        Ok(())
    });
    let gauges = ReconciliationGauges::new(app.metrics());
    let reconciling = reconcile::keep_reconciled(pool.clone(), gauges, app.shutdown().clone());
    app.spawn("reconciling", async move {
        reconciling.await;
        Ok(())
    });
    let forgetting = commands::forget_old_answers(pool.clone(), milliseconds, app.shutdown().clone());
    app.spawn("forgetting old answers", async move {
        forgetting.await;
        Ok(())
    });
    Ok(http::routes(http::Api { committer, pool, topic, relay, new_id: Uuid::now_v7 }).into())
}

/// Before its group has an offset, and when a replay begins, a projection is made from the event store; it reads the topic from there on.
async fn project<P: Projection + Rebuild>(app: &App, pool: PgPool, projection: P) -> Result<(), StartError> {
    let generation = app.generation(&pool, &projection).await?;
    let group = app.settings().consumes.as_ref().map(|consumes| consumes.group.clone()).unwrap_or_default();
    // Whatever was done when the process is told to stop is kept.
    let Some(caught_up) = app.shutdown().or(projections::catch_up::<P>(&pool, &group, &generation)).await else {
        return Ok(());
    };
    caught_up?;
    app.project(pool, projection, generation)?;
    Ok(())
}

/// The time, of which no more than the milliseconds is ever stored or shown.
fn milliseconds() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
}
