//! Stories of offsets that are set for a group, and of records that are looked into.

use std::collections::BTreeMap;

use tidegate_kafka::{CommittedOffset, ErrorCode, GroupKind, GroupState, LoggedRecord, NewTopic, TopicPartition};

use super::world::{World, code, created, eventually, keeping};

async fn committed(world: &dyn World, group: &str) -> BTreeMap<TopicPartition, i64> {
    positions(world, group).await.into_iter().map(|(key, commit)| (key, commit.offset)).collect()
}

async fn until_committed(world: &dyn World, group: &str, expected: &BTreeMap<TopicPartition, i64>) {
    eventually("the offsets", || async {
        let seen = committed(world, group).await;
        if seen == *expected { Ok(()) } else { Err(format!("{seen:?}")) }
    })
    .await;
}

pub async fn offsets_are_set_and_forgotten_for_a_group_without_members(world: &dyn World) {
    let (name, group) = (world.name("good"), world.name("group"));
    created(world, NewTopic::new(&name, 4, 3)).await;
    let key = |index| TopicPartition::new(&name, index);

    // A group that was not there begins with them.
    let first = BTreeMap::from([(key(0), 5), (key(1), 0), (key(2), 9)]);
    assert!(world.admin().set_offsets(&group, &first).await.values().all(Result::is_ok));
    until_committed(world, &group, &first).await;

    // What is not named stays, and setting twice is setting once.
    let second = BTreeMap::from([(key(0), 2), (key(3), 1)]);
    for _ in 0..2 {
        assert!(world.admin().set_offsets(&group, &second).await.values().all(Result::is_ok));
    }
    let all = BTreeMap::from([(key(0), 2), (key(1), 0), (key(2), 9), (key(3), 1)]);
    until_committed(world, &group, &all).await;

    for _ in 0..2 {
        let forgotten = world.admin().forget_offsets(&group, &[key(1), key(3)]).await;
        assert!(forgotten.values().all(Result::is_ok), "{forgotten:?}");
    }
    until_committed(world, &group, &BTreeMap::from([(key(0), 2), (key(2), 9)])).await;

    let nobody = world.name("nobody");
    let forgotten = world.admin().forget_offsets(&nobody, &[key(0)]).await;
    assert_eq!(forgotten[&key(0)], Ok(()), "there is nothing to forget");
    let none = world.name("none");
    let unknown = TopicPartition::new(&none, 0);
    let refused = world.admin().set_offsets(&group, &BTreeMap::from([(unknown.clone(), 1)])).await;
    assert_eq!(code(&refused[&unknown]), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
}

pub async fn a_classic_group_with_members_keeps_its_offsets(world: &dyn World) {
    a_group_with_members_keeps_its_offsets(world, GroupKind::Classic).await;
}

pub async fn a_kip_848_group_with_members_keeps_its_offsets(world: &dyn World) {
    a_group_with_members_keeps_its_offsets(world, GroupKind::Consumer).await;
}

async fn a_group_with_members_keeps_its_offsets(world: &dyn World, kind: GroupKind) {
    let (name, group) = (world.name("good"), world.name("group"));
    created(world, NewTopic::new(&name, 1, 3)).await;
    let key = TopicPartition::new(&name, 0);
    world.join(&group, kind, &name, 1).await;
    eventually("a stable group", || async {
        match world.admin().describe_groups(std::slice::from_ref(&group)).await.remove(&group) {
            Some(Ok(group)) if group.state == GroupState::Stable && !group.members.is_empty() => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;

    let set = world.admin().set_offsets(&group, &BTreeMap::from([(key.clone(), 7)])).await;
    assert_eq!(code(&set[&key]), ErrorCode::UNKNOWN_MEMBER_ID);
    let forgotten = world.admin().forget_offsets(&group, std::slice::from_ref(&key)).await;
    assert_eq!(code(&forgotten[&key]), ErrorCode::GROUP_SUBSCRIBED_TO_TOPIC);

    world.leave(&group).await;
    eventually("the offset is set once nobody is there", || async {
        let set = world.admin().set_offsets(&group, &BTreeMap::from([(key.clone(), 7)])).await;
        set[&key].clone().map_err(|error| error.to_string())
    })
    .await;
    until_committed(world, &group, &BTreeMap::from([(key, 7)])).await;
}

pub async fn records_are_read_with_all_that_they_carry(world: &dyn World) {
    let name = world.name("good");
    created(world, keeping(&name, 2)).await;
    let key = |index| TopicPartition::new(&name, index);
    let record = |offset: i64| LoggedRecord {
        offset,
        timestamp: 1_700_000_000_000 + offset,
        key: Some(vec![0xff, offset as u8]),
        value: (offset != 1).then(|| b"value".to_vec()),
        headers: vec![("a".into(), Some(b"1".to_vec())), ("a".into(), None), ("b".into(), Some(vec![0xfe]))],
    };
    for offset in 0..8 {
        world.append(&key(0), record(offset)).await;
    }

    let (mut read, mut next) = (Vec::new(), 2);
    loop {
        let mut portions = world.admin().read_records(&BTreeMap::from([(key(0), next)])).await;
        let portion = portions.remove(&key(0)).expect("an outcome").expect("the partition can be read");
        read.extend(portion.records);
        assert!(portion.next > next, "there is more");
        next = portion.next;
        if next == portion.end {
            break;
        }
    }
    assert_eq!(read, (2..8).map(record).collect::<Vec<_>>());
    assert_eq!(read[0].header("a"), None, "the last of the name has no value");

    let both = BTreeMap::from([(key(0), 8), (key(1), 0)]);
    for (_, portion) in world.admin().read_records(&both).await {
        let portion = portion.expect("an end can be read");
        assert_eq!((portion.records, portion.next), (Vec::new(), portion.end));
    }
    let beyond = world.admin().read_records(&BTreeMap::from([(key(0), 9)])).await;
    assert_eq!(code(&beyond[&key(0)]), ErrorCode::OFFSET_OUT_OF_RANGE);
}

pub async fn records_of_an_open_transaction_are_read_when_it_has_committed(world: &dyn World) {
    let name = world.name("good");
    created(world, keeping(&name, 1)).await;
    let key = TopicPartition::new(&name, 0);
    world.open_transaction(&key, &[1, 2]).await;
    // A broker may end an answer before the stable end that it names.
    let found = async || {
        let (mut records, mut next) = (0, 0);
        loop {
            let mut portions = world.admin().read_records(&BTreeMap::from([(key.clone(), next)])).await;
            let portion = portions.remove(&key).expect("an outcome").expect("the partition can be read");
            records += portion.records.len();
            let ends = portion.next == next || portion.next == portion.end;
            next = portion.next;
            if ends {
                return (records, next, portion.end);
            }
        }
    };
    assert_eq!(found().await, (0, 0, 0));
    world.commit_transaction(&key).await;
    eventually("both records, and the marker is passed over", || async {
        let found = found().await;
        if found == (2, 3, 3) { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await;
}

/// What a group has committed, with the text that goes with it, when its coordinator answers. It may move, and has to be loaded first then.
async fn positions(world: &dyn World, group: &str) -> BTreeMap<TopicPartition, CommittedOffset> {
    eventually("the coordinator", || async {
        let offsets = world.admin().committed_offsets(&[group.to_owned()]).await.remove(group).expect("an outcome");
        offsets.map_err(|error| error.to_string())
    })
    .await
}

pub async fn records_and_offsets_of_a_transaction_come_together_and_only_from_the_last_writer(world: &dyn World) {
    let (name, other, group) = (world.name("good"), world.name("other"), world.name("group"));
    created(world, NewTopic::new(&name, 2, 3)).await;
    created(world, NewTopic::new(&other, 1, 3)).await;
    let key = |index| TopicPartition::new(&name, index);
    let id = world.name("transaction");
    let record = |value: &str| LoggedRecord {
        key: Some(b"key".to_vec()),
        value: Some(value.as_bytes().to_vec()),
        headers: vec![("a".into(), Some(b"1".to_vec())), ("b".into(), None)],
        ..LoggedRecord::default()
    };
    let at = |offset: i64, metadata: &str| {
        let commit = CommittedOffset { offset, metadata: metadata.to_owned() };
        BTreeMap::from([(TopicPartition::new(&other, 0), commit)])
    };
    let values = async |index: i32| {
        let portion = world.admin().read_records(&BTreeMap::from([(key(index), 0)])).await.remove(&key(index));
        let records = portion.expect("an outcome").expect("the partition can be read").records;
        let value = |record: LoggedRecord| String::from_utf8(record.value.unwrap_or_default()).expect("text");
        records.into_iter().map(value).collect::<Vec<_>>()
    };

    let first = world.admin().transactor(&id).await.expect("a writer");
    let both = vec![(key(0), record("one")), (key(1), record("two"))];
    first.write(both, &group, &at(3, "3 1")).await.expect("it is written");
    eventually("the records and the offset", || async {
        let seen = (values(0).await, values(1).await, positions(world, &group).await);
        if seen == (vec!["one".into()], vec!["two".into()], at(3, "3 1")) { Ok(()) } else { Err(format!("{seen:?}")) }
    })
    .await;
    let portion = world.admin().read_records(&BTreeMap::from([(key(0), 0)])).await.remove(&key(0));
    let read = portion.expect("an outcome").expect("the partition can be read").records.remove(0);
    assert_eq!((read.key, read.headers), (record("").key, record("").headers));

    // An offset alone, and another transaction of the same writer.
    first.write(Vec::new(), &group, &at(4, "3 2")).await.expect("it is written");
    first.write(vec![(key(0), record("three"))], &group, &at(5, "4 2")).await.expect("it is written");

    let second = world.admin().transactor(&id).await.expect("another writer");
    let seen = positions(world, &group).await;
    assert_eq!(seen, at(5, "4 2"), "what the first had written is there when the second is");
    let late = first.write(vec![(key(0), record("late"))], &group, &at(9, "9 9")).await;
    assert!(late.is_err(), "{late:?}");
    second.write(vec![(key(0), record("four"))], &group, &at(6, "5 2")).await.expect("it is written");
    eventually("the last record", || async {
        let seen = (values(0).await, positions(world, &group).await);
        let expected: Vec<String> = ["one", "three", "four"].map(str::to_owned).to_vec();
        if seen == (expected, at(6, "5 2")) { Ok(()) } else { Err(format!("{seen:?}")) }
    })
    .await;
}
