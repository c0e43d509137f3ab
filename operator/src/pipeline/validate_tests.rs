//! What is wrong with a pipeline, case by case, each with the sentence that a person reads.

use serde_json::{Value, json};

use super::*;
use crate::testing::wallet;

fn world() -> World {
    let kafka = SecretView {
        keys: ["bootstrap-servers", "security-protocol", "sasl-mechanism", "username", "password", "ca.crt"]
            .map(str::to_owned)
            .into(),
        plain: [("security-protocol", "SASL_SSL"), ("sasl-mechanism", "SCRAM-SHA-512")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into(),
        version: "1".into(),
    };
    let database = SecretView { keys: ["uri".to_owned()].into(), ..SecretView::default() };
    World {
        connections: ["main".to_owned()].into(),
        images: [("wallet".to_owned(), ImageConfig { image: "wallet:1".into(), pull_policy: None })].into(),
        secrets: [("kafka".to_owned(), Some(kafka)), ("db".to_owned(), Some(database))].into(),
        topics: [(
            "events".to_owned(),
            TopicView { resource: "bank/events".into(), exists: true, ..TopicView::default() },
        )]
        .into(),
        ..World::default()
    }
}

fn refused(pipeline: &EventPipeline, world: &World) -> (String, String) {
    match validate(pipeline, world) {
        Err(Objection::Refuse(refusal)) => (refusal.reason, refusal.message),
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn a_pipeline_with_all_it_needs_is_valid() {
    assert_eq!(validate(&wallet(|_| {}), &world()), Ok(()));
    // The operator makes what is not there yet.
    let mut world = world();
    world.secrets.remove("kafka");
    let managed = wallet(|v| v["spec"]["kafka"]["user"] = json!({"managed": {}}));
    assert_eq!(validate(&managed, &world), Ok(()));
}

#[test]
fn a_container_needs_no_image_of_the_operators_no_database_and_no_topic() {
    let alone = wallet(|v| {
        v["spec"].as_object_mut().unwrap().remove("database");
        v["spec"]["processors"] = json!([{"name": "any", "run": {"container": {"image": "registry.example/any:1"}}}]);
    });
    assert_eq!(validate(&alone, &World { images: BTreeMap::new(), ..world() }), Ok(()));
}

#[test]
fn each_thing_that_is_wrong_is_named_with_what_to_do() {
    type Case = (&'static str, fn(&mut Value), fn(&mut World), &'static [&'static str]);
    let cases: &[Case] = &[
        (
            "UnknownConnection",
            |v| v["spec"]["kafka"]["connection"] = json!("second"),
            |_| {},
            &["second", "one of: main"],
        ),
        (
            "SecretMissing",
            |_| {},
            |w| {
                w.secrets.insert("kafka".into(), None);
            },
            &["Secret kafka", "namespace bank", "spec.kafka.user.secretRef"],
        ),
        (
            "SecretMissing",
            |_| {},
            |w| {
                w.secrets.remove("db");
            },
            &["Secret db", "spec.database.secretRef"],
        ),
        (
            "SecretKeyMissing",
            |_| {},
            |w| {
                w.secrets.get_mut("kafka").unwrap().as_mut().unwrap().keys.remove("password");
            },
            &["Secret kafka has no value for password; add it"],
        ),
        (
            "SecretKeyMissing",
            |_| {},
            |w| {
                w.secrets.get_mut("db").unwrap().as_mut().unwrap().keys.clear();
            },
            &["Secret db has no value for uri; add it"],
        ),
        (
            "SecretInvalid",
            |_| {},
            |w| {
                w.secrets
                    .get_mut("kafka")
                    .unwrap()
                    .as_mut()
                    .unwrap()
                    .plain
                    .insert("sasl-mechanism".into(), "PLAIN".into());
            },
            &["PLAIN", "SCRAM-SHA-512"],
        ),
        (
            "SecretInvalid",
            |_| {},
            |w| {
                w.secrets
                    .get_mut("kafka")
                    .unwrap()
                    .as_mut()
                    .unwrap()
                    .plain
                    .insert("security-protocol".into(), "SSL".into());
            },
            &["SASL_SSL"],
        ),
        (
            "NoKafkaUsers",
            |v| v["spec"]["kafka"]["user"] = json!({"managed": {}}),
            |w| {
                w.without_users.insert("main".into());
            },
            &["connection main", "PLAINTEXT", "spec.kafka.user.secretRef"],
        ),
        ("ImageUnknown", |_| {}, |w| w.images.clear(), &["no image for wallet", "commands"]),
        (
            "SpecConflict",
            |v| {
                v["spec"]["processors"][1]["run"] = json!({"container": {"image": "one:1"}});
                v["spec"]["processors"][1]["image"] = json!("another:2");
            },
            |_| {},
            &["ledger", "two images", "take image out"],
        ),
        (
            "SpecIncomplete",
            |v| {
                v["spec"]["processors"][1].as_object_mut().unwrap().remove("consumes");
            },
            |_| {},
            &["ledger", "consumes"],
        ),
        (
            "SpecIncomplete",
            |v| {
                v["spec"]["processors"][0].as_object_mut().unwrap().remove("http");
            },
            |_| {},
            &["commands", "http"],
        ),
        (
            "SpecIncomplete",
            |v| {
                v["spec"]["processors"][0].as_object_mut().unwrap().remove("produces");
            },
            |_| {},
            &["commands", "in role Commands, which needs produces; set it"],
        ),
        (
            "SpecIncomplete",
            |v| {
                v["spec"].as_object_mut().unwrap().remove("database");
            },
            |_| {},
            &["spec.database"],
        ),
        (
            "Conflict",
            |_| {},
            |w| {
                w.claimed.insert("ledger".into(), "shop/orders/ledger".into());
            },
            &["group ledger", "shop/orders/ledger"],
        ),
        (
            "NameTaken",
            |_| {},
            |w| w.taken.push("Deployment wallet-ledger".into()),
            &["Deployment wallet-ledger", "rename"],
        ),
        (
            "TopicUnknown",
            |v| v["spec"]["processors"][0]["produces"] = json!(["evnets"]),
            |_| {},
            &["commands", "evnets", "namespace bank"],
        ),
        (
            "TopicNotAllowed",
            |v| v["spec"]["processors"][0]["produces"] = json!(["theirs"]),
            |w| {
                w.foreign_topics.insert("theirs".into(), "shop/theirs".into());
            },
            &["shop/theirs", "add bank to its spec.allowedNamespaces"],
        ),
    ];
    for (reason, change, tweak, parts) in cases {
        let mut world = world();
        tweak(&mut world);
        let (found, message) = refused(&wallet(change), &world);
        assert_eq!(found, *reason, "{message}");
        for part in *parts {
            assert!(message.contains(part), "{reason}: {message:?} lacks {part:?}");
        }
    }
}

#[test]
fn two_processors_of_one_pipeline_do_not_share_a_group() {
    let twice = wallet(|v| {
        let mut other = v["spec"]["processors"][1].clone();
        other["name"] = json!("read-model");
        v["spec"]["processors"].as_array_mut().unwrap().push(other);
    });
    let (reason, message) = refused(&twice, &world());
    assert_eq!(reason, "GroupInUse");
    for part in
        ["group ledger of processor read-model", "used by processor ledger too", "choose another consumes.group"]
    {
        assert!(message.contains(part), "{message:?} lacks {part:?}");
    }
}

#[test]
fn a_topic_on_its_way_is_waited_for_in_its_own_words() {
    let mut world = world();
    let view = world.topics.get_mut("events").unwrap();
    view.exists = false;
    view.trouble = Some("InvalidReplicationFactor: only 3 brokers".into());
    match validate(&wallet(|_| {}), &world) {
        Err(Objection::Wait(refusal)) => {
            assert_eq!(refusal.reason, "TopicNotReady");
            assert!(refusal.message.contains("bank/events") && refusal.message.contains("only 3 brokers"));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_missing_at_first_may_be_on_its_way() {
    let unknown = wallet(|v| v["spec"]["processors"][0]["produces"] = json!(["later"]));
    let young = World { young: true, ..world() };
    assert!(matches!(validate(&unknown, &young), Err(Objection::Wait(refusal)) if refusal.reason == "TopicUnknown"));
    let no_secret = World { secrets: BTreeMap::new(), ..young.clone() };
    assert!(
        matches!(validate(&wallet(|_| {}), &no_secret), Err(Objection::Wait(refusal)) if refusal.reason == "SecretMissing")
    );
    // What will not come by itself is refused at once.
    let second = wallet(|v| v["spec"]["kafka"]["connection"] = json!("second"));
    assert_eq!(refused(&second, &young).0, "UnknownConnection");
}

#[test]
fn an_image_of_its_own_needs_none_of_the_operators() {
    let mut world = world();
    world.images.clear();
    let own = wallet(|v| {
        for at in 0..2 {
            v["spec"]["processors"][at]["image"] = json!("elsewhere/wallet:2");
        }
    });
    assert_eq!(validate(&own, &world), Ok(()));
}

#[test]
fn a_number_that_somebody_else_decides_is_left_to_one_of_the_two() {
    let rivals = [("ledger".to_owned(), "ScaledObject by-lag".to_owned())].into();
    let (reason, message) = refused(&wallet(|_| {}), &World { rivals, ..world() });
    assert_eq!(reason, "ScaledByOthers");
    for part in ["processor ledger", "ScaledObject by-lag", "wallet-ledger", "take scaling out"] {
        assert!(message.contains(part), "{message}");
    }
}
