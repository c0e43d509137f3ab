//! How far a shard is: which rows are to be published next, and which are published and not yet deleted. Pure.
//!
//! Two rules make each event appear once. A batch's transaction is committed only when the rows of the batch before it are deleted:
//! so the position names all rows that can be both published and there. And whoever takes the shard deletes the rows that the position
//! names, if they are still there, before it publishes.

use super::position::{Batch, Position, RowKey};

/// How far the owner of a shard is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Progress {
    published: i64,
    /// The last row that was published: nothing before it is to be looked at.
    after: Option<RowKey>,
    /// What is published and may still be there.
    undeleted: Option<Batch>,
}

impl Progress {
    /// Goes on from the shard's position, whose batch is deleted; from nothing if there is none.
    pub(super) fn from(position: Option<&Position>) -> Self {
        Self { published: position.map_or(0, |position| position.published), ..Self::default() }
    }

    /// The row behind which the next ones are looked for; none to look from the beginning.
    pub(super) fn after(&self) -> Option<RowKey> {
        self.after
    }

    /// The position behind so many rows more.
    pub(super) fn behind(&self, rows: usize, batch: Batch) -> Position {
        Position { published: self.published + rows as i64, batch }
    }

    /// What has to be deleted before another batch may be committed.
    pub(super) fn undeleted(&self) -> Option<Batch> {
        self.undeleted
    }

    /// The batch was committed, with its position.
    pub(super) fn committed(&mut self, position: &Position) {
        self.published = position.published;
        self.after = Some(position.batch.last);
        self.undeleted = Some(position.batch);
    }

    /// It is deleted.
    pub(super) fn deleted(&mut self) {
        self.undeleted = None;
    }

    /// The next look begins at the first row, whatever was published: a database that was restored while this runs may have rows there.
    /// Not while published ones are there.
    pub(super) fn look_from_the_beginning(&mut self) {
        if self.undeleted.is_none() {
            self.after = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// What may happen, in any order. Numbers choose among the owners.
    #[derive(Clone, Debug)]
    enum Happens {
        /// A transaction commits so many events of a key.
        Commit(u8, u8),
        /// Somebody takes the shard: by lease, or because it believes that it may.
        Takeover,
        /// An owner does the next thing, though another may have come meanwhile.
        Step(usize),
        /// An owner does nothing any more. What it asked of the database may happen all the same, later.
        Dies(usize),
        /// The database gets to a deletion that was asked for.
        Deletes(usize),
        Sweep(usize),
    }

    fn happens() -> impl Strategy<Value = Happens> {
        prop_oneof![
            3 => (0..3_u8, 1..4_u8).prop_map(|(key, events)| Happens::Commit(key, events)),
            1 => Just(Happens::Takeover),
            12 => any::<usize>().prop_map(Happens::Step),
            1 => any::<usize>().prop_map(Happens::Dies),
            4 => any::<usize>().prop_map(Happens::Deletes),
            1 => any::<usize>().prop_map(Happens::Sweep),
        ]
    }

    type Event = (u8, u32);

    /// The outbox, the topic and the position, as far as they matter.
    #[derive(Default)]
    struct World {
        outbox: BTreeMap<RowKey, Event>,
        written: BTreeMap<u8, u32>,
        transactions: u64,
        topic: Vec<Event>,
        position: Option<Position>,
        /// The transactional id's: only the latest owner may commit.
        epoch: u32,
        deletions: Vec<(u32, Batch)>,
    }

    struct Owner {
        epoch: u32,
        progress: Progress,
        open: Option<(Position, Vec<Event>)>,
    }

    impl World {
        fn commit(&mut self, key: u8, events: u8) {
            self.transactions += 1;
            for id in 0..events {
                let version = self.written.entry(key).or_default();
                *version += 1;
                let row = RowKey { transaction_id: self.transactions, id: i64::from(id) };
                self.outbox.insert(row, (key, *version));
            }
        }

        fn delete(&mut self, batch: &Batch) {
            self.outbox.retain(|row, _| !(batch.first..=batch.last).contains(row));
        }

        fn takeover(&mut self) -> Owner {
            self.epoch += 1;
            if let Some(position) = self.position {
                self.delete(&position.batch);
            }
            Owner { epoch: self.epoch, progress: Progress::from(self.position.as_ref()), open: None }
        }

        /// False if the owner found out that it is none any more.
        fn step(&mut self, owner: &mut Owner) -> bool {
            let Some((position, events)) = owner.open.take() else {
                let rows =
                    self.outbox.iter().filter(|(row, _)| owner.progress.after().is_none_or(|after| **row > after));
                let rows: Vec<_> = rows.map(|(row, event)| (*row, *event)).take(3).collect();
                if let (Some((first, _)), Some((last, _))) = (rows.first(), rows.last()) {
                    let batch = Batch { first: *first, last: *last, last_created: 0 };
                    let position = owner.progress.behind(rows.len(), batch);
                    owner.open = Some((position, rows.iter().map(|(_, event)| *event).collect()));
                }
                return true;
            };
            if let Some(undeleted) = owner.progress.undeleted() {
                if self.deletions.iter().any(|(epoch, batch)| (*epoch, *batch) == (owner.epoch, undeleted)) {
                    // It waits.
                    owner.open = Some((position, events));
                    return true;
                }
                owner.progress.deleted();
            }
            if owner.epoch != self.epoch {
                return false;
            }
            self.topic.extend(events);
            self.position = Some(position);
            owner.progress.committed(&position);
            self.deletions.push((owner.epoch, position.batch));
            true
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn whatever_happens_each_event_is_published_once_and_in_the_order_of_its_key(
            story in prop::collection::vec(happens(), 0..120),
        ) {
            let mut world = World::default();
            let mut owners: Vec<Owner> = Vec::new();
            for happening in story {
                match happening {
                    Happens::Commit(key, events) => world.commit(key, events),
                    Happens::Takeover => owners.push(world.takeover()),
                    Happens::Step(which) if !owners.is_empty() => {
                        let which = which % owners.len();
                        if !world.step(&mut owners[which]) {
                            owners.remove(which);
                        }
                    }
                    Happens::Dies(which) if !owners.is_empty() => drop(owners.remove(which % owners.len())),
                    Happens::Deletes(which) if !world.deletions.is_empty() => {
                        let (_, batch) = world.deletions.remove(which % world.deletions.len());
                        world.delete(&batch);
                    }
                    Happens::Sweep(which) if !owners.is_empty() => {
                        let which = which % owners.len();
                        owners[which].progress.look_from_the_beginning();
                    }
                    _ => {}
                }
            }
            // Somebody comes at last and is left alone.
            let mut last = world.takeover();
            while !world.outbox.is_empty() {
                prop_assert!(world.step(&mut last));
                for (_, batch) in std::mem::take(&mut world.deletions) {
                    world.delete(&batch);
                }
            }
            let mut published: BTreeMap<u8, Vec<u32>> = BTreeMap::new();
            for (key, version) in &world.topic {
                published.entry(*key).or_default().push(*version);
            }
            let written: BTreeMap<u8, Vec<u32>> =
                world.written.iter().map(|(key, last)| (*key, (1..=*last).collect())).collect();
            prop_assert_eq!(published, written);
            prop_assert_eq!(world.position.map_or(0, |position| position.published), world.topic.len() as i64);
        }
    }
}
