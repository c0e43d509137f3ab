//! How long to wait before the next attempt: exponential, capped, with jitter so that many objects do not return at once.

use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

/// A retry schedule.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    /// After the first failure, at most.
    pub base: Duration,
    /// After many, at most.
    pub cap: Duration,
}

/// For objects whose reconciliation failed.
pub const RECONCILE: Backoff = Backoff { base: Duration::from_millis(500), cap: Duration::from_secs(60) };

impl Backoff {
    /// The delay after `failures` failures in a row (1 is the first), between half and all of what doubling gives.
    pub fn after(&self, failures: u32) -> Duration {
        let doubled = self.base.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1).min(20)));
        // A fresh RandomState is seeded by the system: enough to spread retries.
        let jitter = RandomState::new().hash_one(failures) % 1_000;
        let half = doubled.min(self.cap) / 2;
        half + half.mul_f64(jitter as f64 / 1_000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_cap_and_keep_within_their_half() {
        for (failures, most) in [(1, 500), (2, 1_000), (5, 8_000), (8, 60_000), (1_000_000, 60_000)] {
            let delay = RECONCILE.after(failures).as_millis();
            assert!((most / 2..=most).contains(&delay), "{failures}: {delay}");
        }
    }

    #[test]
    fn two_objects_do_not_return_at_the_same_time() {
        let delays: std::collections::BTreeSet<_> = (0..20).map(|_| RECONCILE.after(8)).collect();
        assert!(delays.len() > 10, "{delays:?}");
    }
}
