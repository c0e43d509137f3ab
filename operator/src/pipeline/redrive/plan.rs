//! What a redrive needs next. Pure.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use tidegate_crds::pipeline::{Redrive, RedrivePhase, RedriveStatus};
use tidegate_kafka::TopicPartition;
use tidegate_settings::PartitionOffsets;

use super::letters::Position;
use crate::pipeline::offsets::{flat, nested};

/// What is seen of the world, as far as anybody looked.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Name of the processor.
    pub processor: String,
    /// Why there is nothing to redrive; none if there may be.
    pub refusal: Option<String>,
    /// The processor is being replayed.
    pub replayed: bool,
    /// Where the dead-letter topic ends.
    pub ends: Option<Result<PartitionOffsets, String>>,
    /// How far the redrive is.
    pub progress: Option<Result<BTreeMap<TopicPartition, Position>, String>>,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Next {
    /// Nothing.
    Rest,
    /// This is to be put on record; then look again.
    Note(RedriveStatus),
    /// So many more dead letters may be copied, some at once; then look again.
    Copy(i64),
    /// Something has to happen first.
    Wait(String),
}

/// The next thing. `records`: those of the processor, the latest last.
pub fn plan(request: Option<&Redrive>, records: &[&RedriveStatus], seen: &Seen, now: Timestamp) -> Next {
    let running = records.iter().rev().find(|record| record.phase == RedrivePhase::Running);
    let Some(record) = running else {
        return match request {
            Some(request) if !records.iter().any(|record| record.id == request.id) => begin(request, seen, now),
            _ => Next::Rest,
        };
    };
    let progress = match &seen.progress {
        Some(Ok(progress)) => progress,
        Some(Err(why)) => return Next::Wait(why.clone()),
        None => return Next::Wait("how far it is is being looked at".to_owned()),
    };
    let counted = counted(record, progress);
    let Some(request) = request.filter(|request| request.id == record.id) else {
        let message = format!("it was taken back; {}", told(&counted));
        return Next::Note(ended(counted, RedrivePhase::Cancelled, message, now));
    };
    let until = flat(&record.until);
    let left = |(key, end): (&TopicPartition, &i64)| progress.get(key).is_none_or(|position| position.next < *end);
    let room = request.max() - counted.moved;
    if !until.iter().any(left) {
        let message = told(&counted);
        return Next::Note(ended(counted, RedrivePhase::Done, message, now));
    }
    if room <= 0 {
        let message = format!("{}; that is as many as redrive.max allows, and there may be more", told(&counted));
        return Next::Note(ended(counted, RedrivePhase::Done, message, now));
    }
    if seen.replayed {
        return Next::Wait("the processor is being replayed".to_owned());
    }
    if counted != **record { Next::Note(counted) } else { Next::Copy(room) }
}

fn begin(request: &Redrive, seen: &Seen, now: Timestamp) -> Next {
    let record = RedriveStatus {
        id: request.id.clone(),
        processor: seen.processor.clone(),
        error_class: request.error_class().map(str::to_owned),
        ..RedriveStatus::default()
    };
    match (&seen.refusal, &seen.ends) {
        (Some(reason), _) => Next::Note(ended(record, RedrivePhase::Refused, reason.clone(), now)),
        (None, _) if seen.replayed => Next::Wait("the processor is being replayed".to_owned()),
        (None, Some(Ok(ends))) => Next::Note(RedriveStatus {
            phase: RedrivePhase::Running,
            until: ends.clone(),
            started_at: Some(Time(now)),
            ..record
        }),
        (None, Some(Err(why))) => Next::Wait(why.clone()),
        (None, None) => Next::Wait("the dead-letter topic is being looked at".to_owned()),
    }
}

/// The record with what has been counted by now.
fn counted(record: &RedriveStatus, progress: &BTreeMap<TopicPartition, Position>) -> RedriveStatus {
    let sum = |of: fn(&Position) -> i64| progress.values().map(of).sum();
    RedriveStatus {
        moved: sum(|position| position.moved),
        skipped: sum(|position| position.skipped),
        next: nested(&progress.iter().map(|(key, position)| (key.clone(), position.next)).collect()),
        message: None,
        ..record.clone()
    }
}

/// A record at its end.
pub fn ended(record: RedriveStatus, phase: RedrivePhase, message: String, now: Timestamp) -> RedriveStatus {
    RedriveStatus { phase, message: Some(message), finished_at: Some(Time(now)), ..record }
}

fn told(record: &RedriveStatus) -> String {
    format!("{} dead letters are redriven, {} were passed over", record.moved, record.skipped)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn request(id: &str) -> Redrive {
        serde_json::from_value(json!({"id": id, "max": 10})).unwrap()
    }

    fn at(offset: i64) -> PartitionOffsets {
        [("dead".to_owned(), [("0".to_owned(), offset)].into())].into()
    }

    fn running(moved: i64, next: i64) -> RedriveStatus {
        RedriveStatus {
            id: "a".into(),
            processor: "p".into(),
            phase: RedrivePhase::Running,
            until: at(20),
            next: at(next),
            moved,
            ..RedriveStatus::default()
        }
    }

    fn seen(moved: i64, next: i64) -> Seen {
        let position = Position { next, moved, skipped: 0 };
        Seen { progress: Some(Ok([(TopicPartition::new("dead", 0), position)].into())), ..Seen::default() }
    }

    fn next(asked: Option<&str>, on_record: &[RedriveStatus], seen: &Seen) -> (String, String) {
        let records: Vec<_> = on_record.iter().collect();
        match plan(asked.map(request).as_ref(), &records, seen, Timestamp::UNIX_EPOCH) {
            Next::Rest => ("rest".into(), String::new()),
            Next::Copy(room) => (format!("copy {room}"), String::new()),
            Next::Wait(why) => ("wait".into(), why),
            Next::Note(record) => {
                (format!("{} {:?} {}", record.id, record.phase, record.moved), record.message.unwrap_or_default())
            }
        }
    }

    #[test]
    fn one_thing_after_the_other() {
        let none = Seen::default;
        let done = RedriveStatus { phase: RedrivePhase::Done, ..running(3, 20) };
        let replayed = |seen: Seen| Seen { replayed: true, ..seen };
        for (asked, on_record, seen, word, said) in [
            (None, vec![], none(), "rest", ""),
            (Some("a"), vec![done.clone()], none(), "rest", ""),
            (Some("a"), vec![], none(), "wait", "looked at"),
            (Some("a"), vec![], Seen { ends: Some(Err("down".into())), ..none() }, "wait", "down"),
            (Some("a"), vec![], Seen { refusal: Some("no".into()), ..none() }, "a Refused 0", "no"),
            (Some("a"), vec![], replayed(Seen { ends: Some(Ok(at(20))), ..none() }), "wait", "replayed"),
            (Some("b"), vec![done], Seen { ends: Some(Ok(at(20))), ..none() }, "b Running 0", ""),
            (Some("a"), vec![running(0, 0)], none(), "wait", "looked at"),
            (Some("a"), vec![running(0, 0)], seen(3, 7), "a Running 3", ""),
            (Some("a"), vec![running(3, 7)], seen(3, 7), "copy 7", ""),
            (Some("a"), vec![running(3, 7)], replayed(seen(3, 7)), "wait", "replayed"),
            (
                Some("a"),
                vec![running(3, 7)],
                seen(4, 20),
                "a Done 4",
                "4 dead letters are redriven, 0 were passed over",
            ),
            (Some("a"), vec![running(3, 7)], seen(10, 12), "a Done 10", "redrive.max"),
            (None, vec![running(3, 7)], seen(4, 9), "a Cancelled 4", "taken back"),
            (Some("b"), vec![running(3, 7)], seen(4, 9), "a Cancelled 4", "taken back"),
        ] {
            let (next, why) = next(asked, &on_record, &seen);
            assert_eq!(next, word, "{asked:?} {on_record:?} {seen:?}");
            assert!(why.contains(said), "{asked:?} {on_record:?}: {why}");
        }
    }

    #[test]
    fn an_empty_topic_is_done_at_once() {
        let empty = RedriveStatus { until: at(0), ..running(0, 0) };
        assert_eq!(next(Some("a"), &[empty], &seen(0, 0)).0, "a Done 0");
    }
}
