//! The connection set of one cluster: opened by the first call, shared by all that follow.

use std::{fmt, io, sync::Arc, time::Duration};

use krafka::{
    Kafka, KrafkaError, Result as KrafkaResult,
    admin::AdminClient,
    auth::{AuthConfig, TlsConfig},
};
use tidegate_settings::binding::{KafkaConnection, KafkaSecurity, ScramMechanism};
use tokio::{sync::Mutex, time::Instant};

use super::{AdminOptions, coordinators::Coordinators, groups::Kinds};

/// After a failed attempt, callers that were waiting get its error instead of an attempt each.
const FAILURE_IS_FRESH: Duration = Duration::from_secs(1);

/// How often the CA file is read again.
const TLS_RELOAD: Duration = Duration::from_secs(300);

/// An open connection set.
pub(super) struct Client {
    pub(super) kafka: Kafka,
    pub(super) admin: AdminClient,
    pub(super) coordinators: Coordinators,
    pub(super) kinds: Kinds,
}

enum State {
    Idle,
    Failed(Instant, KrafkaError),
    Open(Arc<Client>),
}

pub(super) struct Link {
    connection: KafkaConnection,
    client_id: String,
    deadline: Duration,
    connect_timeout: Duration,
    state: Mutex<State>,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("connection", &self.connection).finish_non_exhaustive()
    }
}

impl Link {
    pub(super) fn new(connection: KafkaConnection, options: &AdminOptions) -> Self {
        Self {
            connection,
            client_id: options.client_id.clone(),
            deadline: options.deadline,
            connect_timeout: options.connect_timeout.min(options.deadline),
            state: Mutex::new(State::Idle),
        }
    }

    /// The open connection set, opening it first when there is none.
    pub(super) async fn client(&self, deadline: Instant) -> KrafkaResult<Arc<Client>> {
        tokio::time::timeout_at(deadline, self.open())
            .await
            .unwrap_or_else(|_| Err(self.unreachable("no connection within the deadline")))
    }

    async fn open(&self) -> KrafkaResult<Arc<Client>> {
        let mut state = self.state.lock().await;
        match &*state {
            State::Open(client) => return Ok(client.clone()),
            State::Failed(at, error) if at.elapsed() < FAILURE_IS_FRESH => return Err(error.clone()),
            State::Failed(..) | State::Idle => {}
        }
        match self.connect().await {
            Ok(client) => {
                let client = Arc::new(client);
                *state = State::Open(client.clone());
                Ok(client)
            }
            Err(error) => {
                *state = State::Failed(Instant::now(), error.clone());
                Err(error)
            }
        }
    }

    async fn connect(&self) -> KrafkaResult<Client> {
        let mut builder = Kafka::builder(&self.connection.bootstrap_servers)
            .client_id(&self.client_id)
            .connect_timeout(self.connect_timeout)
            .request_timeout(self.deadline)
            .allow_auto_create_topics(false);
        if let Some(security) = security(&self.connection.security) {
            builder = builder.security(security).tls_reload_interval(Some(TLS_RELOAD));
        }
        // The attempt is shorter than a call's deadline, so that its own error is told rather than "deadline".
        let attempt = self.connect_timeout.mul_f32(1.5).min(self.deadline);
        let kafka = tokio::time::timeout(attempt, builder.connect())
            .await
            .unwrap_or_else(|_| Err(self.unreachable(&format!("not connected within {attempt:?}"))))?;
        let admin = kafka.admin().default_api_timeout(self.deadline);
        Ok(Client { admin, kafka, coordinators: Coordinators::default(), kinds: Kinds::default() })
    }

    fn unreachable(&self, what: &str) -> KrafkaError {
        let text = format!("{what} (bootstrap servers {})", self.connection.bootstrap_servers);
        KrafkaError::network(io::Error::new(io::ErrorKind::TimedOut, text))
    }
}

fn security(security: &KafkaSecurity) -> Option<AuthConfig> {
    let KafkaSecurity::SaslSsl { mechanism, username, password, ca_file } = security else { return None };
    // Host names are verified always; without a CA file the compiled-in public authorities are trusted.
    let tls = match ca_file {
        Some(path) => TlsConfig::new().with_ca_cert(path.to_string_lossy()),
        None => TlsConfig::new(),
    };
    let auth = match mechanism {
        ScramMechanism::Sha256 => AuthConfig::sasl_scram_sha256(username, password.expose()),
        ScramMechanism::Sha512 => AuthConfig::sasl_scram_sha512(username, password.expose()),
    };
    Some(auth.with_tls(tls))
}
