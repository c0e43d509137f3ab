//! Finalizers: what holds a resource until what goes with it is gone.

use kube::{
    Api, Client, Resource,
    api::{Patch, PatchParams},
};
use serde::de::DeserializeOwned;

use crate::context::MANAGER;

/// Whether a finalizer is on an object.
pub fn is_held<K: Resource>(object: &K, finalizer: &str) -> bool {
    object.meta().finalizers.iter().flatten().any(|found| found == finalizer)
}

/// Puts a finalizer on or takes it off.
///
/// # Errors
/// What the API server said.
pub async fn hold<K>(client: &Client, object: &K, finalizer: &str, hold: bool) -> Result<(), kube::Error>
where
    K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
        + Clone
        + DeserializeOwned
        + std::fmt::Debug,
{
    if is_held(object, finalizer) == hold {
        return Ok(());
    }
    let metadata = object.meta();
    let (Some(name), Some(namespace)) = (&metadata.name, &metadata.namespace) else { return Ok(()) };
    let finalizers: &[&str] = if hold { &[finalizer] } else { &[] };
    let body = serde_json::json!({
        "apiVersion": K::api_version(&()),
        "kind": K::kind(&()),
        "metadata": {"name": name, "uid": metadata.uid, "finalizers": finalizers},
    });
    // A manager of its own: applying the finalizer must not look like giving up the status.
    let manager = PatchParams::apply(&format!("{MANAGER}-finalizer")).force();
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    match api.patch(name, &manager, &Patch::Apply(body)).await {
        Ok(_) => Ok(()),
        // Gone already.
        Err(kube::Error::Api(status)) if status.code == 404 || (!hold && status.code == 409) => Ok(()),
        Err(error) => Err(error),
    }
}
