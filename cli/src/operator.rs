//! The operator that leads, reached through the API server: its HTTP port is asked by way of its pod.

use http::HeaderValue;
use k8s_openapi::api::{coordination::v1::Lease, core::v1::Pod};
use kube::{Api, Client};

use crate::{cluster::Cluster, error::Error};

/// Where the operator is.
#[derive(clap::Args)]
pub struct Operator {
    /// Namespace of the operator
    #[arg(
        long = "operator-namespace",
        id = "operator-namespace",
        value_name = "NAMESPACE",
        default_value = "tidegate-system"
    )]
    pub namespace: String,
    /// The operator's installationId, which is its lease's name
    #[arg(long, default_value = "tidegate")]
    pub installation: String,
}

/// The pod that leads.
pub struct Leader {
    client: Client,
    /// Of its HTTP port, as the API server forwards to it.
    address: String,
}

impl Operator {
    /// Looks for the pod that leads.
    pub async fn leader(&self, cluster: &Cluster) -> Result<Leader, Error> {
        let doing = "asking which operator leads";
        let leases: Api<Lease> = Api::namespaced(cluster.client.clone(), &self.namespace);
        let lease = leases.get_opt(&self.installation).await.map_err(Error::kubernetes(doing))?;
        let holder = lease.and_then(|lease| lease.spec?.holder_identity).filter(|holder| !holder.is_empty());
        let Some(holder) = holder else {
            let said = format!(
                "nobody holds the lease {} in namespace {}\n  -> is the operator running? --operator-namespace and --installation name another",
                self.installation, self.namespace
            );
            return Err(Error::Kubernetes { doing, said });
        };
        let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), &self.namespace);
        let pod = pods.get_opt(&holder).await.map_err(Error::kubernetes("looking for the operator's pod"))?;
        let port = pod
            .and_then(|pod| pod.spec)
            .into_iter()
            .flat_map(|spec| spec.containers)
            .flat_map(|container| container.ports.unwrap_or_default())
            .find(|port| port.name.as_deref() == Some("http"))
            .map_or(8080, |port| port.container_port);
        let address = format!("/api/v1/namespaces/{}/pods/{holder}:{port}/proxy", self.namespace);
        Ok(Leader { client: cluster.client.clone(), address })
    }
}

impl Leader {
    /// What it answers to a path. What the headers say is in no log.
    pub async fn get(&self, path: &str, headers: &[(&'static str, &str)]) -> Result<String, kube::Error> {
        let mut request = http::Request::get(format!("{}{path}", self.address));
        for (name, value) in headers {
            let mut value = HeaderValue::from_str(value).map_err(|error| kube::Error::HttpError(error.into()))?;
            value.set_sensitive(true);
            request = request.header(*name, value);
        }
        self.client.request_text(request.body(Vec::new()).map_err(kube::Error::HttpError)?).await
    }
}
