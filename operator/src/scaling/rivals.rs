//! Who else would set the number of a processor's pods: HorizontalPodAutoscalers, and KEDA's ScaledObjects where there are any. Two that
//! decide one number undo each other.

use std::collections::BTreeMap;

use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use kube::{
    Api, Client, ResourceExt,
    api::{ApiResource, DynamicObject, GroupVersionKind, ListParams},
};
use serde_json::Value;
use tidegate_crds::EventPipeline;

use crate::{
    context::Context,
    pipeline::{PipelineError, object_name},
};

/// Processors with `scaling` whose Deployment somebody else scales, each with `Kind name` of that.
///
/// # Errors
/// What the API server said.
pub async fn rivals(context: &Context, pipeline: &EventPipeline) -> Result<BTreeMap<String, String>, PipelineError> {
    let scaled: Vec<&str> = pipeline
        .spec
        .processors
        .iter()
        .filter(|processor| processor.scaling.is_some())
        .map(|processor| processor.name.as_str())
        .collect();
    if scaled.is_empty() {
        return Ok(BTreeMap::new());
    }
    let namespace = pipeline.metadata.namespace.as_deref().unwrap_or_default();
    let mut found = BTreeMap::new();
    for (deployment, who) in autoscalers(&context.client, namespace).await? {
        let of = |processor: &&&str| object_name(pipeline, processor) == deployment;
        if let Some(processor) = scaled.iter().find(of) {
            found.insert((*processor).to_owned(), who);
        }
    }
    Ok(found)
}

/// Deployments of a namespace that somebody else scales, each with `Kind name` of that; of several of one Deployment the last is to be named.
///
/// # Errors
/// What the API server said.
pub async fn autoscalers(client: &Client, namespace: &str) -> Result<Vec<(String, String)>, PipelineError> {
    let looking = PipelineError::kubernetes("looking for others who scale a Deployment");
    let autoscalers: Api<HorizontalPodAutoscaler> = Api::namespaced(client.clone(), namespace);
    let autoscalers = autoscalers.list(&ListParams::default()).await.map_err(&looking)?;
    let mut targets: Vec<(String, String)> = Vec::new();
    for autoscaler in autoscalers {
        let name = autoscaler.name_any();
        let Some(target) = autoscaler.spec.map(|spec| spec.scale_target_ref) else { continue };
        if target.kind == "Deployment" {
            targets.push((target.name, format!("HorizontalPodAutoscaler {name}")));
        }
    }
    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("keda.sh", "v1alpha1", "ScaledObject"));
    let objects: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &kind);
    match objects.list(&ListParams::default()).await {
        // Last, so that it is named rather than the HorizontalPodAutoscaler that KEDA makes for it.
        Ok(objects) => targets.extend(objects.iter().filter_map(scaled_object)),
        Err(kube::Error::Api(status)) if status.code == 404 => {}
        Err(error) => return Err(looking(error)),
    }
    Ok(targets)
}

/// The Deployment that a ScaledObject scales, with its own kind and name.
fn scaled_object(object: &DynamicObject) -> Option<(String, String)> {
    let target = object.data.pointer("/spec/scaleTargetRef")?;
    let kind = target.get("kind").and_then(Value::as_str).unwrap_or("Deployment");
    let name = target.get("name").and_then(Value::as_str)?;
    (kind == "Deployment").then(|| (name.to_owned(), format!("ScaledObject {}", object.name_any())))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_scaled_object_scales_a_deployment_unless_it_says_otherwise() {
        let object = |target: Value| -> DynamicObject {
            serde_json::from_value(json!({
                "apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "metadata": {"name": "by-lag"},
                "spec": {"scaleTargetRef": target},
            }))
            .unwrap()
        };
        let found = scaled_object(&object(json!({"name": "wallet-ledger"})));
        assert_eq!(found, Some(("wallet-ledger".to_owned(), "ScaledObject by-lag".to_owned())));
        assert_eq!(scaled_object(&object(json!({"name": "db", "kind": "StatefulSet"}))), None);
    }
}
