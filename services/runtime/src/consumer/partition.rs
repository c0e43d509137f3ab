//! The task of a partition: it finds out where to begin, works, and, when the partition is to be given up, finishes what it has begun.

pub(super) mod batches;
pub(super) mod each;
mod start;

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use futures::{StreamExt, future::BoxFuture};
use rdkafka::error::KafkaError;
use tokio::{sync::oneshot, time::sleep};
use tokio_util::sync::CancellationToken;

use self::start::position;
use super::{
    ConsumerConfig, ConsumerMetrics, HandlerError, Outgoing, Record,
    book::{Book, Class, Commit, Heard, Job, Verdict, What},
    context::Assigned,
    metrics::PartitionMetrics,
    offsets::Offsets,
    policy::Policy,
    retries::{Retries, RetryQueue},
    rows::Row,
    transactor::{Transactor, Write, WriteError},
    words::Words,
    work::Work,
};
use crate::{
    app::chain,
    backoff::{Backoff, random},
    crash_point,
};

/// How long Kafka may take to answer where a partition begins and ends, and to move a position.
const ANSWER: Duration = Duration::from_secs(10);
/// Entries that are written in one transaction, and their bytes.
const WRITTEN_TOGETHER: (usize, usize) = (500, 4 * 1024 * 1024);

/// What the tasks of a member share.
pub(super) struct Shared<W> {
    pub(super) config: ConsumerConfig,
    pub(super) work: Arc<W>,
    pub(super) offsets: Arc<Offsets>,
    pub(super) retries: Option<Arc<Retries>>,
    pub(super) transactor: Option<Transactor>,
    pub(super) metrics: ConsumerMetrics,
    /// Cancelled when a later generation has begun: the member has to end.
    pub(super) superseded: CancellationToken,
}

/// A partition, and what its task needs to work on it.
pub(super) struct Partition<'a, W> {
    pub(super) shared: &'a Shared<W>,
    pub(super) assigned: &'a Assigned,
    pub(super) policy: Arc<Policy>,
    pub(super) words: Words,
    /// Kafka name of its retry topic.
    pub(super) retry_topic: Option<Arc<str>>,
    metrics: Mutex<PartitionMetrics>,
}

/// Records are taken in.
pub(super) struct Consuming {
    pub(super) book: Book,
    pub(super) retry: Option<RetryQueue>,
    /// How far the partition is, as it is kept.
    pub(super) kept: Commit,
}

/// No more are; what is under way finishes.
pub(super) struct Draining {
    pub(super) book: Book,
}

/// All is finished, and is to be told to Kafka.
pub(super) struct Complete;

/// Why no more is taken in.
pub(super) enum Left {
    /// The partition is to be given up.
    Draining(Box<Draining>),
    /// It is not where it was thought to be, or nobody knows where: look again.
    Elsewhere,
    /// A record stands in the way.
    Stopped,
}

pub(super) fn task<W: Work>(shared: Arc<Shared<W>>, assigned: Assigned) -> BoxFuture<'static, ()> {
    Box::pin(async move {
        let partition = Partition::new(&shared, &assigned);
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(10));
        let draining = &assigned.draining;
        loop {
            let ready = tokio::select! {
                biased;
                () = draining.cancelled() => return,
                ready = position(&partition) => ready,
            };
            let left = match ready {
                Some(consuming) => W::consume(&partition, consuming).await,
                None => Left::Stopped,
            };
            match left {
                Left::Draining(left) => {
                    let Complete = W::finish(&partition, *left).await;
                    return;
                }
                Left::Elsewhere => {
                    tokio::select! {
                        biased;
                        () = draining.cancelled() => return,
                        () = sleep(backoff.next()) => {}
                    }
                }
                Left::Stopped => {
                    shared.metrics.stopped(&assigned.topic, 1);
                    draining.cancelled().await;
                    shared.metrics.stopped(&assigned.topic, -1);
                    return;
                }
            }
        }
    })
}

/// What a try of records came to.
pub(super) type Tried = Result<(), Failed>;

/// Why a try failed.
pub(super) enum Failed {
    Said(HandlerError),
    Panicked,
}

impl Failed {
    fn class(&self) -> Class {
        match self {
            Self::Said(HandlerError::Transient(_)) => Class::Transient,
            Self::Said(HandlerError::Retry(_)) => Class::Retry,
            Self::Said(HandlerError::Poison(_)) => Class::Poison,
            Self::Panicked => Class::Panic,
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Said(error) => chain(error),
            Self::Panicked => "the handler panicked".to_owned(),
        }
    }
}

/// Entries that are being written.
pub(super) struct Writing {
    answer: oneshot::Receiver<Result<(), WriteError>>,
    /// Which entry each of the records is of.
    entries: Vec<usize>,
}

/// What the transactor said, if it did.
pub(super) type Answer = Result<Result<(), WriteError>, oneshot::error::RecvError>;

/// How writing ended.
pub(super) enum Wrote {
    Yes,
    /// Nothing was; try again, but not at once.
    NotYet,
    Elsewhere,
}

impl<'a, W> Partition<'a, W> {
    fn new(shared: &'a Shared<W>, assigned: &'a Assigned) -> Self {
        let policy = shared.config.policy(&assigned.topic);
        let words = Words {
            group: shared.config.group.clone(),
            topic: assigned.topic.to_string(),
            partition: assigned.partition,
            retry_topic: policy.retry_topic.clone(),
            dead_letter_topic: policy.dead_letter_topic.clone(),
        };
        let retry_topic = policy.retry_topic.as_deref().map(Arc::from);
        let metrics = Mutex::new(shared.metrics.of(&assigned.topic));
        Self { shared, assigned, policy, words, retry_topic, metrics }
    }

    /// Where a projection keeps how far it is.
    pub(super) fn row(&self) -> Row<'_> {
        Row {
            group: &self.shared.config.group,
            topic: &self.assigned.topic,
            retry_topic: self.retry_topic.as_deref(),
            partition: self.assigned.partition,
            generation: &self.shared.config.generation.id,
        }
    }

    pub(super) fn count(&self, count: impl FnOnce(&mut PartitionMetrics)) {
        count(&mut self.metrics.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
    }

    /// A handler panicked.
    pub(super) fn panicked(&self) -> Failed {
        self.count(|metrics| {
            metrics.panics.inc();
        });
        Failed::Panicked
    }

    /// Records were taken from the topic, and some of them had been finished before.
    pub(super) fn took(&self, records: usize, repeated: usize) {
        self.count(|metrics| {
            metrics.consumed.inc_by(records as u64);
            metrics.repeated.inc_by(repeated as u64);
        });
    }

    /// Shows how the book stands.
    pub(super) fn show(&self, book: &Book) {
        self.count(|metrics| {
            metrics.in_flight.set(book.opened());
            metrics.waiting.set(book.parked());
            metrics.quarantined.set(book.quarantined());
            metrics.held_back.set(usize::from(book.is_full()));
        });
    }

    /// Kafka is to be told that the partition is there.
    pub(super) fn reached(&self, commit: &Commit) {
        let Assigned { topic, partition, .. } = self.assigned;
        self.shared.offsets.reached(topic, *partition, commit.offset, &commit.state);
        self.reached_in_retry(commit);
    }

    /// A transaction has told Kafka so.
    pub(super) fn told(&self, commit: &Commit) {
        let Assigned { topic, partition, .. } = self.assigned;
        self.shared.offsets.told(topic, *partition, commit.offset, &commit.state);
        self.reached_in_retry(commit);
    }

    fn reached_in_retry(&self, commit: &Commit) {
        if let (Some(retries), Some(topic)) = (&self.shared.retries, &self.retry_topic) {
            retries.offsets.reached(topic, self.assigned.partition, commit.retry_low, &"".into());
        }
    }

    /// A job ended: what becomes of its record is noted, counted and said.
    pub(super) fn settle(&self, book: &mut Book, job: Job, tried: Tried) {
        let failed = match tried {
            Ok(()) => {
                crash_point!("consumer::settled");
                book.succeed(&job);
                self.count(|metrics| {
                    metrics.handled.inc();
                });
                return;
            }
            Err(failed) => failed,
        };
        let (class, text, offset) = (failed.class(), failed.text(), job.record.offset);
        let attempts = job.attempts + 1;
        let verdict = book.fail(job, class, text.clone(), (Instant::now(), random()));
        self.count(|metrics| {
            metrics.failures.inc();
        });
        let Assigned { topic, partition, .. } = self.assigned;
        match verdict {
            Verdict::Waits(wait) => {
                let wait_seconds = wait.as_secs_f64();
                tracing::warn!(%topic, partition, offset, attempts, error = text, wait_seconds, "a record failed");
            }
            Verdict::Parks => tracing::info!(%topic, partition, offset, attempts, error = text, "a record is parked"),
            Verdict::Dies => {
                let class = class.name();
                tracing::error!(%topic, partition, offset, attempts, class, error = text, "a record is a dead letter");
            }
            Verdict::Stops => {
                tracing::error!(%topic, partition, offset, attempts, error = text, "the partition stops at a record");
            }
        }
    }

    /// A record of the retry partition, or what kept it from coming. False if that was its end.
    pub(super) fn hear(&self, book: &mut Book, read: Result<Record, KafkaError>) -> bool {
        let Assigned { topic, partition, .. } = self.assigned;
        let record = match read {
            Ok(record) => record,
            Err(KafkaError::PartitionEOF(_)) => return false,
            Err(error) => {
                tracing::warn!(%topic, partition, %error, "reading the retry partition");
                return true;
            }
        };
        let at = record.offset;
        match self.words.read(record) {
            Ok(word) => match book.hear(at, word.clone(), (Instant::now(), random())) {
                Heard::Skipped => {
                    self.count(|metrics| {
                        metrics.skipped.inc();
                    });
                    tracing::warn!(%topic, partition, at, "a dead letter is given up, and its key goes on");
                }
                Heard::Redriven => {
                    self.count(|metrics| {
                        metrics.redriven.inc();
                    });
                    tracing::info!(%topic, partition, at, "a dead letter is to be handled again");
                }
                Heard::Parked | Heard::Quarantined | Heard::Old => {}
            },
            Err(error) => {
                book.hear_nothing(at);
                tracing::error!(%topic, partition, at, %error, "a record of the retry topic is no word of ours");
            }
        }
        true
    }

    /// Begins to write what the book wants written.
    pub(super) async fn write(&self, book: &mut Book) -> Writing {
        let commit = book.write(WRITTEN_TOGETHER.0, WRITTEN_TOGETHER.1);
        let (mut records, mut entries) = (Vec::new(), Vec::new());
        for (index, entry) in book.writing().iter().enumerate() {
            for record in self.words.outgoing(entry) {
                records.push(record);
                entries.push(index);
            }
        }
        Writing { answer: self.transact(records, commit).await, entries }
    }

    /// Hands records over to be written with the offset that is true then. Kafka is told of no other offset of the partition until
    /// what comes of it is [known](Partition::transacted).
    pub(super) async fn transact(
        &self,
        records: Vec<Outgoing>,
        commit: Commit,
    ) -> oneshot::Receiver<Result<(), WriteError>> {
        let (answer, answered) = oneshot::channel();
        let Assigned { topic, partition, lost, .. } = self.assigned;
        if let Some(transactor) = &self.shared.transactor {
            self.shared.offsets.hold(topic, *partition);
            let (topic, lost) = (Arc::clone(topic), lost.clone());
            transactor.write(Write { records, topic, partition: *partition, commit, lost, answer }).await;
        }
        answered
    }

    /// No transaction is about the partition any more.
    pub(super) fn transacted(&self) {
        self.shared.offsets.release(&self.assigned.topic, self.assigned.partition);
    }

    /// How writing ended.
    pub(super) fn wrote(&self, book: &mut Book, entries: &[usize], answer: Answer) -> Wrote {
        let Assigned { topic, partition, .. } = self.assigned;
        let Ok(written) = answer else { return Wrote::Elsewhere };
        match written {
            Ok(()) => {
                let dead = book.writing().iter().filter(|entry| entry.what != What::Park).count();
                let parked = book.writing().len() - dead;
                book.written();
                self.reached(&book.commit());
                self.transacted();
                self.count(|metrics| {
                    metrics.parked.inc_by(parked as u64);
                    metrics.dead_lettered.inc_by(dead as u64);
                });
                Wrote::Yes
            }
            Err(WriteError::TooLarge { index, topic: into }) => {
                let entry = entries.get(index).copied().unwrap_or_default();
                let error = format!("the record does not fit into {into}");
                let verdict = book.too_large(entry, error);
                self.transacted();
                tracing::error!(%topic, partition, into, ?verdict, "a record is too large");
                Wrote::NotYet
            }
            Err(error @ WriteError::Unknown(_)) => {
                tracing::warn!(%topic, partition, %error, "looking again where the partition is");
                Wrote::Elsewhere
            }
            Err(error) => {
                tracing::warn!(%topic, partition, %error, "parking, or writing dead letters");
                book.not_written();
                self.transacted();
                Wrote::NotYet
            }
        }
    }

    /// Takes what is ready in the retry partition.
    pub(super) fn hear_ready<S>(&self, book: &mut Book, words: &mut S, most: usize)
    where
        S: futures::Stream<Item = Result<Record, KafkaError>> + Unpin,
    {
        use futures::FutureExt;
        for _ in 0..most {
            match words.next().now_or_never() {
                Some(Some(word)) => {
                    self.hear(book, word);
                }
                _ => break,
            }
        }
    }
}

/// The records of a retry partition; none ever where there is none.
pub(super) fn words(retry: Option<&RetryQueue>) -> futures::stream::BoxStream<'_, Result<Record, KafkaError>> {
    match retry.and_then(RetryQueue::queue) {
        Some(queue) => Box::pin(queue.stream().map(|message| message.map(|message| Record::from_message(&message)))),
        None => Box::pin(futures::stream::pending()),
    }
}

/// Waits for that instant; for ever if there is none.
pub(super) async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}
