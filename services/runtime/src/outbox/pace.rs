//! When the next transaction begins. Pure.
//!
//! A transaction costs brokers much the same whether it holds one event or a thousand: markers on each partition, each written by
//! every replica, and every reader is woken. So while events come all the time, they are left to gather for some times as long as a
//! transaction takes, and no shorter than a set time: a broker that is slower gets fewer and larger ones.

use std::time::Duration;

/// The time from one transaction's beginning to that of the next, while events come all the time. The first one after a pause is never
/// delayed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    /// As a multiple of what the last one took. At 1 they follow each other; more of it is less work for brokers.
    pub times: f64,
    /// At least.
    pub least: Duration,
    /// At most, if the last one did not take longer itself.
    pub most: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self { times: 2.0, least: Duration::from_millis(50), most: Duration::from_millis(250) }
    }
}

/// How the last transaction went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Last {
    /// From reading its events until they were committed.
    pub(super) took: Duration,
    /// Whether it held as many as it may: there is a backlog.
    pub(super) full: bool,
}

impl Pace {
    /// How much later than the last one's end the next one begins.
    pub(super) fn pause(&self, last: Last) -> Duration {
        if last.full {
            return Duration::ZERO;
        }
        // Not `clamp`, which panics if somebody configures them the wrong way round.
        let apart = last.took.mul_f64(self.times.max(0.0)).max(self.least).min(self.most);
        apart.saturating_sub(last.took)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn events_gather_for_as_long_as_a_transaction_takes() {
        let pace = Pace { times: 2.0, least: ms(50), most: ms(250) };
        let pause = |took, full| pace.pause(Last { took: ms(took), full });
        for (took, expected) in [(0, 50), (10, 40), (40, 40), (100, 100), (150, 100), (250, 0), (9000, 0)] {
            assert_eq!(pause(took, false), ms(expected), "after {took} ms");
            assert_eq!(pause(took, true), ms(0), "a backlog waits for nothing");
        }
    }

    proptest! {
        #[test]
        fn nobody_waits_longer_than_the_most(took in 0..20_000_u64, times in -1.0..9.0, least in 0..500_u64, most in 0..500_u64) {
            let pace = Pace { times, least: ms(least), most: ms(most) };
            let (took, full) = (ms(took), false);
            let apart = took + pace.pause(Last { took, full });
            prop_assert!(apart <= took.max(pace.most), "{apart:?}");
            prop_assert!(apart >= pace.least.min(pace.most), "{apart:?}");
            let backlog = pace.pause(Last { took, full: true });
            prop_assert!(backlog.is_zero());
        }

        #[test]
        fn slower_brokers_get_no_more_transactions(one in 0..1_000_u64, other in 0..1_000_u64) {
            let apart = |took| ms(took) + Pace::default().pause(Last { took: ms(took), full: false });
            prop_assert!(apart(one.min(other)) <= apart(one.max(other)));
        }
    }
}
