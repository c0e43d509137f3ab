//! Which partition a key belongs to: Java's murmur2, which every producer of a topic has to agree on, because order per key is order
//! per partition. librdkafka calls it `murmur2_random`; its default is another hash.

/// The hash of Kafka's Java client (`org.apache.kafka.common.utils.Utils.murmur2`).
pub fn murmur2(data: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const M: u32 = 0x5bd1_e995;
    // Keys are far shorter than 4 GiB; the length enters the hash as 32 bits.
    let mut hash = SEED ^ data.len() as u32;
    let (words, tail) = data.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k ^= k >> 24;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    if !tail.is_empty() {
        for (place, byte) in tail.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * place);
        }
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}

/// The partition of a key among `partitions` (at least 1): `toPositive(murmur2(key)) % partitions`.
pub fn of_key(key: &[u8], partitions: u32) -> u32 {
    (murmur2(key) & 0x7fff_ffff) % partitions.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values that Kafka's own test pins (`UtilsTest.testMurmur2`).
    #[test]
    fn hashes_are_those_of_the_java_client() {
        for (key, hash) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(key.as_bytes()) as i32, hash, "{key}");
        }
    }

    /// librdkafka's own table (`rdmurmur2.c`), the short tails included.
    #[test]
    fn hashes_are_those_of_librdkafka() {
        for (key, hash) in [
            (&b"kafka"[..], 0xd067_cf64_u32),
            (b"giberish123456789", 0x8f55_2b0c),
            (b"1234", 0x9fc9_7b14),
            (b"234", 0xe7c0_09ca),
            (b"34", 0x873930da),
            (b"4", 0x5a4b_5ca1),
            (b"PreAmbleWillBeRemoved,ThePrePartThatIs", 0x7842_4f1c),
            (b"", 0x106e_08d9),
        ] {
            assert_eq!(murmur2(key), hash, "{}", String::from_utf8_lossy(key));
        }
    }

    #[test]
    fn keys_stay_in_their_partitions() {
        let placed = |partitions| {
            ["alice-eur", "bob-eur", "carol-jpy", "wallet-1", ""].map(|key| of_key(key.as_bytes(), partitions))
        };
        assert_eq!(placed(10), [4, 2, 6, 3, 1]);
        assert_eq!(placed(3), [1, 1, 1, 1, 0]);
        assert_eq!(placed(1), [0; 5]);
    }

    proptest::proptest! {
        #[test]
        fn every_key_has_a_partition_that_exists(key: Vec<u8>, partitions in 1_u32..1000) {
            proptest::prop_assert!(of_key(&key, partitions) < partitions);
        }
    }
}
