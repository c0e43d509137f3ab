//! What goes into a book and comes out of it.

use std::{collections::HashSet, sync::Arc, time::Duration};

use super::LaneId;
use crate::consumer::Record;

/// Where a record is until it is finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in super::super) enum Place {
    /// In the source partition, at its own offset.
    Source,
    /// In the retry partition.
    Parked {
        /// Its offset there.
        at: i64,
    },
}

/// A record to be handled.
#[derive(Clone, Debug)]
pub(in super::super) struct Job {
    /// As it was in the source partition.
    pub(in super::super) record: Record,
    pub(in super::super) place: Place,
    /// Tries that failed.
    pub(in super::super) attempts: u32,
    /// Tries since something was away.
    pub(super) away: u32,
    pub(super) lane: LaneId,
}

impl Job {
    /// The record for which the book [began](Book::begin) that lane.
    pub(in super::super) fn new(record: Record, lane: LaneId) -> Self {
        Self { record, place: Place::Source, attempts: 0, away: 0, lane }
    }

    /// It, when it is done.
    pub(in super::super) fn done(&self) -> (Place, i64) {
        done(self.place, &self.record)
    }
}

/// A record, when it is done.
pub(super) fn done(place: Place, record: &Record) -> (Place, i64) {
    match place {
        Place::Source => (place, record.offset),
        Place::Parked { at } => (place, at),
    }
}

/// Why a job failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Class {
    Transient,
    Retry,
    Panic,
    Poison,
    TooLarge,
}

impl Class {
    /// As dead letters say it.
    pub(in super::super) fn name(self) -> &'static str {
        match self {
            Self::Transient | Self::Retry => "Exhausted",
            Self::Panic => "Panic",
            Self::Poison => "Poison",
            Self::TooLarge => "TooLarge",
        }
    }
}

/// What became of a record that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Verdict {
    /// It is tried again after that time, where it is.
    Waits(Duration),
    /// It goes to the retry partition.
    Parks,
    /// It goes to the dead-letter topic.
    Dies,
    /// There is no place for it: the partition stops.
    Stops,
}

/// What is to be written, with the offsets, in one transaction.
#[derive(Clone, Debug)]
pub(in super::super) struct Entry {
    pub(in super::super) record: Record,
    pub(in super::super) place: Place,
    pub(in super::super) attempts: u32,
    pub(in super::super) what: What,
    pub(super) lane: LaneId,
}

#[cfg(test)]
impl Entry {
    pub(in super::super) fn new(record: Record, place: Place, attempts: u32, what: What) -> Self {
        Self { record, place, attempts, what, lane: 0 }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) enum What {
    /// The record goes to the retry partition.
    Park,
    /// It goes to the dead-letter topic, and its key may be quarantined.
    Die { class: Class, error: String, quarantine: bool },
}

/// What became of a record that came.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) enum Admitted {
    /// Nothing stands before it. If it is not finished at once, [`Book::begin`] it.
    Free(Record),
    /// It waits in its lane, or is about to be parked.
    Kept,
    /// It is finished already.
    Repeated,
}

/// What a record of the retry partition says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) enum Word {
    /// A parked record, as it was in the source partition.
    Parked { record: Record, attempts: u32 },
    /// The dead letter at that offset of the source partition keeps its key's records parked.
    Quarantine { key: Vec<u8>, origin: i64 },
    /// That dead letter again, to be handled before them.
    Redrive { record: Record },
    /// It is given up.
    Skip { key: Option<Vec<u8>>, origin: i64 },
}

/// What became of a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Heard {
    Parked,
    Quarantined,
    Redriven,
    Skipped,
    /// It was finished, or had been said before.
    Old,
}

/// How far a partition is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in super::super) struct Commit {
    /// The first offset of the source partition that is not finished.
    pub(in super::super) offset: i64,
    /// The same of its retry partition.
    pub(in super::super) retry_low: i64,
    /// [`RetryState`] as text; empty if nothing was ever parked.
    pub(in super::super) state: Arc<str>,
}

/// Records of the source partition, by their offsets, and of the retry partition, by theirs.
pub(in super::super) type Done = HashSet<(Place, i64)>;

/// Bounds of what is kept in memory of one partition.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Limits {
    /// Open records of the source partition.
    pub(in super::super) open: usize,
    /// Bytes of those that wait behind others.
    pub(in super::super) waiting_bytes: usize,
    /// Parked records.
    pub(in super::super) parked: usize,
    /// Bytes of parked records.
    pub(in super::super) parked_bytes: usize,
}
