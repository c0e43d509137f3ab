//! How far partitions are, on the way to Kafka.
//!
//! A transaction moves a partition's offset too, and Kafka keeps whichever it wrote last: an offset that is told beside a transaction may be older
//! and win. So what is being told is waited for before a transaction takes its offset, and nothing is told until it has ended.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use rdkafka::{Offset, TopicPartitionList, error::KafkaResult};

/// After that nothing comes of what was sent: clients give up a request after a minute.
const FORGOTTEN: Duration = Duration::from_secs(120);

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
    landed: Condvar,
}

#[derive(Debug, Default)]
struct Known {
    latest: HashMap<Name, Latest>,
    /// Tellings that are not answered, and when the last of them began.
    flying: HashMap<Name, (u32, Instant)>,
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
        let mut known = self.lock();
        match known.latest.get_mut(&(Arc::clone(topic), partition)) {
            Some(before) if before.offset == latest.offset && before.metadata == latest.metadata => {
                before.told |= latest.told;
            }
            Some(before) => *before = latest,
            None => {
                known.latest.insert((Arc::clone(topic), partition), latest);
            }
        }
    }

    /// A transaction is about to move the partition: Kafka is told nothing of it until it is released.
    pub(super) fn hold(&self, topic: &Arc<str>, partition: i32) {
        self.lock().held.insert((Arc::clone(topic), partition));
    }

    /// The transaction has ended.
    pub(super) fn release(&self, topic: &Arc<str>, partition: i32) {
        self.lock().held.remove(&(Arc::clone(topic), partition));
    }

    /// Waits until nothing that was told of those partitions is under way; false if that takes longer. Blocks.
    pub(super) fn settled<'a>(&self, partitions: impl Iterator<Item = (&'a Arc<str>, i32)>, within: Duration) -> bool {
        let names: Vec<Name> = partitions.map(|(topic, partition)| (Arc::clone(topic), partition)).collect();
        let is_flying = |known: &mut Known| {
            let is_flying = |name| known.flying.get(name).is_some_and(|(_, begun)| begun.elapsed() < FORGOTTEN);
            names.iter().any(is_flying)
        };
        let waited = self.landed.wait_timeout_while(self.lock(), within, is_flying);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    /// Kafka has answered.
    pub(super) fn landed(&self, list: &TopicPartitionList) {
        self.land(&mut self.lock(), list);
    }

    /// Telling failed. The latest are to be told; these may not be, any more.
    pub(super) fn failed(&self, list: &TopicPartitionList) {
        let mut known = self.lock();
        for element in list.elements() {
            if let Some(latest) = known.latest.get_mut(&(element.topic().into(), element.partition())) {
                latest.told = false;
            }
        }
        self.land(&mut known, list);
    }

    fn land(&self, known: &mut Known, list: &TopicPartitionList) {
        for element in list.elements() {
            let name = (element.topic().into(), element.partition());
            match known.flying.get_mut(&name) {
                Some((count, _)) if *count > 1 => *count -= 1,
                _ => drop(known.flying.remove(&name)),
            }
        }
        self.landed.notify_all();
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

    /// Those that Kafka is to be told of; none if there are none. Whether that [failed](Offsets::failed) or [not](Offsets::landed) is to be
    /// said.
    pub(super) fn take(&self) -> KafkaResult<Option<TopicPartitionList>> {
        let mut known = self.lock();
        let Known { latest, flying, held } = &mut *known;
        let mut list = TopicPartitionList::new();
        for (name, latest) in latest.iter_mut().filter(|(name, latest)| !latest.told && !held.contains(*name)) {
            let mut element = list.add_partition(&name.0, name.1);
            element.set_offset(Offset::Offset(latest.offset))?;
            if !latest.metadata.is_empty() {
                element.set_metadata(&*latest.metadata);
            }
            latest.told = true;
            let (count, begun) = flying.entry(name.clone()).or_insert((0, Instant::now()));
            (*count, *begun) = (*count + 1, Instant::now());
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
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
    fn a_transaction_waits_for_what_is_being_told_and_nothing_is_told_beside_it() {
        let (offsets, topic) = (Offsets::default(), Arc::<str>::from("t"));
        let settled = || offsets.settled([(&topic, 0)].into_iter(), Duration::from_millis(20));
        offsets.reached(&topic, 0, 5, &"".into());
        let first = offsets.take().unwrap().unwrap();
        offsets.reached(&topic, 0, 6, &"".into());
        let second = offsets.take().unwrap().unwrap();
        assert!(offsets.settled([(&topic, 1)].into_iter(), Duration::ZERO), "another partition is another matter");

        offsets.hold(&topic, 0);
        assert!(!settled());
        offsets.landed(&first);
        assert!(!settled());
        offsets.failed(&second);
        assert!(settled());
        assert_eq!(taken(&offsets), [], "it failed, and is held");

        offsets.reached(&topic, 0, 9, &"".into());
        offsets.release(&topic, 0);
        assert_eq!(taken(&offsets), [(9, String::new())]);
    }
}
