//! How many pods the partitions need, given what one pod handles. A partition is read by one pod: one that needs more than a pod can do
//! keeps one pod busy and no more, however many there are.

use std::time::Duration;

use super::measure::Load;

/// How busy pods may be before fewer of them are thought enough: room for a rise, so that the number does not swing.
const HEADROOM: f64 = 0.8;

/// What the partitions need.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Demand {
    /// With so many pods the backlog is gone within the target.
    pub needed: i32,
    /// So many are enough with room to spare; never less than `needed`.
    pub comfortable: i32,
    /// Records behind.
    pub lag: i64,
    /// Records/s that come.
    pub produced: f64,
    /// The partition that needs more than one pod can do, and of several the one with most.
    pub hot: Option<Load>,
    /// How many such partitions there are.
    pub hots: usize,
    /// Pods that would do if a partition could be read by several.
    pub divisible: i32,
}

/// What `loads` need of pods that handle `rate` records/s each. `pause`: for how long nothing is read when pods go, whose backlog those
/// that stay have to work off as well.
pub fn demand(loads: &[Load], rate: f64, target: Duration, grace: Duration, pause: Duration) -> Demand {
    let works: Vec<f64> = loads.iter().map(|load| load.work(target, grace)).collect();
    let piled_up = pause.saturating_sub(grace).as_secs_f64() / target.as_secs_f64();
    let later: Vec<f64> = loads.iter().zip(&works).map(|(load, work)| work + load.produced * piled_up).collect();
    let hot = || loads.iter().zip(&works).filter(|(load, work)| rate > 0.0 && **work > rate && load.is_late(grace));
    let needed = pods(&works, rate);
    let divisible = if rate > 0.0 { (works.iter().sum::<f64>() / rate).ceil() } else { 0.0 };
    Demand {
        needed,
        comfortable: pods(&later, rate * HEADROOM).max(needed),
        lag: loads.iter().map(|load| load.lag).sum(),
        produced: loads.iter().map(|load| load.produced).sum(),
        hot: hot().max_by(|one, other| one.1.total_cmp(other.1)).map(|(load, _)| load.clone()),
        hots: hot().count(),
        divisible: divisible.min(f64::from(i32::MAX)) as i32,
    }
}

/// Pods of `rate` records/s each for partitions of this work. They are shared out by number, so of 10 partitions the busiest of 6 pods has
/// as many as that of 5: what 5 cannot do, 6 cannot.
fn pods(works: &[f64], rate: f64) -> i32 {
    // Rates are quotients of measurements: 3.0000001 pods are 3.
    const SLACK: f64 = 1.001;
    // One pod for each as long as it is not known what a pod can do.
    let alone = works.iter().filter(|work| **work > 0.0 && **work >= rate).count();
    let shared: Vec<f64> = works.iter().copied().filter(|work| *work < rate && *work > 0.0).collect();
    let mean = shared.iter().sum::<f64>() / shared.len().max(1) as f64;
    let among = (1..=shared.len()).find(|pods| shared.len().div_ceil(*pods) as f64 * mean <= rate * SLACK);
    i32::try_from(alone + among.unwrap_or(shared.len())).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGET: Duration = Duration::from_secs(10);
    const GRACE: Duration = Duration::from_secs(5);

    fn load(lag: i64, produced: f64) -> Load {
        let age = if produced > 0.0 { lag as f64 / produced } else { 60.0 };
        Load { lag, produced, consumed: produced, age: Some(age), name: format!("events/{lag}") }
    }

    #[test]
    fn pods_for_what_comes_and_for_the_backlog_within_the_target() {
        // Each partition's lag and rate, pods' rate -> needed, comfortable
        for (loads, rate, needed, comfortable) in [
            (vec![load(0, 0.0); 4], 100.0, 0, 0),
            (vec![load(0, 20.0); 4], 100.0, 1, 1),
            (vec![load(0, 24.0); 4], 100.0, 1, 2),
            (vec![load(0, 30.0); 4], 100.0, 2, 2),
            // 100 of 1,100 are on their way; 100/s for the rest.
            (vec![load(1_100, 20.0)], 150.0, 1, 1),
            (vec![load(600, 20.0); 4], 100.0, 4, 4),
            // 6 to 9 pods have no less than 2 partitions somewhere.
            (vec![load(0, 22.0); 10], 50.0, 5, 10),
            (vec![load(0, 0.0), load(0, 1.0)], 0.0, 1, 1),
        ] {
            let found = demand(&loads, rate, TARGET, GRACE, Duration::ZERO);
            assert_eq!((found.needed, found.comfortable), (needed, comfortable), "{loads:?} at {rate}/s");
            assert_eq!(found.hot, None);
        }
    }

    #[test]
    fn what_piles_up_while_a_slow_group_rebalances_has_to_be_worked_off_too() {
        let loads = vec![load(0, 20.0); 4];
        let after = |pause| demand(&loads, 100.0, TARGET, GRACE, Duration::from_secs(pause)).comfortable;
        assert_eq!([after(0), after(5), after(15), after(25)], [1, 1, 2, 4]);
    }

    #[test]
    fn a_hot_partition_is_worth_one_pod_and_is_named() {
        let mut loads = vec![load(0, 10.0); 9];
        loads.push(load(100_000, 90.0));
        let found = demand(&loads, 100.0, TARGET, GRACE, Duration::ZERO);
        assert_eq!(found.needed, 2, "one for it and one for all the others");
        assert_eq!(found.hot.map(|load| load.name).as_deref(), Some("events/100000"));
    }
}
