//! The case table of KafkaTopic, row by row.

use super::*;

const ID: Uuid = Uuid::from_u128(1);
const OTHER_ID: Uuid = Uuid::from_u128(2);

fn wish() -> Desired {
    Desired {
        name: "orders".into(),
        partitions: 3,
        replicas: 3,
        config: config(&[("retention.ms", "1000")]),
        adoption: AdoptionPolicy::IfMatching,
        role: TopicRole::Stream,
        paused: false,
        recreate: false,
        reorder_consent: None,
        ordered_consumers: vec![],
    }
}

fn config(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
    entries.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// The topic as wished, with one key that somebody else set and one default.
fn topic() -> Observation {
    let setting = |value: &str, on_topic| Setting { value: value.into(), on_topic };
    Observation {
        id: ID,
        partitions: 3,
        replicas: 3,
        config: [
            ("retention.ms".to_owned(), setting("1000", true)),
            ("segment.bytes".to_owned(), setting("777", true)),
            ("cleanup.policy".to_owned(), setting("delete", false)),
            ("min.insync.replicas".to_owned(), setting("2", false)),
        ]
        .into(),
    }
}

fn with_setting(key: &str, value: &str, on_topic: bool) -> Observation {
    let mut topic = topic();
    topic.config.insert(key.into(), Setting { value: value.into(), on_topic });
    topic
}

fn known() -> Remembered {
    Remembered { topic_id: Some(ID), owned_keys: ["retention.ms".to_owned()].into(), ..Remembered::default() }
}

fn nothing() -> Remembered {
    Remembered::default()
}

fn present(topic: Observation) -> Observed {
    Observed::Present(topic)
}

fn missing(seconds: u64) -> Observed {
    Observed::Missing(Duration::from_secs(seconds))
}

fn refusal(plan: Plan) -> Refusal {
    match plan {
        Plan::Refuse(refusal) => refusal,
        other => panic!("not refused: {other:?}"),
    }
}

fn waits(plan: Plan, reason: &str, said: &str) {
    match plan {
        Plan::Wait(refusal) => {
            assert_eq!(refusal.reason, reason);
            assert!(refusal.message.contains(said), "{}", refusal.message);
        }
        other => panic!("does not wait: {other:?}"),
    }
}

fn changed(plan: Plan) -> Change {
    match plan {
        Plan::Change(change) => change,
        other => panic!("no change: {other:?}"),
    }
}

#[test]
fn a_topic_that_nobody_made_is_created_with_its_configuration() {
    let created = plan(&wish(), &nothing(), &missing(0));
    assert_eq!(created, Plan::Create(NewTopic::new("orders", 3, 3).config("retention.ms", "1000")));
}

#[test]
fn a_topic_as_wished_needs_nothing() {
    assert_eq!(plan(&wish(), &known(), &present(topic())), Plan::InSync);
}

#[test]
fn created_a_moment_ago_and_unknown_to_a_broker_is_not_yet_never_missing() {
    let fresh = Remembered { created: Some(Duration::from_secs(2)), creating: true, ..known() };
    waits(
        plan(&wish(), &fresh, &missing(2)),
        "Creating",
        "was created a moment ago; waiting until the brokers know it",
    );
    // Nor is the topic that was recreated the old one, as a broker behind the others would have it.
    let stale = Observation { id: OTHER_ID, ..topic() };
    waits(
        plan(&wish(), &fresh, &present(stale)),
        "Creating",
        "was created a moment ago; waiting until the brokers know it",
    );
}

#[test]
fn a_topic_that_was_being_created_when_the_operator_died_is_its_own() {
    let interrupted = Remembered { creating: true, ..nothing() };
    let never = Desired { adoption: AdoptionPolicy::Never, ..wish() };
    assert_eq!(plan(&never, &interrupted, &present(topic())), Plan::InSync);
    assert!(matches!(plan(&never, &interrupted, &missing(0)), Plan::Create(_)));
}

#[test]
fn partitions_grow() {
    let change = changed(plan(&Desired { partitions: 5, ..wish() }, &known(), &present(topic())));
    assert_eq!(change.grow_to, Some(5));
    assert!(change.config.is_empty());
    assert_eq!(change.differences[0].what, "partitions");
}

#[test]
fn more_partitions_than_wished_cannot_be_undone_and_is_said() {
    let refused = refusal(plan(&wish(), &known(), &present(Observation { partitions: 5, ..topic() })));
    assert_eq!(refused.reason, "PartitionsCannotShrink");
    assert!(refused.message.ends_with("set spec.partitions to 5 or more"), "{}", refused.message);
}

#[test]
fn growth_waits_for_consent_while_ordered_consumers_read_the_topic() {
    let wish = Desired { partitions: 5, ordered_consumers: vec!["wallet/wallet/ledger".into()], ..wish() };
    let refused = refusal(plan(&wish, &known(), &present(topic())));
    assert_eq!(refused.reason, "OrderedConsumers");
    assert!(refused.message.contains("wallet/wallet/ledger") && refused.message.contains("allow-reorder: \"5\""));

    let consent = |count| Desired { reorder_consent: Some(count), ..wish.clone() };
    assert_eq!(refusal(plan(&consent(4), &known(), &present(topic()))).reason, "OrderedConsumers");
    assert_eq!(changed(plan(&consent(5), &known(), &present(topic()))).grow_to, Some(5));
}

#[test]
fn an_event_store_never_grows_and_never_compacts() {
    let store = Desired { role: TopicRole::EventStore, ..wish() };
    let grows = Desired { partitions: 5, ..store.clone() };
    assert_eq!(refusal(plan(&grows, &known(), &present(topic()))).reason, "EventStoreCannotGrow");

    let compacts = Desired { config: config(&[("cleanup.policy", "delete, compact")]), ..store.clone() };
    assert_eq!(refusal(plan(&compacts, &nothing(), &missing(0))).reason, "EventStoreCannotCompact");
    assert_eq!(refusal(plan(&compacts, &known(), &present(topic()))).reason, "EventStoreCannotCompact");
    // Neither by the broker's default.
    let by_default = with_setting("cleanup.policy", "compact", false);
    assert_eq!(refusal(plan(&store, &known(), &present(by_default))).reason, "EventStoreCannotCompact");
}

#[test]
fn another_replica_count_is_refused_before_anything_is_changed() {
    let wish = Desired { replicas: 1, partitions: 9, config: config(&[("retention.ms", "5")]), ..wish() };
    let refused = refusal(plan(&wish, &known(), &present(topic())));
    assert_eq!(refused.reason, "ReplicasDiffer");
    assert!(refused.message.contains("set spec.replicas to 3"), "{}", refused.message);
}

#[test]
fn min_insync_replicas_beyond_the_replicas_is_refused() {
    let wish = Desired { config: config(&[("min.insync.replicas", "4")]), ..wish() };
    assert_eq!(refusal(plan(&wish, &nothing(), &missing(0))).reason, "InvalidConfig");
}

#[test]
fn drift_is_put_back_and_only_the_key_that_drifted_is_written() {
    let change = changed(plan(&wish(), &known(), &present(with_setting("retention.ms", "9", true))));
    assert_eq!(change.config, ConfigChange { set: config(&[("retention.ms", "1000")]), reset: [].into() });
    assert_eq!(
        change.differences,
        [Difference { what: "retention.ms".into(), is: Some("9".into()), should: Some("1000".into()) }]
    );
}

#[test]
fn a_key_that_the_broker_would_default_to_is_pinned_all_the_same() {
    let change = changed(plan(&wish(), &known(), &present(with_setting("retention.ms", "1000", false))));
    assert_eq!(change.config.set, config(&[("retention.ms", "1000")]));
}

#[test]
fn a_key_taken_out_of_the_spec_is_reset_because_it_is_remembered() {
    let wish = Desired { config: config(&[]), ..wish() };
    let change = changed(plan(&wish, &known(), &present(topic())));
    assert_eq!(change.config, ConfigChange { set: config(&[]), reset: ["retention.ms".to_owned()].into() });
    // Already back at the default: nothing to do.
    assert_eq!(plan(&wish, &known(), &present(with_setting("retention.ms", "604800000", false))), Plan::InSync);
}

#[test]
fn keys_that_somebody_else_set_are_left_alone() {
    let foreign = with_setting("max.message.bytes", "1", true);
    assert_eq!(plan(&wish(), &known(), &present(foreign)), Plan::InSync);
}

#[test]
fn a_topic_from_before_is_adopted_when_it_matches() {
    assert_eq!(plan(&wish(), &nothing(), &present(topic())), Plan::InSync);
    // By value: a default that is equal matches, and is then pinned.
    let by_default = with_setting("retention.ms", "1000", false);
    assert!(matches!(plan(&wish(), &nothing(), &present(by_default)), Plan::Change(_)));
}

#[test]
fn a_topic_from_before_that_differs_is_left_alone_and_the_differences_are_named() {
    let different = Observation { partitions: 2, ..with_setting("retention.ms", "9", true) };
    let refused = refusal(plan(&wish(), &nothing(), &present(different)));
    assert_eq!(refused.reason, "AdoptionMismatch");
    for part in ["partitions is 2, not 3", "retention.ms is 9, not 1000", "adoptionPolicy: Always"] {
        assert!(refused.message.contains(part), "{}", refused.message);
    }
}

#[test]
fn always_takes_a_different_topic_over_and_never_takes_none() {
    let always = Desired { adoption: AdoptionPolicy::Always, ..wish() };
    let smaller = Observation { partitions: 2, ..topic() };
    assert_eq!(changed(plan(&always, &nothing(), &present(smaller))).grow_to, Some(3));

    let never = Desired { adoption: AdoptionPolicy::Never, ..wish() };
    assert_eq!(refusal(plan(&never, &nothing(), &present(topic()))).reason, "TopicExists");
}

#[test]
fn a_known_topic_that_is_missing_is_lost_once_it_has_been_missing_for_a_while() {
    waits(plan(&wish(), &known(), &missing(1)), "NotSeen", "the broker that was asked does not know topic");
    assert_eq!(refusal(plan(&wish(), &known(), &missing(60))).reason, "TopicLost");
    let recreate = Desired { recreate: true, ..wish() };
    waits(plan(&recreate, &known(), &missing(1)), "NotSeen", "the broker that was asked does not know topic");
    assert!(matches!(plan(&recreate, &known(), &missing(60)), Plan::Create(_)));
}

#[test]
fn a_topic_made_again_by_somebody_else_is_lost_too() {
    let replaced = Observation { id: OTHER_ID, ..topic() };
    let refused = refusal(plan(&wish(), &known(), &present(replaced.clone())));
    assert_eq!(refused.reason, "TopicLost");
    assert!(refused.message.contains(&ID.to_string()) && refused.message.contains(&OTHER_ID.to_string()));
    // With recreate it is a topic from before, with all the care that adoption takes.
    let recreate = Desired { recreate: true, ..wish() };
    assert_eq!(plan(&recreate, &known(), &present(replaced.clone())), Plan::InSync);
    let never = Desired { adoption: AdoptionPolicy::Never, ..recreate };
    assert_eq!(refusal(plan(&never, &known(), &present(replaced))).reason, "TopicExists");
}

#[test]
fn paused_says_what_it_would_do_and_does_nothing() {
    let paused = Desired { paused: true, partitions: 5, ..wish() };
    assert!(matches!(plan(&paused, &known(), &present(topic())), Plan::Hold(differences) if differences.len() == 1));
    assert!(matches!(plan(&paused, &nothing(), &missing(0)), Plan::Hold(_)));
    assert_eq!(plan(&Desired { partitions: 3, ..paused }, &known(), &present(topic())), Plan::InSync);
}
