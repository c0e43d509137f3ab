//! What one cycle asks Kafka, of all groups together: the number of requests depends on the brokers, not on the groups.
//!
//! Every cycle reads commits, ends and members. What changes seldom has a cycle in six of its own, in which members are not read: a broker
//! then gets five requests in a cycle at most: commits, ends, two kinds of groups or one thing that changes seldom, and one look into what
//! waits.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_kafka::{
    AdminError, CommittedOffset, Group, KafkaAdmin, OffsetSpec, PerItem, Topic, TopicConfig, TopicPartition,
};
use tidegate_settings::{Consumes, Retry};

/// So many cycles until all that changes seldom was read once.
const ROUND: u64 = 6;
/// In one of so many rounds retention is read instead of topics.
const RETENTION_ROUNDS: u64 = 10;

/// A processor that consumes, and where its records go that fail.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Its name.
    pub processor: String,
    /// What it reads.
    pub consumes: Consumes,
    /// Kafka names of its retry topics.
    pub retries: Vec<String>,
    /// Kafka name of its dead-letter topic.
    pub dead_letters: Option<String>,
}

impl Wanted {
    /// All topics of which something is counted.
    pub fn topics(&self) -> impl Iterator<Item = &String> {
        self.consumes.topics.iter().chain(&self.retries).chain(&self.dead_letters)
    }

    /// The group under which the progress in its retry topics is committed.
    pub fn retry_group(&self) -> Option<String> {
        (!self.retries.is_empty()).then(|| Retry::group_of(&self.consumes.group))
    }
}

/// What a cycle asks for.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Questions {
    /// Groups whose members are read.
    pub groups: Vec<String>,
    /// Groups whose commits are read.
    pub commits: Vec<String>,
    /// Topics to describe.
    pub topics: Vec<String>,
    /// Topics whose retention is read.
    pub retentions: Vec<String>,
}

/// What is known already.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// Topics that were described.
    pub topics: &'a BTreeSet<&'a String>,
    /// Topics whose retention was read.
    pub retentions: &'a BTreeSet<&'a String>,
    /// Whether members were read in the last cycle.
    pub members: bool,
}

/// The questions of a cycle. Pure.
pub fn questions(wanted: &[Wanted], known: Known<'_>, cycle: u64) -> Questions {
    let groups: BTreeSet<&String> = wanted.iter().map(|one| &one.consumes.group).collect();
    let retry_groups = wanted.iter().filter_map(Wanted::retry_group);
    let commits: BTreeSet<String> = groups.iter().copied().cloned().chain(retry_groups).collect();
    let topics: BTreeSet<&String> = wanted.iter().flat_map(Wanted::topics).collect();
    let consumed: BTreeSet<&String> = wanted.iter().flat_map(|one| &one.consumes.topics).collect();
    let unknown = |all: &BTreeSet<&String>, known: &BTreeSet<&String>, again: bool| -> Vec<String> {
        all.iter().filter(|name| again || !known.contains(*name)).map(|name| (*name).clone()).collect()
    };
    let retentions_turn = cycle % (ROUND * RETENTION_ROUNDS) == ROUND * (RETENTION_ROUNDS / 2);
    let topics = unknown(&topics, known.topics, cycle.is_multiple_of(ROUND) && !retentions_turn);
    let described = consumed.into_iter().filter(|topic| known.topics.contains(*topic)).collect();
    let retentions = unknown(&described, known.retentions, retentions_turn);
    let seldom = !topics.is_empty() || !retentions.is_empty() || reads_starts(cycle);
    let groups = if seldom && known.members { Vec::new() } else { groups.into_iter().cloned().collect() };
    Questions { groups, commits: commits.into_iter().collect(), topics, retentions }
}

/// Whether a cycle reads where every log begins, and not only those that are unknown.
pub fn reads_starts(cycle: u64) -> bool {
    cycle % ROUND == ROUND / 2
}

/// Answers to the questions.
#[derive(Debug, Default)]
pub struct Answers {
    /// By group.
    pub groups: PerItem<String, Group>,
    /// By group.
    pub commits: PerItem<String, BTreeMap<TopicPartition, CommittedOffset>>,
    /// By topic.
    pub topics: PerItem<String, Topic>,
    /// By topic.
    pub retentions: PerItem<String, TopicConfig>,
}

/// Asks, all at once.
pub async fn ask(admin: &dyn KafkaAdmin, questions: &Questions) -> Answers {
    let (groups, commits, topics, retentions) = tokio::join!(
        admin.describe_groups(&questions.groups),
        admin.committed_offsets(&questions.commits),
        admin.describe_topics(&questions.topics),
        admin.describe_configs(&questions.retentions),
    );
    Answers { groups, commits, topics, retentions }
}

/// Offsets of partitions; what is unknown is absent.
pub async fn list(
    admin: &dyn KafkaAdmin,
    partitions: impl Iterator<Item = &TopicPartition>,
    spec: OffsetSpec,
) -> BTreeMap<TopicPartition, i64> {
    let wanted: BTreeMap<TopicPartition, OffsetSpec> = partitions.map(|partition| (partition.clone(), spec)).collect();
    if wanted.is_empty() {
        return BTreeMap::new();
    }
    let answers = admin.list_offsets(&wanted).await.into_iter();
    answers.filter_map(|(partition, answer)| Some((partition, answer.ok()??.offset))).collect()
}

/// How long a topic keeps its records by their age.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retention {
    /// Milliseconds.
    Ms(i64),
    /// No record is removed because of its age.
    Forever,
}

/// What a topic's configuration says of its retention.
pub fn retention(config: &TopicConfig) -> Retention {
    let value = |key: &str| config.get(key)?.value.as_deref();
    let deletes = value("cleanup.policy").is_none_or(|policy| policy.contains("delete"));
    let ms = value("retention.ms").and_then(|ms| ms.parse().ok()).filter(|ms| deletes && *ms >= 0);
    ms.map_or(Retention::Forever, Retention::Ms)
}

/// Whether an error says that there is no such thing, and not that nothing was learned.
pub fn is_gone(error: &AdminError) -> bool {
    error.is_unknown_topic() || error.is_unknown_group()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn wanted(group: &str, retries: &[&str]) -> Wanted {
        Wanted {
            processor: "ledger".into(),
            consumes: serde_json::from_value(json!({"topics": ["events"], "group": group})).unwrap(),
            retries: retries.iter().map(|name| (*name).to_owned()).collect(),
            dead_letters: Some("dlq".into()),
        }
    }

    #[test]
    fn the_first_cycle_asks_everything_and_the_second_only_what_moves() {
        let wanted = [wanted("one", &["one.events.retry"]), wanted("two", &[])];
        let none = BTreeSet::new();
        let first = questions(&wanted, Known { topics: &none, retentions: &none, members: false }, 0);
        assert_eq!(first.groups, ["one", "two"]);
        assert_eq!(first.commits, ["one", "one.retry", "two"]);
        assert_eq!(first.topics, ["dlq", "events", "one.events.retry"]);
        assert_eq!(first.retentions.len(), 0, "of what is there");

        let names = ["dlq", "events", "one.events.retry"].map(str::to_owned);
        let all = BTreeSet::from_iter(&names);
        let second = questions(&wanted, Known { topics: &all, retentions: &none, members: true }, 1);
        assert_eq!((second.topics.len(), second.retentions.as_slice()), (0, ["events".to_owned()].as_slice()));
        let second = questions(&wanted, Known { topics: &all, retentions: &all, members: true }, 2);
        assert_eq!((second.topics.len(), second.retentions.len()), (0, 0));
        assert_eq!(second.groups, first.groups);
        assert_eq!(second.commits, first.commits);
    }

    #[test]
    fn no_cycle_asks_for_more_than_one_thing_that_changes_seldom_and_then_not_for_members() {
        let wanted = [wanted("one", &[])];
        let names = ["dlq", "events"].map(str::to_owned);
        let all = BTreeSet::from_iter(&names);
        let (mut members, mut retentions) = (true, 0);
        for cycle in 1..200 {
            let asked = questions(&wanted, Known { topics: &all, retentions: &all, members }, cycle);
            let seldom = [!asked.topics.is_empty(), !asked.retentions.is_empty(), reads_starts(cycle)];
            let seldom = seldom.iter().filter(|asked| **asked).count();
            assert!(seldom <= 1, "cycle {cycle}");
            assert_eq!(asked.groups.is_empty(), seldom == 1, "cycle {cycle}");
            members = !asked.groups.is_empty();
            retentions += asked.retentions.len();
        }
        assert_eq!(retentions, 3);
    }

    #[test]
    fn a_topic_that_was_not_there_is_asked_for_again_at_once() {
        let events = "events".to_owned();
        let known = BTreeSet::from([&events]);
        let asked = questions(&[wanted("one", &[])], Known { topics: &known, retentions: &known, members: true }, 1);
        assert_eq!(asked.topics, ["dlq"]);
    }
}
