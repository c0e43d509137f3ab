//! The Kubernetes objects that a processor is made of. Pure: the same pipeline gives the same objects.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        apps::v1::Deployment,
        core::v1::{ConfigMap, Service, ServiceAccount, ServicePort, ServiceSpec},
        policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec},
    },
    apimachinery::pkg::{
        apis::meta::v1::{LabelSelector, ObjectMeta, OwnerReference},
        util::intstr::IntOrString,
    },
};
use sha2::{Digest, Sha256};
use tidegate_crds::{EventPipeline, pipeline::Processor};
use tidegate_settings::{Auth, Binding, Generation, Http, Identity, LoadError, SETTINGS_VERSION, Settings, render};

use super::pod;
use crate::config::ImageConfig;

/// Label of the pipeline on all that is made for it; with [`PROCESSOR_LABEL`] the selector of its pods.
pub const PIPELINE_LABEL: &str = "tidegate.dev/pipeline";
/// Label of the processor.
pub const PROCESSOR_LABEL: &str = "tidegate.dev/processor";
/// What all objects of the operator carry.
pub const MANAGED_BY: (&str, &str) = ("app.kubernetes.io/managed-by", "tidegate");

/// The port that a process serves on when its processor names none.
const DEFAULT_PORT: u16 = 8080;

/// What the objects depend on besides the pipeline.
#[derive(Clone, Debug)]
pub struct Surroundings<'a> {
    /// Image of each service.
    pub images: &'a BTreeMap<String, ImageConfig>,
    /// Changes when a Secret that all processors mount does.
    pub secrets_version: String,
    /// Changes when the Secret that the operator keeps for a processor does.
    pub own_secrets: BTreeMap<String, String>,
    /// Pods that each processor is to have, where that is known.
    pub replicas: BTreeMap<String, i32>,
    /// The replay that each processor works in, where there was one.
    pub generations: BTreeMap<String, Generation>,
}

/// Everything that one processor is made of.
#[derive(Clone, Debug, PartialEq)]
pub struct Objects {
    /// Identity without a token.
    pub service_account: ServiceAccount,
    /// The settings file.
    pub config_map: ConfigMap,
    /// The pods.
    pub deployment: Deployment,
    /// Where the API is reached, for those that have one.
    pub service: Option<Service>,
    /// What keeps evictions from taking all pods, where there are several.
    pub disruption_budget: Option<PodDisruptionBudget>,
    /// Hash of the settings.
    pub settings_hash: String,
}

/// Builds the objects of all processors, in their order.
///
/// # Errors
/// When settings cannot be written as YAML, which is a defect.
pub fn build(pipeline: &EventPipeline, surroundings: &Surroundings<'_>) -> Result<Vec<Objects>, LoadError> {
    pipeline.spec.processors.iter().map(|processor| build_one(pipeline, processor, surroundings)).collect()
}

/// `<pipeline>-<processor>`: the name of all objects of a processor.
pub fn object_name(pipeline: &EventPipeline, processor: &str) -> String {
    format!("{}-{processor}", pipeline.metadata.name.as_deref().unwrap_or_default())
}

/// The labels by which a processor's pods are selected.
pub fn selector(pipeline: &EventPipeline, processor: &str) -> BTreeMap<String, String> {
    let pipeline = pipeline.metadata.name.clone().unwrap_or_default();
    [(PIPELINE_LABEL.to_owned(), pipeline), (PROCESSOR_LABEL.to_owned(), processor.to_owned())].into()
}

fn build_one(pipeline: &EventPipeline, processor: &Processor, around: &Surroundings<'_>) -> Result<Objects, LoadError> {
    let settings = settings(pipeline, processor, around.generations.get(&processor.name));
    let text = render(&settings)?;
    let settings_hash = hash([text.as_str()]);
    let metadata = metadata(pipeline, processor);
    let selector = selector(pipeline, &processor.name);
    let service = processor.http.as_ref().map(|http| Service {
        metadata: metadata.clone(),
        spec: Some(ServiceSpec {
            selector: Some(selector.clone()),
            ports: Some(vec![ServicePort {
                name: Some("http".into()),
                port: i32::from(http.port),
                target_port: Some(IntOrString::String("http".into())),
                protocol: Some("TCP".into()),
                ..ServicePort::default()
            }]),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    });
    let several = around.replicas.get(&processor.name).is_some_and(|replicas| *replicas > 1);
    let disruption_budget = several.then(|| PodDisruptionBudget {
        metadata: metadata.clone(),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(1)),
            selector: Some(LabelSelector { match_labels: Some(selector.clone()), ..LabelSelector::default() }),
            unhealthy_pod_eviction_policy: Some("AlwaysAllow".into()),
            ..PodDisruptionBudgetSpec::default()
        }),
        ..PodDisruptionBudget::default()
    });
    Ok(Objects {
        service_account: ServiceAccount {
            metadata: metadata.clone(),
            automount_service_account_token: Some(false),
            ..ServiceAccount::default()
        },
        config_map: ConfigMap {
            metadata: metadata.clone(),
            data: Some([("settings.yaml".to_owned(), text)].into()),
            ..ConfigMap::default()
        },
        deployment: pod::deployment(&pod::Parts {
            processor,
            secret: &pipeline.kafka_secret(&processor.name),
            database: pipeline.spec.database.as_ref().map(|database| database.secret_ref.name.as_str()),
            image: around.images.get(processor.run.service()),
            // A process may read them once, when it starts.
            roll_hash: hash(
                [settings_hash.as_str(), around.secrets_version.as_str()]
                    .into_iter()
                    .chain(around.own_secrets.get(&processor.name).map(String::as_str)),
            ),
            port: settings.http.port,
            selector,
            metadata,
        }),
        service,
        disruption_budget,
        settings_hash,
    })
}

fn settings(pipeline: &EventPipeline, processor: &Processor, generation: Option<&Generation>) -> Settings {
    let of = |value: &Option<String>| value.clone().unwrap_or_default();
    Settings {
        version: SETTINGS_VERSION,
        identity: Identity {
            namespace: of(&pipeline.metadata.namespace),
            pipeline: of(&pipeline.metadata.name),
            processor: processor.name.clone(),
        },
        kafka: Some(Binding { path: pod::KAFKA_PATH.into() }),
        database: pipeline.spec.database.as_ref().map(|_| Binding { path: pod::DATABASE_PATH.into() }),
        run: processor.run.clone(),
        produces: processor.produces.clone().unwrap_or_default(),
        consumes: processor.consumes.clone(),
        retry: processor.retry.clone(),
        dead_letter: processor.dead_letter.clone(),
        generation: generation.cloned(),
        http: processor.http.clone().unwrap_or(Http { port: DEFAULT_PORT, auth: Auth::None }),
    }
}

fn metadata(pipeline: &EventPipeline, processor: &Processor) -> ObjectMeta {
    let name = pipeline.metadata.name.clone().unwrap_or_default();
    let mut labels = selector(pipeline, &processor.name);
    labels.extend(
        [
            ("app.kubernetes.io/name", processor.run.service()),
            ("app.kubernetes.io/part-of", name.as_str()),
            ("app.kubernetes.io/component", processor.name.as_str()),
            MANAGED_BY,
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned())),
    );
    ObjectMeta {
        name: Some(object_name(pipeline, &processor.name)),
        namespace: pipeline.metadata.namespace.clone(),
        labels: Some(labels),
        owner_references: Some(vec![owner_reference(pipeline)]),
        ..ObjectMeta::default()
    }
}

/// What makes an object go with its pipeline.
pub fn owner_reference(pipeline: &EventPipeline) -> OwnerReference {
    OwnerReference {
        api_version: "tidegate.dev/v1alpha1".into(),
        kind: "EventPipeline".into(),
        name: pipeline.metadata.name.clone().unwrap_or_default(),
        uid: pipeline.metadata.uid.clone().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// 16 hexadecimal digits of a SHA-256 over texts, each with its length before it.
pub fn hash<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    let mut hasher = Sha256::new();
    for text in texts {
        hasher.update((text.len() as u64).to_be_bytes());
        hasher.update(text);
    }
    hasher.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
#[path = "build_tests.rs"]
mod tests;
