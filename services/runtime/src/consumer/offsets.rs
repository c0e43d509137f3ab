//! How far partitions are: in the database, where it decides, and on the way to Kafka, where it is looked at.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use rdkafka::{Offset, TopicPartitionList, error::KafkaResult};
use sqlx::{PgConnection, PgPool};

/// The first offset that is not applied; none where nothing ever was.
pub(super) async fn load(pool: &PgPool, group: &str, topic: &str, partition: i32) -> Result<Option<i64>, sqlx::Error> {
    sqlx::query_scalar(
        "SELECT next_offset FROM tidegate.projection_offsets WHERE consumer_group = $1 AND topic = $2 AND partition = $3",
    )
    .bind(group)
    .bind(topic)
    .bind(partition)
    .fetch_optional(pool)
    .await
}

/// Notes where a partition begins that was never applied; whoever does so first is right.
pub(super) async fn begin(
    pool: &PgPool,
    group: &str,
    topic: &str,
    partition: i32,
    next: i64,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO tidegate.projection_offsets (consumer_group, topic, partition, next_offset) VALUES ($1, $2, $3, $4)
         ON CONFLICT ON CONSTRAINT projection_offsets_partition DO NOTHING",
    )
    .bind(group)
    .bind(topic)
    .bind(partition)
    .bind(next)
    .execute(pool)
    .await?;
    Ok(())
}

/// Moves the offset, if it is still where it is thought to be. Whoever does holds it until the transaction ends.
pub(super) async fn advance(
    connection: &mut PgConnection,
    group: &str,
    topic: &str,
    partition: i32,
    (expected, next): (i64, i64),
) -> Result<bool, sqlx::Error> {
    let moved = sqlx::query(
        "UPDATE tidegate.projection_offsets SET next_offset = $4, updated_at = now()
         WHERE consumer_group = $1 AND topic = $2 AND partition = $3 AND next_offset = $5",
    )
    .bind(group)
    .bind(topic)
    .bind(partition)
    .bind(next)
    .bind(expected)
    .execute(connection)
    .await?;
    Ok(moved.rows_affected() == 1)
}

/// Offsets that Kafka has not been told of.
#[derive(Debug, Default)]
pub(super) struct Untold {
    offsets: Mutex<HashMap<(String, i32), i64>>,
}

impl Untold {
    /// The partition has been applied up to there.
    pub(super) fn applied(&self, topic: &str, partition: i32, next: i64) {
        self.lock().insert((topic.to_owned(), partition), next);
    }

    /// Telling them failed: they are to be told again, unless newer ones are.
    pub(super) fn failed(&self, list: &TopicPartitionList) {
        let mut offsets = self.lock();
        for element in list.elements() {
            if let Offset::Offset(next) = element.offset() {
                offsets.entry((element.topic().to_owned(), element.partition())).or_insert(next);
            }
        }
    }

    /// The partitions are somebody else's to tell of.
    pub(super) fn forget(&self, list: &TopicPartitionList) {
        let mut offsets = self.lock();
        for element in list.elements() {
            offsets.remove(&(element.topic().to_owned(), element.partition()));
        }
    }

    /// Takes them; none if there are none.
    pub(super) fn take(&self) -> KafkaResult<Option<TopicPartitionList>> {
        let offsets = std::mem::take(&mut *self.lock());
        if offsets.is_empty() {
            return Ok(None);
        }
        let mut list = TopicPartitionList::with_capacity(offsets.len());
        for ((topic, partition), next) in offsets {
            list.add_partition_offset(&topic, partition, Offset::Offset(next))?;
        }
        Ok(Some(list))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<(String, i32), i64>> {
        self.offsets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
