//! Where a replay leads, in offsets. Pure.

use std::collections::BTreeMap;

use tidegate_crds::pipeline::{ReplayFrom, ReplayPosition, ReplayStatus};
use tidegate_kafka::{LoggedRecord, TopicPartition};
use tidegate_settings::failure::headers;

use super::plan::Target;
use crate::pipeline::offsets::{flat, nested};

/// What Kafka says of the partitions that a processor reads.
#[derive(Clone, Debug, Default)]
pub struct Log {
    /// What its group has committed.
    pub committed: BTreeMap<TopicPartition, i64>,
    /// Where each partition begins; of every one that there is.
    pub starts: BTreeMap<TopicPartition, i64>,
    /// Where each ends.
    pub ends: BTreeMap<TopicPartition, i64>,
    /// For a time: the first record that is not older, where there is one.
    pub at_time: BTreeMap<TopicPartition, i64>,
}

/// Where to. `records`: earlier replays of the processor. `rebuilds`: what the topics no longer hold it has from elsewhere.
pub fn target(from: &ReplayFrom, log: &Log, records: &[&ReplayStatus], rebuilds: bool) -> Target {
    let after = match from {
        ReplayFrom::Position(ReplayPosition::Earliest) => log.starts.clone(),
        ReplayFrom::Position(ReplayPosition::Latest) => log.ends.clone(),
        ReplayFrom::Timestamp(_) => {
            let of = |(key, end): (&TopicPartition, &i64)| (key.clone(), *log.at_time.get(key).unwrap_or(end));
            log.ends.iter().map(of).collect()
        }
        ReplayFrom::Offsets(offsets) => {
            let mut after = log.committed.clone();
            after.extend(flat(offsets));
            after
        }
        ReplayFrom::Replay(id) => match records.iter().rev().find(|record| record.id == *id) {
            Some(record) if record.phase.has_moved() => flat(&record.before),
            Some(record) => {
                return Target::Refused(format!(
                    "replay {id} is {:?} and has changed nothing, so there is nothing to undo; set replay.from to something else",
                    record.phase
                ));
            }
            None => {
                return Target::Refused(format!(
                    "there is no replay {id} of this processor in status.replays; set replay.from.replay to one that is listed"
                ));
            }
        },
    };
    match after.iter().find_map(|(key, offset)| objection(key, *offset, log, rebuilds)) {
        Some(reason) => Target::Refused(reason),
        None => Target::At { before: nested(&log.committed), after: nested(&after) },
    }
}

fn objection(key: &TopicPartition, offset: i64, log: &Log, rebuilds: bool) -> Option<String> {
    let TopicPartition { topic, partition } = key;
    let (Some(start), Some(end)) = (log.starts.get(key), log.ends.get(key)) else {
        return Some(format!("topic {topic} has no partition {partition}; take it out of replay.from"));
    };
    if offset > *end {
        return Some(format!(
            "partition {partition} of {topic} ends at offset {end}, and replay.from leads to {offset}; name one that there is"
        ));
    }
    (offset < *start && !rebuilds).then(|| {
        format!(
            "partition {partition} of {topic} begins at offset {start}, and replay.from leads to {offset}: the records between are gone; \
             begin where the topic does, with replay.from {{position: Earliest}}"
        )
    })
}

/// The offset in a retry partition from which records are still needed: the first that says something of a record before `target`, which
/// is not read again. `end`: where the partition ends, which is the answer where there is none.
pub fn keep_from(records: &[LoggedRecord], target: i64, end: i64) -> i64 {
    let before = |record: &&LoggedRecord| {
        // What cannot be understood is kept: its reader says so.
        record
            .header(headers::ORIGIN_OFFSET)
            .and_then(|offset| offset.parse::<i64>().ok())
            .is_none_or(|origin| origin < target)
    };
    records.iter().find(before).map_or(end, |record| record.offset)
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tidegate_crds::pipeline::ReplayPhase;

    use super::*;

    fn at(offsets: [i64; 2]) -> BTreeMap<TopicPartition, i64> {
        offsets
            .into_iter()
            .enumerate()
            .map(|(index, offset)| (TopicPartition::new("t", index as i32), offset))
            .collect()
    }

    fn log() -> Log {
        let at_time = [(TopicPartition::new("t", 0), 15)].into();
        Log { committed: at([20, 30]), starts: at([10, 0]), ends: at([40, 30]), at_time }
    }

    fn from(value: serde_json::Value) -> ReplayFrom {
        serde_json::from_value(value).unwrap()
    }

    fn earlier() -> Vec<ReplayStatus> {
        let record = |id: &str, phase, before: [i64; 2]| ReplayStatus {
            id: id.into(),
            processor: "p".into(),
            phase,
            before: nested(&at(before)),
            ..ReplayStatus::default()
        };
        vec![record("done", ReplayPhase::Done, [12, 7]), record("refused", ReplayPhase::Refused, [0, 0])]
    }

    #[test]
    fn where_a_replay_leads() {
        let (earlier, log) = (earlier(), log());
        let records: Vec<_> = earlier.iter().collect();
        for (asked, expected) in [
            (json!({"position": "Earliest"}), Ok([10, 0])),
            (json!({"position": "Latest"}), Ok([40, 30])),
            // Behind the newest where no record is young enough.
            (json!({"timestamp": "2026-01-01T00:00:00Z"}), Ok([15, 30])),
            (json!({"offsets": {"t": {"1": 4}}}), Ok([20, 4])),
            (json!({"replay": "done"}), Ok([12, 7])),
            (json!({"offsets": {"t": {"0": 9}}}), Err("partition 0 of t begins at offset 10")),
            (json!({"offsets": {"t": {"1": 31}}}), Err("partition 1 of t ends at offset 30")),
            (json!({"offsets": {"t": {"2": 0}}}), Err("topic t has no partition 2")),
            (json!({"offsets": {"t": {"two": 0}}}), Err("topic t has no partition")),
            (json!({"replay": "refused"}), Err("nothing to undo")),
            (json!({"replay": "other"}), Err("there is no replay other")),
        ] {
            match (target(&from(asked.clone()), &log, &records, false), expected) {
                (Target::At { before, after }, Ok(expected)) => {
                    assert_eq!((before, after), (nested(&at([20, 30])), nested(&at(expected))), "{asked}");
                }
                (Target::Refused(reason), Err(expected)) => assert!(reason.contains(expected), "{asked}: {reason}"),
                (other, _) => panic!("{asked}: {other:?}"),
            }
        }
        let rebuilt = target(&from(json!({"offsets": {"t": {"0": 9}}})), &log, &records, true);
        assert!(matches!(rebuilt, Target::At { .. }), "it has the rest from elsewhere: {rebuilt:?}");
    }

    #[test]
    fn what_waits_of_records_before_the_target_is_kept_and_all_behind_it() {
        let record = |offset: i64, origin: &str| LoggedRecord {
            offset,
            headers: vec![(headers::ORIGIN_OFFSET.into(), Some(origin.as_bytes().to_vec()))],
            ..LoggedRecord::default()
        };
        let waiting = [record(3, "50"), record(4, "20"), record(6, "60")];
        assert_eq!(keep_from(&waiting, 10, 8), 8, "all are read again");
        assert_eq!(keep_from(&waiting, 21, 8), 4);
        assert_eq!(keep_from(&waiting, 70, 8), 3);
        assert_eq!(keep_from(&[record(5, "?")], 0, 8), 5, "it is not understood");
        assert_eq!(keep_from(&[], 70, 8), 8);
    }
}
