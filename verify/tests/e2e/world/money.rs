//! Money on the move, and the proof that none was lost.

use std::time::Duration;

use tidegate_verify::{
    acknowledged,
    invariants::check,
    load::{Options, Outcome, drive},
    stores::{Reading, postgres, settle},
};
use tokio::task::JoinHandle;

use super::{LATER, World, ensure, eventually};

/// Load that is under way.
pub struct Load {
    options: Options,
    committed_before: i64,
    running: JoinHandle<Outcome>,
}

impl World {
    /// Begins to drive the wallet.
    pub async fn begin_load(&self, wallets: u32, operations: u64, workers: u32) -> Load {
        let options =
            Options { wallets, operations, workers, seed: 1, run: self.name("load"), deadline: LATER, progress: false };
        let committed_before = self.progress().await.committed;
        let running = tokio::spawn(drive(self.wallet(), options.clone()));
        Load { options, committed_before, running }
    }

    /// Waits until so many events of the load are committed.
    pub async fn load_has_committed(&self, load: &Load, events: i64) {
        eventually(&format!("{events} events of the load are committed"), LATER, async || {
            let committed = self.progress().await.committed - load.committed_before;
            ensure(committed >= events, || format!("{committed} are"))?;
            ensure(!load.running.is_finished(), || panic!("the load ended before its middle: make it longer"))
        })
        .await;
    }

    /// Waits for the end of the load: every operation was acknowledged, the books are right, nobody has anything left to read.
    pub async fn load_ends_without_a_loss(&self, load: Load) {
        let outcome = load.running.await.expect("the load driver comes to its end");
        assert_eq!(outcome.failures, Vec::<String>::new());
        assert_eq!(
            (outcome.failed, outcome.succeeded),
            (0, load.options.operations),
            "every operation is acknowledged"
        );
        let reading = self.books_are_right().await;
        assert_eq!(acknowledged::violations(&load.options, &outcome, &reading.facts), Vec::<String>::new());
    }

    /// Waits until the projections have caught up; then invariants 1 to 4 hold in the stores, and the lag is 0.
    pub async fn books_are_right(&self) -> Reading {
        let reading = settle(&self.environment, LATER).await.unwrap_or_else(|error| panic!("{error}"));
        assert!(reading.caught_up_after.is_some(), "the projections never caught up: {:?}", reading.progress);
        let violations = check(&reading.facts);
        let shown: Vec<String> = violations.iter().take(20).map(ToString::to_string).collect();
        assert!(violations.is_empty(), "{} violations, such as {shown:#?}", violations.len());
        assert!(reading.lag.iter().all(|(_, unread)| *unread == 0), "lag: {:?}", reading.lag);
        reading
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
