//! What is known of the records of one partition: who may run, who waits for whom, what is parked, and how far the offsets may move.
//!
//! Pure: records, answers and the time come in; jobs, entries to be written and offsets come out. A record of the source partition is
//! open from its coming until it is handled, parked or dead-lettered, and the offset never moves past an open one. Records of one key
//! share a lane and go through it one at a time. What is parked comes back by being read from the retry partition, whether this
//! owner parked it or one before it.

mod hearing;
mod jobs;
mod lane;
mod source;
mod state;
mod terms;
#[cfg(test)]
mod tests;
mod writing;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::Arc,
    time::Instant,
};

pub(super) use self::{
    lane::LaneId,
    state::RetryState,
    terms::{Admitted, Class, Commit, Done, Entry, Heard, Job, Limits, Place, Verdict, What, Word},
};

use self::lane::{Head, Lane, LaneName, Status};
use super::{Record, policy::Policy};

#[derive(Clone, Copy, Debug, Default)]
struct Unfinished {
    attempts: u32,
    bytes: usize,
}

/// The book of one partition.
#[derive(Debug)]
pub(super) struct Book {
    policy: Arc<Policy>,
    limits: Limits,
    /// The first offset of the source partition that has not come.
    position: i64,
    open: BTreeSet<i64>,
    lanes: HashMap<LaneId, Lane>,
    keys: HashMap<Box<[u8]>, LaneId>,
    alone: HashMap<i64, LaneId>,
    next_lane: LaneId,
    ready: VecDeque<LaneId>,
    due: BTreeSet<(Instant, LaneId)>,
    stalled: usize,
    stopped: bool,
    waiting_bytes: usize,
    outgoing: VecDeque<Entry>,
    writing: Vec<Entry>,
    /// Origins that were parked, until they are read from the retry partition, with their sizes.
    unread: HashMap<i64, usize>,
    retry_end: i64,
    /// The first offset of the retry partition that was not read.
    heard: i64,
    unfinished: BTreeMap<i64, Unfinished>,
    parked_bytes: usize,
    quarantined: usize,
    /// Dead letters that are given up, by their offsets in the source partition, from which they may come again as long as an earlier record
    /// is open; and where the retry partition says so, which is not finished until then.
    given_up: BTreeMap<i64, [i64; 2]>,
    /// The retry state as text, while it is true.
    encoded: Option<Arc<str>>,
}

impl Book {
    /// Of a partition whose next record is at `position`, and whose retry partition is so far.
    pub(super) fn new(policy: Arc<Policy>, limits: Limits, position: i64, retry: &RetryState) -> Self {
        let kept = |attempts: &u32| Unfinished { attempts: *attempts, bytes: 0 };
        Self {
            policy,
            limits,
            position,
            open: BTreeSet::new(),
            lanes: HashMap::new(),
            keys: HashMap::new(),
            alone: HashMap::new(),
            next_lane: 0,
            ready: VecDeque::new(),
            due: BTreeSet::new(),
            stalled: 0,
            stopped: false,
            waiting_bytes: 0,
            outgoing: VecDeque::new(),
            writing: Vec::new(),
            unread: HashMap::new(),
            retry_end: retry.end,
            heard: 0,
            unfinished: retry.unfinished.iter().map(|(offset, attempts)| (*offset, kept(attempts))).collect(),
            parked_bytes: 0,
            quarantined: 0,
            given_up: BTreeMap::new(),
            encoded: None,
        }
    }

    // How it stands.

    /// Whether another record of the source partition may come.
    pub(super) fn wants_more(&self) -> bool {
        !self.stopped
            && self.stalled == 0
            && self.open.len() < self.limits.open
            && self.waiting_bytes < self.limits.waiting_bytes
            && !self.is_full()
    }

    /// Whether as much is parked as may be.
    pub(super) fn is_full(&self) -> bool {
        self.parked() >= self.limits.parked || self.parked_bytes >= self.limits.parked_bytes
    }

    /// Whether a record has stopped the partition.
    pub(super) fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// Records that came and are not finished.
    pub(super) fn opened(&self) -> usize {
        self.open.len()
    }

    /// Records that are parked, or about to be.
    pub(super) fn parked(&self) -> usize {
        self.unfinished.len() + self.unread.len()
    }

    /// Keys that are quarantined.
    pub(super) fn quarantined(&self) -> usize {
        self.quarantined
    }

    /// How far the partition is.
    pub(super) fn commit(&mut self) -> Commit {
        let offset = self.offset();
        while let Some(given_up) = self.given_up.first_entry().filter(|given_up| *given_up.key() < offset) {
            for at in given_up.remove() {
                self.finish(at);
            }
        }
        let state = match &self.encoded {
            Some(state) => Arc::clone(state),
            None => {
                let state: Arc<str> = self.state(&Done::new()).encode().into();
                self.encoded = Some(Arc::clone(&state));
                state
            }
        };
        let retry_low = self.unfinished.first_key_value().map_or(self.retry_end, |(at, _)| *at);
        Commit { offset, retry_low, state }
    }

    /// How far the partition is once that is finished as well.
    pub(super) fn commit_if(&self, done: &Done) -> Commit {
        let open = self.open.iter().find(|offset| !done.contains(&(Place::Source, **offset)));
        let state = self.state(done);
        Commit { offset: open.copied().unwrap_or(self.position), retry_low: state.low(), state: state.encode().into() }
    }

    // Inside.

    /// The first offset of the source partition that is not finished.
    fn offset(&self) -> i64 {
        self.open.first().copied().unwrap_or(self.position)
    }

    fn state(&self, done: &Done) -> RetryState {
        let unfinished = self.unfinished.iter().filter(|(at, _)| !done.contains(&(Place::Parked { at: **at }, **at)));
        RetryState { end: self.retry_end, unfinished: unfinished.map(|(at, kept)| (*at, kept.attempts)).collect() }
    }

    fn name(&self, offset: i64, key: Option<&[u8]>) -> LaneName {
        match key {
            Some(key) if self.policy.ordered => LaneName::Key(key.into()),
            _ => LaneName::Alone(offset),
        }
    }

    fn lane_of(&self, record: &Record) -> Option<LaneId> {
        match &record.key {
            Some(key) if self.policy.ordered => self.keys.get(key.as_slice()).copied(),
            _ => self.alone.get(&record.offset).copied(),
        }
    }

    /// The lane of that name, new if there is none.
    fn lane(&mut self, name: LaneName) -> LaneId {
        let id = self.next_lane;
        let found = match &name {
            LaneName::Key(key) => *self.keys.entry(key.clone()).or_insert(id),
            LaneName::Alone(origin) => *self.alone.entry(*origin).or_insert(id),
        };
        if found == id {
            self.next_lane += 1;
            self.lanes.insert(id, Lane::new(name));
        }
        found
    }

    /// What is to run next in the lane, or that it ends.
    fn schedule(&mut self, id: LaneId) {
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        match lane.status {
            Status::Running | Status::Ready => return,
            Status::Due(due) => {
                self.due.remove(&(due, id));
                lane.status = Status::Idle;
            }
            Status::Idle => {}
        }
        match lane.head() {
            Head::Now => {
                lane.status = Status::Ready;
                self.ready.push_back(id);
            }
            Head::At(due) => {
                lane.status = Status::Due(due);
                self.due.insert((due, id));
            }
            Head::Later => {}
            Head::Gone => {
                match &lane.name {
                    LaneName::Key(key) => self.keys.remove(key),
                    LaneName::Alone(origin) => self.alone.remove(origin),
                };
                self.lanes.remove(&id);
            }
        }
    }

    /// What ran in the lane runs no more.
    fn leave(&mut self, id: LaneId) {
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        lane.status = Status::Idle;
        lane.running = None;
        if std::mem::take(&mut lane.stalls) {
            self.stalled -= 1;
        }
    }

    fn finish(&mut self, at: i64) {
        if let Some(finished) = self.unfinished.remove(&at) {
            self.parked_bytes = self.parked_bytes.saturating_sub(finished.bytes);
            self.encoded = None;
        }
    }
}
