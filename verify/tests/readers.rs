//! The reader of a topic, on real brokers: it sees what a read_committed consumer sees, to the end, and counts what a group has
//! not read. Takes the variables of hack/env.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a step that does not work ends the test")]

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use rdkafka::{
    Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    consumer::{BaseConsumer, CommitMode, Consumer},
    message::{BorrowedMessage, Message},
    producer::{FutureProducer, FutureRecord, Producer},
};
use tidegate_verify::{
    environment::Kafka,
    facts::Place,
    stores::kafka::{committed_offsets, place, read_topic, unread},
};

const REQUEST: Duration = Duration::from_secs(30);

async fn produce(producer: &FutureProducer, topic: &str, values: &[&str]) {
    for value in values {
        let record = FutureRecord::to(topic).key("k").payload(*value).partition(0);
        producer.send(record, REQUEST).await.expect("the record is taken");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn committed_records_are_read_to_the_end_and_aborted_ones_are_not() {
    let kafka = Kafka::from_env().unwrap_or_else(|error| panic!("{error}"));
    let topic = format!("verify-readers-{}", uuid::Uuid::new_v4().simple());
    let admin: AdminClient<DefaultClientContext> = kafka.client_config().create().unwrap();
    let wanted = NewTopic::new(&topic, 2, TopicReplication::Fixed(3));
    admin.create_topics([&wanted], &AdminOptions::new()).await.unwrap();

    let producer: FutureProducer = kafka.client_config().set("transactional.id", &topic).create().unwrap();
    producer.init_transactions(REQUEST).unwrap();
    for (values, commit) in [(&["a", "b"][..], true), (&["lost"][..], false), (&["c"][..], true)] {
        producer.begin_transaction().unwrap();
        produce(&producer, &topic, values).await;
        if commit {
            producer.commit_transaction(REQUEST).unwrap();
        } else {
            producer.abort_transaction(REQUEST).unwrap();
        }
    }

    let read = |kafka: Kafka, topic: String, from: BTreeMap<i32, i64>| async move {
        let take = |message: &BorrowedMessage<'_>| {
            let value = message.payload().map(|value| String::from_utf8_lossy(value).into_owned());
            (place(message), value.unwrap_or_default())
        };
        let reading = move || read_topic(&kafka, &topic, &from, REQUEST, take);
        tokio::task::spawn_blocking(reading).await.unwrap().unwrap()
    };
    // The last commit was answered before its marker lies in the log, and what is behind no marker is not read.
    let deadline = Instant::now() + REQUEST;
    let records = loop {
        let records = read(kafka.clone(), topic.clone(), BTreeMap::new()).await;
        if records.len() >= 3 || Instant::now() > deadline {
            break records;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    let values = |records: &[(Place, String)]| records.iter().map(|(_, value)| value.clone()).collect::<Vec<_>>();
    assert_eq!(values(&records), ["a", "b", "c"]);
    let from = BTreeMap::from([(0, records[1].0.offset)]);
    assert_eq!(values(&read(kafka.clone(), topic.clone(), from).await), ["b", "c"]);
    assert_eq!(read(kafka.clone(), format!("{topic}-missing"), BTreeMap::new()).await, []);
    assert_eq!(committed_offsets(&kafka, &topic, &topic).unwrap().len(), 0);

    // Behind the last record lies the marker of its transaction: the group has read everything all the same.
    let next = records.last().unwrap().0.offset + 1;
    let consumer: BaseConsumer = kafka.client_config().set("group.id", &topic).create().unwrap();
    let mut offsets = TopicPartitionList::new();
    offsets.add_partition_offset(&topic, 0, Offset::Offset(next)).unwrap();
    consumer.commit(&offsets, CommitMode::Sync).unwrap();
    assert_eq!(unread(records.iter().map(|(place, _)| *place), &committed_offsets(&kafka, &topic, &topic).unwrap()), 0);

    admin.delete_groups(&[&topic], &AdminOptions::new()).await.unwrap();
    admin.delete_topics(&[&topic], &AdminOptions::new()).await.unwrap();
}
