//! What is left to do when a KafkaTopic goes: its topic goes by id, or stays and an Event says why.

use k8s_openapi::api::core::v1::ObjectReference;
use tidegate_crds::{KafkaTopic, conditions::ABANDON_ANNOTATION, topic::DeletionPolicy};
use uuid::Uuid;

use super::{claims, error::TopicError};
use crate::{
    context::Context,
    finalizer,
    gateway::{Gateway, GatewayError},
};

/// Holds a KafkaTopic until its topic is deleted. Set only where spec.deletionPolicy is Delete.
pub const FINALIZER: &str = "tidegate.dev/kafka-topic";

/// Whether the finalizer is on the resource.
pub fn is_held(topic: &KafkaTopic) -> bool {
    finalizer::is_held(topic, FINALIZER)
}

/// Puts the finalizer on or takes it off, as the policy says.
///
/// # Errors
/// What the API server said.
pub async fn hold(context: &Context, topic: &KafkaTopic, hold: bool) -> Result<(), TopicError> {
    finalizer::hold(&context.client, topic, FINALIZER, hold)
        .await
        .map_err(|error| TopicError::Kubernetes { doing: "setting the finalizer", source: Box::new(error) })
}

/// What becomes of the topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is deleted.
    Delete(Uuid),
    /// It stays, because.
    Stay(&'static str, String),
}

/// Decides. Pure. `id` is what was recorded, `rival` another resource that uses the topic.
pub fn fate(topic: &KafkaTopic, id: Option<Uuid>, rival: Option<&str>) -> Fate {
    let name = topic.topic_name();
    let abandoned =
        topic.metadata.annotations.iter().flatten().any(|(key, value)| key == ABANDON_ANNOTATION && value == "true");
    if abandoned {
        return Fate::Stay(
            "Abandoned",
            format!("topic {name} was left as it is, because of annotation {ABANDON_ANNOTATION}"),
        );
    }
    if topic.spec.deletion_policy() == DeletionPolicy::Retain {
        return Fate::Stay("Retained", format!("topic {name} stays, because spec.deletionPolicy is Retain"));
    }
    if let Some(rival) = rival {
        return Fate::Stay("ClaimedElsewhere", format!("topic {name} stays, because KafkaTopic {rival} names it too"));
    }
    match id {
        Some(id) => Fate::Delete(id),
        None => Fate::Stay(
            "NeverSeen",
            format!(
                "topic {name}, if there is one, stays: its id was never recorded, and a name alone may mean another topic"
            ),
        ),
    }
}

/// Does it, then lets the resource go.
///
/// # Errors
/// While Kafka cannot be reached or refuses: the finalizer stays, and this is tried again.
pub async fn finish(context: &Context, topic: &KafkaTopic, about: &ObjectReference) -> Result<(), TopicError> {
    let uid = topic.metadata.uid.as_deref().unwrap_or_default();
    if !is_held(topic) {
        context.topic_memories.forget(uid);
        return Ok(());
    }
    let gateway = context.connections.get(topic.connection());
    // Asking Kafka is left to the end: an abandoned resource goes without it.
    let rival = rival(context, topic).await;
    let id = match recorded_id(context, topic) {
        Recorded::Id(id) => Some(id),
        Recorded::Creating if matches!(fate(topic, Some(Uuid::nil()), rival.as_deref()), Fate::Delete(_)) => {
            // The operator died between creating the topic and recording its id: what is there now is its own.
            gateway_of(gateway, topic)?.observe(topic.topic_name()).await?.map(|(seen, _)| seen.id)
        }
        Recorded::Creating | Recorded::Nothing => None,
    };
    match fate(topic, id, rival.as_deref()) {
        Fate::Stay(reason, note) => context.events.normal(about, reason, "Keep", note).await,
        Fate::Delete(id) => match gateway_of(gateway, topic)?.delete(id).await {
            Ok(()) => {
                let note = format!("topic {} (id {id}) was deleted", topic.topic_name());
                context.events.normal(about, "Deleted", "Delete", note).await;
            }
            Err(GatewayError::Kafka(error)) if error.is_unknown_topic() => {
                let note = format!("topic {} (id {id}) was gone already", topic.topic_name());
                context.events.normal(about, "Deleted", "Delete", note).await;
            }
            Err(error) => return Err(error.into()),
        },
    }
    hold(context, topic, false).await?;
    context.topic_memories.forget(uid);
    Ok(())
}

enum Recorded {
    Id(Uuid),
    Creating,
    Nothing,
}

fn recorded_id(context: &Context, topic: &KafkaTopic) -> Recorded {
    let uid = topic.metadata.uid.as_deref().unwrap_or_default();
    let status = context.topic_memories.status(topic);
    let created = context.topic_memories.with(uid, |memory| memory.created.and_then(|(id, _)| id));
    match created.or_else(|| status.topic_id.as_deref().and_then(|id| id.parse().ok())) {
        Some(id) => Recorded::Id(id),
        None if status.intent.is_some_and(|intent| intent.create) => Recorded::Creating,
        None => Recorded::Nothing,
    }
}

async fn rival(context: &Context, topic: &KafkaTopic) -> Option<String> {
    let uid = topic.metadata.uid.as_deref().unwrap_or_default();
    let claims = super::controller::claims_of(context, topic).await;
    claims::rival(&claims, uid).map(|claim| claim.resource.clone())
}

fn gateway_of<'a>(gateway: Option<&'a Gateway>, topic: &KafkaTopic) -> Result<&'a Gateway, TopicError> {
    gateway.ok_or_else(|| TopicError::NoConnection { name: topic.connection().to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: Uuid = Uuid::from_u128(9);

    fn topic(policy: &str, annotations: serde_json::Value) -> KafkaTopic {
        serde_json::from_value(serde_json::json!({
            "apiVersion": "tidegate.dev/v1alpha1", "kind": "KafkaTopic",
            "metadata": {"name": "orders", "namespace": "shop", "annotations": annotations},
            "spec": {"partitions": 3, "replicas": 3, "deletionPolicy": policy},
        }))
        .unwrap()
    }

    #[test]
    fn only_a_recorded_unrivalled_topic_under_delete_goes() {
        let stays = |fate| match fate {
            Fate::Stay(reason, note) => (reason, note),
            Fate::Delete(id) => panic!("{id} is deleted"),
        };
        let none = serde_json::json!({});
        let abandon = serde_json::json!({"tidegate.dev/abandon": "true"});
        assert_eq!(fate(&topic("Delete", none.clone()), Some(ID), None), Fate::Delete(ID));
        for (policy, annotations, id, rival, reason, said) in [
            ("Retain", &none, Some(ID), None, "Retained", "because spec.deletionPolicy is Retain"),
            ("Delete", &abandon, Some(ID), None, "Abandoned", "because of annotation tidegate.dev/abandon"),
            (
                "Delete",
                &none,
                Some(ID),
                Some("other/orders"),
                "ClaimedElsewhere",
                "KafkaTopic other/orders names it too",
            ),
            ("Delete", &none, None, None, "NeverSeen", "its id was never recorded"),
        ] {
            let (found, note) = stays(fate(&topic(policy, annotations.clone()), id, rival));
            assert_eq!(found, reason);
            assert!(note.starts_with("topic orders") && note.contains(said), "{reason}: {note}");
        }
    }
}
