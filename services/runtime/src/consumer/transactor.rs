//! Records and offsets in one Kafka transaction: what parks a record, buries a dead letter or makes records of records. The group's
//! coordinator takes the offsets from a member of the present generation only, so whoever lost the partition writes nothing.

use std::{
    sync::{Arc, Weak},
    thread,
    time::{Duration, Instant},
};

use futures::{executor::block_on, future::join_all};
use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    consumer::Consumer,
    error::{KafkaError, RDKafkaErrorCode},
    message::{Header, OwnedHeaders},
    producer::{FutureProducer, FutureRecord, Producer},
};
use tidegate_settings::binding::KafkaConnection;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{ConsumerConfig, Outgoing, book::Commit, context::MemberConsumer};
use crate::{
    crash_point,
    kafka::{self, Logged},
};

/// How long Kafka may take for one step.
const ANSWER: Duration = Duration::from_secs(10);
/// How long the outcome of a commit is asked for.
const OUTCOME: Duration = Duration::from_secs(30);
/// Most that share a transaction.
const TOGETHER: (usize, usize) = (64, 8 * 1024 * 1024);

/// Records of one partition's task, and the offset that is true once they are written.
pub(super) struct Write {
    pub(super) records: Vec<Outgoing>,
    pub(super) topic: Arc<str>,
    pub(super) partition: i32,
    pub(super) commit: Commit,
    /// Cancelled when the partition is somebody else's.
    pub(super) lost: CancellationToken,
    pub(super) answer: oneshot::Sender<Result<(), WriteError>>,
}

/// Why nothing was written, or nobody knows.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum WriteError {
    /// Nothing was.
    #[error("{doing}: {source}")]
    Again { doing: &'static str, source: KafkaError },
    /// Nothing was, because of that record.
    #[error("a record is too large for {topic}")]
    TooLarge { index: usize, topic: String },
    /// Nothing was: the partition is somebody else's.
    #[error("the partition is somebody else's")]
    Lost,
    /// Nobody knows.
    #[error("the outcome of a transaction is not known: {0}")]
    Unknown(KafkaError),
}

fn on(doing: &'static str) -> impl Fn(KafkaError) -> WriteError {
    move |source| WriteError::Again { doing, source }
}

/// Writes for all partitions of a member, one transaction at a time. Ends when all clones are gone.
#[derive(Clone)]
pub(super) struct Transactor(mpsc::Sender<Write>);

impl Transactor {
    pub(super) fn start(
        config: &ConsumerConfig,
        connection: &KafkaConnection,
        consumer: Weak<MemberConsumer>,
    ) -> std::io::Result<Self> {
        let mut producing = kafka::producer(connection, &config.client_id);
        producing
            // Fencing is by the group's generation; the id only has to be nobody else's.
            .set("transactional.id", format!("{}.{}", config.group, Uuid::new_v4().simple()))
            // What a crashed member leaves open is ended by the broker after this long; its successor waits for it.
            .set("transaction.timeout.ms", "15000")
            .set("message.timeout.ms", "14000")
            .set("linger.ms", "1");
        let (sender, writes) = mpsc::channel(256);
        let thread = Thread { producing, producer: None, consumer };
        thread::Builder::new().name("kafka-transactions".into()).spawn(move || thread.run(writes))?;
        Ok(Self(sender))
    }

    /// Hands it over; the answer comes by its channel. Dropped if the member is ending.
    pub(super) async fn write(&self, write: Write) {
        let _ = self.0.send(write).await;
    }
}

struct Thread {
    producing: ClientConfig,
    producer: Option<FutureProducer<Logged>>,
    consumer: Weak<MemberConsumer>,
}

impl Thread {
    fn run(mut self, mut writes: mpsc::Receiver<Write>) {
        while let Some(first) = writes.blocking_recv() {
            let mut bytes = size(&first);
            let mut together = vec![first];
            while together.len() < TOGETHER.0 && bytes < TOGETHER.1 {
                let Ok(write) = writes.try_recv() else { break };
                bytes += size(&write);
                together.push(write);
            }
            self.answer(together);
        }
    }

    /// Together if that works, and else one by one, so that none fails because of another.
    fn answer(&mut self, together: Vec<Write>) {
        match self.transact(&together) {
            Err(error) if together.len() > 1 && !matches!(error, WriteError::Unknown(_)) => {
                for write in together {
                    self.answer(vec![write]);
                }
            }
            written => {
                for write in together {
                    let _ = write.answer.send(written.clone());
                }
            }
        }
    }

    fn transact(&mut self, writes: &[Write]) -> Result<(), WriteError> {
        // The generation first and then whether the partitions are still ours: what is ours then was ours in that generation.
        let consumer = self.consumer.upgrade().ok_or(WriteError::Lost)?;
        let Some(group) = consumer.group_metadata() else { return Err(WriteError::Lost) };
        if writes.iter().any(|write| write.lost.is_cancelled()) {
            return Err(WriteError::Lost);
        }
        let producer = self.producer()?;
        if let Err(error) = producer.begin_transaction() {
            self.producer = None;
            return Err(on("beginning a transaction")(error));
        }
        let sent = produce(&producer, writes).and_then(|()| {
            crash_point!("consumer::produced");
            consumer.client().context().offsets.wait();
            let offsets = offsets(writes).map_err(on("naming the offsets"))?;
            producer.send_offsets_to_transaction(&offsets, &group, ANSWER).map_err(on("committing the offsets"))
        });
        if let Err(error) = sent {
            self.abort(&producer);
            return Err(error);
        }
        crash_point!("consumer::offsets_sent");
        self.commit(&producer)?;
        crash_point!("consumer::transacted");
        Ok(())
    }

    fn producer(&mut self) -> Result<FutureProducer<Logged>, WriteError> {
        if let Some(producer) = &self.producer {
            return Ok(producer.clone());
        }
        let producer: FutureProducer<Logged> =
            self.producing.create_with_context(Logged).map_err(on("configuring the producer"))?;
        producer.init_transactions(ANSWER).map_err(on("opening the producer"))?;
        self.producer = Some(producer.clone());
        Ok(producer)
    }

    fn abort(&mut self, producer: &FutureProducer<Logged>) {
        if let Err(error) = producer.abort_transaction(ANSWER) {
            tracing::warn!(%error, "a transaction could not be aborted; the broker will, in a while");
            self.producer = None;
        }
    }

    fn commit(&mut self, producer: &FutureProducer<Logged>) -> Result<(), WriteError> {
        let deadline = Instant::now() + OUTCOME;
        loop {
            match kafka::commit(producer, ANSWER) {
                Ok(()) => return Ok(()),
                Err(KafkaError::Transaction(error)) if error.txn_requires_abort() => {
                    self.abort(producer);
                    return Err(on("committing the transaction")(KafkaError::Transaction(error)));
                }
                Err(KafkaError::Transaction(error)) if error.is_retriable() && Instant::now() < deadline => {}
                Err(error) => {
                    self.producer = None;
                    return Err(WriteError::Unknown(error));
                }
            }
        }
    }
}

fn size(write: &Write) -> usize {
    write.records.iter().map(Outgoing::bytes).sum()
}

/// Produces all records, and waits until all in-sync replicas have them.
fn produce(producer: &FutureProducer<Logged>, writes: &[Write]) -> Result<(), WriteError> {
    let mut deliveries = Vec::new();
    let mut failed: Option<(usize, usize, WriteError)> = None;
    for write in writes {
        for (index, record) in write.records.iter().enumerate() {
            let headers = record
                .headers
                .iter()
                .fold(OwnedHeaders::new_with_capacity(record.headers.len()), |all, (key, value)| {
                    all.insert(Header { key, value: value.as_deref() })
                });
            let mut sent: FutureRecord<'_, [u8], [u8]> = FutureRecord::to(&record.topic).headers(headers);
            sent.partition = record.partition;
            sent.key = record.key.as_deref();
            sent.payload = record.value.as_deref();
            match producer.send_result(sent) {
                Ok(delivery) => deliveries.push((index, record, delivery)),
                Err((error, _)) => return Err(failure(index, record, error)),
            }
        }
    }
    let (records, deliveries): (Vec<_>, Vec<_>) =
        deliveries.into_iter().map(|(index, record, delivery)| ((index, record), delivery)).unzip();
    for ((index, record), delivered) in records.into_iter().zip(block_on(join_all(deliveries))) {
        let error = match delivered {
            Ok(Ok(_)) => continue,
            Ok(Err((error, _))) => error,
            Err(_) => KafkaError::Canceled,
        };
        // Brokers refuse a batch as a whole; the largest of it is to blame.
        let bytes = record.bytes();
        if failed.as_ref().is_none_or(|(_, most, _)| bytes > *most) {
            failed = Some((index, bytes, failure(index, record, error)));
        }
    }
    failed.map_or(Ok(()), |(_, _, error)| Err(error))
}

fn failure(index: usize, record: &Outgoing, error: KafkaError) -> WriteError {
    match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::MessageSizeTooLarge) => WriteError::TooLarge { index, topic: record.topic.clone() },
        _ => on("producing")(error),
    }
}

fn offsets(writes: &[Write]) -> Result<TopicPartitionList, KafkaError> {
    let mut list = TopicPartitionList::with_capacity(writes.len());
    for write in writes {
        let mut element = list.add_partition(&write.topic, write.partition);
        element.set_offset(Offset::Offset(write.commit.offset))?;
        if !write.commit.state.is_empty() {
            element.set_metadata(&*write.commit.state);
        }
    }
    Ok(list)
}
