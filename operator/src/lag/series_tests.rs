//! What is scraped, from readings.

use std::time::Duration;

use prometheus_client::{encoding::text::encode, registry::Registry};

use super::*;
use crate::lag::readings::Totals;

fn partition(index: i32, lag: Option<i64>) -> PartitionReading {
    PartitionReading {
        topic: "events".into(),
        partition: index,
        committed: Some(7),
        log_start: Some(1),
        stable_end: lag.map(|lag| 7 + lag),
        lag,
        lag_seconds: lag.map(|lag| lag as f64 / 2.0),
        consumed_rate: None,
        produced_rate: None,
        stuck_for: lag.map(|_| Duration::from_secs(3)),
    }
}

fn shown(group: &str, connection: &str, lags: [Option<i64>; 2]) -> Shown {
    let sum: Option<i64> = lags.iter().copied().sum();
    Shown {
        namespace: "n".into(),
        pipeline: "p".into(),
        processor: group.into(),
        connection: connection.into(),
        group: group.into(),
        dead_letters: Some("dlq".into()),
        reading: Arc::new(Reading {
            lag: sum,
            lag_seconds: sum.map(|sum| sum as f64 / 2.0),
            partitions: vec![partition(0, lags[0]), partition(1, lags[1])],
            dead_letters: Some(4),
            retention_margins: [("events".to_owned(), 60.0)].into(),
            totals: Totals { consumed: 5, lost: [("events".to_owned(), 0)].into(), ..Totals::default() },
            ..Reading::default()
        }),
    }
}

fn text(series: &Series) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(series.clone()));
    let mut text = String::new();
    encode(&mut text, &registry).unwrap();
    text
}

fn lines<'a>(text: &'a str, name: &str) -> Vec<&'a str> {
    text.lines()
        .filter(|line| line.starts_with(&format!("{name}{{")) || line.starts_with(&format!("{name} ")))
        .collect()
}

fn cycle(processors: Vec<Shown>) -> Arc<Cycle> {
    let requests = [(("main".to_owned(), Some(2)), 4), (("main".to_owned(), None), 1)].into();
    Arc::new(Cycle { began_at: 1_767_268_800_250, ended: Instant::now(), processors, seconds: 0.25, requests })
}

#[test]
fn a_processor_is_shown_with_its_partitions_and_its_counters() {
    let series = Series::default();
    let cycle = cycle(vec![shown("one", "main", [Some(3), Some(0)])]);
    series.publish(&cycle);
    let text = text(&series);
    let of = r#"namespace="n",pipeline="p",processor="one""#;
    for (name, line) in [
        ("tidegate_processor_lag_records", format!("{{{of}}} 3.0")),
        ("tidegate_processor_lag_seconds", format!("{{{of}}} 1.5")),
        ("tidegate_processor_consumed_records_total", format!("{{{of}}} 5")),
        ("tidegate_processor_rebalances_total", format!("{{{of}}} 0")),
        ("tidegate_processor_lost_records_total", format!(r#"{{{of},topic="events"}} 0"#)),
        ("tidegate_processor_retention_margin_seconds", format!(r#"{{{of},topic="events"}} 60.0"#)),
        ("tidegate_pipeline_dead_letters", r#"{namespace="n",pipeline="p",topic="dlq"} 4.0"#.to_owned()),
    ] {
        assert_eq!(lines(&text, name), [format!("{name}{line}")], "{text}");
    }
    assert_eq!(lines(&text, "tidegate_processor_partition_lag_records").len(), 2);
    assert_eq!(lines(&text, "tidegate_processor_partition_stuck_seconds").len(), 2);
    assert_eq!(
        lines(&text, "tidegate_lag_cycle_requests"),
        [
            r#"tidegate_lag_cycle_requests{connection="main",broker="any"} 1.0"#,
            r#"tidegate_lag_cycle_requests{connection="main",broker="2"} 4.0"#
        ]
    );
    assert_eq!(lines(&text, "tidegate_lag_cycle_seconds"), ["tidegate_lag_cycle_seconds 0.25"]);
    assert_eq!(
        lines(&text, "tidegate_lag_cycle_timestamp_seconds"),
        ["tidegate_lag_cycle_timestamp_seconds 1767268800.25"]
    );
    assert!(!text.contains("kafka_consumergroup"), "not asked for");
}

#[test]
fn what_was_read_long_ago_is_not_shown_any_more_but_when_that_was() {
    for (seconds, is_shown) in [(115, true), (125, false)] {
        let series = Series::default().as_kafka_exporter(true);
        let ended = Instant::now().checked_sub(Duration::from_secs(seconds)).expect("the machine runs for longer");
        let fresh = cycle(vec![shown("one", "main", [Some(3), Some(0)])]);
        let cycle = Arc::new(Cycle { ended, ..Arc::unwrap_or_clone(fresh) });
        series.publish(&cycle);
        let text = text(&series);
        for name in
            ["tidegate_processor_lag_records", "tidegate_processor_consumed_records_total", "kafka_consumergroup_lag"]
        {
            assert_eq!(lines(&text, name).is_empty(), !is_shown, "{name} {seconds} s after it was read: {text}");
        }
        assert_eq!(lines(&text, "tidegate_lag_cycle_timestamp_seconds").len(), 1, "{text}");
    }
}

#[test]
fn what_is_unknown_is_no_series_and_the_known_partitions_go_on() {
    let series = Series::default();
    let cycle = cycle(vec![shown("one", "main", [None, Some(2)])]);
    series.publish(&cycle);
    let text = text(&series);
    assert!(
        lines(&text, "tidegate_processor_lag_records").is_empty()
            && lines(&text, "tidegate_processor_lag_seconds").is_empty()
    );
    assert!(lines(&text, "tidegate_processor_group_members").is_empty());
    assert_eq!(lines(&text, "tidegate_processor_partition_lag_records").len(), 1);
    assert!(!text.contains("-1") && !text.contains("NaN"), "{text}");
}

#[test]
fn with_the_leadership_the_series_go() {
    let series = Series::default();
    let cycle = cycle(vec![shown("one", "main", [Some(1), Some(2)])]);
    series.publish(&cycle);
    assert!(text(&series).contains("tidegate_processor"));
    drop(cycle);
    assert!(!text(&series).contains("tidegate_"));
}

#[test]
fn a_shared_dead_letter_topic_and_a_shared_topic_are_one_series() {
    let series = Series::default().as_kafka_exporter(true);
    let both = ["one", "two"].map(|group| shown(group, "main", [Some(1), Some(2)])).to_vec();
    let cycle = cycle(both);
    series.publish(&cycle);
    let text = text(&series);
    assert_eq!(lines(&text, "tidegate_pipeline_dead_letters").len(), 1);
    assert_eq!(
        lines(&text, "kafka_topic_partition_current_offset"),
        [
            r#"kafka_topic_partition_current_offset{topic="events",partition="0"} 8.0"#,
            r#"kafka_topic_partition_current_offset{topic="events",partition="1"} 9.0"#
        ]
    );
}

#[test]
fn kafka_exporters_names_carry_its_labels() {
    let series = Series::default().as_kafka_exporter(true);
    let known = cycle(vec![shown("one", "main", [Some(1), Some(2)])]);
    series.publish(&known);
    let shows = text(&series);
    for line in [
        r#"kafka_consumergroup_lag{consumergroup="one",topic="events",partition="1"} 2.0"#,
        r#"kafka_consumergroup_current_offset{consumergroup="one",topic="events",partition="0"} 7.0"#,
        r#"kafka_consumergroup_lag_sum{consumergroup="one",topic="events"} 3.0"#,
        r#"kafka_topic_partitions{topic="events"} 2.0"#,
        r#"kafka_topic_partition_oldest_offset{topic="events",partition="0"} 1.0"#,
    ] {
        assert!(shows.lines().any(|shown| shown == line), "{line} in {shows}");
    }
    let half = cycle(vec![shown("one", "main", [None, Some(2)])]);
    series.publish(&half);
    let shows = text(&series);
    assert!(lines(&shows, "kafka_consumergroup_lag_sum").is_empty(), "a part of it is unknown");
    assert_eq!(lines(&shows, "kafka_consumergroup_lag").len(), 1);
}

#[test]
fn two_clusters_are_told_apart() {
    let series = Series::default().as_kafka_exporter(true);
    let cycle = cycle(vec![shown("one", "main", [Some(1), Some(2)]), shown("one", "other", [Some(3), Some(4)])]);
    series.publish(&cycle);
    let text = text(&series);
    let line = r#"kafka_consumergroup_lag_sum{consumergroup="one",topic="events",connection="other"} 7.0"#;
    assert!(text.lines().any(|shown| shown == line), "{text}");
}
