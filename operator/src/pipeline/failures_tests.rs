//! What cannot be had, each with the sentence that a person reads.

use serde_json::{Value, json};

use super::*;
use crate::pipeline::{
    owned::Source,
    validate::{TopicView, validate},
};

fn pipeline(change: impl FnOnce(&mut Value)) -> EventPipeline {
    let projector = |name: &str, role: &str| {
        json!({
            "name": name, "run": {"wallet": {"role": role}}, "consumes": {"topics": ["events"], "group": name},
            "retry": {"attempts": 5}, "deadLetter": {"topic": "dlq", "partitions": 5, "retention": "30d"},
        })
    };
    let mut value = json!({
        "apiVersion": "tidegate.dev/v1alpha1", "kind": "EventPipeline",
        "metadata": {"name": "wallet", "namespace": "bank"},
        "spec": {
            "kafka": {"user": {"secretRef": {"name": "kafka"}}},
            "database": {"secretRef": {"name": "db"}},
            "processors": [projector("ledger", "LedgerProjector"), projector("read-model", "ReadModelProjector")],
        },
    });
    change(&mut value["spec"]["processors"]);
    serde_json::from_value(value).unwrap()
}

fn view(resource: &str, partitions: i32) -> TopicView {
    let source = Source { partitions, growing_to: None, replicas: 3, min_in_sync: 2, max_bytes: 1_000 };
    TopicView { resource: resource.into(), exists: true, source: Some(source), ..TopicView::default() }
}

fn world() -> World {
    World { topics: [("events".to_owned(), view("bank/events", 10))].into(), ..World::default() }
}

/// The checks of this module alone, in their order.
fn checked(pipeline: &EventPipeline, world: &World) -> Result<(), Objection> {
    [backoffs, shared, uses, holders, sources].into_iter().try_for_each(|check| check(pipeline, world))
}

#[test]
fn what_the_example_asks_for_can_be_had() {
    assert_eq!(checked(&pipeline(|_| {}), &world()), Ok(()));
}

#[test]
fn each_thing_that_cannot_be_had_is_named_with_what_to_do() {
    type Case = (&'static str, fn(&mut Value), fn(&mut World), &'static str);
    let cases: &[Case] = &[
        (
            "InvalidRetry",
            |p| p[1]["retry"]["backoff"] = json!({"initial": "2m"}),
            |_| {},
            "retry.backoff.max of processor read-model is 30s by default, less than backoff.initial, which is 2m; raise max or \
             lower initial",
        ),
        (
            "InvalidRetry",
            |p| p[0]["retry"]["backoff"] = json!({"max": "100ms"}),
            |_| {},
            "retry.backoff.max of processor ledger is 100ms, less than backoff.initial, which is 200ms by default; raise max or \
             lower initial",
        ),
        (
            "DeadLettersDiffer",
            |p| p[1]["deadLetter"]["partitions"] = json!(6),
            |_| {},
            "processors ledger and read-model share dead-letter topic dlq, but differ in deadLetter.partitions; write the same in \
             both",
        ),
        (
            "DeadLettersDiffer",
            |p| p[1]["deadLetter"]["retention"] = json!("31d"),
            |_| {},
            "processors ledger and read-model share dead-letter topic dlq, but differ in deadLetter.retention; write the same in \
             both",
        ),
        (
            "TopicInUse",
            |p| p[0]["deadLetter"]["topic"] = json!("read-model.events.retry"),
            |_| {},
            "topic read-model.events.retry would be the retry topic of processor read-model and the dead-letter topic of processor \
             ledger; set deadLetter.topic of processor ledger to a topic of its own",
        ),
        (
            "TopicInUse",
            |p| {
                p[0]["retry"]["topic"] = json!("again");
                p[1]["retry"]["topic"] = json!("again");
            },
            |_| {},
            "topic again would be the retry topic of processor ledger and the retry topic of processor read-model; set retry.topic \
             of processor read-model to a topic of its own",
        ),
        (
            "TopicInUse",
            |p| p[1]["produces"] = json!(["ledger.events.retry"]),
            |_| {},
            "topic ledger.events.retry would be what processor read-model writes to and the retry topic of processor ledger; set \
             retry.topic of processor ledger to a topic of its own",
        ),
        (
            "TopicInUse",
            |p| p[0]["deadLetter"]["topic"] = json!("events"),
            |_| {},
            "topic events would be what processor read-model reads and the dead-letter topic of processor ledger; set \
             deadLetter.topic of processor ledger to a topic of its own",
        ),
        (
            "PartitionsCannotShrink",
            |_| {},
            |w| {
                w.holders.insert("dlq".into(), Holder::Own { partitions: 6, view: view("bank/dlq", 6) });
            },
            "dead-letter topic dlq of processor ledger has 6 partitions, and Kafka cannot remove any; set deadLetter.partitions to 6 \
             or more",
        ),
        (
            "RetryTopicTooSmall",
            |_| {},
            |w| {
                w.holders.insert("ledger.events.retry".into(), Holder::Made(view("bank/mine", 9)));
            },
            "retry topic ledger.events.retry of processor ledger (KafkaTopic bank/mine) has 9 partitions and topic events has 10, \
             but a record waits in the partition that it came from; set spec.partitions of bank/mine to 10 or more",
        ),
        (
            "TopicNotAllowed",
            |_| {},
            |w| {
                w.holders.insert("dlq".into(), Holder::Foreign { resource: "shop/dlq".into() });
            },
            "the dead-letter topic dlq of processor ledger is KafkaTopic shop/dlq; add bank to its spec.allowedNamespaces, or set \
             deadLetter.topic to another",
        ),
        (
            "Conflict",
            |_| {},
            |w| {
                w.holders.insert("dlq".into(), Holder::Rival { pipeline: "bank/older".into() });
            },
            "the dead-letter topic dlq of processor ledger belongs to EventPipeline bank/older; set deadLetter.topic to a topic of \
             this pipeline's own, or make a KafkaTopic of that topicName that both may use",
        ),
        (
            "NameTaken",
            |p| {
                p[0]["deadLetter"]["topic"] = json!("DLQ");
                p[1]["deadLetter"]["topic"] = json!("DLQ");
            },
            |w| {
                let taken = Holder::NameTaken { resource: "bank/dlq-1".into(), topic: "other".into() };
                w.holders.insert("DLQ".into(), taken);
            },
            "the KafkaTopic of dead-letter topic DLQ would be called dlq-833eb337dc3768d5, but KafkaTopic bank/dlq-1 is of topic \
             other; rename that one, or set deadLetter.topic of processor ledger to another",
        ),
    ];
    for (reason, change, tweak, sentence) in cases {
        let mut world = world();
        tweak(&mut world);
        match checked(&pipeline(change), &world) {
            Err(Objection::Refuse(refusal)) => {
                assert_eq!((refusal.reason.as_str(), refusal.message.as_str()), (*reason, *sentence));
            }
            other => panic!("{reason}: not refused: {other:?}"),
        }
    }
}

#[test]
fn the_whole_validation_asks_these_questions_too() {
    let mut world = world();
    world.connections.insert("main".into());
    world.images.insert("wallet".into(), crate::config::ImageConfig { image: "wallet:1".into(), pull_policy: None });
    let secret = |keys: &[&str], plain: &[(&str, &str)]| {
        let keys = keys.iter().map(|key| (*key).to_owned()).collect();
        let plain = plain.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Some(crate::pipeline::validate::SecretView { keys, plain, version: "1".into() })
    };
    let kafka = secret(&["bootstrap-servers", "security-protocol"], &[("security-protocol", "PLAINTEXT")]);
    world.secrets = [("kafka".to_owned(), kafka), ("db".to_owned(), secret(&["uri"], &[]))].into();
    assert_eq!(validate(&pipeline(|_| {}), &world), Ok(()));
    for (change, reason) in [
        ((|p| p[0]["retry"]["backoff"] = json!({"initial": "1h"})) as fn(&mut Value), "InvalidRetry"),
        (|p| p[0]["deadLetter"]["partitions"] = json!(1), "DeadLettersDiffer"),
        (|p| p[0]["deadLetter"]["topic"] = json!("events"), "TopicInUse"),
    ] {
        match validate(&pipeline(change), &world) {
            Err(Objection::Refuse(refusal)) => assert_eq!(refusal.reason, reason),
            other => panic!("{reason}: {other:?}"),
        }
    }
    world.holders.insert("dlq".into(), Holder::Rival { pipeline: "bank/older".into() });
    assert!(
        matches!(validate(&pipeline(|_| {}), &world), Err(Objection::Refuse(refusal)) if refusal.reason == "Conflict")
    );
    world.holders.clear();
    world.topics.get_mut("events").unwrap().source = None;
    assert!(
        matches!(validate(&pipeline(|_| {}), &world), Err(Objection::Wait(refusal)) if refusal.reason == "TopicNotReady")
    );
}

#[test]
fn a_hand_made_topic_that_is_large_enough_is_used_as_it_is() {
    let mut world = world();
    world.holders.insert("ledger.events.retry".into(), Holder::Made(view("bank/mine", 10)));
    world.holders.insert("dlq".into(), Holder::Made(view("bank/dlq", 1)));
    assert_eq!(checked(&pipeline(|_| {}), &world), Ok(()));
}

#[test]
fn a_hand_made_topic_that_takes_less_than_may_come_is_used_and_said_to_be_small() {
    let mut world = world();
    let mut small = view("bank/dlq", 1);
    small.source.as_mut().unwrap().max_bytes = 66_535;
    world.holders.insert("dlq".into(), Holder::Made(small.clone()));
    let pipeline = pipeline(|_| {});
    assert_eq!(checked(&pipeline, &world), Ok(()));
    assert_eq!(
        caveats(&pipeline, &world),
        [
            "dead-letter topic dlq (KafkaTopic bank/dlq) takes records of 66535 bytes, and one may come to 66536 and would stop its \
             partition: set max.message.bytes of bank/dlq to 66536"
        ]
    );
    small.source.as_mut().unwrap().max_bytes = 66_536;
    world.holders.insert("dlq".into(), Holder::Made(small));
    assert_eq!(caveats(&pipeline, &world), Vec::<String>::new());
}

#[test]
fn a_topic_that_goes_with_its_old_pipeline_is_waited_for() {
    let mut world = world();
    world.holders.insert("dlq".into(), Holder::Gone { resource: "bank/dlq".into() });
    assert!(
        matches!(checked(&pipeline(|_| {}), &world), Err(Objection::Wait(refusal)) if refusal.reason == "TopicNotReady")
    );
}

#[test]
fn processes_wait_for_their_topics_in_the_words_of_whoever_makes_them() {
    let own = |exists, trouble: Option<&str>| {
        let view = TopicView { exists, trouble: trouble.map(str::to_owned), ..view("bank/t", 10) };
        Holder::Own { partitions: 10, view }
    };
    let pipeline = pipeline(|_| {});
    let mut world = world();
    for name in ["ledger.events.retry", "read-model.events.retry", "dlq"] {
        world.holders.insert(name.into(), own(true, None));
    }
    assert_eq!(awaited(&pipeline, &world), None);
    for (holder, said) in [
        (own(false, None), "(KafkaTopic bank/t): it is being created"),
        (
            own(false, Some("InvalidReplicationFactor: only 1 broker")),
            "(KafkaTopic bank/t): InvalidReplicationFactor: only 1",
        ),
        (own(true, Some("TopicLost: deleted by somebody")), "TopicLost"),
    ] {
        world.holders.insert("dlq".into(), holder);
        let refusal = awaited(&pipeline, &world).unwrap();
        assert!(refusal.message.starts_with("processor ledger waits for dead-letter topic dlq"), "{}", refusal.message);
        assert!(refusal.message.contains(said), "{}", refusal.message);
    }
    world.holders.remove("dlq");
    assert!(awaited(&pipeline, &world).unwrap().message.contains("(KafkaTopic bank/dlq): it is being created"));
}
