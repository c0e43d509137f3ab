//! The last reading of each processor's group, and which of them its status shows: a status that followed every record would
//! be written all the time.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::compute::bucket;

/// A shown reading is replaced at most this often.
const INTERVAL: Duration = Duration::from_secs(30);
/// Unless the lag is gone: that is what people wait for.
const GONE: Duration = Duration::from_secs(5);

/// A group as it was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Kafka's name of its state; none while unknown.
    pub state: Option<String>,
    /// Its members; none while unknown.
    pub members: Option<i32>,
    /// Records behind; none while unknown.
    pub lag: Option<i64>,
    /// Records that wait in retry topics; none while unknown, or without such topics.
    pub retry: Option<i64>,
    /// Records in the dead-letter topic; none while unknown, or without one.
    pub dead_letters: Option<i64>,
}

/// A processor: uid of the pipeline, name.
pub type Key = (String, String);

/// All readings.
#[derive(Debug, Default)]
pub struct Readings(Mutex<HashMap<Key, (Reading, Instant)>>);

impl Readings {
    /// The reading that a processor's status shows.
    pub fn shown(&self, uid: &str, processor: &str) -> Option<Reading> {
        let shown = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        shown.get(&(uid.to_owned(), processor.to_owned())).map(|(reading, _)| reading.clone())
    }

    /// Takes a new reading; whether it is now shown.
    pub fn take(&self, key: Key, reading: Reading, now: Instant) -> bool {
        let mut shown = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let show = shown.get(&key).is_none_or(|(old, since)| is_news(old, &reading, now.duration_since(*since)));
        if show {
            shown.insert(key, (reading, now));
        }
        show
    }

    /// Forgets all but the processors that there are.
    pub fn retain(&self, exists: impl Fn(&Key) -> bool) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|key, _| exists(key));
    }
}

fn is_news(old: &Reading, new: &Reading, age: Duration) -> bool {
    let is_gone = |old: Option<i64>, new: Option<i64>| new == Some(0) && old != Some(0);
    let gone = is_gone(old.lag, new.lag) || is_gone(old.retry, new.retry);
    // Lag moves all the time; that a record fails is the exception, and people count those.
    let lag = bucket(old.lag) != bucket(new.lag);
    let failures = (old.retry, old.dead_letters) != (new.retry, new.dead_letters);
    let other = lag || failures || old.members != new.members || old.state != new.state;
    (gone && age >= GONE) || (other && age >= INTERVAL)
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
        assert_eq!(readings.shown("uid", "ledger"), Some(Reading::default()));
        let dead = |dead_letters| Reading { dead_letters: Some(dead_letters), ..Reading::default() };
        assert!(readings.take(key(), dead(7), at(110)), "a dead letter is news, whatever the lag");
        assert!(!readings.take(key(), dead(6), at(130)), "too soon");
        assert!(readings.take(key(), dead(6), at(140)), "each counts, whatever the magnitude");
        assert_eq!(readings.shown("uid", "ledger"), Some(dead(6)));
        readings.retain(|_| false);
        assert_eq!(readings.shown("uid", "ledger"), None);
    }
}
