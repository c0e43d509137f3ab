//! Passwords that change while a process runs.

use std::{sync::Arc, time::Duration};

use futures::future::join_all;
use tidegate_runtime::{
    kafka::Brokers,
    outbox::SHARDS,
    producer::{OutgoingRecord, Producer},
    rotation::Rotation,
    shutdown::Shutdown,
    telemetry::Metrics,
};

use crate::{
    outbox::{Running, TABLES, config, published_is_committed, stop_writing, write},
    support::{Database, Topic, eventually},
    users::{Mount, User},
};

struct Watched {
    brokers: Brokers,
    metrics: Metrics,
    shutdown: Shutdown,
}

impl Watched {
    fn start(mount: &Mount) -> Self {
        let (metrics, shutdown) = (Metrics::default(), Shutdown::new());
        let (brokers, rotation) = Rotation::new(mount.folder.clone(), mount.connection(), &metrics);
        tokio::spawn(rotation.every(Duration::from_millis(50)).run(shutdown.clone()));
        Self { brokers, metrics, shutdown }
    }

    async fn shows(&self, metric: &str) {
        eventually(metric, || async { self.metrics.render().lines().any(|line| line == metric) }).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_goes_on_with_another_password_and_publishes_each_event_once() {
    let (topic, database) = (Topic::create(4).await, Database::create(TABLES).await);
    let user = User::create("one").await;
    let mount = Mount::new(&user, "one");
    let watched = Watched::start(&mount);
    let relay = Running::start_by(watched.brokers.clone(), config(&topic.name), &database.pool);
    relay.owns_everything().await;
    let until = Shutdown::new();
    let writers = write(&database.pool, &topic.name, &until);
    eventually("the relay publishes", || async { topic.records().await.len() > 50 }).await;
    // Brokers may have learnt one after the other what the user may do.
    let failures = relay.handle.failures();
    let opened = relay.handle.takeovers();

    for (rotation, password) in [(1, "two"), (2, "three")] {
        let before = topic.records().await.len();
        eventually("the relay publishes", || async { topic.records().await.len() > before + 50 }).await;
        // In this order: connections that stand go on. A folder that is not whole, and a password that is not taken, change nothing.
        mount.swap("", false);
        watched.shows("tidegate_kafka_binding_refused 1").await;
        user.password(password).await;
        mount.swap(password, true);
        watched.shows(&format!("tidegate_kafka_binding_rotations_total {rotation}")).await;
        watched.shows("tidegate_kafka_binding_refused 0").await;
        let takeovers = opened + u64::from(SHARDS) * rotation;
        eventually("the shards are opened anew", || async { relay.handle.takeovers() == takeovers }).await;
    }
    let before = topic.records().await.len();
    eventually("the relay publishes", || async { topic.records().await.len() > before + 50 }).await;
    stop_writing(writers, &until).await;
    published_is_committed(&topic, &database.pool).await;
    assert_eq!(relay.handle.failures(), failures);
    relay.stop().await;
    watched.shutdown.begin();
    user.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_producer_goes_on_with_another_password_and_writes_each_record_once_in_its_order() {
    let topic = Topic::create(3).await;
    let user = User::create("one").await;
    let mount = Mount::new(&user, "one");
    let watched = Watched::start(&mount);
    let producer = Producer::new(watched.brokers.clone(), "test", &watched.metrics).unwrap();
    let first = Topic::create(3).await;
    for partition in 0..3 {
        // Brokers may learn one after the other what the user may do.
        let to = |topic: &Topic| OutgoingRecord {
            topic: topic.name.clone(),
            partition: Some(partition),
            ..Default::default()
        };
        eventually("the user may write", || async { producer.send(to(&first)).await.is_ok() }).await;
    }
    let until = Shutdown::new();
    let sending = {
        let (producer, until, topic) = (producer.clone(), until.clone(), Arc::<str>::from(topic.name.as_str()));
        tokio::spawn(async move {
            let mut sent = 0;
            while !until.has_begun() {
                let sends = (sent..sent + 20).map(|n| {
                    producer.send(OutgoingRecord {
                        topic: topic.to_string(),
                        key: Some(b"alice".to_vec()),
                        value: Some(n.to_string().into_bytes()),
                        ..OutgoingRecord::default()
                    })
                });
                join_all(sends).await.into_iter().for_each(|answer| assert!(answer.is_ok(), "{answer:?}"));
                sent += 20;
            }
            sent
        })
    };
    eventually("records are written", || async { topic.records().await.len() > 100 }).await;
    user.password("two").await;
    mount.swap("two", true);
    watched.shows("tidegate_kafka_binding_rotations_total 1").await;
    let before = topic.records().await.len();
    eventually("records are written", || async { topic.records().await.len() > before + 100 }).await;
    until.begin();
    let sent: usize = sending.await.unwrap();
    let values: Vec<usize> = topic
        .records()
        .await
        .into_iter()
        .map(|record| String::from_utf8(record.value.unwrap()).unwrap().parse().unwrap())
        .collect();
    assert_eq!(values, (0..sent).collect::<Vec<_>>());
    watched.shutdown.begin();
    user.remove().await;
}
