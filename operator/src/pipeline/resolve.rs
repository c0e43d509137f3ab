//! What a pipeline refers to, looked up. Reads only.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    api::{
        apps::v1::Deployment,
        core::v1::{ConfigMap, Secret, Service, ServiceAccount},
        policy::v1::PodDisruptionBudget,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{Api, Resource, runtime::reflector::ObjectRef};
use serde::de::DeserializeOwned;
use tidegate_crds::{
    EventPipeline, KafkaTopic, KafkaTopicStatus,
    conditions::{READY, STALLED},
    topic::GrowthStep,
};
use tidegate_settings::binding::KafkaSecurity;

use super::{
    PipelineError,
    build::object_name,
    children::{Child, owner},
    claims::held,
    holders::holders,
    may_name,
    owned::{DEFAULT_MAX_BYTES, Source},
    validate::{SecretView, TopicView, World},
};
use crate::{
    alerts::{Monitoring, objects},
    conditions::is_true,
    context::Context,
    gateway::Gateway,
    scaling::rivals,
};

/// How long what a new pipeline names may take to come.
pub const YOUNG: Duration = Duration::from_secs(10);

/// Keys whose values are no secret.
const PLAIN_KEYS: [&str; 2] = ["security-protocol", "sasl-mechanism"];

/// Looks everything up.
///
/// # Errors
/// When the API server does not answer.
pub async fn resolve(context: &Context, pipeline: &EventPipeline) -> Result<World, PipelineError> {
    let (topics, foreign_topics) = topics(context, pipeline);
    Ok(World {
        connections: context.connections.keys().cloned().collect(),
        without_users: without_users(context),
        images: context.config.images.clone(),
        secrets: secrets(context, pipeline).await?,
        topics,
        foreign_topics,
        holders: holders(context, pipeline),
        claimed: claimed(context, pipeline).await,
        young: is_young(pipeline),
        rivals: rivals(context, pipeline).await?,
        taken: taken(context, pipeline).await?,
    })
}

/// Connections on which nobody logs in.
fn without_users(context: &Context) -> BTreeSet<String> {
    let is_open = |gateway: &Gateway| {
        gateway.connection().is_some_and(|connection| connection.security == KafkaSecurity::Plaintext)
    };
    let open = context.connections.iter().filter(|(_, gateway)| is_open(gateway));
    open.map(|(name, _)| name.clone()).collect()
}

fn is_young(pipeline: &EventPipeline) -> bool {
    let created = pipeline.metadata.creation_timestamp.as_ref().map(|time| time.0);
    let age = |created: Timestamp| Timestamp::now().duration_since(created);
    created.is_some_and(|created| age(created) < SignedDuration::try_from(YOUNG).unwrap_or_default())
}

async fn secrets(
    context: &Context,
    pipeline: &EventPipeline,
) -> Result<BTreeMap<String, Option<SecretView>>, PipelineError> {
    let namespace = pipeline.metadata.namespace.as_deref().unwrap_or_default();
    let uid = pipeline.metadata.uid.as_deref().unwrap_or_default();
    let database = pipeline.spec.database.iter().map(|database| database.secret_ref.name.as_str());
    let mut views = BTreeMap::new();
    for name in database.chain(pipeline.spec.kafka.brought_secret()) {
        let watched = context.children.secrets.get(&ObjectRef::new(name).within(namespace));
        let version = watched.and_then(|secret| secret.metadata.resource_version.clone());
        let known = context.pipeline_memories.with(uid, |memory| memory.secrets.get(name).cloned());
        let view = match known.filter(|known| Some(&known.version) == version.as_ref()) {
            Some(known) => Some(known),
            None => {
                let api: Api<Secret> = Api::namespaced(context.client.clone(), namespace);
                let secret = api.get_opt(name).await.map_err(PipelineError::kubernetes("reading a Secret"))?;
                secret.map(|secret| view(&secret))
            }
        };
        context.pipeline_memories.with(uid, |memory| match &view {
            Some(view) => memory.secrets.insert(name.to_owned(), view.clone()),
            None => memory.secrets.remove(name),
        });
        views.insert(name.to_owned(), view);
    }
    Ok(views)
}

fn view(secret: &Secret) -> SecretView {
    let filled = || secret.data.iter().flatten().filter(|(_, value)| !value.0.is_empty());
    SecretView {
        keys: filled().map(|(key, _)| key.clone()).collect(),
        plain: filled()
            .filter(|(key, _)| PLAIN_KEYS.contains(&key.as_str()))
            .map(|(key, value)| (key.clone(), String::from_utf8_lossy(&value.0).trim().to_owned()))
            .collect(),
        version: secret.metadata.resource_version.clone().unwrap_or_default(),
    }
}

fn topics(context: &Context, pipeline: &EventPipeline) -> (BTreeMap<String, TopicView>, BTreeMap<String, String>) {
    let (mut own, mut foreign) = (BTreeMap::<String, TopicView>::new(), BTreeMap::new());
    let names: Vec<&str> = pipeline.spec.processors.iter().flat_map(|processor| processor.topics()).collect();
    let connection = pipeline.spec.connection();
    let wanted = |topic: &KafkaTopic| topic.connection() == connection && names.contains(&topic.topic_name());
    for topic in context.topics.state_filter(wanted) {
        let resource = named(&topic.metadata);
        let name = topic.topic_name().to_owned();
        if !may_name(&topic, pipeline) {
            foreign.insert(name, resource);
            continue;
        }
        let view = topic_view(resource, &topic, &context.topic_memories.status(&topic));
        // Of two that claim it, the one that has it.
        if own.get(&name).is_none_or(|other| !other.exists || other.trouble.is_some()) {
            own.insert(name, view);
        }
    }
    (own, foreign)
}

/// `namespace/name`.
pub fn named(metadata: &ObjectMeta) -> String {
    let of = |part: &Option<String>| part.clone().unwrap_or_default();
    format!("{}/{}", of(&metadata.namespace), of(&metadata.name))
}

/// A KafkaTopic, with the status to go by.
pub fn topic_view(resource: String, topic: &KafkaTopic, status: &KafkaTopicStatus) -> TopicView {
    let ready = status.conditions.iter().find(|condition| condition.type_ == READY);
    let said = || ready.map(|condition| format!("{}: {}", condition.reason, condition.message));
    // A topic that is there serves, whatever is wrong with its resource, unless it is lost or somebody else's.
    let reason = ready.map(|condition| condition.reason.as_str()).unwrap_or_default();
    let unusable = is_true(&status.conditions, STALLED) && ["TopicLost", "Conflict"].contains(&reason);
    let exists = status.topic_id.is_some();
    TopicView {
        resource,
        exists,
        trouble: if exists && !unusable { None } else { said() },
        source: source(topic, status),
    }
}

fn source(topic: &KafkaTopic, status: &KafkaTopicStatus) -> Option<Source> {
    const KEY: &str = "max.message.bytes";
    let wished = || topic.spec.config.as_ref()?.get(KEY).map(|value| value.to_string().trim_matches('"').to_owned());
    let max_bytes = status.config.get(KEY).cloned().or_else(wished).and_then(|bytes| bytes.trim().parse().ok());
    Some(Source {
        partitions: status.partitions?,
        growing_to: status
            .growth
            .as_ref()
            .filter(|growth| growth.step >= GrowthStep::GrowingRetryTopics)
            .map(|growth| growth.to),
        replicas: status.replicas?,
        min_in_sync: status.min_insync_replicas?,
        max_bytes: max_bytes.unwrap_or(DEFAULT_MAX_BYTES),
    })
}

/// Whether `other` was there before `pipeline`: of two that want one thing of a Kafka cluster, it has it.
pub fn is_older(other: &EventPipeline, pipeline: &EventPipeline) -> bool {
    let age = |pipeline: &EventPipeline| {
        let created = pipeline.metadata.creation_timestamp.as_ref().map(|time| time.0);
        (created, pipeline.metadata.uid.clone())
    };
    other.metadata.deletion_timestamp.is_none() && age(other) < age(pipeline)
}

/// Names in Kafka that pipelines older than this one use on the same cluster, whatever their connection to it is called.
async fn claimed(context: &Context, pipeline: &EventPipeline) -> BTreeMap<String, String> {
    let mut same = vec![pipeline.spec.connection().to_owned()];
    for connection in context.connections.keys().filter(|name| *name != pipeline.spec.connection()) {
        let cluster = cluster_of(context, connection).await;
        if cluster.is_some() && cluster == cluster_of(context, pipeline.spec.connection()).await {
            same.push(connection.clone());
        }
    }
    let others = context.pipelines.state_filter(|other| same.iter().any(|name| name == other.spec.connection()));
    held(pipeline, others.iter().map(AsRef::as_ref))
}

async fn cluster_of(context: &Context, connection: &str) -> Option<String> {
    context.connections.get(connection)?.cluster_id().await.ok()
}

/// Objects that are not this pipeline's and have a name that it needs.
async fn taken(context: &Context, pipeline: &EventPipeline) -> Result<Vec<String>, PipelineError> {
    let mut taken = Vec::new();
    for processor in &pipeline.spec.processors {
        let name = object_name(pipeline, &processor.name);
        let mut check = Check { context, pipeline, name: &name, taken: &mut taken };
        check.kind::<ServiceAccount>().await?;
        check.kind::<ConfigMap>().await?;
        check.kind::<Deployment>().await?;
        check.kind::<PodDisruptionBudget>().await?;
        if processor.http.is_some() {
            check.kind::<Service>().await?;
        }
        if pipeline.spec.kafka.is_managed() {
            let name = pipeline.managed_secret(&processor.name);
            Check { context, pipeline, name: &name, taken: &mut taken }.kind::<Secret>().await?;
        }
    }
    let monitoring = monitoring(context, pipeline)?;
    each(context, pipeline, &monitoring.config_maps, &mut taken).await?;
    each(context, pipeline, &monitoring.rules, &mut taken).await?;
    each(context, pipeline, &monitoring.pod_monitor, &mut taken).await?;
    Ok(taken)
}

async fn each<'a, K: Child + DeserializeOwned>(
    context: &Context,
    pipeline: &EventPipeline,
    objects: impl IntoIterator<Item = &'a K>,
    taken: &mut Vec<String>,
) -> Result<(), PipelineError> {
    for object in objects {
        let name = object.meta().name.as_deref().unwrap_or_default();
        Check { context, pipeline, name, taken }.kind::<K>().await?;
    }
    Ok(())
}

/// What watches the pipeline.
///
/// # Errors
/// A defect.
pub fn monitoring(context: &Context, pipeline: &EventPipeline) -> Result<Monitoring, PipelineError> {
    objects(pipeline, &context.config.alerts, context.served).map_err(|error| PipelineError::Defect(error.to_string()))
}

struct Check<'a> {
    context: &'a Context,
    pipeline: &'a EventPipeline,
    name: &'a str,
    taken: &'a mut Vec<String>,
}

impl Check<'_> {
    async fn kind<K: Child + DeserializeOwned>(&mut self) -> Result<(), PipelineError> {
        let namespace = self.pipeline.metadata.namespace.as_deref().unwrap_or_default();
        let uid = self.pipeline.metadata.uid.as_deref().unwrap_or_default();
        let kind: &'static str = kind_of::<K>();
        let made = self
            .context
            .pipeline_memories
            .with(uid, |memory| memory.applied.contains_key(&(kind, self.name.to_owned())));
        let watched = K::all(&self.context.children, namespace);
        let metadata = match watched.into_iter().find(|metadata| metadata.name.as_deref() == Some(self.name)) {
            Some(metadata) => Some(metadata),
            None if made => None,
            // Without the operator's label it is not watched.
            None => {
                let api: Api<K> = Api::namespaced(self.context.client.clone(), namespace);
                let found = api.get_metadata_opt(self.name).await;
                found.map_err(PipelineError::kubernetes("looking whether a name is free"))?.map(|found| found.metadata)
            }
        };
        if metadata.is_some_and(|metadata| owner(&metadata) != Some(uid)) {
            self.taken.push(format!("{kind} {}", self.name));
        }
        Ok(())
    }
}

/// The name of a kind. These are all compiled in.
pub fn kind_of<K: Resource<DynamicType = ()>>() -> &'static str {
    match K::kind(&()) {
        std::borrow::Cow::Borrowed(kind) => kind,
        std::borrow::Cow::Owned(_) => "",
    }
}
