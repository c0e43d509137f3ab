//! The Kubernetes side of the world: resources as the JSON that a person would write as YAML, pods, events, and the state of all
//! that when a story fails.

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, resume_unwind},
    time::Duration,
};

use futures::FutureExt;
use k8s_openapi::api::{
    apps::v1::StatefulSet,
    coordination::v1::Lease,
    core::v1::{Event, Namespace, Pod},
};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, Preconditions},
};
use serde_json::{Value, json};
use tidegate_verify::resources::{self, speaks_of_newest};
pub use tidegate_verify::resources::{as_json, condition};

use super::{
    LATER, SOON, World, ensure, eventually,
    requests::{answered, apply, delete},
};

/// The brokers' pods.
pub const BROKERS: &str = "app.kubernetes.io/name=kafka";

impl World {
    /// KafkaTopics of a namespace.
    pub fn kafka_topics(&self, namespace: &str) -> Api<DynamicObject> {
        resources::kafka_topics(&self.client, namespace)
    }

    /// EventPipelines of a namespace.
    pub fn event_pipelines(&self, namespace: &str) -> Api<DynamicObject> {
        resources::event_pipelines(&self.client, namespace)
    }

    /// Pods of a namespace.
    pub fn pods(&self, namespace: &str) -> Api<Pod> {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// Makes the story's namespace, unless it is there.
    pub async fn make_namespace(&self) {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        let namespace = json!({
            "apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": self.namespace, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}},
        });
        apply(&namespaces, &self.namespace, &namespace).await.expect("a namespace can be made");
    }

    /// `kubectl apply` of a KafkaTopic into the story's namespace; the API server's refusal, if it refuses.
    pub async fn apply_topic(&self, name: &str, spec: Value) -> Result<Value, kube::Error> {
        self.make_namespace().await;
        let resource = json!({
            "apiVersion": "tidegate.dev/v1alpha1", "kind": "KafkaTopic", "metadata": {"name": name}, "spec": spec,
        });
        apply(&self.kafka_topics(&self.namespace), name, &resource).await
    }

    /// `kubectl apply` of an EventPipeline into the story's namespace.
    pub async fn apply_pipeline(&self, name: &str, spec: Value) -> Result<Value, kube::Error> {
        self.make_namespace().await;
        let resource = json!({
            "apiVersion": "tidegate.dev/v1alpha1", "kind": "EventPipeline", "metadata": {"name": name}, "spec": spec,
        });
        apply(&self.event_pipelines(&self.namespace), name, &resource).await
    }

    /// The KafkaTopic as it is now.
    pub async fn topic(&self, name: &str) -> Value {
        eventually(&format!("KafkaTopic {name} can be read"), SOON, async || {
            let found = self.kafka_topics(&self.namespace).get(name).await;
            found.map(|topic| as_json(&topic)).map_err(|error| error.to_string())
        })
        .await
    }

    /// `kubectl delete` of a KafkaTopic, until it is gone.
    pub async fn delete_topic(&self, name: &str) {
        let topics = self.kafka_topics(&self.namespace);
        delete(&topics, name, &DeleteParams::default()).await;
        eventually(&format!("KafkaTopic {name} is gone"), SOON, async || {
            let left = topics.get_opt(name).await.map_err(|error| error.to_string())?;
            ensure(left.is_none(), || left.map(|topic| as_json(&topic).to_string()).unwrap_or_default())
        })
        .await;
    }

    /// Waits until the KafkaTopic's status speaks of its newest spec and it is Ready.
    pub async fn topic_is_ready(&self, name: &str) -> Value {
        eventually(&format!("KafkaTopic {name} is Ready"), SOON, async || {
            let topic = self.topic(name).await;
            ready(&topic).map(|()| topic)
        })
        .await
    }

    /// Waits until the KafkaTopic's condition of a type is True; its reason and message.
    pub async fn topic_becomes(&self, name: &str, of_type: &str) -> (String, String) {
        eventually(&format!("KafkaTopic {name} is {of_type}"), SOON, async || {
            let topic = self.topic(name).await;
            match condition(&topic, of_type) {
                Some((status, reason, message)) if status == "True" && speaks_of_newest(&topic) => {
                    Ok((reason, message))
                }
                _ => Err(topic["status"].to_string()),
            }
        })
        .await
    }

    /// The EventPipeline of a namespace as it is now.
    pub async fn pipeline(&self, namespace: &str, name: &str) -> Result<Value, String> {
        let found = self.event_pipelines(namespace).get(name).await;
        found.map(|pipeline| as_json(&pipeline)).map_err(|error| error.to_string())
    }

    /// Waits until the EventPipeline of the story's namespace is Ready.
    pub async fn pipeline_is_ready(&self, name: &str) -> Value {
        eventually(&format!("EventPipeline {name} is Ready"), LATER, async || {
            let pipeline = self.pipeline(&self.namespace, name).await?;
            ready(&pipeline).map(|()| pipeline)
        })
        .await
    }

    /// Waits until the EventPipeline of the story's namespace is Stalled; the message.
    pub async fn pipeline_stalls(&self, name: &str) -> String {
        eventually(&format!("EventPipeline {name} is Stalled"), SOON, async || {
            let pipeline = self.pipeline(&self.namespace, name).await?;
            match condition(&pipeline, "Stalled") {
                Some((status, _, message)) if status == "True" && speaks_of_newest(&pipeline) => Ok(message),
                _ => Err(pipeline["status"].to_string()),
            }
        })
        .await
    }

    /// Waits for an Event about an object of the story's namespace that says something.
    pub async fn event_says(&self, about: &str, words: &[&str]) -> String {
        self.event_says_within(SOON, about, words).await
    }

    /// Waits for such an Event of something that is looked for now and then only.
    pub async fn event_says_within(&self, within: Duration, about: &str, words: &[&str]) -> String {
        eventually(&format!("an Event about {about} says {words:?}"), within, async || {
            let said: Vec<String> = self.events(&self.namespace).await.into_iter().collect();
            said.iter()
                .find(|line| line.contains(about) && words.iter().all(|word| line.contains(word)))
                .cloned()
                .ok_or_else(|| format!("{said:#?}"))
        })
        .await
    }

    /// The Events of a namespace, a line each: object, reason, message.
    pub async fn events(&self, namespace: &str) -> Vec<String> {
        let events: Api<Event> = Api::namespaced(self.client.clone(), namespace);
        let found = events.list(&ListParams::default()).await.map(|list| list.items).unwrap_or_default();
        found
            .iter()
            .map(|event| {
                format!(
                    "{}/{} {}: {}",
                    event.involved_object.kind.as_deref().unwrap_or("?"),
                    event.involved_object.name.as_deref().unwrap_or("?"),
                    event.reason.as_deref().unwrap_or("?"),
                    event.message.as_deref().unwrap_or("?"),
                )
            })
            .collect()
    }

    async fn pods_with(&self, namespace: &str, selector: &str) -> Vec<Pod> {
        eventually("pods can be listed", SOON, async || {
            let found = self.pods(namespace).list(&ListParams::default().labels(selector)).await;
            found.map(|pods| pods.items).map_err(|error| error.to_string())
        })
        .await
    }

    /// Names and uids of the pods with a label, those that are going away left out.
    pub async fn pods_of(&self, namespace: &str, selector: &str) -> BTreeMap<String, String> {
        let pods = self.pods_with(namespace, selector).await;
        let stay = pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none());
        stay.map(|pod| (pod.name_any(), pod.uid().unwrap_or_default())).collect()
    }

    /// Names of the pods with a label that may still do something: one that is going away works on until it has drained, and one that has
    /// ended does nothing any more.
    pub async fn pods_at_work(&self, namespace: &str, selector: &str) -> Vec<String> {
        let pods = self.pods_with(namespace, selector).await;
        pods.iter().filter(|pod| !has_ended(pod)).map(ResourceExt::name_any).collect()
    }

    /// Names of the pods with a label that Kubernetes has, whatever becomes of them.
    async fn pods_there(&self, namespace: &str, selector: &str) -> Vec<String> {
        self.pods_with(namespace, selector).await.iter().map(ResourceExt::name_any).collect()
    }

    /// Waits until no pod with a label is left, not even one that is going away.
    pub async fn pods_are_gone(&self, namespace: &str, selector: &str) {
        eventually(&format!("no pod with {selector} in {namespace} is left"), LATER, async || {
            let left = self.pods_there(namespace, selector).await;
            ensure(left.is_empty(), || format!("{left:?}"))
        })
        .await;
    }

    /// Kills a pod: no grace, no goodbye.
    pub async fn kill_pod(&self, namespace: &str, name: &str) {
        let pods = self.pods(namespace);
        let found = answered(async || pods.get(name).await).await;
        let found = found.unwrap_or_else(|error| panic!("pod {namespace}/{name} could not be killed: {error}"));
        // This pod, and not the one that comes in its place.
        let this = Preconditions { uid: found.uid(), ..Preconditions::default() };
        delete(&pods, name, &DeleteParams::default().grace_period(0).preconditions(this)).await;
    }

    /// How many pods with a label are ready now.
    pub async fn ready_pods(&self, namespace: &str, selector: &str) -> usize {
        self.pods_with(namespace, selector).await.iter().filter(|pod| is_ready(pod)).count()
    }

    /// Waits until so many pods with a label are ready, none of them one of `gone`.
    pub async fn pods_are_ready(&self, namespace: &str, selector: &str, count: usize, gone: &[&String]) {
        eventually(&format!("{count} pods with {selector} in {namespace} are ready"), LATER, async || {
            let pods = self.pods(namespace).list(&ListParams::default().labels(selector)).await;
            let pods = pods.map_err(|error| error.to_string())?.items;
            let ready = pods.iter().filter(|pod| is_ready(pod) && !gone.contains(&&pod.uid().unwrap_or_default()));
            let found = ready.count();
            ensure(found >= count, || format!("{found} of {} are", pods.len()))
        })
        .await;
    }

    /// Does something while one of the brokers is not there; whatever comes of it, the broker comes back.
    pub async fn without_a_broker(&self, body: impl AsyncFnOnce()) {
        let brokers = self.pods_of("kafka", BROKERS).await;
        let rest = brokers.len() - 1;
        let scale = async |replicas: usize| {
            let sets: Api<StatefulSet> = Api::namespaced(self.client.clone(), "kafka");
            let patch = Patch::Merge(json!({"spec": {"replicas": replicas}}));
            sets.patch_scale("kafka", &PatchParams::default(), &patch)
                .await
                .map(drop)
                .map_err(|error| error.to_string())
        };
        eventually("a broker may be taken away", SOON, async || scale(rest).await).await;
        let told = AssertUnwindSafe(async {
            eventually("a broker is gone", LATER, async || {
                let left = self.pods_there("kafka", BROKERS).await;
                ensure(left.len() == rest, || format!("{left:?}"))
            })
            .await;
            body().await;
        })
        .catch_unwind()
        .await;
        eventually("the broker may come back", SOON, async || scale(brokers.len()).await).await;
        self.pods_are_ready("kafka", BROKERS, brokers.len(), &[]).await;
        self.broker_lets_in(&format!("kafka-{rest}")).await;
        if let Err(panic) = told {
            resume_unwind(panic);
        }
    }

    /// Name of the operator pod that holds the lease.
    pub async fn leader(&self) -> Option<String> {
        let leases: Api<Lease> = Api::namespaced(self.client.clone(), "tidegate-system");
        let lease = leases.get_opt("tidegate").await.ok()??;
        lease.spec?.holder_identity.filter(|holder| !holder.is_empty())
    }

    /// Prints what somebody who looks for the reason of a failure would ask first.
    pub async fn describe(&self) {
        for namespace in [self.namespace.as_str(), "wallet"] {
            eprintln!("\n---- namespace {namespace}");
            for api in [self.kafka_topics(namespace), self.event_pipelines(namespace)] {
                for resource in api.list(&ListParams::default()).await.map(|list| list.items).unwrap_or_default() {
                    eprintln!("{}: {:#}", resource.name_any(), as_json(&resource)["status"]);
                }
            }
            for event in self.events(namespace).await.iter().rev().take(20).rev() {
                eprintln!("event: {event}");
            }
        }
        for namespace in [self.namespace.as_str(), "wallet", "kafka", "tidegate-system"] {
            for pod in
                self.pods(namespace).list(&ListParams::default()).await.map(|list| list.items).unwrap_or_default()
            {
                let restarts: i32 = pod
                    .status
                    .iter()
                    .flat_map(|status| status.container_statuses.iter().flatten())
                    .map(|container| container.restart_count)
                    .sum();
                eprintln!("pod {namespace}/{}: ready {}, {restarts} restarts", pod.name_any(), is_ready(&pod));
            }
        }
        if let Some(leader) = self.leader().await {
            let lines = kube::api::LogParams { tail_lines: Some(30), ..Default::default() };
            let log = self.pods("tidegate-system").logs(&leader, &lines).await;
            eprintln!("\n---- the end of the log of {leader}\n{}", log.unwrap_or_else(|error| error.to_string()));
        }
    }

    /// Removes all that the story made. What keeps it from going is not the story's failure, but is said.
    pub async fn clean_up(&self) {
        for api in [self.event_pipelines(&self.namespace), self.kafka_topics(&self.namespace)] {
            let _ = api.delete_collection(&DeleteParams::default(), &ListParams::default()).await;
        }
        self.delete_own_topics().await;
        self.unfurnish().await;
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        if let Err(error) = namespaces.delete(&self.namespace, &DeleteParams::background()).await
            && !matches!(&error, kube::Error::Api(status) if status.code == 404)
        {
            eprintln!("namespace {} stays: {error}", self.namespace);
        }
    }
}

fn ready(resource: &Value) -> Result<(), String> {
    ensure(resources::is_ready(resource), || resource["status"].to_string())
}

fn has_ended(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

fn is_ready(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_none()
        && pod.status.as_ref().is_some_and(|status| {
            status.conditions.iter().flatten().any(|condition| condition.type_ == "Ready" && condition.status == "True")
        })
}
