//! What the stories share: the cluster, a namespace of one's own, waiting for conditions, and cleaning up whatever happens.

mod kubernetes;
mod money;
mod own;
pub mod read_model;
pub mod requests;
mod tenant;
mod topics;
mod users;

use std::{
    panic::{AssertUnwindSafe, resume_unwind},
    time::{Duration, Instant},
};

use futures::FutureExt;
use tidegate_verify::{client::WalletApi, environment::Environment};
use tokio::sync::{Mutex, MutexGuard};

pub use kubernetes::{BROKERS, as_json, condition};
pub use topics::Found;

/// How long a reconcile, a rollout of one pod, or a projection may take on a busy machine of two cores.
pub const SOON: Duration = Duration::from_secs(60);
/// How long a lost broker, or several pods, may take.
pub const LATER: Duration = Duration::from_secs(240);

static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

/// The cluster as one story sees it.
pub struct World {
    /// Where everything is.
    pub environment: Environment,
    /// The Kubernetes API.
    pub client: kube::Client,
    /// A namespace that only this story uses; it is made with the first object in it, and removed after the story.
    pub namespace: String,
    /// A suffix that no other run has, for topics and wallets.
    pub run: String,
    _turn: MutexGuard<'static, ()>,
}

/// Tells a story in a world of its own, and cleans up. When it fails, what the cluster looked like is printed first.
pub async fn story(name: &str, body: impl AsyncFnOnce(&World)) {
    let world = World::enter(name).await;
    let told = AssertUnwindSafe(body(&world)).catch_unwind().await;
    if told.is_err() {
        world.describe().await;
    }
    world.clean_up().await;
    if let Err(panic) = told {
        resume_unwind(panic);
    }
}

/// Asks until there is an answer, at the latest at the deadline; then the story fails with what it was waiting for and what the
/// last asking found.
pub async fn eventually<T>(what: &str, within: Duration, mut ask: impl AsyncFnMut() -> Result<T, String>) -> T {
    let started = Instant::now();
    loop {
        match ask().await {
            Ok(answer) => return answer,
            Err(found) if started.elapsed() >= within => {
                panic!("waited {} s in vain until {what}; the last look: {found}", within.as_secs())
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(250)).await,
        }
    }
}

/// The condition of an [`eventually`]: holds, or says what was found instead.
pub fn ensure(holds: bool, found: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(found()) }
}

impl World {
    async fn enter(name: &str) -> Self {
        let turn = ONE_AT_A_TIME.lock().await;
        let environment = Environment::from_env().unwrap_or_else(|error| panic!("{error}"));
        let client = kube::Client::try_default()
            .await
            .unwrap_or_else(|error| panic!("no Kubernetes API ({error}); run: eval \"$(hack/env)\""));
        let run: String = uuid::Uuid::new_v4().simple().to_string().chars().take(8).collect();
        Self { environment, client, namespace: format!("e2e-{name}-{run}"), run, _turn: turn }
    }

    /// A client of the wallet.
    pub fn wallet(&self) -> WalletApi {
        WalletApi::new(&self.environment.wallet_url).expect("TIDEGATE_WALLET_URL is a URL of this machine")
    }

    /// A name that only this story uses.
    pub fn name(&self, stem: &str) -> String {
        format!("e2e-{stem}-{}", self.run)
    }
}
