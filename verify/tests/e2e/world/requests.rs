//! Requests to the API server that may be made twice: one that it does not answer is made again.

use std::{
    fmt::Debug,
    time::{Duration, Instant},
};

use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use tidegate_verify::resources;

use super::SOON;

pub(super) const FIELD_MANAGER: &str = "e2e";

/// Asks until the API server says something. A refusal is an answer; trouble of its own or of its database, and a connection that breaks,
/// are none.
pub async fn answered<T>(mut ask: impl AsyncFnMut() -> Result<T, kube::Error>) -> Result<T, kube::Error> {
    let started = Instant::now();
    loop {
        match ask().await {
            Err(error) if is_no_answer(&error) && started.elapsed() < SOON => {
                tokio::time::sleep(Duration::from_millis(250)).await;
            }
            answer => return answer,
        }
    }
}

/// What server-side apply says of an object that is not as its schema says, with the code of an error of its own.
const NOT_BY_SCHEMA: &str = "failed to create typed patch object";

fn is_no_answer(error: &kube::Error) -> bool {
    match error {
        kube::Error::Api(status) => status.code >= 500 && !status.message.contains(NOT_BY_SCHEMA),
        _ => true,
    }
}

/// `kubectl apply --server-side --force-conflicts`; the API server's refusal, if it refuses.
pub async fn apply<K>(api: &Api<K>, name: &str, object: &Value) -> Result<Value, kube::Error>
where
    K: Clone + Debug + DeserializeOwned + Serialize,
{
    answered(async || resources::apply(api, FIELD_MANAGER, name, object).await).await
}

/// `kubectl patch --type merge`.
pub async fn edit<K>(api: &Api<K>, name: &str, patch: &Value)
where
    K: Clone + Debug + DeserializeOwned,
{
    let edited = answered(async || api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await).await;
    edited.unwrap_or_else(|error| panic!("{name} cannot be edited: {error}"));
}

/// `kubectl delete`, without waiting. When the answer to a first request was lost, a later one finds nothing, or another object of the
/// name: the first was heard.
pub async fn delete<K>(api: &Api<K>, name: &str, how: &DeleteParams)
where
    K: Clone + Debug + DeserializeOwned,
{
    let mut asked_before = false;
    let deleted = answered(async || match api.delete(name, how).await {
        Err(kube::Error::Api(status)) if asked_before && matches!(status.code, 404 | 409) => Ok(()),
        answer => {
            asked_before = true;
            answer.map(drop)
        }
    });
    deleted.await.unwrap_or_else(|error| panic!("{name} cannot be deleted: {error}"));
}
