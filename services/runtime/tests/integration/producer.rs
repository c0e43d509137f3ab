//! A record is written once, where its key belongs, in its order, and answered for; one that is too large is refused by name.

use futures::future::join_all;
use tidegate_contracts::partition;
use tidegate_runtime::{
    kafka::MAX_RECORD_BYTES,
    producer::{OutgoingRecord, ProduceError, Producer},
    telemetry::Metrics,
};

use crate::support::{Topic, kafka, soon};

fn producer(metrics: &Metrics) -> Producer {
    Producer::new(kafka(), "test", metrics).unwrap()
}

fn record(topic: &Topic, key: &str, value: impl Into<Vec<u8>>) -> OutgoingRecord {
    OutgoingRecord {
        topic: topic.name.clone(),
        key: Some(key.into()),
        value: Some(value.into()),
        ..OutgoingRecord::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_is_written_as_it_was_given_where_javas_clients_place_its_key() {
    // The records are of 1970: retention would have them.
    let topic = Topic::create_with(10, &[("retention.ms", "-1")]).await;
    let metrics = Metrics::default();
    let producer = producer(&metrics);
    let headers =
        vec![("a".to_owned(), Some(b"1".to_vec())), ("b".to_owned(), None), ("a".to_owned(), Some(vec![0xff]))];
    for (key, expected) in [("alice-eur", 4), ("bob-eur", 2), ("carol-jpy", 6), ("wallet-1", 3)] {
        let sent = OutgoingRecord { headers: headers.clone(), timestamp: Some(1_000), ..record(&topic, key, "value") };
        let (partition, offset) = soon("the answer", producer.send(sent)).await.unwrap();
        assert_eq!((partition, offset), (expected, 0), "{key}");
        assert_eq!(partition, partition::of_key(key.as_bytes(), 10) as i32, "{key}");
    }
    let tombstone = OutgoingRecord { partition: Some(9), value: None, ..record(&topic, "alice-eur", "") };
    assert_eq!(soon("the answer", producer.send(tombstone)).await.unwrap(), (9, 0));

    let records = topic.records().await;
    assert_eq!(records.len(), 5);
    let alice = records.iter().find(|record| record.partition == 4).unwrap();
    assert_eq!(alice.headers, headers);
    assert_eq!((alice.timestamp, alice.value.as_deref()), (Some(1_000), Some(&b"value"[..])));
    let tombstone = records.iter().find(|record| record.partition == 9).unwrap();
    assert_eq!((tombstone.key.as_deref(), tombstone.value.as_deref()), (Some(&b"alice-eur"[..]), None));
    let rendered = metrics.render();
    let sent = format!("tidegate_producer_records_sent_total{{topic=\"{}\"}} 5", topic.name);
    assert!(rendered.contains(&sent) && rendered.contains("tidegate_producer_records_in_flight 0"), "{rendered}");
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_are_under_way_together_keep_their_order() {
    let topic = Topic::create(3).await;
    let producer = producer(&Metrics::default());
    let sends = (0..3000).map(|n| producer.send(record(&topic, &format!("key-{}", n % 7), n.to_string())));
    for answer in soon("the answers", join_all(sends)).await {
        answer.unwrap();
    }
    let mut last = [-1; 7];
    for record in topic.records().await {
        let n: i32 = String::from_utf8(record.value.unwrap()).unwrap().parse().unwrap();
        let key = (n % 7) as usize;
        assert!(n > last[key], "{n} came behind {}", last[key]);
        last[key] = n;
    }
    assert_eq!(last.into_iter().max(), Some(2999));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_of_ten_megabytes_passes_and_a_larger_one_is_refused_by_name_before_it_is_sent() {
    let topic = Topic::create_with(1, &[("max.message.bytes", "10551296")]).await;
    let small = Topic::create_with(1, &[("max.message.bytes", "2000")]).await;
    let metrics = Metrics::default();
    let producer = producer(&metrics);
    // Bytes that do not compress.
    let mut state = 1_u64;
    let mut random = |bytes: usize| -> Vec<u8> {
        let next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        };
        std::iter::repeat_with(next).take(bytes).collect()
    };
    let largest = random(10 * 1024 * 1024);
    soon("the answer", producer.send(record(&topic, "alice", largest.clone()))).await.unwrap();
    assert_eq!(topic.records().await[0].value.as_ref(), Some(&largest));

    let error = producer.send(record(&topic, "alice", vec![0; MAX_RECORD_BYTES])).await.unwrap_err();
    assert!(error.is_too_large());
    let bytes = MAX_RECORD_BYTES + 5;
    assert_eq!(
        error.to_string(),
        format!("a record for {} is {bytes} bytes; the most is {MAX_RECORD_BYTES}", topic.name)
    );
    let error = soon("the answer", producer.send(record(&small, "alice", random(3000)))).await.unwrap_err();
    assert!(matches!(&error, ProduceError::TooLargeForTopic { bytes: 3005, .. }), "{error}");
    // One that was refused does not stand in the way of the next.
    soon("the answer", producer.send(record(&small, "alice", random(1000)))).await.unwrap();
    producer.flush().await;
    assert!(metrics.render().contains("tidegate_producer_records_in_flight 0"), "{}", metrics.render());
}
