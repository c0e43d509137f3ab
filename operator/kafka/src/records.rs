//! Records themselves: read where somebody has to look into them, and written where the operator copies them.

/// A record with all that it carries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoggedRecord {
    /// Its place in the partition.
    pub offset: i64,
    /// When it was written, in milliseconds since the Unix epoch.
    pub timestamp: i64,
    /// The key.
    pub key: Option<Vec<u8>>,
    /// The value; none is a tombstone.
    pub value: Option<Vec<u8>>,
    /// Names (UTF-8, as the protocol has it) and values, in their order.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

impl LoggedRecord {
    /// The last header of that name, if it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().rev().find(|(header, _)| header == name)?;
        std::str::from_utf8(value.as_deref()?).ok()
    }
}

/// Some of a partition's records, as a read_committed consumer gets them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Portion {
    /// In the order of the log. Markers and aborted records are none.
    pub records: Vec<LoggedRecord>,
    /// The offset behind what was looked at: where the next portion begins.
    pub next: i64,
    /// The last stable offset: there is nothing more when `next` has come to it.
    pub end: i64,
}
