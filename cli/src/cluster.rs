//! What is read of a cluster.

use kube::{
    Api, Client, Config,
    api::ListParams,
    config::{KubeConfigOptions, Kubeconfig},
};
use tidegate_crds::EventPipeline;

use crate::error::Error;

/// A cluster.
pub struct Cluster {
    /// Its API.
    pub client: Client,
}

/// Which pipelines are meant.
pub struct Scope<'a> {
    /// One of them.
    pub pipeline: Option<&'a str>,
    /// Those of a namespace; none: that of the context.
    pub namespace: Option<&'a str>,
    /// Those of every namespace.
    pub everywhere: bool,
}

impl Cluster {
    /// The cluster of the kubeconfig, or the one that this process runs in.
    pub async fn connect(context: Option<&str>) -> Result<Self, Error> {
        let config = match context {
            None => Config::infer().await.map_err(|error| Error::Kubeconfig(error.to_string()))?,
            Some(context) => {
                let kubeconfig = Kubeconfig::read().map_err(|error| Error::Kubeconfig(error.to_string()))?;
                let options = KubeConfigOptions { context: Some(context.to_owned()), ..KubeConfigOptions::default() };
                let config = Config::from_custom_kubeconfig(kubeconfig, &options).await;
                config.map_err(|error| Error::Kubeconfig(error.to_string()))?
            }
        };
        let client = Client::try_from(config).map_err(|error| Error::Kubeconfig(error.to_string()))?;
        Ok(Self { client })
    }

    /// The pipelines that are meant, by namespace and name.
    pub async fn pipelines(&self, scope: &Scope<'_>) -> Result<Vec<EventPipeline>, Error> {
        let namespace = scope.namespace.unwrap_or(self.client.default_namespace());
        let api: Api<EventPipeline> = match scope.everywhere {
            true => Api::all(self.client.clone()),
            false => Api::namespaced(self.client.clone(), namespace),
        };
        let listed = api.list(&ListParams::default()).await;
        let mut found = listed
            .map_err(|error| match error {
                // A list is empty, never missing: the kind is.
                kube::Error::Api(status) if status.code == 404 => Error::NoKind,
                other => Error::kubernetes("listing EventPipelines")(other),
            })?
            .items;
        found.sort_by_key(|pipeline| (pipeline.metadata.namespace.clone(), pipeline.metadata.name.clone()));
        let Some(name) = scope.pipeline else { return Ok(found) };
        let names: Vec<String> = found.iter().filter_map(|pipeline| pipeline.metadata.name.clone()).collect();
        found.retain(|pipeline| pipeline.metadata.name.as_deref() == Some(name));
        if found.is_empty() {
            let instead = match names.as_slice() {
                [] => "there is none; `kubectl tidegate status -A` shows those of other namespaces".to_owned(),
                names => format!("there is {}", names.join(", ")),
            };
            return Err(Error::NoPipeline { name: name.to_owned(), namespace: namespace.to_owned(), instead });
        }
        Ok(found)
    }
}
