//! One cluster's groups, followed from cycle to cycle.

mod reading;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    hash::{DefaultHasher, Hash, Hasher},
};

use tidegate_kafka::{ErrorClass, Group, GroupState, KafkaAdmin, OffsetSpec, TopicPartition};
use uuid::Uuid;

use self::reading::Behind;
use super::{
    backlog::{Backlog, Ends},
    probes::{Age, Probes},
    progress::{Movement, Progress},
    readings::Reading,
    survey::{Answers, Known, Questions, Retention, Wanted, ask, is_gone, list, questions, reads_starts, retention},
    timeline::Timeline,
};

/// An age that is known to this is as good as known for a group that moves.
const GOOD_ENOUGH_MS: i64 = 10_000;
/// And this part of it.
const GOOD_ENOUGH_PART: i64 = 10;
/// Samples are further apart than this.
const SAMPLES_APART_MS: i64 = 1_000;

/// Commits by group and partition.
type Commits = HashMap<String, BTreeMap<TopicPartition, i64>>;

/// What is known of a topic.
#[derive(Debug)]
struct TopicView {
    id: Uuid,
    partitions: Vec<TopicPartition>,
    under_replicated: i32,
}

/// What is known of a partition that is read.
#[derive(Debug, Default)]
struct PartitionView {
    line: Timeline,
    produced: Movement,
    ends: Ends,
}

/// What is known of a group.
#[derive(Debug, Default)]
struct GroupView {
    /// As it was described last; none: there is no such group. Nothing while it is unknown.
    described: Option<Option<(String, i32)>>,
    /// What changes with every rebalance.
    mark: Option<u64>,
    rebalances: u64,
    progress: HashMap<TopicPartition, Progress>,
}

/// One cluster's groups.
#[derive(Debug, Default)]
pub struct Engine {
    cycle: u64,
    topics: BTreeMap<String, TopicView>,
    /// How long each topic keeps records; nothing where nobody may know.
    retentions: BTreeMap<String, Option<Retention>>,
    partitions: HashMap<TopicPartition, PartitionView>,
    groups: HashMap<String, GroupView>,
    probes: Probes,
    /// Members were read in the last cycle.
    members: bool,
}

impl Engine {
    /// One cycle: a reading for each of `wanted`, in their order. `clock`: milliseconds since the Unix epoch, which do not go back.
    pub async fn read(
        &mut self,
        admin: &dyn KafkaAdmin,
        wanted: &[Wanted],
        clock: &(dyn Fn() -> i64 + Sync),
    ) -> Vec<Reading> {
        let questions = self.questions(wanted);
        let answers = ask(admin, &questions).await;
        let commits = self.take(&questions, answers);
        self.keep(wanted);
        self.read_ends(admin, clock).await;
        let now = clock();
        let behind: Vec<Behind<'_>> = wanted.iter().map(|one| self.behind(one, &commits)).collect();
        self.look(admin, &behind, now).await;
        let readings = behind.iter().map(|one| self.reading(one, now)).collect();
        self.forget_what_was_read(&behind);
        self.cycle += 1;
        readings
    }

    fn questions(&self, wanted: &[Wanted]) -> Questions {
        let (topics, retentions) = (self.topics.keys().collect(), self.retentions.keys().collect());
        let known = Known { topics: &topics, retentions: &retentions, members: self.members };
        questions(wanted, known, self.cycle)
    }

    /// Takes in what was answered; the commits.
    fn take(&mut self, questions: &Questions, answers: Answers) -> Commits {
        for (name, topic) in answers.topics {
            match topic {
                Ok(topic) => {
                    if self.topics.get(&name).is_some_and(|known| known.id != topic.id) {
                        // Made anew: nothing of what was known is about this one.
                        self.forget(&name);
                    }
                    let short = topic.partitions.iter().filter(|one| one.isr.len() < one.replicas.len()).count();
                    let indices: BTreeSet<i32> = topic.partitions.iter().map(|partition| partition.index).collect();
                    let partitions =
                        indices.into_iter().map(|index| TopicPartition::new(name.clone(), index)).collect();
                    let under_replicated = i32::try_from(short).unwrap_or(i32::MAX);
                    self.topics.insert(name, TopicView { id: topic.id, partitions, under_replicated });
                }
                Err(error) if is_gone(&error) => drop(self.topics.remove(&name)),
                Err(_) => {}
            }
        }
        for (name, config) in answers.retentions {
            match config {
                Ok(config) => {
                    self.retentions.insert(name, Some(retention(&config)));
                }
                // Not allowed: it has its turn again with the others.
                Err(error) if error.class() == ErrorClass::User => {
                    self.retentions.insert(name, None);
                }
                Err(_) => {}
            }
        }
        self.members = !questions.groups.is_empty();
        for (id, group) in answers.groups {
            self.groups.entry(id).or_default().take(match group {
                Ok(group) => Some(Some(group)),
                Err(error) if is_gone(&error) => Some(None),
                Err(_) => None,
            });
        }
        let offsets = |(group, commits): (String, Result<BTreeMap<_, _>, _>)| {
            let commits: BTreeMap<TopicPartition, tidegate_kafka::CommittedOffset> = commits.ok()?;
            Some((group, commits.into_iter().map(|(partition, commit)| (partition, commit.offset)).collect()))
        };
        answers.commits.into_iter().filter_map(offsets).collect()
    }

    fn forget(&mut self, topic: &str) {
        self.partitions.retain(|partition, _| partition.topic != topic);
        self.probes.forget(topic);
        for group in self.groups.values_mut() {
            group.progress.retain(|partition, _| partition.topic != topic);
        }
    }

    /// Forgets what nobody wants any more, and begins to follow what is new.
    fn keep(&mut self, wanted: &[Wanted]) {
        let topics: HashSet<&String> = wanted.iter().flat_map(Wanted::topics).collect();
        self.topics.retain(|name, _| topics.contains(name));
        self.retentions.retain(|name, _| topics.contains(name));
        let groups: HashSet<&String> = wanted.iter().map(|one| &one.consumes.group).collect();
        self.groups.retain(|id, _| groups.contains(id));
        let there: HashSet<&TopicPartition> = self.topics.values().flat_map(|topic| &topic.partitions).collect();
        self.partitions.retain(|partition, _| there.contains(partition));
        for group in self.groups.values_mut() {
            group.progress.retain(|partition, _| there.contains(partition));
        }
        let new: Vec<TopicPartition> =
            there.into_iter().filter(|one| !self.partitions.contains_key(*one)).cloned().collect();
        self.partitions.extend(new.into_iter().map(|partition| (partition, PartitionView::default())));
    }

    /// Reads where logs end, and begin; commits were read before, so that none is beyond the end.
    async fn read_ends(&mut self, admin: &dyn KafkaAdmin, clock: &(dyn Fn() -> i64 + Sync)) {
        let all = reads_starts(self.cycle);
        let unknown = self.partitions.iter().filter(|(_, view)| all || view.ends.start.is_none());
        let unknown: Vec<&TopicPartition> = unknown.map(|(partition, _)| partition).collect();
        let (stable, starts) = tokio::join!(
            list(admin, self.partitions.keys(), OffsetSpec::LastStable),
            list(admin, unknown.into_iter(), OffsetSpec::Earliest),
        );
        let now = clock();
        for (partition, view) in &mut self.partitions {
            view.ends.stable = stable.get(partition).copied();
            if let Some(end) = view.ends.stable {
                view.line.sample(end, now);
                view.produced.sample(end, now);
            }
            if let Some(start) = starts.get(partition) {
                view.ends.start = Some(*start);
            }
        }
    }

    /// Looks into what waits, where that tells more than the samples do.
    async fn look(&mut self, admin: &dyn KafkaAdmin, behind: &[Behind<'_>], now: i64) {
        let own = behind.iter().flat_map(|one| &one.own).filter_map(|(_, _, backlog)| backlog.as_ref());
        let own = own.map(|backlog| (backlog.clone(), self.age_of(backlog, now)));
        let retries = behind.iter().flat_map(|one| &one.retry).flatten().map(|backlog| (backlog.clone(), Age::Exact));
        // These are looked into when they are seen first: a new leader that showed their offsets for a cycle would tell of new ones.
        let dead_letters = behind.iter().flat_map(|one| &one.dead_letters).flatten();
        let dead_letters = dead_letters.map(|backlog| (backlog.clone(), Age::Unknown));
        let wanted: Vec<(Backlog, Age)> = own.chain(retries).chain(dead_letters).collect();
        let looks = self.probes.look(admin, wanted.into_iter()).await;
        for (partition, offset, time) in looks.learned {
            if let Some(view) = self.partitions.get_mut(&partition) {
                view.line.learn(offset, time);
            }
        }
        for partition in looks.moved {
            if let Some(view) = self.partitions.get_mut(&partition) {
                view.ends.start = None;
            }
        }
    }

    fn age_of(&self, backlog: &Backlog, now: i64) -> Age {
        let line = self.partitions.get(&backlog.partition).map(|view| &view.line);
        match line.and_then(|line| line.arrival(self.probes.oldest(backlog))) {
            None => Age::Unknown,
            Some(arrival) if arrival.within > GOOD_ENOUGH_MS.max((now - arrival.at) / GOOD_ENOUGH_PART) => Age::Vague,
            Some(arrival) if arrival.within > SAMPLES_APART_MS => Age::Sampled,
            Some(_) => Age::Exact,
        }
    }

    /// Ages are asked for from where the hindmost group stands.
    fn forget_what_was_read(&mut self, behind: &[Behind<'_>]) {
        let mut hindmost: HashMap<&TopicPartition, i64> = HashMap::new();
        let mut open: HashSet<&TopicPartition> = HashSet::new();
        for (partition, _, backlog) in behind.iter().flat_map(|one| &one.own) {
            match backlog {
                Some(backlog) => {
                    let next = hindmost.entry(partition).or_insert(i64::MAX);
                    *next = backlog.next.min(*next);
                }
                // Where that group stands is not known at the moment.
                None => {
                    open.insert(partition);
                }
            }
        }
        for (partition, view) in self.partitions.iter_mut().filter(|(partition, _)| !open.contains(*partition)) {
            // Nobody asks for ages in retry topics and among dead letters.
            view.line.forget_before(hindmost.get(partition).copied().unwrap_or(i64::MAX));
        }
    }
}

impl GroupView {
    /// Takes in a description: some group, or none; nothing where it was not learned.
    fn take(&mut self, group: Option<Option<Group>>) {
        if let Some(Some(group)) = &group {
            let mark = mark(group);
            let changed = self.mark.is_some_and(|before| before != mark);
            self.rebalances = self.rebalances.saturating_add(u64::from(changed));
            self.mark = Some(mark);
        }
        let members = |group: &Group| i32::try_from(group.members.len()).unwrap_or(i32::MAX);
        self.described = group.map(|group| group.map(|group| (state_name(&group), members(&group))));
    }
}

/// What a rebalance changes: the epoch of a KIP-848 group, and who owns what.
fn mark(group: &Group) -> u64 {
    let mut members: Vec<_> = group.members.iter().map(|member| (&member.id, &member.assignment)).collect();
    members.sort();
    let mut hasher = DefaultHasher::new();
    (group.epoch, members).hash(&mut hasher);
    hasher.finish()
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
#[path = "tests.rs"]
mod tests;
