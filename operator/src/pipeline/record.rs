//! The status of a pipeline, written where it changed.

use tidegate_crds::{EventPipeline, EventPipelineStatus};

use super::PipelineError;
use crate::{
    context::{Context, apply_status},
    metrics::Kind,
};

/// Writes a status that differs from `previous`, and remembers it.
///
/// # Errors
/// What the API server said.
pub async fn write(
    context: &Context,
    pipeline: &EventPipeline,
    previous: &EventPipelineStatus,
    next: EventPipelineStatus,
) -> Result<(), PipelineError> {
    if *previous == next {
        return Ok(());
    }
    apply_status(&context.client, pipeline, &next).await.map_err(PipelineError::kubernetes("writing the status"))?;
    context.metrics.status_written(Kind::Pipeline);
    let uid = pipeline.metadata.uid.as_deref().unwrap_or_default();
    context.pipeline_memories.with(uid, |memory| memory.status = Some(next));
    Ok(())
}
