//! What the controllers of one leadership share: clients, stores of what is watched, and what they remember.

use std::{collections::BTreeMap, sync::Arc};

use kube::{
    Api, Client, Resource,
    api::{Patch, PatchParams},
    runtime::reflector::{ObjectRef, Store},
};
use serde::{Serialize, de::DeserializeOwned};
use tidegate_crds::{EventPipeline, KafkaTopic};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{
    alerts::kinds::Served,
    busy::Busy,
    config::Config,
    events::Events,
    gateway::Gateway,
    lag::Readings,
    metrics::Metrics,
    pipeline::{children::Children, memory::PipelineMemories, users},
    scaling::Scalers,
    topic::memory::TopicMemories,
};

/// The field manager of all that the operator applies.
pub const MANAGER: &str = "tidegate";

/// Stores that are being filled by their watches.
///
/// Not `Store::wait_until_ready` (kube 5.0): of several that wait for one store it wakes the last, and the others sleep for
/// ever.
#[derive(Clone, Debug, Default)]
pub struct Filling(Vec<CancellationToken>);

impl Filling {
    /// One more store; its token is cancelled when it is filled.
    pub fn store(&mut self) -> CancellationToken {
        let filled = CancellationToken::new();
        self.0.push(filled.clone());
        filled
    }

    /// Waits until all are filled.
    pub async fn done(&self) {
        for filled in &self.0 {
            filled.cancelled().await;
        }
    }
}

/// Everything that a reconciliation needs.
pub struct Context {
    /// The API server.
    pub client: Client,
    /// The operator's configuration.
    pub config: Arc<Config>,
    /// Kafka clusters by the name that resources use.
    pub connections: BTreeMap<String, Gateway>,
    /// Reconciliations that are under way.
    pub busy: Busy,
    /// The stores below; nothing is decided before they are filled.
    pub filling: Filling,
    /// All KafkaTopics.
    pub topics: Store<KafkaTopic>,
    /// All EventPipelines.
    pub pipelines: Store<EventPipeline>,
    /// What was made for pipelines.
    pub children: Children,
    /// Which kinds of the Prometheus operator there are.
    pub served: Served,
    /// Lag and members of consumer groups.
    pub readings: Readings,
    /// Numbers of pods that were decided on by lag.
    pub scalers: Scalers,
    /// What is remembered of topics.
    pub topic_memories: TopicMemories,
    /// What is remembered of pipelines.
    pub pipeline_memories: PipelineMemories,
    /// What is remembered of pipelines' Kafka users.
    pub users: users::Memories,
    /// Asks for a topic to be reconciled.
    pub topic_triggers: mpsc::UnboundedSender<ObjectRef<KafkaTopic>>,
    /// Asks for a pipeline to be reconciled.
    pub pipeline_triggers: mpsc::UnboundedSender<ObjectRef<EventPipeline>>,
    /// Where people read what happened.
    pub events: Events,
    /// What is counted.
    pub metrics: Metrics,
}

impl Context {
    /// Names of the connections, for a sentence.
    pub fn connection_names(&self) -> String {
        self.connections.keys().map(String::as_str).collect::<Vec<_>>().join(", ")
    }
}

/// Applies the status of `object`.
///
/// # Errors
/// What the API server said.
pub async fn apply_status<K, S>(client: &Client, object: &K, status: &S) -> Result<(), kube::Error>
where
    K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
        + Clone
        + DeserializeOwned
        + std::fmt::Debug,
    S: Serialize,
{
    let meta = object.meta();
    let name = meta.name.as_deref().unwrap_or_default();
    let api: Api<K> = Api::namespaced(client.clone(), meta.namespace.as_deref().unwrap_or_default());
    let body = serde_json::json!({
        "apiVersion": K::api_version(&()),
        "kind": K::kind(&()),
        // The uid: a namesake made since must not get this status.
        "metadata": {"name": name, "uid": meta.uid},
        "status": status,
    });
    api.patch_status(name, &PatchParams::apply(MANAGER).force(), &Patch::Apply(body)).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn everybody_who_waits_for_the_stores_is_woken() {
        let mut filling = Filling::default();
        let stores = [filling.store(), filling.store()];
        let waiting: Vec<_> = (0..10)
            .map(|_| {
                let filling = filling.clone();
                tokio::spawn(async move { filling.done().await })
            })
            .collect();
        tokio::task::yield_now().await;
        assert!(waiting.iter().all(|task| !task.is_finished()));
        stores.iter().for_each(CancellationToken::cancel);
        for task in waiting {
            task.await.unwrap();
        }
    }
}
