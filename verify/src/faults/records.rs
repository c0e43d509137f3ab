//! Records that nobody can handle, and the words that let their keys go on.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rdkafka::{
    Message,
    admin::{AdminClient, AdminOptions, ResourceSpecifier},
    client::DefaultClientContext,
    message::{Header, Headers, OwnedHeaders, OwnedMessage},
    producer::{FutureProducer, FutureRecord},
};
use tidegate_contracts::headers;

use super::{FaultError, cluster::wait_for};
use crate::{
    environment::Kafka,
    facts::Place,
    stores::{
        DEAD_LETTERS, GROUPS, ReadError, TOPIC,
        asides::{Told, read_asides, told},
        kafka::{ends, read_topic},
        retry, wallet,
    },
};

/// Bytes of a record that is called large.
pub const LARGE: usize = 10 * 1024 * 1024;
/// What a topic must take for such a record: its key, headers and batch are bytes, too.
const LARGE_BATCH: usize = LARGE + 16 * 1024;
const READ_WITHIN: Duration = Duration::from_secs(60);
const BURIED_WITHIN: Duration = Duration::from_secs(180);

/// What puts poison into the wallet's topic and takes its effect away again.
pub struct Records {
    kafka: Kafka,
    producer: FutureProducer,
    /// Ends of the dead-letter topic when the run began: older dead letters are somebody else's affair.
    since: BTreeMap<i32, i64>,
    /// Sum of the ends of the retry topics then.
    parked_before: i64,
    skipped: AtomicUsize,
    redriven: AtomicUsize,
    /// How many words this run has said about a group's records: the topics forget what is finished.
    said: Mutex<BTreeMap<(String, Place), usize>>,
}

/// What the groups put aside in a run, and what was said about it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PutAside {
    /// Offsets by which the retry topics grew: parked records, words, and a marker for each transaction.
    pub retry_offsets: i64,
    /// Dead letters.
    pub dead_letters: usize,
    /// Dead letters that were given up.
    pub skipped: usize,
    /// Dead letters that were tried again.
    pub redriven: usize,
}

impl fmt::Display for PutAside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { retry_offsets, dead_letters, skipped, redriven } = self;
        write!(
            f,
            "{dead_letters} dead letters ({skipped} skipped, {redriven} redriven), {retry_offsets} offsets of retry topics"
        )
    }
}

/// A record to send.
pub struct Poison {
    /// Its key, if it has one.
    pub key: Option<String>,
    /// Its value.
    pub value: Vec<u8>,
}

impl Records {
    /// Remembers where the dead letters end now.
    pub async fn new(kafka: &Kafka) -> Result<Self, FaultError> {
        let mut config = kafka.client_config();
        config
            .set("enable.idempotence", "true")
            .set("partitioner", "murmur2_random")
            .set("message.max.bytes", (LARGE + 1024 * 1024).to_string())
            .set("message.timeout.ms", "120000");
        let producer = config.create().map_err(FaultError::kafka("building a producer"))?;
        let asked = kafka.clone();
        let (since, parked_before) =
            blocking(move || Ok((ends(&asked, DEAD_LETTERS)?, retry_offsets(&asked)?))).await?;
        let (skipped, redriven, said) = Default::default();
        Ok(Self { kafka: kafka.clone(), producer, since, parked_before, skipped, redriven, said })
    }

    /// What was put aside since the run began.
    pub async fn put_aside(&self) -> Result<PutAside, FaultError> {
        let kafka = self.kafka.clone();
        let offsets = blocking(move || Ok(retry_offsets(&kafka)?)).await?;
        Ok(PutAside {
            retry_offsets: offsets - self.parked_before,
            dead_letters: self.dead_letters().await?.len(),
            skipped: self.skipped.load(Ordering::SeqCst),
            redriven: self.redriven.load(Ordering::SeqCst),
        })
    }

    /// Why the pipeline cannot be given poison; none when it can.
    pub async fn are_deadly(&self) -> Result<Option<String>, FaultError> {
        let kafka = self.kafka.clone();
        blocking(move || {
            for topic in GROUPS.map(|(group, _)| retry(group).0).into_iter().chain([DEAD_LETTERS.into()]) {
                if ends(&kafka, &topic)?.is_empty() {
                    return Ok(Some(format!("there is no topic {topic}")));
                }
            }
            Ok(None)
        })
        .await
    }

    /// Why the topic does not take large records; none when it does.
    pub async fn are_too_large(&self) -> Result<Option<String>, FaultError> {
        let doing = "asking for the topic's configuration";
        let admin: AdminClient<DefaultClientContext> =
            self.kafka.client_config().create().map_err(FaultError::kafka(doing))?;
        let asked = [ResourceSpecifier::Topic(TOPIC)];
        let answers = admin.describe_configs(&asked, &AdminOptions::new()).await.map_err(FaultError::kafka(doing))?;
        let limit = answers.into_iter().flatten().find_map(|resource| resource.get("max.message.bytes")?.value.clone());
        let limit: usize = limit.and_then(|limit| limit.parse().ok()).unwrap_or(0);
        Ok((limit < LARGE_BATCH).then(|| format!("{TOPIC} takes records of at most {limit} bytes")))
    }

    /// Puts a record into the wallet's topic; where it lies.
    pub async fn send(&self, poison: Poison) -> Result<Place, FaultError> {
        let mut record = FutureRecord::<[u8], [u8]>::to(TOPIC).payload(&poison.value);
        if let Some(key) = &poison.key {
            record = record.key(key.as_bytes());
        }
        self.deliver(record).await
    }

    /// Waits until each group has made dead letters of the records.
    pub async fn are_buried(&self, places: &[Place]) -> Result<(), FaultError> {
        wait_for("the poison is in the dead-letter topic", BURIED_WITHIN, async || {
            let dead = self.dead_letters().await.map_err(|error| error.to_string())?;
            for (group, _) in GROUPS {
                let is_buried = |place: &&Place| {
                    dead.iter().any(|(letter, _)| letter.group == group && letter.aside.origin == **place)
                };
                if let Some(place) = places.iter().find(|place| !is_buried(place)) {
                    return Err(format!("group {group} has no dead letter of the record at {place}"));
                }
            }
            Ok(())
        })
        .await
    }

    /// Says a word for each dead letter of this run that holds up a key: an event is tried again, whatever it died of; anything else is
    /// given up. How many words were said.
    pub async fn release(&self) -> Result<usize, FaultError> {
        let mut said = 0;
        for (group, _) in GROUPS {
            let mut words = self.words(group).await?;
            for (letter, message) in self.dead_letters().await?.iter().filter(|(letter, _)| letter.group == group) {
                // Whatever was said is an answer to one dead letter: it may have died again.
                let answered = words.get_mut(&letter.aside.origin).filter(|count| **count > 0);
                if let Some(count) = answered {
                    *count -= 1;
                } else if letter.aside.key.is_some() {
                    self.say(letter, message).await?;
                    said += 1;
                }
            }
        }
        Ok(said)
    }

    async fn say(&self, letter: &Told, message: &OwnedMessage) -> Result<(), FaultError> {
        let event = wallet::from_record(message.payload().unwrap_or_default()).is_ok();
        let word = if event { "redrive" } else { "skip" };
        let (topic, _) = retry(&letter.group);
        let (partition, offset) = (letter.aside.origin.partition.to_string(), letter.aside.origin.offset.to_string());
        // A dead letter says where it came from.
        let origin = [
            (headers::GROUP, letter.group.as_str()),
            (headers::ORIGIN_TOPIC, TOPIC),
            (headers::ORIGIN_PARTITION, &partition),
            (headers::ORIGIN_OFFSET, &offset),
        ];
        let mut added = OwnedHeaders::new();
        if event {
            added = message.headers().into_iter().flat_map(Headers::iter).fold(added, OwnedHeaders::insert);
        } else {
            for (key, value) in origin {
                added = added.insert(Header { key, value: Some(value) });
            }
        }
        added = added.insert(Header { key: headers::CONTROL, value: Some(word) });
        let mut record = FutureRecord::<[u8], [u8]>::to(&topic).partition(letter.aside.origin.partition).headers(added);
        record.key = letter.aside.key.as_deref();
        record.payload = message.payload().filter(|_| event);
        self.deliver(record).await?;
        if event { &self.redriven } else { &self.skipped }.fetch_add(1, Ordering::SeqCst);
        let about = (letter.group.clone(), letter.aside.origin);
        *self.said.lock().unwrap_or_else(PoisonError::into_inner).entry(about).or_default() += 1;
        Ok(())
    }

    async fn deliver(&self, record: FutureRecord<'_, [u8], [u8]>) -> Result<Place, FaultError> {
        let delivery = self.producer.send(record, Duration::from_secs(120)).await;
        let delivery = delivery.map_err(|(error, _)| FaultError::kafka("sending a record")(error))?;
        Ok(Place { partition: delivery.partition, offset: delivery.offset })
    }

    /// Dead letters of the wallet's topic since the run began.
    async fn dead_letters(&self) -> Result<Vec<(Told, OwnedMessage)>, FaultError> {
        let (kafka, since) = (self.kafka.clone(), self.since.clone());
        let found = blocking(move || {
            Ok(read_topic(&kafka, DEAD_LETTERS, &since, READ_WITHIN, |message| {
                let told = told(message).ok().filter(|letter| letter.topic == TOPIC)?;
                // Of what is given up nobody needs the value, and it may be large.
                let is_event = wallet::from_record(message.payload().unwrap_or_default()).is_ok();
                let kept = message.detach();
                Some((told, if is_event { kept } else { kept.set_payload(None) }))
            })?)
        });
        Ok(found.await?.into_iter().flatten().collect())
    }

    /// How many words were said about each record of a group's topic.
    async fn words(&self, group: &str) -> Result<BTreeMap<Place, usize>, FaultError> {
        let (kafka, (topic, _)) = (self.kafka.clone(), retry(group));
        let asides = blocking(move || Ok(read_asides(&kafka, &topic, &BTreeMap::new(), READ_WITHIN)?)).await?;
        let mut words = BTreeMap::new();
        for told in asides.into_iter().flatten() {
            if matches!(told.aside.control.as_deref(), Some("skip" | "redrive")) {
                *words.entry(told.aside.origin).or_default() += 1;
            }
        }
        for ((of, origin), &count) in self.said.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            if of == group {
                let known: &mut usize = words.entry(*origin).or_default();
                *known = count.max(*known);
            }
        }
        Ok(words)
    }
}

fn retry_offsets(kafka: &Kafka) -> Result<i64, ReadError> {
    let mut sum = 0;
    for (group, _) in GROUPS {
        sum += ends(kafka, &retry(group).0)?.values().sum::<i64>();
    }
    Ok(sum)
}

/// One record of each way to be unreadable. `name` tells them from those of other rounds.
pub fn poisons(name: &str) -> Vec<Poison> {
    let record = |key: Option<&str>, value: &str| Poison {
        key: key.map(|key| format!("{name}-{key}")),
        value: value.as_bytes().to_vec(),
    };
    vec![
        record(Some("broken"), "{\"eventType\": \"MoneyDeposited\", \"aggre"),
        record(Some("stranger"), "{\"eventType\": \"OrderPlaced\", \"aggregateType\": \"Order\", \"data\": {}}"),
        record(Some("empty"), ""),
        record(None, "nobody's"),
    ]
}

/// A name that no other round of any run has.
pub fn unique(stem: &str) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    format!("{stem}-{now:x}")
}

/// librdkafka's calls block; the runtime's threads must not.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, FaultError> + Send + 'static,
) -> Result<T, FaultError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|panic| Err(FaultError::Interrupted(panic.to_string())))
}
