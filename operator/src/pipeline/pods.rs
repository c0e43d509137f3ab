//! Why pods are not ready, in the words of whoever knows: the kubelet or the scheduler. Looked up only while some are not.

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::{Api, api::ListParams};
use tidegate_crds::EventPipeline;

use super::build::selector;
use crate::{conditions::truncate, context::Context};

/// Most of a reason that a condition repeats.
const LONGEST: usize = 300;

/// Reasons that are only a matter of moments.
const PASSING: [&str; 2] = ["ContainerCreating", "PodInitializing"];

/// Why a processor's pods are not ready, where one of them tells.
pub async fn trouble(context: &Context, pipeline: &EventPipeline, processor: &str) -> Option<String> {
    let api: Api<Pod> = Api::namespaced(context.client.clone(), pipeline.metadata.namespace.as_deref()?);
    let parameters = ListParams::default().labels(&labels(pipeline, processor)).limit(50);
    // Without an answer the counts have to do.
    let pods = api.list(&parameters).await.ok()?;
    pods.items.iter().find_map(reason).map(|reason| truncate(reason, LONGEST))
}

/// Pods of a processor that exist and have not ended, those that are ending included; none while that cannot be asked.
pub async fn running(context: &Context, pipeline: &EventPipeline, processor: &str) -> Option<usize> {
    let api: Api<Pod> = Api::namespaced(context.client.clone(), pipeline.metadata.namespace.as_deref()?);
    let pods = api.list(&ListParams::default().labels(&labels(pipeline, processor))).await.ok()?;
    let ended = |pod: &&Pod| {
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        !matches!(phase, Some("Succeeded" | "Failed"))
    };
    Some(pods.items.iter().filter(ended).count())
}

fn labels(pipeline: &EventPipeline, processor: &str) -> String {
    let labels = selector(pipeline, processor).into_iter().map(|(key, value)| format!("{key}={value}"));
    labels.collect::<Vec<_>>().join(",")
}

fn reason(pod: &Pod) -> Option<String> {
    if pod.metadata.deletion_timestamp.is_some() {
        return None;
    }
    let status = pod.status.as_ref()?;
    let unschedulable = status
        .conditions
        .iter()
        .flatten()
        .find(|condition| condition.type_ == "PodScheduled" && condition.status == "False")
        .map(|condition| text(condition.reason.as_deref(), condition.message.as_deref()));
    unschedulable.or_else(|| status.container_statuses.iter().flatten().find_map(container))
}

fn container(status: &ContainerStatus) -> Option<String> {
    let waiting = status.state.as_ref()?.waiting.as_ref()?;
    let reason = waiting.reason.as_deref().filter(|reason| !PASSING.contains(reason))?;
    // The message of a crash loop is about the back-off; how the program ended says more.
    let ended = status.last_state.as_ref().and_then(|last| last.terminated.as_ref());
    Some(match ended {
        Some(ended) => {
            let how = ended.reason.as_deref().unwrap_or("Error");
            format!("{reason}: the program ended with exit code {} ({how})", ended.exit_code)
        }
        None => text(Some(reason), waiting.message.as_deref()),
    })
}

fn text(reason: Option<&str>, message: Option<&str>) -> String {
    [reason, message].into_iter().flatten().collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(status: Value) -> Pod {
        serde_json::from_value(json!({"metadata": {"name": "p"}, "status": status})).unwrap()
    }

    fn waiting(state: Value, last: Value) -> Pod {
        let container = json!({
            "name": "wallet", "image": "", "imageID": "", "ready": false, "restartCount": 1,
            "state": {"waiting": state}, "lastState": last,
        });
        pod(json!({"containerStatuses": [container]}))
    }

    #[test]
    fn the_one_who_knows_is_quoted() {
        let pull = json!({"reason": "ErrImagePull", "message": "no such host"});
        let crash = json!({"reason": "CrashLoopBackOff", "message": "back-off 10s"});
        let ended = json!({"terminated": {"exitCode": 1, "reason": "Error"}});
        let unschedulable =
            json!({"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes"});
        for (pod, said) in [
            (waiting(pull, json!({})), Some("ErrImagePull: no such host")),
            (waiting(crash, ended), Some("CrashLoopBackOff: the program ended with exit code 1 (Error)")),
            (waiting(json!({"reason": "ContainerCreating"}), json!({})), None),
            (pod(json!({"conditions": [unschedulable]})), Some("Unschedulable: 0/1 nodes")),
            (pod(json!({})), None),
        ] {
            assert_eq!(reason(&pod).as_deref(), said);
        }
    }
}
