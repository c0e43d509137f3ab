//! Redrives from their beginning to their end over the twin of a Kafka cluster, with an operator that dies anywhere and transactions of
//! which nobody hears how they ended. Every dead letter is copied once.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::json;
use tidegate_crds::pipeline::{Processor, RedrivePhase, RedriveStatus};
use tidegate_kafka::{
    Api, KafkaAdmin, LoggedRecord, NewTopic, TopicPartition,
    twin::{Fault, Twin},
};
use tidegate_settings::failure::headers;

use super::{
    Names, copy, ends,
    plan::{Next, Seen, plan},
    progress,
};
use crate::{
    pipeline::once::{noted, of},
    testing::{kafka, retrying_projector, run},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    None,
    /// The operator dies before it writes the record.
    Noting,
    /// It dies when it has become the writer.
    Writer,
    /// Words are written, and nobody hears of it.
    Lost,
    /// Words are not written.
    Refused,
    /// Kafka is away.
    Away,
}

struct World {
    twin: Twin,
    processor: Processor,
    status: Vec<RedriveStatus>,
}

impl World {
    async fn new() -> Self {
        let twin = kafka(&[NewTopic::new("dead", 2, 3), NewTopic::new("g.t.retry", 3, 3)]).await;
        let world = Self { twin, processor: retrying_projector(), status: Vec::new() };
        for origin in 0..20 {
            world.dies(origin, if origin % 4 == 3 { "Poison" } else { "Exhausted" }, "g");
            world.dies(100 + origin, "Exhausted", "other");
        }
        world
    }

    /// A record of partition `origin % 3` is given up.
    fn dies(&self, origin: i64, class: &str, group: &str) {
        let header = |name: &str, value: String| (name.to_owned(), Some(value.into_bytes()));
        let headers = vec![
            header(headers::GROUP, group.to_owned()),
            header(headers::ORIGIN_TOPIC, "t".to_owned()),
            header(headers::ORIGIN_PARTITION, (origin % 3).to_string()),
            header(headers::ORIGIN_OFFSET, origin.to_string()),
            header(headers::ERROR_CLASS, class.to_owned()),
        ];
        let letter = LoggedRecord { headers, ..LoggedRecord::default() };
        self.twin.append("dead", i32::from(origin % 5 == 0), letter).unwrap();
    }

    fn ask(&mut self, redrive: serde_json::Value) {
        self.processor.redrive = Some(serde_json::from_value(redrive).unwrap());
    }

    /// What the controller does; whether there is more to do.
    async fn turn(&mut self, trouble: Trouble) -> bool {
        if trouble == Trouble::Away {
            self.twin.fail_all(Fault::Unreachable);
        }
        let records = of(&self.status, "p");
        let running = records.iter().rev().find(|record| record.phase == RedrivePhase::Running).copied();
        let names = running.map(|record| Names::new("bank", "wallet", "p", &record.id));
        let mut seen = Seen { processor: "p".into(), ..Seen::default() };
        let mut writer = None;
        match &names {
            Some(names) => {
                seen.progress = Some(match self.twin.transactor(&names.transactional_id).await {
                    Ok(opened) => {
                        writer = Some(opened);
                        progress(&self.twin, &names.group).await
                    }
                    Err(error) => Err(error.to_string()),
                });
            }
            None => seen.ends = Some(ends(&self.twin, &self.processor).await),
        }
        let next = plan(self.processor.redrive.as_ref(), &records, &seen, jiff::Timestamp::UNIX_EPOCH);
        let more = next != Next::Rest;
        match next {
            _ if trouble == Trouble::Writer => {}
            Next::Note(record) if trouble != Trouble::Noting => self.status = noted(&self.status, record),
            Next::Copy(room) => {
                match trouble {
                    Trouble::Lost => self.twin.lose_next_answer(Api::Transact),
                    Trouble::Refused => self.twin.fail_next(Api::Transact, Fault::Unreachable),
                    _ => {}
                }
                let positions = seen.progress.unwrap().unwrap();
                let writer = (writer.as_deref().unwrap(), names.as_ref().unwrap());
                let of = (running.unwrap(), records.as_slice());
                let _ = copy(&self.twin, writer, &self.processor, of, (&positions, room)).await;
            }
            _ => {}
        }
        self.twin.heal();
        more
    }

    async fn settle(&mut self) {
        for _ in 0..200 {
            if !self.turn(Trouble::None).await {
                return;
            }
        }
        panic!("it does not come to an end: {:?}", self.status);
    }

    /// Origins of the words that were written, by the partition that they were written to.
    async fn words(&self) -> BTreeMap<i64, (i32, usize)> {
        let mut words = BTreeMap::new();
        for partition in 0..3 {
            let key = TopicPartition::new("g.t.retry", partition);
            let mut next = 0;
            loop {
                let portion =
                    self.twin.read_records(&[(key.clone(), next)].into()).await.remove(&key).unwrap().unwrap();
                for word in &portion.records {
                    assert_eq!(word.header(headers::CONTROL), Some("redrive"));
                    let origin = word.header(headers::ORIGIN_OFFSET).unwrap().parse().unwrap();
                    words.entry(origin).or_insert((partition, 0)).1 += 1;
                }
                next = portion.next;
                if next >= portion.end {
                    break;
                }
            }
        }
        words
    }
}

fn troubles() -> impl Strategy<Value = Vec<Trouble>> {
    let trouble = prop::sample::select(vec![
        Trouble::None,
        Trouble::None,
        Trouble::Noting,
        Trouble::Writer,
        Trouble::Lost,
        Trouble::Refused,
        Trouble::Away,
    ]);
    prop::collection::vec(trouble, 0..40)
}

/// What is to be there of `origins`: each once, in the partition that it came from.
fn once(origins: impl Iterator<Item = i64>) -> BTreeMap<i64, (i32, usize)> {
    origins.map(|origin| (origin, ((origin % 3) as i32, 1))).collect()
}

proptest! {
    #[test]
    fn every_dead_letter_is_copied_once_whoever_dies_where(troubles in troubles()) {
        run(async {
            let mut world = World::new().await;
            world.ask(json!({"id": "a", "match": {"errorClass": "Exhausted"}}));
            for trouble in troubles {
                world.turn(trouble).await;
            }
            world.settle().await;

            prop_assert_eq!(world.words().await, once((0..20).filter(|origin| origin % 4 != 3)));
            let record = world.status.last().unwrap();
            prop_assert_eq!((record.phase, record.moved, record.skipped), (RedrivePhase::Done, 15, 5));

            // What is left, and what has died since.
            world.dies(20, "Exhausted", "g");
            world.ask(json!({"id": "b"}));
            world.settle().await;
            prop_assert_eq!(world.words().await, once(0..21));
            let record = world.status.last().unwrap();
            prop_assert_eq!((record.phase, record.moved, record.skipped), (RedrivePhase::Done, 6, 15));
            Ok(())
        })?;
    }

    #[test]
    fn no_more_than_the_most_and_the_next_goes_on_from_there(troubles in troubles(), most in 1_i64..12) {
        run(async {
            let mut world = World::new().await;
            world.ask(json!({"id": "a", "max": most}));
            for trouble in troubles {
                world.turn(trouble).await;
            }
            world.settle().await;
            let record = world.status.last().unwrap();
            prop_assert_eq!((record.phase, record.moved), (RedrivePhase::Done, most));
            prop_assert!(record.message.as_deref().unwrap_or_default().contains("redrive.max"));
            prop_assert_eq!(world.words().await.len() as i64, most);

            world.ask(json!({"id": "b"}));
            world.settle().await;
            prop_assert_eq!(world.words().await, once(0..20));
            Ok(())
        })?;
    }

    /// A dead letter of a word that failed again is not redriven by the same redrive: it would never end.
    #[test]
    fn what_dies_while_it_runs_is_left_to_another(steps in 1_usize..8) {
        run(async {
            let mut world = World::new().await;
            world.ask(json!({"id": "a"}));
            world.turn(Trouble::None).await;
            for step in 0..steps {
                world.turn(Trouble::None).await;
                world.dies(30 + step as i64, "Exhausted", "g");
            }
            world.settle().await;
            prop_assert_eq!(world.words().await, once(0..20));
            Ok(())
        })?;
    }
}

#[test]
fn one_that_is_taken_back_stops_where_it_is() {
    run(async {
        let mut world = World::new().await;
        world.ask(json!({"id": "a"}));
        for _ in 0..2 {
            world.turn(Trouble::None).await;
        }
        world.processor.redrive = None;
        world.settle().await;
        let record = world.status.last().unwrap();
        assert_eq!(record.phase, RedrivePhase::Cancelled);
        assert_eq!(record.moved, world.words().await.len() as i64);
        assert!(record.moved > 0 && record.moved < 20, "{record:?}");
    });
}
