//! SCRAM users (KIP-554). Passwords are salted here, as Kafka's own tools do it: brokers are given what they need to check one, not
//! the password.

use std::collections::{BTreeMap, HashMap};

use krafka::{
    __private::{
        protocol::{ScramCredentialDeletion, ScramCredentialUpsertion},
        scram::ScramMechanism as KrafkaMechanism,
    },
    KrafkaError, Result as KrafkaResult,
    admin::{AlterUserScramCredentialsOptions, DescribeUserScramCredentialsOptions, ScramCredentialInfo},
};
use sha2::Sha512;
use tidegate_settings::binding::{ScramMechanism, Secret};
use tokio::{task::spawn_blocking, time::Instant};

use super::{link::Client, topics::left};
use crate::Credential;

/// The least that Kafka takes, and its tools' default. More would slow down every login, and guessing is not what threatens passwords
/// that are drawn at random.
const ITERATIONS: u16 = 4_096;
const SALT_BYTES: usize = 32;
/// SHA-512's.
const HASH_BYTES: usize = 64;

type Described = HashMap<String, KrafkaResult<Vec<Credential>>>;

/// All users where none are named.
pub(super) async fn describe(
    client: &Client,
    users: Option<Vec<String>>,
    deadline: Instant,
) -> KrafkaResult<Described> {
    let options = DescribeUserScramCredentialsOptions::default().timeout(left(deadline));
    let described = client.admin.describe_user_scram_credentials(users, options).await?;
    let credentials = |infos: Vec<ScramCredentialInfo>| infos.into_iter().filter_map(credential).collect();
    Ok(described.into_iter().map(|(user, infos)| (user, infos.map(credentials))).collect())
}

fn credential(info: ScramCredentialInfo) -> Option<Credential> {
    let mechanism = ScramMechanism::from_name(info.mechanism.mechanism_name())?;
    Some(Credential { mechanism, iterations: info.iterations })
}

pub(super) async fn upsert(
    client: &Client,
    passwords: BTreeMap<String, Secret>,
    deadline: Instant,
) -> KrafkaResult<HashMap<String, KrafkaResult<()>>> {
    let salted = spawn_blocking(|| passwords.into_iter().map(|(user, password)| salted(user, &password)).collect());
    let upsertions: KrafkaResult<Vec<ScramCredentialUpsertion>> =
        salted.await.map_err(|error| KrafkaError::config(format!("salting a password: {error}")))?;
    let options = AlterUserScramCredentialsOptions::default().timeout(left(deadline));
    client.admin.alter_user_scram_credentials(Vec::new(), upsertions?, options).await
}

/// Hi() of RFC 5802 under a salt of its own.
fn salted(name: String, password: &Secret) -> KrafkaResult<ScramCredentialUpsertion> {
    let mut salt = vec![0; SALT_BYTES];
    getrandom::fill(&mut salt).map_err(|error| KrafkaError::config(format!("drawing a salt: {error}")))?;
    let mut salted_password = vec![0; HASH_BYTES];
    pbkdf2::pbkdf2_hmac::<Sha512>(password.expose().as_bytes(), &salt, ITERATIONS.into(), &mut salted_password);
    Ok(ScramCredentialUpsertion {
        name,
        mechanism: KrafkaMechanism::Sha512,
        iterations: ITERATIONS.into(),
        salt: salt.into(),
        salted_password: salted_password.into(),
    })
}

pub(super) async fn delete(
    client: &Client,
    users: Vec<String>,
    deadline: Instant,
) -> KrafkaResult<HashMap<String, KrafkaResult<()>>> {
    let deletion = |name| ScramCredentialDeletion { name, mechanism: KrafkaMechanism::Sha512 };
    let options = AlterUserScramCredentialsOptions::default().timeout(left(deadline));
    client.admin.alter_user_scram_credentials(users.into_iter().map(deletion).collect(), Vec::new(), options).await
}
