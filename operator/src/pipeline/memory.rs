//! What one leadership remembers of each EventPipeline.

/// All pipelines.
#[derive(Debug, Default)]
pub struct PipelineMemories;
