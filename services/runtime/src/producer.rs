//! Writing records: an idempotent producer whose every record is answered for.
//!
//! Records are handed to librdkafka in the order in which [`Producer::send`]'s futures are first polled, and stay in that order in their
//! partition. A record that fails does not take those behind it along: whoever needs one only after the other awaits it first.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
};
use rdkafka::{
    ClientContext,
    config::RDKafkaLogLevel,
    error::{KafkaError, RDKafkaErrorCode},
    message::{DeliveryResult, Header, Message, OwnedHeaders},
    producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer},
};
use tidegate_settings::binding::KafkaConnection;
use tokio::{
    runtime::Handle,
    sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot},
    task::{AbortHandle, coop},
    time::sleep,
};

use crate::{
    backoff::Backoff,
    kafka::{self, Brokers, MAX_RECORD_BYTES},
    telemetry::Metrics,
};

/// What may be under way, in KiB; more waits. A record counts as one at least.
const MOST_KIB: u32 = 64 * 1024;
/// What librdkafka may keep, in KiB: more than is ever under way, so that it never refuses.
const QUEUE_KIB: u32 = 2 * MOST_KIB;
/// After how long a record that brokers do not acknowledge has failed.
const DELIVERY: Duration = Duration::from_secs(30);

/// A record that is to be written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OutgoingRecord {
    /// Kafka name of the topic.
    pub topic: String,
    /// The partition, if it is not to be the key's.
    pub partition: Option<i32>,
    /// The key. Without one, and without a partition, the record goes anywhere.
    pub key: Option<Vec<u8>>,
    /// The value; none is a tombstone.
    pub value: Option<Vec<u8>>,
    /// Names and values, in this order.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
    /// Milliseconds since 1970; without, the time of sending.
    pub timestamp: Option<i64>,
}

impl OutgoingRecord {
    /// Bytes of key, value and headers.
    pub fn bytes(&self) -> usize {
        let length = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
        let headers: usize = self.headers.iter().map(|(name, value)| name.len() + length(value)).sum();
        length(&self.key) + length(&self.value) + headers
    }
}

/// Why a record was not written, or may not have been.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ProduceError {
    /// The client could not be made.
    #[error("configuring the producer: {0}")]
    Configure(#[source] KafkaError),
    /// No client of ours sends records that large. It was not sent.
    #[error("a record for {topic} is {bytes} bytes; the most is {limit}")]
    TooLarge {
        /// The topic.
        topic: String,
        /// Bytes of key, value and headers.
        bytes: usize,
        /// The most.
        limit: usize,
    },
    /// The topic does not take records that large: its `max.message.bytes`.
    #[error("a record for {topic} is {bytes} bytes, more than the topic's max.message.bytes")]
    TooLargeForTopic {
        /// The topic.
        topic: String,
        /// Bytes of key, value and headers.
        bytes: usize,
    },
    /// Brokers did not acknowledge it. After a time-out it may have been written all the same.
    #[error("producing to {topic}: {source}")]
    Failed {
        /// The topic.
        topic: String,
        /// What librdkafka says.
        source: KafkaError,
    },
    /// The producer ended before the record was answered for.
    #[error("the producer ended")]
    Ended,
}

impl ProduceError {
    /// Whether the record as it is will never be taken.
    pub fn is_too_large(&self) -> bool {
        matches!(self, Self::TooLarge { .. } | Self::TooLargeForTopic { .. })
    }
}

/// An idempotent producer: acknowledged by all in-sync replicas, keys placed as Java's clients place them. Cheap to clone; all clones
/// are one. When passwords or certificates change, what is under way is awaited, and what comes then goes through a new client.
#[derive(Clone)]
pub struct Producer {
    inner: Arc<Inner>,
}

struct Inner {
    client_id: String,
    /// None only while this is dropped.
    client: Mutex<Option<Arc<Client>>>,
    /// Whoever has all of it knows that nothing is under way.
    room: Arc<Semaphore>,
    counts: Counts,
    broken: Arc<Notify>,
    renewing: Mutex<Option<AbortHandle>>,
}

type Client = ThreadedProducer<Context>;
type Answer = Result<(i32, i64), KafkaError>;

impl Producer {
    /// A producer. Registers its metrics, so one is enough for a process.
    pub fn new(brokers: impl Into<Brokers>, client_id: &str, metrics: &Metrics) -> Result<Self, ProduceError> {
        let mut brokers = brokers.into();
        let counts = Counts::new(metrics);
        let client = client(&brokers.now(), client_id, &counts).map_err(ProduceError::Configure)?;
        let inner = Arc::new(Inner {
            client_id: client_id.to_owned(),
            client: Mutex::new(Some(Arc::new(client))),
            room: Arc::new(Semaphore::new(MOST_KIB as usize)),
            counts,
            broken: Arc::default(),
            renewing: Mutex::default(),
        });
        let (weak, broken) = (Arc::downgrade(&inner), Arc::clone(&inner.broken));
        let renewing = tokio::spawn(async move {
            loop {
                tokio::select! {
                    () = brokers.changed() => {}
                    () = broken.notified() => {}
                }
                let Some(inner) = weak.upgrade() else { return };
                inner.renew(&mut brokers).await;
            }
        });
        *lock(&inner.renewing) = Some(renewing.abort_handle());
        Ok(Self { inner })
    }

    /// Writes the record, and says where it is: partition and offset. Waits while too much is under way.
    ///
    /// Dropping the future takes back nothing that it has begun.
    pub async fn send(&self, record: OutgoingRecord) -> Result<(i32, i64), ProduceError> {
        let bytes = record.bytes();
        if bytes > MAX_RECORD_BYTES {
            return Err(ProduceError::TooLarge { topic: record.topic, bytes, limit: MAX_RECORD_BYTES });
        }
        // At most MAX_RECORD_BYTES, which is far less than there is room for.
        let room = Arc::clone(&self.inner.room).acquire_many_owned((bytes / 1024 + 1) as u32);
        // A task that has done much for one turn would lose its place among those that wait.
        let room = coop::unconstrained(room).await.map_err(|_| ProduceError::Ended)?;
        let answer = match self.inner.enqueue(&record, room) {
            Ok(answer) => answer.await.map_err(|_| ProduceError::Ended)?,
            Err(error) => Err(error),
        };
        answer.map_err(|source| {
            if self.inner.client().is_some_and(|client| client.client().fatal_error().is_some()) {
                self.inner.broken.notify_one();
            }
            let topic = record.topic;
            match source.rdkafka_error_code() {
                Some(RDKafkaErrorCode::MessageSizeTooLarge) => ProduceError::TooLargeForTopic { topic, bytes },
                _ => ProduceError::Failed { topic, source },
            }
        })
    }

    /// Waits until nothing is under way. What others send meanwhile waits for that.
    pub async fn flush(&self) {
        // It is never closed.
        let _ = self.inner.room.acquire_many(MOST_KIB).await;
    }
}

impl Inner {
    fn client(&self) -> Option<Arc<Client>> {
        lock(&self.client).clone()
    }

    fn enqueue(
        &self,
        record: &OutgoingRecord,
        room: OwnedSemaphorePermit,
    ) -> Result<oneshot::Receiver<Answer>, KafkaError> {
        let (tell, answer) = oneshot::channel();
        let under_way = Box::new(UnderWay { tell, begun: Instant::now(), _room: room });
        let mut sent = BaseRecord::with_opaque_to(&record.topic, under_way);
        sent.partition = record.partition;
        sent.key = record.key.as_deref();
        sent.payload = record.value.as_deref();
        sent.timestamp = record.timestamp;
        sent.headers = headers(&record.headers);
        let client = self.client().ok_or(KafkaError::Canceled)?;
        self.counts.in_flight.inc();
        client.send(sent).map_err(|(error, _)| {
            self.counts.in_flight.dec();
            self.counts.failed.get_or_create(&topic(&record.topic)).inc();
            error
        })?;
        Ok(answer)
    }

    /// Makes the client anew, between two records of which none is under way.
    async fn renew(&self, brokers: &mut Brokers) {
        let Ok(_all) = self.room.acquire_many(MOST_KIB).await else { return };
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
        loop {
            match client(&brokers.now(), &self.client_id, &self.counts) {
                Ok(client) => {
                    let former = lock(&self.client).replace(Arc::new(client));
                    end(former);
                    tracing::info!("the producer was made anew");
                    return;
                }
                Err(error) => tracing::error!(%error, "the producer cannot be made anew"),
            }
            sleep(backoff.next()).await;
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(renewing) = lock(&self.renewing).take() {
            renewing.abort();
        }
        end(lock(&self.client).take());
    }
}

/// A client ends after threads of its own, which nobody has to wait for.
fn end(client: Option<Arc<Client>>) {
    if let Ok(runtime) = Handle::try_current() {
        runtime.spawn_blocking(move || drop(client));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn client(connection: &KafkaConnection, client_id: &str, counts: &Counts) -> Result<Client, KafkaError> {
    let mut config = kafka::producer(connection, client_id);
    config
        .set("linger.ms", "1")
        .set("message.timeout.ms", DELIVERY.as_millis().to_string())
        .set("queue.buffering.max.kbytes", QUEUE_KIB.to_string());
    config.create_with_context(Context(counts.clone()))
}

fn headers(headers: &[(String, Option<Vec<u8>>)]) -> Option<OwnedHeaders> {
    let none = OwnedHeaders::new_with_capacity(headers.len());
    let all = headers.iter().fold(none, |all, (key, value)| all.insert(Header { key, value: value.as_ref() }));
    (!headers.is_empty()).then_some(all)
}

/// A record that librdkafka has.
struct UnderWay {
    tell: oneshot::Sender<Answer>,
    begun: Instant,
    _room: OwnedSemaphorePermit,
}

struct Context(Counts);

impl ProducerContext for Context {
    type DeliveryOpaque = Box<UnderWay>;

    fn delivery(&self, delivered: &DeliveryResult<'_>, under_way: Self::DeliveryOpaque) {
        let Self(counts) = self;
        counts.in_flight.dec();
        counts.seconds.observe(under_way.begun.elapsed().as_secs_f64());
        let answer = match delivered {
            Ok(message) => {
                counts.sent.get_or_create(&topic(message.topic())).inc();
                Ok((message.partition(), message.offset()))
            }
            Err((error, message)) => {
                counts.failed.get_or_create(&topic(message.topic())).inc();
                Err(error.clone())
            }
        };
        // Whoever does not wait any more does not care.
        let _ = under_way.tell.send(answer);
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        kafka::log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        kafka::log_error(&error, reason);
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Topic {
    topic: String,
}

fn topic(topic: &str) -> Topic {
    Topic { topic: topic.to_owned() }
}

#[derive(Clone, Debug)]
struct Counts {
    sent: Family<Topic, Counter>,
    failed: Family<Topic, Counter>,
    in_flight: Gauge,
    seconds: Histogram,
}

impl Counts {
    fn new(metrics: &Metrics) -> Self {
        let seconds = Histogram::new([0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0]);
        Self {
            sent: metrics.register("producer_records_sent", "Records that were written.", Family::default()),
            failed: metrics.register(
                "producer_records_failed",
                "Records that could not be written.",
                Family::default(),
            ),
            in_flight: metrics.register(
                "producer_records_in_flight",
                "Records that brokers have not acknowledged yet.",
                Gauge::default(),
            ),
            seconds: metrics.register(
                "producer_delivery_seconds",
                "Time from a record's being sent to its being acknowledged, or its having failed.",
                seconds,
            ),
        }
    }
}
