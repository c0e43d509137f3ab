//! The last reading of each processor's group, and which of them its status shows: a status that followed every record would
//! be written all the time.

use std::{
    collections::{BTreeMap, HashMap, hash_map::Entry},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::backlog::bucket;

/// A shown reading is replaced at most this often.
const INTERVAL: Duration = Duration::from_secs(30);
/// An age changes by such steps, and beyond by doubling: less than the least objective is nothing to tell.
const SECONDS: i64 = 10;
/// Unless the lag is gone, or a group is there at last: that is what people wait for.
const AWAITED: Duration = Duration::from_secs(5);
/// Rates are means over this time, as soon as it has been seen; over what has been seen before.
pub const RATE_WINDOW: Duration = Duration::from_secs(30);

/// Where a backlog is going.
pub use tidegate_crds::pipeline::LagTrend;

/// A processor's group as one cycle read it. What is unknown is none everywhere; never 0 and never -1.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reading {
    /// Kafka's name of the group's state (Stable, Empty, Rebalancing, Dead); none while unknown, or while there is no such group.
    pub state: Option<String>,
    /// Its members; none while unknown.
    pub members: Option<i32>,
    /// Records behind, over all partitions; none while one of them is unknown.
    pub lag: Option<i64>,
    /// Age of the oldest unprocessed record of any partition, in seconds; 0 where nothing waits, none while one of them is unknown.
    pub lag_seconds: Option<f64>,
    /// How fast the backlog changes, in records a second: positive while it grows. None while unknown.
    pub trend: Option<f64>,
    /// Seconds until nothing waits if it goes on as it did; none while it does not drain, or is unknown. 0 where nothing waits.
    pub drain_seconds: Option<f64>,
    /// Records a second that arrive in what it reads; none while unknown.
    pub produced_rate: Option<f64>,
    /// Records a second that it commits; none while unknown.
    pub consumed_rate: Option<f64>,
    /// Each partition that it reads, in order; empty while the topics are unknown.
    pub partitions: Vec<PartitionReading>,
    /// By topic, seconds until retention removes the oldest unprocessed record. Absent where retention has no limit, or is unknown.
    pub retention_margins: BTreeMap<String, f64>,
    /// Partitions of what it reads of which a replica is not in sync; none while unknown.
    pub under_replicated: Option<i32>,
    /// Records that wait in retry topics; none while unknown, or without such topics.
    pub retry: Option<i64>,
    /// Records in the dead-letter topic; none while unknown, or without one.
    pub dead_letters: Option<i64>,
    /// What was counted since the operator first looked.
    pub totals: Totals,
}

/// What was counted of a processor since the operator first looked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Offsets that its group has passed.
    pub consumed: u64,
    /// Offsets that were written to what it reads.
    pub produced: u64,
    /// By topic, records that were removed before they were read.
    pub lost: BTreeMap<String, u64>,
    /// Changes of the group's assignment.
    pub rebalances: u64,
}

/// A partition as its group reads it.
#[derive(Clone, Debug, PartialEq)]
pub struct PartitionReading {
    /// Topic name.
    pub topic: String,
    /// Index.
    pub partition: i32,
    /// Offset that is read next, as committed; none without a commit, or while unknown.
    pub committed: Option<i64>,
    /// Offset of the oldest record that there is; none while unknown.
    pub log_start: Option<i64>,
    /// Last stable offset: where a read_committed consumer's view ends; none while unknown.
    pub stable_end: Option<i64>,
    /// Records behind; none while unknown.
    pub lag: Option<i64>,
    /// Age of the oldest unprocessed record, in seconds; 0 where nothing waits, none while unknown.
    pub lag_seconds: Option<f64>,
    /// Records a second that it commits; none while unknown.
    pub consumed_rate: Option<f64>,
    /// Records a second that arrive; none while unknown.
    pub produced_rate: Option<f64>,
    /// How long the commit has not moved while something waited; 0 otherwise, none while unknown.
    pub stuck_for: Option<Duration>,
}

impl Reading {
    /// Where the backlog is going: what changes it by less than a hundredth of what arrives, or by less than a record in ten seconds, is
    /// steady. None while unknown.
    pub fn lag_trend(&self) -> Option<LagTrend> {
        let (trend, lag) = (self.trend?, self.lag?);
        let steady = (self.produced_rate.unwrap_or(0.0) / 100.0).max(0.1);
        Some(match trend {
            _ if lag == 0 => LagTrend::Steady,
            trend if trend > steady => LagTrend::Growing,
            trend if trend < -steady => LagTrend::Draining,
            _ => LagTrend::Steady,
        })
    }
}

/// A processor: uid of the pipeline, name.
pub type Key = (String, String);

/// What is kept of a processor.
#[derive(Debug)]
struct Kept {
    latest: (Arc<Reading>, Instant),
    shown: (Arc<Reading>, Instant),
}

/// All readings.
#[derive(Debug, Default)]
pub struct Readings(Mutex<HashMap<Key, Kept>>);

impl Readings {
    /// The newest reading, for decisions, and when it was taken; none before the first.
    pub fn latest(&self, uid: &str, processor: &str) -> Option<(Arc<Reading>, Instant)> {
        self.get(uid, processor, |kept| &kept.latest)
    }

    /// The reading that a processor's status shows.
    pub fn shown(&self, uid: &str, processor: &str) -> Option<Arc<Reading>> {
        self.get(uid, processor, |kept| &kept.shown).map(|(reading, _)| reading)
    }

    fn get(
        &self,
        uid: &str,
        processor: &str,
        which: impl Fn(&Kept) -> &(Arc<Reading>, Instant),
    ) -> Option<(Arc<Reading>, Instant)> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.get(&(uid.to_owned(), processor.to_owned())).map(|kept| which(kept).clone())
    }

    /// Takes a new reading; whether it is now shown.
    pub fn take(&self, key: Key, reading: impl Into<Arc<Reading>>, now: Instant) -> bool {
        let latest = (reading.into(), now);
        match self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(key) {
            Entry::Vacant(place) => {
                place.insert(Kept { latest: latest.clone(), shown: latest });
                true
            }
            Entry::Occupied(mut place) => {
                let kept = place.get_mut();
                let (old, since) = &kept.shown;
                let show = is_news(old, &latest.0, now.saturating_duration_since(*since));
                if show {
                    kept.shown = latest.clone();
                }
                kept.latest = latest;
                show
            }
        }
    }

    /// Forgets all but the processors that there are.
    pub fn retain(&self, exists: impl Fn(&Key) -> bool) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|key, _| exists(key));
    }
}

/// What a status shows of lag, as coarsely as it is worth writing.
fn magnitude(reading: &Reading) -> (Option<u32>, Option<u32>, Option<LagTrend>) {
    let seconds = reading.lag_seconds.map(|seconds| seconds as i64 / SECONDS);
    // Where a backlog of seconds is going is nothing to tell.
    let trend = reading.lag_trend().filter(|_| seconds.is_some_and(|tens| tens > 0));
    (bucket(reading.lag), bucket(seconds), trend)
}

fn is_news(old: &Reading, new: &Reading, age: Duration) -> bool {
    let is_gone = |old: Option<i64>, new: Option<i64>| new == Some(0) && old != Some(0);
    let gone = is_gone(old.lag, new.lag) || is_gone(old.retry, new.retry);
    let come = (old.lag.is_none() && new.lag.is_some()) || (old.members.unwrap_or(0) == 0 && new.members > Some(0));
    // Lag moves all the time; that a record fails is the exception, and people count those.
    let lag = magnitude(old) != magnitude(new);
    let failures = (old.retry, old.dead_letters) != (new.retry, new.dead_letters);
    let other = lag || failures || old.members != new.members || old.state != new.state;
    ((gone || come) && age >= AWAITED) || (other && age >= INTERVAL)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(lag: i64) -> Reading {
        Reading { state: Some("Stable".into()), members: Some(1), lag: Some(lag), ..Reading::default() }
    }

    #[test]
    fn what_is_shown_changes_by_magnitude_and_not_too_often_and_soon_when_the_lag_is_gone() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let key = || ("uid".to_owned(), "ledger".to_owned());
        let readings = Readings::default();
        assert!(readings.take(key(), reading(100), at(0)), "the first");
        assert!(!readings.take(key(), reading(9_000), at(10)), "too soon");
        assert!(!readings.take(key(), reading(101), at(40)), "the same magnitude");
        assert!(readings.take(key(), reading(9_000), at(41)));
        assert!(!readings.take(key(), reading(0), at(42)), "too soon even for that");
        assert!(readings.take(key(), reading(0), at(47)), "gone");
        assert!(readings.take(key(), Reading::default(), at(80)), "unknown");
        assert_eq!(readings.shown("uid", "ledger").as_deref(), Some(&Reading::default()));
        let old = |seconds| Reading { lag_seconds: Some(seconds), ..Reading::default() };
        assert!(!readings.take(key(), old(9.0), at(109)), "too soon");
        assert!(readings.take(key(), old(9.0), at(111)), "known");
        for (seconds, news) in [(2.0, false), (10.0, true), (19.0, false), (20.0, true), (39.9, false), (80.0, true)] {
            let readings = Readings::default();
            readings.take(key(), old(if seconds < 15.0 { 9.0 } else { seconds / 1.5 }), at(0));
            assert_eq!(readings.take(key(), old(seconds), at(60)), news, "{seconds}");
        }
        let readings = Readings::default();
        assert!(readings.take(key(), Reading::default(), at(0)), "nothing is known of a new one");
        assert!(readings.take(key(), Reading { members: None, ..reading(3) }, at(5)), "its lag is known");
        assert!(readings.take(key(), reading(3), at(10)), "it has members");
        assert!(!readings.take(key(), Reading::default(), at(20)), "what is not known for a moment is not told");
        assert!(readings.take(key(), old(9.0), at(111)), "known no more");
        let dead = |dead_letters| Reading { dead_letters: Some(dead_letters), ..Reading::default() };
        assert!(readings.take(key(), dead(7), at(150)), "a dead letter is news, whatever the lag");
        assert!(!readings.take(key(), dead(6), at(170)), "too soon");
        assert!(readings.take(key(), dead(6), at(180)), "each counts, whatever the magnitude");
        assert_eq!(readings.shown("uid", "ledger").as_deref(), Some(&dead(6)));
        readings.retain(|_| false);
        assert_eq!(readings.shown("uid", "ledger"), None);
    }
}
