//! What there is beside what is asked for: objects, users, rights and topics that nobody wants, and those that are lacking. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use tidegate_kafka::{Acl, Operation, PatternType, ResourceType};

use super::wanted::{Resource, Wanted};

/// What the installation of the local cluster puts before its users' names.
pub const INSTALLATION: &str = "tidegate";

/// An object that is labelled as the operator's.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Object {
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// The pipeline and processor that its labels name.
    pub of: (String, String),
    /// The uids that it says it is owned by.
    pub owners: Vec<String>,
}

/// A topic as Kafka has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FoundTopic {
    /// Its partitions.
    pub partitions: i64,
    /// Its configuration, as text.
    pub config: BTreeMap<String, String>,
}

/// What a look at the world found, of this run's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The uids of the pipelines that there are, by name.
    pub pipelines: BTreeMap<String, String>,
    /// The names of the KafkaTopics that there are.
    pub resources: BTreeSet<String>,
    /// Everything in the namespace that is labelled as the operator's.
    pub objects: BTreeSet<Object>,
    /// The user that each managed processor's Secret holds, by the Secret's name.
    pub secrets: BTreeMap<String, String>,
    /// Kafka's users with the namespace's prefix.
    pub users: BTreeSet<String>,
    /// ACLs of principals with that prefix.
    pub acls: BTreeSet<Acl>,
    /// Topics with the run's prefix.
    pub topics: BTreeMap<String, FoundTopic>,
}

/// What users of a namespace begin with.
pub fn prefix(namespace: &str) -> String {
    format!("{INSTALLATION}.{namespace}.")
}

/// A sentence for everything that is there and should not be, or is not there and should be, or is otherwise than it should be.
/// `retained`: topics that were asked for once and are kept on purpose.
pub fn orphans(found: &Found, wanted: &Wanted, retained: &BTreeSet<String>) -> Vec<String> {
    let mut sentences = objects(found, wanted);
    sentences.extend(users(found, wanted));
    sentences.extend(topics(found, wanted, retained));
    sentences
}

fn live(wanted: &Wanted) -> impl Iterator<Item = (&String, &Resource, &Value, &str)> {
    let pipelines = wanted.pipelines.iter().filter(|(_, pipeline)| pipeline.there);
    pipelines.flat_map(|(name, pipeline)| {
        let named = move |processor| (name, pipeline, processor, text(processor, "name"));
        pipeline.processors().iter().map(named)
    })
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

fn objects(found: &Found, wanted: &Wanted) -> Vec<String> {
    let mut sentences = Vec::new();
    let (must, may) = wished(wanted);
    let living: BTreeSet<(String, String)> = live(wanted).map(|(name, _, _, of)| (name.clone(), of.into())).collect();
    for object in &found.objects {
        let Object { kind, name, of, owners } = object;
        let asked = (kind.clone(), name.clone());
        // Pods and ReplicaSets have names of their own.
        let is_wanted = match kind.as_str() {
            "Pod" | "ReplicaSet" => living.contains(of),
            _ => must.contains(&asked) || may.contains(&asked),
        };
        let is_owned = matches!(kind.as_str(), "Pod" | "ReplicaSet")
            || found.pipelines.get(&of.0).is_some_and(|uid| owners.contains(uid));
        match (is_wanted, is_owned) {
            (false, _) => sentences.push(format!("{kind} {name} is there, and no spec asks for it")),
            (true, false) => sentences.push(format!("{kind} {name} is not owned by the EventPipeline that there is")),
            (true, true) => {}
        }
    }
    let there: BTreeSet<(String, String)> =
        found.objects.iter().map(|object| (object.kind.clone(), object.name.clone())).collect();
    sentences.extend(must.difference(&there).map(|(kind, name)| format!("{kind} {name} is not there")));
    for (kind, resources, there) in [
        ("EventPipeline", &wanted.pipelines, found.pipelines.keys().collect::<BTreeSet<_>>()),
        ("KafkaTopic", &wanted.topics, found.resources.iter().collect()),
    ] {
        let unlike = resources.iter().filter(|(name, resource)| resource.there != there.contains(name));
        sentences.extend(unlike.map(|(name, resource)| match resource.there {
            true => format!("{kind} {name} is not there"),
            false => format!("{kind} {name} was deleted, and is there"),
        }));
    }
    sentences
}

type Names = BTreeSet<(String, String)>;

/// Objects that there must be, and those that there may be: how many pods there are is sometimes the operator's choice.
pub fn wished(wanted: &Wanted) -> (Names, Names) {
    let (mut must, mut may) = (Names::new(), Names::new());
    for (pipeline, resource, processor, name) in live(wanted) {
        let own = format!("{pipeline}-{name}");
        for kind in ["ServiceAccount", "ConfigMap", "Deployment"] {
            must.insert((kind.into(), own.clone()));
        }
        if !processor["http"].is_null() {
            must.insert(("Service".into(), own.clone()));
        }
        if processor["replicas"].as_i64().is_some_and(|replicas| replicas > 1) {
            must.insert(("PodDisruptionBudget".into(), own.clone()));
        } else if processor["scaling"].is_object() {
            may.insert(("PodDisruptionBudget".into(), own.clone()));
        }
        if resource.is_managed() {
            must.insert(("Secret".into(), format!("{own}-kafka")));
        }
        must.insert(("ConfigMap".into(), format!("{pipeline}.rules")));
        if !processor["consumes"].is_null() {
            must.insert(("ConfigMap".into(), format!("{pipeline}.{name}.rules")));
        }
        must.extend(put_aside(processor).into_iter().map(|topic| ("KafkaTopic".into(), topic)));
    }
    (must, may)
}

/// Topics for what fails in a processor: those to try again, and that of dead letters.
pub fn put_aside(processor: &Value) -> Vec<String> {
    let mut topics = Vec::new();
    if processor["retry"].is_object() {
        topics.extend(consumed(processor).map(|topic| format!("{}.{topic}.retry", group(processor))));
    }
    topics.extend(processor["deadLetter"]["topic"].as_str().map(str::to_owned));
    topics
}

fn consumed(processor: &Value) -> impl Iterator<Item = &str> {
    processor["consumes"]["topics"].as_array().into_iter().flatten().filter_map(Value::as_str)
}

fn group(processor: &Value) -> &str {
    text(&processor["consumes"], "group")
}

fn users(found: &Found, wanted: &Wanted) -> Vec<String> {
    let mut sentences = Vec::new();
    let (mut users, mut acls) = (BTreeSet::new(), BTreeSet::new());
    for (pipeline, resource, processor, name) in live(wanted).filter(|(_, resource, ..)| resource.is_managed()) {
        let _ = resource;
        let secret = format!("{pipeline}-{name}-kafka");
        let stem = format!("{}{pipeline}.{name}.", prefix(&wanted.run));
        match found.secrets.get(&secret) {
            Some(user) if ["a", "b"].iter().any(|slot| *user == format!("{stem}{slot}")) => {
                acls.extend(rights(&wanted.run, pipeline, processor, user));
                users.insert(user.clone());
            }
            Some(user) => sentences.push(format!("Secret {secret} holds user {user}, which is not the processor's")),
            None => sentences.push(format!("Secret {secret} holds no user")),
        }
    }
    let too_many = found.users.difference(&users).map(|user| format!("Kafka has user {user}, which no processor owns"));
    let too_few = users.difference(&found.users).map(|user| format!("Kafka lacks user {user}, which a Secret holds"));
    let granted = found.acls.difference(&acls).map(|acl| format!("Kafka has a right that no spec asks for: {acl}"));
    let denied = acls.difference(&found.acls).map(|acl| format!("Kafka lacks a right: {acl}"));
    sentences.extend(too_many.chain(too_few).chain(granted).chain(denied));
    sentences
}

/// The table of docs/reference/secrets.md, written out here and not taken from the operator, so that an operator that gives too much
/// does not take the checker with it.
pub fn rights(namespace: &str, pipeline: &str, processor: &Value, user: &str) -> BTreeSet<Acl> {
    const LOOK: &[Operation] = &[Operation::DESCRIBE];
    const READ: &[Operation] = &[Operation::READ, Operation::DESCRIBE];
    const WRITE: &[Operation] = &[Operation::WRITE, Operation::DESCRIBE];
    const TRIM: &[Operation] = &[Operation::READ, Operation::WRITE, Operation::DESCRIBE, Operation::DELETE];
    const TOPIC: ResourceType = ResourceType::TOPIC;
    const GROUP: ResourceType = ResourceType::GROUP;
    let mut rights: Vec<(ResourceType, String, &[Operation])> = Vec::new();
    let mut transactions: Vec<String> = Vec::new();
    let produced: Vec<&str> =
        processor["produces"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    rights.extend(produced.iter().map(|topic| (TOPIC, (*topic).to_owned(), WRITE)));
    if matches!(text(&processor["run"]["wallet"], "role"), "Commands" | "Publisher") {
        let relay = format!("kafka-publisher.{namespace}.{pipeline}");
        rights.extend(produced.first().map(|topic| (TOPIC, (*topic).to_owned(), READ)));
        rights.extend([(GROUP, relay.clone(), READ), (GROUP, "kafka-publisher".into(), LOOK)]);
        transactions.push(format!("{relay}."));
    }
    if !processor["consumes"].is_null() {
        let group = group(processor);
        rights.extend(consumed(processor).map(|topic| (TOPIC, topic.to_owned(), READ)));
        rights.push((GROUP, group.to_owned(), READ));
        if processor["retry"].is_object() {
            rights.extend(consumed(processor).map(|topic| (TOPIC, format!("{group}.{topic}.retry"), TRIM)));
            rights.push((GROUP, format!("{group}.retry"), READ));
        }
        rights.extend(processor["deadLetter"]["topic"].as_str().map(|topic| (TOPIC, topic.to_owned(), WRITE)));
        if !put_aside(processor).is_empty() || !produced.is_empty() {
            transactions.push(format!("{group}."));
        }
    }
    let acl = |of, pattern, name: &str, operation: &Operation| Acl::allow(user, *operation, of, pattern, name);
    let whole = rights.iter().flat_map(|(of, name, operations)| {
        operations.iter().map(move |operation| acl(*of, PatternType::LITERAL, name, operation))
    });
    let begun = transactions.iter().flat_map(|name| {
        WRITE.iter().map(move |operation| acl(ResourceType::TRANSACTIONAL_ID, PatternType::PREFIXED, name, operation))
    });
    whole.chain(begun).collect()
}

fn topics(found: &Found, wanted: &Wanted, retained: &BTreeSet<String>) -> Vec<String> {
    let mut sentences = Vec::new();
    let mut asked: BTreeSet<String> = live(wanted).flat_map(|(_, _, processor, _)| put_aside(processor)).collect();
    for topic in wanted.topics.values().filter(|topic| topic.there) {
        let name = text(&topic.spec, "topicName");
        asked.insert(name.to_owned());
        let Some(is) = found.topics.get(name) else { continue };
        if topic.spec["partitions"] != is.partitions {
            sentences.push(format!("topic {name} has {} partitions, not {}", is.partitions, topic.spec["partitions"]));
        }
        for (key, value) in topic.spec["config"].as_object().into_iter().flatten() {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let has = is.config.get(key).map_or("nothing", String::as_str);
            if has != value {
                sentences.push(format!("topic {name} has {has} as {key}, not {value}"));
            }
        }
    }
    let missing = asked.iter().filter(|name| !found.topics.contains_key(*name));
    sentences.extend(missing.map(|name| format!("topic {name} is not in Kafka")));
    let strays = found.topics.keys().filter(|name| !asked.contains(*name) && !retained.contains(*name));
    sentences.extend(
        strays.map(|name| format!("topic {name} is in Kafka; nothing asks for it, and nothing said to keep it")),
    );
    sentences
}

/// Topics that stay when what asks for them goes: those that say so, and all for what fails.
pub fn kept(wanted: &Wanted) -> BTreeSet<String> {
    let spoken = wanted.topics.values().filter(|topic| topic.spec["deletionPolicy"] != "Delete");
    let spoken = spoken.map(|topic| text(&topic.spec, "topicName").to_owned());
    let aside = wanted.pipelines.values().flat_map(|pipeline| pipeline.processors().iter().flat_map(put_aside));
    spoken.chain(aside).collect()
}

/// Why a resource is not yet as its spec asks; none when it is.
pub fn unconverged(resource: &Value, asked: &Resource) -> Option<String> {
    let named =
        |what: String| Some(format!("{} {} {what}", text(resource, "kind"), text(&resource["metadata"], "name")));
    let status = &resource["status"];
    if !crate::resources::is_ready(resource) {
        return named(format!("is not Ready: {}", status["conditions"]));
    }
    let conditions = status["conditions"].as_array().into_iter().flatten();
    let wrong = |kind: &&str, condition: &Value| condition["type"] == **kind && condition["status"] == "True";
    for condition in conditions {
        if let Some(kind) = ["Reconciling", "Stalled", "Drifted"].iter().find(|kind| wrong(kind, condition)) {
            return named(format!("is {kind}: {}", condition["message"]));
        }
    }
    for processor in asked.processors() {
        for (field, records) in [("replay", "replays"), ("redrive", "redrives")] {
            let Some(id) = processor[field]["id"].as_str() else { continue };
            let mut said = status[records].as_array().into_iter().flatten();
            let found = said.find(|record| record["id"] == id && record["processor"] == processor["name"]);
            let phase = found.map_or("unknown", |record| text(record, "phase"));
            if !matches!(phase, "Done" | "Refused" | "Recorded" | "Cancelled") {
                return named(format!("has {field} {id} of {} in phase {phase}", processor["name"]));
            }
        }
    }
    let users = status["users"].as_array().map_or(0, Vec::len);
    let should = if asked.is_managed() { asked.processors().len() } else { 0 };
    if asked.spec["processors"].is_array() && users != should {
        return named(format!("has {users} users on record, not {should}: {}", status["users"]));
    }
    None
}

#[cfg(test)]
#[path = "orphans_tests.rs"]
mod tests;
