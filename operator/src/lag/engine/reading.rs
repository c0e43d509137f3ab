//! What a cycle says of each processor, from all that is known. Without I/O.

use std::{collections::BTreeMap, time::Duration};

use tidegate_crds::pipeline::LagTrend;
use tidegate_kafka::TopicPartition;
use tidegate_settings::StartAt;

use super::{Commits, Engine, GroupView, PartitionView, Progress, Wanted};
use crate::lag::{
    backlog::{Backlog, backlog},
    readings::{PartitionReading, Reading, Totals},
    survey::Retention,
};

/// What a processor has behind it; none where it is unknown.
pub(super) struct Behind<'a> {
    wanted: &'a Wanted,
    /// What its group has committed is known.
    known: bool,
    /// Its own partitions, each with the group's commit, and the backlog.
    pub(super) own: Vec<(TopicPartition, Option<i64>, Option<Backlog>)>,
    /// Whether these are all.
    whole: bool,
    pub(super) retry: Option<Vec<Backlog>>,
    pub(super) dead_letters: Option<Vec<Backlog>>,
}

impl Engine {
    fn partitions_of<'a>(&'a self, topics: &'a [String]) -> impl Iterator<Item = &'a TopicPartition> {
        topics.iter().filter_map(|topic| self.topics.get(topic)).flat_map(|topic| &topic.partitions)
    }

    fn are_known(&self, topics: &[String]) -> bool {
        topics.iter().all(|topic| self.topics.get(topic).is_some_and(|topic| !topic.partitions.is_empty()))
    }

    fn backlog(&self, partition: &TopicPartition, committed: Option<i64>, start_at: StartAt) -> Option<Backlog> {
        backlog(partition, committed, self.partitions.get(partition)?.ends, start_at)
    }

    pub(super) fn behind<'a>(&self, one: &'a Wanted, commits: &Commits) -> Behind<'a> {
        let all = |topics: &[String], commits: &BTreeMap<TopicPartition, i64>| -> Option<Vec<Backlog>> {
            let of = |one: &TopicPartition| self.backlog(one, commits.get(one).copied(), StartAt::Earliest);
            self.are_known(topics).then(|| self.partitions_of(topics).map(of).collect())?
        };
        let committed = commits.get(&one.consumes.group);
        let own = self.partitions_of(&one.consumes.topics).map(|partition| {
            let commit = committed.and_then(|commits| commits.get(partition).copied());
            let behind = committed.and_then(|_| self.backlog(partition, commit, one.consumes.start_at()));
            (partition.clone(), commit, behind)
        });
        Behind {
            wanted: one,
            known: committed.is_some(),
            own: own.collect(),
            whole: self.are_known(&one.consumes.topics),
            retry: one.retry_group().and_then(|group| all(&one.retries, commits.get(&group)?)),
            // Nobody reads dead letters as a group that matters here: all that there are.
            dead_letters: one
                .dead_letters
                .as_ref()
                .and_then(|topic| all(std::slice::from_ref(topic), &BTreeMap::new())),
        }
    }

    pub(super) fn reading(&mut self, behind: &Behind<'_>, now: i64) -> Reading {
        let Behind { wanted, own, whole, .. } = behind;
        let mut group = self.groups.remove(&wanted.consumes.group).unwrap_or_default();
        let mut partitions = Vec::with_capacity(own.len());
        for (partition, committed, backlog) in own {
            let progress = group.progress.entry(partition.clone()).or_default();
            let progress = if behind.known { Some(progress) } else { None };
            partitions.push(self.partition(partition, *committed, backlog.as_ref(), progress, now));
        }
        let all = |figure: fn(&PartitionReading) -> Option<f64>| -> Option<Vec<f64>> {
            whole.then(|| partitions.iter().map(figure).collect())?
        };
        let sum = |figure| Some(all(figure)?.into_iter().sum::<f64>());
        let records = |backlogs: &Option<Vec<Backlog>>| {
            let each = backlogs.as_ref()?.iter().map(|backlog| self.probes.records(backlog));
            Some(each.fold(0, i64::saturating_add))
        };
        let (produced_rate, consumed_rate) = (sum(|one| one.produced_rate), sum(|one| one.consumed_rate));
        let described = group.described.as_ref();
        let mut reading = Reading {
            state: described.and_then(|described| Some(described.as_ref()?.0.clone())),
            members: described.map(|described| described.as_ref().map_or(0, |(_, members)| *members)),
            lag: if *whole { partitions.iter().map(|one| one.lag).sum() } else { None },
            lag_seconds: all(|one| one.lag_seconds).map(|ages| ages.into_iter().fold(0.0, f64::max)),
            trend: produced_rate.zip(consumed_rate).map(|(produced, consumed)| produced - consumed),
            drain_seconds: None,
            produced_rate,
            consumed_rate,
            retention_margins: self.margins(&partitions),
            under_replicated: whole.then(|| {
                let topics = wanted.consumes.topics.iter().filter_map(|topic| self.topics.get(topic));
                topics.map(|topic| topic.under_replicated).sum()
            }),
            retry: records(&behind.retry),
            dead_letters: records(&behind.dead_letters),
            totals: self.totals(wanted, own, &group),
            partitions,
        };
        reading.drain_seconds = drain(&reading);
        self.groups.insert(wanted.consumes.group.clone(), group);
        reading
    }

    /// A partition; `progress` is that of its group, none while its commits are unknown.
    fn partition(
        &self,
        partition: &TopicPartition,
        committed: Option<i64>,
        backlog: Option<&Backlog>,
        progress: Option<&mut Progress>,
        now: i64,
    ) -> PartitionReading {
        let view = self.partitions.get(partition);
        let ends = view.map(|view| view.ends).unwrap_or_default();
        let lag = backlog.map(|backlog| self.probes.records(backlog));
        let (mut consumed_rate, mut stuck_for) = (None, None);
        if let Some(progress) = progress {
            progress.commit(committed, ends.start, now);
            consumed_rate = if committed.is_some() { progress.commits.rate() } else { Some(0.0) };
            stuck_for = lag.map(|lag| progress.stuck_for(lag > 0, now));
        }
        PartitionReading {
            topic: partition.topic.clone(),
            partition: partition.partition,
            committed,
            log_start: ends.start,
            stable_end: ends.stable,
            lag,
            lag_seconds: view.zip(backlog).and_then(|(view, backlog)| self.age(view, backlog, now)),
            consumed_rate,
            produced_rate: view.filter(|view| view.ends.stable.is_some()).and_then(|view| view.produced.rate()),
            stuck_for,
        }
    }

    /// Seconds since the oldest record of a backlog arrived; 0 where it holds none, none while that is unknown.
    fn age(&self, view: &PartitionView, backlog: &Backlog, now: i64) -> Option<f64> {
        let oldest = self.probes.oldest(backlog);
        if self.probes.records(backlog) == 0 || oldest >= backlog.end {
            return Some(0.0);
        }
        let arrival = view.line.arrival(oldest)?;
        Some(Duration::from_millis(u64::try_from(now - arrival.at).unwrap_or(0)).as_secs_f64())
    }

    /// By topic, what retention leaves of the time in which the oldest record can be read. Partitions of which nothing is known say nothing.
    fn margins(&self, partitions: &[PartitionReading]) -> BTreeMap<String, f64> {
        let mut oldest: BTreeMap<&String, f64> = BTreeMap::new();
        for partition in partitions {
            if let Some(age) = partition.lag_seconds {
                let oldest = oldest.entry(&partition.topic).or_default();
                *oldest = oldest.max(age);
            }
        }
        let margin = |(topic, age): (&String, f64)| match (*self.retentions.get(topic)?)? {
            Retention::Ms(ms) => Some((topic.clone(), ms as f64 / 1_000.0 - age)),
            Retention::Forever => None,
        };
        oldest.into_iter().filter_map(margin).collect()
    }

    fn totals(
        &self,
        wanted: &Wanted,
        own: &[(TopicPartition, Option<i64>, Option<Backlog>)],
        group: &GroupView,
    ) -> Totals {
        let mut totals = Totals {
            rebalances: group.rebalances,
            lost: wanted.consumes.topics.iter().map(|topic| (topic.clone(), 0)).collect(),
            ..Totals::default()
        };
        for (partition, _, _) in own {
            totals.produced += self.partitions.get(partition).map_or(0, |view| view.produced.total());
            if let Some(progress) = group.progress.get(partition) {
                totals.consumed += progress.commits.total();
                *totals.lost.entry(partition.topic.clone()).or_default() += progress.lost();
            }
        }
        totals
    }
}

/// Seconds until nothing waits.
fn drain(reading: &Reading) -> Option<f64> {
    match (reading.lag?, reading.trend, reading.lag_trend()) {
        (0, _, _) => Some(0.0),
        (lag, Some(trend), Some(LagTrend::Draining)) => Some(lag as f64 / -trend),
        _ => None,
    }
}
