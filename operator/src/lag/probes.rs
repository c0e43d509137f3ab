//! What backlogs hold. Offsets count what nobody ever reads, such as the markers that end transactions: a group stays short of the end by
//! the last of them for ever. A backlog that stands still is therefore looked into once, and what was found is remembered while it
//! stands still.

use std::collections::{BTreeMap, HashMap};

use tidegate_kafka::{ErrorClass, KafkaAdmin, TopicPartition};

use super::compute::Backlog;

/// What is known of backlogs that were there in the last cycle: the records in them, once that was looked for.
#[derive(Debug, Default)]
pub struct Probes(HashMap<Backlog, Option<i64>>);

impl Probes {
    /// Takes the backlogs of this cycle, and looks into those that were there in the last one.
    pub async fn look(&mut self, admin: &dyn KafkaAdmin, backlogs: impl Iterator<Item = Backlog>) {
        let mut now = HashMap::new();
        let mut wanted: BTreeMap<TopicPartition, i64> = BTreeMap::new();
        for backlog in backlogs.filter(|backlog| backlog.records() > 0) {
            let known = self.0.get(&backlog).copied();
            if known == Some(None) {
                // One offset of a partition in a cycle; another group's offset has its turn in the next.
                wanted.entry(backlog.partition.clone()).or_insert(backlog.next);
            }
            now.insert(backlog, known.flatten());
        }
        self.0 = now;
        if wanted.is_empty() {
            return;
        }
        let answers = admin.records_from(&wanted).await;
        for (backlog, known) in &mut self.0 {
            if wanted.get(&backlog.partition) == Some(&backlog.next) {
                *known = match answers.get(&backlog.partition) {
                    // It may have seen beyond the end by now.
                    Some(Ok(records)) => Some((*records).min(backlog.records())),
                    // Not allowed to look: the offsets have to do.
                    Some(Err(error)) if error.class() == ErrorClass::User => Some(backlog.records()),
                    _ => None,
                };
            }
        }
    }

    /// Records in a backlog: those that were found when it was looked into, its offsets before.
    pub fn records(&self, backlog: &Backlog) -> i64 {
        self.0.get(backlog).copied().flatten().unwrap_or_else(|| backlog.records())
    }
}

#[cfg(test)]
mod tests {
    use tidegate_kafka::{Api, NewTopic, WriteMode, twin::Twin};

    use super::*;

    fn backlog(next: i64, end: i64) -> Backlog {
        Backlog { partition: TopicPartition::new("events", 0), next, end }
    }

    #[tokio::test]
    async fn a_backlog_is_looked_into_once_when_it_stands_still() {
        let twin = Twin::new();
        twin.create_topics(&[NewTopic::new("events", 1, 3)], WriteMode::Apply).await;
        twin.produce_open("events", 0, &[1]).unwrap();
        twin.finish_transaction("events", 0).unwrap();
        let mut probes = Probes::default();
        let marker = backlog(1, 2);

        probes.look(&twin, [marker.clone()].into_iter()).await;
        assert_eq!((probes.records(&marker), twin.count(Api::FetchRecords)), (1, 0), "it may be moving");
        probes.look(&twin, [marker.clone()].into_iter()).await;
        assert_eq!((probes.records(&marker), twin.count(Api::FetchRecords)), (0, 1));
        probes.look(&twin, [marker.clone()].into_iter()).await;
        assert_eq!((probes.records(&marker), twin.count(Api::FetchRecords)), (0, 1), "known by now");

        let record = backlog(0, 2);
        probes.look(&twin, [record.clone()].into_iter()).await;
        probes.look(&twin, [record.clone()].into_iter()).await;
        assert_eq!(probes.records(&record), 1, "the record, and not the marker");
        assert_eq!(probes.records(&marker), 1, "forgotten: it is no more");
    }

    #[tokio::test]
    async fn two_groups_at_different_places_of_a_partition_have_their_turns() {
        let twin = Twin::new();
        twin.create_topics(&[NewTopic::new("events", 1, 3)], WriteMode::Apply).await;
        twin.produce_open("events", 0, &[1]).unwrap();
        twin.finish_transaction("events", 0).unwrap();
        let mut probes = Probes::default();
        let both = || [backlog(0, 2), backlog(1, 2)].into_iter();
        for _ in 0..3 {
            probes.look(&twin, both()).await;
        }
        assert_eq!((probes.records(&backlog(1, 2)), probes.records(&backlog(0, 2))), (0, 1));
    }

    #[tokio::test]
    async fn without_an_answer_nothing_is_known() {
        let twin = Twin::new();
        let mut probes = Probes::default();
        for _ in 0..3 {
            probes.look(&twin, [backlog(0, 1)].into_iter()).await;
        }
        assert_eq!(probes.records(&backlog(0, 1)), 1);
    }
}
