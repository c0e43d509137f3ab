//! Why an EventPipeline's reconciliation did not come to its end.

use crate::{gateway::GatewayError, topic::plan::Refusal};

/// Why a reconciliation is tried again.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    /// The API server.
    #[error("{doing}: {source}")]
    Kubernetes {
        /// What was being done.
        doing: &'static str,
        /// What it said.
        source: Box<kube::Error>,
    },
    /// Kafka, or the way to it.
    #[error(transparent)]
    Kafka(#[from] GatewayError),
    /// It takes somebody to change something.
    #[error("{}", .0.message)]
    Refused(Refusal),
    /// A defect of the operator.
    #[error("the objects of a processor could not be built: {0}")]
    Defect(String),
}

impl PipelineError {
    /// For `map_err`: what was being done.
    pub fn kubernetes(doing: &'static str) -> impl Fn(kube::Error) -> Self {
        move |source| Self::Kubernetes { doing, source: Box::new(source) }
    }

    /// The namespace is going, and the pipeline with it.
    pub(super) fn is_of_the_end(&self) -> bool {
        let Self::Kubernetes { source, .. } = self else { return false };
        let kube::Error::Api(status) = source.as_ref() else { return false };
        let causes = status.details.iter().flat_map(|details| &details.causes);
        status.code == 403 && causes.into_iter().any(|cause| cause.reason == "NamespaceTerminating")
    }

    /// The API server refuses what was built from the spec, and would again: a bad quantity, a bad label.
    pub(super) fn refusal(&self) -> Option<Refusal> {
        match self {
            Self::Kubernetes { doing, source } => match source.as_ref() {
                kube::Error::Api(status) if status.code == 422 || status.code == 400 => {
                    Some(Refusal::new("KubernetesRefuses", format!("{doing}: {}", status.message)))
                }
                _ => None,
            },
            Self::Refused(refusal) => Some(refusal.clone()),
            Self::Kafka(_) | Self::Defect(_) => None,
        }
    }
}
