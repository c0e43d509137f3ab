//! Where the stores are: the variables that `hack/env` exports.

use std::{env, path::PathBuf};

use tidegate_kafka::{AdminOptions, Krafka, RequestMetrics};
use tidegate_settings::binding::{self, KafkaConnection, KafkaSecurity, ScramMechanism};

use crate::stores::Streams;

/// Names the variable that is missing and what sets it.
#[derive(Debug, thiserror::Error)]
#[error("{0} is not set; run: eval \"$(hack/env)\"")]
pub struct MissingVariable(&'static str);

/// The cluster of `hack/up`, as a client on the host reaches it.
#[derive(Clone)]
pub struct Environment {
    /// Base URL of the wallet's API.
    pub wallet_url: String,
    /// Its database, as its own role.
    pub wallet_database_url: String,
    /// What its topic and groups are called.
    pub streams: Streams,
    /// Kafka, as the administrator.
    pub kafka: Kafka,
    /// Name of the container that is the cluster's node.
    pub node: String,
}

/// How to reach Kafka from the host.
#[derive(Clone)]
pub struct Kafka {
    /// `host:port`, comma-separated.
    pub bootstrap_servers: String,
    /// PEM file of the authority that signed the brokers' certificates.
    pub ca_file: PathBuf,
    /// The administrator's name.
    pub username: String,
    /// And password.
    pub password: String,
    /// SCRAM-SHA-512, unless said otherwise.
    pub mechanism: String,
}

impl Environment {
    /// Reads the variables.
    pub fn from_env() -> Result<Self, MissingVariable> {
        Ok(Self {
            wallet_url: variable("TIDEGATE_WALLET_URL")?,
            wallet_database_url: variable("WALLET_DATABASE_URL")?,
            streams: Streams::wallet(),
            kafka: Kafka::from_env()?,
            node: variable("TIDEGATE_NODE").unwrap_or_else(|_| "tidegate-control-plane".into()),
        })
    }
}

impl Kafka {
    /// Reads the variables.
    pub fn from_env() -> Result<Self, MissingVariable> {
        Ok(Self {
            bootstrap_servers: variable("KAFKA_BOOTSTRAP_SERVERS")?,
            ca_file: variable("KAFKA_CA_FILE")?.into(),
            username: variable("KAFKA_ADMIN_USERNAME")?,
            password: variable("KAFKA_ADMIN_PASSWORD")?,
            mechanism: variable("KAFKA_SASL_MECHANISM").unwrap_or_else(|_| "SCRAM-SHA-512".into()),
        })
    }

    /// Administration as an operator has it.
    pub fn administration(&self) -> Krafka {
        let connection = KafkaConnection {
            bootstrap_servers: self.bootstrap_servers.clone(),
            security: KafkaSecurity::SaslSsl {
                mechanism: ScramMechanism::from_name(&self.mechanism).unwrap_or(ScramMechanism::Sha512),
                username: self.username.clone(),
                password: binding::Secret::new(&self.password),
                ca_file: Some(self.ca_file.clone()),
            },
        };
        Krafka::new(connection, AdminOptions::default(), RequestMetrics::default())
    }

    /// A librdkafka configuration that connects.
    pub fn client_config(&self) -> rdkafka::ClientConfig {
        let mut config = rdkafka::ClientConfig::new();
        config
            .set("bootstrap.servers", &self.bootstrap_servers)
            .set("security.protocol", "SASL_SSL")
            .set("sasl.mechanism", &self.mechanism)
            .set("sasl.username", &self.username)
            .set("sasl.password", &self.password)
            .set("ssl.ca.location", self.ca_file.to_string_lossy());
        config
    }
}

pub(crate) fn variable(name: &'static str) -> Result<String, MissingVariable> {
    env::var(name).ok().filter(|value| !value.is_empty()).ok_or(MissingVariable(name))
}
