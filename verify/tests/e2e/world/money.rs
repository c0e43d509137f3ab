//! Money on the move, and the proof that none was lost.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use serde_json::Value;
use tidegate_verify::{
    acknowledged, chain,
    invariants::check,
    load::{Mix, Options, Outcome, drive},
    stores::{Reading, postgres, settle},
};
use tokio::task::JoinHandle;

use super::{LATER, World, ensure, eventually};

/// Load that is under way until it is told to end.
pub struct Load {
    options: Options,
    committed_before: i64,
    running: JoinHandle<Outcome>,
}

impl World {
    /// Begins to drive the wallet, at a rate that leaves a small machine room for what the story does to it.
    pub async fn begin_load(&self) -> Load {
        let options = Options {
            wallets: 40,
            operations: 1_000_000,
            workers: 10,
            seed: 1,
            run: self.name("load"),
            rate: Some(200),
            mix: Mix::Full,
            stop: Arc::default(),
            // Longer than all that a story waits for while it is under way: it is told when to end.
            deadline: Duration::from_secs(1800),
            progress: false,
        };
        let committed_before = self.progress().await.committed;
        let running = tokio::spawn(drive(self.wallet(), options.clone()));
        Load { options, committed_before, running }
    }

    /// Waits until so many events of the load are committed.
    pub async fn load_has_committed(&self, load: &Load, events: i64) {
        eventually(&format!("{events} events of the load are committed"), LATER, async || {
            let committed = self.committed_by(load).await;
            ensure(committed >= events, || format!("{committed} are"))
        })
        .await;
    }

    /// Events of the load that are committed.
    pub async fn committed_by(&self, load: &Load) -> i64 {
        self.progress().await.committed - load.committed_before
    }

    /// Ends the load: every operation was acknowledged, the books are right, nobody has anything left to read.
    pub async fn load_ends_without_a_loss(&self, load: Load) {
        load.options.stop.store(true, Ordering::SeqCst);
        let outcome = load.running.await.expect("the load driver comes to its end");
        assert_eq!((outcome.failed, outcome.failures), (0, vec![]), "every operation is acknowledged");
        assert!(outcome.succeeded > 0 && !outcome.out_of_time);
        let reading = self.books_are_right().await;
        assert_eq!(acknowledged::violations(&load.options, &outcome.wallets, &reading.facts), Vec::<String>::new());
    }

    /// Waits until the projections have caught up; then the invariants hold in the stores, and the lag is 0.
    pub async fn books_are_right(&self) -> Reading {
        let reading = settle(&self.environment, LATER).await.unwrap_or_else(|error| panic!("{error}"));
        assert!(reading.caught_up_after.is_some(), "the projections never caught up: {:?}", reading.progress);
        let violations = check(&reading.facts);
        let shown: Vec<String> = violations.iter().take(20).map(ToString::to_string).collect();
        assert!(violations.is_empty(), "{} violations, such as {shown:#?}", violations.len());
        assert_eq!(chain::violations(&reading.facts), Vec::<String>::new());
        assert!(reading.lag.iter().all(|(_, unread)| *unread == 0), "lag: {:?}", reading.lag);
        reading
    }

    /// Waits until every process that takes commands says that its way to Kafka is healthy: trouble that is over is forgotten.
    pub async fn the_way_to_kafka_is_healthy(&self) {
        eventually("every pod of commands says that its way to Kafka is healthy", LATER, async || {
            for pod in self.pods_of("wallet", "tidegate.dev/processor=commands").await.into_keys() {
                let uri = format!("/api/v1/namespaces/wallet/pods/{pod}:8080/proxy/health/kafka");
                let request = http::Request::get(&uri).body(vec![]).expect("a request can be built");
                let health: Value = self.client.request(request).await.map_err(|error| format!("{pod}: {error}"))?;
                ensure(health["status"] == "healthy", || format!("{pod}: {health}"))?;
            }
            Ok(())
        })
        .await;
    }

    /// How far the projections have come.
    pub async fn progress(&self) -> postgres::Progress {
        eventually("the wallet's database answers", Duration::from_secs(30), async || {
            let mut connection =
                postgres::connect(&self.environment.wallet_database_url).await.map_err(|error| error.to_string())?;
            postgres::progress(&mut connection).await.map_err(|error| error.to_string())
        })
        .await
    }
}
