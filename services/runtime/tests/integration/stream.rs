//! What the consumer's stories share: a stream with its topics, a handler that does what it is told, a member of the group, and what must
//! hold of what they did.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use tidegate_contracts::headers;
use tidegate_runtime::{
    consumer::{
        Consumer, ConsumerConfig, ConsumerError, ConsumerMetrics, Each, Handler, HandlerError, MemberHealth, Record,
    },
    kafka::Brokers,
    shutdown::Shutdown,
    telemetry::Metrics,
};
use tidegate_settings::{Consumes, DeadLetter, Retry, RetryBackoff};
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::support::{Configs, Topic, eventually, kafka, soon};

/// A stream, its retry topic and its dead-letter topic.
pub struct Stream {
    pub source: Topic,
    pub retry: Topic,
    pub dead: Topic,
    pub group: String,
}

impl Stream {
    pub async fn create(partitions: i32) -> Self {
        Self::create_with(partitions, [&[]; 3]).await
    }

    /// With configuration of the source's, the retry topic's and the dead-letter topic's own.
    pub async fn create_with(partitions: i32, [source, retry, dead]: [Configs; 3]) -> Self {
        let (source, retry, dead) = tokio::join!(
            Topic::create_with(partitions, source),
            Topic::create_with(partitions, retry),
            Topic::create_with(1, dead)
        );
        Self { source, retry, dead, group: format!("test-{}", Uuid::new_v4().simple()) }
    }

    /// Three tries, 20 ms apart.
    pub fn config(&self) -> ConsumerConfig {
        config(&self.group, &self.source.name, &self.retry.name, &self.dead.name)
    }

    /// Writes a word about a dead letter into the retry topic, as somebody does who has looked at it.
    pub async fn say(&self, word: &str, dead: &Record) {
        let partition = dead.header(headers::ORIGIN_PARTITION).unwrap().parse().unwrap();
        let mut record = dead.clone();
        if word == "skip" {
            record.value = None;
            record.headers.retain(|(name, _)| name.starts_with("tidegate-origin") || name == headers::GROUP);
        }
        record.headers.push((headers::CONTROL.into(), Some(word.into())));
        self.retry.write(partition, &record).await;
    }
}

pub fn config(group: &str, source: &str, retry: &str, dead: &str) -> ConsumerConfig {
    let consumes = Consumes { topics: vec![source.into()], group: group.into(), start_at: None, ordered: None };
    let backoff = RetryBackoff {
        initial: Some("20ms".parse().unwrap()),
        max: Some("200ms".parse().unwrap()),
        multiplier: Some(2),
    };
    ConsumerConfig {
        retry: Some(Retry { attempts: Some(3), backoff: Some(backoff), mode: None, topic: Some(retry.into()) }),
        dead_letter: Some(DeadLetter { topic: dead.into(), partitions: None, retention: None }),
        drain: Duration::from_secs(3),
        commit_interval: Duration::from_millis(100),
        ..ConsumerConfig::new("test", &consumes)
    }
}

/// What a handler was given and how it ended, in the order in which it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub key: String,
    pub value: String,
    pub partition: i32,
    pub offset: i64,
    pub handled: bool,
}

type Rule = Arc<dyn Fn(&str, u32) -> Option<HandlerError> + Send + Sync>;

/// Fails as the rule says, which is told the value and how often it has come.
#[derive(Clone)]
pub struct Script {
    rule: Rule,
    pause: Duration,
    pub seen: Arc<Mutex<Vec<Seen>>>,
    pub at_once: Arc<AtomicI64>,
    pub most_at_once: Arc<AtomicI64>,
}

impl Script {
    pub fn new(rule: impl Fn(&str, u32) -> Option<HandlerError> + Send + Sync + 'static) -> Self {
        Self {
            rule: Arc::new(rule),
            pause: Duration::ZERO,
            seen: Arc::default(),
            at_once: Arc::default(),
            most_at_once: Arc::default(),
        }
    }

    pub fn slow(self, pause: Duration) -> Self {
        Self { pause, ..self }
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub fn handled(&self) -> Vec<Seen> {
        self.seen().into_iter().filter(|seen| seen.handled).collect()
    }
}

impl Handler for Script {
    async fn handle(&self, record: &Record) -> Result<(), HandlerError> {
        let now = self.at_once.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_at_once.fetch_max(now, Ordering::SeqCst);
        if !self.pause.is_zero() {
            tokio::time::sleep(self.pause).await;
        }
        self.at_once.fetch_sub(1, Ordering::SeqCst);
        let text = |bytes: &Option<Vec<u8>>| String::from_utf8_lossy(bytes.as_deref().unwrap_or_default()).into_owned();
        let value: String = text(&record.value).chars().take(100).collect();
        let came = self.seen.lock().unwrap().iter().filter(|seen| seen.value == value).count() as u32;
        let failed = (self.rule)(&value, came);
        let (partition, offset) = (record.partition, record.offset);
        let handled = failed.is_none();
        self.seen.lock().unwrap().push(Seen {
            key: text(&record.key),
            value: value.clone(),
            partition,
            offset,
            handled,
        });
        match failed {
            Some(HandlerError::Poison(error)) if error.to_string() == "panic" => panic!("a bug in the handler"),
            Some(error) => Err(error),
            None => Ok(()),
        }
    }
}

pub struct Member {
    shutdown: Shutdown,
    task: JoinHandle<Result<(), ConsumerError>>,
    pub health: Arc<MemberHealth>,
    metrics: Metrics,
}

impl Member {
    pub fn start(config: ConsumerConfig, handler: impl Handler) -> Self {
        Self::start_at(kafka().into(), config, handler)
    }

    pub fn start_at(brokers: Brokers, config: ConsumerConfig, handler: impl Handler) -> Self {
        let (metrics, health) = (Metrics::default(), Arc::new(MemberHealth::default()));
        let consumer = Consumer {
            config,
            brokers,
            work: Each(handler),
            metrics: ConsumerMetrics::new(&metrics, Arc::clone(&health)),
            health: Arc::clone(&health),
        };
        let shutdown = Shutdown::new();
        let task = tokio::spawn(consumer.run(shutdown.clone()));
        Self { shutdown, task, health, metrics }
    }

    pub async fn stop(self) {
        self.shutdown.begin();
        soon("the member to stop", self.task).await.unwrap().unwrap();
    }

    pub fn metric(&self, name: &str) -> f64 {
        let text = self.metrics.render();
        let values = text.lines().filter(|line| line.starts_with(name)).filter_map(|line| line.rsplit(' ').next());
        values.filter_map(|value| value.parse::<f64>().ok()).sum()
    }
}

/// `key-i` and `i`, over that many keys.
pub fn numbered(from: u32, to: u32, keys: u32) -> impl Iterator<Item = (String, String)> {
    (from..to).map(move |number| (format!("key-{}", number % keys), number.to_string()))
}

/// Each key's records were handled in the order of the log, each for the first time after those before it were.
pub fn in_order(handled: &[Seen]) {
    let mut last: HashMap<(i32, &str), i64> = HashMap::new();
    let mut seen = BTreeSet::new();
    for record in handled {
        if seen.insert((record.partition, record.offset)) {
            let before = last.insert((record.partition, &record.key), record.offset);
            assert!(before.is_none_or(|before| before < record.offset), "{record:?} after {before:?}");
        }
    }
}

fn origins(records: &[Record]) -> Vec<(i32, i64)> {
    let number = |record: &Record, name: &str| record.header(name).unwrap().parse::<i64>().unwrap();
    records
        .iter()
        .map(|record| (number(record, headers::ORIGIN_PARTITION) as i32, number(record, headers::ORIGIN_OFFSET)))
        .collect()
}

/// Every record is handled or a dead letter, and the group's offsets are at the end.
pub async fn accounted_for(stream: &Stream, handled: &[Seen]) {
    let log: BTreeSet<_> =
        stream.source.records().await.iter().map(|record| (record.partition, record.offset)).collect();
    let ended = |dead: &[Record]| -> BTreeSet<_> {
        handled.iter().map(|seen| (seen.partition, seen.offset)).chain(origins(dead)).collect()
    };
    let dead = stream.dead.records_once(|dead| ended(dead).len() >= log.len()).await;
    assert_eq!(ended(&dead), log, "handled and dead-lettered are not what was accepted");
}

pub async fn committed_all(stream: &Stream) {
    let mut ends: BTreeMap<i32, i64> = BTreeMap::new();
    for record in stream.source.records().await {
        ends.insert(record.partition, record.offset + 1);
    }
    eventually("all is committed", || async {
        let committed = stream.source.committed(&stream.group).await;
        ends.iter().all(|(partition, end)| committed.get(partition) == Some(end))
    })
    .await;
}
