//! Ours: a member of the runtime's consumer whose handler counts.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use rdkafka::ClientConfig;
use tidegate_runtime::{
    consumer::{Consumer, ConsumerConfig, ConsumerMetrics, Each, Handler, HandlerError, MemberHealth, Record},
    shutdown::Shutdown,
    telemetry::Metrics,
};
use tidegate_settings::{Consumes, DeadLetter, Retry, RetryBackoff, Span};

use super::{Drained, PARTITIONS, PATIENCE, is_parked_key, warm_up};
use crate::cluster::{Cluster, Scratch};

/// A member of a group of its own.
pub struct Member {
    config: ConsumerConfig,
}

/// What the handler saw.
#[derive(Default)]
struct Seen {
    handled: AtomicU64,
    failed: AtomicU64,
    /// When the first record that is counted came, and the last.
    first_and_last: Mutex<Option<(Instant, Instant)>>,
}

struct Counting {
    seen: Arc<Seen>,
    /// Records that are to be handled.
    records: u64,
}

impl Handler for Counting {
    async fn handle(&self, record: &Record) -> Result<(), HandlerError> {
        if record.key.as_deref().is_some_and(is_parked_key) {
            self.seen.failed.fetch_add(1, Ordering::Relaxed);
            return Err(HandlerError::retry("it is to be parked"));
        }
        let nth = self.seen.handled.fetch_add(1, Ordering::Relaxed) + 1;
        if nth == warm_up(self.records) || nth == self.records {
            let now = Instant::now();
            let mut times = self.seen.first_and_last.lock().unwrap_or_else(PoisonError::into_inner);
            *times = Some(times.map_or((now, now), |(first, _)| (first, now)));
        }
        Ok(())
    }
}

impl Member {
    /// A member, with the topics that it parks records in.
    pub async fn open(cluster: &Cluster, scratch: &mut Scratch, topic: &str, of: &str) -> anyhow::Result<Self> {
        let dead_letters = scratch.topic(cluster, &format!("{of}-dlq"), 1, 1).await?;
        let member = Self::new(cluster, scratch, topic, of, &dead_letters)?;
        let retry = Retry::default().topic_of(&member.config.group, topic);
        scratch.topic_called(cluster, &retry, PARTITIONS, 1).await?;
        Ok(member)
    }

    /// A member that reads nothing yet.
    pub fn new(
        cluster: &Cluster,
        scratch: &mut Scratch,
        topic: &str,
        of: &str,
        dead_letters: &str,
    ) -> anyhow::Result<Self> {
        let group = scratch.group(cluster, of);
        let consumes = Consumes { topics: vec![topic.to_owned()], group, start_at: None, ordered: None };
        let mut config = ConsumerConfig::new("tidegate-bench", &consumes);
        // What is parked stays parked while it is measured.
        config.retry = Some(retry()?);
        config.dead_letter = Some(DeadLetter { topic: dead_letters.to_owned(), partitions: None, retention: None });
        Ok(Self { config })
    }

    /// Its client's settings, for the reference.
    pub fn client(&self, cluster: &Cluster) -> anyhow::Result<ClientConfig> {
        Ok(self.config.client(&cluster.kafka()?))
    }

    /// Reads until so many records are handled and so many have failed.
    pub async fn drain(self, cluster: &Cluster, records: u64, failing: u64) -> anyhow::Result<Drained> {
        let (seen, health, shutdown) = (Arc::new(Seen::default()), Arc::new(MemberHealth::default()), Shutdown::new());
        let consumer = Consumer {
            metrics: ConsumerMetrics::new(&Metrics::default(), Arc::clone(&health)),
            config: self.config,
            brokers: cluster.kafka()?.into(),
            work: Each(Counting { seen: Arc::clone(&seen), records }),
            health,
        };
        let running = tokio::spawn(consumer.run(shutdown.clone()));
        let mut progress = (0, Instant::now());
        while seen.handled.load(Ordering::Relaxed) < records {
            tokio::time::sleep(Duration::from_millis(20)).await;
            let handled = seen.handled.load(Ordering::Relaxed);
            if handled > progress.0 {
                progress = (handled, Instant::now());
            }
            ensure!(progress.1.elapsed() < PATIENCE, "the runtime's consumer stands at {handled} of {records}");
        }
        shutdown.begin();
        running.await.context("the consumer broke off")??;
        let (handled, failed) = (seen.handled.load(Ordering::Relaxed), seen.failed.load(Ordering::Relaxed));
        ensure!(handled == records, "{handled} records were handled of {records}");
        ensure!(failed >= failing, "{failed} records failed of {failing}");
        let times = *seen.first_and_last.lock().unwrap_or_else(PoisonError::into_inner);
        let (first, last) = times.context("no record came")?;
        Ok(Drained { first, last, records })
    }
}

/// Records wait longer for their second try than any window lasts.
fn retry() -> anyhow::Result<Retry> {
    let long: Span = "1h".parse()?;
    let backoff = RetryBackoff { initial: Some(long), max: Some(long), multiplier: None };
    Ok(Retry { backoff: Some(backoff), ..Retry::default() })
}
