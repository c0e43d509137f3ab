//! How far a shard is published, as it is kept in Kafka: the offset that the outbox's group commits for (topic, shard), in the same
//! transaction as the events. Pure.
//!
//! The offset counts the shard's published events. Its metadata names the last batch by its first and last row, because that is all
//! that a new owner has to know: a batch is deleted from the outbox before the next one begins, so only the rows of the last one can
//! still be there, published. The last row's time is part of its name: in a database that was restored from a backup other rows may
//! bear the same numbers, and those were not published.

use std::fmt;

/// A row's place in the order of its shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RowKey {
    /// PostgreSQL's xid8.
    pub(super) transaction_id: u64,
    /// The row's number.
    pub(super) id: i64,
}

/// A batch that was published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Batch {
    pub(super) first: RowKey,
    pub(super) last: RowKey,
    /// When the last row was made: microseconds since 1970.
    pub(super) last_created: i64,
}

/// How far a shard is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    /// Events published since the shard began.
    pub(super) published: i64,
    /// The last of its batches.
    pub(super) batch: Batch,
}

/// Metadata that no relay has written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the position {0:?} is not that of an outbox relay; is another program committing offsets to its group?")]
pub(super) struct NotAPosition(String);

impl Batch {
    /// Reads what its `Display` wrote.
    pub(super) fn parse(metadata: &str) -> Result<Self, NotAPosition> {
        let read = || {
            let mut words = metadata.split(' ');
            let version = words.next()?;
            let batch = Self {
                first: RowKey::parse(words.next()?)?,
                last: RowKey::parse(words.next()?)?,
                last_created: words.next()?.parse().ok()?,
            };
            (version == "1" && words.next().is_none()).then_some(batch)
        };
        read().ok_or_else(|| NotAPosition(metadata.chars().take(100).collect()))
    }
}

impl fmt::Display for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "1 {} {} {}", self.first, self.last, self.last_created)
    }
}

impl RowKey {
    /// Before every row.
    pub(super) const FIRST: Self = Self { transaction_id: 0, id: i64::MIN };

    fn parse(text: &str) -> Option<Self> {
        let (transaction_id, id) = text.split_once(':')?;
        Some(Self { transaction_id: transaction_id.parse().ok()?, id: id.parse().ok()? })
    }
}

impl fmt::Display for RowKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.transaction_id, self.id)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_what_is_read(first: (u64, i64), last: (u64, i64), last_created: i64) {
            let key = |(transaction_id, id)| RowKey { transaction_id, id };
            let batch = Batch { first: key(first), last: key(last), last_created };
            prop_assert_eq!(Batch::parse(&batch.to_string()), Ok(batch));
        }

        #[test]
        fn anything_else_is_refused_and_not_at_length(text in "\\PC{0,300}") {
            if let Err(error) = Batch::parse(&text) {
                prop_assert!(error.to_string().chars().count() < 1300);
            }
        }
    }

    #[test]
    fn a_form_of_the_future_is_not_guessed_at() {
        for text in ["", "2 1:1 1:1 5", "1 1:1 1:1", "1 1:1 1:1 5 6", "1 1 1:1 5"] {
            assert!(Batch::parse(text).is_err(), "{text}");
        }
    }
}
