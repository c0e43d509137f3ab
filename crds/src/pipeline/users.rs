//! The Kafka users of a pipeline: one that somebody made, or one for each processor, made and kept by the operator.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::SecretRef;
use crate::EventPipeline;

/// On an EventPipeline: another value than before asks for other Kafka users with other passwords, once a value.
pub const ROTATE_ANNOTATION: &str = "tidegate.dev/rotate-credentials";

/// A Kafka user: exactly one of the fields.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum KafkaUser {
    /// `managed: {}`: a SCRAM-SHA-512 user for each processor, made by the operator with no more rights than the processor's spec takes,
    /// and removed with it. Its password is drawn at random and kept in Secret `<pipeline>-<processor>-kafka`.
    Managed(ManagedUser),
    /// A user that you made, in a Secret of this namespace with the keys bootstrap-servers, security-protocol (SASL_SSL),
    /// sasl-mechanism (SCRAM-SHA-512), username, password and ca.crt.
    SecretRef(SecretRef),
}

/// A user that the operator makes. There is nothing to choose yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ManagedUser {}

/// A user of the operator's in Kafka. It is on record here before it is made, and until it is gone.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KafkaUserStatus {
    /// Its name: `<installation>.<namespace>.<pipeline>.<processor>.<a or b>`.
    pub username: String,
    /// The Kafka connection.
    pub connection: String,
    /// The processor.
    pub processor: String,
    /// Where it is in its life.
    pub phase: UserPhase,
    /// The value of annotation tidegate.dev/rotate-credentials when it was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation: Option<String>,
    /// resourceVersion of the Secret whose password Kafka was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_version: Option<String>,
}

/// Where a user is in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum UserPhase {
    /// It is made beside the active one, and will take its place.
    Next,
    /// The processor's Secret holds it.
    #[default]
    Active,
    /// Another took its place; it goes as soon as no pod uses it.
    Former,
}

impl EventPipeline {
    /// Name of the Secret in which a processor finds its Kafka user.
    pub fn kafka_secret(&self, processor: &str) -> String {
        match &self.spec.kafka.user {
            KafkaUser::SecretRef(secret) => secret.name.clone(),
            KafkaUser::Managed(_) => self.managed_secret(processor),
        }
    }

    /// Name of the Secret that the operator keeps for a processor whose user is managed.
    pub fn managed_secret(&self, processor: &str) -> String {
        format!("{}-{processor}-kafka", self.metadata.name.as_deref().unwrap_or_default())
    }
}
