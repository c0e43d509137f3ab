//! Users of Kafka that a test makes, whose passwords it changes, and the folder from which a process reads them.

use std::{fs, os::unix::fs::symlink, path::PathBuf};

use krafka::{
    Kafka,
    admin::{
        AclBinding, AclFilter, AclOperation, AclPatternType, AclPermissionType, AclResourceType, AdminClient,
        ScramCredentialDeletion, ScramCredentialUpsertion,
    },
    auth::{AuthConfig, ScramMechanism, TlsConfig},
};
use sha2::{Digest, Sha512};
use tidegate_settings::binding::{self, KafkaConnection, KafkaSecurity};
use uuid::Uuid;

use crate::support::{eventually, kafka};

const ITERATIONS: i32 = 4096;

/// A user that may write all topics, in transactions and with positions. Gone when the test ends well.
pub struct User {
    pub name: String,
    kafka: Kafka,
    admin: AdminClient,
}

impl User {
    pub async fn create(password: &str) -> Self {
        let KafkaConnection { bootstrap_servers, security } = kafka();
        let KafkaSecurity::SaslSsl { username, password: admins, ca_file: Some(ca_file), .. } = security else {
            panic!("the local cluster's Kafka asks who one is");
        };
        let security = AuthConfig::sasl_scram_sha512(username, admins.expose())
            .with_tls(TlsConfig::new().with_ca_cert(ca_file.to_string_lossy()));
        let kafka = Kafka::builder(bootstrap_servers).client_id("test").security(security).connect().await.unwrap();
        let admin = kafka.admin();
        let user = Self { name: format!("test-{}", Uuid::new_v4().simple()), kafka, admin };
        user.password(password).await;
        user.allow().await;
        user
    }

    /// Gives the user another password. Brokers keep connections that stand, and take no new one with the old password.
    pub async fn password(&self, password: &str) {
        let salt = Uuid::new_v4().as_bytes().to_vec();
        let changed = ScramCredentialUpsertion {
            name: self.name.clone(),
            mechanism: ScramMechanism::Sha512,
            iterations: ITERATIONS,
            salted_password: salted(password.as_bytes(), &salt).into(),
            salt: salt.into(),
        };
        eventually("the user has the password", || async {
            let changed = vec![changed.clone()];
            let answers = self.admin.alter_user_scram_credentials(Vec::new(), changed, Default::default()).await;
            answers.is_ok_and(|answers| answers.into_values().all(|answer| answer.is_ok()))
        })
        .await;
    }

    fn rules(&self) -> Vec<AclBinding> {
        let rule = |kind, operation| {
            AclBinding::new(kind, "*", format!("User:{}", self.name), "*", operation, AclPermissionType::Allow)
                // krafka 0.28.1 numbers the patterns one too low: this is what brokers call LITERAL.
                .with_pattern_type(AclPatternType::Prefixed)
        };
        vec![
            rule(AclResourceType::Topic, AclOperation::Write),
            // Of the topic at which positions are kept.
            rule(AclResourceType::Topic, AclOperation::Read),
            rule(AclResourceType::Group, AclOperation::Read),
            rule(AclResourceType::TransactionalId, AclOperation::Write),
        ]
    }

    async fn allow(&self) {
        eventually("the user may do what it has to", || async {
            let answers = self.admin.create_acls(self.rules(), Default::default()).await;
            answers.is_ok_and(|answers| answers.into_iter().all(|(_, answer)| answer.is_ok()))
        })
        .await;
    }

    pub async fn remove(self) {
        let its = AclFilter::for_principal(format!("User:{}", self.name));
        self.admin.delete_acls(vec![its], Default::default()).await.unwrap();
        let gone = ScramCredentialDeletion { name: self.name.clone(), mechanism: ScramMechanism::Sha512 };
        self.admin.alter_user_scram_credentials(vec![gone], Vec::new(), Default::default()).await.unwrap();
        drop(self.kafka);
    }
}

/// PBKDF2 (RFC 8018) with HMAC-SHA-512, of one block: what SCRAM keeps of a password.
fn salted(password: &[u8], salt: &[u8]) -> Vec<u8> {
    let mut round = hmac(password, &[salt, &1_u32.to_be_bytes()].concat());
    let mut sum = round.clone();
    for _ in 1..ITERATIONS {
        round = hmac(password, &round);
        sum.iter_mut().zip(&round).for_each(|(sum, byte)| *sum ^= byte);
    }
    sum
}

/// RFC 2104.
fn hmac(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut block = [0_u8; 128];
    block[..key.len()].copy_from_slice(key);
    let padded = |pad: u8| block.map(|byte| byte ^ pad);
    let inner = Sha512::new().chain_update(padded(0x36)).chain_update(text).finalize();
    Sha512::new().chain_update(padded(0x5c)).chain_update(inner).finalize().to_vec()
}

/// A binding as Kubernetes mounts it: files that lead through `..data` to a folder, which is swapped whole.
pub struct Mount {
    pub folder: PathBuf,
    user: String,
}

impl Mount {
    pub fn new(user: &User, password: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("tidegate-binding-{}", Uuid::new_v4().simple()));
        fs::create_dir(&folder).unwrap();
        let mount = Self { folder, user: user.name.clone() };
        mount.swap(password, true);
        for key in binding::KAFKA_KEYS {
            symlink(format!("..data/{key}"), mount.folder.join(key)).unwrap();
        }
        mount
    }

    /// Another password, and all at once. Broken: one of the keys is missing.
    pub fn swap(&self, password: &str, whole: bool) {
        let KafkaConnection { bootstrap_servers, security } = kafka();
        let KafkaSecurity::SaslSsl { ca_file: Some(ca_file), .. } = security else { panic!("no authority") };
        let version = self.folder.join(format!("..{}", Uuid::new_v4().simple()));
        fs::create_dir(&version).unwrap();
        let authority = fs::read_to_string(ca_file).unwrap();
        for (key, value) in [
            ("bootstrap-servers", bootstrap_servers.as_str()),
            ("security-protocol", "SASL_SSL"),
            ("sasl-mechanism", "SCRAM-SHA-512"),
            ("username", &self.user),
            ("password", password),
            ("ca.crt", &authority),
        ] {
            if whole || key != "password" {
                fs::write(version.join(key), value).unwrap();
            }
        }
        let next = self.folder.join("..data_tmp");
        symlink(version.file_name().unwrap(), &next).unwrap();
        fs::rename(next, self.folder.join("..data")).unwrap();
    }

    pub fn connection(&self) -> KafkaConnection {
        binding::kafka(&self.folder).unwrap()
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}
