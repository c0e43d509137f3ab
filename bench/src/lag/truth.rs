//! What the load generator knows of each record: when it wrote it.

use std::sync::{Mutex, PoisonError};

/// Times of the records of one topic, by partition and offset, in milliseconds since the Unix epoch.
pub struct Truth(Vec<Mutex<Vec<i64>>>);

impl Truth {
    /// Of a topic without records.
    pub fn new(partitions: usize) -> Self {
        Self((0..partitions).map(|_| Mutex::default()).collect())
    }

    /// How many partitions there are.
    pub fn partitions(&self) -> usize {
        self.0.len()
    }

    /// A record that Kafka has taken.
    pub fn wrote(&self, partition: usize, offset: i64, time: i64) {
        let mut times = self.0[partition].lock().unwrap_or_else(PoisonError::into_inner);
        let offset = usize::try_from(offset).unwrap_or_default();
        if times.len() <= offset {
            times.resize(offset + 1, i64::MAX);
        }
        times[offset] = time;
    }

    /// The first offset that was written at or after a time: where a reader stands that is so far behind.
    pub fn at(&self, partition: usize, time: i64) -> i64 {
        let times = self.0[partition].lock().unwrap_or_else(PoisonError::into_inner);
        times.partition_point(|written| *written < time) as i64
    }

    /// Seconds that the record at an offset has been there at a time; 0 where there is none, or not yet.
    pub fn age(&self, partition: usize, offset: i64, now: i64) -> f64 {
        let times = self.0[partition].lock().unwrap_or_else(PoisonError::into_inner);
        let time = usize::try_from(offset).ok().and_then(|offset| times.get(offset)).copied();
        time.filter(|time| *time <= now).map_or(0.0, |time| (now - time) as f64 / 1_000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_as_old_as_its_writing_and_a_place_without_one_has_no_age() {
        let truth = Truth::new(1);
        for (offset, time) in [(0, 1_000), (2, 3_000), (1, 2_000)] {
            truth.wrote(0, offset, time);
        }
        assert_eq!([0, 1, 2, 3].map(|offset| truth.age(0, offset, 4_000)), [3.0, 2.0, 1.0, 0.0]);
        assert_eq!([500, 1_000, 1_001, 9_000].map(|time| truth.at(0, time)), [0, 0, 1, 3]);
    }
}
