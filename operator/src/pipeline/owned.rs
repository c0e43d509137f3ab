//! The KafkaTopics that a pipeline owns: a retry topic for each topic whose records are tried again, and the dead-letter topics. Pure: a
//! function of the spec and of the topics that the records come from.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::Value;
use tidegate_crds::{
    DEFAULT_CONNECTION, EventPipeline, KafkaTopic, KafkaTopicSpec,
    topic::{AdoptionPolicy, DeletionPolicy},
};

use super::{
    build::{MANAGED_BY, PIPELINE_LABEL, PROCESSOR_LABEL, hash, owner_reference},
    validate::World,
};

/// Label of an owned KafkaTopic: `retry` or `dead-letter`.
pub const PURPOSE_LABEL: &str = "tidegate.dev/purpose";

/// What a parked record or a dead letter is longer than its original by, at most: the headers that say where it came from and why.
const HEADERS: i64 = 65_536;

/// Kafka's `message.max.bytes` where nobody says otherwise.
pub const DEFAULT_MAX_BYTES: i64 = 1_048_588;

/// A topic that records come from, as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source {
    /// Partition count.
    pub partitions: i32,
    /// Partitions that it is about to have, once its retry topics do.
    pub growing_to: Option<i32>,
    /// Replicas of each partition.
    pub replicas: i32,
    /// `min.insync.replicas`.
    pub min_in_sync: i32,
    /// `max.message.bytes`.
    pub max_bytes: i64,
}

/// A topic that a pipeline needs beside those that its processors read and write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// Its name in Kafka.
    pub topic: String,
    /// The processor; of several that share it, the first.
    pub processor: String,
    /// What it is for.
    pub purpose: Purpose,
}

/// What an owned topic is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Records of `source` wait in it, in the partitions that they came from.
    Retry {
        /// Kafka name of the topic.
        source: String,
        /// The name was chosen by somebody, and so may be that of a topic with another meaning.
        named: bool,
    },
    /// Records of `sources` that were given up.
    DeadLetter {
        /// Kafka names of the topics.
        sources: BTreeSet<String>,
        /// Its partitions.
        partitions: i32,
        /// How long a record is kept.
        retention: Duration,
    },
}

impl Wish {
    /// `retry topic` or `dead-letter topic`, for a sentence.
    pub fn kind(&self) -> &'static str {
        match self.purpose {
            Purpose::Retry { .. } => "retry topic",
            Purpose::DeadLetter { .. } => "dead-letter topic",
        }
    }

    /// The topics that its records come from.
    pub fn sources(&self) -> Vec<&str> {
        match &self.purpose {
            Purpose::Retry { source, .. } => vec![source],
            Purpose::DeadLetter { sources, .. } => sources.iter().map(String::as_str).collect(),
        }
    }
}

/// Every topic that a pipeline needs for records that failed; a dead-letter topic once, however many share it.
pub fn wishes(pipeline: &EventPipeline) -> Vec<Wish> {
    let mut wishes = Vec::new();
    let mut dead_letters: BTreeMap<&str, Wish> = BTreeMap::new();
    for processor in &pipeline.spec.processors {
        for (source, topic) in processor.retry_topics() {
            let named = processor.retry.as_ref().is_some_and(|retry| retry.topic.is_some());
            let purpose = Purpose::Retry { source: source.to_owned(), named };
            wishes.push(Wish { topic, processor: processor.name.clone(), purpose });
        }
        let (Some(dead_letter), Some(consumes)) = (&processor.dead_letter, &processor.consumes) else { continue };
        let wish = dead_letters.entry(&dead_letter.topic).or_insert_with(|| Wish {
            topic: dead_letter.topic.clone(),
            processor: processor.name.clone(),
            purpose: Purpose::DeadLetter {
                sources: BTreeSet::new(),
                partitions: dead_letter.partitions(),
                retention: dead_letter.retention(),
            },
        });
        if let Purpose::DeadLetter { sources, .. } = &mut wish.purpose {
            sources.extend(consumes.topics.iter().cloned());
        }
    }
    wishes.extend(dead_letters.into_values());
    wishes
}

/// The KafkaTopics to apply: those of `wishes` that nobody else has made, each like the topics that its records come from. What lacks a
/// known source is left out.
pub fn topics(pipeline: &EventPipeline, world: &World) -> Vec<KafkaTopic> {
    let own = |wish: &Wish| world.holders.get(&wish.topic).is_none_or(super::holders::Holder::is_own);
    wishes(pipeline).iter().filter(|wish| own(wish)).filter_map(|wish| topic(pipeline, wish, world)).collect()
}

/// What the topics that a wish's records come from are like; none while one of them is unknown.
fn sources(wish: &Wish, world: &World) -> Option<Vec<Source>> {
    wish.sources().into_iter().map(|name| world.topics.get(name)?.source).collect()
}

/// `max.message.bytes` that a wish needs; none while that is unknown.
pub fn max_bytes(wish: &Wish, world: &World) -> Option<i64> {
    let greatest = sources(wish, world)?.iter().map(|source| source.max_bytes).max()?;
    Some(greatest.saturating_add(HEADERS))
}

fn topic(pipeline: &EventPipeline, wish: &Wish, world: &World) -> Option<KafkaTopic> {
    let sources = sources(wish, world)?;
    let greatest = |of: fn(&Source) -> i64| sources.iter().map(of).max();
    let standing = world.holders.get(&wish.topic).and_then(super::holders::Holder::partitions).unwrap_or(0);
    let (partitions, retention) = match &wish.purpose {
        // Kafka cannot take partitions away again, and more than the source's do no harm.
        Purpose::Retry { .. } => {
            let source = sources.first()?;
            (source.partitions.max(source.growing_to.unwrap_or(0)).max(standing), -1)
        }
        Purpose::DeadLetter { partitions, retention, .. } => {
            (*partitions, i64::try_from(retention.as_millis()).unwrap_or(i64::MAX))
        }
    };
    let mut config: BTreeMap<String, Value> = [
        ("max.message.bytes", max_bytes(wish, world)?),
        ("min.insync.replicas", greatest(|source| i64::from(source.min_in_sync))?),
        ("retention.ms", retention),
    ]
    .map(|(key, value)| (key.to_owned(), value.into()))
    .into();
    config.insert("cleanup.policy".to_owned(), "delete".into());
    if matches!(wish.purpose, Purpose::Retry { .. }) {
        config.insert("retention.bytes".to_owned(), (-1).into());
    }
    Some(KafkaTopic {
        metadata: metadata(pipeline, wish),
        spec: KafkaTopicSpec {
            topic_name: Some(wish.topic.clone()),
            partitions,
            replicas: i32::try_from(greatest(|source| i64::from(source.replicas))?).unwrap_or(i32::MAX),
            config: Some(config),
            deletion_policy: Some(DeletionPolicy::Retain),
            adoption_policy: adoption(wish),
            paused: None,
            connection: (pipeline.spec.connection() != DEFAULT_CONNECTION)
                .then(|| pipeline.spec.connection().to_owned()),
            role: None,
            recreate: None,
            allowed_namespaces: None,
        },
        status: None,
    })
}

/// A retry topic that is called as only ours are is one of an earlier life of the pipeline: taken back, and brought up to date. A name
/// that a person wrote may be that of anything, so KafkaTopic's own default guards it, and a person may set another.
fn adoption(wish: &Wish) -> Option<AdoptionPolicy> {
    matches!(wish.purpose, Purpose::Retry { named: false, .. }).then_some(AdoptionPolicy::Always)
}

fn metadata(pipeline: &EventPipeline, wish: &Wish) -> ObjectMeta {
    let name = pipeline.metadata.name.clone().unwrap_or_default();
    let mut labels: BTreeMap<String, String> =
        [("app.kubernetes.io/part-of", name.as_str()), (PIPELINE_LABEL, &name), MANAGED_BY]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into();
    match wish.purpose {
        Purpose::Retry { .. } => {
            labels.insert(PURPOSE_LABEL.to_owned(), "retry".to_owned());
            labels.insert(PROCESSOR_LABEL.to_owned(), wish.processor.clone());
        }
        Purpose::DeadLetter { .. } => {
            labels.insert(PURPOSE_LABEL.to_owned(), "dead-letter".to_owned());
        }
    }
    let mut owner = owner_reference(pipeline);
    // The topic stays whatever happens; nothing has to wait for its resource.
    owner.block_owner_deletion = Some(false);
    ObjectMeta {
        name: Some(resource_name(&wish.topic)),
        namespace: pipeline.metadata.namespace.clone(),
        labels: Some(labels),
        owner_references: Some(vec![owner]),
        ..ObjectMeta::default()
    }
}

/// A name that Kubernetes takes for the KafkaTopic of a topic: the topic's own where it can be, which is lower case (RFC 1123); otherwise
/// what is left of it, and a hash that tells it from others of which the same is left.
pub fn resource_name(topic: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let part_is_legal = |part: &str| {
        part.bytes().next().is_some_and(plain)
            && part.bytes().last().is_some_and(plain)
            && part.bytes().all(|byte| plain(byte) || byte == b'-')
    };
    if topic.split('.').all(part_is_legal) {
        return topic.to_owned();
    }
    let legal: String =
        topic.to_ascii_lowercase().chars().map(|char| if char.is_ascii_alphanumeric() { char } else { '-' }).collect();
    let legal: String = legal.trim_matches('-').chars().take(200).collect();
    let stem = if legal.is_empty() { "topic" } else { &legal };
    format!("{stem}-{}", hash([topic]))
}

#[cfg(test)]
#[path = "owned_tests.rs"]
mod tests;
