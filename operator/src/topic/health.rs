//! Broker health of a topic, debounced: a state is reported once it has lasted, so that a broker's restart is no news.

use std::time::{Duration, Instant};

use tidegate_crds::topic::TopicHealth;

/// For how long a state must last before it is reported.
pub const SETTLE: Duration = Duration::from_secs(60);

/// Partitions that are not as they should be, as seen at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Health {
    /// With a replica out of sync.
    pub under_replicated: i32,
    /// Without a leader.
    pub offline: i32,
    /// With too few replicas in sync to take writes.
    pub under_min_isr: i32,
}

impl From<Health> for TopicHealth {
    fn from(health: Health) -> Self {
        Self { under_replicated: health.under_replicated, offline: health.offline, under_min_isr: health.under_min_isr }
    }
}

/// Reports a state once it has lasted for [`SETTLE`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Debounce {
    reported: Health,
    other_since: Option<Instant>,
}

impl Debounce {
    /// Takes what is seen now and answers with what to report.
    pub fn settle(&mut self, seen: Health, now: Instant) -> Health {
        if seen == self.reported {
            self.other_since = None;
        } else if now.duration_since(*self.other_since.get_or_insert(now)) >= SETTLE {
            self.reported = seen;
            self.other_since = None;
        }
        self.reported
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SICK: Health = Health { under_replicated: 3, offline: 0, under_min_isr: 0 };
    const WORSE: Health = Health { under_replicated: 3, offline: 1, under_min_isr: 1 };

    #[test]
    fn a_short_illness_is_no_news_and_a_long_one_is() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut debounce = Debounce::default();
        assert_eq!(debounce.settle(SICK, at(0)), Health::default());
        assert_eq!(debounce.settle(Health::default(), at(30)), Health::default());
        assert_eq!(debounce.settle(SICK, at(40)), Health::default());
        // It changes its face, but it is not over: what is reported is the last that was seen.
        assert_eq!(debounce.settle(WORSE, at(80)), Health::default());
        assert_eq!(debounce.settle(WORSE, at(100)), WORSE);
        // And back.
        assert_eq!(debounce.settle(Health::default(), at(110)), WORSE);
        assert_eq!(debounce.settle(Health::default(), at(170)), Health::default());
    }
}
