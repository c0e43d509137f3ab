//! When the records of a partition arrived: its end offset as it was sampled, kept as a line of a bounded number of points, which every
//! group that reads the partition shares. Pure.
//!
//! Between two points the line is straight. Points are the truth (the end *was* there then), and what lies between two of them arrived
//! between their times; so whatever was left out, a time is off by no more than what [`Arrival::within`] says.

use std::collections::VecDeque;

/// Most points of a line. A group that keeps up needs two or three: what every group has read is forgotten.
const POINTS: usize = 48;

/// When a record arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// Milliseconds since the Unix epoch.
    pub at: i64,
    /// By how much it may be off, in milliseconds.
    pub within: i64,
}

/// The end was at `offset` from `since` to `until`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Point {
    offset: i64,
    since: i64,
    until: i64,
    /// By how much the line from here to the next point may be off.
    slack: i64,
}

/// The line of one partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Timeline(VecDeque<Point>);

impl Timeline {
    /// The end at a time; times do not go back. An end that did, did so because records were lost with a broker, or the topic was made anew.
    pub fn sample(&mut self, end: i64, now: i64) {
        while self.0.back().is_some_and(|last| last.offset > end) {
            self.0.pop_back();
        }
        match self.0.back_mut() {
            Some(last) if last.offset == end => last.until = last.until.max(now),
            last => {
                if let Some(last) = last {
                    last.slack = now - last.until;
                }
                self.0.push_back(Point { offset: end, since: now, until: now, slack: 0 });
                self.bound();
            }
        }
    }

    /// A record that was read, and its time. Such a time is whatever its producer says; it is believed within what the samples allow.
    pub fn learn(&mut self, offset: i64, time: i64) {
        let after = self.0.partition_point(|point| point.offset <= offset);
        let Some(next) = self.0.get(after).copied() else { return };
        let before = after.checked_sub(1).and_then(|at| self.0.get_mut(at));
        let at = time.min(next.since).max(before.as_ref().map_or(i64::MIN, |point| point.until));
        let mut slack = i64::MAX;
        if let Some(point) = before {
            // What the line was off by, and what it is moved by.
            slack = point.slack.saturating_add((at - estimate(point, &next, offset)).abs());
            if point.offset < offset {
                point.slack = slack.min(at - point.until);
            }
        }
        // The record's place is between two points of its time.
        if offset + 1 < next.offset {
            let slack = slack.min(next.since - at);
            self.0.insert(after, Point { offset: offset + 1, since: at, until: at, slack });
        } else if let Some(next) = self.0.get_mut(after) {
            next.since = at;
        }
        match after.checked_sub(1).and_then(|at| self.0.get_mut(at)) {
            Some(point) if point.offset == offset => (point.until, point.slack) = (at, 0),
            _ => self.0.insert(after, Point { offset, since: at, until: at, slack: 0 }),
        }
        self.bound();
    }

    /// When the record at `offset` arrived; none where nothing is known from before it, and where it has not arrived.
    pub fn arrival(&self, offset: i64) -> Option<Arrival> {
        let after = self.0.partition_point(|point| point.offset <= offset);
        let (point, next) = (self.0.get(after.checked_sub(1)?)?, self.0.get(after)?);
        let mut at = estimate(point, next, offset);
        let width = next.since - point.until;
        if point.slack >= width {
            // Nothing is known of the time between: they may have come evenly, or all at once. Half way to the middle is not far from either.
            at = i64::midpoint(at, point.until + width / 2);
        }
        Some(Arrival { at, within: point.slack })
    }

    /// No record before `offset` will be asked for.
    pub fn forget_before(&mut self, offset: i64) {
        while self.0.get(1).is_some_and(|second| second.offset <= offset) {
            self.0.pop_front();
        }
    }

    /// Leaves points out while there are too many: first where that costs least for the age of the records.
    fn bound(&mut self) {
        let now = self.0.back().map_or(0, |last| last.until);
        while self.0.len() > POINTS {
            let costs = (1..self.0.len() - 1).filter_map(|at| Some((at, self.without(at)?)));
            // Relative to their age, in thousandths.
            let relative = |(at, slack): &(usize, i64)| {
                let age = self.0.get(*at).map_or(1, |point| (now - point.since).max(1));
                slack.saturating_mul(1_000) / age
            };
            let Some((at, slack)) = costs.min_by_key(relative) else { return };
            self.0.remove(at);
            if let Some(before) = self.0.get_mut(at - 1) {
                before.slack = slack;
            }
        }
    }

    /// By how much the line would be off without a point.
    fn without(&self, at: usize) -> Option<i64> {
        let (before, point, next) = (self.0.get(at.checked_sub(1)?)?, self.0.get(at)?, self.0.get(at + 1)?);
        let line = between(before, next, i128::from(point.offset - before.offset) * 2);
        // A millisecond for the fractions of it that are cut off.
        let moved = (line - point.since).abs().max((line - point.until).abs()) + 1;
        Some((before.slack.max(point.slack) + moved).min(next.since - before.until))
    }
}

/// The time in the middle of a record's place on the line between two points.
fn estimate(point: &Point, next: &Point, offset: i64) -> i64 {
    between(point, next, i128::from(offset - point.offset) * 2 + 1)
}

/// The time on the line between two points, `halves` half records from the first.
fn between(point: &Point, next: &Point, halves: i128) -> i64 {
    let (records, time) = (i128::from(next.offset - point.offset), i128::from(next.since - point.until));
    point.until + i64::try_from(time * halves / (records.max(1) * 2)).unwrap_or(0)
}

#[cfg(test)]
#[path = "timeline_tests.rs"]
mod tests;
