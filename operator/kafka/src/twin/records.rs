//! Records with what they carry, and offsets that somebody sets.

use super::{
    Refusal, Twin,
    state::{Log, State, StoredGroup},
};
use crate::{CommittedOffset, ErrorCode, GroupKind, LoggedRecord, Portion, TopicPartition};

/// Records in an answer: few, so that callers have to ask on.
const PORTION: usize = 3;

impl Log {
    pub(super) fn read(&self, from: i64) -> Result<Portion, Refusal> {
        // For its check of the offset.
        self.records_from(from)?;
        let end = self.open_from.unwrap_or(self.end());
        let mut portion = Portion { records: Vec::new(), next: from, end };
        while portion.next < end && portion.records.len() < PORTION {
            let offset = portion.next;
            portion.next += 1;
            if self.gone.contains(&offset) {
                continue;
            }
            let time = usize::try_from(offset - self.start).ok().and_then(|index| self.times.get(index)).copied();
            let record = self.contents.get(&offset).cloned().unwrap_or_default();
            portion.records.push(LoggedRecord { offset, timestamp: time.unwrap_or_default(), ..record });
        }
        Ok(portion)
    }

    pub(super) fn append(&mut self, record: LoggedRecord) -> i64 {
        let offset = self.end();
        self.times.push(record.timestamp);
        self.contents.insert(offset, LoggedRecord { offset, ..record });
        offset
    }
}

impl State {
    pub(super) fn set_offset(&mut self, group: &str, key: &TopicPartition, offset: i64) -> Result<(), Refusal> {
        self.partition(key)?;
        let group = self.groups.entry(group.to_owned()).or_insert_with(|| StoredGroup::new(GroupKind::Classic));
        if !group.members.is_empty() {
            return Err((ErrorCode::UNKNOWN_MEMBER_ID, "UnknownMemberId".to_owned()));
        }
        group.committed.insert(key.clone(), CommittedOffset { offset, metadata: String::new() });
        Ok(())
    }

    pub(super) fn forget_offset(&mut self, group: &str, key: &TopicPartition) -> Result<(), Refusal> {
        let Some(group) = self.groups.get_mut(group) else { return Ok(()) };
        let subscribed = |assignment: &std::collections::BTreeMap<String, _>| assignment.contains_key(&key.topic);
        if group.members.iter().filter_map(|member| member.assignment.as_ref()).any(subscribed) {
            return Err((ErrorCode::GROUP_SUBSCRIBED_TO_TOPIC, "GroupSubscribedToTopic".to_owned()));
        }
        group.committed.remove(key);
        Ok(())
    }
}

impl Twin {
    /// A record arrives with what it carries; its offset.
    pub fn append(&self, topic: &str, partition: i32, record: LoggedRecord) -> Result<i64, ErrorCode> {
        let mut state = self.state();
        let partition = state.partition(&TopicPartition::new(topic, partition)).map_err(|(code, _)| code)?;
        Ok(partition.log.append(record))
    }
}
