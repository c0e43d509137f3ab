//! Backlogs that hold nothing to read. A committed group stays short of the end by the marker that ended the last transaction,
//! for ever; a backlog that stands still is therefore looked into once, and what it is is remembered while it stands still.

use std::collections::{BTreeMap, HashMap};

use tidegate_kafka::{ErrorClass, KafkaAdmin, TopicPartition};

use super::compute::Backlog;

/// What is known of backlogs that were there in the last cycle: whether they hold a record, once that was looked for.
#[derive(Debug, Default)]
pub struct Probes(HashMap<Backlog, Option<bool>>);

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
        let answers = admin.readable_from(&wanted).await;
        for (backlog, known) in &mut self.0 {
            if wanted.get(&backlog.partition) == Some(&backlog.next) {
                *known = match answers.get(&backlog.partition) {
                    Some(Ok(readable)) => Some(*readable),
                    // Not allowed to look: the offsets have to do.
                    Some(Err(error)) if error.class() == ErrorClass::User => Some(true),
                    _ => None,
                };
            }
        }
    }

    /// Whether a backlog was looked into and holds nothing.
    pub fn holds_nothing(&self, backlog: &Backlog) -> bool {
        self.0.get(backlog) == Some(&Some(false))
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
        assert_eq!((probes.holds_nothing(&marker), twin.count(Api::FetchRecords)), (false, 0), "it may be moving");
        probes.look(&twin, [marker.clone()].into_iter()).await;
        assert_eq!((probes.holds_nothing(&marker), twin.count(Api::FetchRecords)), (true, 1));
        probes.look(&twin, [marker.clone()].into_iter()).await;
        assert_eq!((probes.holds_nothing(&marker), twin.count(Api::FetchRecords)), (true, 1), "known by now");

        let record = backlog(0, 2);
        probes.look(&twin, [record.clone()].into_iter()).await;
        probes.look(&twin, [record.clone()].into_iter()).await;
        assert!(!probes.holds_nothing(&record));
        assert!(!probes.holds_nothing(&marker), "forgotten: it is no more");
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
        assert!(probes.holds_nothing(&backlog(1, 2)) && !probes.holds_nothing(&backlog(0, 2)));
    }

    #[tokio::test]
    async fn without_an_answer_nothing_is_known() {
        let twin = Twin::new();
        let mut probes = Probes::default();
        for _ in 0..3 {
            probes.look(&twin, [backlog(0, 1)].into_iter()).await;
        }
        assert!(!probes.holds_nothing(&backlog(0, 1)));
    }
}
