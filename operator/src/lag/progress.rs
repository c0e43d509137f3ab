//! How offsets move: rates over a window, how long a commit stands still, what was removed before it was read. Pure.

use std::{collections::VecDeque, time::Duration};

use super::readings::RATE_WINDOW;

/// Offsets of the last while.
#[derive(Clone, Debug, Default)]
pub struct Movement {
    /// Milliseconds since the Unix epoch, and the offset then; a little more than the window.
    samples: VecDeque<(i64, i64)>,
    /// Offsets passed since the first sample.
    total: u64,
}

impl Movement {
    /// The offset at a time. One that went back begins anew: an offset was set, or a topic was made anew.
    pub fn sample(&mut self, offset: i64, now: i64) {
        match self.samples.back() {
            Some((_, last)) if *last > offset => self.samples.clear(),
            Some((_, last)) => self.total = self.total.saturating_add(offset.abs_diff(*last)),
            None => {}
        }
        self.samples.push_back((now, offset));
        let window = i64::try_from(RATE_WINDOW.as_millis()).unwrap_or(i64::MAX);
        while self.samples.get(1).is_some_and(|(at, _)| now - at >= window) {
            self.samples.pop_front();
        }
    }

    /// Offsets a second over the window; none before the second sample.
    pub fn rate(&self) -> Option<f64> {
        let ((since, from), (until, to)) = (self.samples.front()?, self.samples.back()?);
        (until > since).then(|| (to - from) as f64 * 1_000.0 / (until - since) as f64)
    }

    /// Offsets passed since the first sample.
    pub fn total(&self) -> u64 {
        self.total
    }
}

/// A group's way through a partition.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// Its commits.
    pub commits: Movement,
    last: Option<i64>,
    /// Since when the commit has not moved though something waits.
    still_since: Option<i64>,
    /// Up to where lost records are counted.
    lost_to: Option<i64>,
    lost: u64,
}

impl Progress {
    /// The commit at a time; none: the group has committed nothing there.
    pub fn commit(&mut self, committed: Option<i64>, log_start: Option<i64>, now: i64) {
        if self.last != committed {
            self.still_since = None;
            self.last = committed;
        }
        let Some(committed) = committed else { return };
        self.commits.sample(committed, now);
        // What is counted is not counted again.
        let from = self.lost_to.map_or(committed, |to| to.max(committed));
        if let Some(start) = log_start.filter(|start| *start > from) {
            self.lost = self.lost.saturating_add(start.abs_diff(from));
            self.lost_to = Some(start);
        }
    }

    /// Whether something waits at a time: how long the commit has not moved while it did.
    pub fn stuck_for(&mut self, waits: bool, now: i64) -> Duration {
        if !waits {
            self.still_since = None;
            return Duration::ZERO;
        }
        let since = *self.still_since.get_or_insert(now);
        Duration::from_millis(u64::try_from(now - since).unwrap_or(0))
    }

    /// Records that were removed before they were read.
    pub fn lost(&self) -> u64 {
        self.lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_what_passed_in_the_window_and_unknown_before_the_second_look() {
        let mut movement = Movement::default();
        movement.sample(100, 0);
        assert_eq!(movement.rate(), None);
        for look in 1..=6 {
            movement.sample(100 + look * 50, look * 5_000);
        }
        assert_eq!(movement.rate(), Some(10.0));
        for look in 7..=12 {
            movement.sample(400, look * 5_000);
        }
        assert_eq!(movement.rate(), Some(0.0), "what was before the window is forgotten");
        assert_eq!(movement.total(), 300);
        assert!(movement.samples.len() <= 8);
    }

    #[test]
    fn an_offset_that_is_set_back_has_no_rate_and_takes_nothing_from_the_total() {
        let mut movement = Movement::default();
        for (offset, now) in [(10, 0), (20, 5_000), (0, 10_000)] {
            movement.sample(offset, now);
        }
        assert_eq!((movement.rate(), movement.total()), (None, 10));
        movement.sample(5, 15_000);
        assert_eq!((movement.rate(), movement.total()), (Some(1.0), 15));
    }

    #[test]
    fn a_commit_is_stuck_from_when_something_waits_until_it_moves() {
        let mut progress = Progress::default();
        let mut look = |committed, waits, now| {
            progress.commit(Some(committed), None, now);
            progress.stuck_for(waits, now).as_secs()
        };
        assert_eq!(look(5, false, 0), 0);
        assert_eq!(look(5, false, 60_000), 0, "nothing waits");
        assert_eq!(look(5, true, 65_000), 0, "since now");
        assert_eq!(look(5, true, 75_000), 10);
        assert_eq!(look(6, true, 80_000), 0, "it moved");
        assert_eq!(look(6, true, 90_000), 10);
        assert_eq!(look(6, false, 95_000), 0, "what waited turned out to be nothing");
    }

    #[test]
    fn records_removed_before_they_were_read_are_counted_once() {
        let mut progress = Progress::default();
        let mut lost = |committed, start| {
            progress.commit(committed, start, 0);
            progress.lost()
        };
        assert_eq!(lost(None, Some(7)), 0, "who never committed had nothing to lose");
        assert_eq!(lost(Some(10), None), 0, "unknown");
        assert_eq!(lost(Some(10), Some(10)), 0);
        assert_eq!(lost(Some(10), Some(25)), 15);
        assert_eq!(lost(Some(10), Some(25)), 15, "the same");
        assert_eq!(lost(Some(10), Some(30)), 20);
        assert_eq!(lost(Some(40), Some(30)), 20);
        assert_eq!(lost(Some(40), Some(41)), 21);
    }
}
