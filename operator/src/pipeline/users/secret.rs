//! A processor's Secret: its Kafka user, under the keys of the Service Binding specification. Pure, but for the drawing of passwords.

use std::{collections::BTreeMap, path::PathBuf};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use k8s_openapi::{ByteString, api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use tidegate_crds::EventPipeline;
use tidegate_settings::binding::{KafkaConnection, KafkaSecurity, ScramMechanism, Secret as Password};

use super::plan::SecretSeen;
use crate::pipeline::build::{MANAGED_BY, owner_reference, selector};

const USERNAME: &str = "username";
const PASSWORD: &str = "password";

/// 256 bits: nobody guesses it, however fast.
const PASSWORD_BYTES: usize = 32;

/// What all Secrets of a connection have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Way {
    bootstrap_servers: String,
    authorities: Option<Vec<u8>>,
}

impl Way {
    /// The file with the authorities that a connection trusts; none within: the system's. None: there are no users on this connection.
    pub fn authorities_of(connection: &KafkaConnection) -> Option<Option<PathBuf>> {
        match &connection.security {
            KafkaSecurity::Plaintext => None,
            KafkaSecurity::SaslSsl { ca_file, .. } => Some(ca_file.clone()),
        }
    }

    /// The way to Kafka that the operator itself goes.
    pub fn new(connection: &KafkaConnection, authorities: Option<Vec<u8>>) -> Self {
        Self { bootstrap_servers: connection.bootstrap_servers.clone(), authorities }
    }

    fn values(&self) -> BTreeMap<String, ByteString> {
        let texts = [
            ("bootstrap-servers", self.bootstrap_servers.as_str()),
            ("security-protocol", "SASL_SSL"),
            ("sasl-mechanism", ScramMechanism::Sha512.name()),
        ];
        let mut values: BTreeMap<String, ByteString> =
            texts.into_iter().map(|(key, value)| (key.to_owned(), ByteString(value.into()))).collect();
        if let Some(authorities) = &self.authorities {
            values.insert("ca.crt".to_owned(), ByteString(authorities.clone()));
        }
        values
    }
}

/// A new password.
///
/// # Errors
/// When the system has no random numbers to give.
pub fn draw() -> Result<Password, getrandom::Error> {
    let mut bytes = [0; PASSWORD_BYTES];
    getrandom::fill(&mut bytes)?;
    Ok(Password::new(URL_SAFE_NO_PAD.encode(bytes)))
}

/// The Secret as it should be. `before`: the one that it replaces, whose labels and annotations of others it keeps.
pub fn build(
    pipeline: &EventPipeline,
    processor: &str,
    way: &Way,
    username: &str,
    password: &Password,
    before: Option<&Secret>,
) -> Secret {
    let mut values = way.values();
    values.insert(USERNAME.to_owned(), ByteString(username.into()));
    values.insert(PASSWORD.to_owned(), ByteString(password.expose().into()));
    let before = before.map(|before| before.metadata.clone()).unwrap_or_default();
    let mut labels = before.labels.unwrap_or_default();
    labels.extend(selector(pipeline, processor));
    labels.insert(MANAGED_BY.0.to_owned(), MANAGED_BY.1.to_owned());
    Secret {
        metadata: ObjectMeta {
            name: Some(pipeline.managed_secret(processor)),
            namespace: pipeline.metadata.namespace.clone(),
            labels: Some(labels),
            annotations: before.annotations,
            owner_references: Some(vec![owner_reference(pipeline)]),
            // It replaces what was read, and nothing that somebody wrote since.
            resource_version: before.resource_version,
            uid: before.uid,
            ..ObjectMeta::default()
        },
        data: Some(values),
        ..Secret::default()
    }
}

/// The user that a Secret holds.
pub fn held(secret: &Secret) -> Option<(String, Password)> {
    let text = |key: &str| {
        let value = secret.data.as_ref()?.get(key)?;
        String::from_utf8(value.0.clone()).ok().filter(|text| !text.is_empty())
    };
    Some((text(USERNAME)?, Password::new(text(PASSWORD)?)))
}

/// Whether all but the user is as it should be.
pub fn leads(secret: &Secret, way: &Way) -> bool {
    let data = secret.data.clone().unwrap_or_default();
    let rest = data.into_iter().filter(|(key, _)| ![USERNAME, PASSWORD].contains(&key.as_str()));
    rest.collect::<BTreeMap<_, _>>() == way.values()
}

/// What a plan has to know of a Secret.
pub fn seen(secret: &Secret) -> SecretSeen {
    SecretSeen {
        username: held(secret).map(|(username, _)| username),
        version: secret.metadata.resource_version.clone().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pipeline() -> EventPipeline {
        serde_json::from_value(json!({
            "apiVersion": "tidegate.dev/v1alpha1", "kind": "EventPipeline",
            "metadata": {"name": "wallet", "namespace": "bank", "uid": "u-1"},
            "spec": {"kafka": {"user": {"managed": {}}}, "processors": []},
        }))
        .unwrap()
    }

    fn way() -> Way {
        let security = KafkaSecurity::SaslSsl {
            mechanism: ScramMechanism::Sha256,
            username: "tidegate-operator".into(),
            password: Password::new("the operator's own"),
            ca_file: Some("/ca.crt".into()),
        };
        let connection = KafkaConnection { bootstrap_servers: "kafka:9092".into(), security };
        assert_eq!(Way::authorities_of(&connection), Some(Some("/ca.crt".into())));
        Way::new(&connection, Some(b"PEM".to_vec()))
    }

    #[test]
    fn the_secret_has_the_keys_of_a_binding_and_nothing_of_the_operators_user() {
        let made = build(&pipeline(), "ledger", &way(), "ada", &Password::new("drawn"), None);
        assert_eq!(made.metadata.name.as_deref(), Some("wallet-ledger-kafka"));
        let data = made.data.as_ref().unwrap();
        assert_eq!(data.keys().collect::<Vec<_>>(), {
            let mut keys = tidegate_settings::binding::KAFKA_KEYS;
            keys.sort_unstable();
            keys.to_vec()
        });
        assert!(data.values().all(|value| !String::from_utf8_lossy(&value.0).contains("operator")));
        let (username, password) = held(&made).unwrap();
        assert_eq!((username.as_str(), password.expose()), ("ada", "drawn"));
        assert!(leads(&made, &way()));
        assert_eq!(made.metadata.owner_references.unwrap()[0].uid, "u-1");
    }

    #[test]
    fn what_lacks_a_value_or_leads_elsewhere_is_noticed() {
        let made = || build(&pipeline(), "ledger", &way(), "ada", &Password::new("drawn"), None);
        for key in [USERNAME, PASSWORD] {
            let mut broken = made();
            broken.data.as_mut().unwrap().insert(key.to_owned(), ByteString(vec![]));
            assert_eq!(held(&broken), None, "{key}");
        }
        for key in ["bootstrap-servers", "security-protocol", "sasl-mechanism", "ca.crt", "more"] {
            let mut broken = made();
            broken.data.as_mut().unwrap().insert(key.to_owned(), ByteString(b"other".to_vec()));
            assert!(!leads(&broken, &way()), "{key}");
        }
    }

    #[test]
    fn labels_of_others_stay_and_the_version_guards_what_is_replaced() {
        let mut before = build(&pipeline(), "ledger", &way(), "ada", &Password::new("drawn"), None);
        before.metadata.resource_version = Some("7".into());
        before.metadata.labels.as_mut().unwrap().insert("team".into(), "payments".into());
        let after = build(&pipeline(), "ledger", &way(), "bob", &Password::new("other"), Some(&before));
        assert_eq!(after.metadata.labels.unwrap()["team"], "payments");
        assert_eq!(after.metadata.resource_version.as_deref(), Some("7"));
    }

    #[test]
    fn two_passwords_are_two_and_long_enough() {
        let (one, other) = (draw().unwrap(), draw().unwrap());
        assert_ne!(one.expose(), other.expose());
        assert_eq!(one.expose().len(), 43);
    }
}
