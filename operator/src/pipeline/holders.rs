//! Who has the topics that a pipeline wishes for: itself, somebody who made a KafkaTopic by hand, or another pipeline. Looked up among the
//! KafkaTopics and pipelines that are watched.

use std::collections::BTreeMap;

use tidegate_crds::{EventPipeline, KafkaTopic};

use super::{
    children::owner,
    may_name,
    owned::{resource_name, wishes},
    resolve::{is_older, named, topic_view},
    validate::TopicView,
};
use crate::context::Context;

/// Who has a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    /// This pipeline.
    Own {
        /// `spec.partitions` of its KafkaTopic.
        partitions: i32,
        /// The topic.
        view: TopicView,
    },
    /// Somebody made a KafkaTopic that this pipeline may name.
    Made(TopicView),
    /// A KafkaTopic that this pipeline may not name.
    Foreign {
        /// `namespace/name`.
        resource: String,
    },
    /// Another pipeline.
    Rival {
        /// `namespace/name` of it.
        pipeline: String,
    },
    /// A pipeline that is no more; its KafkaTopic is about to go.
    Gone {
        /// `namespace/name` of the KafkaTopic.
        resource: String,
    },
    /// There is a KafkaTopic of the name that this pipeline's would have, for another topic.
    NameTaken {
        /// `namespace/name`.
        resource: String,
        /// Kafka name of the other topic.
        topic: String,
    },
}

impl Holder {
    /// It is this pipeline's own.
    pub fn is_own(&self) -> bool {
        matches!(self, Self::Own { .. })
    }

    /// Partitions that its own KafkaTopic asks for.
    pub fn partitions(&self) -> Option<i32> {
        match self {
            Self::Own { partitions, .. } => Some(*partitions),
            _ => None,
        }
    }
}

/// The holder of each topic that `pipeline` wishes for, where there is one.
pub fn holders(context: &Context, pipeline: &EventPipeline) -> BTreeMap<String, Holder> {
    let wishes = wishes(pipeline);
    let rivals = if wishes.is_empty() { BTreeMap::new() } else { rivals(context, pipeline) };
    let of = |topic: String| {
        let holder = holder(context, pipeline, &topic);
        let rival = || rivals.get(&topic).map(|pipeline| Holder::Rival { pipeline: pipeline.clone() });
        holder.or_else(rival).or_else(|| name_taken(context, pipeline, &topic)).map(|holder| (topic, holder))
    };
    wishes.into_iter().filter_map(|wish| of(wish.topic)).collect()
}

fn holder(context: &Context, pipeline: &EventPipeline, topic: &str) -> Option<Holder> {
    let claims = |other: &KafkaTopic| other.connection() == pipeline.spec.connection() && other.topic_name() == topic;
    let mut found: Vec<Holder> =
        context.topics.state_filter(claims).iter().map(|topic| one(context, pipeline, topic)).collect();
    // Of several that claim it: one's own, then the one that has it.
    found.sort_by_key(|holder| match holder {
        Holder::Own { .. } => 0,
        Holder::Made(view) if view.exists && view.trouble.is_none() => 1,
        Holder::Rival { .. } | Holder::Foreign { .. } => 2,
        Holder::Made(_) | Holder::Gone { .. } | Holder::NameTaken { .. } => 3,
    });
    found.into_iter().next()
}

fn one(context: &Context, pipeline: &EventPipeline, topic: &KafkaTopic) -> Holder {
    let resource = named(&topic.metadata);
    let view = topic_view(resource.clone(), topic, &context.topic_memories.status(topic));
    match owner(&topic.metadata) {
        Some(uid) if Some(uid) == pipeline.metadata.uid.as_deref() => {
            Holder::Own { partitions: topic.spec.partitions, view }
        }
        Some(uid) => {
            let lives = |other: &EventPipeline| other.metadata.uid.as_deref() == Some(uid);
            match context.pipelines.state_filter(lives).first() {
                Some(other) => Holder::Rival { pipeline: named(&other.metadata) },
                None => Holder::Gone { resource },
            }
        }
        None if may_name(topic, pipeline) => Holder::Made(view),
        None => Holder::Foreign { resource },
    }
}

/// Topics that older pipelines wish for, which nobody may have made yet.
fn rivals(context: &Context, pipeline: &EventPipeline) -> BTreeMap<String, String> {
    let older = context
        .pipelines
        .state_filter(|other| other.spec.connection() == pipeline.spec.connection() && is_older(other, pipeline));
    let of = |other: &EventPipeline| {
        let name = named(&other.metadata);
        wishes(other).into_iter().map(|wish| (wish.topic, name.clone())).collect::<Vec<_>>()
    };
    older.iter().flat_map(|other| of(other)).collect()
}

fn name_taken(context: &Context, pipeline: &EventPipeline, topic: &str) -> Option<Holder> {
    let name = resource_name(topic);
    let same = |other: &KafkaTopic| {
        other.metadata.namespace == pipeline.metadata.namespace && other.metadata.name.as_deref() == Some(&name)
    };
    let other = context.topics.state_filter(same).into_iter().next()?;
    Some(Holder::NameTaken { resource: named(&other.metadata), topic: other.topic_name().to_owned() })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::testing::World;

    fn pipeline(name: &str, age: i64) -> EventPipeline {
        serde_json::from_value(json!({
            "apiVersion": "tidegate.dev/v1alpha1", "kind": "EventPipeline",
            "metadata": {
                "name": name, "namespace": "bank", "uid": name,
                "creationTimestamp": jiff::Timestamp::from_second(1_000 - age).unwrap().to_string(),
            },
            "spec": {"kafka": {"user": {"secretRef": {"name": "kafka"}}}, "processors": [{
                "name": "ledger", "run": {"wallet": {"role": "LedgerProjector"}},
                "consumes": {"topics": ["events"], "group": name}, "deadLetter": {"topic": "dlq"},
            }]},
        }))
        .unwrap()
    }

    fn topic(name: &str, namespace: &str, topic: &str, owner: Option<&str>) -> KafkaTopic {
        let owners = owner.map(|uid| {
            json!([{
                "apiVersion": "tidegate.dev/v1alpha1", "kind": "EventPipeline", "name": uid, "uid": uid, "controller": true,
            }])
        });
        serde_json::from_value(json!({
            "apiVersion": "tidegate.dev/v1alpha1", "kind": "KafkaTopic",
            "metadata": {"name": name, "namespace": namespace, "uid": name, "ownerReferences": owners.unwrap_or(Value::Null)},
            "spec": {"topicName": topic, "partitions": 4, "replicas": 3},
        }))
        .unwrap()
    }

    fn found(world: &World, pipeline: &EventPipeline) -> Option<Holder> {
        holders(&world.context, pipeline).remove("dlq")
    }

    #[tokio::test]
    async fn a_topic_is_ones_own_somebodys_or_nobodys() {
        let young = pipeline("young", 1);
        for (topics, expected) in [
            (vec![], "None"),
            (vec![topic("dlq", "bank", "dlq", Some("young"))], "Own"),
            (vec![topic("by-hand", "bank", "dlq", None)], "Made"),
            (vec![topic("by-hand", "shop", "dlq", None)], "Foreign"),
            (vec![topic("dlq", "bank", "dlq", Some("older"))], "Rival"),
            (vec![topic("dlq", "bank", "dlq", Some("deleted"))], "Gone"),
            (vec![topic("dlq", "bank", "other", None)], "NameTaken"),
            // Somebody claims one's own: the claims of the topics themselves settle that.
            (vec![topic("dlq", "bank", "dlq", Some("young")), topic("by-hand", "bank", "dlq", None)], "Own"),
        ] {
            let world = World::new();
            topics.iter().for_each(|topic| world.watch(topic));
            let mut older = pipeline("older", 2);
            older.spec.processors[0].dead_letter = None;
            world.watch_pipeline(&older);
            world.watch_pipeline(&young);
            let holder = format!("{:?}", found(&world, &young));
            assert!(holder.replace("Some(", "").starts_with(expected), "{expected}: {holder}");
        }
    }

    #[tokio::test]
    async fn of_two_that_wish_for_a_topic_the_older_gets_it_unless_the_other_has_it() {
        let (old, young) = (pipeline("old", 2), pipeline("young", 1));
        let world = World::new();
        world.watch_pipeline(&old);
        world.watch_pipeline(&young);
        assert_eq!(found(&world, &old), None);
        assert_eq!(found(&world, &young), Some(Holder::Rival { pipeline: "bank/old".into() }));

        world.watch(&topic("dlq", "bank", "dlq", Some("young")));
        assert_eq!(found(&world, &old), Some(Holder::Rival { pipeline: "bank/young".into() }));
        assert!(found(&world, &young).is_some_and(|holder| holder.is_own()));
    }
}
