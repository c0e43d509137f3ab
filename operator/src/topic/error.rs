//! Why a KafkaTopic's reconciliation did not come to its end.

use tidegate_kafka::ErrorClass;

use super::{
    apply::{self, ApplyError, Extent},
    plan::Refusal,
};
use crate::gateway::GatewayError;

/// Why a reconciliation is tried again.
#[derive(Debug, thiserror::Error)]
pub enum TopicError {
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
    /// The connection that deletion needs is gone.
    #[error("the operator has no Kafka connection {name}, and needs it to delete the topic")]
    NoConnection {
        /// Its name.
        name: String,
    },
}

impl TopicError {
    /// The label of its metric.
    pub fn outcome(&self) -> &'static str {
        match self {
            Self::Kafka(GatewayError::Kafka(error)) if error.class() == ErrorClass::Bug => "bug",
            _ => "transient",
        }
    }

    /// As a reason and a sentence.
    pub fn refusal(&self) -> Refusal {
        match self {
            Self::Kafka(GatewayError::Kafka(error)) => apply::refusal(error),
            Self::Kafka(GatewayError::GivenUp) => Refusal::new("Stopping", self.to_string()),
            Self::Kubernetes { .. } => Refusal::new("Kubernetes", self.to_string()),
            Self::NoConnection { .. } => Refusal::new("UnknownConnection", self.to_string()),
        }
    }
}

/// Why a write did not happen.
pub enum Stop {
    /// Kafka refuses it, and would again.
    Refused(Refusal, Extent),
    /// It may work later.
    Error(TopicError),
}

impl From<ApplyError> for Stop {
    fn from(error: ApplyError) -> Self {
        match error {
            ApplyError::Refused(refusal, extent) => Self::Refused(refusal, extent),
            ApplyError::Later(error) => Self::Error(error.into()),
        }
    }
}

impl From<TopicError> for Stop {
    fn from(error: TopicError) -> Self {
        Self::Error(error)
    }
}
