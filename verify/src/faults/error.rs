//! What can go wrong with making trouble.

use crate::{client::CallError, environment::MissingVariable, stores::ReadError, tenant::TenantError};

/// Why a fault could not be injected, undone, or recovered from.
#[derive(Debug, thiserror::Error)]
pub enum FaultError {
    /// The Kubernetes API refused or did not answer.
    #[error("{doing}: {source}")]
    Kubernetes {
        /// What was being done.
        doing: &'static str,
        /// What the client said.
        source: Box<kube::Error>,
    },
    /// The container engine refused.
    #[error("{doing}: {said}")]
    Command {
        /// What was being done.
        doing: String,
        /// What it said.
        said: String,
    },
    /// What is to be hit is not there.
    #[error("{0} is not there")]
    Missing(String),
    /// What must come back did not.
    #[error("waited {seconds} s in vain until {what}; the last look: {found}")]
    Slow {
        /// What was waited for.
        what: String,
        /// The limit.
        seconds: u64,
        /// What the last look found.
        found: String,
    },
    /// Kafka refused or did not answer.
    #[error("{doing}: {source}")]
    Kafka {
        /// What was being done.
        doing: &'static str,
        /// What the client said.
        source: rdkafka::error::KafkaError,
    },
    /// PostgreSQL refused or did not answer.
    #[error("{doing}: {source}")]
    Database {
        /// What was being done.
        doing: &'static str,
        /// What the client said.
        source: sqlx::Error,
    },
    /// The stores could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// There is no client of the wallet.
    #[error(transparent)]
    Client(#[from] CallError),
    /// The environment is not that of hack/env.
    #[error(transparent)]
    Environment(#[from] MissingVariable),
    /// Kafka's administration refused or did not answer.
    #[error("{doing}: {source}")]
    Administration {
        /// What was being done.
        doing: &'static str,
        /// What the client said.
        source: tidegate_kafka::AdminError,
    },
    /// There is no place for the run's pipelines.
    #[error(transparent)]
    Tenant(#[from] TenantError),
    /// A part of the run itself ended.
    #[error("{0}")]
    Interrupted(String),
}

impl FaultError {
    pub(crate) fn kubernetes(doing: &'static str) -> impl Fn(kube::Error) -> Self {
        move |source| Self::Kubernetes { doing, source: Box::new(source) }
    }

    pub(crate) fn kafka(doing: &'static str) -> impl Fn(rdkafka::error::KafkaError) -> Self {
        move |source| Self::Kafka { doing, source }
    }

    pub(crate) fn administration(doing: &'static str) -> impl Fn(tidegate_kafka::AdminError) -> Self {
        move |source| Self::Administration { doing, source }
    }

    pub(crate) fn database(doing: &'static str) -> impl Fn(sqlx::Error) -> Self {
        move |source| Self::Database { doing, source }
    }
}
