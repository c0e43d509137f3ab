//! Rules without a cluster: for those who bring them to Prometheus themselves, and for promtool.

use std::path::PathBuf;

use serde::Deserialize;
use tidegate_crds::EventPipeline;

use super::{groups, rule::RuleFile};
use crate::config::AlertsConfig;

/// What `tidegate-operator rules` takes.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// YAML documents; those that are no EventPipelines are passed over.
    pub file: PathBuf,
    /// Namespace of a pipeline that names none.
    #[arg(long, default_value = "default")]
    pub namespace: String,
    /// Where the pages about alerts are; {alert} stands for the name.
    #[arg(long)]
    pub runbook_url: Option<String>,
}

/// Why there are no rules.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// It cannot be read.
    #[error("reading {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is not YAML, or an EventPipeline in it is not what the schema says.
    #[error("{path} is not valid: {message}")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// A defect.
    #[error("the rules could not be written: {0}")]
    Write(#[from] serde_saphyr::SerializeError),
}

/// The rule file of all EventPipelines in a file.
///
/// # Errors
/// When the file cannot be read, or is not valid.
pub fn rules(arguments: &Arguments) -> Result<String, RenderError> {
    let path = &arguments.file;
    let text = std::fs::read_to_string(path).map_err(|source| RenderError::Read { path: path.clone(), source })?;
    let invalid = |message: String| RenderError::Invalid { path: path.clone(), message };
    let pipelines = pipelines(&text, &arguments.namespace).map_err(invalid)?;
    let mut config = AlertsConfig::default();
    config.runbook_url = arguments.runbook_url.clone().unwrap_or(config.runbook_url);
    Ok(file(&pipelines, &config)?)
}

/// All groups of pipelines as one rule file.
///
/// # Errors
/// When a rule cannot be written as YAML, which is a defect.
pub fn file(pipelines: &[EventPipeline], config: &AlertsConfig) -> Result<String, serde_saphyr::SerializeError> {
    let all = pipelines.iter().flat_map(|pipeline| groups(pipeline, config)).map(|(_, group)| group);
    serde_saphyr::to_string(&RuleFile { groups: all.collect() })
}

/// The EventPipelines among YAML documents.
fn pipelines(text: &str, namespace: &str) -> Result<Vec<EventPipeline>, String> {
    #[derive(Deserialize)]
    struct Head {
        kind: String,
    }
    let documents: Vec<serde_json::Value> = serde_saphyr::from_multiple(text).map_err(|error| error.to_string())?;
    let mut pipelines = Vec::new();
    for document in documents {
        let head: Head = serde_json::from_value(document.clone()).map_err(|error| error.to_string())?;
        if head.kind != "EventPipeline" {
            continue;
        }
        let mut pipeline: EventPipeline = serde_json::from_value(document).map_err(|error| error.to_string())?;
        pipeline.metadata.namespace.get_or_insert_with(|| namespace.to_owned());
        pipelines.push(pipeline);
    }
    Ok(pipelines)
}
