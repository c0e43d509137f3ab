//! librdkafka's configuration, the same for every client: how to reach the brokers, who one is, and how keys become partitions.

use std::time::{Duration, Instant};

use rdkafka::{
    ClientConfig, ClientContext,
    config::RDKafkaLogLevel,
    consumer::ConsumerContext,
    error::{KafkaError, KafkaResult},
    producer::{FutureProducer, Producer},
};
use tidegate_settings::binding::{KafkaConnection, KafkaSecurity};
use tokio::sync::watch;

/// Largest record that is produced: 10 MiB of value, and room for its key and headers.
pub const MAX_RECORD_BYTES: usize = 10 * 1024 * 1024 + 64 * 1024;

/// How to reach Kafka, as it is now: mounted certificates and passwords change while a process runs, and librdkafka reads them once. Who
/// holds clients waits for [`Brokers::changed`], drains them, and makes them anew.
#[derive(Clone, Debug)]
pub struct Brokers(watch::Receiver<KafkaConnection>);

impl Brokers {
    /// What a watcher of the mounted files tells: [`Rotation`](crate::rotation::Rotation).
    pub(crate) fn watched(connections: watch::Receiver<KafkaConnection>) -> Self {
        Self(connections)
    }

    /// The connection as it is now. Marks it as seen.
    pub fn now(&mut self) -> KafkaConnection {
        self.0.borrow_and_update().clone()
    }

    /// Whether it is another than [`Brokers::now`] returned last.
    pub fn has_changed(&self) -> bool {
        self.0.has_changed().unwrap_or(false)
    }

    /// Waits until it is another than [`Brokers::now`] returned last; for ever if it never changes.
    pub async fn changed(&self) {
        if self.0.clone().changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// A connection that never changes.
impl From<KafkaConnection> for Brokers {
    fn from(connection: KafkaConnection) -> Self {
        Self(watch::channel(connection).1)
    }
}

/// What every client needs.
pub fn client(connection: &KafkaConnection, client_id: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &connection.bootstrap_servers)
        .set("client.id", client_id)
        .set("allow.auto.create.topics", "false")
        .set("socket.keepalive.enable", "true")
        .set("reconnect.backoff.max.ms", "2000")
        // Brokers close idle connections; that is no news.
        .set("log.connection.close", "false");
    match &connection.security {
        KafkaSecurity::Plaintext => {
            config.set("security.protocol", "plaintext");
        }
        KafkaSecurity::SaslSsl { mechanism, username, password, ca_file } => {
            config
                .set("security.protocol", "sasl_ssl")
                .set("sasl.mechanisms", mechanism.name())
                .set("sasl.username", username)
                .set("sasl.password", password.expose());
            if let Some(ca_file) = ca_file {
                config.set("ssl.ca.location", ca_file.display().to_string());
            }
        }
    }
    config.set_log_level(RDKafkaLogLevel::Info);
    config
}

/// An idempotent producer that places keys where Java's clients place them.
pub fn producer(connection: &KafkaConnection, client_id: &str) -> ClientConfig {
    let mut config = client(connection, client_id);
    config
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("partitioner", "murmur2_random")
        .set("compression.type", "lz4")
        .set("message.max.bytes", MAX_RECORD_BYTES.to_string());
    config
}

/// Commits the producer's transaction, all of whose records are delivered.
///
/// librdkafka counts a record until the event with its report is given back, which is a moment after whoever waited for the report was
/// told. A commit in that moment would look for it again only after 100 ms.
pub(crate) fn commit(producer: &FutureProducer<Logged>, within: Duration) -> KafkaResult<()> {
    let patience = Instant::now() + Duration::from_millis(100);
    while producer.in_flight_count() > 0 && Instant::now() < patience {
        std::thread::sleep(Duration::from_micros(100));
    }
    producer.commit_transaction(within)
}

/// librdkafka's own messages, as log lines of ours.
#[derive(Clone, Copy, Debug, Default)]
pub struct Logged;

impl ClientContext for Logged {
    fn log(&self, level: RDKafkaLogLevel, fac: &str, message: &str) {
        log(level, fac, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        log_error(&error, reason);
    }
}

impl ConsumerContext for Logged {}

pub(crate) fn log(level: RDKafkaLogLevel, facility: &str, message: &str) {
    match level {
        RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical | RDKafkaLogLevel::Error => {
            tracing::error!(target: "librdkafka", facility, "{message}");
        }
        RDKafkaLogLevel::Warning => tracing::warn!(target: "librdkafka", facility, "{message}"),
        RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => tracing::info!(target: "librdkafka", facility, "{message}"),
        RDKafkaLogLevel::Debug => tracing::debug!(target: "librdkafka", facility, "{message}"),
    }
}

pub(crate) fn log_error(error: &KafkaError, reason: &str) {
    // A broker that is away is found again by itself; whoever waits for it says so where it matters.
    tracing::warn!(target: "librdkafka", code = ?error.rdkafka_error_code(), "{reason}");
}

#[cfg(test)]
mod tests {
    use tidegate_settings::binding::{ScramMechanism, Secret};

    use super::*;

    #[test]
    fn a_user_goes_by_tls_and_scram_with_the_authority_that_was_given() {
        let connection = KafkaConnection {
            bootstrap_servers: "a:9092,b:9092".into(),
            security: KafkaSecurity::SaslSsl {
                mechanism: ScramMechanism::Sha512,
                username: "wallet".into(),
                password: Secret::new("secret"),
                ca_file: Some("/ca.crt".into()),
            },
        };
        let config = producer(&connection, "wallet");
        for (key, value) in [
            ("security.protocol", "sasl_ssl"),
            ("sasl.mechanisms", "SCRAM-SHA-512"),
            ("ssl.ca.location", "/ca.crt"),
            ("partitioner", "murmur2_random"),
            ("enable.idempotence", "true"),
        ] {
            assert_eq!(config.get(key), Some(value), "{key}");
        }
    }
}
