//! Stories of the offsets of partitions.

use std::collections::BTreeMap;

use tidegate_kafka::{ErrorCode, ListedOffset, NewTopic, OffsetSpec, TopicPartition};

use super::world::{World, code, created, eventually, gone, keeping};

const ALL: [OffsetSpec; 5] = [
    OffsetSpec::Earliest,
    OffsetSpec::Latest,
    OffsetSpec::LastStable,
    OffsetSpec::Timestamp(0),
    OffsetSpec::MaxTimestamp,
];

async fn listed(world: &dyn World, key: &TopicPartition, spec: OffsetSpec) -> Option<ListedOffset> {
    let outcome =
        world.admin().list_offsets(&BTreeMap::from([(key.clone(), spec)])).await.remove(key).expect("an outcome");
    outcome.unwrap_or_else(|error| panic!("{spec:?}: {error}"))
}

async fn offset(world: &dyn World, key: &TopicPartition, spec: OffsetSpec) -> Option<i64> {
    listed(world, key, spec).await.map(|found| found.offset)
}

pub async fn an_empty_partition_begins_and_ends_at_zero(world: &dyn World) {
    let name = world.name("good");
    created(world, NewTopic::new(&name, 1, 3)).await;
    let key = TopicPartition::new(&name, 0);

    for spec in [OffsetSpec::Earliest, OffsetSpec::Latest, OffsetSpec::LastStable] {
        assert_eq!(offset(world, &key, spec).await, Some(0), "{spec:?}");
    }
    for spec in [OffsetSpec::Timestamp(0), OffsetSpec::MaxTimestamp] {
        assert_eq!(listed(world, &key, spec).await, None, "{spec:?}");
    }
}

pub async fn records_are_found_by_their_time(world: &dyn World) {
    let name = world.name("good");
    created(world, keeping(&name, 2)).await;
    let (full, empty) = (TopicPartition::new(&name, 0), TopicPartition::new(&name, 1));
    let noon = 1_767_268_800_000;
    world.produce(&full, &[noon, noon + 2_000, noon + 1_000]).await;

    assert_eq!(offset(world, &full, OffsetSpec::Earliest).await, Some(0));
    assert_eq!(offset(world, &full, OffsetSpec::Latest).await, Some(3));
    for (time, found) in [
        (0, Some((0, noon))),
        (noon, Some((0, noon))),
        (noon + 1, Some((1, noon + 2_000))),
        (noon + 2_000, Some((1, noon + 2_000))),
        (noon + 2_001, None),
    ] {
        let expected = found.map(|(offset, time)| ListedOffset { offset, timestamp: Some(time) });
        assert_eq!(listed(world, &full, OffsetSpec::Timestamp(time)).await, expected, "at {time}");
    }
    let latest = listed(world, &full, OffsetSpec::MaxTimestamp).await;
    assert_eq!(latest, Some(ListedOffset { offset: 1, timestamp: Some(noon + 2_000) }));

    let both = BTreeMap::from([(full.clone(), OffsetSpec::Latest), (empty.clone(), OffsetSpec::MaxTimestamp)]);
    let outcomes = world.admin().list_offsets(&both).await;
    assert_eq!(outcomes[&full], Ok(Some(ListedOffset { offset: 3, timestamp: None })));
    assert_eq!(outcomes[&empty], Ok(None));
}

pub async fn an_open_transaction_holds_the_last_stable_offset_back(world: &dyn World) {
    let name = world.name("good");
    created(world, keeping(&name, 1)).await;
    let key = TopicPartition::new(&name, 0);
    let noon = 1_767_268_800_000;
    world.produce(&key, &[noon, noon]).await;

    world.open_transaction(&key, &[noon, noon, noon]).await;
    assert_eq!(offset(world, &key, OffsetSpec::LastStable).await, Some(2));
    assert_eq!(offset(world, &key, OffsetSpec::Latest).await, Some(5));

    // The commit's marker takes an offset: this is why lag in records may count what no consumer ever sees.
    committed(world, &key, 6).await;
    assert_eq!(offset(world, &key, OffsetSpec::Latest).await, Some(6));
}

/// Commits the open transaction, and waits until its marker ends the partition there. Kafka answers before it writes the markers.
async fn committed(world: &dyn World, key: &TopicPartition, end: i64) {
    world.commit_transaction(key).await;
    eventually("the marker", || async {
        match offset(world, key, OffsetSpec::LastStable).await {
            Some(stable) if stable == end => Ok(()),
            other => Err(format!("{other:?} instead of {end}")),
        }
    })
    .await;
}

/// Records that can be read at or behind each of the offsets.
async fn records<const N: usize>(world: &dyn World, key: &TopicPartition, from: [i64; N]) -> [i64; N] {
    let mut found = [0; N];
    for (found, from) in found.iter_mut().zip(from) {
        let outcome = world.admin().records_from(&BTreeMap::from([(key.clone(), from)])).await;
        *found = outcome[key].clone().unwrap_or_else(|error| panic!("from {from}: {error}")).records;
    }
    found
}

pub async fn markers_of_transactions_are_nothing_to_read(world: &dyn World) {
    let name = world.name("good");
    created(world, keeping(&name, 1)).await;
    let key = TopicPartition::new(&name, 0);
    let noon = 1_767_268_800_000;
    assert_eq!(records(world, &key, [0]).await, [0], "an empty partition");
    world.produce(&key, &[noon, noon]).await;

    world.open_transaction(&key, &[noon]).await;
    assert_eq!(records(world, &key, [0, 1, 2]).await, [2, 1, 0], "what is not committed is not there yet");

    committed(world, &key, 4).await;
    assert_eq!(records(world, &key, [0, 2, 3, 4]).await, [3, 1, 0, 0], "the marker is at 3");

    world.produce(&key, &[noon]).await;
    assert_eq!(records(world, &key, [3, 5]).await, [1, 0]);
    let beyond = world.admin().records_from(&BTreeMap::from([(key.clone(), 99)])).await;
    assert_eq!(code(&beyond[&key]), ErrorCode::OFFSET_OUT_OF_RANGE);
}

pub async fn the_first_record_that_can_be_read_is_told_with_its_time(world: &dyn World) {
    let name = world.name("good");
    created(world, keeping(&name, 2)).await;
    let (key, other) = (TopicPartition::new(&name, 0), TopicPartition::new(&name, 1));
    let noon = 1_767_268_800_000;
    world.produce(&key, &[noon, noon + 60_000]).await;
    world.produce(&other, &[noon + 1]).await;
    world.open_transaction(&key, &[noon + 120_000]).await;
    committed(world, &key, 4).await;
    world.produce(&key, &[noon + 180_000]).await;

    let first = |at: i64, time: i64| Some(ListedOffset { offset: at, timestamp: Some(time) });
    for (from, expected, why) in [
        (0, first(0, noon), "the first"),
        (1, first(1, noon + 60_000), "the second"),
        (2, first(2, noon + 120_000), "one of a transaction"),
        (3, first(4, noon + 180_000), "the marker is at 3"),
        (5, None, "the end"),
    ] {
        eventually(why, || async {
            let wanted = BTreeMap::from([(key.clone(), from), (other.clone(), 0)]);
            let outcomes = world.admin().records_from(&wanted).await;
            let [seen, beside] = [&key, &other].map(|key| outcomes[key].as_ref().map(|found| found.first));
            if seen == Ok(expected) && beside == Ok(first(0, noon + 1)) {
                Ok(())
            } else {
                Err(format!("{seen:?} {beside:?}"))
            }
        })
        .await;
    }
}

pub async fn a_topic_made_anew_is_found_where_it_is_now(world: &dyn World) {
    let name = world.name("good");
    let topic = created(world, NewTopic::new(&name, 1, 3)).await;
    let key = TopicPartition::new(&name, 0);
    world.produce(&key, &[1, 2, 3]).await;
    assert_eq!(offset(world, &key, OffsetSpec::Latest).await, Some(3));

    assert_eq!(world.admin().delete_topics(&[topic.id]).await[&topic.id], Ok(()));
    gone(world, &name).await;
    created(world, NewTopic::new(&name, 1, 1)).await;

    eventually("the new end", || async {
        match world.admin().list_offsets(&BTreeMap::from([(key.clone(), OffsetSpec::Latest)])).await.remove(&key) {
            Some(Ok(Some(ListedOffset { offset: 0, .. }))) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}

pub async fn a_partition_that_does_not_exist_is_unknown_to_every_kind_of_lookup(world: &dyn World) {
    let name = world.name("good");
    created(world, NewTopic::new(&name, 1, 3)).await;
    let (there, beyond, nowhere) =
        (TopicPartition::new(&name, 0), TopicPartition::new(&name, 7), TopicPartition::new(world.name("none"), 0));

    for spec in ALL {
        let wanted = [&there, &beyond, &nowhere].map(|key| (key.clone(), spec)).into();
        let outcomes = world.admin().list_offsets(&wanted).await;

        assert!(outcomes[&there].is_ok(), "{spec:?}: {:?}", outcomes[&there]);
        for key in [&beyond, &nowhere] {
            assert_eq!(code(&outcomes[key]), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, "{spec:?}: {:?}", outcomes[key]);
        }
    }
}
