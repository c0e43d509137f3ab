//! Records to read: 1 KiB each, half of it noise, as compressed records are.

use super::BYTES;
use crate::{cluster::Cluster, writer};

/// Writes the records of those keys, in this order.
pub async fn write(
    cluster: &Cluster,
    topic: &str,
    keys: impl Iterator<Item = String> + Send + 'static,
) -> anyhow::Result<()> {
    let mut noise = 1_u64;
    let mut value = vec![b'.'; BYTES];
    let records = keys.map(move |key| {
        for bytes in value[..BYTES / 2].chunks_exact_mut(8) {
            // A linear congruential generator is noise enough for a compressor.
            noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            bytes.copy_from_slice(&noise.to_be_bytes());
        }
        (key, value.clone())
    });
    writer::write(cluster, topic, records).await
}
