//! A record at a time: records of different keys at once, those of one key in their order.

use std::{
    panic::AssertUnwindSafe,
    pin::Pin,
    task::Poll,
    time::{Duration, Instant},
};

use futures::{FutureExt, StreamExt, future::poll_fn, stream::FuturesUnordered};
use rdkafka::{
    error::KafkaError,
    message::{BorrowedMessage, Message},
};

use super::{Answer, Complete, Consuming, Draining, Failed, Left, Partition, Tried, Writing, Wrote, until, words};
use crate::{
    backoff::Backoff,
    consumer::{
        Handler, Record,
        book::{Admitted, Book, Job},
        work::Work,
    },
    crash_point,
};

/// Records that are taken, and words that are heard, before anything else has its turn.
const BURST: usize = 256;

/// A job that is being tried.
type Trying<'a> = Pin<Box<dyn Future<Output = (Job, Tried)> + Send + 'a>>;
/// A record that is being tried and that the book may never hear of.
type TryingFree<'a> = Pin<Box<dyn Future<Output = (Record, Tried)> + Send + 'a>>;

/// What is under way in a partition.
struct Each<'a, W, H> {
    partition: &'a Partition<'a, W>,
    handler: &'a H,
    book: Book,
    running: FuturesUnordered<Trying<'a>>,
}

/// Works until the partition is to be given up.
pub(in crate::consumer) async fn consume<W: Work, H: Handler>(
    partition: &Partition<'_, W>,
    handler: &H,
    consuming: Consuming,
) -> Left {
    let Consuming { book, retry, .. } = consuming;
    let (assigned, config) = (partition.assigned, &partition.shared.config);
    let concurrency = config.concurrency.max(1);
    let mut each = Each { partition, handler, book, running: FuturesUnordered::new() };
    let mut stream = assigned.queue.stream();
    let mut words = words(retry.as_ref());
    let mut writing: Option<Writing> = None;
    let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
    let mut write_at: Option<Instant> = None;
    loop {
        let now = Instant::now();
        while each.running.len() < concurrency
            && let Some(job) = each.book.next(now)
        {
            each.begin(job).await;
        }
        if writing.is_none() && each.book.must_write() && write_at.is_none_or(|at| at <= now) {
            write_at = None;
            writing = Some(partition.write(&mut each.book).await);
        }
        partition.reached(&each.book.commit());
        partition.show(&each.book);
        if each.book.is_stopped() && each.running.is_empty() && writing.is_none() {
            return Left::Stopped;
        }
        let due =
            [each.book.next_due().filter(|_| each.running.len() < concurrency), write_at].into_iter().flatten().min();
        let room = each.running.len() < concurrency && each.book.wants_more();
        tokio::select! {
            biased;
            () = assigned.draining.cancelled() => break,
            Some((job, tried)) = each.running.next(), if !each.running.is_empty() => {
                partition.settle(&mut each.book, job, tried);
            }
            answer = answered(&mut writing), if writing.is_some() => {
                let entries = writing.take().map(|writing| writing.entries).unwrap_or_default();
                match partition.wrote(&mut each.book, &entries, answer) {
                    Wrote::Yes => backoff.reset(),
                    Wrote::NotYet => write_at = Some(Instant::now() + backoff.next()),
                    Wrote::Elsewhere => {
                        // Nothing may run of a book that is thrown away.
                        while each.running.next().await.is_some() {}
                        return Left::Elsewhere;
                    }
                }
            }
            Some(word) = words.next() => {
                partition.hear(&mut each.book, word);
                partition.hear_ready(&mut each.book, &mut words, BURST);
            }
            Some(message) = stream.next(), if room => {
                let (mut taken, mut handled, mut repeated) = (0, 0, 0);
                let mut next = Some(message);
                while let Some(message) = next.take() {
                    taken += 1;
                    match each.take(message).await {
                        Taken::Handled => handled += 1,
                        Taken::Repeated => repeated += 1,
                        Taken::Kept => {}
                    }
                    if taken < BURST && each.running.len() < concurrency && each.book.wants_more() {
                        next = stream.next().now_or_never().flatten();
                    }
                }
                crash_point!("consumer::taken");
                partition.took(taken, repeated);
                partition.count(|metrics| {
                    metrics.handled.inc_by(handled);
                });
            }
            () = until(due), if due.is_some() => {}
        }
    }
    // What runs ends here, where it was begun; what is parked, or waits, goes to the next owner.
    while let Some((job, tried)) = each.running.next().await {
        partition.settle(&mut each.book, job, tried);
        partition.reached(&each.book.commit());
    }
    if let Some(Writing { answer, entries }) = writing
        && let Wrote::Elsewhere = partition.wrote(&mut each.book, &entries, answer.await)
    {
        return Left::Elsewhere;
    }
    Left::Draining(Box::new(Draining { book: each.book }))
}

/// Writes what is still to be written, once.
pub(in crate::consumer) async fn finish<W: Work>(partition: &Partition<'_, W>, draining: Draining) -> Complete {
    let Draining { mut book } = draining;
    if book.must_write() {
        let Writing { answer, entries } = partition.write(&mut book).await;
        if let Wrote::Elsewhere = partition.wrote(&mut book, &entries, answer.await) {
            return Complete;
        }
    }
    partition.reached(&book.commit());
    Complete
}

/// What became of a record at once.
enum Taken {
    Handled,
    Repeated,
    Kept,
}

impl<'a, W: Work, H: Handler> Each<'a, W, H> {
    /// A record came. If nothing is before it, it is tried at once, and most are done then: the book need not know of them.
    async fn take(&mut self, message: Result<BorrowedMessage<'_>, KafkaError>) -> Taken {
        let assigned = self.partition.assigned;
        let message = match message {
            Ok(message) => message,
            Err(error) => {
                tracing::warn!(topic = %assigned.topic, partition = assigned.partition, %error, "reading the partition");
                return Taken::Kept;
            }
        };
        let record = match self.book.admit(Record::of(assigned.topic.clone(), &message)) {
            Admitted::Free(record) => record,
            Admitted::Kept => return Taken::Kept,
            Admitted::Repeated => return Taken::Repeated,
        };
        let (partition, handler) = (self.partition, self.handler);
        let mut trying: TryingFree<'a> = Box::pin(async move {
            let tried = attempt(partition, handler, &record).await;
            (record, tried)
        });
        match once(&mut trying).await {
            Poll::Ready((_, Ok(()))) => return Taken::Handled,
            Poll::Ready((record, failed)) => {
                let lane = self.book.begin(record.offset, record.key.as_deref());
                self.partition.settle(&mut self.book, Job::new(record, lane), failed);
            }
            Poll::Pending => {
                let lane = self.book.begin(message.offset(), message.key());
                self.running.push(Box::pin(async move {
                    let (record, tried) = trying.await;
                    (Job::new(record, lane), tried)
                }));
            }
        }
        Taken::Kept
    }

    /// A job's turn has come.
    async fn begin(&mut self, job: Job) {
        if job.attempts > 0 {
            self.partition.count(|metrics| {
                metrics.retried.inc();
            });
        }
        let (partition, handler) = (self.partition, self.handler);
        let mut trying: Trying<'a> = Box::pin(async move {
            let tried = attempt(partition, handler, &job.record).await;
            (job, tried)
        });
        match once(&mut trying).await {
            Poll::Ready((job, tried)) => self.partition.settle(&mut self.book, job, tried),
            Poll::Pending => self.running.push(trying),
        }
    }
}

async fn attempt<W: Work, H: Handler>(partition: &Partition<'_, W>, handler: &H, record: &Record) -> Tried {
    match AssertUnwindSafe(handler.handle(record)).catch_unwind().await {
        Ok(handled) => handled.map_err(Failed::Said),
        Err(_) => Err(partition.panicked()),
    }
}

async fn answered(writing: &mut Option<Writing>) -> Answer {
    match writing {
        Some(writing) => (&mut writing.answer).await,
        None => std::future::pending().await,
    }
}

/// Polls once.
async fn once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    poll_fn(|context| Poll::Ready(Pin::new(&mut *future).poll(context))).await
}
