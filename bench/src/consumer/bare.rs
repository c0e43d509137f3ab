//! The reference: a bare loop on librdkafka's consumer, with the client's settings of ours.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use rdkafka::{
    ClientConfig,
    consumer::{BaseConsumer, CommitMode, Consumer},
};

use super::{Drained, PATIENCE, warm_up};

/// How often offsets are committed, as ours are.
const COMMIT: Duration = Duration::from_millis(500);

/// Reads the topic until it has so many records.
pub fn drain(client: &ClientConfig, topic: &str, wanted: u64) -> anyhow::Result<Drained> {
    let consumer: BaseConsumer = client.create()?;
    consumer.subscribe(&[topic])?;
    let (mut first, mut last, mut committed) = (None, Instant::now(), Instant::now());
    let (mut records, mut bytes) = (0_u64, 0_usize);
    while records < wanted {
        ensure!(last.elapsed() < PATIENCE, "the bare consumer stands at {records} of {}", wanted);
        let Some(message) = consumer.poll(Duration::from_millis(100)) else { continue };
        let message = message.context("the bare consumer")?;
        last = Instant::now();
        records += 1;
        if records == warm_up(wanted) {
            first = Some(last);
        }
        bytes += message.payload_len();
        consumer.store_offset_from_message(&message)?;
        if committed.elapsed() >= COMMIT {
            consumer.commit_consumer_state(CommitMode::Async)?;
            committed = Instant::now();
        }
    }
    ensure!(bytes as u64 == records * super::BYTES as u64, "the records have {bytes} bytes");
    Ok(Drained { first: first.context("no record came")?, last, records })
}
