//! What one leadership remembers of pipelines' users; it is lost with the process, and costs a look at Kafka.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Mutex, PoisonError},
    time::Instant,
};

use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client};
use tokio::sync::OnceCell;

use super::{plan::Desired, rights::Right};

/// Users that were found, or made, as they should be.
#[derive(Clone, Debug)]
pub struct Rest {
    /// As they should be.
    pub desired: Desired,
    /// resourceVersion of each processor's Secret.
    pub versions: BTreeMap<String, String>,
    /// When.
    pub since: Instant,
    /// Somebody changed something since.
    pub meddled: bool,
}

/// One pipeline.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    /// Its users, if they are at rest.
    pub rest: Option<Rest>,
    /// Rights that pods of before may need, by processor.
    pub lingering: BTreeMap<String, BTreeSet<Right>>,
    /// What was last said about users that cannot be removed.
    pub complaint: Option<String>,
}

/// All pipelines, by uid, and what they share.
#[derive(Debug, Default)]
pub struct Memories {
    pipelines: Mutex<HashMap<String, Memory>>,
    /// Connections on which the users' names are known to be ours.
    claimed: Mutex<BTreeSet<String>>,
    cluster: OnceCell<String>,
}

impl Memories {
    /// Works on one pipeline's memory.
    pub fn with<R>(&self, uid: &str, work: impl FnOnce(&mut Memory) -> R) -> R {
        let mut all = self.pipelines.lock().unwrap_or_else(PoisonError::into_inner);
        work(all.entry(uid.to_owned()).or_default())
    }

    /// Forgets a pipeline that is gone.
    pub fn forget(&self, uid: &str) {
        self.pipelines.lock().unwrap_or_else(PoisonError::into_inner).remove(uid);
    }

    /// Whether the names on a connection are known to be ours.
    pub fn is_claimed(&self, connection: &str) -> bool {
        self.claimed.lock().unwrap_or_else(PoisonError::into_inner).contains(connection)
    }

    /// The names on a connection are ours.
    pub fn claimed(&self, connection: &str) {
        self.claimed.lock().unwrap_or_else(PoisonError::into_inner).insert(connection.to_owned());
    }

    /// The Kubernetes cluster's own id, which is its namespace kube-system's.
    ///
    /// # Errors
    /// What the API server said.
    pub async fn cluster(&self, client: &Client) -> Result<&str, kube::Error> {
        let read = async || {
            let api: Api<Namespace> = Api::all(client.clone());
            let found = api.get_metadata("kube-system").await?;
            Ok(found.metadata.uid.unwrap_or_default())
        };
        self.cluster.get_or_try_init(read).await.map(String::as_str)
    }
}
