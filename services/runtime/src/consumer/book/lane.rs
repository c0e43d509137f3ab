//! The records of one key: those that wait, those that are parked, and the one that is being handled.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Instant,
};

use super::{Job, Place};
use crate::consumer::Record;

pub(in super::super) type LaneId = u64;

/// Which lane a record belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum LaneName {
    /// With the others of its key.
    Key(Box<[u8]>),
    /// Alone, by its origin's offset: it has no key, or order does not matter.
    Alone(i64),
}

/// A record that waits in the retry partition.
#[derive(Debug)]
pub(super) struct Parked {
    pub(super) at: i64,
    pub(super) attempts: u32,
    pub(super) due: Instant,
    pub(super) record: Record,
}

/// A dead letter that keeps its key's records parked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Quarantine {
    /// The dead letter's offset in the source partition.
    pub(super) origin: i64,
    /// Where the retry partition says so; none until it was read there.
    pub(super) at: Option<i64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Status {
    #[default]
    Idle,
    Ready,
    Due(Instant),
    Running,
}

#[derive(Debug)]
pub(super) struct Lane {
    pub(super) name: LaneName,
    pub(super) status: Status,
    /// What is being handled: where it is, and its offset in the source partition.
    pub(super) running: Option<(Place, i64)>,
    /// To be tried again where it is, not before.
    pub(super) again: Option<(Job, Instant)>,
    /// Whether it keeps the partition from taking more in.
    pub(super) stalls: bool,
    /// From the source partition, in its order.
    pub(super) waiting: VecDeque<Record>,
    /// Records on their way into the retry partition that were not read there yet.
    pub(super) coming: usize,
    /// In the retry partition, by their offsets in the source partition.
    pub(super) parked: BTreeMap<i64, Parked>,
    pub(super) quarantine: Option<Quarantine>,
    /// A record of it is on its way to the dead-letter topic; until it is there, nothing of the lane goes on.
    pub(super) dying: bool,
}

/// What a lane can do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Head {
    Now,
    At(Instant),
    /// It waits for something.
    Later,
    /// There is nothing left of it.
    Gone,
}

impl Lane {
    pub(super) fn new(name: LaneName) -> Self {
        Self {
            name,
            status: Status::Idle,
            running: None,
            again: None,
            stalls: false,
            waiting: VecDeque::new(),
            coming: 0,
            parked: BTreeMap::new(),
            quarantine: None,
            dying: false,
        }
    }

    /// Whether what comes has to go behind something in the retry partition.
    pub(super) fn holds(&self) -> bool {
        self.coming > 0
            || !self.parked.is_empty()
            || self.quarantine.is_some()
            || self.running.is_some_and(|(place, _)| place != Place::Source)
            || self.again.as_ref().is_some_and(|(job, _)| job.place != Place::Source)
    }

    /// Whether the record at that offset of the source partition is parked or dead-lettered already.
    pub(super) fn knows(&self, origin: i64) -> bool {
        self.parked.contains_key(&origin)
            || self.quarantine.is_some_and(|quarantine| quarantine.origin == origin)
            || self.running.is_some_and(|(place, running)| place != Place::Source && running == origin)
            || self.again.as_ref().is_some_and(|(job, _)| job.place != Place::Source && job.record.offset == origin)
    }

    pub(super) fn head(&self) -> Head {
        if let Some((_, due)) = &self.again {
            Head::At(*due)
        } else if self.quarantine.is_some() || self.dying {
            Head::Later
        } else if let Some((_, parked)) = self.parked.first_key_value() {
            Head::At(parked.due)
        } else if self.coming > 0 || self.running.is_some() {
            Head::Later
        } else if self.waiting.is_empty() {
            Head::Gone
        } else {
            Head::Now
        }
    }

    /// Takes out what [`Lane::head`] spoke of.
    pub(super) fn take(&mut self, lane: LaneId) -> Option<Job> {
        if let Some((job, _)) = self.again.take() {
            return Some(job);
        }
        if self.quarantine.is_some() || self.dying {
            return None;
        }
        if let Some((_, parked)) = self.parked.pop_first() {
            let place = Place::Parked { at: parked.at };
            return Some(Job { record: parked.record, place, attempts: parked.attempts, away: 0, lane });
        }
        if self.coming > 0 {
            return None;
        }
        let record = self.waiting.pop_front()?;
        Some(Job::new(record, lane))
    }
}
