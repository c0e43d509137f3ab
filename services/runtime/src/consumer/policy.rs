//! What the settings say of records that fail, with their defaults applied.

use std::time::Duration;

use tidegate_settings::{DeadLetter, Retry, RetryMode};

/// Waits for something that is away: from 100 ms, doubling up to 5 s.
const AWAY: (Duration, Duration, u32) = (Duration::from_millis(100), Duration::from_secs(5), 2);

/// What becomes of records of one topic that fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Policy {
    /// Whether records of one key must be handled in the order of the log.
    pub(super) ordered: bool,
    /// Tries in all; none: as many as it takes.
    pub(super) attempts: Option<u32>,
    /// First wait, longest wait, factor.
    pub(super) backoff: (Duration, Duration, u32),
    /// The retry topic; none: records wait where they are.
    pub(super) retry_topic: Option<String>,
    /// The dead-letter topic; none: the partition stops.
    pub(super) dead_letter_topic: Option<String>,
}

impl Policy {
    pub(super) fn new(
        (group, topic): (&str, &str),
        ordered: bool,
        retry: Option<&Retry>,
        dead_letter: Option<&DeadLetter>,
    ) -> Self {
        let backoff = retry.map(Retry::backoff).unwrap_or_default();
        Self {
            ordered,
            attempts: retry.map(Retry::attempts),
            backoff: (backoff.initial(), backoff.max(), backoff.multiplier()),
            retry_topic: retry
                .filter(|retry| retry.mode() == RetryMode::Topic)
                .map(|retry| retry.topic_of(group, topic)),
            dead_letter_topic: dead_letter.map(|dead_letter| dead_letter.topic.clone()),
        }
    }

    /// The wait after that many tries of a record that failed. `random` is between 0 and 1.
    pub(super) fn wait(&self, tries: u32, random: f64) -> Duration {
        wait(self.backoff, tries, random)
    }

    /// The wait after something was away that many times.
    pub(super) fn wait_for_away(tries: u32, random: f64) -> Duration {
        wait(AWAY, tries, random)
    }
}

/// Between three quarters of the whole and the whole, so that many do not come at once.
fn wait((first, most, factor): (Duration, Duration, u32), tries: u32, random: f64) -> Duration {
    let whole = first.saturating_mul(factor.saturating_pow(tries.saturating_sub(1))).min(most);
    whole.mul_f64(0.75 + random.clamp(0.0, 1.0) / 4.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_settings_a_record_is_tried_where_it_is_until_it_works() {
        let policy = Policy::new(("g", "t"), true, None, None);
        assert_eq!((policy.attempts, policy.retry_topic, policy.dead_letter_topic), (None, None, None));
    }

    #[test]
    fn a_retry_topic_belongs_to_group_and_topic_and_in_place_has_none() {
        let retry = Retry::default();
        let policy = Policy::new(("g", "t"), true, Some(&retry), None);
        assert_eq!((policy.attempts, policy.retry_topic.as_deref()), (Some(5), Some("g.t.retry")));
        let in_place = Retry { mode: Some(RetryMode::InPlace), ..retry };
        assert_eq!(Policy::new(("g", "t"), true, Some(&in_place), None).retry_topic, None);
    }

    proptest::proptest! {
        #[test]
        fn waits_grow_up_to_the_longest(tries in 1_u32..2000, random in 0.0..1.0_f64) {
            let policy = Policy::new(("g", "t"), true, Some(&Retry::default()), None);
            let (first, most, _) = policy.backoff;
            let wait = policy.wait(tries, random);
            proptest::prop_assert!(wait <= most && wait >= first.mul_f64(0.75));
            proptest::prop_assert!(policy.wait(tries + 2, 0.0) >= policy.wait(tries, 0.0));
        }
    }
}
