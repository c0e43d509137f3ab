//! A record as a handler sees it, and one as a handler makes it.

use std::sync::Arc;

use rdkafka::{
    Timestamp,
    message::{Headers, Message},
};

/// A record of a topic, owned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The topic's name.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
    /// Its place in the partition.
    pub offset: i64,
    /// When it was written, ms since 1970, if the topic says.
    pub timestamp: Option<i64>,
    /// The key.
    pub key: Option<Vec<u8>>,
    /// The value; none is a tombstone.
    pub value: Option<Vec<u8>>,
    /// Names and values, in their order.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

/// A record to be written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outgoing {
    /// The topic's name.
    pub topic: String,
    /// The partition; none lets the key decide.
    pub partition: Option<i32>,
    /// The key.
    pub key: Option<Vec<u8>>,
    /// The value; none is a tombstone.
    pub value: Option<Vec<u8>>,
    /// Names and values, in their order.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

fn bytes(key: Option<&Vec<u8>>, value: Option<&Vec<u8>>, headers: &[(String, Option<Vec<u8>>)]) -> usize {
    let headers: usize = headers.iter().map(|(name, value)| name.len() + value.as_ref().map_or(0, Vec::len)).sum();
    key.map_or(0, Vec::len) + value.map_or(0, Vec::len) + headers
}

impl Outgoing {
    /// Bytes of key, value and headers.
    pub fn bytes(&self) -> usize {
        bytes(self.key.as_ref(), self.value.as_ref(), &self.headers)
    }
}

impl Record {
    /// The last header of that name, if it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().rev().find(|(header, _)| header == name)?;
        std::str::from_utf8(value.as_deref()?).ok()
    }

    /// Bytes of key, value and headers.
    pub fn bytes(&self) -> usize {
        bytes(self.key.as_ref(), self.value.as_ref(), &self.headers)
    }

    /// Copies a message of librdkafka.
    pub fn from_message(message: &impl Message) -> Self {
        Self::of(message.topic().into(), message)
    }

    /// Copies a message of that topic, whose name is shared.
    pub(super) fn of(topic: Arc<str>, message: &impl Message) -> Self {
        let headers = message.headers().map(|headers| {
            headers.iter().map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec))).collect()
        });
        Self {
            topic,
            partition: message.partition(),
            offset: message.offset(),
            timestamp: match message.timestamp() {
                Timestamp::CreateTime(ms) | Timestamp::LogAppendTime(ms) => Some(ms),
                Timestamp::NotAvailable => None,
            },
            key: message.key().map(<[u8]>::to_vec),
            value: message.payload().map(<[u8]>::to_vec),
            headers: headers.unwrap_or_default(),
        }
    }
}
