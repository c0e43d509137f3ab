//! JSON Schema (draft 2020-12) of what is on a topic.

use schemars::{JsonSchema, Schema, generate::SchemaSettings};
use serde_json::{Value, json};

use crate::{Event, wallet::WalletEvent};

/// The schema of a type, everything in one place.
pub fn of<T: JsonSchema>() -> Schema {
    SchemaSettings::draft2020_12()
        .with(|settings| settings.inline_subschemas = true)
        .into_generator()
        .into_root_schema_for::<T>()
}

/// Every schema by the file that it is kept in, under `schemas/`.
pub fn all() -> Vec<(String, String)> {
    WalletEvent::schemas()
        .into_iter()
        .map(|(event_type, data)| {
            let document = enveloped(WalletEvent::AGGREGATE_TYPE, event_type, &data);
            (format!("{event_type}.json"), format!("{document:#}\n"))
        })
        .collect()
}

/// The schema of a record's value that holds that event.
fn enveloped(aggregate_type: &str, event_type: &str, data: &Schema) -> Value {
    let mut data = data.as_value().clone();
    if let Some(data) = data.as_object_mut() {
        data.remove("$schema");
        data.remove("title");
    }
    let uuid = |description: &str| json!({"type": "string", "format": "uuid", "description": description});
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": event_type,
        "type": "object",
        "required": [
            "eventId", "eventType", "aggregateType", "aggregateId", "aggregateVersion", "timestamp", "correlationId", "data"
        ],
        "properties": {
            "eventId": uuid("UUIDv7; the same however often the event is delivered."),
            "eventType": {"const": event_type},
            "aggregateType": {"const": aggregate_type},
            "aggregateId": {"type": "string", "description": "The aggregate: also the record's key."},
            "aggregateVersion": {
                "type": "integer", "minimum": 1, "description": "The event's place in the aggregate's stream, without a gap."
            },
            "timestamp": {
                "type": "string", "format": "date-time", "description": "When it happened: RFC 3339, UTC, milliseconds."
            },
            "correlationId": uuid("What everything that follows from one request is joined by."),
            "causationId": {
                "type": ["string", "null"], "format": "uuid", "description": "The event or request that caused it."
            },
            "data": data,
        }
    })
}
