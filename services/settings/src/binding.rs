//! A mounted secret in the Service Binding layout: a folder with one file a key.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

/// Keys of a Kafka binding, all required but `ca.crt`.
pub const KAFKA_KEYS: [&str; 6] =
    ["bootstrap-servers", "security-protocol", "sasl-mechanism", "username", "password", "ca.crt"];

/// Keys of a database binding, all required but `ca.crt`.
pub const DATABASE_KEYS: [&str; 2] = ["uri", "ca.crt"];

/// A value that must not be seen: neither `Debug` nor an error prints it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a value.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value itself, for handing to the client that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Why a binding cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BindingError {
    /// A key is missing or not readable.
    #[error("the binding {} has no readable key {key}: {source}", .path.display())]
    Key {
        /// The folder.
        path: PathBuf,
        /// The key, which is the file's name.
        key: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// A key's value is not one of those that are understood.
    #[error("the binding {} has {key} {value:?}; use {expected}", .path.display())]
    Value {
        /// The folder.
        path: PathBuf,
        /// The key.
        key: &'static str,
        /// What it holds (never a secret key's value).
        value: String,
        /// What it may hold.
        expected: &'static str,
    },
}

/// How to reach a Kafka cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KafkaConnection {
    /// `host:port`, comma-separated.
    pub bootstrap_servers: String,
    /// Encryption and identity.
    pub security: KafkaSecurity,
}

/// Encryption and identity on the way to Kafka.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KafkaSecurity {
    /// Neither: for a broker on this machine.
    Plaintext,
    /// TLS with a verified broker certificate, and a SCRAM user.
    SaslSsl {
        /// The mechanism.
        mechanism: ScramMechanism,
        /// The user.
        username: String,
        /// Its password.
        password: Secret,
        /// PEM file of the authorities to trust instead of the system's.
        ca_file: Option<PathBuf>,
    },
}

/// SCRAM mechanisms (RFC 5802, RFC 7677) that Kafka knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScramMechanism {
    /// SCRAM-SHA-256.
    Sha256,
    /// SCRAM-SHA-512.
    Sha512,
}

impl ScramMechanism {
    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "SCRAM-SHA-256",
            Self::Sha512 => "SCRAM-SHA-512",
        }
    }

    /// Reads the name on the wire.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Sha256, Self::Sha512].into_iter().find(|mechanism| mechanism.name() == name)
    }
}

/// How to reach a PostgreSQL database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseConnection {
    /// `postgres://user:password@host:port/database?...`
    pub uri: Secret,
    /// PEM file of the authority to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
}

/// Reads a Kafka binding.
pub fn kafka(path: &Path) -> Result<KafkaConnection, BindingError> {
    let bootstrap_servers = key(path, "bootstrap-servers")?;
    let protocol = key(path, "security-protocol")?;
    let security = match protocol.as_str() {
        "PLAINTEXT" => KafkaSecurity::Plaintext,
        "SASL_SSL" => {
            let name = key(path, "sasl-mechanism")?;
            let mechanism = ScramMechanism::from_name(&name).ok_or_else(|| BindingError::Value {
                path: path.to_owned(),
                key: "sasl-mechanism",
                value: name,
                expected: "SCRAM-SHA-512 or SCRAM-SHA-256",
            })?;
            KafkaSecurity::SaslSsl {
                mechanism,
                username: key(path, "username")?,
                password: Secret::new(key(path, "password")?),
                ca_file: ca_file(path),
            }
        }
        _ => {
            return Err(BindingError::Value {
                path: path.to_owned(),
                key: "security-protocol",
                value: protocol,
                expected: "SASL_SSL (or PLAINTEXT for a broker on this machine)",
            });
        }
    };
    Ok(KafkaConnection { bootstrap_servers, security })
}

/// Reads a database binding.
pub fn database(path: &Path) -> Result<DatabaseConnection, BindingError> {
    Ok(DatabaseConnection { uri: Secret::new(key(path, "uri")?), ca_file: ca_file(path) })
}

fn key(path: &Path, key: &'static str) -> Result<String, BindingError> {
    fs::read_to_string(path.join(key))
        .map(|text| text.trim_end_matches(['\n', '\r']).to_owned())
        .map_err(|source| BindingError::Key { path: path.to_owned(), key, source })
}

fn ca_file(path: &Path) -> Option<PathBuf> {
    Some(path.join("ca.crt")).filter(|file| file.exists())
}
