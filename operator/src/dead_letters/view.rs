//! Dead letters as they are shown: what the operator answers and `kubectl tidegate` reads. Pure.

use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tidegate_crds::pipeline::RedriveStatus;
use tidegate_kafka::{LoggedRecord, TopicPartition};
use tidegate_settings::failure::headers;

use crate::pipeline::redrive;

/// Bytes of a key in a list, and of a header's value.
const SOME: usize = 4_096;
/// Bytes of a value.
const MOST: usize = 1_024 * 1_024;
/// Headers of a record.
const HEADERS: usize = 200;
/// Characters of what a handler said; the consumer writes fewer.
const WORDS: usize = 2_000;

/// Bytes, or their beginning.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Blob {
    /// How many bytes there are; what follows may be their beginning only.
    pub size: usize,
    /// What they are.
    #[serde(flatten)]
    pub content: Content,
}

/// What bytes are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Content {
    /// UTF-8; it may hold any character.
    Text(String),
    /// Something else.
    Base64(String),
}

/// Where a dead letter came from; none of what its headers do not say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Origin {
    /// Kafka name of the topic.
    pub topic: Option<String>,
    /// The partition.
    pub partition: Option<i32>,
    /// The offset.
    pub offset: Option<i64>,
    /// When it was written there.
    pub at: Option<Timestamp>,
}

/// A dead letter without what it is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Letter {
    /// Kafka name of the dead-letter topic.
    pub topic: String,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// When it was given up.
    pub at: Option<Timestamp>,
    /// Its key.
    pub key: Option<Blob>,
    /// Bytes of its value; none: it has no value.
    pub value_size: Option<usize>,
    /// Why it was given up, in a word.
    pub error_class: Option<String>,
    /// What the handler said.
    pub error: Option<String>,
    /// Tries that were made.
    pub attempts: Option<u32>,
    /// Where it came from.
    pub origin: Origin,
    /// Id of the redrive that has had it tried again, as far as the status remembers.
    pub redriven: Option<String>,
}

/// A dead letter with all that it carries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Whole {
    /// What it is.
    #[serde(flatten)]
    pub letter: Letter,
    /// Its value; none is a tombstone.
    pub value: Option<Blob>,
    /// Names and values, in their order, those of the original first.
    pub headers: Vec<Header>,
}

/// A header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Header {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: Option<Blob>,
}

/// Some dead letters of a processor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Listing {
    /// The newest first.
    pub letters: Vec<Letter>,
    /// Offsets that the topic holds: no fewer than its records, those of other processors included.
    pub held: i64,
    /// Offsets that were looked at, from the newest on.
    pub looked: i64,
    /// Why it ends.
    pub end: End,
}

/// Why a list ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum End {
    /// There are no more.
    All,
    /// There may be more: it is as long as was asked for.
    Limit,
    /// There may be more: looking at all of the topic would take too long.
    Budget,
}

/// Which dead letters: those of which all this is true.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Kafka name of the topic that it came from.
    pub origin: Option<String>,
    /// Its error class.
    pub error_class: Option<String>,
    /// Its key.
    pub key: Option<Vec<u8>>,
}

impl Blob {
    /// The first `most` bytes.
    pub fn of(bytes: &[u8], most: usize) -> Self {
        let part = &bytes[..bytes.len().min(most)];
        let content = match std::str::from_utf8(part) {
            Ok(text) => Content::Text(text.to_owned()),
            // Cut in the middle of a character.
            Err(error) if part.len() < bytes.len() && error.error_len().is_none() => {
                Content::Text(String::from_utf8_lossy(&part[..error.valid_up_to()]).into_owned())
            }
            Err(_) => Content::Base64(STANDARD.encode(part)),
        };
        Self { size: bytes.len(), content }
    }

    /// The bytes; none where they are not what they are said to be.
    pub fn bytes(&self) -> Option<Vec<u8>> {
        match &self.content {
            Content::Text(text) => Some(text.clone().into_bytes()),
            Content::Base64(text) => STANDARD.decode(text).ok(),
        }
    }
}

impl Filter {
    /// Whether it wants a record.
    pub fn wants(&self, record: &LoggedRecord) -> bool {
        let says =
            |wanted: &Option<String>, header: &str| wanted.is_none() || wanted.as_deref() == record.header(header);
        says(&self.origin, headers::ORIGIN_TOPIC)
            && says(&self.error_class, headers::ERROR_CLASS)
            && (self.key.is_none() || self.key == record.key)
    }
}

impl Letter {
    /// A record of a dead-letter topic. `redrives`: those that have looked at it.
    pub fn of(at: &TopicPartition, record: &LoggedRecord, redrives: &[&RedriveStatus]) -> Self {
        let words = |name: &str| record.header(name).map(|text| text.chars().take(WORDS).collect::<String>());
        Self {
            topic: at.topic.clone(),
            partition: at.partition,
            offset: record.offset,
            at: Timestamp::from_millisecond(record.timestamp).ok(),
            key: record.key.as_deref().map(|key| Blob::of(key, SOME)),
            value_size: record.value.as_ref().map(Vec::len),
            error_class: words(headers::ERROR_CLASS),
            error: words(headers::ERROR),
            attempts: number(record, headers::ATTEMPTS),
            origin: Origin {
                topic: words(headers::ORIGIN_TOPIC),
                partition: number(record, headers::ORIGIN_PARTITION),
                offset: number(record, headers::ORIGIN_OFFSET),
                at: number(record, headers::ORIGIN_TIMESTAMP).and_then(|ms| Timestamp::from_millisecond(ms).ok()),
            },
            redriven: redrive::redriven(redrives, at, record).map(|redrive| redrive.id.clone()),
        }
    }
}

impl Whole {
    /// The same, with all that it carries.
    pub fn of(at: &TopicPartition, record: &LoggedRecord, redrives: &[&RedriveStatus]) -> Self {
        let header = |(name, value): &(String, Option<Vec<u8>>)| Header {
            name: name.chars().take(SOME).collect(),
            value: value.as_deref().map(|value| Blob::of(value, SOME)),
        };
        Self {
            letter: Letter::of(at, record, redrives),
            value: record.value.as_deref().map(|value| Blob::of(value, MOST)),
            headers: record.headers.iter().take(HEADERS).map(header).collect(),
        }
    }
}

fn number<N: std::str::FromStr>(record: &LoggedRecord, header: &str) -> Option<N> {
    record.header(header)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn bytes_are_text_where_they_are_and_come_back_as_they_were() {
        for (bytes, most, shown) in [
            (&b"hello"[..], 10, json!({"size": 5, "text": "hello"})),
            (&[0xff, 0x00, 0x1b][..], 10, json!({"size": 3, "base64": "/wAb"})),
            (&b""[..], 10, json!({"size": 0, "text": ""})),
            (&b"hello"[..], 2, json!({"size": 5, "text": "he"})),
            // A character of three bytes, cut.
            ("a\u{20ac}".as_bytes(), 3, json!({"size": 4, "text": "a"})),
        ] {
            let blob = Blob::of(bytes, most);
            assert_eq!(serde_json::to_value(&blob).unwrap(), shown);
            let read: Blob = serde_json::from_value(shown).unwrap();
            assert_eq!(read, blob);
            assert!(bytes.starts_with(&read.bytes().unwrap()));
        }
    }

    #[test]
    fn what_a_dead_letter_says_of_itself_is_read_and_what_is_no_number_is_unknown() {
        let header = |name: &str, value: &str| (name.to_owned(), Some(value.as_bytes().to_vec()));
        let record = LoggedRecord {
            offset: 7,
            timestamp: 1_700_000_000_000,
            key: Some(b"bob".to_vec()),
            value: None,
            headers: vec![
                header("traceparent", "00-1"),
                header(headers::ORIGIN_TOPIC, "events"),
                header(headers::ORIGIN_PARTITION, "two"),
                header(headers::ORIGIN_OFFSET, "41"),
                header(headers::ERROR_CLASS, "Exhausted"),
                header(headers::ATTEMPTS, "5"),
            ],
        };
        let whole = Whole::of(&TopicPartition::new("dead", 1), &record, &[]);
        let expected = json!({
            "topic": "dead", "partition": 1, "offset": 7, "at": "2023-11-14T22:13:20Z", "key": {"size": 3, "text": "bob"},
            "valueSize": null, "errorClass": "Exhausted", "error": null, "attempts": 5, "redriven": null,
            "origin": {"topic": "events", "partition": null, "offset": 41, "at": null},
        });
        assert_eq!(serde_json::to_value(&whole.letter).unwrap(), expected);
        assert_eq!((whole.value, whole.headers.len()), (None, 6));
    }
}
