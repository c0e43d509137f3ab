//! A cluster's life on a clock of our own: what an engine that looks every five seconds says of it.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicI64, Ordering},
};

use serde_json::json;
use tidegate_crds::pipeline::LagTrend;
use tidegate_kafka::{
    Api, ErrorCode, GroupKind, NewTopic, WriteMode,
    twin::{Fault, Twin},
};

use super::*;
use crate::lag::readings::PartitionReading;

const INTERVAL: i64 = 5_000;

/// A cluster, an engine that looks at it, and the time.
struct World {
    twin: Twin,
    engine: Engine,
    now: AtomicI64,
    wanted: Vec<Wanted>,
}

fn wanted(group: &str, start_at: &str) -> Wanted {
    let consumes = json!({"topics": ["events"], "group": group, "startAt": start_at});
    Wanted {
        processor: group.into(),
        consumes: serde_json::from_value(consumes).unwrap(),
        retries: vec![],
        dead_letters: None,
    }
}

impl World {
    /// Topic `events` of two partitions, read by group `one` from the earliest record on.
    async fn new() -> Self {
        Self::of(NewTopic::new("events", 2, 3)).await
    }

    async fn of(topic: NewTopic) -> Self {
        let twin = Twin::new();
        twin.create_topics(&[topic], WriteMode::Apply).await;
        let wanted = vec![wanted("one", "Earliest")];
        Self { twin, engine: Engine::default(), now: AtomicI64::new(1_000_000_000), wanted }
    }

    fn now(&self) -> i64 {
        self.now.load(Ordering::Relaxed)
    }

    /// Time passes.
    fn pass(&self, ms: i64) {
        self.now.fetch_add(ms, Ordering::Relaxed);
    }

    /// Records arrive now.
    fn produce(&self, partition: i32, count: usize) {
        self.twin.produce("events", partition, &vec![self.now(); count]).unwrap();
    }

    /// A transaction of one record, and its marker, arrive now.
    fn transact(&self, partition: i32) {
        self.twin.produce_open("events", partition, &[self.now()]).unwrap();
        self.twin.finish_transaction("events", partition).unwrap();
    }

    fn commit(&self, partition: i32, offset: i64) {
        self.twin.commit("one", "events", partition, offset);
    }

    async fn readings(&mut self) -> Vec<Reading> {
        let Self { twin, engine, now, wanted } = self;
        engine.read(twin, wanted, &|| now.load(Ordering::Relaxed)).await
    }

    async fn read(&mut self) -> Reading {
        self.readings().await.remove(0)
    }

    /// So many cycles, and the last one's reading.
    async fn cycles(&mut self, count: usize) -> Reading {
        for _ in 1..count {
            self.read().await;
            self.pass(INTERVAL);
        }
        self.read().await
    }
}

fn seconds(reading: &Reading) -> i64 {
    reading.lag_seconds.expect("the age is known").round() as i64
}

fn of_partition(reading: &Reading, index: i32) -> &PartitionReading {
    reading.partitions.iter().find(|one| one.partition == index).expect("the partition is there")
}

#[tokio::test]
async fn many_groups_are_read_in_few_calls_and_each_has_its_own_lag() {
    let mut world = World::new().await;
    world.produce(0, 3);
    world.produce(1, 1);
    world.commit(0, 2);
    world.twin.join("one", GroupKind::Consumer, "member", &[("events", 0), ("events", 1)]);
    world.wanted.extend([wanted("never-seen", "Earliest"), wanted("late", "Latest")]);
    world.readings().await;
    world.twin.forget_calls();
    let readings = world.readings().await;
    assert_eq!(readings.iter().map(|reading| reading.lag).collect::<Vec<_>>(), [Some(2), Some(4), Some(0)]);
    assert_eq!(readings.iter().map(|reading| reading.members).collect::<Vec<_>>(), [Some(1), Some(0), Some(0)]);
    assert_eq!(readings[0].state.as_deref(), Some("Stable"));
    assert_eq!(readings[1].state, None);
    assert!(world.twin.calls().len() <= 4, "{:?}", world.twin.calls());
}

#[tokio::test]
async fn at_a_cold_start_the_age_is_that_of_the_record_itself() {
    let mut world = World::new().await;
    world.produce(0, 1);
    world.pass(3_600_000);
    world.produce(0, 1);
    world.pass(60_000);
    world.commit(0, 0);
    let reading = world.read().await;
    assert_eq!((reading.lag, seconds(&reading)), (Some(2), 3_660));
    assert_eq!(of_partition(&reading, 1).lag_seconds, Some(0.0));
    // An operator that restarts knows it again at once.
    world.engine = Engine::default();
    world.commit(0, 1);
    assert_eq!(seconds(&world.read().await), 60);
}

#[tokio::test]
async fn the_age_of_a_stopped_groups_backlog_grows_with_the_clock_and_is_0_when_it_is_read() {
    let mut world = World::new().await;
    world.produce(0, 10);
    world.commit(0, 10);
    world.commit(1, 0);
    world.cycles(3).await;
    world.pass(2_000);
    world.produce(0, 5);
    let stopped_at = world.now();
    world.pass(3_000);
    for _ in 0..60 {
        let reading = world.read().await;
        let (truth, said) = ((world.now() - stopped_at) as f64 / 1_000.0, reading.lag_seconds.unwrap());
        assert!((truth - said).abs() <= 5.0, "{truth} s, said {said}");
        if truth > 30.0 {
            assert!((truth - said).abs() <= 1.0, "a stuck group's record was read: {truth} s, said {said}");
            assert!(of_partition(&reading, 0).stuck_for.unwrap().as_secs_f64() >= truth - 10.0);
        }
        world.pass(INTERVAL);
        world.produce(0, 1);
    }
    world.commit(0, 10 + 5 + 60);
    let reading = world.read().await;
    assert_eq!((reading.lag, reading.lag_seconds, reading.drain_seconds), (Some(0), Some(0.0), Some(0.0)));
    assert_eq!(of_partition(&reading, 0).stuck_for, Some(std::time::Duration::ZERO));
}

#[tokio::test]
async fn an_old_marker_makes_the_record_behind_it_no_older() {
    let mut world = World::new().await;
    world.transact(0);
    world.commit(0, 1);
    let reading = world.cycles(3).await;
    assert_eq!((reading.lag, reading.lag_seconds), (Some(0), Some(0.0)), "only the marker is left");
    world.pass(3_600_000);
    world.read().await;
    world.transact(0);
    world.pass(1_000);
    let reading = world.read().await;
    assert!(seconds(&reading) <= 1, "{reading:?}");
    assert_eq!(reading.lag, Some(2), "the record and a marker, until it stands still");
    world.pass(INTERVAL);
    assert_eq!(world.read().await.lag, Some(1));
}

#[tokio::test]
async fn a_trickle_of_transactions_that_are_read_at_once_is_no_lag_for_longer_than_a_cycle() {
    let mut world = World::new().await;
    world.commit(1, 0);
    let mut end = 0;
    for transaction in 0..40 {
        world.transact(0);
        end += 2;
        world.commit(0, end - 1);
        world.pass(1_000);
        let ages: Vec<i64> = [seconds(&world.cycles(2).await), seconds(&world.cycles(2).await)].into();
        assert!(ages[0] <= 10 && ages[1] == 0, "transaction {transaction}: {ages:?}");
        world.pass(20_000);
    }
}

#[tokio::test]
async fn records_of_an_open_transaction_cannot_be_read_and_are_no_lag() {
    let mut world = World::new().await;
    world.commit(0, 0);
    world.twin.produce_open("events", 0, &[world.now()]).unwrap();
    let reading = world.cycles(3).await;
    assert_eq!((reading.lag, reading.lag_seconds), (Some(0), Some(0.0)));
}

#[tokio::test]
async fn what_compaction_removed_is_no_lag() {
    let mut world = World::new().await;
    world.produce(0, 10);
    world.commit(0, 2);
    world.twin.compact("events", 0, &[2, 3, 4, 9]).unwrap();
    assert_eq!(world.cycles(3).await.lag, Some(4));
    world.twin.compact("events", 0, &[5, 6, 7, 8]).unwrap();
    world.commit(0, 3);
    assert_eq!(world.cycles(3).await.lag, Some(0));
}

#[tokio::test]
async fn an_idle_topic_that_was_read_is_no_lag_however_long_it_is_idle() {
    let mut world = World::new().await;
    world.produce(0, 3);
    world.commit(0, 3);
    world.commit(1, 0);
    world.cycles(2).await;
    world.pass(86_400_000);
    assert_eq!(world.read().await.lag_seconds, Some(0.0));
    world.produce(0, 1);
    world.pass(1_000);
    assert!(seconds(&world.read().await) <= 1, "not a day");
}

#[tokio::test]
async fn while_a_broker_is_down_only_its_partitions_are_unknown() {
    let mut world = World::of(NewTopic::new("events", 3, 1)).await;
    for partition in 0..3 {
        world.produce(partition, 4);
        world.commit(partition, 1);
    }
    world.cycles(2).await;
    world.twin.stop_broker(1);
    let reading = world.cycles(8).await;
    assert_eq!((reading.lag, reading.lag_seconds, reading.trend), (None, None, None), "never 0, never a part of it");
    let (down, up) = (of_partition(&reading, 1), of_partition(&reading, 0));
    assert_eq!((down.lag, down.lag_seconds, down.stable_end, down.produced_rate), (None, None, None, None));
    assert_eq!((down.committed, up.committed, up.lag), (Some(1), Some(1), Some(3)), "the others go on");
    assert!(up.lag_seconds.unwrap() >= 35.0);
    world.twin.start_broker(1);
    let reading = world.read().await;
    assert_eq!(reading.lag, Some(9));
    assert!((seconds(&reading) - 40).abs() <= 6, "{reading:?}");
}

#[tokio::test]
async fn while_kafka_does_not_answer_everything_is_unknown_and_what_was_sampled_is_kept() {
    let mut world = World::new().await;
    world.commit(0, 0);
    world.cycles(2).await;
    world.produce(0, 1);
    let since = world.now();
    world.pass(INTERVAL);
    world.read().await;
    world.twin.fail_all(Fault::Unreachable);
    let reading = world.cycles(5).await;
    assert_eq!((reading.lag, reading.lag_seconds, reading.members, reading.trend), (None, None, None, None));
    assert!(
        reading.partitions.iter().all(|one| one.lag.is_none() && one.committed.is_none() && one.stuck_for.is_none())
    );
    world.twin.heal();
    let reading = world.read().await;
    assert!((seconds(&reading) - (world.now() - since) / 1_000).abs() <= 5, "{reading:?}");
}

#[tokio::test]
async fn a_group_whose_coordinator_does_not_answer_leaves_the_others_known() {
    let mut world = World::new().await;
    world.wanted.push(wanted("two", "Earliest"));
    world.produce(0, 2);
    world.twin.fail_item(Api::CommittedOffsets, "one", Fault::Unreachable);
    let readings = world.readings().await;
    assert_eq!((readings[0].lag, readings[1].lag), (None, Some(2)));
    assert_eq!(of_partition(&readings[0], 0).stable_end, Some(2), "the ends are known all the same");
}

#[tokio::test]
async fn a_topic_that_is_not_there_leaves_the_lag_unknown() {
    let mut world = World::new().await;
    world.twin.remove_topic("events");
    let reading = world.cycles(2).await;
    assert_eq!((reading.lag, reading.lag_seconds, reading.partitions.len()), (None, None, 0));
}

#[tokio::test]
async fn records_removed_before_they_were_read_are_lost_and_no_lag() {
    let mut world = World::new().await;
    world.produce(0, 10);
    world.commit(0, 2);
    let reading = world.cycles(4).await;
    assert_eq!(
        reading.totals.lost,
        BTreeMap::from([("events".to_owned(), 0)]),
        "the series is there from the first look on"
    );
    world.twin.trim("events", 0, 7).unwrap();
    let reading = world.cycles(8).await;
    assert_eq!((reading.lag, reading.totals.lost["events"]), (Some(3), 5));
    assert_eq!(of_partition(&reading, 0).log_start, Some(7));
    assert_eq!(world.cycles(8).await.totals.lost["events"], 5, "counted once");
}

#[tokio::test]
async fn a_topic_made_anew_begins_anew() {
    let mut world = World::new().await;
    world.produce(0, 100);
    world.commit(0, 50);
    world.cycles(3).await;
    world.twin.remove_topic("events");
    world.twin.create_topics(&[NewTopic::new("events", 2, 3)], WriteMode::Apply).await;
    world.pass(60_000);
    world.produce(0, 3);
    world.pass(2_000);
    let reading = world.cycles(8).await;
    assert_eq!(reading.lag, Some(3));
    assert!((seconds(&reading) - 37).abs() <= 5, "{reading:?}");
    assert_eq!(reading.totals.lost["events"], 0);
}

#[tokio::test]
async fn rates_trend_and_the_time_to_drain_follow_from_how_offsets_move() {
    let mut world = World::new().await;
    world.produce(0, 1_000);
    world.commit(0, 0);
    world.commit(1, 0);
    let mut committed = 0;
    let mut reading = world.read().await;
    assert_eq!(
        (reading.produced_rate, reading.consumed_rate, reading.trend),
        (None, None, None),
        "one look is no rate"
    );
    for _ in 0..6 {
        world.pass(INTERVAL);
        world.produce(0, 50);
        committed += 100;
        world.commit(0, committed);
        reading = world.read().await;
    }
    assert_eq!((reading.produced_rate, reading.consumed_rate), (Some(10.0), Some(20.0)));
    assert_eq!((reading.trend, reading.lag_trend(), reading.lag), (Some(-10.0), Some(LagTrend::Draining), Some(700)));
    assert_eq!(reading.drain_seconds, Some(70.0));
    assert_eq!((reading.totals.produced, reading.totals.consumed), (300, 600));
    for _ in 0..12 {
        world.pass(INTERVAL);
        world.produce(0, 50);
        reading = world.read().await;
    }
    assert_eq!((reading.lag_trend(), reading.drain_seconds), (Some(LagTrend::Growing), None));
}

#[tokio::test]
async fn what_waits_to_be_tried_again_and_what_was_given_up_is_counted_in_the_same_few_calls() {
    let mut world = World::new().await;
    for topic in ["one.events.retry", "two.events.retry", "dlq"] {
        world.twin.create_topics(&[NewTopic::new(topic, 2, 3)], WriteMode::Apply).await;
    }
    let failing = |group: &str| Wanted {
        retries: vec![format!("{group}.events.retry")],
        dead_letters: Some("dlq".into()),
        ..wanted(group, "Earliest")
    };
    world.wanted = vec![failing("one"), failing("two")];
    world.twin.produce("one.events.retry", 0, &[1, 2, 3]).unwrap();
    world.twin.produce("one.events.retry", 1, &[1]).unwrap();
    world.twin.commit("one.retry", "one.events.retry", 0, 1);
    // A dead letter and the end of its transaction.
    world.twin.produce_open("dlq", 1, &[1]).unwrap();
    world.twin.finish_transaction("dlq", 1).unwrap();
    world.twin.produce("dlq", 0, &[2]).unwrap();
    assert_eq!(world.read().await.dead_letters, Some(2), "the marker is none, not even for a moment");
    world.twin.forget_calls();
    let readings = world.readings().await;
    assert_eq!(readings.iter().map(|reading| reading.retry).collect::<Vec<_>>(), [Some(3), Some(0)]);
    assert_eq!(readings.iter().map(|reading| reading.dead_letters).collect::<Vec<_>>(), [Some(2), Some(2)]);
    assert!(world.twin.calls().len() <= 4, "{:?}", world.twin.calls());
}

#[tokio::test]
async fn topics_that_are_not_there_yet_leave_only_their_own_counts_unknown() {
    let mut world = World::new().await;
    world.produce(0, 4);
    world.wanted =
        vec![Wanted { retries: vec!["r".into()], dead_letters: Some("d".into()), ..wanted("one", "Earliest") }];
    let reading = world.read().await;
    assert_eq!((reading.lag, reading.retry, reading.dead_letters), (Some(4), None, None));
}

#[tokio::test]
async fn rebalances_are_counted_from_the_first_look_on() {
    let mut world = World::new().await;
    world.twin.join("one", GroupKind::Classic, "first", &[("events", 0), ("events", 1)]);
    assert_eq!(world.cycles(3).await.totals.rebalances, 0);
    world.twin.join("one", GroupKind::Classic, "first", &[("events", 0)]);
    world.twin.join("one", GroupKind::Classic, "second", &[("events", 1)]);
    let reading = world.cycles(3).await;
    assert_eq!((reading.totals.rebalances, reading.members), (1, Some(2)));
    world.twin.leave("one", "second");
    assert_eq!(world.cycles(3).await.totals.rebalances, 2);
}

#[tokio::test]
async fn the_margin_is_what_retention_leaves_and_absent_where_it_has_no_end() {
    let mut world = World::of(NewTopic::new("events", 1, 3).config("retention.ms", "3600000")).await;
    assert_eq!(world.cycles(2).await.retention_margins["events"], 3_600.0);
    world.produce(0, 1);
    world.pass(600_000);
    let margin = world.cycles(5).await.retention_margins["events"];
    assert!((margin - 2_980.0).abs() <= 1.0, "{margin}");
    for (key, value) in [("retention.ms", "-1"), ("cleanup.policy", "compact")] {
        let mut world = World::of(NewTopic::new("events", 1, 3).config(key, value)).await;
        assert!(world.cycles(2).await.retention_margins.is_empty(), "{key}={value}");
    }
}

#[tokio::test]
async fn who_may_not_read_the_topic_learns_its_lag_and_by_and_by_its_age() {
    let mut world = World::new().await;
    world.produce(0, 3);
    let denied = || Fault::Refused(ErrorCode::TOPIC_AUTHORIZATION_FAILED, "Not authorized.".to_owned());
    world.twin.fail_item(Api::FetchRecords, "events-0", denied());
    let reading = world.cycles(2).await;
    assert_eq!((reading.lag, reading.lag_seconds), (Some(3), None), "it came before the first look");
    world.commit(0, 3);
    world.commit(1, 0);
    world.cycles(2).await;
    world.produce(0, 1);
    world.pass(INTERVAL);
    assert!(seconds(&world.read().await) <= 10);
}
