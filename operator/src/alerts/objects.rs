//! The objects that bring a pipeline's rules to Prometheus: PrometheusRules where that kind is served, ConfigMaps of rule files elsewhere,
//! and a PodMonitor. Pure.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::ConfigMap,
    apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement, ObjectMeta},
};
use serde_saphyr::SerializeError;
use tidegate_crds::EventPipeline;

use super::{
    groups,
    kinds::{PodEndpoint, PodMonitor, PodMonitorSpec, PrometheusRule, PrometheusRuleSpec, Relabeling, Served},
    rule::{Group, RuleFile},
};
use crate::{
    config::{AlertsConfig, RulesAs},
    pipeline::build::{MANAGED_BY, PIPELINE_LABEL, PROCESSOR_LABEL, owner_reference},
};

/// Label of the ConfigMaps whose values are rule files.
pub const RULES_LABEL: &str = "tidegate.dev/rules";

/// What watches a pipeline.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Monitoring {
    /// Rule files.
    pub config_maps: Vec<ConfigMap>,
    /// The same as PrometheusRules.
    pub rules: Vec<PrometheusRule>,
    /// Which pods are scraped.
    pub pod_monitor: Option<PodMonitor>,
}

/// What watches a pipeline, in the kinds that the cluster serves.
///
/// # Errors
/// When a rule cannot be written as YAML, which is a defect.
pub fn objects(pipeline: &EventPipeline, config: &AlertsConfig, served: Served) -> Result<Monitoring, SerializeError> {
    let mut monitoring = Monitoring::default();
    let as_kind = match config.rules {
        RulesAs::Auto if served.prometheus_rules => RulesAs::PrometheusRule,
        RulesAs::Auto => RulesAs::ConfigMap,
        other => other,
    };
    for (processor, group) in groups(pipeline, config) {
        let metadata = metadata(pipeline, processor.as_deref(), config);
        match as_kind {
            RulesAs::PrometheusRule if served.prometheus_rules => {
                let spec = PrometheusRuleSpec { groups: vec![group] };
                monitoring.rules.push(PrometheusRule { metadata, spec });
            }
            RulesAs::ConfigMap => monitoring.config_maps.push(config_map(metadata, group)?),
            _ => {}
        }
    }
    if config.pod_monitors && served.pod_monitors {
        monitoring.pod_monitor = Some(pod_monitor(pipeline, config));
    }
    Ok(monitoring)
}

fn config_map(mut metadata: ObjectMeta, group: Group) -> Result<ConfigMap, SerializeError> {
    metadata.labels.get_or_insert_default().insert(RULES_LABEL.to_owned(), "true".to_owned());
    // Unique in the cluster: collectors put the files of all namespaces into one folder.
    let namespace = metadata.namespace.clone().unwrap_or_default();
    let file = format!("{namespace}.{}.yaml", metadata.name.clone().unwrap_or_default());
    let text = serde_saphyr::to_string(&RuleFile { groups: vec![group] })?;
    Ok(ConfigMap { metadata, data: Some([(file, text)].into()), ..ConfigMap::default() })
}

fn pod_monitor(pipeline: &EventPipeline, config: &AlertsConfig) -> PodMonitor {
    let name = pipeline.metadata.name.clone().unwrap_or_default();
    let label = |of: &str, target: &str| Relabeling {
        source_labels: vec![format!("__meta_kubernetes_pod_label_{}", of.replace(['.', '/', '-'], "_"))],
        target_label: target.to_owned(),
    };
    PodMonitor {
        metadata: named(pipeline, format!("{name}.pods"), None, config),
        spec: PodMonitorSpec {
            selector: LabelSelector {
                match_labels: Some([(PIPELINE_LABEL.to_owned(), name)].into()),
                // Anyone's program: it need not have metrics, and who wants them scraped knows where they are.
                match_expressions: Some(vec![LabelSelectorRequirement {
                    key: "app.kubernetes.io/name".to_owned(),
                    operator: "NotIn".to_owned(),
                    values: Some(vec!["container".to_owned()]),
                }]),
            },
            pod_metrics_endpoints: vec![PodEndpoint {
                port: "http".to_owned(),
                path: "/metrics".to_owned(),
                relabelings: vec![label(PIPELINE_LABEL, "pipeline"), label(PROCESSOR_LABEL, "processor")],
            }],
        },
    }
}

/// `<pipeline>.<processor>.rules`, `<pipeline>.rules`: neither name has a dot, so no other object of the operator is called so.
fn metadata(pipeline: &EventPipeline, processor: Option<&str>, config: &AlertsConfig) -> ObjectMeta {
    let name = pipeline.metadata.name.as_deref().unwrap_or_default();
    let name = processor.map_or_else(|| format!("{name}.rules"), |processor| format!("{name}.{processor}.rules"));
    named(pipeline, name, processor, config)
}

fn named(pipeline: &EventPipeline, name: String, processor: Option<&str>, config: &AlertsConfig) -> ObjectMeta {
    let of = pipeline.metadata.name.clone().unwrap_or_default();
    let mut labels: BTreeMap<String, String> = config.labels.clone();
    labels.extend([("app.kubernetes.io/part-of", of.as_str()), (PIPELINE_LABEL, &of), MANAGED_BY].map(owned));
    labels.extend(processor.map(|processor| owned((PROCESSOR_LABEL, processor))));
    ObjectMeta {
        name: Some(name),
        namespace: pipeline.metadata.namespace.clone(),
        labels: Some(labels),
        owner_references: Some(vec![owner_reference(pipeline)]),
        ..ObjectMeta::default()
    }
}

fn owned((key, value): (&str, &str)) -> (String, String) {
    (key.to_owned(), value.to_owned())
}
