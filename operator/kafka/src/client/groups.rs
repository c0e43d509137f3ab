//! Consumer groups: who is in them, and what they have committed.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use futures::{StreamExt, stream};
use krafka::{
    KrafkaError, Result as KrafkaResult,
    admin::{
        ConsumerGroupDescription, ConsumerGroupMember, DescribeConsumerGroupsOptions, GroupType,
        ListConsumerGroupOffsetsOptions,
    },
    error::ErrorCode as Code,
};
use tokio::time::Instant;

use super::{code_of, link::Client, topics::left};
use crate::{CommittedOffset, ErrorCode, Group, GroupKind, GroupState, Member, TopicPartition};

/// OffsetFetch requests under way at once: krafka asks for one group at a time.
const CONCURRENT_FETCHES: usize = 10;

pub(super) async fn describe(
    client: &Client,
    ids: Vec<String>,
    deadline: Instant,
) -> KrafkaResult<HashMap<String, KrafkaResult<Group>>> {
    let options = DescribeConsumerGroupsOptions::default().timeout(left(deadline));
    let described = client.admin.describe_consumer_groups(ids, options).await?;
    Ok(described.into_iter().map(|(id, group)| (id, group.and_then(described_group))).collect())
}

fn described_group(group: ConsumerGroupDescription) -> KrafkaResult<Group> {
    let state = GroupState::from_name(&group.state);
    // DescribeGroups before v6 calls a group that does not exist dead, instead of saying so.
    if state == GroupState::Dead && group.members.is_empty() {
        return Err(KrafkaError::broker(Code::GroupIdNotFound, format!("Group {} not found.", group.group_id)));
    }
    let kind = match group.group_type {
        GroupType::Classic => GroupKind::Classic,
        GroupType::Consumer => GroupKind::Consumer,
        other => GroupKind::Other(other.to_string()),
    };
    Ok(Group { id: group.group_id, kind, state, members: group.members.into_iter().map(member).collect() })
}

fn member(member: ConsumerGroupMember) -> Member {
    let assignment = member.assignment.map(|topics| {
        let mut owned: BTreeMap<String, BTreeSet<i32>> = BTreeMap::new();
        for topic in topics {
            owned.entry(topic.topic_name).or_default().extend(topic.partitions);
        }
        owned
    });
    Member {
        id: member.member_id,
        instance_id: member.instance_id,
        client_id: member.client_id,
        host: member.client_host,
        assignment,
    }
}

pub(super) async fn committed(
    client: &Client,
    ids: Vec<String>,
    deadline: Instant,
) -> HashMap<String, KrafkaResult<BTreeMap<TopicPartition, CommittedOffset>>> {
    stream::iter(ids)
        .map(|id| async move {
            let offsets = of_group(client, &id, deadline).await;
            (id, offsets)
        })
        .buffer_unordered(CONCURRENT_FETCHES)
        .collect()
        .await
}

async fn of_group(
    client: &Client,
    id: &str,
    deadline: Instant,
) -> KrafkaResult<BTreeMap<TopicPartition, CommittedOffset>> {
    // Not `require_stable`: a group whose offsets are committed in transactions is "unstable" most of the time, and krafka
    // would wait for it. What is committed is answered either way; what is pending is not.
    let options = ListConsumerGroupOffsetsOptions::default().timeout(left(deadline));
    let fetched = match client.admin.list_consumer_group_offsets(id, options).await {
        Ok(fetched) => fetched,
        Err(error) if code_of(&error) == Some(ErrorCode::GROUP_ID_NOT_FOUND) => return Ok(BTreeMap::new()),
        Err(error) => return Err(error),
    };
    let mut offsets = BTreeMap::new();
    for (partition, commit) in fetched {
        let commit = match commit {
            Ok(commit) => commit,
            // Its topic is gone: nobody will go on from there.
            Err(error) if code_of(&error) == Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION) => continue,
            Err(error) => return Err(error),
        };
        if let Some(offset) = commit.offset {
            let metadata = commit.metadata.unwrap_or_default();
            offsets.insert(
                TopicPartition::new(partition.topic, partition.partition),
                CommittedOffset { offset, metadata },
            );
        }
    }
    Ok(offsets)
}
