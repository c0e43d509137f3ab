//! What follows from the replays that a status keeps. Pure.

use tidegate_crds::{EventPipelineSpec, pipeline::ReplayStatus};
use tidegate_settings::Generation;

use crate::pipeline::once::{self, active, of};

/// Whether a processor is to have no pods because of a replay.
pub fn is_stopped(replays: &[ReplayStatus], processor: &str) -> bool {
    active(replays, processor).is_some_and(|replay| replay.phase.is_stopped())
}

/// The generation that a processor's pods are to work in.
pub fn generation(replays: &[ReplayStatus], processor: &str) -> Option<Generation> {
    let latest = of(replays, processor).into_iter().rev().find(|replay| replay.phase.has_moved())?;
    Some(Generation { id: latest.id.clone(), offsets: latest.after.clone() })
}

/// Without those that nobody needs. The one whose generation the pods are in is needed.
pub fn prune(replays: &[ReplayStatus], spec: &EventPipelineSpec) -> Vec<ReplayStatus> {
    let works = |replay: &ReplayStatus| {
        spec.processors.iter().any(|processor| processor.name == replay.processor)
            && generation(replays, &replay.processor).is_some_and(|generation| generation.id == replay.id)
    };
    once::prune(replays.to_vec(), spec, works)
}

#[cfg(test)]
mod tests {
    use tidegate_crds::pipeline::ReplayPhase;

    use super::*;

    fn record(processor: &str, id: &str, phase: ReplayPhase) -> ReplayStatus {
        ReplayStatus { id: id.into(), processor: processor.into(), phase, ..ReplayStatus::default() }
    }

    #[test]
    fn the_generation_is_that_of_the_latest_replay_that_moved_anything() {
        use ReplayPhase::{Cancelled, Done, Moving, Refused, Stopping};
        let of = |phases: &[ReplayPhase]| {
            let replays: Vec<_> =
                phases.iter().enumerate().map(|(n, phase)| record("p", &n.to_string(), *phase)).collect();
            generation(&replays, "p").map(|generation| generation.id)
        };
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[Stopping]), None);
        assert_eq!(of(&[Done, Stopping]), Some("0".to_owned()));
        assert_eq!(of(&[Done, Moving]), Some("1".to_owned()));
        assert_eq!(of(&[Done, Refused, Cancelled]), Some("0".to_owned()));
    }

    #[test]
    fn a_processor_stops_while_its_offsets_are_set_and_others_do_not() {
        let replays = [record("p", "a", ReplayPhase::Done), record("q", "b", ReplayPhase::Moving)];
        assert_eq!((is_stopped(&replays, "q"), is_stopped(&replays, "p")), (true, false));
    }
}
