//! Whether a pipeline can run as it is written. Pure: what the world is like comes in as [`World`], and the first thing that is
//! wrong goes out as a sentence. Nothing of a pipeline is applied unless all of it is valid.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_crds::EventPipeline;
use tidegate_settings::{Run, WalletRole};

use super::{
    build::object_name,
    claims::{Claim, claims},
    failures,
    holders::Holder,
    owned::Source,
};
use crate::{config::ImageConfig, topic::plan::Refusal};

/// What validation needs to know of the world.
#[derive(Clone, Debug, Default)]
pub struct World {
    /// Names of the operator's Kafka connections.
    pub connections: BTreeSet<String>,
    /// Those of them on which nobody logs in.
    pub without_users: BTreeSet<String>,
    /// Images of the services.
    pub images: BTreeMap<String, ImageConfig>,
    /// Secrets by name, each with the keys that hold something; none: no such Secret.
    pub secrets: BTreeMap<String, Option<SecretView>>,
    /// Topics of the connection by Kafka name, those that this pipeline may name.
    pub topics: BTreeMap<String, TopicView>,
    /// Topics of the connection by Kafka name that it may not name, with their resource.
    pub foreign_topics: BTreeMap<String, String>,
    /// Who has the topics that the pipeline wishes for, by Kafka name; none: nobody yet.
    pub holders: BTreeMap<String, Holder>,
    /// Groups and the like that older pipelines use on the same Kafka cluster, with the processor.
    pub claimed: BTreeMap<String, String>,
    /// The pipeline was made a moment ago: what it names may still be on its way.
    pub young: bool,
    /// Processors with `scaling` whose Deployment somebody else scales, with who that is.
    pub rivals: BTreeMap<String, String>,
    /// Objects of others that have a name which a processor needs, as `Kind name`.
    pub taken: Vec<String>,
}

/// A Secret, without its values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SecretView {
    /// Keys that hold something.
    pub keys: BTreeSet<String>,
    /// Values that are no secret, by key: `security-protocol`, `sasl-mechanism`.
    pub plain: BTreeMap<String, String>,
    /// Changes with the Secret.
    pub version: String,
}

/// A KafkaTopic, as a pipeline sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicView {
    /// `namespace/name`.
    pub resource: String,
    /// Whether the topic exists.
    pub exists: bool,
    /// Why it cannot be used, in the words of its own status.
    pub trouble: Option<String>,
    /// What it is like; none while that is unknown.
    pub source: Option<Source>,
}

/// What stands in the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Objection {
    /// Somebody has to change something.
    Refuse(Refusal),
    /// It will pass: a topic is on its way.
    Wait(Refusal),
}

impl Objection {
    /// Somebody has to do what `message` says.
    pub fn refuse(reason: &str, message: String) -> Self {
        Self::Refuse(Refusal::new(reason, message))
    }
}

/// The first objection, if there is one. Those that somebody has to act on come first.
pub fn validate(pipeline: &EventPipeline, world: &World) -> Result<(), Objection> {
    let checks = [
        connection,
        secrets,
        runs,
        groups,
        rivals,
        failures::backoffs,
        failures::shared,
        failures::uses,
        failures::holders,
        names,
        topics,
        failures::sources,
    ];
    checks.into_iter().try_for_each(|check| check(pipeline, world)).map_err(|objection| match objection {
        // Applied together with its topics and Secrets, in no particular order.
        Objection::Refuse(refusal)
            if world.young && ["TopicUnknown", "SecretMissing"].contains(&refusal.reason.as_str()) =>
        {
            Objection::Wait(refusal)
        }
        other => other,
    })
}

fn connection(pipeline: &EventPipeline, world: &World) -> Result<(), Objection> {
    let name = pipeline.spec.connection();
    if world.connections.contains(name) {
        return Ok(());
    }
    let known = world.connections.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    let message = format!("the operator has no Kafka connection {name}; set spec.kafka.connection to one of: {known}");
    Err(Objection::refuse("UnknownConnection", message))
}

fn secrets(pipeline: &EventPipeline, world: &World) -> Result<(), Objection> {
    let namespace = pipeline.metadata.namespace.as_deref().unwrap_or_default();
    if let Some(database) = &pipeline.spec.database {
        let name = &database.secret_ref.name;
        require(name, secret(namespace, name, "spec.database.secretRef", world)?, &["uri"])?;
    }
    let connection = pipeline.spec.connection();
    let Some(name) = pipeline.spec.kafka.brought_secret() else {
        if !world.without_users.contains(connection) {
            return Ok(());
        }
        let message = format!(
            "Kafka connection {connection} has no users, because its security-protocol is PLAINTEXT; name a Secret in \
             spec.kafka.user.secretRef"
        );
        return Err(Objection::refuse("NoKafkaUsers", message));
    };
    let kafka = secret(namespace, name, "spec.kafka.user.secretRef", world)?;
    require(name, kafka, &["bootstrap-servers", "security-protocol"])?;
    match kafka.plain.get("security-protocol").map(|value| value.trim()) {
        Some("PLAINTEXT") => {}
        Some("SASL_SSL") => {
            require(name, kafka, &["sasl-mechanism", "username", "password"])?;
            let mechanism = kafka.plain.get("sasl-mechanism").map(|value| value.trim()).unwrap_or_default();
            if !["SCRAM-SHA-512", "SCRAM-SHA-256"].contains(&mechanism) {
                let message = format!(
                    "Secret {name} has sasl-mechanism {mechanism:?}; set it to SCRAM-SHA-512 (or SCRAM-SHA-256)"
                );
                return Err(Objection::refuse("SecretInvalid", message));
            }
        }
        other => {
            let message = format!(
                "Secret {name} has security-protocol {:?}; set it to SASL_SSL (or PLAINTEXT for a broker without security)",
                other.unwrap_or_default()
            );
            return Err(Objection::refuse("SecretInvalid", message));
        }
    }
    Ok(())
}

fn secret<'a>(namespace: &str, name: &str, field: &str, world: &'a World) -> Result<&'a SecretView, Objection> {
    world.secrets.get(name).and_then(Option::as_ref).ok_or_else(|| {
        let message =
            format!("there is no Secret {name} in namespace {namespace}; create it, or name another in {field}");
        Objection::refuse("SecretMissing", message)
    })
}

fn require(name: &str, secret: &SecretView, keys: &[&str]) -> Result<(), Objection> {
    let missing: Vec<&str> = keys.iter().copied().filter(|key| !secret.keys.contains(*key)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let message = format!("Secret {name} has no value for {}; add it", missing.join(", "));
    Err(Objection::refuse("SecretKeyMissing", message))
}

/// What a service needs to run in its role; the schema says the same at apply, for those who use a recent one.
fn runs(pipeline: &EventPipeline, world: &World) -> Result<(), Objection> {
    for processor in &pipeline.spec.processors {
        let name = &processor.name;
        let service = processor.run.service();
        let wallet = match &processor.run {
            Run::Wallet(wallet) => wallet,
            Run::Container(_) if processor.image.is_some() => {
                let message = format!(
                    "processor {name} has two images, image and run.container.image; take image out, which is for replacing the \
                     image of a service"
                );
                return Err(Objection::refuse("SpecConflict", message));
            }
            Run::Container(_) => continue,
        };
        if processor.image.is_none() && !world.images.contains_key(service) {
            let message = format!("the operator has no image for {service}; set image of processor {name}");
            return Err(Objection::refuse("ImageUnknown", message));
        }
        let lacks = match wallet.role {
            WalletRole::Commands if processor.http.is_none() => Some("http"),
            WalletRole::Commands | WalletRole::Publisher if processor.produces.as_ref().is_none_or(Vec::is_empty) => {
                Some("produces")
            }
            WalletRole::LedgerProjector | WalletRole::ReadModelProjector if processor.consumes.is_none() => {
                Some("consumes")
            }
            _ if pipeline.spec.database.is_none() => Some("spec.database"),
            _ => None,
        };
        if let Some(field) = lacks {
            let message =
                format!("processor {name} runs {service} in role {:?}, which needs {field}; set it", wallet.role);
            return Err(Objection::refuse("SpecIncomplete", message));
        }
    }
    Ok(())
}

/// Nobody else uses the groups, or what is committed and written under besides.
fn groups(pipeline: &EventPipeline, world: &World) -> Result<(), Objection> {
    let mut own: BTreeMap<String, String> = BTreeMap::new();
    for Claim { name, what, processor } in claims(pipeline) {
        if let Some(other) = own.get(&name) {
            let message = format!(
                "{what} {name} of processor {processor} is used by processor {other} too, and the two would share what is theirs alone; \
                 choose another consumes.group"
            );
            return Err(Objection::refuse("GroupInUse", message));
        }
        if let Some(other) = world.claimed.get(&name) {
            let message = format!(
                "{what} {name} of processor {processor} is used on this Kafka cluster by processor {other}, which was there before, and the \
                 two would share what is theirs alone; choose another consumes.group (this pipeline takes over when that one goes)"
            );
            return Err(Objection::refuse("Conflict", message));
        }
        own.insert(name, processor);
    }
    Ok(())
}

fn rivals(pipeline: &EventPipeline, world: &World) -> Result<(), Objection> {
    let Some((processor, rival)) = world.rivals.first_key_value() else { return Ok(()) };
    let message = format!(
        "processor {processor} has scaling, and {rival} sets the number of its pods too ({}), so that the two would undo each other; \
         delete that, or take scaling out",
        object_name(pipeline, processor)
    );
    Err(Objection::refuse("ScaledByOthers", message))
}

fn names(_: &EventPipeline, world: &World) -> Result<(), Objection> {
    if world.taken.is_empty() {
        return Ok(());
    }
    let message = format!(
        "{} exists already and is not this pipeline's; rename the processor or the pipeline, or delete it",
        world.taken.join(", ")
    );
    Err(Objection::refuse("NameTaken", message))
}

fn topics(pipeline: &EventPipeline, world: &World) -> Result<(), Objection> {
    let namespace = pipeline.metadata.namespace.as_deref().unwrap_or_default();
    let named = || {
        let of = |processor: &'_ tidegate_crds::pipeline::Processor| {
            processor.topics().map(|topic| (processor.name.clone(), topic.to_owned())).collect::<Vec<_>>()
        };
        pipeline.spec.processors.iter().flat_map(of)
    };
    for (processor, topic) in named() {
        if world.topics.contains_key(&topic) {
            continue;
        }
        if let Some(resource) = world.foreign_topics.get(&topic) {
            let message = format!(
                "processor {processor} names topic {topic}, which is KafkaTopic {resource}; add {namespace} to its \
                 spec.allowedNamespaces, or name another"
            );
            return Err(Objection::refuse("TopicNotAllowed", message));
        }
        let message = format!(
            "processor {processor} names topic {topic}, but there is no KafkaTopic of that topicName in namespace \
             {namespace}; create it, or correct the name"
        );
        return Err(Objection::refuse("TopicUnknown", message));
    }
    for (processor, topic) in named() {
        let view = &world.topics[&topic];
        if !view.exists || view.trouble.is_some() {
            let why = view.trouble.as_deref().unwrap_or("it is being created");
            let message =
                format!("processor {processor} waits for topic {topic} (KafkaTopic {}): {why}", view.resource);
            return Err(Objection::Wait(Refusal::new("TopicNotReady", message)));
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "validate_tests.rs"]
mod tests;
