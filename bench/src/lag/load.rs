//! The loads: how records come, and how far behind the groups that read them are.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context;
use rdkafka::producer::{FutureProducer, FutureRecord};
use tidegate_operator::lag::Clock;
use tokio::{task::JoinSet, time::sleep_until};

use super::truth::Truth;
use crate::cluster::Cluster;

/// How records come to each partition, and how its groups read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    /// Four a second, evenly.
    Steady,
    /// Thirty at once every twenty seconds.
    Burst,
    /// Two a second, evenly; the groups stop after a while.
    Stuck,
    /// One a second, then ten, half a minute each.
    RateChange,
    /// One now and then.
    Trickle,
}

/// All of them.
pub const ALL: [Load; 5] = [Load::Steady, Load::Burst, Load::Stuck, Load::RateChange, Load::Trickle];

impl Load {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Steady => "steady",
            Self::Burst => "burst",
            Self::Stuck => "stuck",
            Self::RateChange => "rate-change",
            Self::Trickle => "trickle",
        }
    }

    /// The records that come after `at` milliseconds of a partition's load: how many at once, and milliseconds until the next.
    fn next(self, at: u64, partition: usize) -> (usize, u64) {
        match self {
            Self::Steady => (1, 250),
            Self::Burst => (30, 20_000),
            Self::Stuck => (1, 500),
            Self::RateChange => (1, if (at / 30_000).is_multiple_of(2) { 1_000 } else { 100 }),
            // No two partitions in step.
            Self::Trickle => (1, 7_000 + 1_300 * (partition as u64 % 10)),
        }
    }

    /// How many milliseconds behind a group is: from nothing to a minute, whichever group it is.
    pub fn behind(group: usize) -> i64 {
        [0, 500, 3_000, 8_000, 15_000, 30_000, 60_000][group % 7]
    }

    /// Whether its groups have stopped, after so long.
    pub fn has_stopped(self, after: Duration) -> bool {
        self == Self::Stuck && after > Duration::from_secs(45)
    }
}

/// Writes a load to every partition of a topic until it is dropped; what was written when is in `truth`.
pub fn write(
    cluster: &Cluster,
    topic: &str,
    load: Load,
    truth: &Arc<Truth>,
    partitions: usize,
    clock: Clock,
) -> anyhow::Result<JoinSet<anyhow::Result<()>>> {
    let mut config = cluster.client();
    let producer: FutureProducer = config.set("linger.ms", "5").create().context("making a producer")?;
    let mut writers = JoinSet::new();
    for partition in 0..partitions {
        let (producer, topic, truth) = (producer.clone(), topic.to_owned(), truth.clone());
        writers.spawn(async move {
            // Partitions are not in step.
            let started = Instant::now() + Duration::from_millis(partition as u64 * 137 % 5_000);
            let mut at = 0;
            loop {
                sleep_until((started + Duration::from_millis(at)).into()).await;
                let (count, pause) = load.next(at, partition);
                for _ in 0..count {
                    let time = clock.now();
                    let record =
                        FutureRecord::<(), _>::to(&topic).payload(b"x").partition(partition as i32).timestamp(time);
                    let sent = producer.send_result(record).map_err(|(error, _)| error).context("writing a record")?;
                    let truth = truth.clone();
                    tokio::spawn(async move {
                        if let Ok(Ok(taken)) = sent.await {
                            truth.wrote(partition, taken.offset, time);
                        }
                    });
                }
                at += pause;
            }
        });
    }
    Ok(writers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_changes_every_half_minute_and_the_stuck_stop() {
        assert_eq!([0, 29_000, 30_000, 61_000].map(|at| Load::RateChange.next(at, 0).1), [1_000, 1_000, 100, 1_000]);
        assert!(!Load::Stuck.has_stopped(Duration::from_secs(10)) && Load::Stuck.has_stopped(Duration::from_secs(60)));
        assert!(!Load::Steady.has_stopped(Duration::from_secs(600)));
    }
}
