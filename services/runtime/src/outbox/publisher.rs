//! The Kafka side of a shard: a fenced transactional producer, and the shard's position, which it commits with the events.

use std::{sync::Arc, time::Duration};

use futures::future::join_all;
use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer, ConsumerGroupMetadata},
    error::{KafkaError, RDKafkaErrorCode},
    message::{Header, OwnedHeaders},
    producer::{FutureProducer, FutureRecord, Producer},
};
use tidegate_settings::binding::KafkaConnection;
use tokio::{
    runtime::Handle,
    task::{JoinError, spawn_blocking},
};

use super::{
    RelayConfig, SHARDS,
    position::{Batch, NotAPosition, Position},
    rows::Row,
};
use crate::kafka::{self, Logged};

/// How long Kafka may take for one step.
const ANSWER: Duration = Duration::from_secs(15);

/// What went wrong while publishing. Nothing of the batch is visible then, or all of it is and the next owner finds out.
#[derive(Debug, thiserror::Error)]
pub(super) enum PublishError {
    #[error("{doing}: {source}")]
    Kafka { doing: &'static str, source: KafkaError },
    #[error("positions are kept at {topic}, which has {partitions} partitions; an outbox needs {SHARDS}")]
    FewPartitions { topic: String, partitions: usize },
    #[error("reading the shard's position: {0}")]
    Position(#[from] NotAPosition),
    #[error("the producer's thread broke off")]
    Thread(#[from] JoinError),
}

fn on(doing: &'static str) -> impl Fn(KafkaError) -> PublishError {
    move |source| PublishError::Kafka { doing, source }
}

/// A shard's producer. Whoever opens a later one fences it.
pub(super) struct Publisher {
    /// None only while this is dropped.
    producer: Option<FutureProducer<Logged>>,
    group: Arc<ConsumerGroupMetadata>,
    position_topic: String,
    shard: i16,
}

impl Publisher {
    /// Opens the shard: fences whoever had it before, ends what they left open, and reads how far they came.
    pub(super) async fn open(
        config: &RelayConfig,
        connection: &KafkaConnection,
        shard: i16,
    ) -> Result<(Self, Option<Position>), PublishError> {
        let transactional_id = format!("{}.{shard}", config.transactional_id_prefix);
        let mut producing = kafka::producer(connection, &config.client_id);
        producing
            .set("transactional.id", transactional_id)
            // What a crashed owner leaves open is ended by the next one, or by the broker after this long; readers wait for it.
            .set("transaction.timeout.ms", "10000")
            .set("message.timeout.ms", "9000")
            .set("linger.ms", "1");
        let mut reading = kafka::client(connection, &config.client_id);
        reading
            .set("group.id", &config.group)
            .set("enable.auto.commit", "false")
            // Offsets of a transaction whose outcome is still being written are waited for.
            .set("isolation.level", "read_committed");
        let position_topic = config.position_topic.clone();
        spawn_blocking(move || {
            let producer: FutureProducer<Logged> =
                producing.create_with_context(Logged).map_err(on("configuring the producer"))?;
            producer.init_transactions(ANSWER).map_err(on("fencing the previous owner"))?;
            let reader: BaseConsumer<Logged> =
                reading.create_with_context(Logged).map_err(on("configuring the reader of positions"))?;
            // Brokers take no offset for a partition that is not there.
            let metadata = reader
                .fetch_metadata(Some(&position_topic), ANSWER)
                .map_err(on("looking for the topic of positions"))?;
            let partitions = metadata.topics().first().map_or(0, |topic| topic.partitions().len());
            if partitions < usize::from(SHARDS) {
                return Err(PublishError::FewPartitions { topic: position_topic, partitions });
            }
            let mut asked = TopicPartitionList::new();
            asked.add_partition(&position_topic, i32::from(shard));
            let answered = reader.committed_offsets(asked, ANSWER).map_err(on("reading the shard's position"))?;
            let position = match answered.find_partition(&position_topic, i32::from(shard)) {
                Some(element) => match element.offset() {
                    Offset::Offset(published) => Some(Position { published, batch: Batch::parse(element.metadata())? }),
                    _ => None,
                },
                None => None,
            };
            let group = reader.group_metadata().ok_or(PublishError::Kafka {
                doing: "naming the group of positions",
                source: KafkaError::Global(RDKafkaErrorCode::UnknownGroup),
            })?;
            Ok((Self { producer: Some(producer), group: Arc::new(group), position_topic, shard }, position))
        })
        .await?
    }

    /// Publishes the rows and the position behind them: all of it, or nothing.
    pub(super) async fn publish(&self, rows: &[Row], position: &Position) -> Result<(), PublishError> {
        let Some(producer) = self.producer.clone() else { return Err(on("producing")(KafkaError::Canceled)) };
        producer.begin_transaction().map_err(on("beginning a transaction"))?;
        let mut deliveries = Vec::with_capacity(rows.len());
        for row in rows {
            let headers =
                row.headers.iter().fold(OwnedHeaders::new_with_capacity(row.headers.len()), |all, (key, value)| {
                    all.insert(Header { key, value: Some(value) })
                });
            let record = FutureRecord::to(&row.topic).key(&row.record_key).payload(&row.payload).headers(headers);
            let queued = producer.send_result(record).map_err(|(error, _)| on("queueing an event")(error))?;
            deliveries.push(queued);
        }
        for delivered in join_all(deliveries).await {
            match delivered {
                Ok(Ok(_)) => {}
                Ok(Err((error, _))) => return Err(on("producing an event")(error)),
                Err(_) => return Err(on("producing an event")(KafkaError::Canceled)),
            }
        }
        let mut offsets = TopicPartitionList::new();
        {
            let mut element = offsets.add_partition(&self.position_topic, i32::from(self.shard));
            element.set_offset(Offset::Offset(position.published)).map_err(on("naming the position"))?;
            element.set_metadata(position.batch.to_string());
        }
        let group = Arc::clone(&self.group);
        spawn_blocking(move || {
            producer.send_offsets_to_transaction(&offsets, &group, ANSWER).map_err(on("committing the position"))?;
            producer.commit_transaction(ANSWER).map_err(on("committing the transaction"))
        })
        .await?
    }
}

/// Gives the producer up, open transaction and all. It waits for threads of its own, which nobody else has to.
impl Drop for Publisher {
    fn drop(&mut self) {
        let producer = self.producer.take();
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn_blocking(move || drop(producer));
        }
    }
}
