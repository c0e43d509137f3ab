//! Readers of the real stores: they fetch, they do not judge.

pub mod asides;
pub mod kafka;
pub mod postgres;
mod settle;
mod streams;
pub(crate) mod wallet;

pub use settle::{Reading, settle};
pub use streams::{DEAD_LETTERS, GROUPS, Streams, TOPIC, retry};

/// Why a store could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Kafka refused or did not answer.
    #[error("{doing}: {source}")]
    Kafka {
        /// What was being done.
        doing: String,
        /// What the client said.
        source: rdkafka::error::KafkaError,
    },
    /// The topic was not read to its end in time.
    #[error("topic {topic} was not read to its end within {seconds} s ({read} records so far)")]
    Slow {
        /// The topic.
        topic: String,
        /// The limit.
        seconds: u64,
        /// How far it came.
        read: usize,
    },
    /// A record that is not what the contract says.
    #[error("topic {topic} partition {partition} offset {offset}: {what}")]
    Record {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// The offset.
        offset: i64,
        /// What is wrong with it.
        what: String,
    },
    /// PostgreSQL refused or did not answer.
    #[error("{doing}: {source}")]
    Database {
        /// What was being done.
        doing: &'static str,
        /// What the client said.
        source: sqlx::Error,
    },
    /// A row that is not what the contract says.
    #[error("{table}: {what}")]
    Row {
        /// The table.
        table: &'static str,
        /// What is wrong with it.
        what: String,
    },
    /// A reader ended before its time.
    #[error("a reader ended: {0}")]
    Interrupted(String),
}
