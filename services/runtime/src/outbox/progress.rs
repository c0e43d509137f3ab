//! How far each shard is: which rows are to be published next, and which are published and not yet deleted. Pure.
//!
//! Two rules make each event appear once. A batch's transaction is committed only when the rows of the batch before it are deleted:
//! so the position names all rows that can be both published and there. And whoever takes the shard deletes the rows that the position
//! names, if they are still there, before it publishes.

use std::collections::BTreeMap;

use super::{
    SHARDS,
    position::{Batch, Position, RowKey},
    rows::Row,
};

/// How far an owner is with all its shards, which are published together.
#[derive(Clone, Debug)]
pub(super) struct Shards([Progress; SHARDS as usize]);

impl Shards {
    /// Goes on from the shards' positions, whose batches are deleted.
    pub(super) fn from(positions: &[Option<Position>]) -> Self {
        let of = |shard: usize| Progress::from(positions.get(shard).and_then(Option::as_ref));
        Self(std::array::from_fn(of))
    }

    /// Of each shard, the row behind which the next ones are looked for.
    pub(super) fn after(&self) -> Vec<RowKey> {
        self.0.iter().map(|progress| progress.after().unwrap_or(RowKey::FIRST)).collect()
    }

    /// The positions behind those rows, of the shards that they are of. Each shard's are in order.
    pub(super) fn behind(&self, rows: &[Row]) -> Vec<(i16, Position)> {
        let mut batches: BTreeMap<i16, (usize, Batch)> = BTreeMap::new();
        for Row { shard, key, created, .. } in rows {
            let first = Batch { first: *key, last: *key, last_created: *created };
            let (rows, batch) = batches.entry(*shard).or_insert((0, first));
            *rows += 1;
            *batch = Batch { first: batch.first, last: *key, last_created: *created };
        }
        let position = |(shard, (rows, batch))| Some((shard, self.of(shard)?.behind(rows, batch)));
        batches.into_iter().filter_map(position).collect()
    }

    /// They were committed.
    pub(super) fn committed(&mut self, positions: &[(i16, Position)]) {
        for (shard, position) in positions {
            if let Some(progress) = self.0.get_mut(usize::from(shard.unsigned_abs())) {
                progress.committed(position);
            }
        }
    }

    /// Everything that is published is deleted.
    pub(super) fn deleted(&mut self) {
        self.0.iter_mut().for_each(Progress::deleted);
    }

    /// Whether everything that is published is deleted, without which no other batch may be committed.
    pub(super) fn all_deleted(&self) -> bool {
        self.0.iter().all(|progress| progress.undeleted().is_none())
    }

    /// The next look begins at the first row of each shard.
    pub(super) fn look_from_the_beginning(&mut self) {
        self.0.iter_mut().for_each(Progress::look_from_the_beginning);
    }

    fn of(&self, shard: i16) -> Option<&Progress> {
        self.0.get(usize::from(shard.unsigned_abs()))
    }
}

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

    #[test]
    fn a_transactions_rows_make_a_batch_of_each_shard_and_others_stay_where_they_are() {
        let row = |shard, transaction_id, id| Row {
            shard,
            key: RowKey { transaction_id, id },
            created: id * 10,
            topic: String::new(),
            record_key: Vec::new(),
            headers: Vec::new(),
            payload: Vec::new(),
        };
        let key = |transaction_id, id| RowKey { transaction_id, id };
        let batch = |first, last: RowKey| Batch { first, last, last_created: last.id * 10 };
        let before = Position { published: 7, batch: batch(key(1, 1), key(1, 1)) };
        let mut shards = Shards::from(&[None, None, Some(before)]);
        let positions = shards.behind(&[row(2, 5, 8), row(0, 5, 9), row(2, 5, 10), row(2, 6, 3)]);
        let zeroth = Position { published: 1, batch: batch(key(5, 9), key(5, 9)) };
        let second = Position { published: 10, batch: batch(key(5, 8), key(6, 3)) };
        assert_eq!(positions, [(0, zeroth), (2, second)]);
        shards.committed(&positions);
        assert_eq!(shards.after(), [key(5, 9), RowKey::FIRST, key(6, 3)]);
        assert!(!shards.all_deleted());
        shards.look_from_the_beginning();
        assert_eq!(shards.after()[2], key(6, 3), "what is published may still be there");
        shards.deleted();
        assert!(shards.all_deleted());
        shards.look_from_the_beginning();
        assert_eq!(shards.after(), [RowKey::FIRST; 3]);
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
