//! The reader of a topic, on real brokers: it sees what a read_committed consumer sees, to the end, and counts what a group has
//! not read. Takes the variables of hack/env.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a step that does not work ends the test")]

use std::time::Duration;

use rdkafka::{
    Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    consumer::{BaseConsumer, CommitMode, Consumer},
    producer::{FutureProducer, FutureRecord, Producer},
};
use tidegate_verify::{
    environment::Kafka,
    stores::kafka::{committed_offsets, read_topic, unread},
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

    let read = |kafka: Kafka, topic: String| async move {
        tokio::task::spawn_blocking(move || read_topic(&kafka, &topic, REQUEST)).await.unwrap().unwrap()
    };
    let records = read(kafka.clone(), topic.clone()).await;
    let values: Vec<&str> = records.iter().map(|record| std::str::from_utf8(&record.value).unwrap()).collect();
    assert_eq!(values, ["a", "b", "c"]);
    assert_eq!(committed_offsets(&kafka, &topic, &topic).unwrap().len(), 0);

    // Behind the last record lies the marker of its transaction: the group has read everything all the same.
    let next = records.last().unwrap().offset + 1;
    let consumer: BaseConsumer = kafka.client_config().set("group.id", &topic).create().unwrap();
    let mut offsets = TopicPartitionList::new();
    offsets.add_partition_offset(&topic, 0, Offset::Offset(next)).unwrap();
    consumer.commit(&offsets, CommitMode::Sync).unwrap();
    assert_eq!(unread(&records, &committed_offsets(&kafka, &topic, &topic).unwrap()), 0);

    admin.delete_groups(&[&topic], &AdminOptions::new()).await.unwrap();
    admin.delete_topics(&[&topic], &AdminOptions::new()).await.unwrap();
}
