//! The reference: a bare transaction of Kafka, one after the other: 50 records and offsets. The next begins when the one before it was
//! seen: brokers make a producer wait that begins while they still write the end of its last one.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use hdrhistogram::Histogram;
use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    producer::{BaseProducer, BaseRecord, Producer},
};
use tidegate_runtime::kafka;
use tidegate_verify::load::microseconds;

use super::{Options, event, key, watcher::Watcher};
use crate::cluster::Cluster;

/// Records of a transaction.
const RECORDS: u64 = 50;
const ANSWER: Duration = Duration::from_secs(15);

/// Times from a transaction's beginning.
pub struct Transactions {
    /// Until its last record was seen by a reader of committed records.
    pub visible: Histogram<u64>,
    /// Until the commit returned.
    pub committed: Histogram<u64>,
}

/// Runs transactions for one window.
pub async fn run(cluster: &Cluster, topic: &str, group: &str, options: &Options) -> anyhow::Result<Transactions> {
    let watcher = Watcher::start(cluster, topic).await?;
    let mut producing = kafka::producer(&cluster.kafka()?, "tidegate-bench");
    producing
        .set("transactional.id", group)
        .set("transaction.timeout.ms", "10000")
        .set("linger.ms", "0")
        .set("retry.backoff.ms", "20");
    let mut reading = cluster.client();
    reading.set("group.id", group);
    let (topic, window, seen) = (topic.to_owned(), options.window(), watcher.counter());
    let transactions = tokio::task::spawn_blocking(move || {
        let producer: BaseProducer = producing.create()?;
        let reader: BaseConsumer = reading.create()?;
        transact(&producer, &reader, &topic, window, &seen).context("a bare transaction")
    })
    .await??;
    watcher.wait_for(transactions.len() as u64 * RECORDS, ANSWER).await?;
    let mut last = vec![None; transactions.len()];
    for (number, at) in watcher.finish().await? {
        let seen = last.get_mut((number / RECORDS) as usize).context("a record of no transaction was seen")?;
        *seen = Some(at);
    }
    let warm = transactions.first().context("no transaction was made")?.0 + options.warm_up();
    let mut times = Transactions { visible: microseconds(), committed: microseconds() };
    for ((begun, committed), seen) in transactions.into_iter().zip(last).filter(|((begun, _), _)| *begun >= warm) {
        let seen = seen.context("a transaction was never seen")?;
        times.visible.saturating_record((seen - begun).as_micros() as u64);
        times.committed.saturating_record((committed - begun).as_micros() as u64);
    }
    ensure!(times.visible.len() >= 20, "{} transactions are too few to speak of", times.visible.len());
    Ok(times)
}

/// When each transaction began, and when its commit returned.
fn transact(
    producer: &BaseProducer,
    reader: &BaseConsumer,
    topic: &str,
    window: Duration,
    seen: &AtomicU64,
) -> anyhow::Result<Vec<(Instant, Instant)>> {
    producer.init_transactions(ANSWER)?;
    let group = reader.group_metadata().context("there is no group")?;
    let ends = Instant::now() + window;
    let mut times = Vec::new();
    while Instant::now() < ends {
        let begun = Instant::now();
        producer.begin_transaction()?;
        let first = times.len() as u64 * RECORDS;
        for number in first..first + RECORDS {
            let (key, payload) = (key(number), event(number));
            producer.send(BaseRecord::to(topic).key(&key).payload(&payload)).map_err(|(error, _)| error)?;
        }
        let mut offsets = TopicPartitionList::new();
        offsets.add_partition_offset(topic, 0, Offset::Offset((first + RECORDS) as i64))?;
        // Reports are served here: the commit would serve them itself, in steps of 100 ms. Offsets come after them: a coordinator that is
        // still adding the events' partitions refuses, and is asked again only after the backoff.
        while producer.in_flight_count() > 0 {
            producer.poll(Duration::from_millis(1));
        }
        producer.send_offsets_to_transaction(&offsets, &group, ANSWER)?;
        producer.commit_transaction(ANSWER)?;
        times.push((begun, Instant::now()));
        while seen.load(Ordering::Acquire) < first + RECORDS {
            ensure!(begun.elapsed() < ANSWER, "a bare transaction was not seen");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    Ok(times)
}
