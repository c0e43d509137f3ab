//! What a replay tells a process: that it begins anew, and where.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Offsets of partitions: by Kafka name of the topic, and by the partition's number in decimal.
pub type PartitionOffsets = BTreeMap<String, BTreeMap<String, i64>>;

/// The replay that a process works in. What was made in an earlier one is removed before the first record of this one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Generation {
    /// The replay's id.
    pub id: String,
    /// Where it begins: the offset of the first record to read, of each partition that there was. A group that keeps its offsets in
    /// Kafka finds them there; one that keeps them with its rows begins at these.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub offsets: PartitionOffsets,
}

impl Generation {
    /// Where a partition begins; none for one that was not there when the replay was made.
    pub fn offset(&self, topic: &str, partition: i32) -> Option<i64> {
        self.offsets.get(topic)?.get(&partition.to_string()).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_is_found_by_its_number_and_one_that_came_later_is_not() {
        let generation = Generation {
            id: "after-fix-142".into(),
            offsets: [("events".to_owned(), [("10".to_owned(), 7)].into())].into(),
        };
        assert_eq!(generation.offset("events", 10), Some(7));
        assert_eq!((generation.offset("events", 1), generation.offset("other", 10)), (None, None));
    }
}
