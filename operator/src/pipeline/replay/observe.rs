//! Looks at what a replay depends on: as much as its phase asks for, and nothing is changed.

use std::collections::BTreeMap;

use tidegate_crds::pipeline::{Processor, Replay, ReplayFrom, ReplayPhase, ReplayStatus};
use tidegate_kafka::{GroupState, KafkaAdmin, OffsetSpec, TopicPartition};
use tidegate_settings::Retry;

use super::{
    plan::{Moves, Offsets, Seen, Stopped, Target},
    rebuilds,
    target::{Log, keep_from, target},
};
use crate::pipeline::offsets::{committed, flat, listed, nested, one, partitions};

/// Portions of a retry partition that are looked into. More than are parked fit into them; beyond, all is kept.
const PORTIONS: usize = 64;

/// What a replay happens in, beside Kafka.
pub struct Surroundings<'a> {
    /// The cluster.
    pub admin: &'a dyn KafkaAdmin,
    /// The processor.
    pub processor: &'a Processor,
    /// Why it may not be replayed, wherever to.
    pub refusal: Option<String>,
    /// Pods that it has, or is to have; none is known while they are being counted.
    pub pods: Option<i32>,
    /// Every pod that there should be is ready.
    pub settled: bool,
}

/// Looks.
pub async fn see(around: &Surroundings<'_>, records: &[&ReplayStatus]) -> Seen {
    let mut seen = Seen {
        processor: around.processor.name.clone(),
        refusal: around.refusal.clone(),
        settled: around.settled,
        ..Seen::default()
    };
    let request = around.processor.replay.as_ref();
    let under_way = records.iter().rev().find(|record| record.phase.is_active()).copied();
    match (under_way, request) {
        (None, Some(request)) if seen.refusal.is_none() && !records.iter().any(|record| record.id == request.id) => {
            seen.target = where_to(around, request, records).await;
        }
        (Some(record), request) if record.phase.is_stopped() => {
            seen.stopped = stopped(around).await;
            if seen.stopped != Stopped::Yes {
                return seen;
            }
            match (record.phase, request) {
                (ReplayPhase::Stopping, Some(request)) => seen.target = where_to(around, request, records).await,
                (ReplayPhase::Moving, _) => {
                    seen.offsets = offsets(around, record).await.unwrap_or_else(Offsets::Unknown);
                }
                _ => {}
            }
        }
        _ => {}
    }
    seen
}

async fn stopped(around: &Surroundings<'_>) -> Stopped {
    match around.pods {
        None => return Stopped::No("its pods are being stopped".to_owned()),
        Some(pods) if pods > 0 => return Stopped::No(format!("{pods} of its pods are being stopped")),
        Some(_) => {}
    }
    let Some(group) = group(around.processor) else { return Stopped::Yes };
    match around.admin.describe_groups(std::slice::from_ref(&group)).await.remove(&group) {
        Some(Err(error)) if error.is_unknown_group() => Stopped::Yes,
        Some(Err(error)) => Stopped::No(error.to_string()),
        Some(Ok(described)) => match described.state {
            GroupState::Empty | GroupState::Dead if described.members.is_empty() => Stopped::Yes,
            _ => {
                let mut members: Vec<_> = described.members.iter().map(|member| member.client_id.as_str()).collect();
                members.sort_unstable();
                members.dedup();
                members.truncate(5);
                Stopped::No(format!(
                    "group {group} still has {} members ({}); Kafka drops those that are gone when their session ends",
                    described.members.len(),
                    members.join(", ")
                ))
            }
        },
        None => Stopped::Unknown,
    }
}

async fn where_to(around: &Surroundings<'_>, request: &Replay, records: &[&ReplayStatus]) -> Target {
    let rebuilds = rebuilds(&around.processor.run);
    match log(around, &request.from).await {
        Ok(log) => target(&request.from, &log, records, rebuilds),
        Err(why) => Target::Unknown(why),
    }
}

async fn log(around: &Surroundings<'_>, from: &ReplayFrom) -> Result<Log, String> {
    let topics = around.processor.consumes.as_ref().map(|consumes| consumes.topics.clone()).unwrap_or_default();
    let group = group(around.processor).unwrap_or_default();
    let partitions = partitions(around.admin, &topics).await?;
    let at_time = match from {
        ReplayFrom::Timestamp(time) => {
            listed(around.admin, &partitions, OffsetSpec::Timestamp(time.0.as_millisecond())).await?
        }
        _ => BTreeMap::new(),
    };
    Ok(Log {
        committed: committed(around.admin, &group, &topics).await?,
        starts: listed(around.admin, &partitions, OffsetSpec::Earliest).await?,
        ends: listed(around.admin, &partitions, OffsetSpec::Latest).await?,
        at_time,
    })
}

/// Whether Kafka holds what is on record.
async fn offsets(around: &Surroundings<'_>, record: &ReplayStatus) -> Result<Offsets, String> {
    let topics = around.processor.consumes.as_ref().map(|consumes| consumes.topics.clone()).unwrap_or_default();
    let group = group(around.processor).unwrap_or_default();
    let (after, now) = (flat(&record.after), committed(around.admin, &group, &topics).await?);
    let set = after.iter().filter(|(key, offset)| now.get(key) != Some(offset));
    let forget = now.iter().filter(|(key, _)| !after.contains_key(key));
    let moves = Moves {
        set: nested(&set.map(|(key, offset)| (key.clone(), *offset)).collect()),
        forget: nested(&forget.map(|(key, offset)| (key.clone(), *offset)).collect()),
        retry: nested(&retry(around, &group, &after).await?),
    };
    Ok(if moves == Moves::default() { Offsets::Set } else { Offsets::Differ(moves) })
}

/// Where the retry partitions are to be read from, as far as that is not where they are.
///
/// What waits there is about records that are read again, and would be handled twice; but for those before the replay's beginning, which
/// nobody reads again.
async fn retry(
    around: &Surroundings<'_>,
    group: &str,
    after: &BTreeMap<TopicPartition, i64>,
) -> Result<BTreeMap<TopicPartition, i64>, String> {
    let mut moves = BTreeMap::new();
    for (source, topic) in around.processor.retry_topics() {
        let topics = [topic];
        let partitions = partitions(around.admin, &topics).await?;
        let now = committed(around.admin, &Retry::group_of(group), &topics).await?;
        let starts = listed(around.admin, &partitions, OffsetSpec::Earliest).await?;
        let ends = listed(around.admin, &partitions, OffsetSpec::LastStable).await?;
        for key in partitions {
            let (Some(start), Some(end)) = (starts.get(&key).copied(), ends.get(&key).copied()) else { continue };
            let from = now.get(&key).copied().unwrap_or(start).clamp(start, end.max(start));
            let target = after.get(&TopicPartition::new(source, key.partition)).copied().unwrap_or(i64::MAX);
            let wanted = if rebuilds(&around.processor.run) {
                end
            } else {
                needed(around.admin, &key, (from, end), target).await?
            };
            if now.get(&key) != Some(&wanted) {
                moves.insert(key, wanted);
            }
        }
    }
    Ok(moves)
}

async fn needed(
    admin: &dyn KafkaAdmin,
    key: &TopicPartition,
    (from, end): (i64, i64),
    target: i64,
) -> Result<i64, String> {
    let mut next = from;
    for _ in 0..PORTIONS {
        if next >= end {
            return Ok(end);
        }
        let portion = one(admin.read_records(&[(key.clone(), next)].into()).await)?;
        let kept = keep_from(&portion.records, target, portion.next);
        if kept < portion.next || portion.next <= next {
            return Ok(kept);
        }
        next = portion.next;
    }
    Ok(from)
}

fn group(processor: &Processor) -> Option<String> {
    processor.consumes.as_ref().map(|consumes| consumes.group.clone())
}

#[cfg(test)]
mod tests {
    use tidegate_kafka::{Api, GroupKind, NewTopic, twin::Fault};

    use super::*;
    use crate::testing::{kafka, retrying_projector};

    /// A processor has stopped when nobody is left who could read, and until then it is said who is.
    #[tokio::test]
    async fn who_still_reads_is_named() {
        let twin = kafka(&[NewTopic::new("t", 1, 3)]).await;
        let processor = retrying_projector();
        let around = |pods| Surroundings { admin: &twin, processor: &processor, refusal: None, pods, settled: false };
        assert_eq!(stopped(&around(None)).await, Stopped::No("its pods are being stopped".to_owned()));
        assert_eq!(stopped(&around(Some(2))).await, Stopped::No("2 of its pods are being stopped".to_owned()));
        assert_eq!(stopped(&around(Some(0))).await, Stopped::Yes, "a group that there never was");

        twin.join("g", GroupKind::Consumer, "ledger-1", &[("t", 0)]);
        let left = "group g still has 1 members (ledger-1); Kafka drops those that are gone when their session ends";
        assert_eq!(stopped(&around(Some(0))).await, Stopped::No(left.to_owned()));
        twin.leave("g", "ledger-1");
        assert_eq!(stopped(&around(Some(0))).await, Stopped::Yes);

        twin.fail_next(Api::DescribeGroups, Fault::Unreachable);
        assert!(matches!(stopped(&around(Some(0))).await, Stopped::No(why) if !why.is_empty()), "nobody knows");
    }
}
