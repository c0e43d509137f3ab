//! Certificates and passwords are renewed while a process runs: Kubernetes writes them into the mounted folder, and whoever holds
//! clients is told.
//!
//! What is mounted is taken up when it was read twice alike, since some mounts replace file after file, and when brokers have let
//! somebody in with it. Until then everybody keeps what works.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use prometheus_client::metrics::{counter::Counter, gauge::Gauge};
use rdkafka::{
    consumer::{BaseConsumer, Consumer},
    error::KafkaError,
};
use tidegate_settings::binding::{self, BindingError, KafkaConnection, KafkaSecurity};
use tokio::{
    sync::watch,
    task::{JoinError, spawn_blocking},
    time::sleep,
};

use crate::{
    app::chain,
    backoff::Backoff,
    kafka::{self, Brokers, Logged},
    shutdown::Shutdown,
    telemetry::Metrics,
};

/// How often the folder is read.
const EVERY: Duration = Duration::from_secs(2);
/// How long brokers may take to let somebody in.
const ANSWER: Duration = Duration::from_secs(10);

/// Watches the folder of a Kafka binding.
#[derive(Debug)]
pub struct Rotation {
    folder: PathBuf,
    every: Duration,
    seen: Seen,
    brokers: watch::Sender<KafkaConnection>,
    taken_up: Counter,
    refused: Gauge,
}

/// Why what is mounted is not taken up.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error(transparent)]
    Binding(#[from] BindingError),
    #[error("the binding's {} cannot be read: {source}", .path.display())]
    Authorities { path: PathBuf, source: std::io::Error },
    #[error("no broker lets anybody in with it: {0}")]
    Kafka(#[from] KafkaError),
    #[error("reading it broke off")]
    Thread(#[from] JoinError),
}

impl Rotation {
    /// Watches the folder that this connection was read from. Clients are made of the brokers.
    pub fn new(folder: PathBuf, connection: KafkaConnection, metrics: &Metrics) -> (Brokers, Self) {
        let (brokers, watched) = watch::channel(connection.clone());
        // A file that cannot be read now is another one as soon as it can.
        let authorities = authorities(&connection).unwrap_or_default();
        let rotation = Self {
            folder,
            every: EVERY,
            seen: Seen { current: Mounted { connection, authorities }, candidate: None },
            brokers,
            taken_up: metrics.register(
                "kafka_binding_rotations",
                "Times that another mounted password, certificate or address of Kafka was taken up.",
                Counter::default(),
            ),
            refused: metrics.register(
                "kafka_binding_refused",
                "1 while what is mounted to reach Kafka cannot be used, and what was mounted before is.",
                Gauge::default(),
            ),
        };
        (Brokers::watched(watched), rotation)
    }

    /// Another time between two readings than 2 s.
    pub fn every(mut self, every: Duration) -> Self {
        self.every = every;
        self
    }

    /// Runs until the process stops.
    pub async fn run(mut self, shutdown: Shutdown) {
        let mut backoff = Backoff::new(self.every, Duration::from_secs(30).max(self.every));
        let mut complaint = String::new();
        let mut wait = self.every;
        while shutdown.or(sleep(wait)).await.is_some() {
            match self.look().await {
                Ok(()) => {
                    (wait, complaint) = (self.every, String::new());
                    backoff.reset();
                    self.refused.set(0);
                }
                Err(error) => {
                    wait = backoff.next();
                    self.refused.set(1);
                    let error = chain(&error);
                    if error != complaint {
                        tracing::warn!(
                            folder = %self.folder.display(),
                            error,
                            "the mounted way to Kafka is not usable; the former one is kept"
                        );
                        complaint = error;
                    }
                }
            }
        }
    }

    async fn look(&mut self) -> Result<(), Refused> {
        let folder = self.folder.clone();
        let mounted = spawn_blocking(move || Mounted::read(&folder)).await??;
        let Some(candidate) = self.seen.look(mounted) else { return Ok(()) };
        let connection = candidate.connection.clone();
        spawn_blocking(move || lets_in(&connection)).await??;
        if let Some(connection) = self.seen.take_up() {
            tracing::info!(folder = %self.folder.display(), "another way to Kafka was mounted; clients are made anew");
            self.taken_up.inc();
            self.brokers.send_replace(connection);
        }
        Ok(())
    }
}

/// What a folder holds: the connection, and the certificates of the authority, which change without their path's changing.
#[derive(Debug, PartialEq, Eq)]
struct Mounted {
    connection: KafkaConnection,
    authorities: Option<Vec<u8>>,
}

impl Mounted {
    fn read(folder: &Path) -> Result<Self, Refused> {
        let connection = binding::kafka(folder)?;
        let authorities = authorities(&connection)?;
        Ok(Self { connection, authorities })
    }
}

fn authorities(connection: &KafkaConnection) -> Result<Option<Vec<u8>>, Refused> {
    match &connection.security {
        KafkaSecurity::SaslSsl { ca_file: Some(path), .. } => {
            fs::read(path).map(Some).map_err(|source| Refused::Authorities { path: path.clone(), source })
        }
        KafkaSecurity::SaslSsl { .. } | KafkaSecurity::Plaintext => Ok(None),
    }
}

/// What is in use, and what may replace it.
#[derive(Debug)]
struct Seen {
    current: Mounted,
    candidate: Option<Mounted>,
}

impl Seen {
    /// What is to be tried, if it is not in use already and was the same the last time.
    fn look(&mut self, mounted: Mounted) -> Option<&Mounted> {
        let again = self.candidate.as_ref() == Some(&mounted);
        self.candidate = (mounted != self.current).then_some(mounted);
        self.candidate.as_ref().filter(|_| again)
    }

    /// It works.
    fn take_up(&mut self) -> Option<KafkaConnection> {
        self.current = self.candidate.take()?;
        Some(self.current.connection.clone())
    }
}

/// Whether brokers let somebody in. Blocks.
fn lets_in(connection: &KafkaConnection) -> Result<(), KafkaError> {
    let client: BaseConsumer<Logged> = kafka::client(connection, "rotation").create_with_context(Logged)?;
    // Of a topic that cannot be: what is asked does not matter, but that somebody answers.
    client.fetch_metadata(Some("__rotation"), ANSWER).map(drop)
}

#[cfg(test)]
mod tests {
    use tidegate_settings::binding::Secret;

    use super::*;

    fn mounted(password: &str, authorities: &str) -> Mounted {
        let security = KafkaSecurity::SaslSsl {
            mechanism: binding::ScramMechanism::Sha512,
            username: "wallet".into(),
            password: Secret::new(password),
            ca_file: Some("/ca.crt".into()),
        };
        let connection = KafkaConnection { bootstrap_servers: "kafka:9092".into(), security };
        Mounted { connection, authorities: Some(authorities.into()) }
    }

    fn seen() -> Seen {
        Seen { current: mounted("one", "a"), candidate: None }
    }

    #[test]
    fn what_is_in_use_is_nothing_new() {
        let mut seen = seen();
        for _ in 0..3 {
            assert_eq!(seen.look(mounted("one", "a")), None);
        }
    }

    #[test]
    fn a_change_is_tried_when_it_was_seen_twice_and_for_as_long_as_it_does_not_work() {
        let mut seen = seen();
        assert_eq!(seen.look(mounted("two", "a")), None);
        for _ in 0..3 {
            assert_eq!(seen.look(mounted("two", "a")), Some(&mounted("two", "a")));
        }
        assert_eq!(seen.take_up(), Some(mounted("two", "a").connection));
        assert_eq!(seen.look(mounted("two", "a")), None);
    }

    #[test]
    fn a_folder_in_the_middle_of_being_written_is_waited_for() {
        let mut seen = seen();
        assert_eq!(seen.look(mounted("one", "b")), None);
        assert_eq!(seen.look(mounted("two", "b")), None);
        assert_eq!(seen.look(mounted("two", "b")), Some(&mounted("two", "b")));
    }

    #[test]
    fn a_change_that_is_taken_back_is_forgotten() {
        let mut seen = seen();
        assert_eq!(seen.look(mounted("two", "a")), None);
        assert_eq!(seen.look(mounted("one", "a")), None);
        assert_eq!(seen.look(mounted("two", "a")), None);
    }

    #[test]
    fn an_authority_that_changes_under_its_path_is_a_change() {
        let mut seen = seen();
        assert_eq!(seen.look(mounted("one", "b")), None);
        assert!(seen.look(mounted("one", "b")).is_some());
    }
}
