//! Records together: a batch is finished, every record of it, before the next one is begun.

use std::time::{Duration, Instant};

use futures::{FutureExt, Stream, StreamExt};
use rdkafka::{error::KafkaError, message::BorrowedMessage};
use tokio::time::{sleep, timeout_at};

use super::{Complete, Consuming, Draining, Failed, Left, Partition, Writing, Wrote, until, words};
use crate::{
    app::chain,
    backoff::Backoff,
    consumer::{
        HandlerError, Record,
        book::{Admitted, Book, Commit, Done, Job, LaneId, Place},
        retries::RetryQueue,
        work::{Applied, Batches},
    },
    crash_point,
};

/// Words that are heard before anything else has its turn.
const BURST: usize = 1000;

/// What is under way in a partition.
struct Work<'a, W> {
    partition: &'a Partition<'a, W>,
    book: Book,
    kept: Commit,
    /// When the last batch was begun.
    begun: Option<tokio::time::Instant>,
}

/// Why to go no further.
enum Leave {
    Draining,
    Elsewhere,
}

/// Works until the partition is to be given up.
pub(in crate::consumer) async fn consume<W: Batches>(partition: &Partition<'_, W>, consuming: Consuming) -> Left {
    let Consuming { book, retry, kept } = consuming;
    let mut work = Work { partition, book, kept, begun: None };
    match work.run(retry.as_ref()).await {
        Ok(()) => Left::Stopped,
        Err(Leave::Elsewhere) => Left::Elsewhere,
        Err(Leave::Draining) => Left::Draining(Box::new(Draining { book: work.book })),
    }
}

/// Nothing is under way between batches, and what was finished is kept.
pub(in crate::consumer) async fn finish<W>(_: &Partition<'_, W>, _: Draining) -> Complete {
    Complete
}

impl<W: Batches> Work<'_, W> {
    /// Ends by itself if the partition stops.
    async fn run(&mut self, retry: Option<&RetryQueue>) -> Result<(), Leave> {
        let assigned = self.partition.assigned;
        let mut stream = assigned.queue.stream();
        let mut words = words(retry);
        while !self.book.is_stopped() {
            self.partition.hear_ready(&mut self.book, &mut words, BURST);
            self.parked_that_are_due().await?;
            self.keep().await?;
            self.partition.show(&self.book);
            let due = self.book.next_due();
            tokio::select! {
                biased;
                () = assigned.draining.cancelled() => return Err(Leave::Draining),
                Some(word) = words.next() => {
                    self.partition.hear(&mut self.book, word);
                }
                Some(message) = stream.next(), if self.book.wants_more() => {
                    let records = self.fill(message, &mut stream).await;
                    self.source(records).await?;
                }
                () = until(due), if due.is_some() => {}
            }
        }
        Ok(())
    }

    /// The first message and what comes shortly, until the batch is full.
    async fn fill<'m, S>(&mut self, first: Result<BorrowedMessage<'m>, KafkaError>, stream: &mut S) -> Vec<Record>
    where
        S: Stream<Item = Result<BorrowedMessage<'m>, KafkaError>> + Unpin,
    {
        let (assigned, config) = (self.partition.assigned, &self.partition.shared.config);
        let soon = tokio::time::Instant::now() + config.batch_wait;
        let deadline = self.begun.map_or(soon, |begun| soon.max(begun + config.batch_pace));
        let (mut records, mut bytes) = (Vec::new(), 0);
        let mut next = Some(first);
        while let Some(message) = next.take() {
            match message {
                Ok(message) => {
                    let record = Record::of(assigned.topic.clone(), &message);
                    bytes += record.bytes();
                    records.push(record);
                }
                // What was taken before it comes first; the error comes again if it lasts.
                Err(error) => {
                    tracing::warn!(topic = %assigned.topic, partition = assigned.partition, %error, "reading the partition");
                    break;
                }
            }
            if records.len() < config.batch_records.max(1) && bytes < config.batch_bytes {
                next = match stream.next().now_or_never() {
                    Some(message) => message,
                    None => timeout_at(deadline, stream.next()).await.ok().flatten(),
                };
            }
        }
        self.begun = Some(tokio::time::Instant::now());
        records
    }

    /// Records of the source partition: those behind parked ones are parked, the others applied.
    async fn source(&mut self, records: Vec<Record>) -> Result<(), Leave> {
        let (came, mut repeated) = (records.len(), 0);
        let mut free = Vec::with_capacity(came);
        for record in records {
            match self.book.admit(record) {
                Admitted::Free(record) => {
                    self.book.open(record.offset);
                    free.push(record);
                }
                Admitted::Kept => {}
                Admitted::Repeated => repeated += 1,
            }
        }
        self.partition.took(came, repeated);
        self.partition.show(&self.book);
        crash_point!("consumer::taken");
        self.write().await?;
        if free.is_empty() {
            return self.keep().await;
        }
        let done: Done = free.iter().map(|record| (Place::Source, record.offset)).collect();
        match self.together(&free, &done).await? {
            Ok(()) => {
                for record in &free {
                    self.book.close(record.offset);
                }
                self.partition.count(|metrics| {
                    metrics.handled.inc_by(free.len() as u64);
                });
                Ok(())
            }
            Err(error) if free.len() > 1 => {
                tracing::info!(topic = %self.partition.assigned.topic, error = error.text(), "a batch goes one by one");
                self.one_by_one(free).await
            }
            // The only one has had its try.
            Err(failed) => {
                if let Some(record) = free.pop() {
                    let offset = record.offset;
                    let lane = self.book.begin(offset, record.key.as_deref());
                    self.partition.settle(&mut self.book, Job::new(record, lane), Err(failed));
                    self.until_closed(offset, lane).await?;
                }
                Ok(())
            }
        }
    }

    /// Each in its turn, finished before the next one is begun: the offset can only say that all before it are.
    async fn one_by_one(&mut self, records: Vec<Record>) -> Result<(), Leave> {
        // All are open, so that the offset stays before those whose turn is still to come.
        for record in records {
            let offset = record.offset;
            let lane = self.book.enter(record);
            self.until_closed(offset, lane).await?;
            if self.book.is_stopped() {
                break;
            }
        }
        Ok(())
    }

    /// Tries the record until it is finished. Nothing else runs meanwhile, parked ones neither: one of this batch, parked and finished
    /// before the offset is behind it, would come again after a crash.
    async fn until_closed(&mut self, offset: i64, lane: LaneId) -> Result<(), Leave> {
        while self.book.is_open(offset) && !self.book.is_stopped() {
            self.write().await?;
            if let Some(job) = self.book.next_in(lane, Instant::now()) {
                self.alone(job).await?;
            } else if self.book.is_open(offset) {
                let due = self.book.next_due_in(lane);
                tokio::select! {
                    biased;
                    () = self.partition.assigned.draining.cancelled() => return Err(Leave::Draining),
                    () = until(due) => {}
                }
            }
        }
        Ok(())
    }

    /// Parked records whose time has come: together if that works.
    async fn parked_that_are_due(&mut self) -> Result<(), Leave> {
        let most = self.partition.shared.config.batch_records.max(1);
        let mut jobs = Vec::new();
        while jobs.len() < most
            && let Some(job) = self.book.next(Instant::now())
        {
            jobs.push(job);
        }
        if jobs.len() > 1 {
            let mut jobs_done = Done::new();
            let records: Vec<Record> = jobs
                .iter()
                .map(|job| {
                    jobs_done.insert(job.done());
                    job.record.clone()
                })
                .collect();
            if self.together(&records, &jobs_done).await?.is_ok() {
                for job in jobs {
                    self.partition.settle(&mut self.book, job, Ok(()));
                }
                return Ok(());
            }
        }
        for job in jobs {
            self.alone(job).await?;
        }
        Ok(())
    }

    /// One job, and what becomes of it.
    async fn alone(&mut self, job: Job) -> Result<(), Leave> {
        if job.attempts > 0 {
            self.partition.count(|metrics| {
                metrics.retried.inc();
            });
        }
        let done = Done::from([job.done()]);
        let tried = self.together(std::slice::from_ref(&job.record), &done).await?;
        self.partition.settle(&mut self.book, job, tried);
        self.write().await?;
        self.keep().await
    }

    /// Applies the records and moves the offsets past what is done with them. What is away is waited for; other errors are returned.
    async fn together(&mut self, records: &[Record], done: &Done) -> Result<Result<(), Failed>, Leave> {
        let to = self.book.commit_if(done);
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
        loop {
            let begun = Instant::now();
            let applying = self.partition.shared.work.apply(self.partition, records, (&self.kept, &to));
            let error = match std::panic::AssertUnwindSafe(applying).catch_unwind().await {
                Ok(Ok(Applied::Yes)) => {
                    crash_point!("consumer::applied");
                    self.partition.count(|metrics| metrics.batch_seconds.observe(begun.elapsed().as_secs_f64()));
                    self.kept = to;
                    return Ok(Ok(()));
                }
                Ok(Ok(Applied::Elsewhere)) => {
                    let assigned = self.partition.assigned;
                    tracing::warn!(topic = %assigned.topic, partition = assigned.partition, "somebody else has moved the partition");
                    return Err(Leave::Elsewhere);
                }
                Ok(Err(HandlerError::Transient(error))) => error,
                Ok(Err(error)) => return Ok(Err(Failed::Said(error))),
                Err(_) => return Ok(Err(self.partition.panicked())),
            };
            self.partition.count(|metrics| {
                metrics.failures.inc();
            });
            let wait = backoff.next();
            let assigned = self.partition.assigned;
            tracing::warn!(
                topic = %assigned.topic,
                partition = assigned.partition,
                records = records.len(),
                error = chain(&*error),
                wait_seconds = wait.as_secs_f64(),
                "a batch failed for now"
            );
            self.wait(wait).await?;
        }
    }

    /// Writes what is to be parked, and dead letters, until nothing is left of it.
    async fn write(&mut self) -> Result<(), Leave> {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
        while self.book.must_write() && !self.book.is_stopped() {
            let Writing { answer, entries } = self.partition.write(&mut self.book).await;
            match self.partition.wrote(&mut self.book, &entries, answer.await) {
                Wrote::Yes => {
                    crash_point!("consumer::written");
                    self.keep().await?;
                }
                Wrote::NotYet => self.wait(backoff.next()).await?,
                Wrote::Elsewhere => return Err(Leave::Elsewhere),
            }
        }
        Ok(())
    }

    /// Keeps how far the partition is, if it is not kept yet.
    async fn keep(&mut self) -> Result<(), Leave> {
        let now = self.book.commit();
        if now == self.kept {
            return Ok(());
        }
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
        loop {
            match self.partition.shared.work.keep(self.partition, Some(&self.kept), &now).await {
                Ok(true) => {
                    self.kept = now;
                    return Ok(());
                }
                Ok(false) => return Err(Leave::Elsewhere),
                Err(error) => {
                    let assigned = self.partition.assigned;
                    tracing::warn!(topic = %assigned.topic, partition = assigned.partition, error = chain(&error), "keeping the offset");
                    self.wait(backoff.next()).await?;
                }
            }
        }
    }

    async fn wait(&self, wait: Duration) -> Result<(), Leave> {
        tokio::select! {
            biased;
            () = self.partition.assigned.draining.cancelled() => Err(Leave::Draining),
            () = sleep(wait) => Ok(()),
        }
    }
}
