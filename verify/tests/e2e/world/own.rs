//! The wallet that a story runs for itself, as the pipeline `own` of [`World::wallet_spec`].

use serde_json::{Value, json};

use super::{LATER, World, ensure, eventually};

impl World {
    /// Opens the wallet `ada`.
    pub async fn open_ada(&self) {
        let body = json!({"walletId": "ada", "ownerId": "ada", "currency": "EUR"});
        self.call("own-commands", "wallets", Some(body)).await.unwrap_or_else(|error| panic!("{error}"));
    }

    /// Deposits into `ada`, each time anew.
    pub async fn deposit(&self) {
        self.try_deposit().await.unwrap_or_else(|error| panic!("a deposit is not taken: {error}"));
    }

    /// Deposits into `ada`, or says why not.
    pub async fn try_deposit(&self) -> Result<(), String> {
        let body = json!({"amount": "1.00"});
        self.call("own-commands", "wallets/ada/deposits", Some(body)).await.map(drop)
    }

    /// Waits until so many deposits are in the ledger of `ada`.
    pub async fn deposits_are_projected(&self, count: usize) {
        eventually(&format!("{count} deposits are in the ledger"), LATER, async || {
            let ledger = self.call("own-commands", "wallets/ada/ledger", None).await?.to_string();
            ensure(ledger.matches("MoneyDeposited").count() >= count, || ledger)
        })
        .await;
    }

    /// Suspends a pipeline, and waits until none of the pods with a label runs.
    pub async fn suspend(&self, name: &str, spec: &Value, pods: &str) {
        let mut asleep = spec.clone();
        asleep["suspend"] = json!(true);
        self.apply_pipeline(name, asleep).await.unwrap_or_else(|error| panic!("{error}"));
        self.pods_are_gone(&self.namespace, pods).await;
    }
}
