//! The settings of a process that runs outside Kubernetes, from environment variables alone. Pure: the variables come as a function.

use std::path::PathBuf;

use crate::{
    Auth, Consumes, Http, Identity, Run, SETTINGS_VERSION, Settings, WalletRole, WalletSettings,
    binding::{DatabaseConnection, KafkaConnection, KafkaSecurity, ScramMechanism, Secret},
    resolve::Resolved,
};

/// Why the environment does not make settings.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvironmentError {
    /// A variable that is needed is not set.
    #[error("{name} is not set: {purpose}")]
    Missing {
        /// The variable.
        name: &'static str,
        /// What it is for.
        purpose: &'static str,
    },
    /// A variable's value means nothing.
    #[error("{name} is {value:?}; use {expected}")]
    Value {
        /// The variable.
        name: &'static str,
        /// What it holds (never a secret's value).
        value: String,
        /// What it may hold.
        expected: String,
    },
    /// No service is called so.
    #[error("{0} does not run from environment variables; give it --settings FILE")]
    Service(String),
}

/// The settings of `service` as the variables give them.
///
/// `KAFKA_BROKER`, `KAFKA_CLIENT_ID`, `KAFKA_USERNAME` and `KAFKA_PASSWORD` (both: SASL_SSL with SCRAM-SHA-256, or
/// `KAFKA_SASL_MECHANISM`; neither: plaintext), `KAFKA_CA_FILE`, `KAFKA_ENABLED`, `DATABASE_URL`, `DATABASE_CA_FILE`, `TIDEGATE_ROLE`,
/// `TIDEGATE_HTTP_PORT` (8080). Each `KAFKA_*` may also be called `REDPANDA_*`, which is deprecated.
pub fn resolve(service: &str, variable: impl Fn(&str) -> Option<String>) -> Result<Resolved, EnvironmentError> {
    let mut environment = Environment { variable: &variable, warnings: Vec::new() };
    let role = environment.text("TIDEGATE_ROLE");
    let run = run(service, role)?;
    let processor = processor(&run);
    let kafka = environment.kafka()?;
    let database = environment.text("DATABASE_URL").map(|uri| DatabaseConnection {
        uri: Secret::new(uri),
        ca_file: environment.text("DATABASE_CA_FILE").map(PathBuf::from),
    });
    let port = match environment.text("TIDEGATE_HTTP_PORT") {
        None => 8080,
        Some(value) => value.parse().map_err(|_| EnvironmentError::Value {
            name: "TIDEGATE_HTTP_PORT",
            value,
            expected: "a TCP port".into(),
        })?,
    };
    let client_id = environment.alias("KAFKA_CLIENT_ID", "REDPANDA_CLIENT_ID");
    let (produces, consumes) = topics(&run);
    let settings = Settings {
        version: SETTINGS_VERSION,
        identity: Identity { namespace: "local".into(), pipeline: service.into(), processor: processor.into() },
        // Bindings name folders; here the connections come without any.
        kafka: None,
        database: None,
        run,
        produces,
        consumes,
        retry: None,
        dead_letter: None,
        generation: None,
        http: Http { port, auth: Auth::None },
    };
    let client_id = client_id.unwrap_or_else(|| settings.identity.to_string());
    Ok(Resolved { settings, kafka, database, client_id, warnings: environment.warnings })
}

struct Environment<'a> {
    variable: &'a dyn Fn(&str) -> Option<String>,
    warnings: Vec<String>,
}

impl Environment<'_> {
    /// The variable's value; one that is empty counts as not set.
    fn text(&self, name: &str) -> Option<String> {
        (self.variable)(name).filter(|value| !value.is_empty())
    }

    fn alias(&mut self, name: &str, legacy: &str) -> Option<String> {
        if let Some(value) = self.text(name) {
            return Some(value);
        }
        let value = self.text(legacy)?;
        self.warnings.push(format!("{legacy} is deprecated; call it {name}"));
        Some(value)
    }

    fn kafka(&mut self) -> Result<Option<KafkaConnection>, EnvironmentError> {
        let enabled = self.alias("KAFKA_ENABLED", "REDPANDA_ENABLED");
        match enabled.as_deref() {
            None | Some("true" | "1") => {}
            Some("false" | "0") => return Ok(None),
            Some(value) => {
                return Err(EnvironmentError::Value {
                    name: "KAFKA_ENABLED",
                    value: value.to_owned(),
                    expected: "true or false".into(),
                });
            }
        }
        let bootstrap_servers = self.alias("KAFKA_BROKER", "REDPANDA_BROKER").ok_or(EnvironmentError::Missing {
            name: "KAFKA_BROKER",
            purpose: "the brokers as host:port, comma-separated (or set KAFKA_ENABLED=false where the service can do without)",
        })?;
        let username = self.alias("KAFKA_USERNAME", "REDPANDA_USERNAME");
        let password = self.alias("KAFKA_PASSWORD", "REDPANDA_PASSWORD");
        let mechanism = self.alias("KAFKA_SASL_MECHANISM", "REDPANDA_SASL_MECHANISM");
        let ca_file = self.alias("KAFKA_CA_FILE", "REDPANDA_CA_FILE").map(PathBuf::from);
        let security = match (username, password) {
            (None, None) => KafkaSecurity::Plaintext,
            (Some(username), Some(password)) => {
                let mechanism = match mechanism {
                    None => ScramMechanism::Sha256,
                    Some(name) => ScramMechanism::from_name(&name).ok_or_else(|| EnvironmentError::Value {
                        name: "KAFKA_SASL_MECHANISM",
                        value: name,
                        expected: "SCRAM-SHA-256 or SCRAM-SHA-512".into(),
                    })?,
                };
                KafkaSecurity::SaslSsl { mechanism, username, password: Secret::new(password), ca_file }
            }
            // Half an identity is a mistake, and plaintext is not what was meant.
            (None, Some(_)) => {
                return Err(EnvironmentError::Missing { name: "KAFKA_USERNAME", purpose: "KAFKA_PASSWORD is set" });
            }
            (Some(_), None) => {
                return Err(EnvironmentError::Missing { name: "KAFKA_PASSWORD", purpose: "KAFKA_USERNAME is set" });
            }
        };
        Ok(Some(KafkaConnection { bootstrap_servers, security }))
    }
}

const WALLET_ROLES: [(&str, WalletRole); 4] = [
    ("Commands", WalletRole::Commands),
    ("Publisher", WalletRole::Publisher),
    ("LedgerProjector", WalletRole::LedgerProjector),
    ("ReadModelProjector", WalletRole::ReadModelProjector),
];

fn run(service: &str, role: Option<String>) -> Result<Run, EnvironmentError> {
    if service != "wallet" {
        return Err(EnvironmentError::Service(service.to_owned()));
    }
    let role = role.ok_or(EnvironmentError::Missing {
        name: "TIDEGATE_ROLE",
        purpose: "the part of the service that this process is",
    })?;
    match WALLET_ROLES.into_iter().find(|(name, _)| *name == role) {
        Some((_, role)) => Ok(Run::Wallet(WalletSettings { role, overdraft: None, publisher: None })),
        None => Err(EnvironmentError::Value {
            name: "TIDEGATE_ROLE",
            value: role,
            expected: WALLET_ROLES.map(|(name, _)| name).join(", "),
        }),
    }
}

fn processor(run: &Run) -> &'static str {
    match run {
        Run::Wallet(wallet) => match wallet.role {
            WalletRole::Commands => "commands",
            WalletRole::Publisher => "publisher",
            WalletRole::LedgerProjector => "ledger-projector",
            WalletRole::ReadModelProjector => "read-model-projector",
        },
        // Never made here: a container is told by its file.
        Run::Container(_) => "container",
    }
}

/// What the role writes to and reads from, as the service's contract names them.
fn topics(run: &Run) -> (Vec<String>, Option<Consumes>) {
    match run {
        Run::Wallet(wallet) => match wallet.role {
            WalletRole::Commands | WalletRole::Publisher => (vec!["wallet-events".into()], None),
            WalletRole::LedgerProjector | WalletRole::ReadModelProjector => {
                let topics = vec!["wallet-events".into()];
                let group = processor(run).into();
                (vec![], Some(Consumes { topics, group, start_at: None, ordered: None }))
            }
        },
        Run::Container(_) => (vec![], None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(role: &str, variables: &[(&str, &str)]) -> Result<Resolved, EnvironmentError> {
        let broker = [("KAFKA_BROKER", "localhost:9092"), ("TIDEGATE_ROLE", role)];
        let all: Vec<_> = broker.iter().chain(variables).collect();
        resolve("wallet", |name| all.iter().rev().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn a_role_and_a_broker_are_enough() {
        let resolved = with("LedgerProjector", &[]).unwrap();
        assert_eq!(resolved.client_id, "local/wallet/ledger-projector");
        assert_eq!(resolved.kafka.unwrap().security, KafkaSecurity::Plaintext);
        assert_eq!(resolved.settings.consumes.unwrap().group, "ledger-projector");
        assert_eq!(resolved.settings.http.port, 8080);
        assert_eq!(resolved.database, None);
    }

    #[test]
    fn a_user_means_tls_and_scram_sha_256_unless_another_is_named() {
        let user = [("KAFKA_USERNAME", "u"), ("KAFKA_PASSWORD", "p"), ("KAFKA_CA_FILE", "/ca.crt")];
        let security = |more: &[_]| with("Commands", &[&user, more].concat()).unwrap().kafka.unwrap().security;
        for (more, expected) in
            [(&[][..], ScramMechanism::Sha256), (&[("KAFKA_SASL_MECHANISM", "SCRAM-SHA-512")], ScramMechanism::Sha512)]
        {
            let KafkaSecurity::SaslSsl { mechanism, ca_file, .. } = security(more) else { panic!("not encrypted") };
            assert_eq!((mechanism, ca_file), (expected, Some("/ca.crt".into())));
        }
    }

    #[test]
    fn the_names_of_old_still_work_and_say_what_they_are_called_now() {
        let resolved = resolve("wallet", |name| match name {
            "REDPANDA_BROKER" => Some("old:9092".into()),
            "TIDEGATE_ROLE" => Some("Publisher".into()),
            _ => None,
        })
        .unwrap();
        assert_eq!(resolved.kafka.unwrap().bootstrap_servers, "old:9092");
        assert_eq!(resolved.warnings, ["REDPANDA_BROKER is deprecated; call it KAFKA_BROKER"]);
    }

    #[test]
    fn kafka_can_be_switched_off() {
        assert_eq!(with("Commands", &[("KAFKA_ENABLED", "false"), ("KAFKA_BROKER", "")]).unwrap().kafka, None);
    }

    #[test]
    fn what_is_wrong_names_the_variable_and_never_a_password() {
        for (role, variables, said) in [
            (
                "Ledger",
                &[][..],
                "TIDEGATE_ROLE is \"Ledger\"; use Commands, Publisher, LedgerProjector, ReadModelProjector",
            ),
            ("", &[], "TIDEGATE_ROLE is not set: the part of the service that this process is"),
            ("Commands", &[("KAFKA_PASSWORD", "hunter2")], "KAFKA_USERNAME is not set: KAFKA_PASSWORD is set"),
            ("Commands", &[("KAFKA_ENABLED", "maybe")], "KAFKA_ENABLED is \"maybe\"; use true or false"),
            ("Commands", &[("TIDEGATE_HTTP_PORT", "http")], "TIDEGATE_HTTP_PORT is \"http\"; use a TCP port"),
        ] {
            assert_eq!(with(role, variables).unwrap_err().to_string(), said);
        }
        let error = with("Commands", &[("KAFKA_BROKER", "")]).unwrap_err().to_string();
        assert!(error.starts_with("KAFKA_BROKER is not set"), "{error}");
    }
}
