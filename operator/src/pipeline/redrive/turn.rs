//! Redrives, a step at a time.

use k8s_openapi::api::core::v1::ObjectReference;
use tidegate_crds::{
    EventPipeline,
    pipeline::{Processor, RedrivePhase, RedriveStatus},
};

use super::{
    Names, Trouble, copy, ends,
    plan::{Next, Seen, ended, plan},
    progress, refusal,
};
use crate::{
    context::Context,
    pipeline::{
        PipelineError,
        once::{Place, Told, Turn, active, of},
    },
};

/// Takes a step of every redrive.
///
/// # Errors
/// What the API server said.
pub async fn turn(context: &Context, pipeline: &EventPipeline, about: &ObjectReference) -> Result<Turn, PipelineError> {
    let mut turn = Turn::Rest;
    for processor in &pipeline.spec.processors {
        turn = turn.max(Place { context, pipeline, about, processor }.redrive().await?);
    }
    Ok(turn)
}

impl Told for RedriveStatus {
    const WHAT: &str = "Redrive";

    fn told(&self) -> String {
        match self.phase {
            RedrivePhase::Running => "dead letters are being copied into the retry topic".to_owned(),
            _ => self.message.clone().unwrap_or_default(),
        }
    }
}

impl Place<'_> {
    async fn redrive(&self) -> Result<Turn, PipelineError> {
        let status = self.context.pipeline_memories.status(self.pipeline);
        let Processor { name, redrive: request, .. } = self.processor;
        let records = of(&status.redrives, name);
        let running = active(&status.redrives, name);
        let is_new = request.as_ref().is_some_and(|asked| !records.iter().any(|record| record.id == asked.id));
        let Some(gateway) = self.context.connections.get(self.pipeline.spec.connection()) else {
            return Ok(Turn::Rest);
        };
        if running.is_none() && !is_new {
            return Ok(Turn::Rest);
        }
        let admin = gateway.admin();
        let of = |part: &Option<String>| part.clone().unwrap_or_default();
        let (namespace, pipeline) = (of(&self.pipeline.metadata.namespace), of(&self.pipeline.metadata.name));
        let names = running.map(|record| Names::new(&namespace, &pipeline, name, &record.id));
        // The writer first: until there is one, a transaction of another operator may still be under way.
        let mut writer = None;
        let mut seen = Seen {
            processor: name.clone(),
            refusal: refusal(self.processor),
            replayed: active(&status.replays, name).is_some(),
            ..Seen::default()
        };
        match &names {
            Some(names) => {
                seen.progress = Some(match admin.transactor(&names.transactional_id).await {
                    Ok(opened) => {
                        writer = Some(opened);
                        progress(admin, &names.group).await
                    }
                    Err(error) => Err(error.to_string()),
                });
            }
            None if seen.refusal.is_none() => seen.ends = Some(ends(admin, self.processor).await),
            None => {}
        }
        match (plan(request.as_ref(), &records, &seen, jiff::Timestamp::now()), running, &writer, &names) {
            (Next::Note(record), ..) => self.note(record).await,
            (Next::Copy(room), Some(record), Some(writer), Some(names)) => {
                let positions = seen.progress.and_then(Result::ok).unwrap_or_default();
                let of = (record, records.as_slice());
                match copy(admin, (writer.as_ref(), names), self.processor, of, (&positions, room)).await {
                    Ok(true) => Ok(Turn::Again),
                    Ok(false) => Ok(Turn::Wait),
                    Err(Trouble::Again(why)) => self.wait(running, why).await,
                    Err(Trouble::TooLarge(why)) => {
                        let message = format!(
                            "a dead letter does not fit into its retry topic ({why}); raise max.message.bytes there, and redrive with another id"
                        );
                        let now = jiff::Timestamp::now();
                        self.note(ended(record.clone(), RedrivePhase::Cancelled, message, now)).await
                    }
                }
            }
            (Next::Wait(why), ..) => self.wait(running, why).await,
            (Next::Rest | Next::Copy(_), ..) => Ok(Turn::Rest),
        }
    }
}
