//! A plan, done. Everything is checked by Kafka before anything is changed, so that one refused part leaves the rest undone.

use tidegate_kafka::{AdminError, ErrorClass, ErrorCode, NewTopic, WriteMode};
use uuid::Uuid;

use super::plan::{Change, Refusal};
use crate::{
    conditions::reason_from,
    gateway::{Gateway, GatewayError},
};

/// How far a refused plan came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Nothing was changed.
    Nothing,
    /// A part may have been changed.
    Part,
}

/// Why a plan was not done.
#[derive(Debug)]
pub enum ApplyError {
    /// Kafka refuses it, and would again.
    Refused(Refusal, Extent),
    /// It may work later.
    Later(GatewayError),
}

impl ApplyError {
    /// Whether Kafka has said that it did nothing, or was never asked. Otherwise it may have done it all the same.
    pub fn changed_nothing(&self) -> bool {
        match self {
            Self::Refused(_, extent) => *extent == Extent::Nothing,
            Self::Later(GatewayError::Kafka(error)) => match error {
                AdminError::Authentication { .. } | AdminError::Tls { .. } | AdminError::Settings { .. } => true,
                _ => lacks_rights(error),
            },
            Self::Later(_) => false,
        }
    }
}

/// What came of creating a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Created {
    /// It was created, with this id if Kafka told.
    Now(Option<Uuid>),
    /// A topic of the name exists already, unknown to the broker that was asked before. Not by this request: one that may have been
    /// carried out is never sent again.
    Before,
}

/// Creates a topic.
///
/// # Errors
/// See [`ApplyError`].
pub async fn create(gateway: &Gateway, topic: NewTopic) -> Result<Created, ApplyError> {
    match gateway.create(topic).await {
        Ok(id) => Ok(Created::Now(id)),
        Err(GatewayError::Kafka(error)) if error.code() == Some(ErrorCode::TOPIC_ALREADY_EXISTS) => Ok(Created::Before),
        Err(error) => Err(sort(error, Extent::Nothing)),
    }
}

/// Changes a topic: configuration first, so that new partitions are born with it.
///
/// # Errors
/// See [`ApplyError`].
pub async fn change(gateway: &Gateway, name: &str, change: &Change) -> Result<(), ApplyError> {
    write(gateway, name, change, &[WriteMode::ValidateOnly, WriteMode::Apply]).await
}

/// Asks Kafka whether it would take a change.
///
/// # Errors
/// See [`ApplyError`].
pub async fn validate(gateway: &Gateway, name: &str, change: &Change) -> Result<(), ApplyError> {
    write(gateway, name, change, &[WriteMode::ValidateOnly]).await
}

async fn write(gateway: &Gateway, name: &str, change: &Change, modes: &[WriteMode]) -> Result<(), ApplyError> {
    for &mode in modes {
        let extent = if mode == WriteMode::Apply { Extent::Part } else { Extent::Nothing };
        if !change.config.is_empty() {
            gateway.alter(name, change.config.clone(), mode).await.map_err(|error| sort(error, extent))?;
        }
        if let Some(total) = change.grow_to {
            gateway.grow(name, total, mode).await.map_err(|error| sort(error, extent))?;
        }
    }
    Ok(())
}

/// Whether an error is Kafka's last word.
pub fn sort(error: GatewayError, extent: Extent) -> ApplyError {
    match error {
        GatewayError::Kafka(kafka) if kafka.class() == ErrorClass::User && !lacks_rights(&kafka) => {
            ApplyError::Refused(refusal(&kafka), extent)
        }
        error => ApplyError::Later(error),
    }
}

/// The operator's own user may not: no fault of the resource, and no change of it would help.
pub fn lacks_rights(error: &AdminError) -> bool {
    error.code().and_then(ErrorCode::name).is_some_and(|name| name.ends_with("AUTHORIZATION_FAILED"))
}

/// Kafka's error as a reason and its own message.
pub fn refusal(error: &AdminError) -> Refusal {
    let reason = match error {
        AdminError::Authentication { .. } => "KafkaAuthentication".to_owned(),
        AdminError::Tls { .. } => "KafkaTls".to_owned(),
        AdminError::Settings { .. } => "KafkaSettings".to_owned(),
        AdminError::Unreachable { .. } | AdminError::Deadline { .. } => "KafkaUnreachable".to_owned(),
        AdminError::Unexpected { .. } => "KafkaUnexpected".to_owned(),
        AdminError::Refused { code, .. } => code.name().map_or_else(|| "KafkaRefused".to_owned(), reason_from),
    };
    Refusal::new(reason, error.to_string())
}
