//! The kinds of the Prometheus operator, as far as they are written here, and whether the cluster serves them.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::{Client, CustomResource};
use serde::{Deserialize, Serialize};

use super::rule::Group;

const GROUP_VERSION: &str = "monitoring.coreos.com/v1";
/// How often it is looked whether the kinds have come or gone.
const LOOK: Duration = Duration::from_secs(60);
/// How soon it is asked again when it did not answer.
const AGAIN: Duration = Duration::from_secs(2);

/// Rules for Prometheus.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "monitoring.coreos.com",
    version = "v1",
    kind = "PrometheusRule",
    plural = "prometheusrules",
    namespaced,
    schema = "disabled",
    derive = "PartialEq",
    doc = "Rules for Prometheus."
)]
pub struct PrometheusRuleSpec {
    /// The rules.
    #[serde(default)]
    pub groups: Vec<Group>,
}

/// Pods that Prometheus scrapes.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "monitoring.coreos.com",
    version = "v1",
    kind = "PodMonitor",
    plural = "podmonitors",
    namespaced,
    schema = "disabled",
    derive = "PartialEq",
    doc = "Pods that Prometheus scrapes."
)]
#[serde(rename_all = "camelCase")]
pub struct PodMonitorSpec {
    /// The pods.
    pub selector: LabelSelector,
    /// Their ports.
    pub pod_metrics_endpoints: Vec<PodEndpoint>,
}

/// A port of a pod that is scraped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodEndpoint {
    /// The port's name.
    pub port: String,
    /// The path.
    pub path: String,
    /// Labels that are added.
    #[serde(default)]
    pub relabelings: Vec<Relabeling>,
}

/// A label of the pod that becomes one of its series.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Relabeling {
    /// Prometheus' name of the pod's label.
    pub source_labels: Vec<String>,
    /// Name of the series' label.
    pub target_label: String,
}

/// Which of the kinds the cluster serves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Served {
    /// PrometheusRule.
    pub prometheus_rules: bool,
    /// PodMonitor.
    pub pod_monitors: bool,
}

impl Served {
    /// Asks the API server.
    ///
    /// # Errors
    /// When it does not answer. That it does not know the group is an answer.
    async fn discover(client: &Client) -> Result<Self, kube::Error> {
        match client.list_api_group_resources(GROUP_VERSION).await {
            Ok(list) => {
                let has = |plural: &str| list.resources.iter().any(|resource| resource.name == plural);
                Ok(Self { prometheus_rules: has("prometheusrules"), pod_monitors: has("podmonitors") })
            }
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(Self::default()),
            Err(error) => Err(error),
        }
    }

    /// Asks the API server until it answers.
    pub async fn learn(client: &Client) -> Self {
        loop {
            match Self::discover(client).await {
                Ok(served) => return served,
                Err(error) => tracing::warn!(%error, "it is not known yet whether monitoring's kinds are served"),
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// Waits until a kind has come or gone.
    pub async fn changed(self, client: &Client) {
        loop {
            tokio::time::sleep(LOOK).await;
            match Self::discover(client).await {
                Ok(now) if now == self => {}
                Ok(_) => {
                    return tracing::info!("kinds of the Prometheus operator came or went; beginning anew with them");
                }
                Err(error) => {
                    tracing::warn!(%error, "it is not known at the moment whether monitoring's kinds are served")
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use http::{Request, Response};
    use kube::client::Body;
    use serde_json::json;

    use super::*;

    /// An API server that answers everything so.
    fn server(status: u16, body: String) -> Client {
        let service = tower::service_fn(move |_: Request<Body>| {
            let response = Response::builder().status(status).body(Body::from(body.clone().into_bytes()));
            std::future::ready(response.map_err(std::io::Error::other))
        });
        Client::new(service, "default")
    }

    #[tokio::test]
    async fn a_group_that_the_api_server_does_not_know_is_an_answer_and_silence_is_none() {
        let nothing = Served::discover(&server(404, "404 page not found\n".into())).await.unwrap();
        assert_eq!(nothing, Served::default());
        assert!(Served::discover(&server(503, "not now".into())).await.is_err());

        let resource =
            |name: &str| json!({"name": name, "singularName": "", "namespaced": true, "kind": "K", "verbs": ["get"]});
        let list = json!({
            "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": GROUP_VERSION,
            "resources": [resource("prometheuses"), resource("prometheusrules")],
        });
        let some = Served::discover(&server(200, list.to_string())).await.unwrap();
        assert_eq!(some, Served { prometheus_rules: true, pod_monitors: false });
    }
}
