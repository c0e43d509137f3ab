//! What one pod handles when it is busy. Only a backlog shows it: a pod that keeps up handles what there is, which says that it can do at
//! least that much.

use std::time::Duration;

use jiff::Timestamp;

use super::{measure::Load, since};

/// How much a new measurement counts against what was known.
const WEIGHT: f64 = 0.3;

/// After so long without a backlog a measurement is only a hint: databases get faster, records smaller.
const STALE: Duration = Duration::from_secs(24 * 3600);

/// Records/s of one busy pod.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Capacity {
    /// It can do at least this; 0 while nothing is known.
    pub rate: f64,
    /// When it was last busy; none: it never was, and can do more for all that is known.
    pub measured: Option<Timestamp>,
}

impl Capacity {
    /// Takes the rates of pods that have been the same, in a stable group, for as long as rates are measured over. `busy`: there was a
    /// backlog all the while.
    pub fn learn(self, loads: &[Load], pods: i32, busy: bool, grace: Duration, now: Timestamp) -> Self {
        let everybody_is_busy = everybody_is_busy(loads, pods, grace);
        let pods = pods.max(1) as usize;
        let total: f64 = loads.iter().map(|load| load.consumed).sum();
        let late: Vec<&Load> = loads.iter().filter(|load| load.is_late(grace)).collect();
        if !busy || late.is_empty() || total <= 0.0 {
            let single = loads.iter().map(|load| load.consumed).fold(0.0, f64::max);
            return Self { rate: self.rate.max(total / pods as f64).max(single), ..self };
        }
        if everybody_is_busy {
            let rate = total / pods as f64;
            let rate = if self.measured.is_some() { self.rate + WEIGHT * (rate - self.rate) } else { rate };
            return Self { rate, measured: Some(now) };
        }
        // Those who have the late ones are busy, and they are no more than these.
        let rate = late.iter().map(|load| load.consumed).sum::<f64>() / pods.min(late.len()) as f64;
        if rate <= 0.0 {
            return self;
        }
        Self { rate: self.rate.max(rate), measured: Some(now) }
    }

    /// Whether a busy pod was seen, ever.
    pub fn is_measured(&self) -> bool {
        self.measured.is_some()
    }

    /// Whether a pod may do more than this by now.
    pub fn is_a_guess(&self, now: Timestamp) -> bool {
        self.measured.is_none_or(|then| since(now, then) > STALE)
    }
}

/// Whether there are so many late partitions that no pod can have only others: they are shared out evenly.
pub fn everybody_is_busy(loads: &[Load], pods: i32, grace: Duration) -> bool {
    let idle = loads.iter().filter(|load| !load.is_late(grace)).count();
    idle < (loads.len() / pods.max(1) as usize).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(5);
    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn load(age: f64, consumed: f64) -> Load {
        Load { lag: (age * consumed) as i64 + 1, age: Some(age), consumed, ..Load::default() }
    }

    fn learn(before: Capacity, loads: &[Load], pods: i32, busy: bool) -> Capacity {
        before.learn(loads, pods, busy, GRACE, NOW)
    }

    #[test]
    fn pods_that_keep_up_can_do_at_least_what_they_do() {
        let quiet = learn(Capacity::default(), &[load(1.0, 30.0), load(1.0, 10.0)], 4, false);
        assert_eq!((quiet.rate, quiet.is_measured()), (30.0, false), "one pod has the busier partition");
        let known = Capacity { rate: 100.0, measured: Some(NOW) };
        assert_eq!(learn(known, &[load(1.0, 3.0)], 1, false), known, "idleness is no weakness");
    }

    #[test]
    fn a_backlog_in_every_partition_is_measured_and_followed() {
        let loads = [load(30.0, 60.0), load(40.0, 60.0)];
        let first = learn(Capacity { rate: 900.0, measured: None }, &loads, 2, true);
        assert_eq!(first, Capacity { rate: 60.0, measured: Some(NOW) });
        let slower = learn(first, &[load(30.0, 30.0), load(40.0, 30.0)], 2, true);
        assert_eq!(slower.rate, 51.0);
    }

    #[test]
    fn of_a_hot_partition_only_its_own_pod_is_busy() {
        let mut loads = vec![load(1.0, 2.0); 9];
        loads.push(load(60.0, 100.0));
        assert_eq!(learn(Capacity::default(), &loads, 5, true).rate, 100.0);
        // One pod has them all, so it is that one which does everything.
        assert_eq!(learn(Capacity::default(), &loads, 1, true).rate, 118.0);
    }

    #[test]
    fn a_stuck_consumer_is_not_taken_for_a_slow_one() {
        let known = Capacity { rate: 100.0, measured: Some(NOW) };
        let stuck = Load { lag: 10, age: Some(60.0), ..Load::default() };
        assert_eq!(learn(known, &[stuck], 1, true), known);
    }
}
