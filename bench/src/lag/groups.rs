//! The groups, as far as a group is its commits: each has read what is older than it is behind.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context;
use futures::{StreamExt, stream};
use krafka::{
    Kafka,
    admin::{AdminClient, AlterConsumerGroupOffsetsOptions, TopicPartition},
    auth::{AuthConfig, TlsConfig},
};
use tidegate_operator::lag::{Clock, Wanted};
use tidegate_settings::binding::{KafkaConnection, KafkaSecurity, ScramMechanism};
use tokio::time::{MissedTickBehavior, interval};

use super::{Stream, load::Load};

/// Commits under way at once.
const AT_ONCE: usize = 16;

/// Groups that commit.
pub struct Groups {
    admin: AdminClient,
    wanted: Vec<Wanted>,
    streams: Arc<Vec<Stream>>,
    clock: Clock,
    started: Instant,
}

impl Groups {
    /// Groups that have not committed yet.
    pub async fn connect(
        connection: &KafkaConnection,
        wanted: Vec<Wanted>,
        streams: Arc<Vec<Stream>>,
        clock: Clock,
    ) -> anyhow::Result<Self> {
        let mut builder = Kafka::builder(&connection.bootstrap_servers);
        if let KafkaSecurity::SaslSsl { mechanism, username, password, ca_file } = &connection.security {
            let auth = match mechanism {
                ScramMechanism::Sha256 => AuthConfig::sasl_scram_sha256(username, password.expose()),
                ScramMechanism::Sha512 => AuthConfig::sasl_scram_sha512(username, password.expose()),
            };
            let ca_file = ca_file.as_ref().context("KAFKA_CA_FILE is not set")?;
            builder = builder.security(auth.with_tls(TlsConfig::new().with_ca_cert(ca_file.to_string_lossy())));
        }
        let kafka = builder.connect().await.context("connecting to Kafka")?;
        Ok(Self { admin: kafka.admin(), wanted, streams, clock, started: Instant::now() })
    }

    /// Every group commits once; how long that took.
    pub async fn commit(&self) -> anyhow::Result<Duration> {
        let started = Instant::now();
        let commits = self.wanted.iter().enumerate().map(|(group, wanted)| self.commit_one(group, wanted));
        let mut commits = stream::iter(commits).buffer_unordered(AT_ONCE);
        while let Some(committed) = commits.next().await {
            committed?;
        }
        Ok(started.elapsed())
    }

    async fn commit_one(&self, group: usize, wanted: &Wanted) -> anyhow::Result<()> {
        let stream = &self.streams[group % self.streams.len()];
        if stream.load.has_stopped(self.started.elapsed()) {
            return Ok(());
        }
        let read = self.clock.now() - Load::behind(group / self.streams.len());
        let offsets = (0..stream.truth.partitions())
            .map(|partition| (TopicPartition::new(&stream.topic, partition as i32), stream.truth.at(partition, read)));
        let options = AlterConsumerGroupOffsetsOptions::default();
        let outcomes = self.admin.alter_consumer_group_offsets(&wanted.consumes.group, offsets, options).await;
        for outcome in outcomes.context("committing")?.into_values() {
            outcome.context("committing")?;
        }
        Ok(())
    }

    /// Every group commits again and again.
    pub async fn commit_every(self, pause: Duration) -> anyhow::Result<()> {
        let mut ticks = interval(pause);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.commit().await?;
        }
    }
}
