use serde_json::json;

use super::*;

const RUN: &str = "faults-1";

fn wanted() -> Wanted {
    Wanted::base(RUN, "example/prices:1")
}

/// A world in which everything is as the specs ask.
fn world(wanted: &Wanted) -> Found {
    let mut found = Found::default();
    let (must, _) = wished(wanted);
    for (name, _) in wanted.pipelines.iter().filter(|(_, pipeline)| pipeline.there) {
        found.pipelines.insert(name.clone(), format!("uid of {name}"));
    }
    for (kind, name) in must {
        let pipeline = found.pipelines.keys().find(|pipeline| {
            let of = |(owner, ..): &(&String, &Resource, &Value, &str)| owner == pipeline;
            let makes = |processor: &Value| put_aside(processor).contains(&name);
            name.starts_with(pipeline.as_str()) || live(wanted).filter(of).any(|(_, _, processor, _)| makes(processor))
        });
        let pipeline = pipeline.cloned().unwrap_or_default();
        found.objects.insert(Object {
            owners: vec![format!("uid of {pipeline}")],
            of: (pipeline, String::new()),
            kind,
            name,
        });
    }
    for (pipeline, resource, processor, name) in live(wanted) {
        if resource.is_managed() {
            let user = format!("tidegate.{RUN}.{pipeline}.{name}.a");
            found.acls.extend(rights(RUN, pipeline, processor, &user));
            found.secrets.insert(format!("{pipeline}-{name}-kafka"), user.clone());
            found.users.insert(user);
        }
        for topic in put_aside(processor) {
            found.topics.insert(topic, FoundTopic::default());
        }
    }
    for (name, topic) in wanted.topics.iter().filter(|(_, topic)| topic.there) {
        found.resources.insert(name.clone());
        let config = topic.spec["config"].as_object().into_iter().flatten();
        let config = config.map(|(key, value)| (key.clone(), value.to_string())).collect();
        let partitions = topic.spec["partitions"].as_i64().unwrap();
        found.topics.insert(text(&topic.spec, "topicName").into(), FoundTopic { partitions, config });
    }
    found
}

fn user(processor: &str) -> String {
    format!("tidegate.{RUN}.bank.{processor}.a")
}

#[test]
fn a_world_as_the_specs_ask_has_nothing_to_name() {
    assert_eq!(orphans(&world(&wanted()), &wanted(), &BTreeSet::new()), Vec::<String>::new());
}

/// What happens to the world, and the sentence that tells of it.
type Case = (fn(&mut Found), &'static str);

#[test]
fn each_orphan_is_named_and_so_is_what_is_lacking() {
    let object = |kind: &str, name: &str, of: (&str, &str), owner: &str| Object {
        kind: kind.into(),
        name: name.into(),
        of: (of.0.into(), of.1.into()),
        owners: vec![owner.into()],
    };
    let stray = object("Deployment", "bank-audit", ("bank", "audit"), "uid of bank");
    let mut found = world(&wanted());
    found.objects.insert(stray);
    found.objects.insert(object("Pod", "bank-audit-1", ("bank", "audit"), "uid of a ReplicaSet"));
    found.objects.insert(object("Pod", "bank-ledger-1", ("bank", "ledger"), "uid of a ReplicaSet"));
    assert_eq!(
        orphans(&found, &wanted(), &BTreeSet::new()),
        [
            "Deployment bank-audit is there, and no spec asks for it",
            "Pod bank-audit-1 is there, and no spec asks for it"
        ]
    );

    let cases: [Case; 11] = [
        (
            |found| found.objects.retain(|object| object.name != "bank-ledger" || object.kind != "ServiceAccount"),
            "ServiceAccount bank-ledger is not there",
        ),
        (
            |found| {
                let mut object = found.objects.iter().find(|object| object.kind == "Service").cloned().unwrap();
                found.objects.remove(&object);
                object.owners = vec!["uid of the one before".into()];
                found.objects.insert(object);
            },
            "Service bank-commands is not owned by the EventPipeline that there is",
        ),
        (
            |found| assert!(found.users.insert(user("audit"))),
            "Kafka has user tidegate.faults-1.bank.audit.a, which no processor owns",
        ),
        (
            // The one that was rotated out.
            |found| assert!(found.users.insert("tidegate.faults-1.bank.ledger.b".into())),
            "Kafka has user tidegate.faults-1.bank.ledger.b, which no processor owns",
        ),
        (
            |found| assert!(found.users.remove(&user("ledger"))),
            "Kafka lacks user tidegate.faults-1.bank.ledger.a, which a Secret holds",
        ),
        (
            |found| {
                let group = ResourceType::GROUP;
                found.acls.insert(Acl::allow(&user("ledger"), Operation::ALL, group, PatternType::LITERAL, "theirs"));
            },
            "Kafka has a right that no spec asks for: User:tidegate.faults-1.bank.ledger.a may All literal group theirs from *",
        ),
        (
            |found| found.acls.retain(|acl| acl.name != "faults-1-ledger.retry" || acl.operation != Operation::READ),
            "Kafka lacks a right: User:tidegate.faults-1.bank.ledger.a may Read literal group faults-1-ledger.retry from *",
        ),
        (
            |found| drop(found.topics.insert("faults-1-stray".into(), FoundTopic::default())),
            "topic faults-1-stray is in Kafka; nothing asks for it, and nothing said to keep it",
        ),
        (|found| drop(found.topics.remove("faults-1-dlq")), "topic faults-1-dlq is not in Kafka"),
        (
            |found| found.topics.get_mut("faults-1-spare").unwrap().partitions = 9,
            "topic faults-1-spare has 9 partitions, not 2",
        ),
        (
            |found| {
                drop(found.topics.get_mut("faults-1-spare").unwrap().config.insert("retention.ms".into(), "1".into()))
            },
            "topic faults-1-spare has 1 as retention.ms, not 86400000",
        ),
    ];
    for (happens, said) in cases {
        let mut found = world(&wanted());
        happens(&mut found);
        assert_eq!(orphans(&found, &wanted(), &BTreeSet::new()), [said]);
    }
}

#[test]
fn when_all_is_deleted_only_what_is_to_be_kept_may_be_left() {
    let mut nothing = wanted();
    nothing.topics.values_mut().chain(nothing.pipelines.values_mut()).for_each(|resource| resource.there = false);
    let retained = kept(&wanted());
    let left = |names: &[&str]| Found {
        topics: names.iter().map(|name| ((*name).to_owned(), FoundTopic::default())).collect(),
        ..Found::default()
    };
    let aside = ["faults-1-spare", "faults-1-dlq", "faults-1-ledger.faults-1-events.retry", "faults-1-orders-dlq"];
    assert_eq!(orphans(&left(&aside), &nothing, &retained), Vec::<String>::new());
    let found = orphans(&left(&["faults-1-scratch"]), &nothing, &retained);
    assert_eq!(found, ["topic faults-1-scratch is in Kafka; nothing asks for it, and nothing said to keep it"]);
    let there = Found { resources: ["scratch".to_owned()].into(), ..Found::default() };
    assert_eq!(orphans(&there, &nothing, &retained), ["KafkaTopic scratch was deleted, and is there"]);
}

#[test]
fn a_resource_is_as_it_asks_once_its_status_speaks_of_it_and_all_that_was_asked_has_ended() {
    let asked = wanted().pipelines["bank"].clone();
    let users = vec![json!({}); 3];
    let condition = |of: &str, status: &str| json!({"type": of, "status": status, "message": "because"});
    let resource = |generation: i64, conditions: &[Value], more: Value| {
        let mut status = json!({"observedGeneration": 2, "conditions": conditions, "users": users});
        more.as_object().into_iter().flatten().for_each(|(key, value)| status[key] = value.clone());
        json!({"kind": "EventPipeline", "metadata": {"name": "bank", "generation": generation}, "status": status})
    };
    let ready = [condition("Ready", "True"), condition("Healthy", "False")];
    assert_eq!(unconverged(&resource(2, &ready, json!({})), &asked), None);
    let mut replayed = asked.clone();
    replayed.spec["processors"][1]["replay"] = json!({"id": "again"});
    let phase = |phase: &str| json!({"replays": [{"id": "again", "processor": "ledger", "phase": phase}]});
    for (found, asked, said) in [
        (resource(3, &ready, json!({})), &asked, "is not Ready"),
        (resource(2, &[condition("Ready", "False")], json!({})), &asked, "is not Ready"),
        (resource(2, &[ready[0].clone(), condition("Drifted", "True")], json!({})), &asked, "is Drifted: \"because\""),
        (resource(2, &ready, json!({"users": [{}, {}, {}, {}]})), &asked, "has 4 users on record, not 3"),
        (resource(2, &ready, json!({})), &replayed, "has replay again of \"ledger\" in phase unknown"),
        (resource(2, &ready, phase("Moving")), &replayed, "in phase Moving"),
    ] {
        let sentence = unconverged(&found, asked).unwrap_or_default();
        assert!(sentence.starts_with("EventPipeline bank ") && sentence.contains(said), "{sentence} lacks {said}");
    }
    assert_eq!(unconverged(&resource(2, &ready, phase("Refused")), &replayed), None);
}
