//! Days in the life of a consumer group, simulated.

use super::super::simulation::{Group, rules};

const HOUR: usize = 3600;

#[test]
fn under_a_steady_load_the_number_settles_and_stays() {
    // 456/s in all: 5 pods of 100/s could, and 12 partitions are shared out best by 6.
    let group = Group { written: |_, _| 38.0, ..Group::default() };
    let run = group.run(&rules(1, 12), 3 * HOUR);
    // What piles up before a pod's speed is known takes more for a while.
    assert!(run.changes().iter().all(|(at, ..)| *at < 1200), "{:?}", run.changes());
    assert!(run.turns() <= 1 && (6..=8).contains(&run.at(HOUR)), "{:?}", run.changes());
    assert!(run.oldest(600, 3 * HOUR) <= 15.0, "{}", run.oldest(600, 3 * HOUR));
}

#[test]
fn a_burst_brings_pods_and_they_go_when_it_has_been_quiet_for_the_window() {
    let group =
        Group { written: |_, second| if (600..900).contains(&second) { 45.0 } else { 4.0 }, ..Group::default() };
    let run = group.run(&rules(1, 12), 2 * HOUR);
    assert_eq!(run.at(599), 1);
    assert!(run.at(750) >= 6, "{:?}", run.changes());
    assert!(run.oldest(800, 900) <= 15.0, "the target is reached while it lasts: {}", run.oldest(800, 900));
    let first_in = run.changes().iter().find(|(_, before, after)| after < before).map_or(0, |(at, ..)| *at);
    assert!((1_150..1_400).contains(&first_in), "{:?}", run.changes());
    assert_eq!((run.at(2 * HOUR), run.turns()), (1, 1), "{:?}", run.changes());
}

#[test]
fn a_second_burst_is_met_at_once_because_the_speed_of_a_pod_is_known() {
    let group = Group { written: |_, second| if second % 3000 > 2700 { 45.0 } else { 4.0 }, ..Group::default() };
    let run = group.run(&rules(1, 10), 6000);
    let ups: Vec<usize> = run.changes().iter().filter(|(_, from, to)| to > from).map(|(at, ..)| *at).collect();
    let second = ups.iter().find(|at| **at > 5000).copied().unwrap_or(usize::MAX);
    assert!(second - 5700 <= 15, "{:?}", run.changes());
}

#[test]
fn days_that_come_and_go_turn_the_number_twice_a_day() {
    let group = Group {
        written: |_, second| {
            let day = second as f64 / (24 * HOUR) as f64 * std::f64::consts::TAU;
            25.0 - 22.0 * day.cos()
        },
        ..Group::default()
    };
    let run = group.run(&rules(1, 12), 3 * 24 * HOUR);
    assert!(run.turns() <= 3 * 4, "{} turns: {:?}", run.turns(), run.changes());
    for day in 0..3 {
        let (night, noon) = (day * 24 * HOUR + 2 * HOUR, day * 24 * HOUR + 12 * HOUR);
        assert!(run.at(noon) >= 6, "day {day}: {}", run.at(noon));
        assert!(night < 24 * HOUR || run.at(night) <= 4, "day {day}: {}", run.at(night));
    }
    let late = run.ages.iter().skip(600).filter(|age| **age > 15.0).count();
    assert!(late < 15 * 60, "late for {late} s of three days");
}

#[test]
fn a_slow_rebalance_is_waited_for_and_not_answered_with_another() {
    let group = Group { written: |_, _| 40.0, rebalance: 45, start: 20, ..Group::default() };
    let run = group.run(&rules(1, 12), 2 * HOUR);
    assert!(run.turns() <= 1 && run.changes().len() <= 4, "{:?}", run.changes());
    assert!(run.oldest(HOUR, 2 * HOUR) <= 15.0);
    assert!(run.reasons(0, 600).contains(&"Rebalancing"), "{:?}", run.reasons(0, 600));
}

#[test]
fn while_measurements_are_missing_nothing_changes_and_there_are_no_fewer_until_they_were_whole_for_a_window() {
    let group = Group {
        pods: 8,
        written: |_, _| 5.0,
        // One in ten is missing for half an hour, and all for a quarter of an hour after it.
        missing: |second| (second < 1800 && second % 50 == 4) || (1800..2700).contains(&second),
        ..Group::default()
    };
    let run = group.run(&rules(1, 12), 2 * HOUR);
    assert!(run.changes().iter().all(|(at, ..)| *at >= 2700 + 300), "{:?}", run.changes());
    assert_eq!(run.reasons(1805, 2695), ["DataMissing"]);
    assert!(run.at(2 * HOUR) < 8, "{:?}", run.changes());
}

#[test]
fn a_hot_partition_is_named_and_brings_no_more_pods_than_it_can_use() {
    let group = Group {
        written: |partition, second| match partition {
            7 if second > 300 => 180.0,
            _ => 3.0,
        },
        ..Group::default()
    };
    let run = group.run(&rules(1, 12), 2 * HOUR);
    let most = run.pods().into_iter().max();
    assert!(most <= Some(3), "{:?}", run.changes());
    let (_, last) = run.decisions.last().unwrap();
    assert_eq!(last.reason.name(), "HotPartition");
    assert!(last.reason.message().contains("events/7"), "{}", last.reason.message());
    assert!(!last.saturated && run.turns() <= 2, "{:?}", run.changes());
}

#[test]
fn a_backlog_that_needs_more_than_may_be_is_said_to() {
    let too_much = Group { written: |_, _| 60.0, ..Group::default() };
    let run = too_much.run(&rules(1, 4), 1800);
    let (_, last) = run.decisions.last().unwrap();
    assert_eq!((last.desired, last.reason.name(), last.saturated), (4, "AtMax", true));
    let few = Group { partitions: 3, written: |_, _| 200.0, ..Group::default() };
    let run = few.run(&rules(1, 10), 1800);
    let (_, last) = run.decisions.last().unwrap();
    assert_eq!((last.desired, last.reason.name(), last.saturated), (3, "AtPartitions", true));
}

#[test]
fn pods_that_share_a_database_at_its_limit_are_not_given_company() {
    // 150/s is all that the database does, for however many.
    let group = Group { rate: |pods| 150.0 / pods.max(1) as f64, written: |_, _| 20.0, ..Group::default() };
    let run = group.run(&rules(1, 12), 900);
    assert!(run.at(899) < 12, "{:?}", run.changes());
    assert!(run.reasons(0, 900).contains(&"NoGain"), "{:?}", run.reasons(0, 900));
}

#[test]
fn what_has_nothing_to_do_sleeps_and_wakes_within_a_cycle() {
    let group = Group {
        written: |_, second| if (2000..2100).contains(&second) { 5.0 } else { 0.0 },
        noise: 0.0,
        ..Group::default()
    };
    let run = group.run(&rules(0, 4), HOUR);
    assert_eq!((run.at(1999), run.at(2010), run.at(HOUR)), (0, 1, 0), "{:?}", run.changes());
    let awake = Group { written: |_, _| 0.0, ..Group::default() };
    assert_eq!(awake.run(&rules(1, 4), HOUR).at(HOUR), 1, "min is 1");
}

#[test]
fn too_many_pods_that_nobody_has_seen_busy_go_one_by_one() {
    let group = Group { pods: 6, written: |_, _| 15.0, ..Group::default() };
    let run = group.run(&rules(1, 12), 3 * HOUR);
    assert!(run.at(3 * HOUR) <= 3, "{:?}", run.changes());
    assert!(run.turns() <= 2, "{:?}", run.changes());
    assert!(run.ages.iter().filter(|age| **age > 15.0).count() < 120);
}

#[test]
fn a_number_that_is_too_small_again_and_again_is_tried_more_and_more_rarely() {
    // A burst of a minute every ten: the pods of the last one have just gone when the next comes.
    let group = Group { written: |_, second| if second % 600 < 60 { 50.0 } else { 2.0 }, ..Group::default() };
    let run = group.run(&rules(1, 12), 12 * HOUR);
    assert!(run.turns() <= 30, "{} turns in 72 bursts", run.turns());
}
