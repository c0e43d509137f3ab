//! The client that reads retry partitions: assigned by hand, since whoever owns a source partition reads its retry partition.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig, ClientContext, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions},
    config::RDKafkaLogLevel,
    consumer::{
        BaseConsumer, CommitMode, Consumer, ConsumerContext, StreamConsumer, stream_consumer::StreamPartitionQueue,
    },
    error::{KafkaError, KafkaResult, RDKafkaErrorCode},
};
use tidegate_settings::binding::KafkaConnection;

use super::{ConsumerConfig, offsets::Offsets};
use crate::kafka::{self, Logged};

/// How often the end of transactions is looked for.
const LOOK: Duration = Duration::from_millis(100);
/// How often what is finished is removed.
const TRIM: Duration = Duration::from_secs(60);

pub(super) struct RetryContext {
    offsets: Arc<Offsets>,
}

impl ClientContext for RetryContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        kafka::log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        // The end of a partition is asked for, and no trouble.
        if error.rdkafka_error_code() != Some(RDKafkaErrorCode::PartitionEOF) {
            kafka::log_error(&error, reason);
        }
    }
}

impl ConsumerContext for RetryContext {
    fn commit_callback(&self, result: KafkaResult<()>, offsets: &TopicPartitionList) {
        if let Err(error) = result {
            tracing::debug!(%error, "how far retry partitions are could not be told");
            self.offsets.failed(offsets);
        }
    }
}

type Reader = StreamConsumer<RetryContext>;

/// The reader of a member's retry partitions.
pub(super) struct Retries {
    pub(super) consumer: Arc<Reader>,
    /// How far they are, for people and dashboards: what decides rides with the source partition's offset.
    pub(super) offsets: Arc<Offsets>,
    /// Sees what transactions have written that are not ended. There while partitions begin.
    undecided: (ClientConfig, Mutex<Weak<BaseConsumer<Logged>>>),
}

impl Retries {
    pub(super) fn new(config: &ConsumerConfig, connection: &KafkaConnection) -> KafkaResult<Self> {
        let offsets = Arc::new(Offsets::default());
        let context = RetryContext { offsets: Arc::clone(&offsets) };
        let mut client = config.retry_client(connection);
        let consumer = Arc::new(client.create_with_context(context)?);
        client.set("isolation.level", "read_uncommitted");
        Ok(Self { consumer, offsets, undecided: (client, Mutex::default()) })
    }

    /// The oldest offset of a retry partition and the one after its newest, once every transaction has ended that had written to it when
    /// this was asked. The parts of one transaction become visible one by one: the group's offset may tell of records that the retry
    /// partition does not show yet.
    pub(super) async fn settled(&self, topic: &Arc<str>, partition: i32, within: Duration) -> KafkaResult<(i64, i64)> {
        let (_, written) = watermarks(self.undecided()?, topic, partition, within).await?;
        loop {
            let (oldest, newest) = watermarks(Arc::clone(&self.consumer), topic, partition, within).await?;
            if newest >= written {
                return Ok((oldest, newest));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    fn undecided(&self) -> KafkaResult<Arc<BaseConsumer<Logged>>> {
        let (config, shared) = &self.undecided;
        let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(consumer) = shared.upgrade() {
            return Ok(consumer);
        }
        let consumer = Arc::new(config.create_with_context(Logged)?);
        *shared = Arc::downgrade(&consumer);
        Ok(consumer)
    }

    /// Begins to read a retry partition.
    pub(super) fn open(&self, topic: &str, partition: i32, offset: i64) -> KafkaResult<RetryQueue> {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Offset(offset))?;
        let queue = self
            .consumer
            .split_partition_queue(topic, partition)
            .ok_or_else(|| KafkaError::Subscription(format!("{topic}/{partition}")))?;
        self.consumer.incremental_assign(&list)?;
        Ok(RetryQueue { queue: Some(queue), consumer: Arc::clone(&self.consumer), list })
    }

    /// Tells Kafka how far they are.
    pub(super) fn tell(&self) {
        let told = self.offsets.tell(|list| self.consumer.commit(list, CommitMode::Async));
        if let Err(error) = told {
            tracing::debug!(%error, "how far retry partitions are could not be told");
        }
    }
}

async fn watermarks<C: ConsumerContext>(
    consumer: Arc<impl Consumer<C> + Send + Sync + 'static>,
    topic: &Arc<str>,
    partition: i32,
    within: Duration,
) -> KafkaResult<(i64, i64)> {
    let topic = Arc::clone(topic);
    let asked = tokio::task::spawn_blocking(move || consumer.fetch_watermarks(&topic, partition, within));
    asked.await.unwrap_or(Err(KafkaError::Canceled))
}

/// Removes what is finished from the beginning of retry partitions, now and then.
pub(super) struct Trim {
    admin: ClientConfig,
    at: Instant,
    /// Offsets that were told at the last turn, and those before which records were removed.
    before: HashMap<(Arc<str>, i32), i64>,
    done: HashMap<(Arc<str>, i32), i64>,
}

impl Trim {
    pub(super) fn new(config: &ConsumerConfig, connection: &KafkaConnection) -> Self {
        Self {
            admin: kafka::client(connection, &config.client_id),
            at: Instant::now() + TRIM,
            before: HashMap::new(),
            done: HashMap::new(),
        }
    }

    /// Removes what Kafka was told to be finished, if it is time. Not what it was told just now: a database that lost its last
    /// transactions in a crash goes back by a second, and needs those records again.
    pub(super) fn turn(&mut self, offsets: &Offsets) {
        if Instant::now() < self.at {
            return;
        }
        self.at = Instant::now() + TRIM;
        let mut list = TopicPartitionList::new();
        let now =
            offsets.all_told().into_iter().map(|(topic, partition, offset)| ((topic, partition), offset)).collect();
        for ((topic, partition), offset) in std::mem::replace(&mut self.before, now) {
            let done = self.done.entry((Arc::clone(&topic), partition)).or_default();
            if offset > *done && list.add_partition_offset(&topic, partition, Offset::Offset(offset)).is_ok() {
                *done = offset;
            }
        }
        if list.count() == 0 {
            return;
        }
        let config = self.admin.clone();
        tokio::spawn(async move {
            let trimmed = match config.create_with_context::<_, AdminClient<Logged>>(Logged) {
                Ok(admin) => admin.delete_records(&list, &AdminOptions::new()).await,
                Err(error) => Err(error),
            };
            let refused = trimmed.and_then(|list| list.elements().iter().try_for_each(|element| element.error()));
            if let Err(error) = refused {
                tracing::warn!(%error, "what is finished could not be removed from retry topics; they grow");
            }
        });
    }
}

/// The records of one retry partition. Whoever drops it stops reading.
pub(super) struct RetryQueue {
    queue: Option<StreamPartitionQueue<RetryContext>>,
    consumer: Arc<Reader>,
    list: TopicPartitionList,
}

impl RetryQueue {
    pub(super) fn queue(&self) -> Option<&StreamPartitionQueue<RetryContext>> {
        self.queue.as_ref()
    }
}

impl Drop for RetryQueue {
    fn drop(&mut self) {
        if let Err(error) = self.consumer.incremental_unassign(&self.list) {
            tracing::debug!(%error, "giving up a retry partition");
        }
        self.queue = None;
    }
}
