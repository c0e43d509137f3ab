//! Whether what a pipeline says about records that fail can be had. Checks for [`super::validate::validate`]; pure, as it is.

use std::collections::BTreeMap;

use tidegate_crds::EventPipeline;
use tidegate_settings::Span;

use super::{
    holders::Holder,
    owned::{Purpose, Wish, max_bytes, resource_name, wishes},
    validate::{Objection, World},
};
use crate::topic::plan::Refusal;

/// The longest wait is at least the first one.
pub fn backoffs(pipeline: &EventPipeline, _: &World) -> Result<(), Objection> {
    for processor in &pipeline.spec.processors {
        let Some(retry) = &processor.retry else { continue };
        let backoff = retry.backoff();
        if backoff.max() < backoff.initial() {
            let written = |span: Option<Span>, default| span.map_or(default, |span| span.to_string());
            let message = format!(
                "retry.backoff.max of processor {} is {}, less than backoff.initial, which is {}; raise max or lower initial",
                processor.name,
                written(backoff.max, "30s by default".to_owned()),
                written(backoff.initial, "200ms by default".to_owned()),
            );
            return Err(Objection::refuse("InvalidRetry", message));
        }
    }
    Ok(())
}

/// Processors that share a dead-letter topic mean the same topic.
pub fn shared(pipeline: &EventPipeline, _: &World) -> Result<(), Objection> {
    let mut first = BTreeMap::new();
    for processor in &pipeline.spec.processors {
        let Some(dead_letter) = &processor.dead_letter else { continue };
        let meant = (dead_letter.partitions(), dead_letter.retention());
        let (other, before) = *first.entry(dead_letter.topic.as_str()).or_insert((processor.name.as_str(), meant));
        let field = if before.0 != meant.0 {
            "partitions"
        } else if before.1 != meant.1 {
            "retention"
        } else {
            continue;
        };
        let message = format!(
            "processors {other} and {} share dead-letter topic {}, but differ in deadLetter.{field}; write the same in both",
            processor.name, dead_letter.topic
        );
        return Err(Objection::refuse("DeadLettersDiffer", message));
    }
    Ok(())
}

/// A topic has one use in a pipeline: records are read from it, written to it, tried again in it, or given up into it.
pub fn uses(pipeline: &EventPipeline, _: &World) -> Result<(), Objection> {
    let mut uses: BTreeMap<String, String> = BTreeMap::new();
    for processor in &pipeline.spec.processors {
        let named = |topics: &[String], verb: &str| {
            let of = |topic: &String| (topic.clone(), format!("what processor {} {verb}", processor.name));
            topics.iter().map(of).collect::<Vec<_>>()
        };
        uses.extend(named(processor.produces.as_deref().unwrap_or_default(), "writes to"));
        uses.extend(named(processor.consumes.as_ref().map_or(&[][..], |consumes| &consumes.topics), "reads"));
    }
    for wish in wishes(pipeline) {
        let one = format!("the {} of processor {}", wish.kind(), wish.processor);
        if let Some(other) = uses.insert(wish.topic.clone(), one.clone()) {
            let message = format!(
                "topic {} would be {other} and {one}; set {} of processor {} to a topic of its own",
                wish.topic,
                field(&wish),
                wish.processor,
            );
            return Err(Objection::refuse("TopicInUse", message));
        }
    }
    Ok(())
}

/// Nobody else has the topics, and what somebody made by hand will do.
pub fn holders(pipeline: &EventPipeline, world: &World) -> Result<(), Objection> {
    for wish in wishes(pipeline) {
        if let Some(holder) = world.holders.get(&wish.topic) {
            held(pipeline, &wish, holder, world)?;
        }
    }
    Ok(())
}

fn held(pipeline: &EventPipeline, wish: &Wish, holder: &Holder, world: &World) -> Result<(), Objection> {
    let Wish { topic, processor, .. } = wish;
    let kind = wish.kind();
    let refuse = |reason, message| Err(Objection::refuse(reason, message));
    match holder {
        Holder::Own { partitions: has, .. } => match wish.purpose {
            Purpose::DeadLetter { partitions, .. } if partitions < *has => refuse(
                "PartitionsCannotShrink",
                format!(
                    "dead-letter topic {topic} of processor {processor} has {has} partitions, and Kafka cannot remove any; set \
                     deadLetter.partitions to {has} or more"
                ),
            ),
            _ => Ok(()),
        },
        Holder::Made(view) => match &wish.purpose {
            Purpose::Retry { source, .. } => {
                let source_has = world.topics.get(source).and_then(|view| view.source).map(|source| source.partitions);
                let has = view.source.map(|made| made.partitions);
                match (has, source_has) {
                    (Some(has), Some(wanted)) if has < wanted => refuse(
                        "RetryTopicTooSmall",
                        format!(
                            "retry topic {topic} of processor {processor} (KafkaTopic {}) has {has} partitions and topic {source} \
                             has {wanted}, but a record waits in the partition that it came from; set spec.partitions of {} to \
                             {wanted} or more",
                            view.resource, view.resource
                        ),
                    ),
                    _ => Ok(()),
                }
            }
            Purpose::DeadLetter { .. } => Ok(()),
        },
        Holder::Foreign { resource } => refuse(
            "TopicNotAllowed",
            format!(
                "the {kind} {topic} of processor {processor} is KafkaTopic {resource}; add {} to its spec.allowedNamespaces, or set {} \
                 to another",
                pipeline.metadata.namespace.as_deref().unwrap_or_default(),
                field(wish)
            ),
        ),
        Holder::Rival { pipeline } => refuse(
            "Conflict",
            format!(
                "the {kind} {topic} of processor {processor} belongs to EventPipeline {pipeline}; set {} to a topic of this pipeline's \
                 own, or make a KafkaTopic of that topicName that both may use",
                field(wish)
            ),
        ),
        Holder::NameTaken { resource, topic: other } => refuse(
            "NameTaken",
            format!(
                "the KafkaTopic of {kind} {topic} would be called {}, but KafkaTopic {resource} is of topic {other}; rename that one, \
                 or set {} of processor {processor} to another",
                resource_name(topic),
                field(wish)
            ),
        ),
        Holder::Gone { resource } => {
            let message = format!(
                "processor {processor} waits for KafkaTopic {resource}, which goes with the pipeline that it belonged to"
            );
            Err(Objection::Wait(Refusal::new("TopicNotReady", message)))
        }
    }
}

/// How many partitions and replicas the topics are to have is known: it is their sources'.
pub fn sources(pipeline: &EventPipeline, world: &World) -> Result<(), Objection> {
    for wish in wishes(pipeline) {
        for source in wish.sources() {
            if world.topics.get(source).is_none_or(|view| view.source.is_none()) {
                let message = format!(
                    "the {} of processor {} waits until the partitions and replicas of topic {source} are known",
                    wish.kind(),
                    wish.processor
                );
                return Err(Objection::Wait(Refusal::new("TopicNotReady", message)));
            }
        }
    }
    Ok(())
}

/// The first of the topics that processes cannot use yet. To be asked after those that are the pipeline's own have been applied.
pub fn awaited(pipeline: &EventPipeline, world: &World) -> Option<Refusal> {
    wishes(pipeline).iter().find_map(|wish| {
        let (resource, why) = match world.holders.get(&wish.topic) {
            Some(Holder::Own { view, .. } | Holder::Made(view)) if view.exists && view.trouble.is_none() => {
                return None;
            }
            Some(Holder::Own { view, .. } | Holder::Made(view)) => (view.resource.clone(), view.trouble.clone()),
            _ => {
                let namespace = pipeline.metadata.namespace.as_deref().unwrap_or_default();
                (format!("{namespace}/{}", resource_name(&wish.topic)), None)
            }
        };
        let why = why.as_deref().unwrap_or("it is being created");
        let message = format!(
            "processor {} waits for {} {} (KafkaTopic {resource}): {why}",
            wish.processor,
            wish.kind(),
            wish.topic
        );
        Some(Refusal::new("TopicNotReady", message))
    })
}

/// What is used as it is and will do only most of the time.
pub fn caveats(pipeline: &EventPipeline, world: &World) -> Vec<String> {
    let small = |wish: &Wish| {
        let Some(Holder::Made(view)) = world.holders.get(&wish.topic) else { return None };
        let (has, needs) = (view.source?.max_bytes, max_bytes(wish, world)?);
        (has < needs).then(|| {
            format!(
                "{} {} (KafkaTopic {}) takes records of {has} bytes, and one may come to {needs} and would stop its partition: set \
                 max.message.bytes of {} to {needs}",
                wish.kind(),
                wish.topic,
                view.resource,
                view.resource
            )
        })
    };
    wishes(pipeline).iter().filter_map(small).collect()
}

fn field(wish: &Wish) -> &'static str {
    match wish.purpose {
        Purpose::Retry { .. } => "retry.topic",
        Purpose::DeadLetter { .. } => "deadLetter.topic",
    }
}

#[cfg(test)]
#[path = "failures_tests.rs"]
mod tests;
