//! A consumer group in simulated time, for tests of decisions: partitions that are written to, pods of a certain speed that take their time
//! to start, rebalances during which nothing is read, and measurements that are late, noisy or missing. No clock and no randomness but a
//! counter's: a run is the same every time.

use std::{collections::VecDeque, time::Duration};

use jiff::{SignedDuration, Timestamp};

use super::{
    decide::{Decision, Rules, State, decide},
    measure::{Load, Measured, RATE_WINDOW},
};

/// Seconds from one measurement to the next.
const INTERVAL: usize = 5;

/// What a group is like.
pub struct Group {
    /// Partitions.
    pub partitions: usize,
    /// Records/s that a busy pod handles, of this many pods in all: a database that they share makes it less.
    pub rate: fn(pods: usize) -> f64,
    /// Records/s that are written to a partition at a second.
    pub written: fn(partition: usize, second: usize) -> f64,
    /// Seconds that a pod takes to start.
    pub start: usize,
    /// Seconds that nothing is read when members come or go.
    pub rebalance: usize,
    /// Seconds that a measurement is old.
    pub delay: usize,
    /// Share by which measurements are wrong, one way or the other.
    pub noise: f64,
    /// Whether there is no measurement at a second.
    pub missing: fn(second: usize) -> bool,
    /// Pods at the beginning.
    pub pods: i32,
}

impl Default for Group {
    fn default() -> Self {
        Self {
            partitions: 12,
            rate: |_| 100.0,
            written: |_, _| 0.0,
            start: 8,
            rebalance: 3,
            delay: 1,
            noise: 0.05,
            missing: |_| false,
            pods: 1,
        }
    }
}

/// What happened in a run.
#[derive(Default)]
pub struct Run {
    /// Each decision with its second.
    pub decisions: Vec<(usize, Decision)>,
    /// Age in seconds of the oldest unprocessed record, by second.
    pub ages: Vec<f64>,
}

#[derive(Clone, Default)]
struct Partition {
    end: f64,
    committed: f64,
    /// `(end, committed)` at each second.
    past: Vec<(f64, f64)>,
}

impl Run {
    /// Pods that were decided on, by decision.
    pub fn pods(&self) -> Vec<i32> {
        self.decisions.iter().map(|(_, decision)| decision.desired).collect()
    }

    /// Changes of the number, with their seconds.
    pub fn changes(&self) -> Vec<(usize, i32, i32)> {
        let pairs = self.decisions.windows(2);
        let changes = pairs.map(|pair| (pair[1].0, pair[0].1.desired, pair[1].1.desired));
        changes.filter(|(_, before, after)| before != after).collect()
    }

    /// How often the number went the other way than before.
    pub fn turns(&self) -> usize {
        let ups: Vec<bool> = self.changes().iter().map(|(_, before, after)| after > before).collect();
        ups.windows(2).filter(|pair| pair[0] != pair[1]).count()
    }

    /// Pods at a second.
    pub fn at(&self, second: usize) -> i32 {
        self.decisions.iter().rev().find(|(at, _)| *at <= second).map_or(0, |(_, decision)| decision.desired)
    }

    /// Reasons that were given between two seconds.
    pub fn reasons(&self, from: usize, to: usize) -> Vec<&'static str> {
        let within = self.decisions.iter().filter(|(second, _)| (from..to).contains(second));
        let mut names: Vec<&'static str> = within.map(|(_, decision)| decision.reason.name()).collect();
        names.dedup();
        names
    }

    /// The greatest age between two seconds.
    pub fn oldest(&self, from: usize, to: usize) -> f64 {
        self.ages[from..to].iter().copied().fold(0.0, f64::max)
    }
}

impl Group {
    /// Lets it live for so many seconds under the rules.
    pub fn run(&self, rules: &Rules, seconds: usize) -> Run {
        let mut run = Run::default();
        let mut state = State::default();
        let mut partitions = vec![Partition::default(); self.partitions];
        let (mut pods, mut members, mut paused) = (self.pods, self.pods as usize, 0_usize);
        let mut starting: VecDeque<usize> = VecDeque::new();
        let mut dice = 0x2545_f491_u64;
        for second in 0..seconds {
            let joined = starting.iter().filter(|ready| **ready <= second).count();
            if joined > 0 {
                starting.retain(|ready| *ready > second);
                members += joined;
                paused = self.rebalance;
            }
            for (index, partition) in partitions.iter_mut().enumerate() {
                partition.end += (self.written)(index, second);
            }
            if paused > 0 {
                paused -= 1;
            } else {
                read(&mut partitions, members, (self.rate)(members));
            }
            for partition in &mut partitions {
                partition.past.push((partition.end, partition.committed));
            }
            run.ages.push(partitions.iter().map(|partition| age(partition, second)).fold(0.0, f64::max));
            if second % INTERVAL != INTERVAL - 1 {
                continue;
            }
            let measured = (!(self.missing)(second)).then(|| {
                let ready = pods - starting.len() as i32;
                let mut noise = || {
                    dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    1.0 + self.noise * ((dice >> 33) as f64 / f64::from(1_u32 << 30) - 1.0)
                };
                let seen = second.saturating_sub(self.delay);
                let loads: Vec<Load> = partitions
                    .iter()
                    .enumerate()
                    .map(|(index, partition)| load(index, partition, seen, &mut noise))
                    .collect();
                Measured {
                    pods,
                    ready,
                    stable: Some(paused == 0 && (members > 0 || pods == 0)),
                    replicated: true,
                    waiting: Some(loads.iter().map(|load| load.lag).sum()),
                    partitions: i32::try_from(self.partitions).ok(),
                    loads: Some(loads),
                }
            });
            let decision = decide(&state, measured.as_ref(), time(second), rules);
            if decision.desired > pods {
                starting.extend((pods..decision.desired).map(|_| second + self.start));
            } else if decision.desired < pods {
                let mut gone = (pods - decision.desired) as usize;
                while gone > 0 && starting.pop_back().is_some() {
                    gone -= 1;
                }
                members = members.saturating_sub(gone);
                paused = self.rebalance;
            }
            pods = decision.desired;
            state = decision.state.clone();
            run.decisions.push((second, decision));
        }
        run
    }
}

/// A second's work: partition `p` belongs to member `p % members`, who shares its time among what it has.
fn read(partitions: &mut [Partition], members: usize, rate: f64) {
    for member in 0..members {
        let mut left = rate;
        let mut open: Vec<usize> = (member..partitions.len()).step_by(members).collect();
        while left > 1e-9 && !open.is_empty() {
            let share = left / open.len() as f64;
            left = 0.0;
            open.retain(|index| {
                let partition = &mut partitions[*index];
                let taken = share.min(partition.end - partition.committed);
                partition.committed += taken;
                left += share - taken;
                taken >= share
            });
        }
    }
}

fn age(partition: &Partition, second: usize) -> f64 {
    let (end, committed) = partition.past[second];
    if end - committed < 1.0 {
        return 0.0;
    }
    let written = partition.past[..=second].partition_point(|(end, _)| *end <= committed);
    (second - written) as f64
}

fn load(index: usize, partition: &Partition, seen: usize, noise: &mut impl FnMut() -> f64) -> Load {
    let from = seen.saturating_sub(RATE_WINDOW.as_secs() as usize);
    let ((end, committed), (end_before, committed_before)) = (partition.past[seen], partition.past[from]);
    let over = (seen - from).max(1) as f64;
    Load {
        name: format!("events/{index}"),
        lag: ((end - committed) * noise()) as i64,
        age: Some(age(partition, seen) * noise()),
        produced: (end - end_before) / over * noise(),
        consumed: (committed - committed_before) / over * noise(),
    }
}

/// The time of a second.
pub fn time(second: usize) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_secs(second as i64)
}

/// Rules of a test: `min` to `max` pods, 15 s, and the default windows.
pub fn rules(min: i32, max: i32) -> Rules {
    Rules {
        min,
        max,
        target: Duration::from_secs(15),
        out_window: Duration::from_secs(30),
        in_window: Duration::from_secs(300),
    }
}
