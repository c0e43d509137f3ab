//! Consumer groups: who is in them, and what they have committed. One request for all groups of a coordinator.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Mutex, PoisonError},
};

use futures::future;
use kafka_protocol::{
    messages::{
        GroupId, OffsetFetchRequest, OffsetFetchResponse, offset_fetch_request::OffsetFetchRequestGroup,
        offset_fetch_response::OffsetFetchResponseGroup,
    },
    protocol::StrBytes,
};
use krafka::{
    __private::protocol::{
        ApiKey, ConsumerGroupDescribeGroup, ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse,
        DescribeGroupsRequest, DescribeGroupsResponse, DescribedGroup, decode_consumer_protocol_assignment, versions,
    },
    KrafkaError, Result as KrafkaResult,
    error::ErrorCode as Code,
};

use super::{
    call::{Broker, Call},
    convert,
    coordinators::{Answers, ask},
    raw::{self, Versions, Wire},
};
use crate::{CommittedOffset, Group, GroupKind, GroupState, Member, TopicPartition};

/// v8 is the first that takes several groups (KIP-709); from v10 on, topics go by id.
const OFFSET_FETCH: Versions = Versions { api: ApiKey::OffsetFetch, min: 8, max: 9 };
/// KIP-848.
const CONSUMER_GROUP_DESCRIBE: Versions =
    Versions { api: ApiKey::ConsumerGroupDescribe, min: 0, max: versions::CONSUMER_GROUP_DESCRIBE_MAX };
const DESCRIBE_GROUPS: Versions =
    Versions { api: ApiKey::DescribeGroups, min: versions::DESCRIBE_GROUPS_MIN, max: versions::DESCRIBE_GROUPS_MAX };

/// Which groups are classic, as far as that was seen: each kind has a request of its own.
#[derive(Default)]
pub(super) struct Kinds(Mutex<HashMap<String, bool>>);

impl Kinds {
    fn is_classic(&self, id: &str) -> Option<bool> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(id).copied()
    }

    fn learn(&self, id: &str, answer: &KrafkaResult<Group>) {
        let mut kinds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match answer {
            Ok(group) => kinds.insert(id.to_owned(), group.kind != GroupKind::Consumer),
            Err(error) if says_nothing(error) => kinds.remove(id),
            Err(_) => None,
        };
    }
}

/// Groups of either protocol. One whose protocol is not known is asked for as both.
pub(super) async fn describe(call: &Call, ids: Vec<String>) -> Answers<Group> {
    let kinds = &call.client.kinds;
    let by_kind = |classic: bool| -> Vec<String> {
        ids.iter().filter(|id| kinds.is_classic(id).is_none_or(|is| is == classic)).cloned().collect()
    };
    let (consumer, classic) = (by_kind(false), by_kind(true));
    let mut answers = describe_as(call, consumer, classic).await;
    // A group may have changed its protocol since.
    let changed = |classic: bool, answers: &Answers<Group>| -> Vec<String> {
        let gone = |id: &&String| answers.get(*id).is_some_and(|answer| answer.as_ref().is_err_and(says_nothing));
        ids.iter().filter(|id| kinds.is_classic(id) == Some(!classic)).filter(gone).cloned().collect()
    };
    let (consumer, classic) = (changed(false, &answers), changed(true, &answers));
    if !consumer.is_empty() || !classic.is_empty() {
        answers.extend(describe_as(call, consumer, classic).await);
    }
    for (id, answer) in &answers {
        kinds.learn(id, answer);
    }
    answers
}

async fn describe_as(call: &Call, consumer: Vec<String>, classic: Vec<String>) -> Answers<Group> {
    let (mut answers, classic) = future::join(
        ask(call, consumer, |broker, ids| of_consumer_protocol(call, broker, ids)),
        ask(call, classic, |broker, ids| of_classic_protocol(call, broker, ids)),
    )
    .await;
    for (id, answer) in classic {
        let better = match answers.get(&id) {
            None => true,
            Some(Ok(_)) => false,
            Some(Err(error)) => answer.is_ok() || says_nothing(error),
        };
        if better {
            answers.insert(id, answer);
        }
    }
    answers
}

/// An answer of "no such group of this protocol", or of a broker that does not have the protocol.
fn says_nothing(error: &KrafkaError) -> bool {
    match error {
        KrafkaError::Broker { code, .. } => matches!(code, Code::GroupIdNotFound | Code::UnsupportedVersion),
        KrafkaError::Protocol { kind, .. } => *kind == krafka::ProtocolErrorKind::UnknownApiVersion,
        _ => false,
    }
}

async fn of_consumer_protocol(call: &Call, broker: Broker, ids: Vec<String>) -> Answers<Group> {
    let request = ConsumerGroupDescribeRequest::new(ids.clone());
    let response: KrafkaResult<ConsumerGroupDescribeResponse> =
        call.exchange(&broker, CONSUMER_GROUP_DESCRIBE, &request).await;
    each(ids, response.map(|response| response.groups), |group| {
        let answer = raw::answer(group.error_code, group.error_message.clone());
        (group.group_id.clone(), answer.map(|()| consumer_group(group)))
    })
}

async fn of_classic_protocol(call: &Call, broker: Broker, ids: Vec<String>) -> Answers<Group> {
    let request = DescribeGroupsRequest { groups: ids.clone(), include_authorized_operations: false };
    let response: KrafkaResult<DescribeGroupsResponse> = call.exchange(&broker, DESCRIBE_GROUPS, &request).await;
    each(ids, response.map(|response| response.groups), |group| {
        let answer = raw::answer(group.error_code, group.error_message.clone());
        (group.group_id.clone(), answer.and_then(|()| classic_group(group)))
    })
}

/// An outcome for each of `ids`, from the items of a response.
fn each<T, V>(
    ids: Vec<String>,
    response: KrafkaResult<Vec<T>>,
    outcome: impl Fn(T) -> (String, KrafkaResult<V>),
) -> Answers<V> {
    match response {
        Err(error) => ids.into_iter().map(|id| (id, Err(error.clone()))).collect(),
        Ok(items) => {
            let mut answers: Answers<V> = ids.into_iter().map(|id| (id, Err(convert::missing()))).collect();
            answers.extend(items.into_iter().map(outcome));
            answers
        }
    }
}

fn consumer_group(group: ConsumerGroupDescribeGroup) -> Group {
    let members = group.members.into_iter().map(|member| {
        let owned = member.assignment.topic_partitions.into_iter().map(|topic| (topic.topic_name, topic.partitions));
        Member {
            id: member.member_id,
            instance_id: member.instance_id,
            client_id: member.client_id,
            host: member.client_host,
            assignment: Some(by_topic(owned)),
        }
    });
    Group {
        members: members.collect(),
        state: GroupState::from_name(&group.group_state),
        epoch: Some(group.group_epoch),
        id: group.group_id,
        kind: GroupKind::Consumer,
    }
}

fn classic_group(group: DescribedGroup) -> KrafkaResult<Group> {
    let state = GroupState::from_name(&group.group_state);
    // DescribeGroups before v6 calls a group that does not exist dead, instead of saying so.
    if state == GroupState::Dead && group.members.is_empty() {
        return Err(KrafkaError::broker(Code::GroupIdNotFound, format!("Group {} not found.", group.group_id)));
    }
    let is_consumer = group.protocol_type == "consumer";
    let members = group.members.into_iter().map(|member| {
        // What a member of another kind, or a broken one, says of its partitions is not known.
        let assignment = decode_consumer_protocol_assignment(&member.member_assignment).ok().filter(|_| is_consumer);
        let owned = assignment.map(|assignment| assignment.assigned_partitions.into_iter());
        Member {
            id: member.member_id,
            instance_id: member.group_instance_id,
            client_id: member.client_id,
            host: member.client_host,
            assignment: owned.map(|owned| by_topic(owned.map(|topic| (topic.topic, topic.partitions)))),
        }
    });
    Ok(Group { members: members.collect(), state, epoch: None, id: group.group_id, kind: GroupKind::Classic })
}

fn by_topic(owned: impl Iterator<Item = (String, Vec<i32>)>) -> BTreeMap<String, BTreeSet<i32>> {
    let mut topics: BTreeMap<String, BTreeSet<i32>> = BTreeMap::new();
    for (topic, partitions) in owned {
        topics.entry(topic).or_default().extend(partitions);
    }
    topics
}

/// What groups have committed.
pub(super) async fn committed(call: &Call, ids: Vec<String>) -> Answers<BTreeMap<TopicPartition, CommittedOffset>> {
    ask(call, ids, |broker, ids| async move {
        let group = |id: &String| {
            let id = GroupId(StrBytes::from_string(id.clone()));
            OffsetFetchRequestGroup::default().with_group_id(id).with_topics(None)
        };
        // Not `require_stable`: a group whose offsets are committed in transactions is "unstable" most of the time. What is committed is
        // answered either way; what is pending is not.
        let request = OffsetFetchRequest::default().with_groups(ids.iter().map(group).collect());
        let response: KrafkaResult<Wire<OffsetFetchResponse>> =
            call.exchange(&broker, OFFSET_FETCH, &Wire(request)).await;
        each(ids, response.map(|Wire(response)| response.groups), |group| (group.group_id.to_string(), commits(group)))
    })
    .await
}

fn commits(group: OffsetFetchResponseGroup) -> KrafkaResult<BTreeMap<TopicPartition, CommittedOffset>> {
    match Code::from_i16(group.error_code) {
        Code::GroupIdNotFound => return Ok(BTreeMap::new()),
        code => raw::answer(code, None)?,
    }
    let mut offsets = BTreeMap::new();
    for topic in group.topics {
        for commit in topic.partitions {
            match Code::from_i16(commit.error_code) {
                // Its topic is gone: nobody will go on from there.
                Code::UnknownTopicOrPartition => continue,
                code => raw::answer(code, None)?,
            }
            if commit.committed_offset >= 0 {
                let metadata = commit.metadata.map(|metadata| metadata.to_string()).unwrap_or_default();
                let commit_of = TopicPartition::new(topic.name.to_string(), commit.partition_index);
                offsets.insert(commit_of, CommittedOffset { offset: commit.committed_offset, metadata });
            }
        }
    }
    Ok(offsets)
}
