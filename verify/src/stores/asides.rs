//! What groups have put aside: retry topics and the dead-letter topic, by the headers of `tidegate_contracts::headers`.

use std::{collections::BTreeMap, time::Duration};

use rdkafka::{
    Message,
    message::{BorrowedMessage, Headers},
};
use tidegate_contracts::headers;

use super::{
    ReadError,
    kafka::{place, read_topic},
};
use crate::{
    environment::Kafka,
    facts::{Aside, Place},
};

/// What a record of a retry topic or of the dead-letter topic says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// The group that put it there.
    pub group: String,
    /// The topic that it came from.
    pub topic: String,
    /// Where it lies, where it came from, and whether it is a word.
    pub aside: Aside,
}

/// Reads such a topic from the offsets in `from`, else from its beginning; of a record that does not say where it came from, a
/// sentence. Blocks.
pub fn read_asides(
    kafka: &Kafka,
    topic: &str,
    from: &BTreeMap<i32, i64>,
    within: Duration,
) -> Result<Vec<Result<Told, String>>, ReadError> {
    read_topic(kafka, topic, from, within, |message| {
        told(message).map_err(|what| format!("the record of {topic} at {} {what}", place(message)))
    })
}

/// What a record says of itself, or what it does not say.
pub(crate) fn told(message: &BorrowedMessage<'_>) -> Result<Told, String> {
    let text = |name: &str| header(message, name).ok_or_else(|| format!("has no header {name}"));
    let partition = text(headers::ORIGIN_PARTITION)?;
    let offset = text(headers::ORIGIN_OFFSET)?;
    let origin = Place {
        partition: partition.parse().map_err(|_| format!("came from partition {partition:?}"))?,
        offset: offset.parse().map_err(|_| format!("came from offset {offset:?}"))?,
    };
    Ok(Told {
        group: text(headers::GROUP)?,
        topic: text(headers::ORIGIN_TOPIC)?,
        aside: Aside {
            place: place(message),
            key: message.key().map(<[u8]>::to_vec),
            origin,
            control: header(message, headers::CONTROL),
        },
    })
}

/// A header's text. The last of a name counts: an origin's own headers come before those that were added.
fn header(message: &BorrowedMessage<'_>, name: &str) -> Option<String> {
    let found = message.headers()?.iter().filter(|header| header.key == name).last()?;
    found.value.map(|value| String::from_utf8_lossy(value).into_owned())
}
