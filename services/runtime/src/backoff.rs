//! How long to wait before another try: twice as long each time up to a limit, and jittered, so that many do not come at once.

use std::time::Duration;

use uuid::Uuid;

/// Waits between tries. Starts over when something works.
#[derive(Clone, Debug)]
pub(crate) struct Backoff {
    first: Duration,
    most: Duration,
    tries: u32,
}

impl Backoff {
    pub(crate) fn new(first: Duration, most: Duration) -> Self {
        Self { first, most, tries: 0 }
    }

    /// The next wait.
    pub(crate) fn next(&mut self) -> Duration {
        let wait = delay(self.first, self.most, self.tries, Uuid::new_v4().as_u128() as u32);
        self.tries = self.tries.saturating_add(1);
        wait
    }

    /// It worked.
    pub(crate) fn reset(&mut self) {
        self.tries = 0;
    }
}

/// A number between 0 and 1 that nobody foresees.
pub(crate) fn random() -> f64 {
    f64::from(Uuid::new_v4().as_u128() as u32) / f64::from(u32::MAX)
}

/// Between a half of `first * 2^tries` (at most `most`) and the whole, as `random` says.
fn delay(first: Duration, most: Duration, tries: u32, random: u32) -> Duration {
    let whole = first.saturating_mul(2_u32.saturating_pow(tries.min(31))).min(most);
    whole / 2 + whole.mul_f64(f64::from(random) / f64::from(u32::MAX) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn a_wait_is_never_longer_than_the_limit_nor_shorter_than_half_the_first(tries: u32, random: u32) {
            let (first, most) = (Duration::from_millis(100), Duration::from_secs(30));
            let wait = delay(first, most, tries, random);
            proptest::prop_assert!(wait >= first / 2 && wait <= most);
            proptest::prop_assert!(delay(first, most, tries.saturating_add(1), random) >= wait);
        }
    }
}
