//! What is read in the retry partition.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use super::{
    Book, Heard, Unfinished, Word,
    lane::{LaneName, Parked, Quarantine},
};
use crate::consumer::Record;

impl Book {
    /// A record of the retry partition was read. `random` is between 0 and 1.
    pub(in super::super) fn hear(&mut self, at: i64, word: Word, (now, random): (Instant, f64)) -> Heard {
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
                match quarantine.and_then(|quarantine| quarantine.at) {
                    Some(said) if origin >= self.offset() => {
                        self.quarantined -= 1;
                        self.given_up.insert(origin, [said, at]);
                    }
                    _ => {
                        self.lift(quarantine);
                        self.finish(at);
                    }
                }
                if let Some(id) = id {
                    self.schedule(id);
                }
                if lifted { Heard::Skipped } else { Heard::Old }
            }
        }
    }

    /// A record of the retry partition says nothing that is understood.
    pub(in super::super) fn hear_nothing(&mut self, at: i64) {
        self.retry_end = self.retry_end.max(at + 1);
        self.finish(at);
        self.encoded = None;
    }

    /// The retry partition was read for the first time, to its end, which is there. Returns how many records are missing that were
    /// unfinished.
    pub(in super::super) fn heard_all(&mut self, end: i64) -> usize {
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
            .chain(self.given_up.values().flatten().copied())
            .collect();
        let missing: Vec<i64> = self.unfinished.keys().filter(|at| !held.contains(at)).copied().collect();
        for at in &missing {
            self.finish(*at);
        }
        missing.len()
    }

    /// A parked record takes its place in its lane, unless it is there already.
    pub(super) fn keep(
        &mut self,
        at: i64,
        record: Record,
        attempts: u32,
        fresh: bool,
        (now, random): (Instant, f64),
    ) -> Heard {
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

    pub(super) fn quarantine(&mut self, at: i64, key: Vec<u8>, origin: i64) -> Heard {
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

    pub(super) fn lift(&mut self, quarantine: Option<Quarantine>) {
        if let Some(quarantine) = quarantine {
            self.quarantined -= 1;
            if let Some(at) = quarantine.at {
                self.finish(at);
            }
        }
    }
}
