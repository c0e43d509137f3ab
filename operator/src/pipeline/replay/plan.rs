//! What a replay needs next. Pure: what is asked for, what is on record and what is seen of the world go in; one thing to do comes out.
//!
//! Every change of the record is written before what it announces is done, and everything that is done can be done again, so that an
//! operator that is killed anywhere leaves nothing that the next one does not go on with.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use tidegate_crds::pipeline::{Replay, ReplayPhase, ReplayStatus};
use tidegate_settings::PartitionOffsets;

/// What is seen of the world, as far as anybody looked: only what the phase asks for.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Name of the processor.
    pub processor: String,
    /// Why it may not be replayed, wherever to.
    pub refusal: Option<String>,
    /// Whether it is stopped: no pods, no members of its group.
    pub stopped: Stopped,
    /// Where it would begin, and where its group is.
    pub target: Target,
    /// What Kafka holds, against what is on record.
    pub offsets: Offsets,
    /// Every pod that there should be runs and is ready.
    pub settled: bool,
}

/// Whether a processor is stopped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Stopped {
    /// Nobody works on its records.
    Yes,
    /// Not yet; what is waited for.
    #[default]
    Unknown,
    /// Somebody does; who.
    No(String),
}

/// Where a replay leads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Target {
    /// Nobody knows at the moment; why.
    #[default]
    NotLooked,
    /// Kafka does not say; what it said instead.
    Unknown(String),
    /// It cannot be had; why, and what to do.
    Refused(String),
    /// There: where the group is, and where it is to be.
    At {
        /// Where the group is.
        before: PartitionOffsets,
        /// Where it is to be.
        after: PartitionOffsets,
    },
}

/// Whether Kafka holds what is on record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Offsets {
    /// Nobody knows at the moment.
    #[default]
    NotLooked,
    /// Kafka does not say; what it said instead.
    Unknown(String),
    /// Everything is where it is to be.
    Set,
    /// Not yet; what is to be written.
    Differ(Moves),
}

/// Offsets to write. Doing it twice is doing it once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Moves {
    /// Of the group.
    pub set: PartitionOffsets,
    /// Of the group: partitions that it is to have no offset for.
    pub forget: PartitionOffsets,
    /// Of the group that reads the retry topics.
    pub retry: PartitionOffsets,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Next {
    /// Nothing.
    Rest,
    /// This is to be put on record; then look again.
    Note(ReplayStatus),
    /// These offsets are to be written; then look again.
    Move(Moves),
    /// Something has to happen first.
    Wait(String),
}

/// The next thing. `records`: those of the processor, the latest last.
pub fn plan(request: Option<&Replay>, records: &[&ReplayStatus], seen: &Seen, now: Timestamp) -> Next {
    let Some(record) = records.iter().rev().find(|record| record.phase.is_active()).copied() else {
        return match request {
            Some(request) if !records.iter().any(|record| record.id == request.id) => begin(request, seen, now),
            _ => Next::Rest,
        };
    };
    let replaced = request.is_none_or(|request| request.id != record.id);
    match record.phase {
        ReplayPhase::Stopping if replaced => {
            let message = "it was taken back before any offset was changed";
            Next::Note(ended(record, ReplayPhase::Cancelled, message, now))
        }
        ReplayPhase::Stopping => stopping(record, seen, now),
        ReplayPhase::Moving => moving(record, seen),
        ReplayPhase::Starting if seen.settled => Next::Note(ended(record, ReplayPhase::Done, &summary(record), now)),
        ReplayPhase::Starting if replaced && request.is_some() => {
            let message = format!("{}; its pods were not ready yet when another replay was asked for", summary(record));
            Next::Note(ended(record, ReplayPhase::Done, &message, now))
        }
        _ => Next::Wait("its pods are being started".to_owned()),
    }
}

fn begin(request: &Replay, seen: &Seen, now: Timestamp) -> Next {
    let record = ReplayStatus { id: request.id.clone(), processor: seen.processor.clone(), ..ReplayStatus::default() };
    let refused = |reason: &String| Next::Note(ended(&record, ReplayPhase::Refused, reason, now));
    match (&seen.refusal, &seen.target) {
        (Some(reason), _) | (None, Target::Refused(reason)) => refused(reason),
        (None, Target::Unknown(why)) => Next::Wait(why.clone()),
        (None, Target::NotLooked) => Next::Wait("its topics are being looked at".to_owned()),
        (None, Target::At { .. }) => {
            Next::Note(ReplayStatus { phase: ReplayPhase::Stopping, started_at: Some(Time(now)), ..record.clone() })
        }
    }
}

fn stopping(record: &ReplayStatus, seen: &Seen, now: Timestamp) -> Next {
    if let Some(wait) = waiting_for(&seen.stopped) {
        return wait;
    }
    match &seen.target {
        Target::NotLooked => Next::Wait("its topics are being looked at".to_owned()),
        Target::Unknown(why) => Next::Wait(why.clone()),
        Target::Refused(reason) => Next::Note(ended(record, ReplayPhase::Refused, reason, now)),
        Target::At { before, after } => Next::Note(ReplayStatus {
            phase: ReplayPhase::Moving,
            message: None,
            before: before.clone(),
            after: after.clone(),
            ..record.clone()
        }),
    }
}

fn moving(record: &ReplayStatus, seen: &Seen) -> Next {
    if let Some(wait) = waiting_for(&seen.stopped) {
        return wait;
    }
    match &seen.offsets {
        Offsets::NotLooked => Next::Wait("its offsets are being looked at".to_owned()),
        Offsets::Unknown(why) => Next::Wait(why.clone()),
        Offsets::Differ(moves) => Next::Move(moves.clone()),
        Offsets::Set => Next::Note(ReplayStatus { phase: ReplayPhase::Starting, message: None, ..record.clone() }),
    }
}

fn waiting_for(stopped: &Stopped) -> Option<Next> {
    match stopped {
        Stopped::Yes => None,
        Stopped::Unknown => Some(Next::Wait("whether its group is empty is not known yet".to_owned())),
        Stopped::No(who) => Some(Next::Wait(who.clone())),
    }
}

fn ended(record: &ReplayStatus, phase: ReplayPhase, message: &str, now: Timestamp) -> ReplayStatus {
    ReplayStatus { phase, message: Some(message.to_owned()), finished_at: Some(Time(now)), ..record.clone() }
}

/// What a replay did, in one sentence: how far back, and how far on.
fn summary(record: &ReplayStatus) -> String {
    let (mut back, mut on, mut partitions) = (0_i64, 0_i64, 0_usize);
    for (topic, offsets) in &record.after {
        for (partition, after) in offsets {
            partitions += 1;
            let before = record.before.get(topic).and_then(|offsets| offsets.get(partition)).copied().unwrap_or(*after);
            back = back.saturating_add(before.saturating_sub(*after).max(0));
            on = on.saturating_add(after.saturating_sub(before).max(0));
        }
    }
    match (back, on) {
        (0, 0) => format!("{partitions} partitions begin where they were"),
        (back, 0) => format!("{partitions} partitions begin {back} offsets before where they were"),
        (0, on) => format!("{partitions} partitions begin {on} offsets behind where they were"),
        (back, on) => format!("{partitions} partitions begin {back} offsets before and {on} behind where they were"),
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
