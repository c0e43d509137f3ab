//! Replay: a processor is stopped, the offsets of its group are put on record and then set, and it starts anew from there, in a generation
//! of its own. [`plan`] decides, [`observe`] looks, this does.

mod history;
mod observe;
mod plan;
#[cfg(test)]
mod simulation_tests;
mod target;
mod turn;

use tidegate_crds::pipeline::Processor;
use tidegate_kafka::KafkaAdmin;
use tidegate_settings::{Retry, Run};

use self::plan::Moves;
pub use self::{
    history::{generation, is_stopped, prune},
    turn::turn,
};
use super::offsets::{all, flat};

/// Why a processor may not be replayed, wherever to; none if it may.
fn refusal(processor: &Processor, autoscaler: Option<&str>) -> Option<String> {
    let name = &processor.name;
    if processor.consumes.is_none() {
        return Some(format!("processor {name} reads no topic; set consumes, or take replay out"));
    }
    // A projection is made anew, and drops the events that it has seen; a container says what it does.
    if !processor.run.idempotent() {
        return Some(format!(
            "processor {name} does not say that a record may be handled twice; make it so, and set run.container.idempotent to true"
        ));
    }
    autoscaler.map(|autoscaler| {
        format!(
            "{autoscaler} scales the Deployment of processor {name} and would start pods in the middle; delete it, and replay with another id"
        )
    })
}

/// Whether the processor has from elsewhere what its topics no longer hold.
fn rebuilds(run: &Run) -> bool {
    match run {
        // Its projectors read the event store first (docs/adr/0018-projections-are-rebuilt-from-the-event-store.md).
        Run::Wallet(_) => true,
        Run::Container(_) => false,
    }
}

/// Writes offsets. What fails is looked at again.
///
/// # Errors
/// What Kafka said, in words.
async fn perform(admin: &dyn KafkaAdmin, group: &str, moves: &Moves) -> Result<(), String> {
    // Retries first: while they are not written, the group's own offsets say that the replay has not begun.
    if !moves.retry.is_empty() {
        all(admin.set_offsets(&Retry::group_of(group), &flat(&moves.retry)).await)?;
    }
    if !moves.forget.is_empty() {
        let forget: Vec<_> = flat(&moves.forget).into_keys().collect();
        all(admin.forget_offsets(group, &forget).await)?;
    }
    if !moves.set.is_empty() {
        all(admin.set_offsets(group, &flat(&moves.set)).await)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn processor(consumes: bool) -> Processor {
        let consumes = consumes.then(|| json!({"topics": ["t"], "group": "g"}));
        serde_json::from_value(
            json!({"name": "p", "run": {"wallet": {"role": "LedgerProjector"}}, "consumes": consumes}),
        )
        .unwrap()
    }

    #[test]
    fn what_may_not_be_replayed_is_told_why_and_what_to_do() {
        assert_eq!(refusal(&processor(true), None), None);
        assert!(refusal(&processor(false), None).unwrap().contains("reads no topic"));
        let container = |idempotent: bool| {
            let run = json!({"container": {"image": "a/b:1", "idempotent": idempotent}});
            Processor { run: serde_json::from_value(run).unwrap(), ..processor(true) }
        };
        assert_eq!(refusal(&container(true), None), None);
        assert!(refusal(&container(false), None).unwrap().contains("set run.container.idempotent to true"));
        let scaled = refusal(&processor(true), Some("HorizontalPodAutoscaler bank/p")).unwrap();
        assert!(scaled.contains("HorizontalPodAutoscaler bank/p scales the Deployment of processor p"), "{scaled}");
    }
}
