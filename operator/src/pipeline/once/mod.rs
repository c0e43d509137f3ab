//! What a processor does once for each id, because its spec says so, and what the status remembers of it. Pure, but for [`note`].

mod note;

use std::{collections::BTreeSet, fmt};

use tidegate_crds::{
    EventPipelineSpec, EventPipelineStatus,
    pipeline::{Processor, RedrivePhase, RedriveStatus, ReplayPhase, ReplayStatus},
};

pub use self::note::{Place, Told, note};

/// Records that are kept beside those that are needed.
const KEPT: usize = 10;

/// Said of what came out of a backup or a repository.
const RECORDED: &str = "it was there when the processor was first seen; give it another id to have it run";

/// How all that runs once stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Turn {
    /// Nothing is under way.
    Rest,
    /// Something waits.
    Wait,
    /// Something has gone on; what its record asks for now is to be applied.
    Again,
}

/// What the status remembers.
pub trait Once: Clone {
    /// How far it may be.
    type Phase: Copy + PartialEq + fmt::Debug;
    /// One that is not run.
    fn recorded(processor: &str, id: &str, message: &str) -> Self;
    /// Its processor, and its id.
    fn key(&self) -> (&str, &str);
    /// How far it is.
    fn phase(&self) -> Self::Phase;
    /// It is under way.
    fn is_active(&self) -> bool;
    /// It is not run, and somebody should know.
    fn is_refused(&self) -> bool;
    /// What it waits for, why it was refused, or what it did.
    fn message(&self) -> Option<&str>;
    /// The same with another message.
    fn saying(&self, message: String) -> Self;
    /// The id that a processor is asked for.
    fn asked(processor: &Processor) -> Option<&str>;
    /// All of a status.
    fn all(status: &EventPipelineStatus) -> &Vec<Self>;
    /// All of a status, to be changed.
    fn all_mut(status: &mut EventPipelineStatus) -> &mut Vec<Self>;
}

/// The kinds of records have these fields alike; their names in the spec and in the status are their own.
macro_rules! once {
    ($record:ident, $phase:ident, $request:ident, $records:ident) => {
        impl Once for $record {
            type Phase = $phase;

            fn recorded(processor: &str, id: &str, message: &str) -> Self {
                Self {
                    id: id.to_owned(),
                    processor: processor.to_owned(),
                    message: Some(message.to_owned()),
                    ..Self::default()
                }
            }

            fn key(&self) -> (&str, &str) {
                (&self.processor, &self.id)
            }

            fn phase(&self) -> $phase {
                self.phase
            }

            fn is_active(&self) -> bool {
                self.phase.is_active()
            }

            fn is_refused(&self) -> bool {
                self.phase == $phase::Refused
            }

            fn message(&self) -> Option<&str> {
                self.message.as_deref()
            }

            fn saying(&self, message: String) -> Self {
                Self { message: Some(message), ..self.clone() }
            }

            fn asked(processor: &Processor) -> Option<&str> {
                processor.$request.as_ref().map(|asked| asked.id.as_str())
            }

            fn all(status: &EventPipelineStatus) -> &Vec<Self> {
                &status.$records
            }

            fn all_mut(status: &mut EventPipelineStatus) -> &mut Vec<Self> {
                &mut status.$records
            }
        }
    };
}

once!(ReplayStatus, ReplayPhase, replay, replays);
once!(RedriveStatus, RedrivePhase, redrive, redrives);

/// Records of what was there when its processor was first seen: it came with it, from a backup or a repository, and is not run. To be
/// written before anything else is.
pub fn first_seen<R: Once>(spec: &EventPipelineSpec, status: &EventPipelineStatus) -> Vec<R> {
    let is_new = |processor: &&Processor| !status.processors.iter().any(|line| line.name == processor.name);
    let record = |processor: &Processor| {
        let id = R::asked(processor)?;
        let known = R::all(status).iter().any(|record| record.key() == (processor.name.as_str(), id));
        (!known).then(|| R::recorded(&processor.name, id, RECORDED))
    };
    spec.processors.iter().filter(is_new).filter_map(record).collect()
}

/// Those of a processor, the latest last.
pub fn of<'a, R: Once>(records: &'a [R], processor: &str) -> Vec<&'a R> {
    records.iter().filter(|record| record.key().0 == processor).collect()
}

/// The one of a processor that is under way.
pub fn active<'a, R: Once>(records: &'a [R], processor: &str) -> Option<&'a R> {
    of(records, processor).into_iter().rev().find(|record| record.is_active())
}

/// The records with one more, or a newer one of what is known.
pub fn noted<R: Once>(records: &[R], record: R) -> Vec<R> {
    let mut noted = records.to_vec();
    match noted.iter_mut().find(|known| known.key() == record.key()) {
        Some(known) => *known = record,
        None => noted.push(record),
    }
    noted
}

/// Without those that nobody needs: kept are what is asked for, since it would run again; what is under way; what is `needed`; and the
/// latest of the others.
pub fn prune<R: Once>(records: Vec<R>, spec: &EventPipelineSpec, needed: impl Fn(&R) -> bool) -> Vec<R> {
    let asked: BTreeSet<(&str, &str)> =
        spec.processors.iter().filter_map(|processor| Some((processor.name.as_str(), R::asked(processor)?))).collect();
    let keep = |record: &R| record.is_active() || asked.contains(&record.key()) || needed(record);
    let mut spare = records.iter().filter(|record| !keep(record)).count().saturating_sub(KEPT);
    let mut kept = records.clone();
    kept.retain(|record| {
        let goes = spare > 0 && !keep(record);
        spare -= usize::from(goes);
        !goes
    });
    kept
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tidegate_crds::pipeline::ProcessorStatus;

    use super::*;

    fn record(id: &str, phase: ReplayPhase) -> ReplayStatus {
        ReplayStatus { id: id.into(), processor: "p".into(), phase, ..ReplayStatus::default() }
    }

    fn spec(asked: &str) -> EventPipelineSpec {
        serde_json::from_value(json!({
            "kafka": {"user": {"secretRef": {"name": "kafka"}}},
            "processors": [{
                "name": "p", "run": {"wallet": {"role": "LedgerProjector"}}, "consumes": {"topics": ["t"], "group": "g"},
                "replay": {"id": asked, "from": {"position": "Earliest"}},
            }],
        }))
        .unwrap()
    }

    #[test]
    fn what_is_asked_for_or_works_is_kept_and_the_latest_ten_of_the_rest() {
        let mut replays = vec![record("asked", ReplayPhase::Refused), record("works", ReplayPhase::Done)];
        replays.extend((0..15).map(|n| record(&format!("old-{n}"), ReplayPhase::Refused)));
        let kept: Vec<_> =
            prune(replays, &spec("asked"), |one| one.id == "works").into_iter().map(|replay| replay.id).collect();
        let expected: Vec<_> =
            ["asked", "works"].into_iter().map(str::to_owned).chain((5..15).map(|n| format!("old-{n}"))).collect();
        assert_eq!(kept, expected);
    }

    #[test]
    fn what_comes_with_a_processor_is_recorded_and_what_is_asked_of_one_that_runs_is_not() {
        let mut status = EventPipelineStatus::default();
        let first: Vec<ReplayStatus> = first_seen(&spec("a"), &status);
        assert_eq!(
            first.iter().map(|one| (one.id.as_str(), one.phase)).collect::<Vec<_>>(),
            [("a", ReplayPhase::Recorded)]
        );
        status.replays = first;
        assert_eq!(first_seen::<ReplayStatus>(&spec("a"), &status), []);
        status.replays.clear();
        status.processors.push(ProcessorStatus { name: "p".into(), ..ProcessorStatus::default() });
        assert_eq!(first_seen::<ReplayStatus>(&spec("a"), &status), []);
    }

    #[test]
    fn a_record_is_replaced_where_it_is() {
        let first = [record("a", ReplayPhase::Done), record("b", ReplayPhase::Stopping)];
        let noted = noted(&first, record("b", ReplayPhase::Moving));
        assert_eq!(noted.iter().map(|one| one.phase).collect::<Vec<_>>(), [ReplayPhase::Done, ReplayPhase::Moving]);
        assert_eq!(active(&noted, "p").map(|one| one.id.as_str()), Some("b"));
        assert_eq!(active(&noted, "q"), None);
    }
}
