//! What happens to a cluster besides us: people with a CLI, producers, consumers, brokers that stop.

use std::collections::{BTreeMap, BTreeSet};

use super::{Twin, state::StoredGroup};
use crate::{CommittedOffset, ErrorCode, GroupKind, Member, TopicPartition};

impl Twin {
    /// Somebody sets (or with none resets) a key of a topic's configuration. Nothing is checked.
    pub fn edit_config(&self, topic: &str, key: &str, value: Option<&str>) {
        if let Some(topic) = self.state().topics.get_mut(topic) {
            match value {
                Some(value) => topic.configs.insert(key.to_owned(), value.to_owned()),
                None => topic.configs.remove(key),
            };
        }
    }

    /// Somebody deletes a topic.
    pub fn remove_topic(&self, topic: &str) {
        let mut state = self.state();
        if let Some(id) = state.topics.get(topic).map(|topic| topic.id) {
            let _ = state.delete(id);
        }
    }

    /// A topic created from now on stays unknown for so many reads of it.
    pub fn delay_new_topics(&self, reads: u32) {
        self.state().unknown_after_creation = reads;
    }

    /// Names of the topics that exist.
    pub fn topic_names(&self) -> Vec<String> {
        self.state().topics.keys().cloned().collect()
    }

    /// Records arrive, one for each time (milliseconds since the Unix epoch).
    pub fn produce(&self, topic: &str, partition: i32, times: &[i64]) -> Result<(), ErrorCode> {
        let mut state = self.state();
        let partition = state.partition(&TopicPartition::new(topic, partition)).map_err(|(code, _)| code)?;
        partition.log.times.extend_from_slice(times);
        Ok(())
    }

    /// Records arrive in a transaction that stays open.
    pub fn produce_open(&self, topic: &str, partition: i32, times: &[i64]) -> Result<(), ErrorCode> {
        let mut state = self.state();
        let partition = state.partition(&TopicPartition::new(topic, partition)).map_err(|(code, _)| code)?;
        let end = partition.log.end();
        partition.log.open_from.get_or_insert(end);
        partition.log.times.extend_from_slice(times);
        Ok(())
    }

    /// The open transaction of a partition ends; its marker takes an offset of its own.
    pub fn finish_transaction(&self, topic: &str, partition: i32) -> Result<(), ErrorCode> {
        let mut state = self.state();
        let partition = state.partition(&TopicPartition::new(topic, partition)).map_err(|(code, _)| code)?;
        let log = &mut partition.log;
        if log.open_from.take().is_some() {
            let marked_at = log.times.last().copied().unwrap_or_default();
            log.gone.insert(log.end());
            log.times.push(marked_at);
        }
        Ok(())
    }

    /// Records before `offset` are removed by retention or DeleteRecords.
    pub fn trim(&self, topic: &str, partition: i32, offset: i64) -> Result<(), ErrorCode> {
        let mut state = self.state();
        let partition = state.partition(&TopicPartition::new(topic, partition)).map_err(|(code, _)| code)?;
        let log = &mut partition.log;
        let offset = offset.clamp(log.start, log.end());
        let removed = usize::try_from(offset - log.start).unwrap_or_default();
        log.times.drain(..removed);
        log.start = offset;
        Ok(())
    }

    /// Compaction removes records; their offsets stay.
    pub fn compact(&self, topic: &str, partition: i32, offsets: &[i64]) -> Result<(), ErrorCode> {
        let mut state = self.state();
        let partition = state.partition(&TopicPartition::new(topic, partition)).map_err(|(code, _)| code)?;
        partition.log.gone.extend(offsets);
        Ok(())
    }

    /// A group commits an offset; one that does not exist begins to.
    pub fn commit(&self, group: &str, topic: &str, partition: i32, offset: i64) {
        let committed = CommittedOffset { offset, metadata: String::new() };
        self.group(group, GroupKind::Classic, |group| {
            group.committed.insert(TopicPartition::new(topic, partition), committed);
        });
    }

    /// A member is in a group and owns partitions (topic, index).
    pub fn join(&self, group: &str, kind: GroupKind, member: &str, partitions: &[(&str, i32)]) {
        let mut assignment: BTreeMap<String, BTreeSet<i32>> = BTreeMap::new();
        for (topic, partition) in partitions {
            assignment.entry((*topic).to_owned()).or_default().insert(*partition);
        }
        let member = Member {
            id: member.to_owned(),
            instance_id: None,
            client_id: member.to_owned(),
            host: "/127.0.0.1".to_owned(),
            assignment: Some(assignment),
        };
        self.group(group, kind.clone(), |group| {
            group.kind = kind;
            group.members.retain(|other| other.id != member.id);
            group.members.push(member);
            group.epoch += 1;
        });
    }

    /// A member leaves a group.
    pub fn leave(&self, group: &str, member: &str) {
        if let Some(group) = self.state().groups.get_mut(group) {
            group.members.retain(|other| other.id != member);
            group.epoch += 1;
        }
    }

    /// A broker stops: its replicas are offline, and others lead.
    pub fn stop_broker(&self, id: i32) {
        let mut state = self.state();
        state.stopped.insert(id);
        let stopped = state.stopped.clone();
        for topic in state.topics.values_mut() {
            topic.partitions.iter_mut().for_each(|partition| partition.elect(&stopped));
        }
    }

    /// A broker is back, and in sync at once.
    pub fn start_broker(&self, id: i32) {
        let mut state = self.state();
        state.stopped.remove(&id);
        let stopped = state.stopped.clone();
        for topic in state.topics.values_mut() {
            for partition in &mut topic.partitions {
                let description = &mut partition.description;
                if description.replicas.contains(&id) && !description.isr.contains(&id) {
                    description.isr.push(id);
                }
                partition.elect(&stopped);
            }
        }
    }

    fn group(&self, id: &str, kind: GroupKind, change: impl FnOnce(&mut StoredGroup)) {
        change(self.state().groups.entry(id.to_owned()).or_insert_with(|| StoredGroup::new(kind)));
    }
}
