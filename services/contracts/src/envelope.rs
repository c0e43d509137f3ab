//! What every event on a topic is wrapped in.

use std::io::Write;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

/// The events of one kind of aggregate.
pub trait Event: Sized {
    /// Type of the aggregate, in CamelCase: `Wallet`.
    const AGGREGATE_TYPE: &'static str;

    /// Type of the event, in CamelCase and in the past tense: `MoneyDeposited`.
    fn event_type(&self) -> &'static str;

    /// What the event says, as a JSON object.
    fn to_data(&self) -> Value;

    /// Reads what [`Event::to_data`] of this build or of any one before it wrote.
    fn from_data(event_type: &str, data: Value) -> Result<Self, Unreadable>;
}

/// Why a record cannot be read. Nothing that comes later makes it readable: it is poison.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// The value is not an envelope.
    #[error("the value is not an event's envelope: {0}")]
    Envelope(String),
    /// The aggregate is of another kind.
    #[error("the event is of a {found}, not of a {expected}")]
    AggregateType {
        /// The kind that it is of.
        found: String,
        /// The kind that is read here.
        expected: &'static str,
    },
    /// No event is called so.
    #[error("no event of a {aggregate_type} is called {event_type}")]
    EventType {
        /// The kind of aggregate.
        aggregate_type: &'static str,
        /// What it is called.
        event_type: String,
    },
    /// The data is not that of its type.
    #[error("the data is not that of a {event_type}: {reason}")]
    Data {
        /// The event's type.
        event_type: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// An event and where it belongs.
#[derive(Clone, Debug, PartialEq)]
pub struct Envelope<E> {
    /// UUIDv7; the same however often the event is delivered.
    pub event_id: Uuid,
    /// The aggregate: also the record's key.
    pub aggregate_id: String,
    /// The event's place in the aggregate's stream: 1..n without a gap.
    pub aggregate_version: i64,
    /// When it happened, to the millisecond. Never decides order.
    pub timestamp: Timestamp,
    /// What everything that follows from one request is joined by.
    pub correlation_id: Uuid,
    /// The event or request that caused it, if one did.
    pub causation_id: Option<Uuid>,
    /// What happened.
    pub event: E,
}

/// The form on the wire.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    event_id: Uuid,
    event_type: String,
    aggregate_type: String,
    aggregate_id: String,
    aggregate_version: i64,
    timestamp: String,
    correlation_id: Uuid,
    causation_id: Option<Uuid>,
    data: Value,
}

impl<E: Event> Envelope<E> {
    /// The record's value as JSON.
    pub fn to_json(&self) -> Value {
        serde_json::json!({
            "eventId": self.event_id,
            "eventType": self.event.event_type(),
            "aggregateType": E::AGGREGATE_TYPE,
            "aggregateId": self.aggregate_id,
            "aggregateVersion": self.aggregate_version,
            "timestamp": format!("{:.3}", self.timestamp),
            "correlationId": self.correlation_id,
            "causationId": self.causation_id,
            "data": self.event.to_data(),
        })
    }

    /// The record's value.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.to_bytes_with(&self.event.to_data().to_string())
    }

    /// The record's value, for whoever has made the JSON of [`Event::to_data`] already.
    pub fn to_bytes_with(&self, data: &str) -> Vec<u8> {
        let mut value = Vec::with_capacity(320 + data.len());
        // Neither writing to a vector nor making JSON of text fails. An aggregate's id is the only text here that may need escapes.
        let _ = value.write_all(br#"{"aggregateId":"#);
        let _ = serde_json::to_writer(&mut value, &self.aggregate_id);
        let _ = write!(
            value,
            r#","aggregateType":"{}","aggregateVersion":{},"causationId":"#,
            E::AGGREGATE_TYPE,
            self.aggregate_version
        );
        let _ = match self.causation_id {
            Some(id) => write!(value, r#""{id}""#),
            None => value.write_all(b"null"),
        };
        let _ = write!(
            value,
            r#","correlationId":"{}","data":{data},"eventId":"{}","eventType":"{}","timestamp":"{:.3}"}}"#,
            self.correlation_id,
            self.event_id,
            self.event.event_type(),
            self.timestamp
        );
        value
    }

    /// Reads a record's value. Keys that this build does not know are let pass: a newer producer may say more.
    pub fn from_bytes(value: &[u8]) -> Result<Self, Unreadable> {
        let wire: Wire = serde_json::from_slice(value).map_err(|error| Unreadable::Envelope(error.to_string()))?;
        if wire.aggregate_type != E::AGGREGATE_TYPE {
            return Err(Unreadable::AggregateType { found: wire.aggregate_type, expected: E::AGGREGATE_TYPE });
        }
        if wire.aggregate_version < 1 {
            return Err(Unreadable::Envelope(format!("aggregateVersion is {}", wire.aggregate_version)));
        }
        let timestamp = wire.timestamp.parse().map_err(|error| Unreadable::Envelope(format!("timestamp: {error}")))?;
        Ok(Self {
            event_id: wire.event_id,
            aggregate_id: wire.aggregate_id,
            aggregate_version: wire.aggregate_version,
            timestamp,
            correlation_id: wire.correlation_id,
            causation_id: wire.causation_id,
            event: E::from_data(&wire.event_type, wire.data)?,
        })
    }
}
