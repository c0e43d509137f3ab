//! Puts what runs once on record, and tells of it.

use k8s_openapi::api::core::v1::ObjectReference;
use tidegate_crds::{EventPipeline, pipeline::Processor};

use super::{Once, Turn, noted};
use crate::{
    context::Context,
    pipeline::{PipelineError, record},
};

/// What is told of a record.
pub trait Told: Once {
    /// What it is.
    const WHAT: &str;
    /// How it is, in words.
    fn told(&self) -> String;
}

/// Where something runs once.
pub struct Place<'a> {
    /// What the operator has.
    pub context: &'a Context,
    /// The pipeline.
    pub pipeline: &'a EventPipeline,
    /// What Events are about.
    pub about: &'a ObjectReference,
    /// The processor.
    pub processor: &'a Processor,
}

impl Place<'_> {
    /// It has gone on.
    ///
    /// # Errors
    /// What the API server said.
    pub async fn note(&self, record: impl Told) -> Result<Turn, PipelineError> {
        note(self.context, self.pipeline, self.about, record).await?;
        Ok(Turn::Again)
    }

    /// It waits. What for is in the status, once.
    ///
    /// # Errors
    /// What the API server said.
    pub async fn wait<R: Told>(&self, under_way: Option<&R>, why: String) -> Result<Turn, PipelineError> {
        match under_way {
            Some(record) if record.message() != Some(&why) => {
                note(self.context, self.pipeline, self.about, record.saying(why)).await?;
            }
            Some(_) => {}
            None => tracing::info!(processor = self.processor.name, why, "a {} waits", R::WHAT.to_lowercase()),
        }
        Ok(Turn::Wait)
    }
}

/// Puts a record into the status. An Event tells of a phase that is new.
///
/// # Errors
/// What the API server said.
pub async fn note<R: Told>(
    context: &Context,
    pipeline: &EventPipeline,
    about: &ObjectReference,
    record: R,
) -> Result<(), PipelineError> {
    let previous = context.pipeline_memories.status(pipeline);
    let known = R::all(&previous).iter().find(|known| known.key() == record.key());
    let is_news = known.map(Once::phase) != Some(record.phase());
    let mut next = previous.clone();
    *R::all_mut(&mut next) = noted(R::all(&previous), record.clone());
    record::write(context, pipeline, &previous, next).await?;
    if !is_news {
        return Ok(());
    }
    let (processor, id) = record.key();
    let reason = format!("{}{:?}", R::WHAT, record.phase());
    // Each id has an action of its own: of Events that are alike but for their notes, the API keeps the first.
    let action = format!("{}/{processor}/{id}", R::WHAT);
    let text = format!("{} {id} of processor {processor}: {}", R::WHAT.to_lowercase(), record.told());
    if record.is_refused() {
        context.events.warning(about, &reason, &action, text).await;
    } else {
        context.events.normal(about, &reason, &action, text).await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use kube::Resource;
    use tidegate_crds::pipeline::{ReplayPhase, ReplayStatus};

    use super::*;
    use crate::testing::{World, wallet};

    #[tokio::test]
    async fn each_refusal_has_an_event_of_its_own_and_a_message_that_changes_has_none() {
        let world = World::new();
        let pipeline = wallet(|_| ());
        let about = pipeline.object_ref(&());
        for (id, message) in [("a", "the first"), ("b", "the second"), ("b", "the second, again")] {
            let record = ReplayStatus {
                id: id.into(),
                processor: "ledger".into(),
                phase: ReplayPhase::Refused,
                message: Some(message.into()),
                ..ReplayStatus::default()
            };
            note(&world.context, &pipeline, &about, record).await.unwrap();
        }
        let notes: Vec<String> = world
            .conversation()
            .into_iter()
            .filter(|(line, _)| line.starts_with("POST"))
            .map(|(_, body)| body["note"].as_str().unwrap_or_default().to_owned())
            .collect();
        assert_eq!(notes, ["replay a of processor ledger: the first", "replay b of processor ledger: the second"]);
        let replays = world.context.pipeline_memories.status(&pipeline).replays;
        assert_eq!(replays.last().and_then(|last| last.message.clone()).as_deref(), Some("the second, again"));
    }
}
