//! What scaling is told: a processor's pods, its group and its partitions as they were measured in one cycle. Plain figures, so that a
//! simulated group gives the same as a real one.

use std::time::Duration;

/// A rate speaks of the pods that there are once they have been the same for so long.
pub use crate::lag::RATE_WINDOW;

/// What was measured.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Measured {
    /// Pods that the Deployment asks for.
    pub pods: i32,
    /// Pods that are ready.
    pub ready: i32,
    /// Whether the group stands still: its partitions are with its members, and nobody comes or goes. None while unknown.
    pub stable: Option<bool>,
    /// Whether every partition of what is read has all its replicas.
    pub replicated: bool,
    /// Records that wait: behind, or to be tried again. None while unknown.
    pub waiting: Option<i64>,
    /// Partitions that there are, where that is known.
    pub partitions: Option<i32>,
    /// Each partition; none while one of them is unknown.
    pub loads: Option<Vec<Load>>,
}

/// A partition.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Load {
    /// `topic/partition`, for a sentence.
    pub name: String,
    /// Records behind.
    pub lag: i64,
    /// Age of the oldest unprocessed record in seconds, where it is known.
    pub age: Option<f64>,
    /// Records written to it, in records/s.
    pub produced: f64,
    /// Records that the group handles of it, in records/s.
    pub consumed: f64,
}

impl Load {
    /// Whether it is behind by more than what is always on its way.
    pub fn is_late(&self, grace: Duration) -> bool {
        let grace = grace.as_secs_f64();
        match self.age {
            Some(age) => self.lag > 0 && age > grace,
            None => self.lag as f64 > self.produced.max(self.consumed) * grace,
        }
    }

    /// Records/s that it needs so that its backlog is gone within `target`; what is younger than `grace` is no backlog.
    pub fn work(&self, target: Duration, grace: Duration) -> f64 {
        let fresh = self.produced * grace.as_secs_f64();
        self.produced + (self.lag as f64 - fresh).max(0.0) / target.as_secs_f64()
    }
}
