//! The next thing, case by case.

use serde_json::json;
use tidegate_crds::pipeline::ReplayPhase::{self, Cancelled, Done, Moving, Refused, Starting, Stopping};

use super::*;

fn request(id: &str) -> Replay {
    serde_json::from_value(json!({"id": id, "from": {"position": "Earliest"}})).unwrap()
}

fn record(id: &str, phase: ReplayPhase) -> ReplayStatus {
    ReplayStatus { id: id.into(), processor: "p".into(), phase, ..ReplayStatus::default() }
}

fn at(offset: i64) -> PartitionOffsets {
    [("t".to_owned(), [("0".to_owned(), offset)].into())].into()
}

fn there() -> Target {
    Target::At { before: at(9), after: at(2) }
}

/// A word for what is next, and what is said.
fn next(asked: Option<&str>, on_record: &[(&str, ReplayPhase)], seen: Seen) -> (String, String) {
    let records: Vec<_> = on_record.iter().map(|(id, phase)| record(id, *phase)).collect();
    let records: Vec<_> = records.iter().collect();
    match plan(asked.map(request).as_ref(), &records, &seen, Timestamp::UNIX_EPOCH) {
        Next::Rest => ("rest".into(), String::new()),
        Next::Move(moves) => ("move".into(), format!("{moves:?}")),
        Next::Wait(why) => ("wait".into(), why),
        Next::Note(record) => (format!("{} {:?}", record.id, record.phase), record.message.unwrap_or_default()),
    }
}

#[test]
fn one_thing_after_the_other() {
    let seen = Seen::default;
    let yes = || Seen { stopped: Stopped::Yes, ..seen() };
    let moves = Moves { set: at(2), ..Moves::default() };
    let cases = [
        (None, vec![], seen(), "rest", ""),
        (None, vec![("a", Done)], seen(), "rest", ""),
        (Some("a"), vec![("a", Done)], seen(), "rest", ""),
        (Some("a"), vec![("a", Refused)], Seen { target: there(), ..seen() }, "rest", ""),
        (Some("a"), vec![("a", ReplayPhase::Recorded)], Seen { target: there(), ..seen() }, "rest", ""),
        (Some("a"), vec![], seen(), "wait", "looked at"),
        (Some("a"), vec![], Seen { target: Target::Unknown("down".into()), ..seen() }, "wait", "down"),
        (Some("a"), vec![], Seen { target: Target::Refused("gone".into()), ..seen() }, "a Refused", "gone"),
        (Some("a"), vec![], Seen { refusal: Some("no".into()), target: there(), ..seen() }, "a Refused", "no"),
        (Some("b"), vec![("a", Done)], Seen { target: there(), ..seen() }, "b Stopping", ""),
        // Stopping: nothing has been changed, and it can be taken back.
        (None, vec![("a", Stopping)], seen(), "a Cancelled", "taken back"),
        (Some("b"), vec![("a", Stopping)], seen(), "a Cancelled", "taken back"),
        (Some("b"), vec![("a", Cancelled)], Seen { target: there(), ..seen() }, "b Stopping", ""),
        (Some("a"), vec![("a", Stopping)], seen(), "wait", "not known"),
        (Some("a"), vec![("a", Stopping)], Seen { stopped: Stopped::No("busy".into()), ..seen() }, "wait", "busy"),
        (
            Some("a"),
            vec![("a", Stopping)],
            Seen { target: Target::Refused("gone".into()), ..yes() },
            "a Refused",
            "gone",
        ),
        (Some("a"), vec![("a", Stopping)], Seen { target: there(), ..yes() }, "a Moving", ""),
        // Moving: what is asked for by now does not matter.
        (None, vec![("a", Moving)], Seen { stopped: Stopped::No("busy".into()), ..seen() }, "wait", "busy"),
        (None, vec![("a", Moving)], Seen { offsets: Offsets::Unknown("down".into()), ..yes() }, "wait", "down"),
        (None, vec![("a", Moving)], Seen { offsets: Offsets::Differ(moves.clone()), ..yes() }, "move", "2"),
        (Some("b"), vec![("a", Moving)], Seen { offsets: Offsets::Set, ..yes() }, "a Starting", ""),
        (Some("a"), vec![("a", Starting)], seen(), "wait", "started"),
        (None, vec![("a", Starting)], seen(), "wait", "started"),
        (Some("a"), vec![("a", Starting)], Seen { settled: true, ..seen() }, "a Done", "begin where they were"),
        // Its pods may never be ready; the way out is another replay.
        (Some("b"), vec![("a", Starting)], seen(), "a Done", "not ready yet"),
    ];
    for (asked, on_record, seen, word, said) in cases {
        let (next, why) = next(asked, &on_record, seen.clone());
        assert_eq!(next, word, "{asked:?} {on_record:?} {seen:?}");
        assert!(why.contains(said), "{asked:?} {on_record:?}: {why}");
    }
}

#[test]
fn where_the_group_was_and_where_it_is_to_be_are_on_record_before_anything_is_set() {
    let stopping = ReplayStatus { message: Some("1 of its pods".into()), ..record("a", Stopping) };
    let seen = Seen { stopped: Stopped::Yes, target: there(), ..Seen::default() };
    let Next::Note(noted) = plan(Some(&request("a")), &[&stopping], &seen, Timestamp::UNIX_EPOCH) else { panic!() };
    assert_eq!((noted.before, noted.after, noted.message), (at(9), at(2), None));
}

#[test]
fn what_a_replay_did_is_told_in_a_sentence() {
    for (before, after, said) in [
        (9, 2, "1 partitions begin 7 offsets before where they were"),
        (2, 9, "1 partitions begin 7 offsets behind where they were"),
    ] {
        assert_eq!(summary(&ReplayStatus { before: at(before), after: at(after), ..record("a", Done) }), said);
    }
    let both = ReplayStatus {
        before: [("t".to_owned(), [("0".to_owned(), 5), ("1".to_owned(), 5)].into())].into(),
        after: [("t".to_owned(), [("0".to_owned(), 1), ("1".to_owned(), 8)].into())].into(),
        ..record("a", Done)
    };
    assert_eq!(summary(&both), "2 partitions begin 4 offsets before and 3 behind where they were");
}
