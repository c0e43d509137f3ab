//! How far a group is behind, in records. Pure. What is unknown stays unknown: never 0, never negative.

use std::collections::BTreeMap;

use tidegate_kafka::TopicPartition;
use tidegate_settings::StartAt;

/// What Kafka said of the partitions that a group reads.
#[derive(Clone, Debug, Default)]
pub struct Offsets {
    /// Last stable offset: where a read_committed consumer's view ends.
    pub stable: BTreeMap<TopicPartition, i64>,
    /// Log start.
    pub earliest: BTreeMap<TopicPartition, i64>,
}

/// What lies between a group and the end of a partition.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Backlog {
    /// The partition.
    pub partition: TopicPartition,
    /// Offset that the group reads next.
    pub next: i64,
    /// Last stable offset.
    pub end: i64,
}

impl Backlog {
    /// Offsets in between. A group ahead of the end: the end was read a moment earlier.
    pub fn records(&self) -> i64 {
        self.end.saturating_sub(self.next).max(0)
    }
}

/// The group's backlog in each of `partitions`; none while any part of the answer is missing.
pub fn backlogs(
    partitions: &[TopicPartition],
    committed: &BTreeMap<TopicPartition, i64>,
    offsets: &Offsets,
    start_at: StartAt,
) -> Option<Vec<Backlog>> {
    let of = |partition: &TopicPartition| {
        let end = *offsets.stable.get(partition)?;
        let start = offsets.earliest.get(partition).copied();
        let next = match (committed.get(partition), start_at) {
            // What lies before the start is gone, committed or not.
            (Some(next), _) => start.map_or(*next, |start| start.max(*next)),
            (None, StartAt::Earliest) => start?,
            // It would begin behind the newest record.
            (None, StartAt::Latest) => end,
        };
        Some(Backlog { partition: partition.clone(), next, end })
    };
    partitions.iter().map(of).collect()
}

/// The order of magnitude of a lag, in powers of two; 0 and unknown are their own.
pub fn bucket(lag: Option<i64>) -> Option<u32> {
    lag.map(|records| u64::try_from(records).unwrap_or(0)).map(|records| u64::BITS - records.leading_zeros())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition(index: i32) -> TopicPartition {
        TopicPartition::new("events", index)
    }

    fn at(offsets: &[(i32, i64)]) -> BTreeMap<TopicPartition, i64> {
        offsets.iter().map(|(index, offset)| (partition(*index), *offset)).collect()
    }

    fn offsets(stable: &[(i32, i64)], earliest: &[(i32, i64)]) -> Offsets {
        Offsets { stable: at(stable), earliest: at(earliest) }
    }

    fn lag(
        partitions: &[TopicPartition],
        committed: &BTreeMap<TopicPartition, i64>,
        offsets: &Offsets,
        start_at: StartAt,
    ) -> Option<i64> {
        Some(backlogs(partitions, committed, offsets, start_at)?.iter().map(Backlog::records).sum())
    }

    #[test]
    fn lag_is_what_lies_between_the_commits_and_the_stable_ends() {
        let offsets = offsets(&[(0, 10), (1, 20)], &[]);
        let both = [partition(0), partition(1)];
        assert_eq!(lag(&both, &at(&[(0, 4), (1, 20)]), &offsets, StartAt::Earliest), Some(6));
    }

    #[test]
    fn a_partition_without_a_commit_counts_from_where_the_group_would_start() {
        let offsets = offsets(&[(0, 10)], &[(0, 3)]);
        assert_eq!(lag(&[partition(0)], &at(&[]), &offsets, StartAt::Earliest), Some(7));
        assert_eq!(lag(&[partition(0)], &at(&[]), &offsets, StartAt::Latest), Some(0));
    }

    #[test]
    fn one_unknown_partition_makes_the_whole_unknown() {
        let both = [partition(0), partition(1)];
        assert_eq!(lag(&both, &at(&[(0, 1), (1, 1)]), &offsets(&[(0, 10)], &[]), StartAt::Earliest), None);
        assert_eq!(lag(&both, &at(&[(0, 1)]), &offsets(&[(0, 1), (1, 1)], &[]), StartAt::Earliest), None);
    }

    #[test]
    fn a_commit_ahead_of_the_end_is_no_negative_lag() {
        assert_eq!(lag(&[partition(0)], &at(&[(0, 12)]), &offsets(&[(0, 10)], &[]), StartAt::Earliest), Some(0));
    }

    #[test]
    fn what_was_removed_from_the_log_is_behind_nobody() {
        let offsets = offsets(&[(0, 10)], &[(0, 7)]);
        assert_eq!(lag(&[partition(0)], &at(&[(0, 2)]), &offsets, StartAt::Earliest), Some(3));
        assert_eq!(lag(&[partition(0)], &at(&[(0, 9)]), &offsets, StartAt::Earliest), Some(1));
    }

    #[test]
    fn buckets_tell_nothing_from_unknown_and_grow_with_the_lag() {
        assert_eq!(
            [None, Some(0), Some(1), Some(3), Some(4), Some(1_000)].map(bucket),
            [None, Some(0), Some(1), Some(2), Some(3), Some(10)]
        );
    }
}
