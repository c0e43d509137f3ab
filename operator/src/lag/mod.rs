//! Group offsets -> lag in records -> status and metrics. All groups of a cluster are read together, in a number of requests
//! that depends on the brokers and not on the groups.

mod compute;
mod probes;
mod readings;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Instant,
};

use kube::runtime::reflector::ObjectRef;
use tidegate_crds::EventPipeline;
use tidegate_kafka::{Group, GroupState, KafkaAdmin, OffsetSpec, TopicPartition};
use tidegate_settings::{Consumes, StartAt};

pub use self::readings::{Reading, Readings};
use self::{
    compute::{Backlog, Offsets, backlogs},
    probes::Probes,
};
use crate::{context::Context, metrics::ProcessorLabels};

/// A processor that consumes.
struct Wanted {
    pipeline: Arc<EventPipeline>,
    processor: String,
    consumes: Consumes,
}

impl Wanted {
    fn labels(&self) -> ProcessorLabels {
        ProcessorLabels {
            namespace: self.pipeline.metadata.namespace.clone().unwrap_or_default(),
            pipeline: self.pipeline.metadata.name.clone().unwrap_or_default(),
            processor: self.processor.clone(),
        }
    }

    fn key(&self) -> (String, String) {
        (self.pipeline.metadata.uid.clone().unwrap_or_default(), self.processor.clone())
    }
}

/// Runs a cycle per interval, for ever.
pub async fn run(context: Arc<Context>) {
    let mut published = BTreeSet::new();
    let mut probes = BTreeMap::new();
    loop {
        tokio::time::sleep(context.config.lag_interval).await;
        let (news, now) = cycle(&context, &mut probes).await;
        for gone in published.difference(&now) {
            context.metrics.lag(gone, None);
        }
        published = now;
        for pipeline in news {
            let _ = context.pipeline_triggers.send(pipeline);
        }
    }
}

/// Reads all groups; the pipelines whose status is to show something else, and the processors that have a series.
async fn cycle(
    context: &Context,
    probes: &mut BTreeMap<String, Probes>,
) -> (Vec<ObjectRef<EventPipeline>>, BTreeSet<ProcessorLabels>) {
    let (mut news, mut series) = (Vec::new(), BTreeSet::new());
    let mut exist = BTreeSet::new();
    for (connection, gateway) in &context.connections {
        let wanted = wanted(context, connection);
        exist.extend(wanted.iter().map(Wanted::key));
        if wanted.is_empty() {
            continue;
        }
        let probes = probes.entry(connection.clone()).or_default();
        let readings = read(gateway.admin(), &wanted, probes).await;
        let now = Instant::now();
        for (wanted, reading) in wanted.iter().zip(readings) {
            let labels = wanted.labels();
            context.metrics.lag(&labels, reading.lag);
            series.insert(labels);
            if context.readings.take(wanted.key(), reading, now) {
                news.push(ObjectRef::from_obj(wanted.pipeline.as_ref()));
            }
        }
    }
    context.readings.retain(|key| exist.contains(key));
    (news, series)
}

fn wanted(context: &Context, connection: &str) -> Vec<Wanted> {
    let of = |pipeline: Arc<EventPipeline>| {
        let consuming = pipeline.spec.processors.iter().filter_map(|processor| {
            let consumes = processor.consumes.clone()?;
            Some(Wanted { pipeline: pipeline.clone(), processor: processor.name.clone(), consumes })
        });
        consuming.collect::<Vec<_>>()
    };
    context
        .pipelines
        .state_filter(|pipeline| pipeline.spec.connection() == connection)
        .into_iter()
        .flat_map(of)
        .collect()
}

/// A reading for each of `wanted`, in their order.
async fn read(admin: &dyn KafkaAdmin, wanted: &[Wanted], probes: &mut Probes) -> Vec<Reading> {
    let distinct = |names: BTreeSet<&String>| names.into_iter().cloned().collect::<Vec<_>>();
    let names = distinct(wanted.iter().map(|one| &one.consumes.group).collect());
    let topics = distinct(wanted.iter().flat_map(|one| &one.consumes.topics).collect());

    let (groups, commits, topics) =
        tokio::join!(admin.describe_groups(&names), admin.committed_offsets(&names), admin.describe_topics(&topics));
    let partitions: BTreeMap<String, Vec<TopicPartition>> = topics
        .into_iter()
        .filter_map(|(name, topic)| {
            let indices = topic.ok()?.partitions.into_iter().map(|partition| partition.index);
            Some((name.clone(), indices.map(|index| TopicPartition::new(name.clone(), index)).collect()))
        })
        .collect();
    let commits: BTreeMap<String, BTreeMap<TopicPartition, i64>> = commits
        .into_iter()
        .filter_map(|(group, commits)| {
            Some((group, commits.ok()?.into_iter().map(|(partition, commit)| (partition, commit.offset)).collect()))
        })
        .collect();

    let stable = list(admin, partitions.values().flatten(), OffsetSpec::LastStable).await;
    let uncommitted: BTreeSet<&TopicPartition> = wanted
        .iter()
        .filter(|one| one.consumes.start_at() == StartAt::Earliest)
        .filter_map(|one| Some((one, commits.get(&one.consumes.group)?)))
        .flat_map(|(one, commits)| {
            let all = one.consumes.topics.iter().filter_map(|topic| partitions.get(topic)).flatten();
            all.filter(|partition| !commits.contains_key(*partition)).collect::<Vec<_>>()
        })
        .collect();
    let earliest = list(admin, uncommitted.into_iter(), OffsetSpec::Earliest).await;
    let offsets = Offsets { stable, earliest };

    let backlogs: Vec<Option<Vec<Backlog>>> = wanted
        .iter()
        .map(|one| {
            let of_topics: Option<Vec<_>> = one.consumes.topics.iter().map(|topic| partitions.get(topic)).collect();
            let all: Vec<TopicPartition> = of_topics?.into_iter().flatten().cloned().collect();
            backlogs(&all, commits.get(&one.consumes.group)?, &offsets, one.consumes.start_at())
        })
        .collect();
    probes.look(admin, backlogs.iter().flatten().flatten().cloned()).await;

    wanted
        .iter()
        .zip(backlogs)
        .map(|(one, backlogs)| {
            let records = backlogs.map(|backlogs| {
                let readable = backlogs.iter().filter(|backlog| !probes.holds_nothing(backlog));
                readable.map(Backlog::records).fold(0, i64::saturating_add)
            });
            let (state, members) = match groups.get(&one.consumes.group) {
                Some(Ok(group)) => (Some(state_name(group)), i32::try_from(group.members.len()).ok()),
                Some(Err(error)) if error.is_unknown_group() => (None, Some(0)),
                _ => (None, None),
            };
            Reading { state, members, lag: records }
        })
        .collect()
}

async fn list(
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
        let pipeline = json!({
            "apiVersion": "tidegate.dev/v1alpha1", "kind": "EventPipeline", "metadata": {"name": "wallet"},
            "spec": {"kafka": {"user": {"secretRef": {"name": "kafka"}}}, "processors": []},
        });
        let consumes = json!({"topics": ["events"], "group": group, "startAt": start_at});
        Wanted {
            pipeline: Arc::new(serde_json::from_value(pipeline).unwrap()),
            processor: "ledger".into(),
            consumes: serde_json::from_value(consumes).unwrap(),
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
}
