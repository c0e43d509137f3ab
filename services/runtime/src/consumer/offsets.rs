//! How far partitions are, on the way to Kafka.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use rdkafka::{Offset, TopicPartitionList, error::KafkaResult};

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
    latest: Mutex<HashMap<(Arc<str>, i32), Latest>>,
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
        let mut offsets = self.lock();
        match offsets.get_mut(&(Arc::clone(topic), partition)) {
            Some(before) if before.offset == latest.offset && before.metadata == latest.metadata => {
                before.told |= latest.told;
            }
            Some(before) => *before = latest,
            None => {
                offsets.insert((Arc::clone(topic), partition), latest);
            }
        }
    }

    /// Telling failed. The latest are to be told; these may not be, any more.
    pub(super) fn failed(&self, list: &TopicPartitionList) {
        let mut offsets = self.lock();
        for element in list.elements() {
            if let Some(latest) = offsets.get_mut(&(element.topic().into(), element.partition())) {
                latest.told = false;
            }
        }
    }

    /// The partitions are somebody else's to tell of.
    pub(super) fn forget(&self, list: &TopicPartitionList) {
        let mut offsets = self.lock();
        for element in list.elements() {
            offsets.remove(&(element.topic().into(), element.partition()));
        }
    }

    /// Those that Kafka is to be told of; none if there are none.
    pub(super) fn take(&self) -> KafkaResult<Option<TopicPartitionList>> {
        let mut offsets = self.lock();
        let mut list = TopicPartitionList::new();
        for ((topic, partition), latest) in offsets.iter_mut().filter(|(_, latest)| !latest.told) {
            let mut element = list.add_partition(topic, *partition);
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
        let offsets = self.lock();
        let told = offsets.iter().filter(|(_, latest)| latest.told);
        told.map(|((topic, partition), latest)| (Arc::clone(topic), *partition, latest.offset)).collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<(Arc<str>, i32), Latest>> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
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
}
