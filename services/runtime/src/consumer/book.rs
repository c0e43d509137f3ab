//! What is known of the records of one partition: who may run, who waits for whom, what is parked, and how far the offsets may move.
//!
//! Pure: records, answers and the time come in; jobs, entries to be written and offsets come out. A record of the source partition is
//! open from its coming until it is handled, parked or dead-lettered, and the offset never moves past an open one. Records of one key
//! share a lane and go through it one at a time. What is parked comes back by being read from the retry partition, whether this
//! owner parked it or one before it.

mod lane;
mod state;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

pub(super) use self::{lane::LaneId, state::RetryState};

use self::lane::{Head, Lane, LaneName, Parked, Quarantine, Status};
use super::{Record, policy::Policy};

/// Where a record is until it is finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Place {
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
pub(super) struct Job {
    /// As it was in the source partition.
    pub(super) record: Record,
    pub(super) place: Place,
    /// Tries that failed.
    pub(super) attempts: u32,
    /// Tries since something was away.
    away: u32,
    lane: LaneId,
}

impl Job {
    /// The record for which the book [began](Book::begin) that lane.
    pub(super) fn new(record: Record, lane: LaneId) -> Self {
        Self { record, place: Place::Source, attempts: 0, away: 0, lane }
    }

    /// It, when it is done.
    pub(super) fn done(&self) -> (Place, i64) {
        done(self.place, &self.record)
    }
}

fn done(place: Place, record: &Record) -> (Place, i64) {
    match place {
        Place::Source => (place, record.offset),
        Place::Parked { at } => (place, at),
    }
}

/// Why a job failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    Transient,
    Retry,
    Panic,
    Poison,
    TooLarge,
}

impl Class {
    /// As dead letters say it.
    pub(super) fn name(self) -> &'static str {
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
pub(super) enum Verdict {
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
pub(super) struct Entry {
    pub(super) record: Record,
    pub(super) place: Place,
    pub(super) attempts: u32,
    pub(super) what: What,
    lane: LaneId,
}

#[cfg(test)]
impl Entry {
    pub(super) fn new(record: Record, place: Place, attempts: u32, what: What) -> Self {
        Self { record, place, attempts, what, lane: 0 }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// The record goes to the retry partition.
    Park,
    /// It goes to the dead-letter topic, and its key may be quarantined.
    Die { class: Class, error: String, quarantine: bool },
}

/// What became of a record that came.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Admitted {
    /// Nothing stands before it. If it is not finished at once, [`Book::begin`] it.
    Free(Record),
    /// It waits in its lane, or is about to be parked.
    Kept,
    /// It is finished already.
    Repeated,
}

/// What a record of the retry partition says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Word {
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
pub(super) enum Heard {
    Parked,
    Quarantined,
    Redriven,
    Skipped,
    /// It was finished, or had been said before.
    Old,
}

/// How far a partition is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Commit {
    /// The first offset of the source partition that is not finished.
    pub(super) offset: i64,
    /// The same of its retry partition.
    pub(super) retry_low: i64,
    /// [`RetryState`] as text; empty if nothing was ever parked.
    pub(super) state: Arc<str>,
}

/// Records of the source partition, by their offsets, and of the retry partition, by theirs.
pub(super) type Done = HashSet<(Place, i64)>;

/// Bounds of what is kept in memory of one partition.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Open records of the source partition.
    pub(super) open: usize,
    /// Bytes of those that wait behind others.
    pub(super) waiting_bytes: usize,
    /// Parked records.
    pub(super) parked: usize,
    /// Bytes of parked records.
    pub(super) parked_bytes: usize,
}

/// An unfinished record of the retry partition.
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
            encoded: None,
        }
    }

    // Records of the source partition.

    /// A record came.
    pub(super) fn admit(&mut self, record: Record) -> Admitted {
        if record.offset < self.position {
            return Admitted::Repeated;
        }
        self.position = record.offset + 1;
        if self.lanes.is_empty() {
            return Admitted::Free(record);
        }
        match self.lane_of(&record).and_then(|id| self.lanes.get(&id)) {
            None => Admitted::Free(record),
            Some(lane) if lane.knows(record.offset) => Admitted::Repeated,
            Some(_) => {
                self.enter(record);
                Admitted::Kept
            }
        }
    }

    /// A free record of that offset and key is not finished at once: it is open, and being handled.
    pub(super) fn begin(&mut self, offset: i64, key: Option<&[u8]>) -> LaneId {
        self.open.insert(offset);
        let id = self.lane(self.name(offset, key));
        if let Some(lane) = self.lanes.get_mut(&id) {
            lane.status = Status::Running;
            lane.running = Some((Place::Source, offset));
        }
        id
    }

    /// A record is open, and takes its turn in its lane.
    pub(super) fn enter(&mut self, record: Record) -> LaneId {
        self.open.insert(record.offset);
        let id = self.lane(self.name(record.offset, record.key.as_deref()));
        let Some(lane) = self.lanes.get_mut(&id) else { return id };
        if lane.holds() {
            self.park(record, 0, id);
        } else {
            self.waiting_bytes += record.bytes();
            lane.waiting.push_back(record);
            self.schedule(id);
        }
        id
    }

    /// A free record is open until it is [closed](Book::close), outside of any lane.
    pub(super) fn open(&mut self, offset: i64) {
        self.open.insert(offset);
    }

    /// It is finished.
    pub(super) fn close(&mut self, offset: i64) {
        self.open.remove(&offset);
    }

    /// Whether it is not finished.
    pub(super) fn is_open(&self, offset: i64) -> bool {
        self.open.contains(&offset)
    }

    // Jobs.

    /// The next job that may run now.
    pub(super) fn next(&mut self, now: Instant) -> Option<Job> {
        while let Some(&(due, id)) = self.due.first().filter(|(due, _)| *due <= now) {
            self.due.remove(&(due, id));
            if let Some(lane) = self.lanes.get_mut(&id) {
                lane.status = Status::Ready;
                self.ready.push_back(id);
            }
        }
        if self.stopped {
            return None;
        }
        while let Some(id) = self.ready.pop_front() {
            // One that ran by its own name meanwhile is still listed here.
            if self.lanes.get(&id).is_some_and(|lane| lane.status == Status::Ready)
                && let Some(job) = self.run(id)
            {
                return Some(job);
            }
        }
        None
    }

    /// The record of the source partition that may run now in that lane.
    pub(super) fn next_in(&mut self, id: LaneId, now: Instant) -> Option<Job> {
        let lane = self.lanes.get(&id).filter(|lane| !lane.holds() && !self.stopped)?;
        match lane.status {
            Status::Due(due) if due <= now => {
                self.due.remove(&(due, id));
            }
            Status::Ready => {}
            Status::Idle | Status::Due(_) | Status::Running => return None,
        }
        self.run(id)
    }

    /// When there may be a next job; none: when something else happens.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.due.first().map(|(due, _)| *due)
    }

    /// When there may be one in that lane.
    pub(super) fn next_due_in(&self, id: LaneId) -> Option<Instant> {
        match self.lanes.get(&id)?.status {
            Status::Due(due) => Some(due),
            Status::Idle | Status::Ready | Status::Running => None,
        }
    }

    /// The job is done.
    pub(super) fn succeed(&mut self, job: &Job) {
        match job.place {
            Place::Source => {
                self.open.remove(&job.record.offset);
            }
            Place::Parked { at } => self.finish(at),
        }
        self.leave(job.lane);
        self.schedule(job.lane);
    }

    /// The job failed. `random` is between 0 and 1.
    pub(super) fn fail(&mut self, job: Job, class: Class, error: String, (now, random): (Instant, f64)) -> Verdict {
        let policy = Arc::clone(&self.policy);
        match class {
            Class::Transient => {
                let away = job.away + 1;
                let wait = Policy::wait_for_away(away, random);
                self.again(Job { away, ..job }, now, wait)
            }
            Class::Poison | Class::TooLarge => self.bury(job, class, error),
            Class::Retry | Class::Panic => {
                let attempts = job.attempts + 1;
                let job = Job { attempts, away: 0, ..job };
                if policy.attempts.is_some_and(|most| attempts >= most) {
                    return self.bury(job, class, error);
                }
                let wait = policy.wait(attempts, random);
                match (job.place, &policy.retry_topic) {
                    (Place::Source, Some(_)) => {
                        let lane = job.lane;
                        self.leave(lane);
                        self.park(job.record, attempts, lane);
                        self.park_waiting(lane);
                        self.schedule(lane);
                        Verdict::Parks
                    }
                    (Place::Source, None) => self.again(job, now, wait),
                    (Place::Parked { at }, _) => {
                        let lane_id = job.lane;
                        self.leave(lane_id);
                        if let Some(unfinished) = self.unfinished.get_mut(&at) {
                            unfinished.attempts = attempts;
                            self.encoded = None;
                        }
                        if let Some(lane) = self.lanes.get_mut(&lane_id) {
                            let due = now + wait;
                            lane.parked.insert(job.record.offset, Parked { at, attempts, due, record: job.record });
                        }
                        self.schedule(lane_id);
                        Verdict::Waits(wait)
                    }
                }
            }
        }
    }

    // What is written.

    /// Whether something is to be written, and nothing is being.
    pub(super) fn must_write(&self) -> bool {
        self.writing.is_empty() && !self.outgoing.is_empty()
    }

    /// Takes entries to be written, in their order, and the offsets that are true once they are.
    pub(super) fn write(&mut self, most: usize, most_bytes: usize) -> Commit {
        let mut bytes = 0;
        while self.writing.len() < most
            && let Some(entry) = self.outgoing.pop_front_if(|entry| {
                bytes += entry.record.bytes();
                bytes <= most_bytes
            })
        {
            self.writing.push(entry);
        }
        if self.writing.is_empty() {
            // One that is larger than all of that.
            self.writing.extend(self.outgoing.pop_front());
        }
        self.commit_if(&self.writing.iter().map(|entry| done(entry.place, &entry.record)).collect())
    }

    /// What is being written.
    pub(super) fn writing(&self) -> &[Entry] {
        &self.writing
    }

    /// It is written.
    pub(super) fn written(&mut self) {
        for entry in std::mem::take(&mut self.writing) {
            match entry.place {
                Place::Source => {
                    self.open.remove(&entry.record.offset);
                }
                Place::Parked { at } => self.finish(at),
            }
            if let Some(lane) = self.lanes.get_mut(&entry.lane) {
                lane.dying = false;
                self.schedule(entry.lane);
            }
        }
    }

    /// It is not written, none of it.
    pub(super) fn not_written(&mut self) {
        for entry in std::mem::take(&mut self.writing).into_iter().rev() {
            self.outgoing.push_front(entry);
        }
    }

    /// Of what is being written, that one does not fit where it is to go; none of it is written.
    pub(super) fn too_large(&mut self, index: usize, error: String) -> Verdict {
        let Some(entry) = self.writing.get(index).cloned() else {
            self.not_written();
            return Verdict::Parks;
        };
        if self.policy.dead_letter_topic.is_none() || entry.what != What::Park {
            self.stopped = true;
            self.not_written();
            return Verdict::Stops;
        }
        let mut quarantine = self.quarantines(&entry.record);
        if let Some(lane) = self.lanes.get_mut(&entry.lane) {
            // A key that is quarantined already stays so for the one before.
            quarantine &= lane.quarantine.is_none();
            if quarantine {
                // What is to come is the word instead of the record.
                lane.quarantine = Some(Quarantine { origin: entry.record.offset, at: None });
                self.quarantined += 1;
            } else {
                lane.coming = lane.coming.saturating_sub(1);
            }
        }
        if let Some(bytes) = self.unread.remove(&entry.record.offset) {
            self.parked_bytes = self.parked_bytes.saturating_sub(bytes);
        }
        if let Some(entry) = self.writing.get_mut(index) {
            entry.what = What::Die { class: Class::TooLarge, error, quarantine };
        }
        self.not_written();
        self.schedule(entry.lane);
        Verdict::Dies
    }

    // What is read in the retry partition.

    /// A record of the retry partition was read. `random` is between 0 and 1.
    pub(super) fn hear(&mut self, at: i64, word: Word, (now, random): (Instant, f64)) -> Heard {
        let known = self.unfinished.get(&at).map(|unfinished| unfinished.attempts);
        if at < self.heard || at < self.retry_end && known.is_none() {
            return Heard::Old;
        }
        self.heard = at + 1;
        self.encoded = None;
        self.retry_end = self.retry_end.max(at + 1);
        self.unfinished.insert(at, Unfinished { attempts: known.unwrap_or_default(), bytes: 0 });
        match word {
            Word::Parked { record, attempts } => {
                let expected = self.unread.remove(&record.offset);
                let open = self.open.contains(&record.offset);
                let id = self.lane(self.name(record.offset, record.key.as_deref()));
                if let (Some(bytes), Some(lane)) = (expected, self.lanes.get_mut(&id)) {
                    self.parked_bytes = self.parked_bytes.saturating_sub(bytes);
                    lane.coming = lane.coming.saturating_sub(1);
                }
                let fresh = expected.is_some() || !open;
                self.keep(at, record, attempts.max(known.unwrap_or_default()), fresh, (now, random))
            }
            Word::Redrive { record } => {
                let id = self.lane(self.name(record.offset, record.key.as_deref()));
                let lane = self.lanes.get_mut(&id);
                let quarantine = lane.and_then(|lane| {
                    lane.quarantine.take_if(|quarantine| quarantine.origin == record.offset && quarantine.at.is_some())
                });
                // Without order there is no quarantine; and one that was heard before a crash has lifted it then.
                let fresh = quarantine.is_some()
                    || known.is_some()
                    || !matches!(self.name(record.offset, record.key.as_deref()), LaneName::Key(_));
                self.lift(quarantine);
                match self.keep(at, record, known.unwrap_or_default(), fresh, (now, random)) {
                    Heard::Parked => Heard::Redriven,
                    heard => heard,
                }
            }
            Word::Quarantine { key, origin } => self.quarantine(at, key, origin),
            Word::Skip { key, origin } => {
                let id = key.and_then(|key| self.keys.get(key.as_slice()).copied());
                let quarantine = id.and_then(|id| self.lanes.get_mut(&id)).and_then(|lane| {
                    lane.quarantine.take_if(|quarantine| quarantine.origin == origin && quarantine.at.is_some())
                });
                let lifted = quarantine.is_some();
                self.lift(quarantine);
                self.finish(at);
                if let Some(id) = id {
                    self.schedule(id);
                }
                if lifted { Heard::Skipped } else { Heard::Old }
            }
        }
    }

    /// A record of the retry partition says nothing that is understood.
    pub(super) fn hear_nothing(&mut self, at: i64) {
        self.retry_end = self.retry_end.max(at + 1);
        self.finish(at);
        self.encoded = None;
    }

    /// The retry partition was read for the first time, to its end, which is there. Returns how many records are missing that were
    /// unfinished.
    pub(super) fn heard_all(&mut self, end: i64) -> usize {
        if end > self.retry_end {
            self.retry_end = end;
            self.encoded = None;
        }
        let held: HashSet<i64> = self
            .lanes
            .values()
            .flat_map(|lane| {
                let quarantine = lane.quarantine.and_then(|quarantine| quarantine.at);
                lane.parked.values().map(|parked| parked.at).chain(quarantine)
            })
            .collect();
        let missing: Vec<i64> = self.unfinished.keys().filter(|at| !held.contains(at)).copied().collect();
        for at in &missing {
            self.finish(*at);
        }
        missing.len()
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
        let state = match &self.encoded {
            Some(state) => Arc::clone(state),
            None => {
                let state: Arc<str> = self.state(&Done::new()).encode().into();
                self.encoded = Some(Arc::clone(&state));
                state
            }
        };
        let offset = self.open.first().copied().unwrap_or(self.position);
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

    fn run(&mut self, id: LaneId) -> Option<Job> {
        let lane = self.lanes.get_mut(&id)?;
        lane.status = Status::Idle;
        let job = lane.take(id)?;
        lane.status = Status::Running;
        lane.running = Some((job.place, job.record.offset));
        if job.place == Place::Source && job.attempts == 0 && job.away == 0 {
            self.waiting_bytes = self.waiting_bytes.saturating_sub(job.record.bytes());
        }
        Some(job)
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

    /// The job is tried again where it is, and the partition waits with it.
    fn again(&mut self, job: Job, now: Instant, wait: Duration) -> Verdict {
        let id = job.lane;
        if let Some(lane) = self.lanes.get_mut(&id) {
            lane.status = Status::Idle;
            lane.running = None;
            lane.again = Some((job, now + wait));
            if !std::mem::replace(&mut lane.stalls, true) {
                self.stalled += 1;
            }
        }
        self.schedule(id);
        Verdict::Waits(wait)
    }

    fn park(&mut self, record: Record, attempts: u32, id: LaneId) {
        let bytes = record.bytes();
        self.unread.insert(record.offset, bytes);
        self.parked_bytes += bytes;
        if let Some(lane) = self.lanes.get_mut(&id) {
            lane.coming += 1;
        }
        self.outgoing.push_back(Entry { record, place: Place::Source, attempts, what: What::Park, lane: id });
    }

    /// What waits in the lane goes behind what is parked of it.
    fn park_waiting(&mut self, id: LaneId) {
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        for record in std::mem::take(&mut lane.waiting) {
            self.waiting_bytes = self.waiting_bytes.saturating_sub(record.bytes());
            self.park(record, 0, id);
        }
    }

    fn quarantines(&self, record: &Record) -> bool {
        self.policy.retry_topic.is_some() && matches!(self.name(record.offset, record.key.as_deref()), LaneName::Key(_))
    }

    fn bury(&mut self, job: Job, class: Class, error: String) -> Verdict {
        if self.policy.dead_letter_topic.is_none() {
            self.stopped = true;
            return Verdict::Stops;
        }
        let id = job.lane;
        self.leave(id);
        let quarantine = self.quarantines(&job.record);
        if let Some(lane) = self.lanes.get_mut(&id) {
            if quarantine {
                lane.quarantine = Some(Quarantine { origin: job.record.offset, at: None });
                lane.coming += 1;
                self.quarantined += 1;
            } else {
                lane.dying = true;
            }
        }
        let what = What::Die { class, error, quarantine };
        let entry = Entry { record: job.record, place: job.place, attempts: job.attempts, what, lane: id };
        self.outgoing.push_back(entry);
        if quarantine {
            self.park_waiting(id);
        }
        self.schedule(id);
        Verdict::Dies
    }

    /// A parked record takes its place in its lane, unless it is there already.
    fn keep(&mut self, at: i64, record: Record, attempts: u32, fresh: bool, (now, random): (Instant, f64)) -> Heard {
        let id = self.lane(self.name(record.offset, record.key.as_deref()));
        let origin = record.offset;
        let mut kept = false;
        if let Some(lane) = self.lanes.get_mut(&id)
            && fresh
            && !lane.knows(origin)
        {
            let bytes = record.bytes();
            self.parked_bytes += bytes;
            self.unfinished.insert(at, Unfinished { attempts, bytes });
            let wait = if attempts == 0 { Duration::ZERO } else { self.policy.wait(attempts, random) };
            lane.parked.insert(origin, Parked { at, attempts, due: now + wait, record });
            kept = true;
        }
        if !kept {
            self.finish(at);
        }
        self.schedule(id);
        if kept { Heard::Parked } else { Heard::Old }
    }

    fn quarantine(&mut self, at: i64, key: Vec<u8>, origin: i64) -> Heard {
        let id = self.lane(LaneName::Key(key.into()));
        let Some(lane) = self.lanes.get_mut(&id) else { return Heard::Old };
        match &mut lane.quarantine {
            Some(quarantine) if quarantine.origin == origin && quarantine.at.is_none() => {
                quarantine.at = Some(at);
                lane.coming = lane.coming.saturating_sub(1);
                return Heard::Quarantined;
            }
            Some(_) => {
                self.finish(at);
                return Heard::Old;
            }
            None => {}
        }
        lane.quarantine = Some(Quarantine { origin, at: Some(at) });
        self.quarantined += 1;
        // It died before its place in the retry partition could be given up.
        if let Some(parked) = lane.parked.remove(&origin) {
            self.finish(parked.at);
        }
        self.schedule(id);
        Heard::Quarantined
    }

    fn lift(&mut self, quarantine: Option<Quarantine>) {
        if let Some(quarantine) = quarantine {
            self.quarantined -= 1;
            if let Some(at) = quarantine.at {
                self.finish(at);
            }
        }
    }

    fn finish(&mut self, at: i64) {
        if let Some(finished) = self.unfinished.remove(&at) {
            self.parked_bytes = self.parked_bytes.saturating_sub(finished.bytes);
            self.encoded = None;
        }
    }
}
