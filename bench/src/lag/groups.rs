//! The groups, as far as a group is its commits: each has read what is older than it is behind.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context;
use futures::{StreamExt, stream};
use tidegate_kafka::{KafkaAdmin, TopicPartition};
use tidegate_operator::lag::{Clock, Wanted};
use tokio::time::{MissedTickBehavior, interval};

use super::{Stream, load::Load};

/// Commits under way at once.
const AT_ONCE: usize = 16;

/// Groups that commit.
pub struct Groups<'a> {
    /// By which they commit.
    pub admin: &'a dyn KafkaAdmin,
    /// What each reads.
    pub wanted: &'a [Wanted],
    /// The loads, of which each group reads one.
    pub streams: Arc<Vec<Stream>>,
    /// The load generator's clock.
    pub clock: Clock,
    /// When they began.
    pub started: Instant,
}

impl Groups<'_> {
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
        let offsets: BTreeMap<TopicPartition, i64> = (0..stream.truth.partitions())
            .map(|index| (TopicPartition::new(&stream.topic, index as i32), stream.truth.at(index, read)))
            .collect();
        for outcome in self.admin.set_offsets(&wanted.consumes.group, &offsets).await.into_values() {
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
