//! Looks at all that there is of a run's: in Kubernetes and in Kafka.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::{
    apps::v1::{Deployment, ReplicaSet},
    core::v1::{ConfigMap, Pod, Secret, Service, ServiceAccount},
    policy::v1::PodDisruptionBudget,
};
use kube::{
    Api, Resource, ResourceExt,
    api::{ApiResource, DynamicObject, ListParams},
};
use tidegate_kafka::{AclFilter, KafkaAdmin};

use super::{
    orphans::{Found, FoundTopic, Object, prefix},
    stage::{Kind, Stage},
};
use crate::faults::FaultError;

const OURS: &str = "tidegate.dev/pipeline";

/// The kinds of which the operator makes objects, and those that Kubernetes makes of these.
pub fn kinds() -> [ApiResource; 9] {
    [
        of::<Deployment>(),
        of::<ConfigMap>(),
        of::<Secret>(),
        of::<Service>(),
        of::<ServiceAccount>(),
        of::<PodDisruptionBudget>(),
        topics(),
        of::<ReplicaSet>(),
        of::<Pod>(),
    ]
}

fn of<K: Resource<DynamicType = ()>>() -> ApiResource {
    ApiResource::erase::<K>(&())
}

fn topics() -> ApiResource {
    let kind = kube::api::GroupVersionKind::gvk("tidegate.dev", "v1alpha1", "KafkaTopic");
    ApiResource::from_gvk_with_plural(&kind, "kafkatopics")
}

/// Objects of a kind that are labelled as of a pipeline.
pub async fn labelled(stage: &Stage, kind: &ApiResource) -> Result<Vec<DynamicObject>, FaultError> {
    let api: Api<DynamicObject> = Api::namespaced_with(stage.client.clone(), &stage.run, kind);
    let listed = api.list(&ListParams::default().labels(OURS)).await;
    listed.map(|list| list.items).map_err(FaultError::kubernetes("listing the operator's objects"))
}

/// Everything.
pub async fn look(stage: &Stage) -> Result<Found, FaultError> {
    let mut found = Found::default();
    let uid = |object: &DynamicObject| object.uid().unwrap_or_default();
    let pipelines = stage.resources(Kind::Pipeline).await?;
    found.pipelines = pipelines.iter().map(|object| (object.name_any(), uid(object))).collect();
    found.resources = stage.resources(Kind::Topic).await?.iter().map(ResourceExt::name_any).collect();
    for kind in kinds() {
        for object in labelled(stage, &kind).await? {
            if kind.kind == "Secret"
                && let Some(user) = object.data["data"]["username"].as_str()
            {
                found.secrets.insert(object.name_any(), decoded(user));
            }
            let label = |name: &str| object.labels().get(name).cloned().unwrap_or_default();
            found.objects.insert(Object {
                kind: kind.kind.clone(),
                name: object.name_any(),
                of: (label(OURS), label("tidegate.dev/processor")),
                owners: object.owner_references().iter().map(|owner| owner.uid.clone()).collect(),
            });
        }
    }
    let prefix = prefix(&stage.run);
    let users = stage.kafka.list_users().await.map_err(FaultError::administration("listing users"))?;
    found.users = users.into_keys().filter(|user| user.starts_with(&prefix)).collect();
    let principals = format!("User:{prefix}");
    let acls = stage.kafka.describe_acls(&AclFilter::default()).await;
    let acls = acls.map_err(FaultError::administration("listing ACLs"))?;
    found.acls = acls.into_iter().filter(|acl| acl.principal.starts_with(&principals)).collect();
    found.topics = kafka_topics(stage, stage.topics().await?).await?;
    Ok(found)
}

async fn kafka_topics(stage: &Stage, names: BTreeSet<String>) -> Result<BTreeMap<String, FoundTopic>, FaultError> {
    let names: Vec<String> = names.into_iter().collect();
    let doing = "describing topics";
    let (topics, configs) = (stage.kafka.describe_topics(&names).await, stage.kafka.describe_configs(&names).await);
    let mut found = BTreeMap::new();
    for (name, topic) in topics {
        let topic = topic.map_err(FaultError::administration(doing))?;
        let partitions = i64::try_from(topic.partitions.len()).unwrap_or(i64::MAX);
        found.insert(name, FoundTopic { partitions, config: BTreeMap::new() });
    }
    for (name, config) in configs {
        let config = config.map_err(FaultError::administration(doing))?;
        if let Some(topic) = found.get_mut(&name) {
            topic.config = config.iter().filter_map(|(key, entry)| Some((key.clone(), entry.value.clone()?))).collect();
        }
    }
    Ok(found)
}

/// The text of a Secret's value.
fn decoded(value: &str) -> String {
    let bytes: Option<k8s_openapi::ByteString> = serde_json::from_value(value.into()).ok();
    bytes.map(|bytes| String::from_utf8_lossy(&bytes.0).into_owned()).unwrap_or_default()
}
