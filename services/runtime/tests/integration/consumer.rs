//! A record is handled, parked or a dead letter, and the order of its key holds: whatever fails, and whoever dies or wakes up late.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use tidegate_contracts::headers;
use tidegate_runtime::{
    consumer::{ConsumerConfig, GroupProtocol, HandlerError, Record},
    rotation::Rotation,
    shutdown::Shutdown,
    telemetry::Metrics,
};
use tidegate_settings::{
    RetryMode,
    binding::{KafkaConnection, KafkaSecurity},
};

use crate::{
    stream::{Member, Script, Stream, accounted_for, committed_all, in_order, numbered},
    support::{all_are_done, eventually, kafka},
};

#[tokio::test(flavor = "multi_thread")]
async fn keys_go_at_once_and_each_in_its_order() {
    let stream = Stream::create(2).await;
    stream.source.produce(numbered(0, 200, 20)).await;
    let script = Script::new(|_, _| None).slow(Duration::from_millis(20));
    let begun = Instant::now();
    let member = Member::start(stream.config(), script.clone());
    eventually("everything is handled", || async { script.handled().len() == 200 }).await;
    assert!(script.most_at_once.load(Ordering::SeqCst) > 4, "keys waited for each other: {:?}", begun.elapsed());
    in_order(&script.handled());
    committed_all(&stream).await;
    assert_eq!(member.metric("tidegate_consumer_records_handled_total"), 200.0);
    member.stop().await;
    let again = Script::new(|_, _| None);
    let member = Member::start(stream.config(), again.clone());
    stream.source.produce(numbered(200, 201, 20)).await;
    eventually("what is new is handled", || async { !again.handled().is_empty() }).await;
    assert_eq!(again.handled().len(), 1, "what was committed came again");
    member.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_is_parked_with_its_key_and_others_go_on() {
    let stream = Stream::create(1).await;
    let open = Arc::new(AtomicU32::new(0));
    let gate = Arc::clone(&open);
    // Key 3 fails until the gate is open.
    let script = Script::new(move |value, _| {
        let number: u32 = value.parse().unwrap();
        (number == 3 && gate.load(Ordering::SeqCst) == 0).then(|| HandlerError::retry("not yet"))
    });
    let mut config = stream.config();
    config.retry.as_mut().unwrap().attempts = Some(1000);
    let member = Member::start(config, script.clone());
    stream.source.produce(numbered(0, 100, 10)).await;
    eventually("the other keys are handled", || async { script.handled().len() == 90 }).await;
    eventually("the key is parked", || async { member.metric("tidegate_consumer_records_parked_total") == 10.0 }).await;
    committed_all(&stream).await;
    assert!(!script.handled().iter().any(|seen| seen.key == "key-3"));
    open.store(1, Ordering::SeqCst);
    eventually("all is handled", || async { script.handled().len() == 100 }).await;
    in_order(&script.handled());
    eventually("nothing is parked", || async { member.metric("tidegate_consumer_records_waiting") == 0.0 }).await;
    // The key goes straight through again.
    stream.source.produce(numbered(103, 104, 10)).await;
    eventually("what came later is handled", || async { script.handled().len() == 101 }).await;
    assert_eq!(member.metric("tidegate_consumer_records_parked_total"), 10.0);
    member.stop().await;
    accounted_for(&stream, &script.handled()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_holds_its_key_until_it_is_skipped_or_sent_again() {
    let stream = Stream::create(1).await;
    let healed = Arc::new(AtomicU32::new(0));
    let medicine = Arc::clone(&healed);
    let script = Script::new(move |value, _| match value {
        "1" => Some(HandlerError::poison("nobody can read this")),
        "2" if medicine.load(Ordering::SeqCst) == 0 => Some(HandlerError::retry("it is broken")),
        _ => None,
    });
    let member = Member::start(stream.config(), script.clone());
    stream.source.produce(numbered(0, 40, 4)).await;
    eventually("two keys are quarantined", || async { member.metric("tidegate_consumer_keys_quarantined") == 2.0 })
        .await;
    eventually("the other two are handled", || async { script.handled().len() == 20 }).await;
    committed_all(&stream).await;
    let mut dead = stream.dead.records_once(|dead| dead.len() >= 2).await;
    dead.sort_by_key(|record| record.value.clone());
    assert_eq!(dead.len(), 2);
    let (one, two) = (&dead[0], &dead[1]);
    assert_eq!((one.key.as_deref(), one.value.as_deref()), (Some(b"key-1".as_slice()), Some(b"1".as_slice())));
    let header = |record: &Record, name: &str| record.header(name).unwrap().to_owned();
    assert_eq!(header(one, headers::ERROR_CLASS), "Poison");
    assert_eq!(header(one, headers::ERROR), "for good: nobody can read this");
    assert_eq!(header(one, headers::GROUP), stream.group);
    assert_eq!(header(one, headers::ORIGIN_TOPIC), stream.source.name);
    assert_eq!((header(one, headers::ORIGIN_PARTITION), header(one, headers::ORIGIN_OFFSET)), ("0".into(), "1".into()));
    assert_eq!((header(two, headers::ERROR_CLASS), header(two, headers::ATTEMPTS)), ("Exhausted".into(), "3".into()));
    // Another owner still knows.
    member.stop().await;
    let member = Member::start(stream.config(), script.clone());
    stream.source.produce(numbered(40, 44, 4)).await;
    eventually("the free keys go on", || async { script.handled().len() == 22 }).await;
    assert_eq!(member.metric("tidegate_consumer_keys_quarantined"), 2.0);
    stream.say("skip", one).await;
    eventually("the skipped one's key goes on", || async { script.handled().len() == 22 + 10 }).await;
    healed.store(1, Ordering::SeqCst);
    stream.say("redrive", two).await;
    stream.say("redrive", two).await;
    stream.say("skip", one).await;
    eventually("the one sent again and its key go on", || async { script.handled().len() == 32 + 11 }).await;
    eventually("no key is quarantined", || async { member.metric("tidegate_consumer_keys_quarantined") == 0.0 }).await;
    eventually("nothing waits", || async { member.metric("tidegate_consumer_records_waiting") == 0.0 }).await;
    in_order(&script.handled());
    assert_eq!(member.metric("tidegate_consumer_dead_letters_skipped_total"), 1.0);
    assert_eq!(member.metric("tidegate_consumer_dead_letters_redriven_total"), 1.0);
    member.stop().await;
    accounted_for(&stream, &script.handled()).await;
    assert_eq!(script.handled().iter().filter(|seen| seen.value == "2").count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_is_a_try_and_a_record_without_a_key_holds_nobody_up() {
    let stream = Stream::create(1).await;
    let script = Script::new(|value, came| match (value, came) {
        ("panics once", 0) => Some(HandlerError::poison("panic")),
        ("panics", _) => Some(HandlerError::poison("panic")),
        _ => None,
    });
    let member = Member::start(stream.config(), script.clone());
    for value in ["panics once", "panics", "fine", "fine too"] {
        let record = Record { key: None, value: Some(value.into()), ..blank() };
        stream.source.write(0, &record).await;
    }
    eventually("all but one are handled", || async { script.handled().len() == 3 }).await;
    eventually("that one is dead", || async { stream.dead.records().await.len() == 1 }).await;
    assert_eq!(stream.dead.records().await[0].header(headers::ERROR_CLASS), Some("Panic"));
    assert_eq!(member.metric("tidegate_consumer_handler_panics_total"), 4.0);
    assert_eq!(member.metric("tidegate_consumer_keys_quarantined"), 0.0);
    committed_all(&stream).await;
    member.stop().await;
}

/// That name, padded, and then bytes that no compression makes fewer (an xorshift's).
fn noise(name: &str, bytes: usize) -> Vec<u8> {
    let mut value = format!("{name:<100}").into_bytes();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    while value.len() < bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        value.extend(state.to_le_bytes());
    }
    value.truncate(bytes);
    value
}

fn blank() -> Record {
    Record { topic: "".into(), partition: 0, offset: 0, timestamp: None, key: None, value: None, headers: Vec::new() }
}

#[tokio::test(flavor = "multi_thread")]
async fn in_place_the_partition_waits_and_a_dead_letter_lets_it_go_on() {
    let stream = Stream::create(1).await;
    let script = Script::new(|value, came| match value {
        "5" if came < 2 => Some(HandlerError::retry("not yet")),
        "9" => Some(HandlerError::retry("never")),
        _ => None,
    });
    let mut config = stream.config();
    config.retry.as_mut().unwrap().mode = Some(RetryMode::InPlace);
    let member = Member::start(config, script.clone());
    stream.source.produce(numbered(0, 30, 3)).await;
    eventually("all but one are handled", || async { script.handled().len() == 29 }).await;
    in_order(&script.handled());
    committed_all(&stream).await;
    member.stop().await;
    assert_eq!(stream.retry.records().await.len(), 0);
    accounted_for(&stream, &script.handled()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_order_a_failure_holds_up_nothing_not_even_its_key() {
    let stream = Stream::create(1).await;
    let script = Script::new(|value, _| (value == "0").then(|| HandlerError::poison("no")));
    let member = Member::start(ConsumerConfig { ordered: false, ..stream.config() }, script.clone());
    stream.source.produce(numbered(0, 10, 1)).await;
    eventually("the others are handled", || async { script.handled().len() == 9 }).await;
    committed_all(&stream).await;
    assert_eq!(member.metric("tidegate_consumer_keys_quarantined"), 0.0);
    let dead = stream.dead.records_once(|dead| !dead.is_empty()).await;
    stream.say("redrive", &dead[0]).await;
    eventually("it comes again", || async { script.seen().iter().filter(|seen| seen.value == "0").count() == 2 }).await;
    member.stop().await;
    accounted_for(&stream, &script.handled()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn poison_without_a_place_for_it_stops_the_partition_at_the_record() {
    let stream = Stream::create(1).await;
    let script = Script::new(|value, _| (value == "5").then(|| HandlerError::poison("no")));
    let member = Member::start(ConsumerConfig { dead_letter: None, ..stream.config() }, script.clone());
    stream.source.produce(numbered(0, 10, 1)).await;
    eventually("it is shown", || async { member.metric("tidegate_consumer_partitions_stopped") == 1.0 }).await;
    eventually("those before are committed", || async {
        stream.source.committed(&stream.group).await.get(&0) == Some(&5)
    })
    .await;
    assert!(member.health.has_joined() && member.health.is_alive());
    member.stop().await;
    let fixed = Script::new(|_, _| None);
    let member = Member::start(stream.config(), fixed.clone());
    eventually("the rest is handled", || async { fixed.handled().len() == 5 }).await;
    member.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_everything_fails_once_the_caps_hold_and_nothing_is_lost() {
    let stream = Stream::create(2).await;
    let script = Script::new(|_, came| (came == 0).then(|| HandlerError::retry("the first time")));
    let config = ConsumerConfig { parked_records: 100, ..stream.config() };
    let member = Member::start(config, script.clone());
    stream.source.produce(numbered(0, 3000, 300)).await;
    let mut most: f64 = 0.0;
    // As long as it goes on: each partition parks few at a time, in one transaction after the other.
    tokio::select! {
        () = all_are_done("everything is handled", 3000, async || script.handled().len()) => {}
        () = async {
            loop {
                most = most.max(member.metric("tidegate_consumer_records_waiting"));
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        } => {}
    }
    assert!(most > 0.0 && most <= 2.0 * (100.0 + 500.0), "{most} records were parked at once");
    in_order(&script.handled());
    eventually("nothing waits", || async { member.metric("tidegate_consumer_records_waiting") == 0.0 }).await;
    committed_all(&stream).await;
    member.stop().await;
    accounted_for(&stream, &script.handled()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_megabytes_pass_and_are_parked_and_buried_like_others() {
    let stream = Stream::create_with(1, [&[("max.message.bytes", "11534336")]; 3]).await;
    let large = |name: &str| Record { key: Some(name.into()), value: Some(noise(name, 10 * 1024 * 1024)), ..blank() };
    let script = Script::new(|value, came| match (value.trim_end(), came) {
        ("parked", 0) => Some(HandlerError::retry("not yet")),
        ("dead", _) => Some(HandlerError::poison("no")),
        _ => None,
    });
    let member = Member::start(stream.config(), script.clone());
    for name in ["passes", "parked", "dead", "last"] {
        stream.source.write(0, &large(name)).await;
    }
    eventually("all but one are handled", || async { script.handled().len() == 3 }).await;
    eventually("that one is dead", || async { member.metric("tidegate_consumer_records_dead_lettered_total") == 1.0 })
        .await;
    committed_all(&stream).await;
    member.stop().await;
    let dead = stream.dead.records_once(|dead| !dead.is_empty()).await;
    assert_eq!(dead[0].value, large("dead").value);
    accounted_for(&stream, &script.handled()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_into_the_retry_topic_is_a_dead_letter() {
    let (source, dead) = (&[("max.message.bytes", "3145728")], &[("max.message.bytes", "4194304")]);
    let stream = Stream::create_with(1, [source, &[], dead]).await;
    let script = Script::new(|value, _| value.starts_with("large").then(|| HandlerError::retry("not yet")));
    let member = Member::start(stream.config(), script.clone());
    stream
        .source
        .write(0, &Record { key: Some("k".into()), value: Some(noise("large", 2 * 1024 * 1024)), ..blank() })
        .await;
    stream.source.write(0, &Record { key: Some("k".into()), value: Some("behind".into()), ..blank() }).await;
    stream.source.write(0, &Record { key: Some("other".into()), value: Some("fine".into()), ..blank() }).await;
    eventually("its key is quarantined", || async { member.metric("tidegate_consumer_keys_quarantined") == 1.0 }).await;
    eventually("the other is handled", || async { script.handled().len() == 1 }).await;
    committed_all(&stream).await;
    let dead = stream.dead.records_once(|dead| !dead.is_empty()).await;
    assert_eq!(dead[0].header(headers::ERROR_CLASS), Some("TooLarge"));
    stream.say("skip", &dead[0]).await;
    eventually("the one behind is handled", || async { script.handled().len() == 2 }).await;
    member.stop().await;
    accounted_for(&stream, &script.handled()).await;
}

/// Members come and go while records fail; of either protocol.
async fn members_share(protocol: GroupProtocol) {
    let stream = Stream::create(4).await;
    // A third of them fail, once or twice.
    let script = Script::new(|value, came| {
        let number: u32 = value.parse().unwrap();
        (number.is_multiple_of(3) && came < 1 + number % 2).then(|| HandlerError::retry("not yet"))
    });
    let mut config = ConsumerConfig { protocol, ..stream.config() };
    config.retry.as_mut().unwrap().attempts = Some(1000);
    let first = Member::start(config.clone(), script.clone());
    stream.source.produce(numbered(0, 400, 40)).await;
    eventually("the first is at work", || async { script.handled().len() > 50 }).await;
    let second = Member::start(config.clone(), script.clone());
    // What was written before may be done by the time that it has its share.
    stream.source.produce(numbered(400, 600, 40)).await;
    eventually("the second has its share", || async { second.metric("tidegate_consumer_partitions_assigned") > 0.0 })
        .await;
    stream.source.produce(numbered(600, 800, 40)).await;
    eventually("the second is at work", || async { second.metric("tidegate_consumer_records_handled_total") > 0.0 })
        .await;
    first.stop().await;
    stream.source.produce(numbered(800, 1000, 40)).await;
    let all = || script.handled().iter().map(|seen| (seen.partition, seen.offset)).collect::<BTreeSet<_>>().len();
    eventually("everything is handled", || async { all() == 1000 }).await;
    in_order(&script.handled());
    committed_all(&stream).await;
    second.stop().await;
    accounted_for(&stream, &script.handled()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn members_of_a_kip_848_group_take_over_what_is_parked() {
    members_share(GroupProtocol::Consumer).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn members_of_a_classic_group_take_over_what_is_parked() {
    members_share(GroupProtocol::Classic).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_way_to_the_brokers_changes_a_new_member_goes_on_where_the_old_one_was() {
    let stream = Stream::create(2).await;
    let script = Script::new(|value, came| {
        let number: u32 = value.parse().unwrap();
        (number.is_multiple_of(10) && came == 0).then(|| HandlerError::retry("not yet"))
    });
    let folder = std::env::temp_dir().join(&stream.group);
    std::fs::create_dir(&folder).unwrap();
    mount(&folder, &kafka());
    // As it is mounted, so that the other list below is the one change there is.
    let mounted = tidegate_settings::binding::kafka(&folder).unwrap();
    let (brokers, rotation) = Rotation::new(folder.clone(), mounted, &Metrics::default());
    let rotation = tokio::spawn(rotation.every(Duration::from_millis(100)).run(Shutdown::new()));
    // It finishes what it has begun, however long parking takes: nothing of it comes again.
    let patient = ConsumerConfig { drain: Duration::from_secs(30), ..stream.config() };
    let member = Member::start_at(brokers, patient, script.clone());
    stream.source.produce(numbered(0, 200, 20)).await;
    eventually("it is at work", || async { script.handled().len() > 20 }).await;
    // The same brokers, by another list: clients are made anew.
    let mut other = kafka();
    other.bootstrap_servers = format!("{0},{0}", other.bootstrap_servers);
    mount(&folder, &other);
    eventually("a new member is there", || async { member.metric("tidegate_consumer_members_started_total") == 2.0 })
        .await;
    stream.source.produce(numbered(200, 400, 20)).await;
    eventually("everything is handled", || async { script.handled().len() >= 400 }).await;
    committed_all(&stream).await;
    in_order(&script.handled());
    assert_eq!(script.handled().len(), 400, "what was committed came again");
    member.stop().await;
    accounted_for(&stream, &script.handled()).await;
    rotation.abort();
    std::fs::remove_dir_all(&folder).unwrap();
}

/// Writes a Kafka binding's files.
fn mount(folder: &std::path::Path, connection: &KafkaConnection) {
    let KafkaSecurity::SaslSsl { mechanism, username, password, ca_file } = &connection.security else {
        panic!("no user")
    };
    let ca = std::fs::read_to_string(ca_file.as_ref().unwrap()).unwrap();
    for (key, value) in [
        ("security-protocol", "SASL_SSL"),
        ("sasl-mechanism", mechanism.name()),
        ("username", username),
        ("password", password.expose()),
        ("ca.crt", &ca),
        ("bootstrap-servers", &connection.bootstrap_servers),
    ] {
        std::fs::write(folder.join(key), value).unwrap();
    }
}
