//! What is to be written: records to be parked, and dead letters.

use super::{Book, Class, Commit, Entry, Place, Verdict, What, lane::Quarantine, terms::done};

impl Book {
    /// Whether something is to be written, and nothing is being.
    pub(in super::super) fn must_write(&self) -> bool {
        self.writing.is_empty() && !self.outgoing.is_empty()
    }

    /// Takes entries to be written, in their order, and the offsets that are true once they are.
    pub(in super::super) fn write(&mut self, most: usize, most_bytes: usize) -> Commit {
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
    pub(in super::super) fn writing(&self) -> &[Entry] {
        &self.writing
    }

    /// It is written.
    pub(in super::super) fn written(&mut self) {
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
    pub(in super::super) fn not_written(&mut self) {
        for entry in std::mem::take(&mut self.writing).into_iter().rev() {
            self.outgoing.push_front(entry);
        }
    }

    /// Of what is being written, that one does not fit where it is to go; none of it is written.
    pub(in super::super) fn too_large(&mut self, index: usize, error: String) -> Verdict {
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
}
