//! Writing events, in the transaction of whatever they report.

use serde_json::json;
use sqlx::PgConnection;
use tidegate_contracts::{Envelope, Event, headers, partition};

use super::wake;
use crate::kafka::MAX_RECORD_BYTES;

/// Publishers of an outbox: events of one key are always of one shard. The topic at which positions are kept must have as many
/// partitions. A change of it is a migration, which moves rows.
pub const SHARDS: u16 = 3;

/// The channel that tells sleeping owners of new rows (LISTEN/NOTIFY); its payload names their shards.
pub const CHANNEL: &str = "tidegate_outbox";

/// A record that is to be published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxEvent {
    /// Kafka name of the topic.
    pub topic: String,
    /// The aggregate's id: order is kept per key.
    pub key: Vec<u8>,
    /// Names and values, in this order.
    pub headers: Vec<(String, String)>,
    /// The record's value.
    pub payload: Vec<u8>,
}

/// Why events could not be put into the outbox. The transaction must not be committed then.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The record could never be published.
    #[error("an event for {topic} is {bytes} bytes; the most is {MAX_RECORD_BYTES}")]
    TooLarge {
        /// The topic.
        topic: String,
        /// Bytes of key, headers and value.
        bytes: usize,
    },
    /// The database refused.
    #[error("putting events into the outbox: {0}")]
    Database(#[from] sqlx::Error),
}

impl OutboxEvent {
    /// The record of an event: its key is the aggregate's id, its headers are those that every event has.
    pub fn of<E: Event>(topic: &str, envelope: &Envelope<E>, traceparent: Option<&str>) -> Self {
        Self::with_payload(topic, envelope, envelope.to_bytes(), traceparent)
    }

    /// The same, for whoever has made the event's bytes already.
    pub fn with_payload<E: Event>(
        topic: &str,
        envelope: &Envelope<E>,
        payload: Vec<u8>,
        traceparent: Option<&str>,
    ) -> Self {
        let mut headers = vec![
            (headers::EVENT_TYPE.to_owned(), envelope.event.event_type().to_owned()),
            (headers::AGGREGATE_TYPE.to_owned(), E::AGGREGATE_TYPE.to_owned()),
        ];
        headers.extend(traceparent.map(|value| (headers::TRACEPARENT.to_owned(), value.to_owned())));
        Self { topic: topic.to_owned(), key: envelope.aggregate_id.clone().into_bytes(), headers, payload }
    }

    fn bytes(&self) -> usize {
        let headers: usize = self.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        self.key.len() + headers + self.payload.len()
    }
}

/// The shard of a key.
pub fn shard_of(key: &[u8]) -> i16 {
    // A number below SHARDS fits.
    partition::of_key(key, u32::from(SHARDS)) as i16
}

/// Puts the events into the outbox, in this order, in the caller's transaction; when that commits, the relay is told if it sleeps.
///
/// Pass `&mut *transaction`. One statement, whatever the number of events; nothing for none.
pub async fn append(connection: &mut PgConnection, events: &[OutboxEvent]) -> Result<(), AppendError> {
    if events.is_empty() {
        return Ok(());
    }
    if let Some(event) = events.iter().find(|event| event.bytes() > MAX_RECORD_BYTES) {
        return Err(AppendError::TooLarge { topic: event.topic.clone(), bytes: event.bytes() });
    }
    sqlx::query(
        "WITH appended AS (
           INSERT INTO tidegate.outbox (shard, topic, key, headers, payload)
           SELECT shard, topic, key, headers, payload
           FROM unnest($1::smallint[], $2::text[], $3::bytea[], $4::jsonb[], $5::bytea[])
             WITH ORDINALITY AS new (shard, topic, key, headers, payload, nth)
           ORDER BY nth
         )
         SELECT pg_notify($6, string_agg(shard::text, ','))
         FROM (SELECT DISTINCT shard FROM unnest($1::smallint[]) AS appended (shard)) AS shards
         WHERE NOT pg_try_advisory_xact_lock_shared($7, shard)
         HAVING count(*) > 0",
    )
    .bind(events.iter().map(|event| shard_of(&event.key)).collect::<Vec<_>>())
    .bind(events.iter().map(|event| event.topic.as_str()).collect::<Vec<_>>())
    .bind(events.iter().map(|event| event.key.as_slice()).collect::<Vec<_>>())
    .bind(events.iter().map(|event| json!(event.headers)).collect::<Vec<_>>())
    .bind(events.iter().map(|event| event.payload.as_slice()).collect::<Vec<_>>())
    .bind(CHANNEL)
    .bind(wake::LOCKS)
    .execute(connection)
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_stays_in_its_shard() {
        let keys = ["alice-eur", "bob-eur", "wallet-1", "wallet-2", "wallet-3", "wallet-4"];
        assert_eq!(keys.map(|key| shard_of(key.as_bytes())), [1, 1, 1, 2, 2, 0]);
    }
}
