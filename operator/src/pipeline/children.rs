//! What the operator has made for pipelines, as the API server shows it. Of all but Deployments only the metadata is kept.

use std::fmt::Debug;

use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        apps::v1::Deployment,
        core::v1::{ConfigMap, Secret, Service, ServiceAccount},
        policy::v1::PodDisruptionBudget,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Resource,
    core::PartialObjectMeta,
    runtime::reflector::{ObjectRef, Store},
};
use tidegate_crds::{EventPipeline, KafkaTopic};

use crate::alerts::kinds::{PodMonitor, PrometheusRule};

/// A kind that processors are made of.
pub trait Child:
    Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + Send + Sync + 'static
{
    /// Metadata of all that the operator manages in `namespace`.
    fn all(children: &Children, namespace: &str) -> Vec<ObjectMeta>;
}

/// Stores of all kinds, filled by watches on the operator's own label.
#[derive(Clone)]
pub struct Children {
    /// Whole, for their status.
    pub deployments: Store<Deployment>,
    /// Metadata.
    pub service_accounts: Store<PartialObjectMeta<ServiceAccount>>,
    /// Metadata.
    pub config_maps: Store<PartialObjectMeta<ConfigMap>>,
    /// Metadata.
    pub services: Store<PartialObjectMeta<Service>>,
    /// Metadata.
    pub budgets: Store<PartialObjectMeta<PodDisruptionBudget>>,
    /// Metadata; empty where the kind is not served.
    pub prometheus_rules: Store<PartialObjectMeta<PrometheusRule>>,
    /// Metadata; empty where the kind is not served.
    pub pod_monitors: Store<PartialObjectMeta<PodMonitor>>,
    /// Every KafkaTopic, whoever made it.
    pub topics: Store<KafkaTopic>,
    /// Metadata of every Secret: which of them a pipeline names is known only later.
    pub secrets: Store<PartialObjectMeta<Secret>>,
}

impl Children {
    /// The Deployment of a name.
    pub fn deployment(&self, namespace: &str, name: &str) -> Option<std::sync::Arc<Deployment>> {
        self.deployments.get(&ObjectRef::new(name).within(namespace))
    }
}

impl Child for Deployment {
    fn all(children: &Children, namespace: &str) -> Vec<ObjectMeta> {
        let of = children.deployments.state_filter(|object| object.metadata.namespace.as_deref() == Some(namespace));
        of.iter().map(|object| object.metadata.clone()).collect()
    }
}

impl Child for KafkaTopic {
    fn all(children: &Children, namespace: &str) -> Vec<ObjectMeta> {
        let of = children.topics.state_filter(|object| object.metadata.namespace.as_deref() == Some(namespace));
        of.iter().map(|object| object.metadata.clone()).collect()
    }
}

macro_rules! metadata_only {
    ($kind:ty, $store:ident) => {
        impl Child for $kind {
            fn all(children: &Children, namespace: &str) -> Vec<ObjectMeta> {
                let of = children.$store.state_filter(|object| object.metadata.namespace.as_deref() == Some(namespace));
                of.iter().map(|object| object.metadata.clone()).collect()
            }
        }
    };
}

metadata_only!(ServiceAccount, service_accounts);
metadata_only!(ConfigMap, config_maps);
metadata_only!(Service, services);
metadata_only!(PodDisruptionBudget, budgets);
metadata_only!(PrometheusRule, prometheus_rules);
metadata_only!(PodMonitor, pod_monitors);
metadata_only!(Secret, secrets);

/// The uid of the pipeline that controls an object.
pub fn owner(metadata: &ObjectMeta) -> Option<&str> {
    let owners = metadata.owner_references.iter().flatten();
    owners
        .filter(|owner| owner.controller == Some(true) && owner.kind == "EventPipeline")
        .find(|owner| owner.api_version.starts_with("tidegate.dev/"))
        .map(|owner| owner.uid.as_str())
}

/// The pipeline that controls an object.
pub fn owner_ref(metadata: &ObjectMeta) -> Option<ObjectRef<EventPipeline>> {
    let uid = owner(metadata)?;
    let owner = metadata.owner_references.iter().flatten().find(|owner| owner.uid == uid)?;
    Some(ObjectRef::new(&owner.name).within(metadata.namespace.as_deref()?))
}

/// Changes when somebody changes what an object asks for.
pub fn marker(metadata: &ObjectMeta) -> String {
    let generation = metadata.generation.map(|generation| generation.to_string());
    generation.or_else(|| metadata.resource_version.clone()).unwrap_or_default()
}
