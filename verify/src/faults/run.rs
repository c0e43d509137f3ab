//! A run: load, rounds of faults on it, and what the stores say when everything is undone.

use std::{
    collections::BTreeMap,
    fmt::Write,
    sync::{Arc, atomic::AtomicBool, atomic::Ordering},
    time::Duration,
};

use super::{
    FaultError, Kind, PutAside,
    inject::Injector,
    rounds::{self, Inject, Rounds},
};
use crate::{
    acknowledged,
    client::WalletApi,
    environment::Environment,
    load::{self, drive},
    stores::settle,
    verdict::Verdict,
};

/// How long the last requests, the recovery and the projections may take after the last round.
const AFTERWARDS: Duration = Duration::from_secs(900);
const SETTLE_WITHIN: Duration = Duration::from_secs(240);
/// Looks at the stores before what does not settle is a failure. After each, dead letters that hold up a key are released.
const LOOKS: u32 = 3;

/// What to do.
#[derive(Clone, Debug)]
pub struct Options {
    /// How long faults are injected.
    pub time: Duration,
    /// Decides which faults come when, and what the load does.
    pub seed: u64,
    /// Kinds to choose from.
    pub kinds: Vec<Kind>,
    /// Whether to stop when each kind has come once, if that is earlier.
    pub once: bool,
    /// Operations a second.
    pub rate: u32,
    /// Set to end the run early: what is under way is undone, and the stores are judged.
    pub stop: Arc<AtomicBool>,
}

/// What a run came to.
#[derive(Debug)]
pub struct Report {
    /// How often each kind was injected.
    pub injected: BTreeMap<Kind, u32>,
    /// Kinds that could not be injected here, and why.
    pub left_out: Vec<(Kind, String)>,
    /// What did not go as planned: faults that met nobody, what did not recover.
    pub troubles: Vec<String>,
    /// What the groups put aside meanwhile.
    pub put_aside: PutAside,
    /// What the load came to.
    pub load: String,
    /// What the stores say.
    pub verdict: Verdict,
}

impl Report {
    /// Whether everything held that must.
    pub fn held(&self) -> bool {
        self.troubles.is_empty() && self.verdict.held()
    }

    /// The faults, a line each kind.
    pub fn faults(&self) -> String {
        let mut text = rounds::describe(&self.injected);
        for (kind, why) in &self.left_out {
            let _ = writeln!(text, "left out           {kind:<18} {why}");
        }
        let _ = writeln!(text, "put aside          {}", self.put_aside);
        for trouble in &self.troubles {
            let _ = writeln!(text, "TROUBLE            {trouble}");
        }
        text
    }
}

/// Runs it; `say` is told what happens.
pub async fn run(environment: &Environment, options: &Options, say: impl Fn(&str)) -> Result<Report, FaultError> {
    let name = super::records::unique(&format!("faults-{:x}", options.seed));
    let load = load::Options {
        wallets: 100,
        operations: load::MOST_OPERATIONS,
        workers: 12,
        seed: options.seed,
        run: name,
        rate: Some(options.rate),
        mix: load::Mix::Full,
        stop: Arc::default(),
        deadline: options.time + AFTERWARDS,
        progress: false,
    };
    let injector = Injector::new(environment, &load).await?;
    injector.undo_all().await?;
    injector.well().await?;
    let mut left_out = vec![];
    let mut kinds = vec![];
    for &kind in &options.kinds {
        match injector.obstacle(kind).await? {
            None => kinds.push(kind),
            Some(why) => left_out.push((kind, why)),
        }
    }

    let api = WalletApi::patient(&environment.wallet_url, load.deadline)?;
    let driving = tokio::spawn(drive(api, load.clone()));
    let mut rounds = Rounds {
        injector: &injector,
        time: options.time,
        seed: options.seed,
        once: options.once,
        stop: options.stop.clone(),
        say: &say,
        injected: BTreeMap::new(),
        troubles: vec![],
    };
    let broken_off = rounds.run(&kinds).await;
    let Rounds { injected, mut troubles, .. } = rounds;

    say("undoing what is left, waiting until everything is well");
    injector.undo_all().await?;
    injector.well().await?;
    broken_off?;
    load.stop.store(true, Ordering::SeqCst);
    let outcome = driving.await.map_err(|panic| FaultError::Interrupted(panic.to_string()))?;
    if outcome.failed > 0 {
        troubles.push(format!("{} operations failed, such as {:?}", outcome.failed, outcome.failures));
    }

    say("reading the stores");
    let mut reading = settle(environment, SETTLE_WITHIN / LOOKS).await?;
    for _ in 1..LOOKS {
        if reading.caught_up_after.is_some() && reading.lag.iter().all(|(_, unread)| *unread == 0) {
            break;
        }
        injector.release().await?;
        reading = settle(environment, SETTLE_WITHIN / LOOKS).await?;
    }
    let mut verdict = Verdict::of(&reading);
    if outcome.failed == 0 {
        let lost = acknowledged::violations(&load, &outcome.wallets, &reading.facts);
        verdict.rule("acknowledged", acknowledged::PROMISE, &lost);
    }
    let put_aside = injector.put_aside().await?;
    Ok(Report { injected, left_out, troubles, put_aside, load: load::describe(&load, &outcome), verdict })
}
