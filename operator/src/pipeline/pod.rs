//! A processor's Deployment: pods that meet the `restricted` Pod Security Standard, with their settings and Secrets mounted.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment},
        core::v1::{
            Capabilities, ConfigMapVolumeSource, Container, EmptyDirVolumeSource, PodSecurityContext, PodSpec,
            PodTemplateSpec, ResourceRequirements, SeccompProfile, SecretVolumeSource, SecurityContext,
            TopologySpreadConstraint, Volume, VolumeMount,
        },
    },
    apimachinery::pkg::{
        api::resource::Quantity,
        apis::meta::v1::{LabelSelector, ObjectMeta},
        util::intstr::IntOrString,
    },
};
use tidegate_crds::pipeline::Processor;

use super::program;
use crate::config::ImageConfig;

/// Where the Kafka binding is mounted.
pub const KAFKA_PATH: &str = "/etc/tidegate/kafka";
/// Where the database binding is mounted.
pub const DATABASE_PATH: &str = "/etc/tidegate/database";
const SETTINGS_FOLDER: &str = "/etc/tidegate/settings";
const SETTINGS_FILE: &str = "/etc/tidegate/settings/settings.yaml";

/// On the pods: they roll when it changes.
pub const ROLL_ANNOTATION: &str = "tidegate.dev/settings-hash";

/// What a Deployment is made from.
pub struct Parts<'a> {
    /// The processor.
    pub processor: &'a Processor,
    /// Secret of the Kafka user.
    pub secret: &'a str,
    /// Secret of the database, where there is one.
    pub database: Option<&'a str>,
    /// The operator's image of the service.
    pub image: Option<&'a ImageConfig>,
    /// Hash of all that the process reads at its start.
    pub roll_hash: String,
    /// Its HTTP port.
    pub port: u16,
    /// Labels by which the pods are selected.
    pub selector: BTreeMap<String, String>,
    /// Metadata of the Deployment.
    pub metadata: ObjectMeta,
}

/// The Deployment, without a number of replicas: that is written through the scale subresource.
pub fn deployment(parts: &Parts<'_>) -> Deployment {
    let labels = LabelSelector { match_labels: Some(parts.selector.clone()), ..LabelSelector::default() };
    Deployment {
        metadata: parts.metadata.clone(),
        spec: Some(DeploymentSpec {
            selector: labels.clone(),
            // Never more members of a group than there should be: a surge would rebalance twice.
            strategy: Some(DeploymentStrategy {
                type_: Some("RollingUpdate".into()),
                rolling_update: Some(RollingUpdateDeployment {
                    max_surge: Some(IntOrString::Int(0)),
                    max_unavailable: Some(IntOrString::Int(1)),
                }),
            }),
            revision_history_limit: Some(3),
            progress_deadline_seconds: Some(300),
            template: PodTemplateSpec {
                metadata: Some(pod_metadata(parts)),
                spec: Some(PodSpec { topology_spread_constraints: Some(spread(&labels)), ..pod(parts) }),
            },
            ..DeploymentSpec::default()
        }),
        ..Deployment::default()
    }
}

fn pod_metadata(parts: &Parts<'_>) -> ObjectMeta {
    let mut labels = parts.processor.pod_labels.clone().unwrap_or_default();
    labels.extend(parts.metadata.labels.clone().unwrap_or_default());
    let mut annotations = parts.processor.pod_annotations.clone().unwrap_or_default();
    annotations.insert(ROLL_ANNOTATION.into(), parts.roll_hash.clone());
    ObjectMeta { labels: Some(labels), annotations: Some(annotations), ..ObjectMeta::default() }
}

fn pod(parts: &Parts<'_>) -> PodSpec {
    let processor = parts.processor;
    let user = program::user(processor);
    PodSpec {
        service_account_name: parts.metadata.name.clone(),
        automount_service_account_token: Some(false),
        // Else a Service called kafka would set KAFKA_* variables.
        enable_service_links: Some(false),
        termination_grace_period_seconds: Some(processor.termination_grace_period_seconds.unwrap_or(30)),
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(true),
            run_as_user: Some(user),
            run_as_group: Some(user),
            fs_group: Some(user),
            seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".into(), ..SeccompProfile::default() }),
            ..PodSecurityContext::default()
        }),
        image_pull_secrets: processor.image_pull_secrets.clone(),
        node_selector: processor.node_selector.clone(),
        tolerations: processor.tolerations.clone(),
        affinity: processor.affinity.clone(),
        priority_class_name: processor.priority_class_name.clone(),
        containers: vec![container(parts)],
        volumes: Some(volumes(parts)),
        ..PodSpec::default()
    }
}

fn container(parts: &Parts<'_>) -> Container {
    let processor = parts.processor;
    let mount = |name: &str, path: &str, read_only| VolumeMount {
        name: name.into(),
        mount_path: path.into(),
        read_only: Some(read_only),
        ..VolumeMount::default()
    };
    let mut mounts = vec![mount("settings", SETTINGS_FOLDER, true), mount("kafka", KAFKA_PATH, true)];
    if parts.database.is_some() {
        mounts.push(mount("database", DATABASE_PATH, true));
    }
    mounts.push(mount("tmp", "/tmp", false));
    let program = program::container(processor, parts.image, parts.port, SETTINGS_FILE);
    Container {
        env: processor.env.clone(),
        resources: Some(processor.resources.clone().unwrap_or_else(default_resources)),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            read_only_root_filesystem: Some(true),
            capabilities: Some(Capabilities { drop: Some(vec!["ALL".into()]), ..Capabilities::default() }),
            ..SecurityContext::default()
        }),
        volume_mounts: Some(mounts),
        ..program
    }
}

fn volumes(parts: &Parts<'_>) -> Vec<Volume> {
    let secret = |volume: &str, secret: &str| Volume {
        name: volume.into(),
        secret: Some(SecretVolumeSource {
            secret_name: Some(secret.into()),
            default_mode: Some(0o440),
            ..SecretVolumeSource::default()
        }),
        ..Volume::default()
    };
    let mut volumes = vec![
        Volume {
            name: "settings".into(),
            config_map: Some(ConfigMapVolumeSource {
                name: parts.metadata.name.clone().unwrap_or_default(),
                ..ConfigMapVolumeSource::default()
            }),
            ..Volume::default()
        },
        secret("kafka", parts.secret),
    ];
    volumes.extend(parts.database.map(|name| secret("database", name)));
    volumes.push(Volume {
        name: "tmp".into(),
        empty_dir: Some(EmptyDirVolumeSource {
            size_limit: Some(Quantity("64Mi".into())),
            ..EmptyDirVolumeSource::default()
        }),
        ..Volume::default()
    });
    volumes
}

fn spread(labels: &LabelSelector) -> Vec<TopologySpreadConstraint> {
    ["topology.kubernetes.io/zone", "kubernetes.io/hostname"]
        .map(|key| TopologySpreadConstraint {
            max_skew: 1,
            topology_key: key.into(),
            when_unsatisfiable: "ScheduleAnyway".into(),
            label_selector: Some(labels.clone()),
            ..TopologySpreadConstraint::default()
        })
        .into()
}

fn default_resources() -> ResourceRequirements {
    let quantities = |pairs: &[(&str, &str)]| {
        Some(pairs.iter().map(|(name, quantity)| ((*name).to_owned(), Quantity((*quantity).to_owned()))).collect())
    };
    ResourceRequirements {
        requests: quantities(&[("cpu", "50m"), ("memory", "64Mi")]),
        limits: quantities(&[("memory", "256Mi")]),
        ..ResourceRequirements::default()
    }
}
