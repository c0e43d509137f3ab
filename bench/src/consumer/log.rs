//! Records to read: 1 KiB each, half of it noise, as compressed records are.

use std::time::Duration;

use anyhow::Context;
use rdkafka::{
    error::{KafkaError, RDKafkaErrorCode},
    producer::{BaseProducer, BaseRecord, Producer},
};
use tidegate_runtime::kafka;

use super::BYTES;
use crate::cluster::Cluster;

/// Writes the records of those keys, in this order.
pub async fn write(
    cluster: &Cluster,
    topic: &str,
    keys: impl Iterator<Item = String> + Send + 'static,
) -> anyhow::Result<()> {
    let mut client = kafka::producer(&cluster.kafka()?, "tidegate-bench");
    client.set("linger.ms", "20").set("queue.buffering.max.messages", "20000");
    let topic = topic.to_owned();
    tokio::task::spawn_blocking(move || {
        let producer: BaseProducer = client.create()?;
        let mut noise = 1_u64;
        let mut payload = vec![b'.'; BYTES];
        for key in keys {
            for bytes in payload[..BYTES / 2].chunks_exact_mut(8) {
                // A linear congruential generator is noise enough for a compressor.
                noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                bytes.copy_from_slice(&noise.to_be_bytes());
            }
            send(&producer, BaseRecord::to(&topic).key(&key).payload(&payload))?;
        }
        producer.flush(Duration::from_secs(60)).context("writing the last records")
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
