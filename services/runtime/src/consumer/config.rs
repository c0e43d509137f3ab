//! What a group member is told.

use std::time::Duration;

use rdkafka::ClientConfig;
use tidegate_settings::{Consumes, StartAt, binding::KafkaConnection};

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

/// Which topics, as which group, in what batches.
#[derive(Clone, Debug)]
pub struct ConsumerConfig {
    /// What brokers call the process.
    pub client_id: String,
    /// Kafka names of the topics.
    pub topics: Vec<String>,
    /// The group.
    pub group: String,
    /// Where a partition starts that was never applied.
    pub start_at: StartAt,
    /// How members share partitions.
    pub protocol: GroupProtocol,
    /// After how long a member that says nothing is missed. Only the classic protocol lets a member say; else the broker does.
    pub session: Option<Duration>,
    /// Most records of a batch.
    pub batch_records: usize,
    /// Bytes at which a batch is full. One record may be larger.
    pub batch_bytes: usize,
    /// How long a batch waits for more after its first record.
    pub batch_wait: Duration,
    /// How long a batch under way may take to finish when its partition is revoked.
    pub drain: Duration,
    /// How often offsets are committed to Kafka, where they are only looked at.
    pub commit_interval: Duration,
}

impl ConsumerConfig {
    /// As the settings say, with batches of 500 records.
    pub fn new(client_id: &str, consumes: &Consumes) -> Self {
        Self {
            client_id: client_id.to_owned(),
            topics: consumes.topics.clone(),
            group: consumes.group.clone(),
            start_at: consumes.start_at(),
            protocol: GroupProtocol::default(),
            session: None,
            batch_records: 500,
            batch_bytes: 4 * 1024 * 1024,
            batch_wait: Duration::from_millis(5),
            drain: Duration::from_secs(10),
            commit_interval: Duration::from_millis(500),
        }
    }

    pub(super) fn client(&self, connection: &KafkaConnection) -> ClientConfig {
        let mut config = kafka::client(connection, &self.client_id);
        config
            .set("group.id", &self.group)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("isolation.level", "read_committed")
            // Every partition is positioned by what was applied; this is for an offset that retention has removed meanwhile.
            .set("auto.offset.reset", "earliest")
            .set("max.poll.interval.ms", "60000")
            // A queue per partition: what waits in it is memory.
            .set("queued.min.messages", "5000")
            .set("queued.max.messages.kbytes", "8192")
            .set("fetch.queue.backoff.ms", "50")
            .set("fetch.wait.max.ms", "250")
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
}
