//! Writes what a run reads: as fast as a bare producer does.

use std::time::Duration;

use anyhow::Context;
use rdkafka::{
    error::{KafkaError, RDKafkaErrorCode},
    producer::{BaseProducer, BaseRecord, Producer},
};
use tidegate_runtime::kafka;

use crate::cluster::Cluster;

/// How long the last records may take.
const LAST: Duration = Duration::from_secs(60);

/// Writes those keys and values to the topic, in this order, and waits until all are there.
pub async fn write(
    cluster: &Cluster,
    topic: &str,
    records: impl Iterator<Item = (String, Vec<u8>)> + Send + 'static,
) -> anyhow::Result<()> {
    let mut client = kafka::producer(&cluster.kafka()?, "tidegate-bench");
    client.set("linger.ms", "20").set("queue.buffering.max.messages", "20000");
    let topic = topic.to_owned();
    tokio::task::spawn_blocking(move || {
        let producer: BaseProducer = client.create()?;
        for (key, value) in records {
            send(&producer, BaseRecord::to(&topic).key(&key).payload(&value))?;
        }
        producer.flush(LAST).context("writing the last records")
    })
    .await?
}

fn send(producer: &BaseProducer, mut record: BaseRecord<'_, String, Vec<u8>>) -> anyhow::Result<()> {
    loop {
        match producer.send(record) {
            Ok(()) => return Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                producer.poll(Duration::from_millis(10));
                record = back;
            }
            Err((error, _)) => return Err(error).context("writing a record"),
        }
    }
}
