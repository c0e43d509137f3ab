//! What is handled next, and what becomes of it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    Book, Class, Entry, Job, LaneId, Place, Verdict, What,
    lane::{LaneName, Parked, Quarantine, Status},
};
use crate::consumer::{Record, policy::Policy};

impl Book {
    /// The next job that may run now.
    pub(in super::super) fn next(&mut self, now: Instant) -> Option<Job> {
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
    pub(in super::super) fn next_in(&mut self, id: LaneId, now: Instant) -> Option<Job> {
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
    pub(in super::super) fn next_due(&self) -> Option<Instant> {
        self.due.first().map(|(due, _)| *due)
    }

    /// When there may be one in that lane.
    pub(in super::super) fn next_due_in(&self, id: LaneId) -> Option<Instant> {
        match self.lanes.get(&id)?.status {
            Status::Due(due) => Some(due),
            Status::Idle | Status::Ready | Status::Running => None,
        }
    }

    /// The job is done.
    pub(in super::super) fn succeed(&mut self, job: &Job) {
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
    pub(in super::super) fn fail(
        &mut self,
        job: Job,
        class: Class,
        error: String,
        (now, random): (Instant, f64),
    ) -> Verdict {
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

    pub(super) fn run(&mut self, id: LaneId) -> Option<Job> {
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

    /// The job is tried again where it is, and the partition waits with it.
    pub(super) fn again(&mut self, job: Job, now: Instant, wait: Duration) -> Verdict {
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

    pub(super) fn park(&mut self, record: Record, attempts: u32, id: LaneId) {
        let bytes = record.bytes();
        self.unread.insert(record.offset, bytes);
        self.parked_bytes += bytes;
        if let Some(lane) = self.lanes.get_mut(&id) {
            lane.coming += 1;
        }
        self.outgoing.push_back(Entry { record, place: Place::Source, attempts, what: What::Park, lane: id });
    }

    /// What waits in the lane goes behind what is parked of it.
    pub(super) fn park_waiting(&mut self, id: LaneId) {
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        for record in std::mem::take(&mut lane.waiting) {
            self.waiting_bytes = self.waiting_bytes.saturating_sub(record.bytes());
            self.park(record, 0, id);
        }
    }

    pub(super) fn quarantines(&self, record: &Record) -> bool {
        self.policy.retry_topic.is_some() && matches!(self.name(record.offset, record.key.as_deref()), LaneName::Key(_))
    }

    pub(super) fn bury(&mut self, job: Job, class: Class, error: String) -> Verdict {
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
}
