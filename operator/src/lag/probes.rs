//! What backlogs hold. Offsets count what nobody ever reads, such as the markers that end transactions: a group stays short of the end by
//! the last of them for ever. And when a record came is not known from before the first sample. A backlog is therefore looked into where
//! looking tells more than the samples do, and what was found is remembered while the group stands there.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use tidegate_kafka::{AdminError, ErrorClass, ErrorCode, KafkaAdmin, Readable, TopicPartition};

use super::backlog::Backlog;

/// Partitions that are looked into in one cycle: what a broker sends for them is some megabytes at most.
const LOOKS: usize = 256;
/// A group that has stood at an offset for so many cycles is stuck there.
const STUCK: u32 = 3;

/// How well the age of a backlog's oldest record is known without looking.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Age {
    /// Not at all: it was there before the first sample.
    Unknown,
    /// Worse than would do for its age.
    Vague,
    /// To the time between two samples.
    Sampled,
    /// Exactly; or nobody asks.
    Exact,
}

/// What is known of where a group stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Standing {
    /// The end in the last cycle.
    end: i64,
    /// Cycles before this one in which the group stood here.
    cycles: u32,
    found: Option<Found>,
}

/// What was found where a group stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Found {
    /// How far it was looked.
    end: i64,
    /// Records up to there.
    records: i64,
    /// The first of them, as far as it was told: its offset, and its time in milliseconds since the Unix epoch.
    first: Option<(i64, Option<i64>)>,
}

/// What is known of the places where groups stand.
#[derive(Debug, Default)]
pub struct Probes(HashMap<(TopicPartition, i64), Standing>);

/// What a cycle's look brought.
#[derive(Debug, Default)]
pub struct Looks {
    /// The first records that were found: partition, offset, time in milliseconds since the Unix epoch.
    pub learned: Vec<(TopicPartition, i64, i64)>,
    /// Partitions whose log does not begin where it was thought to.
    pub moved: BTreeSet<TopicPartition>,
}

impl Probes {
    /// Takes the backlogs of this cycle, each with how well its age is known, and looks into those where that tells more.
    pub async fn look(&mut self, admin: &dyn KafkaAdmin, backlogs: impl Iterator<Item = (Backlog, Age)>) -> Looks {
        let mut now: HashMap<(TopicPartition, i64), Standing> = HashMap::new();
        let mut wanted: BTreeSet<(u8, i64, TopicPartition)> = BTreeSet::new();
        for (Backlog { partition, next, end }, age) in backlogs.filter(|(backlog, _)| backlog.offsets() > 0) {
            let key = (partition, next);
            let before = self.0.get(&key).copied();
            let cycles = before.map_or(0, |before| before.cycles + 1);
            let found = before.and_then(|before| before.found);
            // A backlog that stands still is worth counting.
            let counts = before.is_some_and(|before| before.end == end) && found.is_none_or(|found| found.end < end);
            // Unless the first record is known, or nothing came since it was looked.
            let tells = found.is_none_or(|found| found.first.is_none() && found.end < end);
            let urgency = match age {
                _ if counts => Some(1),
                Age::Unknown if tells => Some(0),
                Age::Sampled if tells && cycles >= STUCK => Some(2),
                Age::Vague if tells => Some(3),
                _ => None,
            };
            if let Some(urgency) = urgency {
                wanted.insert((urgency, next, key.0.clone()));
            }
            now.insert(key, Standing { end, cycles, found });
        }
        self.0 = now;
        // One offset of a partition in a cycle; another group's offset has its turn in the next.
        let mut asked: BTreeMap<TopicPartition, i64> = BTreeMap::new();
        for (_, next, partition) in wanted {
            if asked.len() < LOOKS {
                asked.entry(partition).or_insert(next);
            }
        }
        let mut looks = Looks::default();
        if asked.is_empty() {
            return looks;
        }
        for (partition, answer) in admin.records_from(&asked).await {
            let Some(next) = asked.get(&partition) else { continue };
            let key = (partition, *next);
            let Some(standing) = self.0.get_mut(&key) else { continue };
            if answer.as_ref().is_err_and(|error| error.code() == Some(ErrorCode::OFFSET_OUT_OF_RANGE)) {
                looks.moved.insert(key.0);
                continue;
            }
            standing.found = found(&answer, key.1, standing.end).or(standing.found);
            if let Some((offset, Some(time))) = standing.found.and_then(|found| found.first) {
                looks.learned.push((key.0, offset, time));
            }
        }
        looks
    }

    /// Records in a backlog: those that were found when it was looked into and the offsets since; its offsets before.
    pub fn records(&self, backlog: &Backlog) -> i64 {
        let since = |found: Found| found.records.saturating_add((backlog.end - found.end).max(0));
        self.found(backlog).map_or(backlog.offsets(), since).min(backlog.offsets())
    }

    /// The oldest record of a backlog: the first that was found, or what comes behind the nothing that was found; otherwise where the
    /// group stands.
    pub fn oldest(&self, backlog: &Backlog) -> i64 {
        match self.found(backlog) {
            Some(Found { first: Some((offset, _)), .. }) => offset,
            Some(Found { end, records: 0, .. }) => end,
            _ => backlog.next,
        }
    }

    /// Forgets a topic, which was made anew.
    pub fn forget(&mut self, topic: &str) {
        self.0.retain(|(partition, _), _| partition.topic != topic);
    }

    fn found(&self, backlog: &Backlog) -> Option<Found> {
        self.0.get(&(backlog.partition.clone(), backlog.next))?.found
    }
}

/// What an answer says of the offsets from `next` to `end`.
fn found(answer: &Result<Readable, AdminError>, next: i64, end: i64) -> Option<Found> {
    match answer {
        // It may have seen beyond the end by now.
        Ok(Readable { first: Some(first), .. }) if first.offset >= end => Some(Found { end, records: 0, first: None }),
        Ok(Readable { records, first }) => {
            let first = first.map(|first| (first.offset, first.timestamp));
            Some(Found { end, records: (*records).min(end - next), first })
        }
        // Not allowed to look: the offsets have to do.
        Err(error) if error.class() == ErrorClass::User => Some(Found { end, records: end - next, first: None }),
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use tidegate_kafka::{
        Api, NewTopic, WriteMode,
        twin::{Fault, Twin},
    };

    use super::*;

    fn backlog(next: i64, end: i64) -> Backlog {
        Backlog { partition: TopicPartition::new("events", 0), next, end }
    }

    /// A record of time 7 at 0, and the marker of its transaction at 1.
    async fn cluster() -> Twin {
        let twin = Twin::new();
        twin.create_topics(&[NewTopic::new("events", 1, 3)], WriteMode::Apply).await;
        twin.produce_open("events", 0, &[7]).unwrap();
        twin.finish_transaction("events", 0).unwrap();
        twin
    }

    async fn look(probes: &mut Probes, twin: &Twin, backlogs: &[(i64, i64)], age: Age) -> (Looks, usize) {
        twin.forget_calls();
        let looks = probes.look(twin, backlogs.iter().map(|(next, end)| (backlog(*next, *end), age))).await;
        (looks, twin.count(Api::FetchRecords))
    }

    #[tokio::test]
    async fn a_backlog_is_counted_once_when_it_stands_still() {
        let (twin, mut probes) = (cluster().await, Probes::default());
        let marker = [(1, 2)];
        let mut seen = Vec::new();
        for _ in 0..3 {
            let (_, calls) = look(&mut probes, &twin, &marker, Age::Exact).await;
            seen.push((probes.records(&backlog(1, 2)), calls));
        }
        assert_eq!(seen, [(1, 0), (0, 1), (0, 0)], "it may be moving; a look; known by now");
        look(&mut probes, &twin, &[(0, 2)], Age::Exact).await;
        look(&mut probes, &twin, &[(0, 2)], Age::Exact).await;
        assert_eq!(probes.records(&backlog(0, 2)), 1, "the record, and not the marker");
        assert_eq!(probes.records(&backlog(1, 2)), 1, "forgotten: it is no more");
    }

    #[tokio::test]
    async fn what_comes_behind_a_marker_is_no_older_than_it_is() {
        let (twin, mut probes) = (cluster().await, Probes::default());
        for _ in 0..2 {
            look(&mut probes, &twin, &[(1, 2)], Age::Exact).await;
        }
        twin.produce("events", 0, &[9_000]).unwrap();
        look(&mut probes, &twin, &[(1, 3)], Age::Sampled).await;
        assert_eq!(
            (probes.oldest(&backlog(1, 3)), probes.records(&backlog(1, 3))),
            (2, 1),
            "not where the group stands"
        );
    }

    #[tokio::test]
    async fn where_the_age_is_unknown_the_record_itself_is_asked_at_once_and_once() {
        let (twin, mut probes) = (cluster().await, Probes::default());
        let (looks, calls) = look(&mut probes, &twin, &[(0, 2)], Age::Unknown).await;
        assert_eq!((looks.learned, calls), (vec![(TopicPartition::new("events", 0), 0, 7)], 1));
        assert_eq!(look(&mut probes, &twin, &[(0, 3)], Age::Unknown).await.1, 0);
    }

    #[tokio::test]
    async fn a_group_that_stands_while_the_end_moves_on_is_looked_at_when_it_is_stuck() {
        let (twin, mut probes) = (cluster().await, Probes::default());
        let mut calls = Vec::new();
        for end in 2..8 {
            calls.push(look(&mut probes, &twin, &[(0, end)], Age::Sampled).await.1);
        }
        assert_eq!(calls, [0, 0, 0, 1, 0, 0]);
        let mut calls = Vec::new();
        for next in 8..12 {
            calls.push(look(&mut probes, &twin, &[(next, 20)], Age::Sampled).await.1);
        }
        assert_eq!(calls, [0, 0, 0, 0], "this one moves");
    }

    #[tokio::test]
    async fn two_groups_at_different_places_of_a_partition_have_their_turns() {
        let (twin, mut probes) = (cluster().await, Probes::default());
        for _ in 0..3 {
            look(&mut probes, &twin, &[(0, 2), (1, 2)], Age::Exact).await;
        }
        assert_eq!((probes.records(&backlog(1, 2)), probes.records(&backlog(0, 2))), (0, 1));
    }

    #[tokio::test]
    async fn without_an_answer_nothing_is_known_and_what_was_found_before_stays() {
        let (twin, mut probes) = (cluster().await, Probes::default());
        twin.fail_all(Fault::Unreachable);
        for _ in 0..3 {
            look(&mut probes, &twin, &[(0, 2)], Age::Unknown).await;
        }
        assert_eq!(probes.records(&backlog(0, 2)), 2);
        twin.heal();
        look(&mut probes, &twin, &[(0, 2)], Age::Unknown).await;
        twin.produce("events", 0, &[8]).unwrap();
        look(&mut probes, &twin, &[(0, 3)], Age::Exact).await;
        twin.fail_all(Fault::Unreachable);
        look(&mut probes, &twin, &[(0, 3)], Age::Exact).await;
        assert_eq!(probes.records(&backlog(0, 3)), 2, "the one that was found, and the one since");
    }

    #[tokio::test]
    async fn who_may_not_look_counts_offsets_and_asks_once() {
        let (twin, mut probes) = (cluster().await, Probes::default());
        let denied = Fault::Refused(ErrorCode::TOPIC_AUTHORIZATION_FAILED, "Not authorized.".to_owned());
        twin.fail_item(Api::FetchRecords, "events-0", denied);
        let mut calls = 0;
        for _ in 0..4 {
            calls += look(&mut probes, &twin, &[(1, 2)], Age::Unknown).await.1;
        }
        assert_eq!((probes.records(&backlog(1, 2)), probes.oldest(&backlog(1, 2)), calls), (1, 1, 1));
    }

    #[tokio::test]
    async fn an_offset_that_is_no_more_in_the_log_says_that_the_log_begins_elsewhere() {
        let (twin, mut probes) = (cluster().await, Probes::default());
        twin.trim("events", 0, 2).unwrap();
        let (looks, _) = look(&mut probes, &twin, &[(0, 2)], Age::Unknown).await;
        assert_eq!(looks.moved, BTreeSet::from([TopicPartition::new("events", 0)]));
    }
}
