//! What a group member is told.

use std::{sync::Arc, time::Duration};

use rdkafka::ClientConfig;
use tidegate_settings::{Consumes, DeadLetter, Generation, Retry, StartAt, binding::KafkaConnection};

use super::{book::Limits, policy::Policy};
use crate::kafka;

/// How members of a group share partitions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GroupProtocol {
    /// KIP-848: the broker decides, partition by partition.
    #[default]
    Consumer,
    /// The protocol before it: members decide, with the assignor cooperative-sticky.
    Classic,
}

/// Which topics, as which group, in what portions, and what becomes of records that fail.
#[derive(Clone, Debug)]
pub struct ConsumerConfig {
    /// What brokers call the process.
    pub client_id: String,
    /// Kafka names of the topics.
    pub topics: Vec<String>,
    /// The group.
    pub group: String,
    /// Where a partition starts that was never read.
    pub start_at: StartAt,
    /// Whether records of one key must be handled in the order of the log.
    pub ordered: bool,
    /// How records that failed are tried again; none: where they are, until it works.
    pub retry: Option<Retry>,
    /// Where records go that cannot be handled; none: the partition stops.
    pub dead_letter: Option<DeadLetter>,
    /// The generation that a projection works in, as [`begin`](super::generation::begin) gave it.
    pub generation: Generation,
    /// How members share partitions.
    pub protocol: GroupProtocol,
    /// After how long a member that says nothing is missed. Only the classic protocol lets a member say; else the broker does.
    pub session: Option<Duration>,
    /// Most records of a partition that are handled at once, where they are handled one at a time.
    pub concurrency: usize,
    /// Most records of a batch.
    pub batch_records: usize,
    /// Bytes at which a batch is full. One record may be larger.
    pub batch_bytes: usize,
    /// How long a batch waits for more after its first record.
    pub batch_wait: Duration,
    /// The time from one batch's beginning to that of the partition's next, unless it is full: while records come all the time, they are
    /// left to gather. The first one after a pause does not wait for it.
    pub batch_pace: Duration,
    /// Records of a partition at which it takes no more in because they are parked. At most 1000.
    pub parked_records: usize,
    /// Bytes of parked records at which it does so.
    pub parked_bytes: usize,
    /// How long what is under way may take to finish when its partition is revoked.
    pub drain: Duration,
    /// How often offsets are committed to Kafka.
    pub commit_interval: Duration,
}

impl ConsumerConfig {
    /// As the settings say, with batches of 500 records, 64 at once, and neither retry nor dead letters.
    pub fn new(client_id: &str, consumes: &Consumes) -> Self {
        Self {
            client_id: client_id.to_owned(),
            topics: consumes.topics.clone(),
            group: consumes.group.clone(),
            start_at: consumes.start_at(),
            ordered: consumes.ordered(),
            retry: None,
            dead_letter: None,
            generation: Generation::default(),
            protocol: GroupProtocol::default(),
            session: None,
            concurrency: 64,
            batch_records: 500,
            batch_bytes: 4 * 1024 * 1024,
            batch_wait: Duration::from_millis(5),
            batch_pace: Duration::ZERO,
            parked_records: 1000,
            parked_bytes: 4 * 1024 * 1024,
            drain: Duration::from_secs(10),
            commit_interval: Duration::from_millis(500),
        }
    }

    pub(super) fn policy(&self, topic: &str) -> Arc<Policy> {
        let names = (self.group.as_str(), topic);
        Arc::new(Policy::new(names, self.ordered, self.retry.as_ref(), self.dead_letter.as_ref()))
    }

    pub(super) fn limits(&self) -> Limits {
        Limits {
            open: self.batch_records.max(self.concurrency).max(1),
            waiting_bytes: self.batch_bytes.max(1),
            // What is parked has to fit into the metadata of an offset.
            parked: self.parked_records.clamp(1, 1000),
            parked_bytes: self.parked_bytes.max(1),
        }
    }

    /// The group whose offsets tell how far retry topics are, and nothing else.
    pub(super) fn retry_group(&self) -> String {
        format!("{}.retry", self.group)
    }

    /// The client of a member.
    pub fn client(&self, connection: &KafkaConnection) -> ClientConfig {
        let mut config = self.reader(connection);
        config
            .set("group.id", &self.group)
            .set("max.poll.interval.ms", "60000")
            // A queue per partition: what waits in it is memory.
            .set("queued.min.messages", "5000")
            .set("queued.max.messages.kbytes", "8192")
            .set("statistics.interval.ms", "1000");
        match self.protocol {
            GroupProtocol::Consumer => config.set("group.protocol", "consumer"),
            GroupProtocol::Classic => {
                if let Some(session) = self.session {
                    config.set("session.timeout.ms", session.as_millis().to_string());
                }
                config.set("group.protocol", "classic").set("partition.assignment.strategy", "cooperative-sticky")
            }
        };
        config
    }

    /// The client that reads retry topics.
    pub(super) fn retry_client(&self, connection: &KafkaConnection) -> ClientConfig {
        let mut config = self.reader(connection);
        config
            .set("group.id", self.retry_group())
            .set("group.protocol", "classic")
            .set("enable.partition.eof", "true")
            .set("queued.min.messages", "1000")
            .set("queued.max.messages.kbytes", "1024");
        config
    }

    fn reader(&self, connection: &KafkaConnection) -> ClientConfig {
        let mut config = kafka::client(connection, &self.client_id);
        config
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("isolation.level", "read_committed")
            // Every partition is positioned by what was finished; this is for an offset that retention has removed meanwhile.
            .set("auto.offset.reset", "earliest")
            .set("fetch.queue.backoff.ms", "50")
            .set("fetch.wait.max.ms", "250");
        config
    }
}
