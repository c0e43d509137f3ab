//! Records of the source partition as they come.

use super::{Admitted, Book, LaneId, Place, lane::Status};
use crate::consumer::Record;

impl Book {
    /// A record came.
    pub(in super::super) fn admit(&mut self, record: Record) -> Admitted {
        if record.offset < self.position {
            return Admitted::Repeated;
        }
        self.position = record.offset + 1;
        if self.given_up.contains_key(&record.offset) {
            return Admitted::Repeated;
        }
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
    pub(in super::super) fn begin(&mut self, offset: i64, key: Option<&[u8]>) -> LaneId {
        self.open.insert(offset);
        let id = self.lane(self.name(offset, key));
        if let Some(lane) = self.lanes.get_mut(&id) {
            lane.status = Status::Running;
            lane.running = Some((Place::Source, offset));
        }
        id
    }

    /// A record is open, and takes its turn in its lane.
    pub(in super::super) fn enter(&mut self, record: Record) -> LaneId {
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
    pub(in super::super) fn open(&mut self, offset: i64) {
        self.open.insert(offset);
    }

    /// It is finished.
    pub(in super::super) fn close(&mut self, offset: i64) {
        self.open.remove(&offset);
    }

    /// Whether it is not finished.
    pub(in super::super) fn is_open(&self, offset: i64) -> bool {
        self.open.contains(&offset)
    }
}
