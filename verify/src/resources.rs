//! Tidegate's custom resources as the JSON that a person would write as YAML.

use std::fmt::Debug;

use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

/// KafkaTopics of a namespace.
pub fn kafka_topics(client: &Client, namespace: &str) -> Api<DynamicObject> {
    of_kind(client, "KafkaTopic", "kafkatopics", namespace)
}

/// EventPipelines of a namespace.
pub fn event_pipelines(client: &Client, namespace: &str) -> Api<DynamicObject> {
    of_kind(client, "EventPipeline", "eventpipelines", namespace)
}

fn of_kind(client: &Client, kind: &str, plural: &str, namespace: &str) -> Api<DynamicObject> {
    let kind = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("tidegate.dev", "v1alpha1", kind), plural);
    Api::namespaced_with(client.clone(), namespace, &kind)
}

/// `kubectl apply --server-side --force-conflicts`, as a field manager; the object as it is then.
pub async fn apply<K: Clone + Debug + DeserializeOwned + Serialize>(
    api: &Api<K>,
    manager: &str,
    name: &str,
    object: &Value,
) -> Result<Value, kube::Error> {
    let applied = api.patch(name, &PatchParams::apply(manager).force(), &Patch::Apply(object)).await?;
    Ok(as_json(&applied))
}

/// An object as `kubectl get -o json` shows it.
pub fn as_json<K: Serialize>(object: &K) -> Value {
    serde_json::to_value(object).unwrap_or_default()
}

/// The condition of a type in a resource's status, as `(status, reason, message)`.
pub fn condition(resource: &Value, of_type: &str) -> Option<(String, String, String)> {
    let conditions = resource.pointer("/status/conditions")?.as_array()?;
    let found = conditions.iter().find(|condition| condition["type"] == of_type)?;
    let text = |key: &str| found[key].as_str().unwrap_or_default().to_owned();
    Some((text("status"), text("reason"), text("message")))
}

/// Whether the status is about the newest spec.
pub fn speaks_of_newest(resource: &Value) -> bool {
    resource["status"]["observedGeneration"] == resource["metadata"]["generation"]
}

/// Whether the status is about the newest spec and says Ready.
pub fn is_ready(resource: &Value) -> bool {
    let is_ready = condition(resource, "Ready").is_some_and(|(status, _, _)| status == "True");
    is_ready && speaks_of_newest(resource)
}
