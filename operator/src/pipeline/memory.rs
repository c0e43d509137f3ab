//! What one leadership remembers of each EventPipeline; it is lost with the process, and costs a few reads and writes that
//! change nothing.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Mutex, PoisonError},
};

use tidegate_crds::{EventPipeline, EventPipelineStatus};

use super::validate::SecretView;

/// What was applied: a hash of it, and the object's marker afterwards.
pub type Applied = (String, String);

/// One pipeline.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    /// The status as written last: what is watched may be behind it.
    pub status: Option<EventPipelineStatus>,
    /// Objects by kind and name.
    pub applied: HashMap<(&'static str, String), Applied>,
    /// Secrets by name, as read at their version.
    pub secrets: HashMap<String, SecretView>,
    /// Processors whose objectives are shown.
    pub objectives: BTreeSet<String>,
    /// Failures in a row.
    pub attempts: u32,
}

/// All pipelines, by uid.
#[derive(Debug, Default)]
pub struct PipelineMemories(Mutex<HashMap<String, Memory>>);

impl PipelineMemories {
    /// Works on one pipeline's memory.
    pub fn with<R>(&self, uid: &str, work: impl FnOnce(&mut Memory) -> R) -> R {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        work(all.entry(uid.to_owned()).or_default())
    }

    /// Forgets a pipeline that is gone; what was remembered.
    pub fn forget(&self, uid: &str) -> Option<Memory> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(uid)
    }

    /// The status to go by: the one written last, or the one that is watched.
    pub fn status(&self, pipeline: &EventPipeline) -> EventPipelineStatus {
        let uid = pipeline.metadata.uid.as_deref().unwrap_or_default();
        self.with(uid, |memory| memory.status.clone()).or_else(|| pipeline.status.clone()).unwrap_or_default()
    }
}
