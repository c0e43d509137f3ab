use serde_json::{Value, json};

use super::*;

/// A processor's rights, a line a thing.
fn lines(processor: Value) -> Vec<String> {
    let pipeline: EventPipeline = serde_json::from_value(json!({
        "apiVersion": "tidegate.dev/v1alpha1", "kind": "EventPipeline",
        "metadata": {"name": "wallet", "namespace": "bank"},
        "spec": {"kafka": {"user": {"managed": {}}}, "processors": [processor]},
    }))
    .unwrap();
    let mut lines: Vec<(String, Vec<String>)> = Vec::new();
    for right in rights(&pipeline, &pipeline.spec.processors[0]) {
        let thing = match right.pattern {
            PatternType::PREFIXED => format!("{} {}*", right.resource, right.name),
            _ => format!("{} {}", right.resource, right.name),
        };
        match lines.last_mut().filter(|(last, _)| *last == thing) {
            Some((_, operations)) => operations.push(right.operation.to_string()),
            None => lines.push((thing, vec![right.operation.to_string()])),
        }
    }
    lines.into_iter().map(|(thing, operations)| format!("{thing}: {}", operations.join(" "))).collect()
}

fn projector(more: Value) -> Value {
    let mut processor = json!({
        "name": "ledger", "run": {"wallet": {"role": "LedgerProjector"}}, "consumes": {"topics": ["events"], "group": "ledger"},
    });
    processor.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    processor
}

const RELAY: [&str; 3] = [
    "group kafka-publisher: Describe",
    "group kafka-publisher.bank.wallet: Read Describe",
    "transactional id kafka-publisher.bank.wallet.*: Write Describe",
];

#[test]
fn whoever_publishes_writes_its_topics_and_keeps_its_position_at_the_first() {
    let topics = ["topic events: Read Write Describe", "topic others: Write Describe"];
    for run in [json!({"role": "Commands"}), json!({"role": "Publisher"})] {
        let processor = json!({"name": "commands", "run": {"wallet": run}, "produces": ["events", "others"]});
        assert_eq!(lines(processor), [topics.as_slice(), &RELAY].concat());
    }
}

#[test]
fn commands_that_leave_publishing_to_another_processor_have_nothing_of_a_relays() {
    let run = json!({"wallet": {"role": "Commands", "publisher": "Separate"}});
    let processor = json!({"name": "commands", "run": run, "produces": ["events"]});
    assert_eq!(lines(processor), ["topic events: Write Describe"]);
}

#[test]
fn who_only_reads_may_only_read() {
    assert_eq!(lines(projector(json!({}))), ["topic events: Read Describe", "group ledger: Read Describe"]);
}

#[test]
fn what_is_tried_again_or_given_up_takes_rights_of_its_own() {
    let dead_letter = json!({"topic": "dlq"});
    assert_eq!(
        lines(projector(json!({"retry": {"attempts": 3}, "deadLetter": dead_letter}))),
        [
            "topic dlq: Write Describe",
            "topic events: Read Describe",
            "topic ledger.events.retry: Read Write Delete Describe",
            "group ledger: Read Describe",
            "group ledger.retry: Read Describe",
            "transactional id ledger.*: Write Describe",
        ]
    );
    // In place, and without retries: no retry topic, and a dead letter still goes in a transaction.
    for more in [json!({"retry": {"mode": "InPlace"}, "deadLetter": dead_letter}), json!({"deadLetter": dead_letter})] {
        assert_eq!(
            lines(projector(more)),
            [
                "topic dlq: Write Describe",
                "topic events: Read Describe",
                "group ledger: Read Describe",
                "transactional id ledger.*: Write Describe",
            ]
        );
    }
}

#[test]
fn a_retry_topic_with_a_name_of_its_own_is_meant_by_it() {
    let more = json!({"retry": {"topic": "again"}, "deadLetter": {"topic": "dlq"}});
    assert!(lines(projector(more)).contains(&"topic again: Read Write Delete Describe".to_owned()));
}

#[test]
fn a_topic_that_is_read_and_written_has_both() {
    let lines = lines(projector(json!({"produces": ["events", "made"]})));
    assert!(lines.contains(&"topic events: Read Write Describe".to_owned()), "{lines:?}");
    assert!(lines.contains(&"topic made: Write Describe".to_owned()), "{lines:?}");
    assert!(lines.contains(&"transactional id ledger.*: Write Describe".to_owned()), "{lines:?}");
}

#[test]
fn anybodys_program_may_do_what_its_spec_says_and_nothing_of_a_relays() {
    let run = json!({"container": {"image": "registry.example/price:1"}});
    let consumes = json!({"topics": ["orders"], "group": "prices"});
    let dead_letter = json!({"topic": "dlq"});
    let both = json!({
        "name": "price", "run": run, "consumes": consumes, "produces": ["prices"], "deadLetter": dead_letter,
    });
    assert_eq!(
        lines(both),
        [
            "topic dlq: Write Describe",
            "topic orders: Read Describe",
            "topic prices: Write Describe",
            "group prices: Read Describe",
            "transactional id prices.*: Write Describe",
        ]
    );
    assert_eq!(lines(json!({"name": "emit", "run": run, "produces": ["prices"]})), ["topic prices: Write Describe"]);
}

#[test]
fn a_right_becomes_an_acl_of_the_user_from_any_host() {
    let right = Right {
        resource: ResourceType::GROUP,
        pattern: PatternType::LITERAL,
        name: "ledger".into(),
        operation: Operation::READ,
    };
    assert_eq!(right.of("ada").to_string(), "User:ada may Read literal group ledger from *");
}
