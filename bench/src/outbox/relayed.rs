//! Ours: writers commit events to the outbox at a steady rate; the runtime's relay publishes them.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use futures::future::try_join_all;
use hdrhistogram::Histogram;
use sqlx::PgPool;
use tidegate_runtime::{
    database,
    outbox::{self, OutboxEvent, Relay, RelayConfig},
    shutdown::Shutdown,
    telemetry::Metrics,
};
use tidegate_verify::load::microseconds;
use tokio::time::{MissedTickBehavior, interval_at, sleep_until};

use super::{Options, PARTITIONS, REPLICAS, Wake, event, key, watcher::Watcher};
use crate::cluster::{Cluster, Scratch};

/// Connections that write.
const WRITERS: u64 = 4;
/// Events of a commit.
const EVENTS: u64 = 10;
/// A schema in whose sight NOTIFY says nothing, so that a relay that listens hears nothing.
const SILENCE: &str = "CREATE SCHEMA silence;
    CREATE FUNCTION silence.pg_notify(text, text) RETURNS void LANGUAGE sql AS 'SELECT'";

/// An outbox of this run's own.
pub struct Outbox {
    database: String,
    topic: String,
    config: RelayConfig,
}

impl Outbox {
    /// Makes its database and topic.
    pub async fn open(cluster: &Cluster, scratch: &mut Scratch) -> anyhow::Result<Self> {
        let database = scratch.database(cluster, "outbox").await?;
        let pool = cluster.pool(&database, 1);
        database::migrate_runtime(&pool).await?;
        sqlx::raw_sql(SILENCE).execute(&pool).await.context("making NOTIFY silent")?;
        pool.close().await;
        let topic = scratch.topic(cluster, "outbox", PARTITIONS, REPLICAS).await?;
        let mut config = RelayConfig::new("tidegate-bench", &topic, &topic);
        config.group = scratch.group(cluster, "outbox");
        Ok(Self { database, topic, config })
    }

    /// How often the relay looks without having been told.
    pub fn sweep(&self) -> Duration {
        self.config.sweep
    }

    /// One window: times from an event's commit until it was seen, microseconds.
    pub async fn run(&self, cluster: &Cluster, options: &Options, wake: Wake) -> anyhow::Result<Histogram<u64>> {
        let (relaying, writing) = (cluster.pool(&self.database, 8), self.writing(cluster, wake));
        let shutdown = Shutdown::new();
        let (handle, relay) =
            Relay::new(self.config.clone(), cluster.kafka()?.into(), relaying.clone(), &Metrics::default());
        let relay = tokio::spawn(relay.run(shutdown.clone()));
        let ends = Instant::now() + Duration::from_secs(30);
        while !handle.stats().await?.connected {
            ensure!(Instant::now() < ends, "the relay did not take its shards");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let watcher = Watcher::start(cluster, &self.topic).await?;

        let committed = self.write(&writing, options).await?;
        watcher.wait_for(committed.len() as u64, self.config.sweep + Duration::from_secs(30)).await?;
        shutdown.begin();
        relay.await.context("the relay broke off")?;
        let sightings = watcher.finish().await?;
        relaying.close().await;
        writing.close().await;
        latencies(&committed, &sightings, options)
    }

    fn writing(&self, cluster: &Cluster, wake: Wake) -> PgPool {
        cluster.pool_with(&self.database, WRITERS as u32, |to| match wake {
            Wake::Notified => to,
            Wake::PollOnly => to.options([("search_path", "silence,pg_catalog")]),
        })
    }

    /// Writes for one window; when each event was committed, by its number.
    async fn write(&self, pool: &PgPool, options: &Options) -> anyhow::Result<Vec<Instant>> {
        let every = Duration::from_secs(1) * (WRITERS * EVENTS) as u32 / options.rate as u32;
        let commits = options.window().as_nanos() / every.as_nanos();
        let topic: Arc<str> = self.topic.as_str().into();
        // Warm connections.
        try_join_all((0..WRITERS).map(|_| pool.acquire())).await?;
        let begins = Instant::now() + Duration::from_millis(100);
        let writers = (0..WRITERS).map(|writer| {
            let (pool, topic) = (pool.clone(), Arc::clone(&topic));
            async move {
                let begins = begins + every * writer as u32 / WRITERS as u32;
                sleep_until(begins.into()).await;
                let mut ticks = interval_at(begins.into(), every);
                ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
                let mut committed = Vec::new();
                for commit in 0..commits as u64 {
                    ticks.tick().await;
                    let first = (commit * WRITERS + writer) * EVENTS;
                    let events: Vec<_> = (first..first + EVENTS).map(|number| outbox_event(&topic, number)).collect();
                    let mut transaction = pool.begin().await?;
                    outbox::append(&mut transaction, &events).await?;
                    transaction.commit().await?;
                    committed.push((first, Instant::now()));
                }
                anyhow::Ok(committed)
            }
        });
        let mut times = vec![begins; (commits as u64 * WRITERS * EVENTS) as usize];
        for (first, at) in try_join_all(writers).await?.into_iter().flatten() {
            times[first as usize..(first + EVENTS) as usize].fill(at);
        }
        Ok(times)
    }
}

fn outbox_event(topic: &str, number: u64) -> OutboxEvent {
    OutboxEvent {
        topic: topic.to_owned(),
        key: key(number).into_bytes(),
        headers: vec![("eventType".into(), "Benchmarked".into())],
        payload: event(number),
    }
}

/// Each event must have been seen exactly once for the times to count.
fn latencies(committed: &[Instant], sightings: &[(u64, Instant)], options: &Options) -> anyhow::Result<Histogram<u64>> {
    let begun = *committed.iter().min().context("nothing was written")?;
    let mut seen = vec![false; committed.len()];
    let mut times = microseconds();
    for (number, at) in sightings {
        let index = *number as usize;
        let once = seen.get_mut(index).is_some_and(|seen| !std::mem::replace(seen, true));
        ensure!(once, "event {number} was seen twice, or never written");
        if committed[index] >= begun + options.warm_up() {
            // It may be visible before its writer has heard of the commit.
            let took = at.saturating_duration_since(committed[index]);
            times.saturating_record((took.as_micros() as u64).max(1));
        }
    }
    ensure!(seen.iter().all(|seen| *seen), "an event was never seen");
    Ok(times)
}
