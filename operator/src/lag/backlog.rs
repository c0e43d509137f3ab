//! What lies between a group and the end of a partition. Pure. What is unknown stays unknown: never 0, never negative.

use tidegate_kafka::TopicPartition;
use tidegate_settings::StartAt;

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
    pub fn offsets(&self) -> i64 {
        self.end.saturating_sub(self.next).max(0)
    }
}

/// A partition's ends, as far as they are known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ends {
    /// Log start.
    pub start: Option<i64>,
    /// Last stable offset: where a read_committed consumer's view ends.
    pub stable: Option<i64>,
}

/// The backlog of a group that has committed there, or nothing yet; none while it is unknown.
pub fn backlog(partition: &TopicPartition, committed: Option<i64>, ends: Ends, start_at: StartAt) -> Option<Backlog> {
    let end = ends.stable?;
    let next = match (committed, start_at) {
        // What lies before the start is gone, committed or not.
        (Some(next), _) => ends.start.map_or(next, |start| start.max(next)),
        (None, StartAt::Earliest) => ends.start?,
        // It would begin behind the newest record.
        (None, StartAt::Latest) => end,
    };
    Some(Backlog { partition: partition.clone(), next, end })
}

/// The order of magnitude of a figure, in powers of two; 0 and unknown are their own.
pub fn bucket(figure: Option<i64>) -> Option<u32> {
    figure.map(|figure| u64::try_from(figure).unwrap_or(0)).map(|figure| u64::BITS - figure.leading_zeros())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offsets(committed: Option<i64>, start: Option<i64>, stable: Option<i64>, start_at: StartAt) -> Option<i64> {
        let partition = TopicPartition::new("events", 0);
        backlog(&partition, committed, Ends { start, stable }, start_at).map(|backlog| backlog.offsets())
    }

    #[test]
    fn a_backlog_is_what_lies_between_where_the_group_goes_on_and_the_stable_end() {
        use StartAt::{Earliest, Latest};
        for (committed, start, stable, start_at, expected, why) in [
            (Some(4), None, Some(10), Earliest, Some(6), "committed"),
            (Some(4), Some(0), Some(10), Latest, Some(6), "committed, wherever it began"),
            (Some(2), Some(7), Some(10), Earliest, Some(3), "what was removed is behind nobody"),
            (Some(9), Some(7), Some(10), Earliest, Some(1), "what was removed is behind it already"),
            (None, Some(3), Some(10), Earliest, Some(7), "nothing committed: from the beginning"),
            (None, Some(3), Some(10), Latest, Some(0), "nothing committed: from the end"),
            (None, None, Some(10), Latest, Some(0), "the beginning does not matter"),
            (None, None, Some(10), Earliest, None, "the beginning is unknown"),
            (Some(4), Some(0), None, Earliest, None, "the end is unknown"),
            (Some(12), Some(0), Some(10), Earliest, Some(0), "the end was read a moment earlier"),
        ] {
            assert_eq!(offsets(committed, start, stable, start_at), expected, "{why}");
        }
    }

    #[test]
    fn buckets_tell_nothing_from_unknown_and_grow_with_the_figure() {
        assert_eq!(
            [None, Some(0), Some(1), Some(3), Some(4), Some(1_000)].map(bucket),
            [None, Some(0), Some(1), Some(2), Some(3), Some(10)]
        );
    }
}
