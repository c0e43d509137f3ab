//! The task of a partition: position, then batch after batch, until it drains.

use std::{
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{FutureExt, StreamExt, future::BoxFuture};
use rdkafka::{
    Offset,
    consumer::{Consumer, stream_consumer::StreamPartitionQueue},
    error::KafkaError,
};
use sqlx::PgPool;
use tidegate_settings::StartAt;
use tokio::time::{sleep, timeout_at};

use super::{
    ConsumerConfig, ConsumerMetrics, HandlerError, Projection, Record,
    context::{Assigned, MemberContext},
    offsets::{self, Untold},
};
use crate::{app::chain, backoff::Backoff};

/// How long Kafka may take to answer where a partition begins and ends, and to move a position.
const ANSWER: Duration = Duration::from_secs(10);

/// What the tasks of a member share.
pub(super) struct Shared<P> {
    group: String,
    start_at: StartAt,
    batch_records: usize,
    batch_bytes: usize,
    batch_wait: Duration,
    pool: PgPool,
    projection: P,
    untold: Arc<Untold>,
    metrics: ConsumerMetrics,
}

impl<P> Shared<P> {
    pub(super) fn new(
        config: &ConsumerConfig,
        pool: PgPool,
        projection: P,
        untold: Arc<Untold>,
        metrics: ConsumerMetrics,
    ) -> Self {
        Self {
            group: config.group.clone(),
            start_at: config.start_at,
            batch_records: config.batch_records.max(1),
            batch_bytes: config.batch_bytes,
            batch_wait: config.batch_wait,
            pool,
            projection,
            untold,
            metrics,
        }
    }
}

/// Whether a query that failed so may work later.
pub(super) fn is_transient(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Database(error) => error.code().is_some_and(|code| {
            // Connection, resources, operator intervention, system error, rolled back (serialization, deadlock), read-only standby,
            // lock not available, object in use.
            ["08", "53", "57", "58", "40"].iter().any(|class| code.starts_with(class))
                || ["25006", "55P03", "55006"].contains(&code.as_ref())
        }),
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => true,
        _ => false,
    }
}

/// Where a partition is to be read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Start {
    /// From that offset.
    At(i64),
    /// From that offset, which is the oldest: those before it and not yet applied are gone.
    After { oldest: i64, lost: i64 },
    /// Nowhere: the topic ends before what was applied, so it is not the topic that it was.
    Nowhere { newest: i64 },
}

/// Where to read from, given what was applied and the offsets that there are. Kafka's own committed offset has no say.
fn start(applied: Option<i64>, start_at: StartAt, (oldest, newest): (i64, i64)) -> Start {
    match (applied, start_at) {
        (None, StartAt::Earliest) => Start::At(oldest),
        (None, StartAt::Latest) => Start::At(newest),
        (Some(next), _) if next < oldest => Start::After { oldest, lost: oldest - next },
        (Some(next), _) if next > newest => Start::Nowhere { newest },
        (Some(next), _) => Start::At(next),
    }
}

/// How a batch ended.
enum Ended {
    /// Applied; the offset is there now.
    Applied(i64),
    /// Somebody else moved the offset: look where it is.
    Moved,
    /// A record cannot be handled; those before it were.
    Poisoned,
    /// The partition is to be given up.
    Draining,
}

pub(super) fn task<P: Projection>(shared: Arc<Shared<P>>, assigned: Assigned) -> BoxFuture<'static, ()> {
    async move {
        let consuming = Consuming { shared: &shared, assigned: &assigned, backoff: backoff() };
        if consuming.run().await == Left::Stopped {
            // It stands here, for all to see, until it is somebody else's or the process starts again.
            shared.metrics.stopped(&assigned.topic, 1);
            assigned.draining.cancelled().await;
            shared.metrics.stopped(&assigned.topic, -1);
        }
    }
    .boxed()
}

fn backoff() -> Backoff {
    Backoff::new(Duration::from_millis(50), Duration::from_secs(10))
}

/// Why a task takes no more records.
#[derive(PartialEq, Eq)]
enum Left {
    Drained,
    Stopped,
}

struct Consuming<'a, P> {
    shared: &'a Shared<P>,
    assigned: &'a Assigned,
    backoff: Backoff,
}

impl<P: Projection> Consuming<'_, P> {
    async fn run(mut self) -> Left {
        let draining = self.assigned.draining.clone();
        loop {
            let mut next = tokio::select! {
                biased;
                () = draining.cancelled() => return Left::Drained,
                positioned = self.position() => match positioned {
                    Some(next) => next,
                    None => return Left::Stopped,
                },
            };
            loop {
                let taken = tokio::select! {
                    biased;
                    () = draining.cancelled() => return Left::Drained,
                    taken = take(&self.assigned.queue, self.shared) => taken,
                };
                let mut records = match taken {
                    Ok(records) => records,
                    Err(error) => {
                        let Assigned { topic, partition, .. } = self.assigned;
                        tracing::warn!(topic, partition, %error, "reading the partition");
                        continue;
                    }
                };
                let came = records.len();
                records.retain(|record| record.offset >= next);
                let topic = &self.assigned.topic;
                self.shared.metrics.repeated(topic, came - records.len());
                if records.is_empty() {
                    continue;
                }
                self.shared.metrics.taken(topic, records.len());
                let ended = self.handle(&records, next).await;
                self.shared.metrics.let_go(topic, records.len());
                match ended {
                    Ended::Applied(reached) => next = reached,
                    Ended::Moved => break,
                    Ended::Poisoned => return Left::Stopped,
                    Ended::Draining => return Left::Drained,
                }
            }
        }
    }

    /// Puts the partition where the projection is. Tries until it works; none if it cannot.
    async fn position(&mut self) -> Option<i64> {
        let Assigned { topic, partition, .. } = self.assigned;
        loop {
            let applied = match offsets::load(&self.shared.pool, &self.shared.group, topic, *partition).await {
                Ok(applied) => applied,
                Err(error) => {
                    tracing::warn!(topic, partition, %error, "asking the database how far the partition is");
                    sleep(self.backoff.next()).await;
                    continue;
                }
            };
            let positioned = match self.seek(applied).await {
                Ok(start) => start,
                // Soon after an assignment the partition cannot be moved yet.
                Err(error) => {
                    tracing::debug!(topic, partition, %error, "positioning the partition");
                    sleep(self.backoff.next()).await;
                    continue;
                }
            };
            match (positioned, applied) {
                (Start::At(offset), Some(_)) => {
                    tracing::info!(topic, partition, offset, "reading");
                    self.backoff.reset();
                    return Some(offset);
                }
                // Written down before the first record, so that a second start begins at the same place.
                (Start::At(offset), None) => {
                    let begun = offsets::begin(&self.shared.pool, &self.shared.group, topic, *partition, offset).await;
                    if let Err(error) = begun {
                        tracing::warn!(topic, partition, %error, "telling the database where the partition begins");
                        sleep(self.backoff.next()).await;
                    }
                }
                (Start::After { oldest, lost }, _) => {
                    tracing::error!(topic, partition, oldest, lost, "records were removed before they were handled");
                    self.shared.metrics.lost(topic, lost);
                    self.backoff.reset();
                    return applied;
                }
                (Start::Nowhere { newest }, _) => {
                    tracing::error!(
                        topic,
                        partition,
                        applied,
                        newest,
                        "the topic ends before what was applied of it: it is not the topic that it was; the partition stops"
                    );
                    return None;
                }
            }
        }
    }

    /// Puts the partition where it is to be read from. Waits for Kafka, which librdkafka does by blocking.
    async fn seek(&self, applied: Option<i64>) -> Result<Start, KafkaError> {
        let Assigned { topic, partition, consumer, .. } = self.assigned;
        let (consumer, topic, partition, start_at) =
            (Arc::clone(consumer), topic.clone(), *partition, self.shared.start_at);
        let sought = tokio::task::spawn_blocking(move || {
            let start = start(applied, start_at, consumer.fetch_watermarks(&topic, partition, ANSWER)?);
            if let Start::At(offset) | Start::After { oldest: offset, .. } = start {
                consumer.seek(&topic, partition, Offset::Offset(offset), ANSWER)?;
            }
            Ok(start)
        });
        sought.await.unwrap_or(Err(KafkaError::Canceled))
    }

    /// Applies the records, all at once; one by one if one of them is poison, so that those before it are not held up by it.
    async fn handle(&mut self, records: &[Record], next: i64) -> Ended {
        match self.apply_until(records, next).await {
            Ended::Poisoned if records.len() > 1 => {}
            ended => return ended,
        }
        let mut next = next;
        for record in records {
            match self.apply_until(std::slice::from_ref(record), next).await {
                Ended::Applied(reached) => next = reached,
                ended => return ended,
            }
        }
        Ended::Applied(next)
    }

    /// Tries until it works, or cannot.
    async fn apply_until(&mut self, records: &[Record], next: i64) -> Ended {
        let Assigned { topic, partition, draining, .. } = self.assigned;
        loop {
            let begun = Instant::now();
            let error = match AssertUnwindSafe(self.apply(records, next)).catch_unwind().await {
                Ok(Ok(Some(reached))) => {
                    self.backoff.reset();
                    self.shared.metrics.handled(topic, records.len(), begun.elapsed());
                    self.shared.untold.applied(topic, *partition, reached);
                    return Ended::Applied(reached);
                }
                Ok(Ok(None)) => {
                    tracing::warn!(topic, partition, next, "somebody else has moved the partition's offset");
                    sleep(self.backoff.next()).await;
                    return Ended::Moved;
                }
                Ok(Err(error)) => error,
                Err(_) => {
                    self.shared.metrics.panicked(topic);
                    HandlerError::transient("the handler panicked")
                }
            };
            let (from, to) = (records.first().map(|r| r.offset), records.last().map(|r| r.offset));
            let said = chain(&error);
            if let HandlerError::Poison(_) = error {
                if records.len() == 1 {
                    tracing::error!(topic, partition, offset = from, error = said, "the partition stops at a record");
                }
                return Ended::Poisoned;
            }
            self.shared.metrics.failed(topic);
            let wait = self.backoff.next();
            tracing::warn!(
                topic,
                partition,
                from,
                to,
                error = said,
                wait_seconds = wait.as_secs_f64(),
                "a batch failed"
            );
            tokio::select! {
                biased;
                () = draining.cancelled() => return Ended::Draining,
                () = sleep(wait) => {}
            }
        }
    }

    /// One try. None if the offset is not where it was thought to be; nothing has changed then.
    async fn apply(&self, records: &[Record], next: i64) -> Result<Option<i64>, HandlerError> {
        let Assigned { topic, partition, .. } = self.assigned;
        let Some(last) = records.last() else { return Ok(Some(next)) };
        let reached = last.offset + 1;
        let mut transaction = self.shared.pool.begin().await?;
        let moved = offsets::advance(&mut transaction, &self.shared.group, topic, *partition, (next, reached)).await?;
        if !moved {
            return Ok(None);
        }
        self.shared.projection.apply(&mut transaction, records).await?;
        transaction.commit().await?;
        Ok(Some(reached))
    }
}

/// The next records: at least one, then what comes shortly, until the batch is full.
async fn take<P>(queue: &StreamPartitionQueue<MemberContext>, shared: &Shared<P>) -> Result<Vec<Record>, KafkaError> {
    let mut stream = queue.stream();
    let mut records = Vec::new();
    let mut bytes = 0;
    let mut deadline = None;
    while records.len() < shared.batch_records && bytes < shared.batch_bytes {
        let message = match deadline {
            None => stream.next().await,
            Some(deadline) => match timeout_at(deadline, stream.next()).await {
                Ok(message) => message,
                Err(_) => break,
            },
        };
        match message {
            Some(Ok(message)) => {
                let record = Record::from_message(&message);
                bytes += record.bytes();
                records.push(record);
                deadline.get_or_insert_with(|| tokio::time::Instant::now() + shared.batch_wait);
            }
            // What was taken before it is handled first; the error comes again if it lasts.
            Some(Err(_)) if !records.is_empty() => break,
            Some(Err(error)) => return Err(error),
            None => break,
        }
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_applied_decides_where_a_partition_is_read_from() {
        for (applied, start_at, begins) in [
            (None, StartAt::Earliest, Start::At(10)),
            (None, StartAt::Latest, Start::At(20)),
            (Some(10), StartAt::Earliest, Start::At(10)),
            (Some(15), StartAt::Latest, Start::At(15)),
            (Some(20), StartAt::Earliest, Start::At(20)),
            (Some(7), StartAt::Latest, Start::After { oldest: 10, lost: 3 }),
            (Some(21), StartAt::Earliest, Start::Nowhere { newest: 20 }),
        ] {
            assert_eq!(start(applied, start_at, (10, 20)), begins, "{applied:?} {start_at:?}");
        }
    }
}
