//! The relay: take the lease, publish while one has it, and try again when that fails.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use prometheus_client::metrics::gauge::Gauge;
use sqlx::{PgPool, postgres::PgListener};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use uuid::Uuid;

use super::{
    CHANNEL, SHARDS, lease,
    owner::{Owner, Signals, Until},
    pace::Pace,
    publisher::PublishError,
    rows::Limits,
    stats::{RelayHandle, RelayState},
};
use crate::{app::chain, backoff::Backoff, kafka::Brokers, shutdown::Shutdown, telemetry::Metrics};

/// How a relay publishes.
#[derive(Clone, Debug)]
pub struct RelayConfig {
    /// What brokers call the process.
    pub client_id: String,
    /// What the transactional ids begin with. The same for all relays of one outbox, and no other.
    pub transactional_id_prefix: String,
    /// The group under which positions are kept. No other outbox's.
    pub group: String,
    /// The group in which a position is looked for that relays of before have left.
    pub shared_group: Option<String>,
    /// The topic at which positions are kept, as offsets of the partition numbers 0 to SHARDS - 1.
    pub position_topic: String,
    /// Most events of a shard in a transaction.
    pub batch_rows: i64,
    /// Bytes of a shard at which a transaction is full. One event may be larger.
    pub batch_bytes: i64,
    /// How transactions follow each other.
    pub pace: Pace,
    /// How often the outbox is looked into without having been told.
    pub sweep: Duration,
    /// How long an owner that says nothing keeps the outbox.
    pub lease: Duration,
    /// How long publishing what is committed may take when the process stops.
    pub drain: Duration,
}

impl RelayConfig {
    /// The relay of an outbox that nobody else calls so: group `kafka-publisher.<outbox>`, transactional ids
    /// `kafka-publisher.<outbox>.0` and the same with `.b`.
    pub fn new(client_id: &str, outbox: &str, position_topic: &str) -> Self {
        Self {
            client_id: client_id.to_owned(),
            transactional_id_prefix: format!("kafka-publisher.{outbox}"),
            group: format!("kafka-publisher.{outbox}"),
            shared_group: Some("kafka-publisher".into()),
            position_topic: position_topic.to_owned(),
            batch_rows: 2000,
            batch_bytes: 4 * 1024 * 1024,
            pace: Pace::default(),
            sweep: Duration::from_secs(5),
            lease: Duration::from_secs(10),
            drain: Duration::from_secs(5),
        }
    }

    pub(super) fn limits(&self) -> Limits {
        Limits { rows: self.batch_rows, bytes: self.batch_bytes }
    }
}

/// Why an outbox is not published for now. It is tried again.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// Kafka.
    #[error(transparent)]
    Publish(Box<dyn std::error::Error + Send + Sync>),
    /// The database.
    #[error("{doing}: {source}")]
    Database {
        /// What was being done.
        doing: &'static str,
        /// What the driver said.
        source: sqlx::Error,
    },
    /// The lease is somebody else's.
    #[error("the lease was taken by another process")]
    LeaseLost,
}

impl From<PublishError> for RelayError {
    fn from(error: PublishError) -> Self {
        Self::Publish(Box::new(error))
    }
}

pub(super) fn on(doing: &'static str) -> impl Fn(sqlx::Error) -> RelayError {
    move |source| RelayError::Database { doing, source }
}

/// A relay that is about to run.
pub struct Relay {
    inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) config: RelayConfig,
    brokers: Brokers,
    pub(super) pool: PgPool,
    pub(super) state: Arc<RelayState>,
    owner: Uuid,
}

impl Relay {
    /// A relay of the outbox in that database, and how it is asked how it is.
    pub fn new(config: RelayConfig, brokers: Brokers, pool: PgPool, metrics: &Metrics) -> (RelayHandle, Self) {
        let state = Arc::new(RelayState::new(metrics));
        let handle = RelayHandle { pool: pool.clone(), state: Arc::clone(&state) };
        let inner = Inner { config, brokers, pool, state, owner: Uuid::new_v4() };
        (handle, Self { inner: Arc::new(inner) })
    }

    /// Runs until the process stops; then publishes what is committed, within its limit, and lets the outbox go.
    pub async fn run(self, shutdown: Shutdown) {
        let inner = self.inner;
        inner.state.running.store(true, Ordering::Relaxed);
        // How often there was news: a number that grows.
        let (news, hears) = watch::channel(0_u64);
        let signals = Signals { news: hears, brokers: inner.brokers.clone(), shutdown };
        let beside = async {
            tokio::join!(inner.listen(&news), inner.measure());
        };
        tokio::select! {
            () = beside => {}
            () = inner.publish(signals) => {}
        }
        inner.state.running.store(false, Ordering::Relaxed);
    }
}

impl Inner {
    /// Tells the owner of what is committed. A connection that breaks is made again; meanwhile it sweeps.
    async fn listen(&self, news: &watch::Sender<u64>) {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
        loop {
            let error = match self.listening(news, &mut backoff).await {
                Ok(never) => match never {},
                Err(error) => error,
            };
            tracing::warn!(%error, "listening for events to publish; until it works again they wait for the next sweep");
            sleep(backoff.next()).await;
        }
    }

    async fn listening(
        &self,
        news: &watch::Sender<u64>,
        backoff: &mut Backoff,
    ) -> Result<std::convert::Infallible, sqlx::Error> {
        let mut listener = PgListener::connect_with(&self.pool).await?;
        listener.listen(CHANNEL).await?;
        backoff.reset();
        loop {
            // What was committed while nobody listened is found now.
            news.send_modify(|count| *count += 1);
            listener.try_recv().await?.ok_or(sqlx::Error::WorkerCrashed)?;
        }
    }

    /// Keeps the gauges of what is waiting up to date.
    async fn measure(&self) {
        let handle = RelayHandle { pool: self.pool.clone(), state: Arc::clone(&self.state) };
        loop {
            if let Ok(stats) = handle.stats().await {
                self.state.unprocessed.set(stats.unprocessed_events);
                self.state.lag_seconds.set(stats.lag_ms as f64 / 1000.0);
            }
            sleep(self.config.sweep).await;
        }
    }

    /// For as long as the process runs: waits for the lease, publishes while it has it.
    async fn publish(&self, mut signals: Signals) {
        let mut recovery = Recovery::new(&self.state);
        let shutdown = signals.shutdown.clone();
        while !shutdown.has_begun() {
            let claimed = lease::claim(&self.pool, self.owner, self.config.lease).await;
            let ended = match claimed {
                Ok(true) => {
                    let _owned = Counted::on(&self.state.owned, i64::from(SHARDS));
                    self.own(&mut signals, &mut recovery).await
                }
                Ok(false) => {
                    // Somebody else publishes, so its trouble is not this process's any more.
                    recovery.works();
                    shutdown.or(sleep(self.config.lease / 5)).await;
                    continue;
                }
                Err(error) => Err(on("claiming the outbox")(error)),
            };
            if let Err(error) = &ended {
                self.state.failures.inc();
                let wait = recovery.failed();
                tracing::warn!(error = chain(error), wait_seconds = wait.as_secs_f64(), "publishing failed");
                // Another password may be what helps.
                shutdown.or(timeout(wait, signals.brokers.changed())).await;
            }
        }
        if let Err(error) = lease::release(&self.pool, self.owner).await {
            tracing::warn!(%error, "letting the outbox go; somebody else has it when the lease is over");
        }
    }

    /// Publishes while the lease lasts. Ends well when the process stops.
    async fn own(&self, signals: &mut Signals, recovery: &mut Recovery<'_>) -> Result<(), RelayError> {
        let publishing = async {
            loop {
                let mut owner = Owner::open(self, &signals.brokers.now()).await?;
                let until = owner.publish_until(signals, recovery).await?;
                owner.close().await;
                match until {
                    Until::Stop => return Ok(()),
                    Until::BrokersChanged => tracing::info!("the way to Kafka is another"),
                }
            }
        };
        tokio::select! {
            ended = publishing => ended,
            error = self.keep_lease() => Err(error),
        }
    }

    async fn keep_lease(&self) -> RelayError {
        let mut renewed = Instant::now();
        loop {
            sleep(self.config.lease / 4).await;
            match lease::renew(&self.pool, self.owner, self.config.lease).await {
                Ok(true) => renewed = Instant::now(),
                Ok(false) => return RelayError::LeaseLost,
                // While the database is away nobody else can take the outbox either.
                Err(error) if renewed.elapsed() > self.config.lease * 3 => return on("renewing the lease")(error),
                Err(_) => {}
            }
        }
    }
}

/// How an owner copes with failures: what to wait before the next try, and whether it is in trouble, which lasts until publishing works.
pub(super) struct Recovery<'a> {
    state: &'a RelayState,
    backoff: Backoff,
    trouble: Option<Counted<'a>>,
}

impl<'a> Recovery<'a> {
    fn new(state: &'a RelayState) -> Self {
        Self { state, backoff: Backoff::new(Duration::from_millis(100), Duration::from_secs(5)), trouble: None }
    }

    fn failed(&mut self) -> Duration {
        self.trouble.get_or_insert_with(|| Counted::on(&self.state.in_trouble, i64::from(SHARDS)));
        self.backoff.next()
    }

    pub(super) fn works(&mut self) {
        self.trouble = None;
        self.backoff.reset();
    }
}

/// So many more on a gauge, for as long as it lives.
pub(super) struct Counted<'a>(&'a Gauge, i64);

impl<'a> Counted<'a> {
    pub(super) fn on(gauge: &'a Gauge, more: i64) -> Self {
        gauge.inc_by(more);
        Self(gauge, more)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.dec_by(self.1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_is_of_all_shards_is_counted_once_and_is_over_when_publishing_works() {
        let state = RelayState::new(&Metrics::default());
        let (mut one, mut other) = (Recovery::new(&state), Recovery::new(&state));
        one.failed();
        one.failed();
        other.failed();
        assert_eq!(state.in_trouble.get(), 6);
        one.works();
        assert_eq!(state.in_trouble.get(), 3);
        drop(other);
        assert_eq!(state.in_trouble.get(), 0);
    }
}
