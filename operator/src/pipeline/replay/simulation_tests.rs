//! Replays from their beginning to their end over the twin of a Kafka cluster, with an operator that dies anywhere, calls whose answers
//! are lost, and pods that take their time. However they come about, the ends are the same.

use proptest::prelude::*;
use serde_json::json;
use tidegate_crds::pipeline::{Processor, ReplayPhase, ReplayStatus};
use tidegate_kafka::{
    Api, GroupKind, KafkaAdmin, LoggedRecord, NewTopic, TopicPartition,
    twin::{Fault, Twin},
};
use tidegate_settings::failure::headers;

use super::{
    history::{generation, is_stopped},
    observe::{Surroundings, see},
    perform,
    plan::{Next, plan},
};
use crate::{
    pipeline::{
        offsets::{flat, nested},
        once::{noted, of},
    },
    testing::{kafka, retrying_projector, run},
};

/// What goes wrong in a reconciliation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    None,
    /// The operator dies when the Deployment has been applied.
    Applied,
    /// It dies before it writes the record.
    Noting,
    /// Offsets are set, and nobody hears of it.
    Lost,
    /// Offsets are not set.
    Refused,
    /// Kafka is away.
    Away,
}

struct World {
    twin: Twin,
    processor: Processor,
    /// What is in etcd.
    status: Vec<ReplayStatus>,
    replicas: i32,
    settings: Option<String>,
    /// Pods that run, and the generation that they were told.
    running: Option<Option<String>>,
    /// Where each generation was when its first pod started.
    begun: Vec<(Option<String>, tidegate_settings::PartitionOffsets)>,
}

const GROUP: &str = "g";

impl World {
    async fn new() -> Self {
        let twin = kafka(&[NewTopic::new("t", 2, 3), NewTopic::new("g.t.retry", 2, 3)]).await;
        for partition in 0..2 {
            twin.produce("t", partition, &[1; 20]).unwrap();
            twin.trim("t", partition, 4).unwrap();
            twin.commit(GROUP, "t", partition, 12);
        }
        // Parked, and never finished.
        let headers = vec![(headers::ORIGIN_OFFSET.to_owned(), Some(b"7".to_vec()))];
        twin.append("g.t.retry", 1, LoggedRecord { headers, ..LoggedRecord::default() }).unwrap();
        let mut world = Self {
            twin,
            processor: retrying_projector(),
            status: Vec::new(),
            replicas: 2,
            settings: None,
            running: None,
            begun: Vec::new(),
        };
        world.pods().await;
        world
    }

    fn ask(&mut self, id: &str, from: serde_json::Value) {
        self.processor.replay = Some(serde_json::from_value(json!({"id": id, "from": from})).unwrap());
    }

    /// Pods become what the Deployment says.
    async fn pods(&mut self) {
        let wanted = (self.replicas > 0).then(|| self.settings.clone());
        if self.running == wanted {
            return;
        }
        self.twin.leave(GROUP, "pod");
        self.running = wanted;
        if let Some(generation) = &self.running {
            if !self.begun.iter().any(|(known, _)| known == generation) {
                self.begun.push((generation.clone(), self.committed().await));
            }
            self.twin.join(GROUP, GroupKind::Consumer, "pod", &[("t", 0), ("t", 1)]);
            for partition in 0..2 {
                self.twin.commit(GROUP, "t", partition, 20);
            }
        }
    }

    async fn committed(&self) -> tidegate_settings::PartitionOffsets {
        let offsets = self.twin.committed_offsets(&[GROUP.to_owned()]).await.remove(GROUP).unwrap().unwrap();
        nested(&offsets.into_iter().map(|(key, commit)| (key, commit.offset)).collect())
    }

    /// What the controller does; whether there is more to do.
    async fn reconcile(&mut self, trouble: Trouble) -> bool {
        self.replicas = if is_stopped(&self.status, "p") { 0 } else { 2 };
        self.settings = generation(&self.status, "p").map(|generation| generation.id);
        if trouble == Trouble::Applied {
            return true;
        }
        match trouble {
            Trouble::Lost => self.twin.lose_next_answer(Api::SetOffsets),
            Trouble::Refused => self.twin.fail_next(Api::SetOffsets, Fault::Unreachable),
            Trouble::Away => self.twin.fail_all(Fault::Unreachable),
            _ => {}
        }
        let around = Surroundings {
            admin: &self.twin,
            processor: &self.processor,
            refusal: None,
            pods: Some(if self.running.is_some() { 2 } else { 0 }),
            settled: self.running == (self.replicas > 0).then(|| self.settings.clone()),
        };
        let records = of(&self.status, "p");
        let seen = see(&around, &records).await;
        let next = plan(self.processor.replay.as_ref(), &records, &seen, jiff::Timestamp::UNIX_EPOCH);
        let more = next != Next::Rest;
        match next {
            Next::Note(record) if trouble != Trouble::Noting => self.status = noted(&self.status, record),
            Next::Move(moves) => {
                let pods = self.running.is_some();
                assert!(!pods, "offsets are set under the feet of pods");
                let _ = perform(&self.twin, GROUP, &moves).await;
            }
            _ => {}
        }
        self.twin.heal();
        more
    }

    async fn settle(&mut self) {
        for _ in 0..40 {
            let more = self.reconcile(Trouble::None).await;
            self.pods().await;
            if !more {
                return;
            }
        }
        panic!("it does not come to an end: {:?}", self.status);
    }

    fn last(&self) -> &ReplayStatus {
        self.status.last().unwrap()
    }
}

fn troubles() -> impl Strategy<Value = Vec<(Trouble, bool)>> {
    let trouble = prop::sample::select(vec![
        Trouble::None,
        Trouble::None,
        Trouble::Applied,
        Trouble::Noting,
        Trouble::Lost,
        Trouble::Refused,
        Trouble::Away,
    ]);
    prop::collection::vec((trouble, any::<bool>()), 0..25)
}

fn offsets(offset: i64) -> tidegate_settings::PartitionOffsets {
    nested(&(0..2).map(|partition| (TopicPartition::new("t", partition), offset)).collect())
}

proptest! {
    #[test]
    fn an_operator_that_dies_anywhere_leaves_nothing_that_the_next_one_does_not_end(troubles in troubles()) {
        run(async {
            let mut world = World::new().await;
            world.ask("again", json!({"position": "Earliest"}));
            for (trouble, pods) in troubles {
                world.reconcile(trouble).await;
                if pods {
                    world.pods().await;
                }
            }
            world.settle().await;

            prop_assert_eq!(world.status.len(), 1);
            let record = world.last();
            prop_assert_eq!(record.phase, ReplayPhase::Done);
            prop_assert_eq!((&record.before, &record.after), (&offsets(20), &offsets(4)));
            // Pods of a generation find the offsets that are on record, and nobody sets them afterwards.
            let begun: Vec<_> = world.begun.iter().map(|(id, at)| (id.as_deref(), at.clone())).collect();
            prop_assert_eq!(begun, vec![(None, offsets(12)), (Some("again"), offsets(4))]);
            prop_assert_eq!(world.committed().await, offsets(20));
            // What was parked is read again from the topic.
            let retries = world.twin.committed_offsets(&["g.retry".to_owned()]).await.remove("g.retry").unwrap().unwrap();
            prop_assert_eq!(retries[&TopicPartition::new("g.t.retry", 1)].offset, 1);
            world.twin.forget_calls();
            world.settle().await;
            prop_assert_eq!(world.twin.writes(), 0);
            Ok(())
        })?;
    }

    #[test]
    fn a_replay_is_undone_by_another(troubles in troubles()) {
        run(async {
            let mut world = World::new().await;
            world.ask("again", json!({"offsets": {"t": {"0": 5}}}));
            world.settle().await;
            prop_assert_eq!(&world.last().after, &nested(&[
                (TopicPartition::new("t", 0), 5), (TopicPartition::new("t", 1), 20),
            ].into()));
            world.ask("undo", json!({"replay": "again"}));
            for (trouble, pods) in troubles {
                world.reconcile(trouble).await;
                if pods {
                    world.pods().await;
                }
            }
            world.settle().await;
            prop_assert_eq!((world.last().id.as_str(), &world.last().after), ("undo", &offsets(20)));
            prop_assert_eq!(world.running.clone(), Some(Some("undo".to_owned())));
            Ok(())
        })?;
    }

    /// Taken back while the pods are being stopped, it leaves everything as it was; later, it goes on to its end.
    #[test]
    fn one_that_is_taken_back_changes_nothing_or_comes_to_its_end(steps in 0_usize..12) {
        run(async {
            let mut world = World::new().await;
            world.ask("again", json!({"position": "Latest"}));
            for _ in 0..steps {
                world.reconcile(Trouble::None).await;
                world.pods().await;
            }
            world.processor.replay = None;
            world.settle().await;
            match world.status.last().map(|record| record.phase) {
                None | Some(ReplayPhase::Cancelled) => {
                    prop_assert_eq!((world.running.clone(), world.twin.count(Api::SetOffsets)), (Some(None), 0));
                }
                phase => {
                    prop_assert_eq!(phase, Some(ReplayPhase::Done));
                    prop_assert_eq!(world.running.clone(), Some(Some("again".to_owned())));
                }
            }
            prop_assert_eq!(flat(&world.committed().await), flat(&offsets(20)));
            Ok(())
        })?;
    }
}
