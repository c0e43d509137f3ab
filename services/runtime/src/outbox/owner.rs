//! The owner of an outbox: it reads what is ready, publishes it, deletes it, and sleeps when there is nothing. One transaction holds the
//! events of all shards, because what it costs hardly depends on how many they are.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use sqlx::{Connection, PgConnection};
use tidegate_settings::binding::KafkaConnection;
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{sleep, timeout},
};

use super::{
    SHARDS,
    pace::Last,
    position::Position,
    progress::Shards,
    publisher::{Found, Publisher},
    relay::{Counted, Inner, Recovery, RelayError, on},
    rows::{self, Row},
    wake,
};
use crate::{backoff::Backoff, crash_point, kafka::Brokers, shutdown::Shutdown};

/// How many sweeps go by, where there is always something to publish, before one is made all the same: it reads over whatever was
/// deleted and not yet vacuumed.
const SWEEPS_UNDER_LOAD: u32 = 12;

/// What an owner listens to.
pub(super) struct Signals {
    /// That events were committed while it slept.
    pub(super) news: watch::Receiver<u64>,
    pub(super) brokers: Brokers,
    pub(super) shutdown: Shutdown,
}

/// What an outbox was published until.
pub(super) enum Until {
    Stop,
    BrokersChanged,
}

/// What is left when all that may be published is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Left {
    Nothing,
    /// Events that wait for a transaction older than theirs, in so many shards.
    HeldUp(i64),
}

/// An outbox that this process publishes.
pub(super) struct Owner<'a> {
    relay: &'a Inner,
    publisher: Publisher,
    /// Of its own, because the locks of its sleep belong to it.
    connection: PgConnection,
    shards: Shards,
    deleting: Option<JoinHandle<Result<u64, sqlx::Error>>>,
    /// When the last look from the beginning was.
    swept: Instant,
    asleep: bool,
}

impl<'a> Owner<'a> {
    /// Fences the previous owner, and deletes what it published but did not delete.
    pub(super) async fn open(relay: &'a Inner, kafka: &KafkaConnection) -> Result<Self, RelayError> {
        let Inner { config, pool, state, .. } = relay;
        let mut connection = pool.acquire().await.map_err(on("connecting"))?.detach();
        rows::prepare(&mut connection).await.map_err(on("preparing the connection"))?;
        let (publisher, Found { mut positions, shared }) = Publisher::open(config, kafka).await?;
        state.takeovers.inc_by(u64::from(SHARDS));
        crash_point!("outbox::opened");
        for of_group in [&positions, &shared] {
            for (shard, position) in (0..).zip(of_group) {
                let Some(Position { batch, .. }) = *position else { continue };
                if rows::is_there(pool, shard, &batch).await.map_err(on("looking for the last batch"))? {
                    let deleted = rows::delete(pool, &[(shard, batch)]).await;
                    let events = deleted.map_err(on("deleting the last batch"))?;
                    tracing::info!(shard, events, "deleted what the previous owner had published");
                }
            }
        }
        for (position, shared) in positions.iter_mut().zip(shared) {
            *position = position.or(shared);
        }
        let shards = Shards::from(&positions);
        tracing::info!(?shards, "publishing");
        let (deleting, swept, asleep) = (None, Instant::now(), false);
        Ok(Self { relay, publisher, connection, shards, deleting, swept, asleep })
    }

    /// Publishes until the process stops or the way to Kafka is another. What is under way is finished then.
    pub(super) async fn publish_until(
        &mut self,
        signals: &mut Signals,
        recovery: &mut Recovery<'_>,
    ) -> Result<Until, RelayError> {
        let Inner { config, state, .. } = self.relay;
        // Ever longer while nothing changes: somebody else's transaction has to end.
        let mut writing = Backoff::new(Duration::from_millis(2), Duration::from_millis(50));
        let mut held_up = Backoff::new(Duration::from_millis(4), Duration::from_millis(100));
        loop {
            if signals.brokers.has_changed() {
                self.settle().await?;
                return Ok(Until::BrokersChanged);
            }
            signals.news.mark_unchanged();
            let left = self.publish_ready(&signals.brokers).await?;
            recovery.works();
            let (wait, _held_up) = match left {
                Left::HeldUp(shards) => {
                    self.wake_up().await?;
                    // Counted for as long as it lasts; given back too when this is dropped.
                    (held_up.next(), Some(Counted::on(&state.held_up, shards)))
                }
                Left::Nothing if self.asleep => (config.sweep, None),
                Left::Nothing => {
                    held_up.reset();
                    self.settle().await?;
                    if self.fall_asleep().await? {
                        writing.reset();
                        // What was committed before that is looked for once more.
                        continue;
                    }
                    (writing.next(), None)
                }
            };
            let told = tokio::select! {
                biased;
                () = signals.shutdown.begun() => break,
                () = signals.brokers.changed() => continue,
                told = timeout(wait, signals.news.changed()) => told.is_ok(),
            };
            if self.asleep {
                if told {
                    state.wakeups.inc();
                } else {
                    self.look_from_the_beginning().await?;
                }
            }
        }
        // What the last commands committed is published now, so that nobody has to wait for the next owner.
        let last = async {
            self.publish_ready(&signals.brokers).await?;
            self.settle().await
        };
        timeout(config.drain, last).await.unwrap_or(Ok(())).map(|()| Until::Stop)
    }

    /// Publishes all that may be published now, unless the brokers change. Says what is left.
    async fn publish_ready(&mut self, brokers: &Brokers) -> Result<Left, RelayError> {
        let Inner { config, state, .. } = self.relay;
        while !brokers.has_changed() {
            if self.swept.elapsed() > config.sweep * SWEEPS_UNDER_LOAD {
                self.look_from_the_beginning().await?;
            }
            let begun = Instant::now();
            let (after, limits) = (self.shards.after(), config.limits());
            let rows = rows::ready(&mut self.connection, &after, limits).await.map_err(on("reading events"))?;
            crash_point!("outbox::read");
            let Some(first) = rows.first() else {
                let left = rows::left(&mut self.connection, &after).await.map_err(on("looking for events"))?;
                return Ok(if left > 0 { Left::HeldUp(left) } else { Left::Nothing });
            };
            self.publish(&rows).await?;
            let last = Last { took: begun.elapsed(), full: limits.are_near(&rows) };
            state.transactions.observe(last.took.as_secs_f64());
            state.delay.observe(age(first));
            state.published.inc_by(rows.len() as u64);
            sleep(config.pace.pause(last)).await;
        }
        // Nobody knows; the next clients look.
        Ok(Left::HeldUp(0))
    }

    /// Publishes the rows, and has them deleted while the next ones are read and produced.
    async fn publish(&mut self, rows: &[Row]) -> Result<(), RelayError> {
        self.wake_up().await?;
        let positions = self.shards.behind(rows);
        let transaction = self.publisher.produce(rows, &positions).await?;
        self.settle().await?;
        debug_assert!(self.shards.all_deleted());
        transaction.commit().await?;
        crash_point!("outbox::committed");
        self.shards.committed(&positions);
        let batches: Vec<_> = positions.iter().map(|(shard, position)| (*shard, position.batch)).collect();
        let pool = self.relay.pool.clone();
        self.deleting = Some(tokio::spawn(async move {
            let deleted = rows::delete(&pool, &batches).await;
            crash_point!("outbox::deleted");
            deleted
        }));
        Ok(())
    }

    /// Waits until what is published is deleted.
    async fn settle(&mut self) -> Result<(), RelayError> {
        if let Some(deleting) = self.deleting.take() {
            let deleted = deleting.await.unwrap_or_else(|_| Err(sqlx::Error::WorkerCrashed));
            deleted.map_err(on("deleting what is published"))?;
            self.shards.deleted();
        }
        Ok(())
    }

    async fn look_from_the_beginning(&mut self) -> Result<(), RelayError> {
        self.settle().await?;
        self.shards.look_from_the_beginning();
        self.swept = Instant::now();
        Ok(())
    }

    async fn fall_asleep(&mut self) -> Result<bool, RelayError> {
        if !self.asleep {
            self.asleep = wake::fall_asleep(&mut self.connection).await.map_err(on("announcing its sleep"))?;
        }
        Ok(self.asleep)
    }

    async fn wake_up(&mut self) -> Result<(), RelayError> {
        if self.asleep {
            wake::wake_up(&mut self.connection).await.map_err(on("announcing that it is awake"))?;
            self.asleep = false;
        }
        Ok(())
    }

    /// Lets the connection go as one does, which takes it a moment.
    pub(super) async fn close(self) {
        let _ = self.connection.close().await;
    }
}

/// Seconds since the row was written. Two machines' clocks: good for a histogram, and for nothing else.
fn age(row: &Row) -> f64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros() as f64;
    ((now - row.created as f64) / 1e6).max(0.0)
}
