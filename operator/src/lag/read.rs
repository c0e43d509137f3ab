//! Reads what Kafka says of many groups in few requests.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_kafka::{Group, GroupState, KafkaAdmin, OffsetSpec, TopicPartition};
use tidegate_settings::{Consumes, Retry, StartAt};

use super::{
    compute::{Backlog, Offsets, backlogs},
    probes::Probes,
    readings::Reading,
};

/// A processor that consumes, and where its records go that fail.
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
    fn topics(&self) -> impl Iterator<Item = &String> {
        self.consumes.topics.iter().chain(&self.retries).chain(&self.dead_letters)
    }

    /// The group under which the progress in its retry topics is committed.
    fn retry_group(&self) -> Option<String> {
        (!self.retries.is_empty()).then(|| Retry::group_of(&self.consumes.group))
    }
}

/// Partitions of each topic that Kafka knows.
type Partitions = BTreeMap<String, Vec<TopicPartition>>;

/// What each group that could be read has committed.
type Commits = BTreeMap<String, BTreeMap<TopicPartition, i64>>;

/// A reading for each of `wanted`, in their order.
pub async fn read(admin: &dyn KafkaAdmin, wanted: &[Wanted], probes: &mut Probes) -> Vec<Reading> {
    let groups: BTreeSet<&String> = wanted.iter().map(|one| &one.consumes.group).collect();
    let groups: Vec<String> = groups.into_iter().cloned().collect();
    let committing: BTreeSet<String> =
        groups.iter().cloned().chain(wanted.iter().filter_map(Wanted::retry_group)).collect();
    let committing: Vec<String> = committing.into_iter().collect();
    let topics: BTreeSet<&String> = wanted.iter().flat_map(Wanted::topics).collect();
    let topics: Vec<String> = topics.into_iter().cloned().collect();

    let (groups, commits, topics) = tokio::join!(
        admin.describe_groups(&groups),
        admin.committed_offsets(&committing),
        admin.describe_topics(&topics)
    );
    let partitions: Partitions = topics
        .into_iter()
        .filter_map(|(name, topic)| {
            let indices = topic.ok()?.partitions.into_iter().map(|partition| partition.index);
            Some((name.clone(), indices.map(|index| TopicPartition::new(name.clone(), index)).collect()))
        })
        .collect();
    let commits: Commits = commits
        .into_iter()
        .filter_map(|(group, commits)| {
            Some((group, commits.ok()?.into_iter().map(|(partition, commit)| (partition, commit.offset)).collect()))
        })
        .collect();
    let stable = list(admin, partitions.values().flatten().collect(), OffsetSpec::LastStable).await;
    let earliest = list(admin, starts(wanted, &partitions, &commits), OffsetSpec::Earliest).await;
    let offsets = Offsets { stable, earliest };

    let all = |topics: &mut dyn Iterator<Item = &String>| -> Option<Vec<TopicPartition>> {
        let of_topics: Option<Vec<_>> = topics.map(|topic| partitions.get(topic)).collect();
        Some(of_topics?.into_iter().flatten().cloned().collect())
    };
    let behind = |topics: &[String], commits: &BTreeMap<TopicPartition, i64>, start_at| {
        backlogs(&all(&mut topics.iter())?, commits, &offsets, start_at)
    };
    let backlogs: Vec<[Option<Vec<Backlog>>; 3]> = wanted
        .iter()
        .map(|one| {
            let Consumes { topics, group, .. } = &one.consumes;
            let lag = commits.get(group).and_then(|commits| behind(topics, commits, one.consumes.start_at()));
            let retry =
                one.retry_group().and_then(|group| behind(&one.retries, commits.get(&group)?, StartAt::Earliest));
            // Nobody reads dead letters as a group that matters here: all that there are.
            let dead = one.dead_letters.as_ref().map(std::slice::from_ref);
            [lag, retry, dead.and_then(|topics| behind(topics, &BTreeMap::new(), StartAt::Earliest))]
        })
        .collect();
    probes.look(admin, backlogs.iter().flatten().flatten().flatten().cloned()).await;

    let records = |backlogs: Option<Vec<Backlog>>| {
        Some(backlogs?.iter().map(|backlog| probes.records(backlog)).fold(0, i64::saturating_add))
    };
    wanted
        .iter()
        .zip(backlogs)
        .map(|(one, [lag, retry, dead_letters])| {
            let (state, members) = match groups.get(&one.consumes.group) {
                Some(Ok(group)) => (Some(state_name(group)), i32::try_from(group.members.len()).ok()),
                Some(Err(error)) if error.is_unknown_group() => (None, Some(0)),
                _ => (None, None),
            };
            Reading {
                state,
                members,
                lag: records(lag),
                retry: records(retry),
                dead_letters: records(dead_letters),
                ..Reading::default()
            }
        })
        .collect()
}

/// Partitions whose beginning matters: nothing is committed there yet, or records go from their beginning.
fn starts<'a>(wanted: &'a [Wanted], partitions: &'a Partitions, commits: &Commits) -> BTreeSet<&'a TopicPartition> {
    let mut starts = BTreeSet::new();
    for one in wanted {
        let of = |topics: &'a [String]| topics.iter().filter_map(|topic| partitions.get(topic)).flatten();
        if one.consumes.start_at() == StartAt::Earliest
            && let Some(commits) = commits.get(&one.consumes.group)
        {
            starts.extend(of(&one.consumes.topics).filter(|partition| !commits.contains_key(*partition)));
        }
        starts.extend(of(&one.retries));
        starts.extend(one.dead_letters.iter().filter_map(|topic| partitions.get(topic)).flatten());
    }
    starts
}

async fn list(
    admin: &dyn KafkaAdmin,
    partitions: BTreeSet<&TopicPartition>,
    spec: OffsetSpec,
) -> BTreeMap<TopicPartition, i64> {
    let wanted: BTreeMap<TopicPartition, OffsetSpec> =
        partitions.into_iter().map(|partition| (partition.clone(), spec)).collect();
    if wanted.is_empty() {
        return BTreeMap::new();
    }
    let answers = admin.list_offsets(&wanted).await.into_iter();
    answers.filter_map(|(partition, answer)| Some((partition, answer.ok()??.offset))).collect()
}

/// Kafka's own name; the protocols' different ways of settling are one to whoever reads a status.
fn state_name(group: &Group) -> String {
    match &group.state {
        GroupState::Empty => "Empty",
        GroupState::Stable => "Stable",
        GroupState::Dead => "Dead",
        GroupState::Assigning
        | GroupState::Reconciling
        | GroupState::PreparingRebalance
        | GroupState::CompletingRebalance => "Rebalancing",
        GroupState::Other(name) => name,
    }
    .to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tidegate_kafka::{GroupKind, NewTopic, WriteMode, twin::Twin};

    use super::*;

    fn wanted(group: &str, start_at: &str) -> Wanted {
        let consumes = json!({"topics": ["events"], "group": group, "startAt": start_at});
        Wanted {
            processor: "ledger".into(),
            consumes: serde_json::from_value(consumes).unwrap(),
            retries: vec![],
            dead_letters: None,
        }
    }

    async fn cluster() -> Twin {
        let twin = Twin::new();
        twin.create_topics(&[NewTopic::new("events", 2, 3)], WriteMode::Apply).await;
        twin.produce("events", 0, &[1, 2, 3]).unwrap();
        twin.produce("events", 1, &[1]).unwrap();
        twin
    }

    #[tokio::test]
    async fn many_groups_are_read_in_few_calls_and_each_has_its_own_lag() {
        let twin = cluster().await;
        twin.commit("one", "events", 0, 2);
        twin.join("one", GroupKind::Consumer, "member", &[("events", 0), ("events", 1)]);
        let wanted = [wanted("one", "Earliest"), wanted("never-seen", "Earliest"), wanted("late", "Latest")];
        twin.forget_calls();
        let readings = read(&twin, &wanted, &mut Probes::default()).await;
        assert_eq!(readings.iter().map(|reading| reading.lag).collect::<Vec<_>>(), [Some(2), Some(4), Some(0)]);
        assert_eq!(readings[0].members, Some(1));
        assert_eq!(readings[1].members, Some(0));
        assert!(twin.calls().len() <= 5, "{:?}", twin.calls());
    }

    #[tokio::test]
    async fn records_of_an_open_transaction_cannot_be_read_and_are_no_lag() {
        let twin = cluster().await;
        twin.commit("one", "events", 0, 3);
        twin.commit("one", "events", 1, 1);
        twin.produce_open("events", 1, &[1, 2]).unwrap();
        assert_eq!(read(&twin, &[wanted("one", "Earliest")], &mut Probes::default()).await[0].lag, Some(0));
    }

    #[tokio::test]
    async fn the_marker_of_a_transaction_is_no_lag_once_it_was_looked_at() {
        let twin = cluster().await;
        twin.commit("one", "events", 0, 3);
        twin.produce_open("events", 1, &[1, 2]).unwrap();
        twin.finish_transaction("events", 1).unwrap();
        twin.commit("one", "events", 1, 3);
        let mut probes = Probes::default();
        let mut lags = Vec::new();
        for _ in 0..3 {
            lags.push(read(&twin, &[wanted("one", "Earliest")], &mut probes).await[0].lag);
        }
        assert_eq!(lags, [Some(1), Some(0), Some(0)]);
        twin.produce("events", 1, &[1]).unwrap();
        assert_eq!(read(&twin, &[wanted("one", "Earliest")], &mut probes).await[0].lag, Some(2));
    }

    #[tokio::test]
    async fn while_kafka_does_not_answer_everything_is_unknown() {
        let twin = cluster().await;
        twin.fail_all(tidegate_kafka::twin::Fault::Unreachable);
        assert_eq!(read(&twin, &[wanted("one", "Earliest")], &mut Probes::default()).await, [Reading::default()]);
    }

    #[tokio::test]
    async fn a_topic_that_is_not_there_leaves_the_lag_unknown() {
        assert_eq!(read(&Twin::new(), &[wanted("one", "Earliest")], &mut Probes::default()).await[0].lag, None);
    }

    fn failing(group: &str) -> Wanted {
        Wanted {
            retries: vec![format!("{group}.events.retry")],
            dead_letters: Some("dlq".into()),
            ..wanted(group, "Earliest")
        }
    }

    #[tokio::test]
    async fn what_waits_to_be_tried_again_and_what_was_given_up_is_counted_in_the_same_few_calls() {
        let twin = cluster().await;
        for topic in ["one.events.retry", "two.events.retry", "dlq"] {
            twin.create_topics(&[NewTopic::new(topic, 2, 3)], WriteMode::Apply).await;
        }
        twin.produce("one.events.retry", 0, &[1, 2, 3]).unwrap();
        twin.produce("one.events.retry", 1, &[1]).unwrap();
        twin.commit("one.retry", "one.events.retry", 0, 1);
        // A dead letter and the end of its transaction.
        twin.produce_open("dlq", 1, &[1]).unwrap();
        twin.finish_transaction("dlq", 1).unwrap();
        twin.produce("dlq", 0, &[2]).unwrap();
        let (wanted, mut probes) = ([failing("one"), failing("two")], Probes::default());
        assert_eq!(read(&twin, &wanted, &mut probes).await[0].dead_letters, Some(3), "by its offsets at first");
        twin.forget_calls();
        let readings = read(&twin, &wanted, &mut probes).await;
        assert_eq!(readings.iter().map(|reading| reading.retry).collect::<Vec<_>>(), [Some(3), Some(0)]);
        assert_eq!(readings.iter().map(|reading| reading.dead_letters).collect::<Vec<_>>(), [Some(2), Some(2)]);
        assert_eq!(readings[0].lag, Some(4));
        assert!(twin.calls().len() <= 6, "{:?}", twin.calls());
    }

    #[tokio::test]
    async fn topics_that_are_not_there_yet_leave_only_their_own_counts_unknown() {
        let twin = cluster().await;
        let reading = read(&twin, &[failing("one")], &mut Probes::default()).await.remove(0);
        assert_eq!((reading.lag, reading.retry, reading.dead_letters), (Some(4), None, None));
    }
}
