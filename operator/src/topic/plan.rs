//! From what is wished, remembered and observed to what is done, or a refusal that says why. Pure: every row of the
//! documented case table is a test in `plan_tests.rs`.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use tidegate_crds::topic::{AdoptionPolicy, TopicRole};
use tidegate_kafka::{ConfigChange, NewTopic};
use uuid::Uuid;

use super::desired::{Desired, same_value};

/// For how long a topic that was just created may be unknown to a broker.
pub const VISIBLE_WITHIN: Duration = Duration::from_secs(30);

/// For how long a known topic must be missing before it counts as lost: a broker that lags behind also misses it.
pub const LOST_AFTER: Duration = Duration::from_secs(15);

/// What the operator knows of the topic from earlier.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remembered {
    /// The topic's id.
    pub topic_id: Option<Uuid>,
    /// Configuration keys that it has set, or was about to.
    pub owned_keys: BTreeSet<String>,
    /// It was about to create the topic, and has not seen it since.
    pub creating: bool,
    /// Time since Kafka confirmed the creation, if this process saw that.
    pub created: Option<Duration>,
}

/// What Kafka says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Observed {
    /// No topic of the name, since.
    Missing(Duration),
    /// The topic.
    Present(Observation),
}

/// A topic as it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Observation {
    /// Its id.
    pub id: Uuid,
    /// Partition count.
    pub partitions: i32,
    /// Replicas of the partition that has the fewest.
    pub replicas: i32,
    /// Every key, with its value in force.
    pub config: BTreeMap<String, Setting>,
}

/// A configuration value in force.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Setting {
    /// The value.
    pub value: String,
    /// Whether it was set on the topic, rather than being the broker's default.
    pub on_topic: bool,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Nothing. The topic is as it should be.
    InSync,
    /// Make the topic.
    Create(NewTopic),
    /// Change the topic.
    Change(Change),
    /// Nothing, because the resource is paused; this is what would be done.
    Hold(Vec<Difference>),
    /// Nothing yet; observe again soon.
    Wait(Refusal),
    /// Nothing until something changes.
    Refuse(Refusal),
}

/// A change to a topic, applied whole or not at all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// The new partition count.
    pub grow_to: Option<i32>,
    /// Configuration keys to set and reset.
    pub config: ConfigChange,
    /// The same in words.
    pub differences: Vec<Difference>,
}

/// One way in which the topic is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// `partitions`, or a configuration key.
    pub what: String,
    /// What it is; none when it is not set.
    pub is: Option<String>,
    /// What it should be; none for the broker's default.
    pub should: Option<String>,
}

/// Why nothing is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// CamelCase, for programs.
    pub reason: String,
    /// A sentence that says what to do, for people.
    pub message: String,
}

impl Refusal {
    /// A refusal.
    pub fn new(reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self { reason: reason.into(), message: message.into() }
    }
}

/// Decides.
pub fn plan(desired: &Desired, remembered: &Remembered, observed: &Observed) -> Plan {
    match observed {
        Observed::Missing(since) => plan_missing(desired, remembered, *since),
        Observed::Present(topic) => plan_present(desired, remembered, topic),
    }
}

fn plan_missing(desired: &Desired, remembered: &Remembered, since: Duration) -> Plan {
    if remembered.created.is_some_and(|age| age < VISIBLE_WITHIN) {
        return not_yet(desired);
    }
    if let Some(id) = remembered.topic_id {
        if since < LOST_AFTER {
            return Plan::Wait(Refusal::new(
                "NotSeen",
                format!("the broker that was asked does not know topic {} at the moment; asking again", desired.name),
            ));
        }
        if !desired.recreate {
            return Plan::Refuse(Refusal::new(
                "TopicLost",
                format!(
                    "topic {} (id {id}) was deleted by somebody else, and its data with it; to start again with an empty \
                     topic set spec.recreate: true, otherwise restore the data or delete this resource",
                    desired.name
                ),
            ));
        }
    }
    if let Some(refusal) = contradiction(desired, None) {
        return Plan::Refuse(refusal);
    }
    if desired.paused {
        let should = format!("{} partitions, {} replicas", desired.partitions, desired.replicas);
        return Plan::Hold(vec![Difference { what: "topic".into(), is: None, should: Some(should) }]);
    }
    Plan::Create(NewTopic {
        name: desired.name.clone(),
        partitions: desired.partitions,
        // Bounded by the schema far below.
        replication_factor: i16::try_from(desired.replicas).unwrap_or(i16::MAX),
        configs: desired.config.clone(),
    })
}

fn plan_present(desired: &Desired, remembered: &Remembered, topic: &Observation) -> Plan {
    let ours = match remembered.topic_id {
        Some(id) => id == topic.id,
        // It was about to be created, so who else made it?
        None => remembered.creating,
    };
    if !ours && remembered.created.is_some_and(|age| age < VISIBLE_WITHIN) {
        return not_yet(desired);
    }
    if !ours && let Some(refusal) = replaced(desired, remembered, topic).or_else(|| not_adoptable(desired, topic)) {
        return Plan::Refuse(refusal);
    }
    let checks = [shrink, replicas_differ, event_store_grows, ordered_consumers];
    let refusal = checks.into_iter().find_map(|check| check(desired, topic));
    if let Some(refusal) = refusal.or_else(|| contradiction(desired, Some(topic))) {
        return Plan::Refuse(refusal);
    }
    let change = change(desired, &remembered.owned_keys, topic);
    if change.differences.is_empty() {
        Plan::InSync
    } else if desired.paused {
        Plan::Hold(change.differences)
    } else {
        Plan::Change(change)
    }
}

fn not_yet(desired: &Desired) -> Plan {
    let message = format!("topic {} was created a moment ago; waiting until the brokers know it", desired.name);
    Plan::Wait(Refusal::new("Creating", message))
}

fn change(desired: &Desired, owned: &BTreeSet<String>, topic: &Observation) -> Change {
    let mut change = Change::default();
    if topic.partitions < desired.partitions {
        change.grow_to = Some(desired.partitions);
        change.differences.push(Difference {
            what: "partitions".into(),
            is: Some(topic.partitions.to_string()),
            should: Some(desired.partitions.to_string()),
        });
    }
    let on_topic = |key: &str| topic.config.get(key).filter(|setting| setting.on_topic).map(|setting| &setting.value);
    for (key, value) in &desired.config {
        // A default that happens to be the same is set all the same: the default may change, the wish does not.
        if on_topic(key).is_none_or(|present| !same_value(present, value)) {
            change.config.set.insert(key.clone(), value.clone());
            change.differences.push(Difference {
                what: key.clone(),
                is: topic.config.get(key).map(|setting| setting.value.clone()),
                should: Some(value.clone()),
            });
        }
    }
    for key in owned.iter().filter(|key| !desired.config.contains_key(*key)) {
        if let Some(present) = on_topic(key) {
            change.config.reset.insert(key.clone());
            change.differences.push(Difference { what: key.clone(), is: Some(present.clone()), should: None });
        }
    }
    change
}

/// Somebody deleted the topic and made another of its name.
fn replaced(desired: &Desired, remembered: &Remembered, topic: &Observation) -> Option<Refusal> {
    let old = remembered.topic_id.filter(|_| !desired.recreate)?;
    Some(Refusal::new(
        "TopicLost",
        format!(
            "topic {} was deleted and made again by somebody else: it had id {old} and now has {}, and the data of the old \
             one is gone; to take the new one over set spec.recreate: true, otherwise delete this resource",
            desired.name, topic.id
        ),
    ))
}

fn not_adoptable(desired: &Desired, topic: &Observation) -> Option<Refusal> {
    match desired.adoption {
        AdoptionPolicy::Always => None,
        AdoptionPolicy::Never => Some(Refusal::new(
            "TopicExists",
            format!(
                "topic {} existed before this resource, and spec.adoptionPolicy is Never; choose another spec.topicName in a \
                 new KafkaTopic, or set spec.adoptionPolicy to IfMatching or Always",
                desired.name
            ),
        )),
        AdoptionPolicy::IfMatching => {
            let mut unlike = Vec::new();
            if topic.partitions != desired.partitions {
                unlike.push(format!("partitions is {}, not {}", topic.partitions, desired.partitions));
            }
            if topic.replicas != desired.replicas {
                unlike.push(format!("replicas is {}, not {}", topic.replicas, desired.replicas));
            }
            for (key, value) in &desired.config {
                match topic.config.get(key) {
                    Some(setting) if same_value(&setting.value, value) => {}
                    Some(setting) => unlike.push(format!("{key} is {}, not {value}", setting.value)),
                    None => unlike.push(format!("{key} is not known to the broker")),
                }
            }
            (!unlike.is_empty()).then(|| {
                Refusal::new(
                    "AdoptionMismatch",
                    format!(
                        "topic {} existed before this resource and differs from it: {}; make spec the same, or set \
                         spec.adoptionPolicy: Always to change the topic",
                        desired.name,
                        unlike.join("; ")
                    ),
                )
            })
        }
    }
}

fn shrink(desired: &Desired, topic: &Observation) -> Option<Refusal> {
    (topic.partitions > desired.partitions).then(|| {
        Refusal::new(
            "PartitionsCannotShrink",
            format!(
                "topic {name} has {has} partitions and spec.partitions is {wished}, but Kafka cannot remove partitions; set \
                 spec.partitions to {has} or more",
                name = desired.name,
                has = topic.partitions,
                wished = desired.partitions
            ),
        )
    })
}

fn replicas_differ(desired: &Desired, topic: &Observation) -> Option<Refusal> {
    (topic.replicas != desired.replicas).then(|| {
        Refusal::new(
            "ReplicasDiffer",
            format!(
                "topic {name} has {has} replicas and spec.replicas is {wished}; this version does not move replicas, so set \
                 spec.replicas to {has}, or reassign with Kafka's own tool first",
                name = desired.name,
                has = topic.replicas,
                wished = desired.replicas
            ),
        )
    })
}

fn event_store_grows(desired: &Desired, topic: &Observation) -> Option<Refusal> {
    (desired.role == TopicRole::EventStore && topic.partitions < desired.partitions).then(|| {
        Refusal::new(
            "EventStoreCannotGrow",
            format!(
                "topic {} is an EventStore: {} partitions cannot become {}, because its keys would move and their history \
                 would stay; make another KafkaTopic with more partitions and replay into it",
                desired.name, topic.partitions, desired.partitions
            ),
        )
    })
}

fn ordered_consumers(desired: &Desired, topic: &Observation) -> Option<Refusal> {
    let grows = topic.partitions < desired.partitions;
    let consented = desired.reorder_consent == Some(desired.partitions);
    (grows && !consented && !desired.ordered_consumers.is_empty()).then(|| {
        Refusal::new(
            "OrderedConsumers",
            format!(
                "growing topic {} from {} to {} partitions moves keys, and {} read it in order per key; set the annotation \
                 tidegate.dev/allow-reorder: \"{}\", and the operator stops the processors that produce to it, waits until its \
                 consumers are through, grows it and starts them again (stop other producers yourself before), or put \
                 spec.partitions back",
                desired.name,
                topic.partitions,
                desired.partitions,
                desired.ordered_consumers.join(", "),
                desired.partitions,
            ),
        )
    })
}

/// Wishes that cannot be had together.
fn contradiction(desired: &Desired, topic: Option<&Observation>) -> Option<Refusal> {
    let present = |key: &str| topic.and_then(|topic| topic.config.get(key)).map(|setting| setting.value.as_str());
    let value = |key: &str| desired.config.get(key).map(String::as_str).or_else(|| present(key));
    let compacts = value("cleanup.policy").is_some_and(|policy| policy.split(',').any(|part| part.trim() == "compact"));
    if desired.role == TopicRole::EventStore && compacts {
        return Some(Refusal::new(
            "EventStoreCannotCompact",
            format!(
                "topic {} is an EventStore and cleanup.policy would compact it, which removes events; set \
                 spec.config[cleanup.policy] to delete, or spec.role to Stream",
                desired.name
            ),
        ));
    }
    let in_sync = desired.config.get("min.insync.replicas").and_then(|count| count.trim().parse::<i32>().ok())?;
    (in_sync > desired.replicas).then(|| {
        Refusal::new(
            "InvalidConfig",
            format!(
                "min.insync.replicas {in_sync} is more than the {} replicas of topic {}, so nothing could be written to it; \
                 lower it or raise spec.replicas",
                desired.replicas, desired.name
            ),
        )
    })
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
