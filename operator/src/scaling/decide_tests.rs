//! Single decisions.

use proptest::prelude::*;

use super::{
    super::simulation::{rules, time},
    *,
};

fn load(lag: i64, rate: f64) -> Load {
    Load { name: "events/0".into(), lag, age: Some(if lag > 0 { 60.0 } else { 0.0 }), produced: rate, consumed: rate }
}

fn measured(pods: i32, loads: Vec<Load>) -> Measured {
    Measured {
        pods,
        ready: pods,
        stable: Some(true),
        replicated: true,
        waiting: Some(loads.iter().map(|load| load.lag).sum()),
        partitions: i32::try_from(loads.len()).ok(),
        loads: Some(loads),
    }
}

/// Decided on `pods` long ago, at 100 records/s each.
fn state(pods: i32) -> State {
    State {
        desired: Some(pods),
        capacity: Capacity { rate: 100.0, measured: Some(time(900)) },
        steady: Some(time(0)),
        late: Some(time(900)),
        ..State::default()
    }
}

fn backlog() -> Vec<Load> {
    vec![load(3_000, 25.0); 8]
}

#[test]
fn each_thing_that_holds_back_holds_back_and_says_so() {
    let good = || measured(2, backlog());
    for (name, before, seen, desired) in [
        ("ScaledOut", state(2), Some(good()), 8),
        ("DataMissing", state(2), None, 2),
        ("DataMissing", state(2), Some(Measured { loads: None, ..good() }), 2),
        ("DataMissing", state(2), Some(Measured { stable: None, ..good() }), 2),
        ("Rebalancing", state(2), Some(Measured { stable: Some(false), ..good() }), 2),
        ("BrokerMissing", state(2), Some(Measured { replicated: false, ..good() }), 2),
        ("Applying", state(2), Some(Measured { pods: 1, ..good() }), 2),
        ("PodsStarting", state(2), Some(Measured { ready: 1, ..good() }), 2),
        ("Measuring", State { steady: Some(time(995)), ..state(2) }, Some(good()), 2),
        ("Measuring", State { capacity: Capacity::default(), steady: None, ..state(2) }, Some(good()), 2),
        ("ScaleOutPending", State { changed: Some(time(980)), ..state(2) }, Some(good()), 2),
        ("NotConsuming", state(2), Some(measured(2, vec![load(3_000, 0.0); 8])), 2),
        ("NoGain", State { before: Some((1, 200.0)), changed: Some(time(940)), ..state(2) }, Some(good()), 2),
        ("Bounds", state(12), Some(good()), 8),
        ("Idle", state(0), Some(measured(0, vec![load(0, 0.0); 8])), 0),
        ("DataMissing", state(0), Some(Measured { waiting: None, ..measured(0, vec![]) }), 0),
        ("Woken", state(0), Some(measured(0, vec![load(1, 0.0); 8])), 1),
    ] {
        let decision = decide(&before, seen.as_ref(), time(1_000), &rules(0, 10));
        assert_eq!((decision.reason.name(), decision.desired), (name, desired), "{}", decision.reason.message());
    }
}

#[test]
fn a_missing_broker_does_not_hold_back_for_ever() {
    let seen = Measured { replicated: false, ..measured(2, backlog()) };
    let before = State { unreplicated: Some(time(600)), ..state(2) };
    assert_eq!(decide(&before, Some(&seen), time(1_000), &rules(1, 10)).reason.name(), "ScaledOut");
}

#[test]
fn records_that_wait_for_another_try_keep_the_last_pod() {
    let rules = Rules { in_window: Duration::from_secs(20), ..rules(0, 4) };
    for (waiting, desired) in [(Some(3), 1), (None, 1), (Some(0), 0)] {
        let mut before = State { late: None, ..state(1) };
        for second in (1_000..1_060).step_by(5) {
            let seen = Measured { waiting, ..measured(1, vec![load(0, 0.0); 4]) };
            let decision = decide(&before, Some(&seen), time(second), &rules);
            before = decision.state;
            if decision.desired == 0 {
                break;
            }
        }
        assert_eq!(before.desired, Some(desired), "{waiting:?} records wait");
    }
}

#[test]
fn what_runs_already_is_where_it_begins() {
    let seen = measured(3, vec![load(0, 10.0); 8]);
    assert_eq!(decide(&State::default(), Some(&seen), time(0), &rules(1, 10)).desired, 3);
    assert_eq!(decide(&State::default(), None, time(0), &rules(2, 10)).desired, 2);
    assert_eq!(decide(&State::default(), None, time(0), &rules(0, 10)).desired, 1, "a group has to be joined first");
}

fn some_load() -> impl Strategy<Value = Load> {
    (0_i64..1_000_000, prop::option::of(0.0..10_000.0), 0.0..10_000.0, 0.0..10_000.0)
        .prop_map(|(lag, age, produced, consumed)| Load { name: "t/0".into(), lag, age, produced, consumed })
}

fn some_measured() -> impl Strategy<Value = Option<Measured>> {
    let loads = prop::option::weighted(0.9, prop::collection::vec(some_load(), 0..20));
    let one = (0..20, 0..20, prop::option::of(any::<bool>()), any::<bool>(), prop::option::of(0_i64..10), loads);
    prop::option::weighted(
        0.9,
        one.prop_map(|(pods, ready, stable, replicated, waiting, loads)| Measured {
            pods,
            ready,
            stable,
            replicated,
            waiting,
            partitions: loads.as_ref().and_then(|loads| i32::try_from(loads.len()).ok()),
            loads,
        }),
    )
}

proptest! {
    #[test]
    fn whatever_is_measured_the_number_keeps_to_its_bounds_and_changes_once_a_window(
        (min, more) in (0..8_i32, 0..8_i32),
        steps in prop::collection::vec((some_measured(), any::<bool>(), 1..40_usize), 1..60),
    ) {
        let rules = rules(min, (min + more).max(1));
        let (mut state, mut second, mut changed) = (State::default(), 0, None::<usize>);
        for (measured, applied, passed) in steps {
            second += passed;
            let measured = measured.map(|measured| match state.desired {
                Some(desired) if applied => Measured { pods: desired, ready: desired, ..measured },
                _ => measured,
            });
            let before = state.desired;
            let decision = decide(&state, measured.as_ref(), time(second), &rules);
            let most = rules.most(measured.as_ref().and_then(|measured| measured.partitions));
            prop_assert!((rules.min.min(most)..=most).contains(&decision.desired), "{decision:?}");
            prop_assert!(decision.desired > 0 || rules.min == 0);
            let (lower, higher) = (Some(decision.desired) < before, before.is_some_and(|before| decision.desired > before));
            let free = matches!(decision.reason, Reason::Bounds { .. } | Reason::Woken { .. });
            if measured.as_ref().is_none_or(|measured| measured.loads.is_none()) && !free {
                prop_assert!(!lower && !higher, "changed without data: {decision:?}");
            }
            if lower && !free {
                prop_assert!(changed.is_none_or(|then| second - then >= 300), "{decision:?}");
            }
            if higher && !free {
                prop_assert!(changed.is_none_or(|then| second - then >= 30), "{decision:?}");
            }
            if lower || higher {
                changed = Some(second);
            }
            state = decision.state;
        }
    }
}
