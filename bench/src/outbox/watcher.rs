//! A reader of committed records, which notes when it saw which.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
};
use tokio::{sync::oneshot, task::JoinHandle};

use super::{PARTITIONS, number};
use crate::cluster::Cluster;

/// A reader on a thread of its own.
pub struct Watcher {
    seen: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<anyhow::Result<Vec<(u64, Instant)>>>,
}

impl Watcher {
    /// Begins behind what the topic holds now; returns once it reads.
    pub async fn start(cluster: &Cluster, topic: &str) -> anyhow::Result<Self> {
        let mut client = cluster.client();
        client
            .set("group.id", "tidegate-bench")
            .set("enable.auto.commit", "false")
            .set("isolation.level", "read_committed")
            .set("enable.partition.eof", "true");
        let (seen, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (ready, is_ready) = oneshot::channel();
        let reading = Reading { topic: topic.to_owned(), seen: Arc::clone(&seen), stop: Arc::clone(&stop) };
        let thread = tokio::task::spawn_blocking(move || reading.run(&client.create()?, ready));
        if is_ready.await.is_err() {
            thread.await??;
            bail!("the reader ended before it began");
        }
        Ok(Self { seen, stop, thread })
    }

    /// How many it has seen.
    pub fn seen(&self) -> u64 {
        self.seen.load(Ordering::Acquire)
    }

    /// The same, for another thread.
    pub fn counter(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.seen)
    }

    /// Waits until it has seen so many.
    pub async fn wait_for(&self, count: u64, within: Duration) -> anyhow::Result<()> {
        let ends = Instant::now() + within;
        while self.seen() < count {
            ensure!(Instant::now() < ends, "{} of {count} events became visible in time", self.seen());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    /// Ends it; the events' numbers and when they were seen, in the order in which they were.
    pub async fn finish(self) -> anyhow::Result<Vec<(u64, Instant)>> {
        self.stop.store(true, Ordering::Release);
        self.thread.await.context("the reader broke off")?
    }
}

struct Reading {
    topic: String,
    seen: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
}

impl Reading {
    fn run(&self, reader: &BaseConsumer, ready: oneshot::Sender<()>) -> anyhow::Result<Vec<(u64, Instant)>> {
        let mut assignment = TopicPartitionList::new();
        for partition in 0..PARTITIONS {
            let (_, newest) = reader.fetch_watermarks(&self.topic, partition, Duration::from_secs(10))?;
            assignment.add_partition_offset(&self.topic, partition, Offset::Offset(newest))?;
        }
        reader.assign(&assignment)?;
        let mut sightings = Vec::new();
        let (mut ready, mut at_end) = (Some(ready), 0);
        while !self.stop.load(Ordering::Acquire) {
            match reader.poll(Duration::from_millis(50)) {
                None => {}
                Some(Ok(message)) => {
                    let event = message.payload().and_then(number).context("a record is not ours")?;
                    sightings.push((event, Instant::now()));
                    self.seen.fetch_add(1, Ordering::Release);
                }
                Some(Err(rdkafka::error::KafkaError::PartitionEOF(_))) => {
                    at_end += 1;
                    if at_end >= PARTITIONS
                        && let Some(ready) = ready.take()
                    {
                        let _ = ready.send(());
                    }
                }
                Some(Err(error)) => return Err(error).context("reading the topic"),
            }
        }
        Ok(sightings)
    }
}
