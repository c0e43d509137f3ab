//! The relay: per shard, take the lease, fence whoever had it, then publish batch after batch.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use prometheus_client::metrics::gauge::Gauge;
use sqlx::{PgPool, postgres::PgListener};
use tidegate_settings::binding::KafkaConnection;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};
use uuid::Uuid;

use super::{
    CHANNEL, SHARDS, lease,
    position::{Batch, Position},
    publisher::{PublishError, Publisher},
    rows::{self, Row},
    stats::{RelayHandle, RelayState},
};
use crate::{app::chain, backoff::Backoff, kafka::Brokers, shutdown::Shutdown, telemetry::Metrics};

/// How a relay publishes.
#[derive(Clone, Debug)]
pub struct RelayConfig {
    /// What brokers call the process.
    pub client_id: String,
    /// What the shards' transactional ids begin with. The same for all relays of one outbox, and no other.
    pub transactional_id_prefix: String,
    /// The group under which positions are kept.
    pub group: String,
    /// The topic at which positions are kept, as offsets of the partition numbers 0 to SHARDS - 1.
    pub position_topic: String,
    /// Most events of a transaction.
    pub batch_rows: i64,
    /// Bytes at which a transaction is full. One event may be larger.
    pub batch_bytes: i64,
    /// How often the outbox is looked into without having been told.
    pub sweep: Duration,
    /// How long an owner that says nothing keeps its shard.
    pub lease: Duration,
    /// How long publishing what is committed may take when the process stops.
    pub drain: Duration,
}

impl RelayConfig {
    /// The relay of an outbox that nobody else calls so: group `kafka-publisher`, transactional ids `kafka-publisher.<outbox>.<shard>`.
    pub fn new(client_id: &str, outbox: &str, position_topic: &str) -> Self {
        Self {
            client_id: client_id.to_owned(),
            transactional_id_prefix: format!("kafka-publisher.{outbox}"),
            group: "kafka-publisher".into(),
            position_topic: position_topic.to_owned(),
            batch_rows: 2000,
            batch_bytes: 4 * 1024 * 1024,
            sweep: Duration::from_secs(5),
            lease: Duration::from_secs(10),
            drain: Duration::from_secs(5),
        }
    }
}

/// Why a shard is not published for now. It is tried again.
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
    #[error("the shard's lease was taken by another process")]
    LeaseLost,
}

impl From<PublishError> for RelayError {
    fn from(error: PublishError) -> Self {
        Self::Publish(Box::new(error))
    }
}

fn on(doing: &'static str) -> impl Fn(sqlx::Error) -> RelayError {
    move |source| RelayError::Database { doing, source }
}

/// A relay that is about to run.
pub struct Relay {
    inner: Arc<Inner>,
}

struct Inner {
    config: RelayConfig,
    brokers: Brokers,
    pool: PgPool,
    state: Arc<RelayState>,
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

    /// Runs until the process stops; then publishes what is committed, within its limit, and lets its shards go.
    pub async fn run(self, shutdown: Shutdown) {
        let inner = self.inner;
        inner.state.running.store(true, Ordering::Relaxed);
        // How often the outbox has been written to: a number that grows is news.
        let (news, _) = watch::channel(0_u64);
        let mut tasks = JoinSet::new();
        for shard in 0..SHARDS {
            let (inner, shutdown, news) = (Arc::clone(&inner), shutdown.clone(), news.subscribe());
            // Fewer than SHARDS, which is small.
            tasks.spawn(async move { inner.shard(shard as i16, news, shutdown).await });
        }
        let beside = async {
            tokio::join!(inner.listen(&news), inner.measure());
        };
        tokio::select! {
            () = beside => {}
            _ = tasks.join_all() => {}
        }
        inner.state.running.store(false, Ordering::Relaxed);
    }
}

/// A shard that this process owns.
struct Owned {
    publisher: Publisher,
    published: i64,
}

impl Inner {
    /// Tells the shards of what is committed. A connection that breaks is made again; meanwhile they sweep.
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
            if listener.try_recv().await?.is_none() {
                return Err(sqlx::Error::WorkerCrashed);
            }
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

    /// A shard, for as long as the process runs: waits for the lease, publishes while it has it.
    async fn shard(&self, shard: i16, mut news: watch::Receiver<u64>, shutdown: Shutdown) {
        let mut recovery = Recovery::new(&self.state);
        let mut brokers = self.brokers.clone();
        while !shutdown.has_begun() {
            let claimed = lease::claim(&self.pool, shard, self.owner, self.config.lease).await;
            let ended = match claimed {
                Ok(true) => {
                    let _owned = Counted::on(&self.state.owned);
                    self.own(shard, &mut brokers, &mut news, &shutdown, &mut recovery).await
                }
                Ok(false) => {
                    // Somebody else publishes it, so its trouble is not this process's any more.
                    recovery.works();
                    shutdown.or(sleep(self.config.lease / 5)).await;
                    continue;
                }
                Err(error) => Err(on("claiming the shard")(error)),
            };
            if let Err(error) = &ended {
                self.state.failures.inc();
                let wait = recovery.failed();
                tracing::warn!(
                    shard,
                    error = chain(error),
                    wait_seconds = wait.as_secs_f64(),
                    "publishing a shard failed"
                );
                // Another password may be what helps.
                let changed = async { drop(timeout(wait, brokers.changed()).await) };
                shutdown.or(changed).await;
            }
        }
        if let Err(error) = lease::release(&self.pool, shard, self.owner).await {
            tracing::warn!(shard, %error, "letting a shard go; somebody else has it when the lease is over");
        }
    }

    /// Publishes the shard while the lease lasts. Ends well when the process stops.
    async fn own(
        &self,
        shard: i16,
        brokers: &mut Brokers,
        news: &mut watch::Receiver<u64>,
        shutdown: &Shutdown,
        recovery: &mut Recovery<'_>,
    ) -> Result<(), RelayError> {
        let publishing = async {
            loop {
                let owned = self.open(shard, &brokers.now()).await?;
                match self.publish_until(shard, owned, brokers, news, shutdown, recovery).await? {
                    Until::Stop => return Ok(()),
                    Until::BrokersChanged => {}
                }
            }
        };
        tokio::select! {
            ended = publishing => ended,
            error = self.keep_lease(shard) => Err(error),
        }
    }

    async fn keep_lease(&self, shard: i16) -> RelayError {
        let mut renewed = Instant::now();
        loop {
            sleep(self.config.lease / 4).await;
            match lease::renew(&self.pool, shard, self.owner, self.config.lease).await {
                Ok(true) => renewed = Instant::now(),
                Ok(false) => return RelayError::LeaseLost,
                // While the database is away nobody else can take the shard either.
                Err(error) if renewed.elapsed() > self.config.lease * 3 => return on("renewing the lease")(error),
                Err(_) => {}
            }
        }
    }

    /// Fences the previous owner, and deletes what it published but did not delete.
    async fn open(&self, shard: i16, kafka: &KafkaConnection) -> Result<Owned, RelayError> {
        let (publisher, position) = Publisher::open(&self.config, kafka, shard).await?;
        self.state.takeovers.inc();
        if let Some(Position { batch, .. }) = &position
            && rows::is_there(&self.pool, shard, batch).await.map_err(on("looking for the last batch"))?
        {
            let events = rows::delete(&self.pool, shard, batch).await.map_err(on("deleting the last batch"))?;
            tracing::info!(shard, events, "deleted what the previous owner had published");
        }
        let published = position.map_or(0, |position| position.published);
        tracing::info!(shard, published, "publishing");
        Ok(Owned { publisher, published })
    }

    async fn publish_until(
        &self,
        shard: i16,
        mut owned: Owned,
        brokers: &mut Brokers,
        news: &mut watch::Receiver<u64>,
        shutdown: &Shutdown,
        recovery: &mut Recovery<'_>,
    ) -> Result<Until, RelayError> {
        let mut held_up = Backoff::new(Duration::from_millis(4), Duration::from_millis(100));
        loop {
            news.mark_unchanged();
            let wait = match self.publish_ready(shard, &mut owned, brokers).await? {
                Waiting::Nothing => {
                    held_up.reset();
                    self.config.sweep
                }
                Waiting::HeldUp => held_up.next(),
            };
            recovery.works();
            // Counted for as long as it lasts; given back too when this is dropped.
            let _held_up = (wait < self.config.sweep).then(|| Counted::on(&self.state.held_up));
            tokio::select! {
                biased;
                () = shutdown.begun() => break,
                () = brokers.changed() => return Ok(Until::BrokersChanged),
                _ = timeout(wait, news.changed()) => {}
            }
            if brokers.has_changed() {
                return Ok(Until::BrokersChanged);
            }
        }
        // What the last commands committed is published now, so that nobody has to wait for the next owner.
        let last = timeout(self.config.drain, self.publish_ready(shard, &mut owned, brokers)).await;
        last.unwrap_or(Ok(Waiting::Nothing)).map(|_| Until::Stop)
    }

    /// Publishes all that may be published now, unless the brokers change.
    async fn publish_ready(&self, shard: i16, owned: &mut Owned, brokers: &Brokers) -> Result<Waiting, RelayError> {
        let Self { config, pool, state, .. } = self;
        while !brokers.has_changed() {
            let rows =
                rows::ready(pool, shard, config.batch_rows, config.batch_bytes).await.map_err(on("reading events"))?;
            let (Some(first), Some(last)) = (rows.first(), rows.last()) else {
                let held_up = rows::any(pool, shard).await.map_err(on("looking for events"))?;
                return Ok(if held_up { Waiting::HeldUp } else { Waiting::Nothing });
            };
            let batch = Batch { first: first.key, last: last.key, last_created: last.created };
            let position = Position { published: owned.published + rows.len() as i64, batch };
            let begun = Instant::now();
            owned.publisher.publish(&rows, &position).await?;
            state.transactions.observe(begun.elapsed().as_secs_f64());
            state.delay.observe(age(first));
            state.published.inc_by(rows.len() as u64);
            owned.published = position.published;
            rows::delete(pool, shard, &batch).await.map_err(on("deleting what is published"))?;
        }
        Ok(Waiting::HeldUp)
    }
}

/// How a shard copes with failures: what to wait before the next try, and whether it is in trouble, which lasts until publishing works.
struct Recovery<'a> {
    state: &'a RelayState,
    backoff: Backoff,
    trouble: Option<Counted<'a>>,
}

impl<'a> Recovery<'a> {
    fn new(state: &'a RelayState) -> Self {
        Self { state, backoff: Backoff::new(Duration::from_millis(100), Duration::from_secs(5)), trouble: None }
    }

    fn failed(&mut self) -> Duration {
        self.trouble.get_or_insert_with(|| Counted::on(&self.state.in_trouble));
        self.backoff.next()
    }

    fn works(&mut self) {
        self.trouble = None;
        self.backoff.reset();
    }
}

/// One more on a gauge, for as long as it lives.
struct Counted<'a>(&'a Gauge);

impl<'a> Counted<'a> {
    fn on(gauge: &'a Gauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// What a shard is published until.
enum Until {
    Stop,
    BrokersChanged,
}

/// What is left when all that may be published is.
enum Waiting {
    Nothing,
    /// Events that wait for a transaction older than theirs.
    HeldUp,
}

/// Seconds since the row was written. Two machines' clocks: good for a histogram, and for nothing else.
fn age(row: &Row) -> f64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros() as f64;
    ((now - row.created as f64) / 1e6).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_is_counted_once_a_shard_and_is_over_when_publishing_works() {
        let state = RelayState::new(&Metrics::default());
        let (mut one, mut other) = (Recovery::new(&state), Recovery::new(&state));
        one.failed();
        one.failed();
        other.failed();
        assert_eq!(state.in_trouble.get(), 2);
        one.works();
        assert_eq!(state.in_trouble.get(), 1);
        drop(other);
        assert_eq!(state.in_trouble.get(), 0);
    }
}
