//! Waits until nothing is under way, then reads everything.

use std::time::{Duration, Instant};

use super::{ReadError, kafka, postgres, postgres::Progress, wallet};
use crate::{environment::Environment, facts::Facts, facts::Published};

/// The topic of the wallet on the local cluster.
pub const TOPIC: &str = "wallet-events";
/// The groups that project it.
pub const GROUPS: [&str; 2] = ["ledger-projector", "read-model-projector"];

const ASK_EVERY: Duration = Duration::from_millis(50);

/// The stores after the dust has settled, or at the deadline.
#[derive(Debug)]
pub struct Reading {
    /// Everything in them.
    pub facts: Facts,
    /// How far the projections were when it was read.
    pub progress: Progress,
    /// How long the projections took to catch up; none when they did not within the limit.
    pub caught_up_after: Option<Duration>,
    /// Records of the topic that each of [`GROUPS`] has not committed; 0 once it has told Kafka of all.
    pub lag: Vec<(&'static str, usize)>,
}

/// Waits for the projections, for at most `within`, and reads all stores. Somebody who writes to the wallet meanwhile is waited
/// for, too: the facts speak of one moment.
pub async fn settle(environment: &Environment, within: Duration) -> Result<Reading, ReadError> {
    let started = Instant::now();
    let ends = started + within;
    let mut connection = postgres::connect(&environment.wallet_database_url).await?;
    let mut caught_up_after = None;
    loop {
        let progress = postgres::progress(&mut connection).await?;
        if progress.is_settled() {
            caught_up_after.get_or_insert_with(|| started.elapsed());
        } else if Instant::now() < ends {
            tokio::time::sleep(ASK_EVERY).await;
            continue;
        }
        let mut facts = postgres::facts(&mut connection).await?;
        let records = read_topic(environment, within).await?;
        facts.published = published(&records)?;
        let lag = lag(environment, records, ends).await?;
        let after = postgres::progress(&mut connection).await?;
        if after == progress || Instant::now() >= ends {
            return Ok(Reading { facts, progress: after, caught_up_after, lag });
        }
    }
}

async fn read_topic(environment: &Environment, within: Duration) -> Result<Vec<kafka::Record>, ReadError> {
    let kafka = environment.kafka.clone();
    blocking(move || kafka::read_topic(&kafka, TOPIC, within.max(Duration::from_secs(60)))).await
}

fn published(records: &[kafka::Record]) -> Result<Vec<Published>, ReadError> {
    records
        .iter()
        .map(|record| {
            let unreadable = |what: String| ReadError::Record {
                topic: TOPIC.into(),
                partition: record.partition,
                offset: record.offset,
                what,
            };
            Ok(Published {
                partition: record.partition,
                offset: record.offset,
                key: String::from_utf8(record.key.clone()).map_err(|error| unreadable(format!("key: {error}")))?,
                event: wallet::from_record(&record.value).map_err(unreadable)?,
            })
        })
        .collect()
}

/// A projector tells Kafka of its offset after its database has it, so the lag follows a moment later.
async fn lag(
    environment: &Environment,
    records: Vec<kafka::Record>,
    ends: Instant,
) -> Result<Vec<(&'static str, usize)>, ReadError> {
    let kafka = environment.kafka.clone();
    blocking(move || {
        loop {
            let mut lag = Vec::new();
            for group in GROUPS {
                let offsets = kafka::committed_offsets(&kafka, group, TOPIC)?;
                lag.push((group, kafka::unread(&records, &offsets)));
            }
            if lag.iter().all(|(_, unread)| *unread == 0) || Instant::now() >= ends {
                return Ok(lag);
            }
            std::thread::sleep(ASK_EVERY);
        }
    })
    .await
}

/// librdkafka's calls block; the runtime's threads must not.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ReadError> + Send + 'static,
) -> Result<T, ReadError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|panic| Err(ReadError::Interrupted(panic.to_string())))
}
