//! How many pods there are to be. Pure: from what was decided before, what is measured now and the rules comes a decision with its reason,
//! and what is to be remembered for the next one.
//!
//! The number goes up at once when the backlog needs it and the window allows, and down only when fewer were enough for a whole window
//! without a break. A number that turned out too small is not tried again for longer and longer: however the load behaves and whatever the
//! model gets wrong, the number does not swing.

use std::{collections::VecDeque, time::Duration};

use jiff::Timestamp;
use tidegate_crds::pipeline::Scaling;

use super::{
    capacity::{Capacity, everybody_is_busy},
    demand::{Demand, demand},
    measure::{Load, Measured, RATE_WINDOW},
    reason::Reason,
    since,
};

/// For how long replicas that are missing hold back more pods, too: leaders move, and rates mean little meanwhile.
const BROKER_PATIENCE: Duration = Duration::from_secs(300);
/// For how long more pods are not tried again after the last ones brought nothing.
const NO_GAIN_PATIENCE: Duration = Duration::from_secs(900);
/// The share of what new pods should bring that counts as having brought something.
const LEAST_GAIN: f64 = 0.25;
/// The most doublings of the scale-in window after a number turned out too small again and again.
const MOST_DOUBLINGS: u32 = 6;

/// The rules of one processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Fewest pods.
    pub min: i32,
    /// Most pods.
    pub max: i32,
    /// Within how long a backlog is to be gone.
    pub target: Duration,
    /// How long after a change there may be more pods.
    pub out_window: Duration,
    /// How long fewer pods must have been enough.
    pub in_window: Duration,
}

impl From<&Scaling> for Rules {
    fn from(scaling: &Scaling) -> Self {
        Self {
            min: scaling.min(),
            max: scaling.max,
            target: scaling.target_lag(),
            out_window: scaling.scale_out_window(),
            in_window: scaling.scale_in_window(),
        }
    }
}

impl Rules {
    /// What is always on its way, and no backlog.
    pub fn grace(&self) -> Duration {
        self.target / 2
    }

    /// The number within the bounds and, where they are known, no more than there are partitions.
    pub fn clamp(&self, pods: i32, partitions: Option<i32>) -> i32 {
        let most = self.most(partitions);
        pods.clamp(self.min.min(most), most)
    }

    /// The most pods that make sense.
    pub fn most(&self, partitions: Option<i32>) -> i32 {
        self.max.min(partitions.filter(|count| *count > 0).unwrap_or(self.max))
    }
}

/// What is remembered from one decision to the next.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    /// Pods that were decided on.
    pub desired: Option<i32>,
    /// When that changed last.
    pub changed: Option<Timestamp>,
    /// What a pod can do.
    pub capacity: Capacity,
    /// Since when all pods are ready and the group stands still.
    pub steady: Option<Timestamp>,
    /// Since when the group shares out its partitions,
    pub unstable: Option<Timestamp>,
    /// and how long that took the last time.
    pub pause: Duration,
    /// Since when some partition is late without a break.
    pub late: Option<Timestamp>,
    /// Since when replicas are missing.
    pub unreplicated: Option<Timestamp>,
    /// Since when there is an unbroken record of what was enough,
    pub watched: Option<Timestamp>,
    /// and what was, by its last time: later ones are smaller, the first is the greatest of the window.
    pub enough: VecDeque<(Timestamp, i32)>,
    /// Pods and their records/s before there were more of them last.
    pub before: Option<(i32, f64)>,
    /// The last change took pods away.
    pub went_in: bool,
    /// A number that turned out too small.
    pub regret: Option<Regret>,
}

/// A number of pods that turned out too small.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Regret {
    /// The number.
    pub pods: i32,
    /// It is not tried again before.
    pub until: Timestamp,
    /// How often this happened, one time soon after the other.
    pub times: u32,
}

/// What was decided.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// Pods that there are to be.
    pub desired: i32,
    /// Why.
    pub reason: Reason,
    /// More are needed than may be.
    pub saturated: bool,
    /// For the next decision.
    pub state: State,
}

/// Decides. `measured`: none while there are no measurements at all.
pub fn decide(before: &State, measured: Option<&Measured>, now: Timestamp, rules: &Rules) -> Decision {
    let partitions = measured.and_then(|measured| measured.partitions);
    let live = measured.map(|measured| measured.pods).filter(|pods| *pods > 0);
    let standing = before.desired.or(live).unwrap_or_else(|| rules.min.max(1));
    let mut decider = Decider {
        current: rules.clamp(standing, partitions),
        state: before.clone(),
        now,
        rules,
        most: rules.most(partitions),
        partitions,
        saturated: false,
    };
    let within = decider.current;
    decider.state.desired = Some(within);
    let reason = if within != standing {
        decider.change(within);
        Reason::Bounds { min: rules.min, max: rules.max, partitions }
    } else {
        decider.reason(measured)
    };
    let Decider { mut state, saturated, .. } = decider;
    let desired = state.desired.unwrap_or(within);
    state.desired = Some(desired);
    Decision { desired, reason, saturated, state }
}

struct Decider<'a> {
    current: i32,
    state: State,
    now: Timestamp,
    rules: &'a Rules,
    most: i32,
    partitions: Option<i32>,
    saturated: bool,
}

impl Decider<'_> {
    fn reason(&mut self, measured: Option<&Measured>) -> Reason {
        let Some(measured) = measured else { return self.hold(Reason::DataMissing) };
        if measured.pods != self.current {
            return self.hold(Reason::Applying);
        }
        if self.current == 0 {
            return self.asleep(measured);
        }
        let unreplicated = (!measured.replicated).then(|| *self.state.unreplicated.get_or_insert(self.now));
        self.state.unreplicated = unreplicated;
        if unreplicated.is_some_and(|start| since(self.now, start) < BROKER_PATIENCE) {
            return self.hold(Reason::BrokerMissing);
        }
        let (Some(stable), Some(loads)) = (measured.stable, &measured.loads) else {
            return self.hold(Reason::DataMissing);
        };
        if !stable {
            self.state.unstable.get_or_insert(self.now);
            return self.hold(Reason::Rebalancing);
        }
        if let Some(start) = self.state.unstable.take() {
            self.state.pause = since(self.now, start);
        }
        self.watch(loads, measured.ready < measured.pods);
        let Rules { target, .. } = *self.rules;
        let demand = demand(loads, self.state.capacity.rate, target, self.rules.grace(), self.state.pause);
        let quiet = demand.produced <= 0.0 && measured.waiting == Some(0);
        self.record(if quiet { 0 } else { demand.comfortable.max(1) });
        // Of pods that keep up and were never busy it is not known what they need.
        let known = self.state.capacity.is_measured() || self.state.late.is_some();
        if demand.needed > self.current && known {
            return self.more(&demand, loads, measured);
        }
        let known = self.state.capacity.is_measured();
        if known && demand.hots >= self.current as usize && self.partitions == Some(self.current) {
            return self.at_most(demand.divisible);
        }
        if let Some(hot) = demand.hot.filter(|_| known) {
            return Reason::HotPartition { partition: hot.name, lag: hot.lag, rate: self.state.capacity.rate };
        }
        self.fewer(unreplicated.is_some())
    }

    /// Nothing is decided, and what was enough before is not known to be enough any more.
    fn hold(&mut self, reason: Reason) -> Reason {
        self.state.steady = None;
        self.state.late = None;
        self.state.watched = None;
        self.state.enough.clear();
        reason
    }

    fn asleep(&mut self, measured: &Measured) -> Reason {
        match measured.waiting {
            None => self.hold(Reason::DataMissing),
            Some(0) => self.hold(Reason::Idle),
            Some(records) => {
                self.change(self.rules.clamp(1, self.partitions));
                self.hold(Reason::Woken { records })
            }
        }
    }

    /// Takes note of what the pods do, once they have been the same for long enough.
    fn watch(&mut self, loads: &[Load], starting: bool) {
        let grace = self.rules.grace();
        let late = loads.iter().any(|load| load.is_late(grace));
        self.state.late = late.then(|| self.state.late.unwrap_or(self.now));
        self.state.steady = (!starting).then(|| self.state.steady.unwrap_or(self.now));
        let lasted = |start: Option<Timestamp>| start.is_some_and(|start| since(self.now, start) >= RATE_WINDOW);
        if lasted(self.state.steady) {
            let busy = lasted(self.state.late);
            self.state.capacity = self.state.capacity.learn(loads, self.current, busy, grace, self.now);
        }
    }

    /// Adds to the window what is enough now.
    fn record(&mut self, enough: i32) {
        self.state.watched.get_or_insert(self.now);
        while self.state.enough.back().is_some_and(|(_, pods)| *pods <= enough) {
            self.state.enough.pop_back();
        }
        self.state.enough.push_back((self.now, enough));
        while self.state.enough.len() > 1
            && self.state.enough.front().is_some_and(|(at, _)| since(self.now, *at) > self.rules.in_window)
        {
            self.state.enough.pop_front();
        }
    }

    fn more(&mut self, demand: &Demand, loads: &[Load], measured: &Measured) -> Reason {
        let consumed: f64 = loads.iter().map(|load| load.consumed).sum();
        let steady = self.state.steady.is_some_and(|start| since(self.now, start) >= RATE_WINDOW);
        if measured.ready < measured.pods {
            return Reason::PodsStarting { ready: measured.ready, pods: measured.pods };
        }
        if steady && consumed <= 0.0 {
            return Reason::NotConsuming { pods: self.current };
        }
        if !self.state.capacity.is_measured() {
            return Reason::Measuring;
        }
        if self.current >= self.most {
            return self.at_most(demand.needed);
        }
        if !steady {
            return Reason::Measuring;
        }
        let changed = self.state.changed.map_or(Duration::MAX, |then| since(self.now, then));
        if changed < self.rules.out_window {
            return Reason::ScaleOutPending { needed: demand.needed, window: self.rules.out_window };
        }
        if let Some((pods, total)) = self.state.before
            && changed < NO_GAIN_PATIENCE
            && pods < self.current
            && self.state.late.is_some_and(|start| since(self.now, start) >= RATE_WINDOW)
            && everybody_is_busy(loads, self.current, self.rules.grace())
        {
            let expected = total * f64::from(self.current - pods) / f64::from(pods.max(1));
            if consumed - total < LEAST_GAIN * expected {
                return Reason::NoGain { before: pods, pods: self.current, consumed };
            }
        }
        let (from, rate) = (self.current, self.state.capacity.rate);
        self.state.before = Some((from, rate * f64::from(from)));
        self.regret(from);
        // What the decision goes by has just proved right.
        self.state.capacity.measured = Some(self.now);
        let desired = self.rules.clamp(demand.needed, self.partitions);
        self.saturated = desired < demand.needed;
        self.change(desired);
        Reason::ScaledOut {
            from,
            to: desired,
            needed: demand.needed,
            lag: demand.lag,
            produced: demand.produced,
            rate,
            target: self.rules.target,
        }
    }

    fn at_most(&mut self, needed: i32) -> Reason {
        self.saturated = true;
        match self.partitions {
            Some(partitions) if partitions <= self.rules.max => Reason::AtPartitions { needed, partitions },
            _ => Reason::AtMax { needed, max: self.rules.max },
        }
    }

    /// Notes that `pods` were too few, when there were more of them not long ago.
    fn regret(&mut self, pods: i32) {
        let before = self.state.regret;
        let soon = |regret: &Regret| since(self.now, regret.until) < self.rules.in_window * 4;
        let times = before.filter(soon).map_or(0, |regret| regret.times);
        let lasted = self.state.changed.map_or(Duration::MAX, |then| since(self.now, then));
        if self.state.went_in && lasted < self.rules.in_window * 4 {
            let wait = self.rules.in_window * 2_u32.pow((times + 1).min(MOST_DOUBLINGS));
            let until = self.now.checked_add(wait).unwrap_or(Timestamp::MAX);
            self.state.regret = Some(Regret { pods, until, times: times + 1 });
        }
    }

    fn fewer(&mut self, held: bool) -> Reason {
        let in_target = Reason::InTarget { pods: self.current, target: self.rules.target };
        let Some(greatest) = self.state.enough.front().map(|(_, pods)| *pods) else { return in_target };
        // What a pod can do is not known, or not any more: one pod less shows it.
        let guess = self.state.capacity.is_a_guess(self.now) && self.state.late.is_none();
        let enough = if guess { greatest.min((self.current - 1).max(greatest.min(1))) } else { greatest };
        let regret = self.state.regret.filter(|regret| self.now < regret.until).map_or(0, |regret| regret.pods + 1);
        let desired = self.rules.clamp(enough.max(regret), self.partitions);
        if desired >= self.current || held {
            return in_target;
        }
        if self.state.watched.is_none_or(|start| since(self.now, start) < self.rules.in_window) {
            return Reason::ScaleInPending { enough: desired, window: self.rules.in_window };
        }
        let from = self.current;
        self.change(desired);
        Reason::ScaledIn { from, to: desired, window: self.rules.in_window, rate: self.state.capacity.rate }
    }

    /// Decides on another number: what was measured before does not speak of it.
    fn change(&mut self, desired: i32) {
        self.state.went_in = desired < self.current;
        if self.state.went_in {
            self.state.before = None;
        }
        self.state.desired = Some(desired);
        self.state.changed = Some(self.now);
        self.state.steady = None;
        self.state.late = None;
        self.state.watched = None;
        self.state.enough.clear();
    }
}

#[cfg(test)]
#[path = "simulation_tests.rs"]
mod simulation_tests;
#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;
