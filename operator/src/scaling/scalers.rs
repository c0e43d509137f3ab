//! What one leadership remembers of each processor with `scaling`, and what its status shows of it. What must outlive the process, the
//! number, when it changed and what a pod can do, is in the status; the windows begin anew.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use tidegate_crds::pipeline::ScalingStatus;

use super::{
    capacity::Capacity,
    decide::{Decision, Rules, State, decide},
    measure::Measured,
    since,
};

/// A reason without another number replaces the one that is shown at most this often.
const INTERVAL: Duration = Duration::from_secs(30);

/// A processor: uid of the pipeline, name.
pub type Key = (String, String);

#[derive(Clone, Debug)]
struct Scaler {
    state: State,
    shown: ScalingStatus,
    at: Timestamp,
}

/// All processors with `scaling`.
#[derive(Debug, Default)]
pub struct Scalers(Mutex<HashMap<Key, Scaler>>);

impl Scalers {
    /// Decides on a processor's number; whether its status has something else to show. `recorded`: its status from before.
    pub fn decide(
        &self,
        key: Key,
        recorded: Option<&ScalingStatus>,
        measured: Option<&Measured>,
        now: Timestamp,
        rules: &Rules,
    ) -> bool {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = all.get(&key);
        let resumed = before.map_or_else(
            || recorded.map(|recorded| resume(recorded, now)).unwrap_or_default(),
            |scaler| scaler.state.clone(),
        );
        let decision = decide(&resumed, measured, now, rules);
        let shown = show(&decision);
        let news = before.is_none_or(|scaler| {
            let old = &scaler.shown;
            let urgent = old.desired != shown.desired;
            let another = (&old.reason, old.saturated) != (&shown.reason, shown.saturated);
            urgent || (another && since(now, scaler.at) >= INTERVAL)
        });
        match all.get_mut(&key) {
            Some(scaler) if !news => scaler.state = decision.state,
            _ => drop(all.insert(key, Scaler { state: decision.state, shown, at: now })),
        }
        news
    }

    /// Forgets what was measured, because the pods are stopped; the number stays.
    pub fn pause(&self, key: &Key) {
        if let Some(scaler) = self.0.lock().unwrap_or_else(PoisonError::into_inner).get_mut(key) {
            let State { desired, changed, capacity, regret, .. } = scaler.state;
            scaler.state = State { desired, changed, capacity, regret, ..State::default() };
        }
    }

    /// The number that was decided on, if there was a decision yet.
    pub fn desired(&self, uid: &str, processor: &str) -> Option<i32> {
        self.get(uid, processor, |scaler| scaler.state.desired).flatten()
    }

    /// What the status shows, if there was a decision yet.
    pub fn shown(&self, uid: &str, processor: &str) -> Option<ScalingStatus> {
        self.get(uid, processor, |scaler| scaler.shown.clone())
    }

    /// Forgets all but the processors that there are.
    pub fn retain(&self, exists: impl Fn(&Key) -> bool) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|key, _| exists(key));
    }

    fn get<R>(&self, uid: &str, processor: &str, of: impl Fn(&Scaler) -> R) -> Option<R> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(&(uid.to_owned(), processor.to_owned())).map(of)
    }
}

/// When a pod was measured is not on record: what it could do is good for another day.
fn resume(recorded: &ScalingStatus, now: Timestamp) -> State {
    let changed = recorded.changed_at.as_ref().map(|time| time.0);
    let rate = recorded.records_per_second.map(|rate| rate as f64);
    State {
        desired: Some(recorded.desired),
        changed,
        capacity: Capacity { rate: rate.unwrap_or(0.0), measured: rate.map(|_| now) },
        ..State::default()
    }
}

fn show(decision: &Decision) -> ScalingStatus {
    let state = &decision.state;
    ScalingStatus {
        desired: decision.desired,
        reason: decision.reason.name().to_owned(),
        message: decision.reason.message(),
        saturated: decision.saturated.then_some(true),
        // Seconds are what the API server keeps.
        changed_at: state.changed.and_then(|time| Timestamp::from_second(time.as_second()).ok()).map(Time),
        records_per_second: state.capacity.is_measured().then(|| state.capacity.rate.round() as i64),
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            measure::Load,
            simulation::{rules, time},
        },
        *,
    };

    fn key() -> Key {
        ("uid".to_owned(), "ledger".to_owned())
    }

    fn measured(pods: i32, lag: i64) -> Measured {
        let load = Load { name: "t/0".into(), lag, age: Some(lag as f64), produced: 10.0, consumed: 10.0 };
        Measured {
            pods,
            ready: pods,
            stable: Some(true),
            replicated: true,
            waiting: Some(lag),
            partitions: Some(4),
            loads: Some(vec![load; 4]),
        }
    }

    #[test]
    fn a_status_is_news_at_once_for_another_number_and_seldom_for_another_reason() {
        let scalers = Scalers::default();
        let decide =
            |second, measured: Option<&Measured>| scalers.decide(key(), None, measured, time(second), &rules(1, 4));
        assert!(decide(0, Some(&measured(1, 0))), "the first");
        assert!(!decide(5, None), "another reason, too soon");
        assert!(decide(40, None));
        assert_eq!(scalers.shown("uid", "ledger").map(|shown| shown.reason).as_deref(), Some("DataMissing"));
        for second in (45..75).step_by(5) {
            decide(second, Some(&measured(1, 500)));
        }
        assert!(decide(75, Some(&measured(1, 500))), "another number");
        assert_eq!(scalers.desired("uid", "ledger"), Some(4));
        scalers.retain(|_| false);
        assert_eq!(scalers.desired("uid", "ledger"), None);
    }

    #[test]
    fn another_leadership_goes_on_with_the_number_and_the_speed_on_record() {
        let before = Scalers::default();
        for second in (0..40).step_by(5) {
            before.decide(key(), None, Some(&measured(1, 500)), time(second), &rules(1, 4));
        }
        let recorded = before.shown("uid", "ledger").unwrap();
        assert_eq!((recorded.desired, recorded.records_per_second), (4, Some(40)));
        let after = Scalers::default();
        after.decide(key(), Some(&recorded), None, time(60), &rules(1, 4));
        assert_eq!(after.desired("uid", "ledger"), Some(4));
        let shown = after.shown("uid", "ledger").unwrap();
        assert_eq!((shown.records_per_second, shown.changed_at), (Some(40), recorded.changed_at));
    }
}
