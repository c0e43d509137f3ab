//! Objects written by server-side apply, only when they differ from what was applied last or somebody changed them; and those
//! that no processor needs any more, deleted.

use std::collections::BTreeSet;

use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Secret, Service, ServiceAccount},
    policy::v1::PodDisruptionBudget,
};
use kube::{
    Api, Resource,
    api::{DeleteParams, Patch, PatchParams, Preconditions, PropagationPolicy},
};
use serde::{Serialize, de::DeserializeOwned};
use tidegate_crds::{EventPipeline, KafkaTopic};

use super::{
    PipelineError,
    build::{Objects, hash},
    children::{Child, marker, owner},
    resolve::kind_of,
};
use crate::{
    alerts::{
        Monitoring,
        kinds::{PodMonitor, PrometheusRule},
    },
    context::{Context, MANAGER},
};

/// Who writes the number of replicas: not the manager of the rest, so that others may scale where the spec says no number.
const SCALE_MANAGER: &str = "tidegate-scale";

/// Writes the objects of one pipeline.
pub struct Applier<'a> {
    /// Clients and stores.
    pub context: &'a Context,
    /// The pipeline.
    pub pipeline: &'a EventPipeline,
}

impl Applier<'_> {
    /// Applies a processor's objects. `replicas`: how many pods there are to be; none leaves the number alone.
    ///
    /// # Errors
    /// What the API server said.
    pub async fn apply(&self, objects: &Objects, replicas: Option<i32>) -> Result<(), PipelineError> {
        self.object(&objects.service_account).await?;
        self.object(&objects.config_map).await?;
        if let Some(service) = &objects.service {
            self.object(service).await?;
        }
        self.deployment(&objects.deployment, replicas).await?;
        if let Some(budget) = &objects.disruption_budget {
            self.object(budget).await?;
        }
        Ok(())
    }

    /// Applies what watches the pipeline.
    ///
    /// # Errors
    /// What the API server said.
    pub async fn monitoring(&self, monitoring: &Monitoring) -> Result<(), PipelineError> {
        for rules in &monitoring.config_maps {
            self.object(rules).await?;
        }
        for rules in &monitoring.rules {
            self.object(rules).await?;
        }
        if let Some(pod_monitor) = &monitoring.pod_monitor {
            self.object(pod_monitor).await?;
        }
        Ok(())
    }

    /// Applies a KafkaTopic that the pipeline owns.
    ///
    /// # Errors
    /// What the API server said.
    pub async fn topic(&self, topic: &KafkaTopic) -> Result<(), PipelineError> {
        self.object(topic).await
    }

    async fn deployment(&self, deployment: &Deployment, replicas: Option<i32>) -> Result<(), PipelineError> {
        let name = deployment.metadata.name.as_deref().unwrap_or_default();
        match self.context.children.deployment(self.namespace(), name) {
            // The number goes before the rest: an apply without it would take away a number that only the apply had set.
            Some(live) => {
                if let Some(replicas) = replicas {
                    let count = live.spec.as_ref().and_then(|spec| spec.replicas);
                    if count != Some(replicas) || !scaled_by_us(&live) {
                        self.scale(name, replicas).await?;
                    }
                }
                self.object(deployment).await
            }
            // Born with its number, so that not one pod too many or too few starts; then the number is handed over.
            None => {
                let mut born = deployment.clone();
                if let Some(spec) = &mut born.spec {
                    spec.replicas = Some(replicas.unwrap_or(1));
                }
                self.write(&born, &hash_of(deployment)?).await?;
                self.scale(name, replicas.unwrap_or(1)).await
            }
        }
    }

    async fn scale(&self, name: &str, replicas: i32) -> Result<(), PipelineError> {
        let api: Api<Deployment> = Api::namespaced(self.context.client.clone(), self.namespace());
        let scale = serde_json::json!({
            "apiVersion": "autoscaling/v1",
            "kind": "Scale",
            "metadata": {"name": name},
            "spec": {"replicas": replicas},
        });
        api.patch_scale(name, &PatchParams::apply(SCALE_MANAGER).force(), &Patch::Apply(scale))
            .await
            .map_err(PipelineError::kubernetes("scaling a Deployment"))?;
        Ok(())
    }

    async fn object<K>(&self, object: &K) -> Result<(), PipelineError>
    where
        K: Child + Serialize + DeserializeOwned,
    {
        let name = object.meta().name.clone().unwrap_or_default();
        let hash = hash_of(object)?;
        let live = K::all(&self.context.children, self.namespace())
            .into_iter()
            .find(|metadata| metadata.name.as_ref() == Some(&name));
        let key = (kind_of::<K>(), name);
        let applied = self.context.pipeline_memories.with(self.uid(), |memory| memory.applied.get(&key).cloned());
        let same = applied
            .is_some_and(|(before, mark)| before == hash && live.as_ref().is_some_and(|live| marker(live) == mark));
        if same { Ok(()) } else { self.write(object, &hash).await }
    }

    async fn write<K>(&self, object: &K, hash: &str) -> Result<(), PipelineError>
    where
        K: Child + Serialize + DeserializeOwned,
    {
        let name = object.meta().name.clone().unwrap_or_default();
        let api: Api<K> = Api::namespaced(self.context.client.clone(), self.namespace());
        let written = api
            .patch(&name, &PatchParams::apply(MANAGER).force(), &Patch::Apply(object))
            .await
            .map_err(PipelineError::kubernetes("applying a processor's object"))?;
        let mark = marker(written.meta());
        self.context.pipeline_memories.with(self.uid(), |memory| {
            memory.applied.insert((kind_of::<K>(), name), (hash.to_owned(), mark));
        });
        Ok(())
    }

    /// Deletes what the pipeline owns and none of `objects` and `monitoring` is.
    ///
    /// # Errors
    /// What the API server said.
    pub async fn prune(&self, objects: &[Objects], monitoring: &Monitoring) -> Result<(), PipelineError> {
        let name = |objects: &Objects| objects.deployment.metadata.name.clone();
        let all: BTreeSet<String> = objects.iter().filter_map(name).collect();
        let with = |has: &dyn Fn(&Objects) -> bool| objects.iter().filter(|one| has(one)).filter_map(name).collect();
        self.prune_kind::<PodDisruptionBudget>(&with(&|one| one.disruption_budget.is_some())).await?;
        self.prune_kind::<Service>(&with(&|one| one.service.is_some())).await?;
        self.prune_kind::<Deployment>(&all).await?;
        self.prune_kind::<ConfigMap>(&all.union(&names(&monitoring.config_maps)).cloned().collect()).await?;
        self.prune_kind::<PrometheusRule>(&names(&monitoring.rules)).await?;
        self.prune_kind::<PodMonitor>(&names(&monitoring.pod_monitor)).await?;
        self.prune_kind::<ServiceAccount>(&all).await?;
        Ok(())
    }

    /// Deletes the KafkaTopics that the pipeline owns and none of `topics` is; the names of those that go. What they are about stays.
    ///
    /// # Errors
    /// What the API server said.
    pub async fn prune_topics(&self, topics: &[KafkaTopic]) -> Result<Vec<String>, PipelineError> {
        self.prune_kind::<KafkaTopic>(&topics.iter().filter_map(|topic| topic.metadata.name.clone()).collect()).await
    }

    /// Deletes the Secrets that the pipeline owns and that are not wanted.
    ///
    /// # Errors
    /// What the API server said.
    pub async fn prune_secrets(&self, wanted: &BTreeSet<String>) -> Result<(), PipelineError> {
        self.prune_kind::<Secret>(wanted).await.map(drop)
    }

    /// Deletes the Deployments that the pipeline owns: its pods finish what they work on, and end.
    ///
    /// # Errors
    /// What the API server said.
    pub async fn stop(&self) -> Result<(), PipelineError> {
        self.prune_kind::<Deployment>(&BTreeSet::new()).await.map(drop)
    }

    async fn prune_kind<K: Child + DeserializeOwned>(
        &self,
        wanted: &BTreeSet<String>,
    ) -> Result<Vec<String>, PipelineError> {
        let mut gone = Vec::new();
        let api: Api<K> = Api::namespaced(self.context.client.clone(), self.namespace());
        for metadata in K::all(&self.context.children, self.namespace()) {
            let Some(name) = metadata.name.clone().filter(|name| !wanted.contains(name)) else { continue };
            if owner(&metadata) != Some(self.uid()) || metadata.deletion_timestamp.is_some() {
                continue;
            }
            let parameters = DeleteParams {
                propagation_policy: Some(PropagationPolicy::Background),
                // Not a namesake that somebody made since.
                preconditions: Some(Preconditions { uid: metadata.uid, resource_version: None }),
                ..DeleteParams::default()
            };
            match api.delete(&name, &parameters).await {
                Ok(_) => gone.push(name.clone()),
                Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409 => {}
                Err(error) => return Err(PipelineError::kubernetes("deleting what no processor needs")(error)),
            }
            self.context.pipeline_memories.with(self.uid(), |memory| memory.applied.remove(&(kind_of::<K>(), name)));
        }
        Ok(gone)
    }

    fn namespace(&self) -> &str {
        self.pipeline.metadata.namespace.as_deref().unwrap_or_default()
    }

    fn uid(&self) -> &str {
        self.pipeline.metadata.uid.as_deref().unwrap_or_default()
    }
}

fn names<'a, K: Resource + 'a>(objects: impl IntoIterator<Item = &'a K>) -> BTreeSet<String> {
    objects.into_iter().filter_map(|object| object.meta().name.clone()).collect()
}

/// Whether the number of replicas is written by [`SCALE_MANAGER`].
fn scaled_by_us(deployment: &Deployment) -> bool {
    deployment.metadata.managed_fields.iter().flatten().any(|entry| {
        entry.manager.as_deref() == Some(SCALE_MANAGER)
            && entry.fields_v1.as_ref().is_some_and(|fields| fields.0["f:spec"].get("f:replicas").is_some())
    })
}

fn hash_of<K: Serialize>(object: &K) -> Result<String, PipelineError> {
    let text = serde_json::to_string(object).map_err(|error| PipelineError::Defect(error.to_string()))?;
    Ok(hash([text.as_str()]))
}
