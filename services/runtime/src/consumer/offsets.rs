//! How far partitions are, on the way to Kafka.
//!
//! A transaction moves a partition's offset too, and Kafka keeps whichever it wrote last: an offset that is told beside a transaction may be
//! the older one, and win. So a partition is held while a transaction is about it, and the transaction waits for what is being told.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rdkafka::{Offset, TopicPartitionList, error::KafkaResult};

/// A partition.
type Name = (Arc<str>, i32);

/// An offset, and the metadata that goes with it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Latest {
    offset: i64,
    metadata: Arc<str>,
    told: bool,
}

/// The latest offset of each partition, and whether Kafka was told of it.
#[derive(Debug, Default)]
pub(super) struct Offsets {
    known: Mutex<Known>,
    /// Locked while Kafka is being told.
    telling: Mutex<()>,
}

#[derive(Debug, Default)]
struct Known {
    latest: HashMap<Name, Latest>,
    /// A transaction is about these.
    held: HashSet<Name>,
}

impl Offsets {
    /// The partition is there now.
    pub(super) fn reached(&self, topic: &Arc<str>, partition: i32, offset: i64, metadata: &Arc<str>) {
        self.set(topic, partition, Latest { offset, metadata: Arc::clone(metadata), told: false });
    }

    /// The partition is there now, and Kafka knows.
    pub(super) fn told(&self, topic: &Arc<str>, partition: i32, offset: i64, metadata: &Arc<str>) {
        self.set(topic, partition, Latest { offset, metadata: Arc::clone(metadata), told: true });
    }

    fn set(&self, topic: &Arc<str>, partition: i32, latest: Latest) {
        let latest_of = &mut self.lock().latest;
        match latest_of.get_mut(&(Arc::clone(topic), partition)) {
            Some(before) if before.offset == latest.offset && before.metadata == latest.metadata => {
                before.told |= latest.told;
            }
            Some(before) => *before = latest,
            None => {
                latest_of.insert((Arc::clone(topic), partition), latest);
            }
        }
    }

    /// A transaction is about to move the partition: Kafka is told nothing else of it until it is released.
    pub(super) fn hold(&self, topic: &Arc<str>, partition: i32) {
        self.lock().held.insert((Arc::clone(topic), partition));
    }

    /// No transaction is about the partition any more.
    pub(super) fn release(&self, topic: &Arc<str>, partition: i32) {
        self.lock().held.remove(&(Arc::clone(topic), partition));
    }

    /// Waits until Kafka has answered what it is being told. Of partitions that were held before, nothing is under way then. Blocks.
    pub(super) fn wait(&self) {
        drop(guard(&self.telling));
    }

    /// Tells Kafka of those that it was not told of, one telling at a time; what was told, if anything was. `commit` returns when Kafka
    /// has answered where [`wait`](Offsets::wait) is to be of use.
    pub(super) fn tell(
        &self,
        commit: impl FnOnce(&TopicPartitionList) -> KafkaResult<()>,
    ) -> KafkaResult<Option<TopicPartitionList>> {
        let _telling = guard(&self.telling);
        let Some(list) = self.take()? else { return Ok(None) };
        commit(&list).inspect_err(|_| self.failed(&list))?;
        Ok(Some(list))
    }

    /// Telling failed. The latest are to be told; these may not be, any more.
    pub(super) fn failed(&self, list: &TopicPartitionList) {
        let mut known = self.lock();
        for element in list.elements() {
            if let Some(latest) = known.latest.get_mut(&(element.topic().into(), element.partition())) {
                latest.told = false;
            }
        }
    }

    /// The partitions are somebody else's to tell of.
    pub(super) fn forget(&self, list: &TopicPartitionList) {
        let mut known = self.lock();
        for element in list.elements() {
            let name = (element.topic().into(), element.partition());
            known.latest.remove(&name);
            known.held.remove(&name);
        }
    }

    /// Those that Kafka is to be told of; none if there are none.
    fn take(&self) -> KafkaResult<Option<TopicPartitionList>> {
        let mut known = self.lock();
        let Known { latest, held } = &mut *known;
        let mut list = TopicPartitionList::new();
        for (name, latest) in latest.iter_mut().filter(|(name, latest)| !latest.told && !held.contains(*name)) {
            let mut element = list.add_partition(&name.0, name.1);
            element.set_offset(Offset::Offset(latest.offset))?;
            if !latest.metadata.is_empty() {
                element.set_metadata(&*latest.metadata);
            }
            latest.told = true;
        }
        Ok(Some(list).filter(|list| list.count() > 0))
    }

    /// Those that Kafka was told of.
    pub(super) fn all_told(&self) -> Vec<(Arc<str>, i32, i64)> {
        let known = self.lock();
        let told = known.latest.iter().filter(|(_, latest)| latest.told);
        told.map(|((topic, partition), latest)| (Arc::clone(topic), *partition, latest.offset)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        guard(&self.known)
    }
}

fn guard<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(offsets: &Offsets) -> Vec<(i64, String)> {
        let list = offsets.take().unwrap();
        let of = |list: TopicPartitionList| {
            list.elements().iter().map(|e| (e.offset().to_raw().unwrap(), e.metadata().to_owned())).collect()
        };
        list.map(of).unwrap_or_default()
    }

    #[test]
    fn only_the_latest_offset_is_told_and_a_failure_never_brings_back_an_older_one() {
        let (offsets, topic) = (Offsets::default(), Arc::<str>::from("t"));
        offsets.reached(&topic, 0, 5, &"".into());
        let first = offsets.take().unwrap().unwrap();
        assert_eq!(first.count(), 1);
        offsets.reached(&topic, 0, 7, &"m".into());
        assert_eq!(taken(&offsets), [(7, "m".to_owned())]);
        assert_eq!(taken(&offsets), []);
        offsets.failed(&first);
        assert_eq!(taken(&offsets), [(7, "m".to_owned())]);
        offsets.forget(&first);
        offsets.failed(&first);
        assert_eq!(taken(&offsets), []);
    }

    #[test]
    fn what_a_transaction_told_is_not_told_again() {
        let (offsets, topic) = (Offsets::default(), Arc::<str>::from("t"));
        offsets.told(&topic, 0, 5, &"".into());
        offsets.reached(&topic, 0, 5, &"".into());
        assert_eq!(taken(&offsets), []);
        offsets.reached(&topic, 0, 6, &"".into());
        assert_eq!(taken(&offsets), [(6, String::new())]);
    }

    #[test]
    fn what_is_held_is_told_when_it_is_released_and_a_transaction_waits_for_what_is_being_told() {
        let (offsets, topic) = (Offsets::default(), Arc::<str>::from("t"));
        offsets.hold(&topic, 0);
        offsets.reached(&topic, 0, 5, &"".into());
        offsets.reached(&topic, 1, 8, &"".into());
        assert_eq!(taken(&offsets), [(8, String::new())]);
        offsets.release(&topic, 0);

        let (tells, told) = std::sync::mpsc::channel();
        let (waits, waited) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            let offsets = &offsets;
            scope.spawn(move || {
                let telling = offsets.tell(|_| {
                    tells.send(()).unwrap();
                    let early = waited.recv_timeout(std::time::Duration::from_millis(50));
                    assert!(early.is_err(), "it did not wait");
                    Ok(())
                });
                assert_eq!(telling.unwrap().map(|list| list.count()), Some(1));
            });
            told.recv().unwrap();
            offsets.hold(&topic, 0);
            offsets.wait();
            let _ = waits.send(());
        });
        offsets.reached(&topic, 0, 6, &"".into());
        assert_eq!(taken(&offsets), []);
    }
}
