//! Who has to look again when something changes: rivals for a topic, pipelines that name it, owners, those who mount a Secret.

use k8s_openapi::{api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{core::PartialObjectMeta, runtime::reflector::ObjectRef};
use tidegate_crds::{
    EventPipeline, KafkaTopic,
    conditions::{READY, STALLED},
};

use crate::{
    alerts::metrics::TopicLabels,
    conditions::is_true,
    context::Context,
    pipeline::{self, children},
};

/// A topic came, changed or went.
pub fn of_topic(context: &Context, topic: &KafkaTopic) {
    let gone = context.topics.get(&ObjectRef::from_obj(topic)).is_none();
    if gone {
        context.topic_memories.forget(topic.metadata.uid.as_deref().unwrap_or_default());
        context.metrics.resources.topic_gone(&TopicLabels::of(&topic.metadata));
    }
    if gone || topic.metadata.deletion_timestamp.is_some() {
        // Whoever claims it too may take over.
        let (name, uid) = (topic.topic_name(), &topic.metadata.uid);
        for other in context.topics.state_filter(|other| other.topic_name() == name && other.metadata.uid != *uid) {
            let _ = context.topic_triggers.send(ObjectRef::from_obj(other.as_ref()));
        }
    }
    for pipeline in context.pipelines.state_filter(|pipeline| pipeline::names(pipeline, topic)) {
        let _ = context.pipeline_triggers.send(ObjectRef::from_obj(pipeline.as_ref()));
    }
    // One that its owner does not wish for any more.
    of_child(context, &topic.metadata);
}

/// A pipeline came, changed or went.
pub fn of_pipeline(context: &Context, pipeline: &EventPipeline) {
    let uid = &pipeline.metadata.uid;
    if context.pipelines.get(&ObjectRef::from_obj(pipeline)).is_none() {
        let memory = context.pipeline_memories.forget(uid.as_deref().unwrap_or_default()).unwrap_or_default();
        context.metrics.resources.pipeline_gone(pipeline, &memory.objectives);
        context.users.forget(uid.as_deref().unwrap_or_default());
    }
    // A group, a name or a topic may be free now.
    let stalled = |reason: &'static [&'static str]| {
        move |conditions: &[k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition]| {
            is_true(conditions, STALLED)
                && conditions.iter().any(|one| one.type_ == READY && reason.contains(&one.reason.as_str()))
        }
    };
    let waits = stalled(&["GroupInUse", "NameTaken", "Conflict"]);
    let others = context.pipelines.state_filter(|other| {
        other.metadata.uid != *uid && other.status.as_ref().is_some_and(|status| waits(&status.conditions))
    });
    for other in others {
        let _ = context.pipeline_triggers.send(ObjectRef::from_obj(other.as_ref()));
    }
    // A topic may grow now.
    let waits = stalled(&["OrderedConsumers", "OrderedLoop"]);
    for topic in
        context.topics.state_filter(|topic| topic.status.as_ref().is_some_and(|status| waits(&status.conditions)))
    {
        let _ = context.topic_triggers.send(ObjectRef::from_obj(topic.as_ref()));
    }
}

/// An object that was made for a pipeline changed or went.
pub fn of_child(context: &Context, metadata: &ObjectMeta) {
    if let Some(owner) = children::owner_ref(metadata) {
        let _ = context.pipeline_triggers.send(owner);
    }
}

/// A Secret came, changed or went.
pub fn of_secret(context: &Context, secret: &PartialObjectMeta<Secret>) {
    let (namespace, name) = (&secret.metadata.namespace, secret.metadata.name.as_deref().unwrap_or_default());
    let mounting =
        |pipeline: &EventPipeline| pipeline.metadata.namespace == *namespace && pipeline::mounts(pipeline, name);
    for pipeline in context.pipelines.state_filter(mounting) {
        let _ = context.pipeline_triggers.send(ObjectRef::from_obj(pipeline.as_ref()));
    }
}
