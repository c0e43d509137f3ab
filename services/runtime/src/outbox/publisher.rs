//! The Kafka side of an outbox: fenced transactional producers, and its shards' positions, which they commit with the events.
//!
//! Two producers take turns, since brokers go on writing the end of a transaction after they have answered that it is committed, and
//! refuse the next one of the same producer meanwhile; librdkafka asks again after 20 ms. The other producer need not wait. It begins
//! when the transaction before it is committed, never earlier, so order is as with one.

use std::{mem, sync::Arc, time::Duration};

use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
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
use crate::{
    crash_point,
    kafka::{self, Logged},
};

/// How long Kafka may take for one step.
const ANSWER: Duration = Duration::from_secs(15);
/// What the transactional ids of an owner's producers end with.
const TURNS: [&str; 2] = ["", ".b"];

/// What went wrong while publishing. Nothing of the batch is visible then, or all of it is and the next owner finds out.
#[derive(Debug, thiserror::Error)]
pub(super) enum PublishError {
    #[error("{doing}: {source}")]
    Kafka { doing: &'static str, source: KafkaError },
    #[error("positions are kept at {topic}, which has {partitions} partitions; an outbox needs {SHARDS}")]
    FewPartitions { topic: String, partitions: usize },
    #[error("reading the shards' positions: {0}")]
    Position(#[from] NotAPosition),
    #[error("the producer's thread broke off")]
    Thread(#[from] JoinError),
}

fn on(doing: &'static str) -> impl Fn(KafkaError) -> PublishError {
    move |source| PublishError::Kafka { doing, source }
}

/// An owner's producers. Whoever opens later ones fences them.
pub(super) struct Publisher {
    producers: Vec<FutureProducer<Logged>>,
    turn: usize,
    group: Arc<ConsumerGroupMetadata>,
    position_topic: String,
}

/// How far each shard is, as former owners left it.
#[derive(Clone, Debug, Default)]
pub(super) struct Found {
    /// Under the outbox's own group.
    pub(super) positions: Vec<Option<Position>>,
    /// Under the group that all outboxes shared once.
    pub(super) shared: Vec<Option<Position>>,
}

impl Publisher {
    /// Opens the outbox: fences whoever had it before, ends what they left open, and reads how far they came.
    pub(super) async fn open(
        config: &RelayConfig,
        connection: &KafkaConnection,
    ) -> Result<(Self, Found), PublishError> {
        // An owner publishes all shards under the ids of the first. A relay of before has a shard to itself, under the shard's own ids:
        // it is fenced too.
        let fencing: Vec<_> = (0..SHARDS)
            .flat_map(|shard| TURNS.map(|turn| (shard, format!("{}.{shard}{turn}", config.transactional_id_prefix))))
            .map(|(shard, id)| {
                let producing = producing(config, connection, &id);
                spawn_blocking(move || fence(&producing).map(|producer| Some(producer).filter(|_| shard == 0)))
            })
            .collect();
        let mut producers = Vec::with_capacity(TURNS.len());
        for producer in fencing {
            producers.extend(producer.await??);
        }
        // Only now: a former owner can move the positions no more.
        let (config, connection) = (config.clone(), connection.clone());
        spawn_blocking(move || {
            let reader = reader(&config, &connection, &config.group)?;
            // Brokers take no offset for a partition that is not there.
            let metadata = reader
                .fetch_metadata(Some(&config.position_topic), ANSWER)
                .map_err(on("looking for the topic of positions"))?;
            let partitions = metadata.topics().first().map_or(0, |topic| topic.partitions().len());
            if partitions < usize::from(SHARDS) {
                return Err(PublishError::FewPartitions { topic: config.position_topic, partitions });
            }
            let positions = positions(&reader, &config.position_topic)?;
            let shared = match &config.shared_group {
                Some(group) => shared(&config, &connection, group)?,
                None => Vec::new(),
            };
            let group = reader.group_metadata().ok_or(PublishError::Kafka {
                doing: "naming the group of positions",
                source: KafkaError::Global(RDKafkaErrorCode::UnknownGroup),
            })?;
            let position_topic = config.position_topic;
            Ok((Self { producers, turn: 0, group: Arc::new(group), position_topic }, Found { positions, shared }))
        })
        .await?
    }

    /// Hands the rows and the positions behind them to Kafka, up to the commit.
    pub(super) async fn produce(
        &mut self,
        rows: &[Row],
        positions: &[(i16, Position)],
    ) -> Result<Transaction, PublishError> {
        let producer = self.producers[self.turn].clone();
        self.turn = (self.turn + 1) % self.producers.len();
        producer.begin_transaction().map_err(on("beginning a transaction"))?;
        crash_point!("outbox::begun");
        let mut deliveries = Vec::with_capacity(rows.len());
        for row in rows {
            let none = OwnedHeaders::new_with_capacity(row.headers.len());
            let headers =
                row.headers.iter().fold(none, |all, (key, value)| all.insert(Header { key, value: Some(value) }));
            let record = FutureRecord::to(&row.topic).key(&row.record_key).payload(&row.payload).headers(headers);
            let queued = producer.send_result(record).map_err(|(error, _)| on("queueing an event")(error))?;
            deliveries.push(queued);
        }
        crash_point!("outbox::queued");
        let mut offsets = TopicPartitionList::new();
        for (shard, position) in positions {
            let mut element = offsets.add_partition(&self.position_topic, i32::from(*shard));
            element.set_offset(Offset::Offset(position.published)).map_err(on("naming the position"))?;
            element.set_metadata(position.batch.to_string());
        }
        for delivery in deliveries {
            match delivery.await {
                Ok(Ok(_)) => {}
                Ok(Err((error, _))) => return Err(on("producing an event")(error)),
                Err(_) => return Err(on("producing an event")(KafkaError::Canceled)),
            }
        }
        crash_point!("outbox::produced");
        // Not beside the events: a coordinator that is still adding their partitions refuses, and is asked again only after the backoff.
        let (group, positioning) = (Arc::clone(&self.group), producer.clone());
        spawn_blocking(move || {
            positioning.send_offsets_to_transaction(&offsets, &group, ANSWER).map_err(on("writing the positions"))
        })
        .await??;
        crash_point!("outbox::positioned");
        Ok(Transaction { producer })
    }
}

/// Events and their positions, which nobody sees yet.
#[must_use = "without a commit it is given up"]
pub(super) struct Transaction {
    producer: FutureProducer<Logged>,
}

impl Transaction {
    /// Shows them: all of it, or nothing.
    pub(super) async fn commit(self) -> Result<(), PublishError> {
        let Self { producer } = self;
        spawn_blocking(move || kafka::commit(&producer, ANSWER).map_err(on("committing the transaction"))).await?
    }
}

/// Gives the producers up, open transactions and all. They wait for threads of their own, which nobody else has to.
impl Drop for Publisher {
    fn drop(&mut self) {
        let producers = mem::take(&mut self.producers);
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn_blocking(move || drop(producers));
        }
    }
}

fn producing(config: &RelayConfig, connection: &KafkaConnection, transactional_id: &str) -> ClientConfig {
    let mut producing = kafka::producer(connection, &config.client_id);
    producing
        .set("transactional.id", transactional_id)
        // What a crashed owner leaves open is ended by the next one, or by the broker after this long; readers wait for it.
        .set("transaction.timeout.ms", "10000")
        .set("message.timeout.ms", "9000")
        // A batch is handed over whole.
        .set("linger.ms", "0")
        .set("retry.backoff.ms", "20");
    producing
}

fn fence(producing: &ClientConfig) -> Result<FutureProducer<Logged>, PublishError> {
    let producer: FutureProducer<Logged> =
        producing.create_with_context(Logged).map_err(on("configuring the producer"))?;
    producer.init_transactions(ANSWER).map_err(on("fencing the previous owner"))?;
    Ok(producer)
}

fn reader(
    config: &RelayConfig,
    connection: &KafkaConnection,
    group: &str,
) -> Result<BaseConsumer<Logged>, PublishError> {
    let mut reading = kafka::client(connection, &config.client_id);
    reading
        .set("group.id", group)
        .set("enable.auto.commit", "false")
        // Offsets of a transaction whose outcome is still being written are waited for.
        .set("isolation.level", "read_committed");
    reading.create_with_context(Logged).map_err(on("configuring the reader of positions"))
}

fn positions(reader: &BaseConsumer<Logged>, topic: &str) -> Result<Vec<Option<Position>>, PublishError> {
    let mut asked = TopicPartitionList::new();
    asked.add_partition_range(topic, 0, i32::from(SHARDS) - 1);
    let answered = reader.committed_offsets(asked, ANSWER).map_err(on("reading the shards' positions"))?;
    let position = |shard| {
        let Some(element) = answered.find_partition(topic, i32::from(shard)) else { return Ok(None) };
        element.error().map_err(on("reading the shards' positions"))?;
        match element.offset() {
            Offset::Offset(published) => Ok(Some(Position { published, batch: Batch::parse(element.metadata())? })),
            _ => Ok(None),
        }
    };
    (0..SHARDS).map(position).collect()
}

/// The positions that a relay of before left, if they may be read.
fn shared(
    config: &RelayConfig,
    connection: &KafkaConnection,
    group: &str,
) -> Result<Vec<Option<Position>>, PublishError> {
    match positions(&reader(config, connection, group)?, &config.position_topic) {
        Err(PublishError::Kafka { source, .. })
            if source.rdkafka_error_code() == Some(RDKafkaErrorCode::GroupAuthorizationFailed) =>
        {
            Ok(Vec::new())
        }
        read => read,
    }
}
