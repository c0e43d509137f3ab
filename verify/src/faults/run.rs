//! A run: load, rounds of faults on it, and what the stores say when everything is undone.

use std::{
    collections::BTreeMap,
    fmt::Write,
    sync::{Arc, atomic::AtomicBool, atomic::Ordering},
    time::{Duration, Instant},
};

use tokio::time::sleep;

use super::{Fault, FaultError, Kind, PutAside, Round, Schedule, inject::Injector};
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
        let mut text = String::new();
        for (kind, count) in &self.injected {
            let _ = writeln!(text, "injected {count:>4}      {kind:<16} {}", kind.what());
        }
        for (kind, why) in &self.left_out {
            let _ = writeln!(text, "left out           {kind:<16} {why}");
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
    let mut rounds = Rounds { injector: &injector, options, injected: BTreeMap::new(), troubles: vec![], say: &say };
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

struct Rounds<'a, S> {
    injector: &'a Injector,
    options: &'a Options,
    injected: BTreeMap<Kind, u32>,
    troubles: Vec<String>,
    say: &'a S,
}

impl<S: Fn(&str)> Rounds<'_, S> {
    /// Round after round until time is up. An error is one that the run cannot go on after.
    async fn run(&mut self, kinds: &[Kind]) -> Result<(), FaultError> {
        let started = Instant::now();
        let mut schedule = Schedule::new(self.options.seed, kinds);
        for number in 1.. {
            let is_over =
                started.elapsed() >= self.options.time || (self.options.once && number > 1 && schedule.is_even());
            if is_over || self.is_stopped() {
                break;
            }
            let Some(round) = schedule.next() else { break };
            let faults: Vec<String> = round.faults.iter().map(ToString::to_string).collect();
            let seconds = started.elapsed().as_secs();
            (self.say)(&format!("{:02}:{:02} round {number}: {}", seconds / 60, seconds % 60, faults.join(" + ")));
            let stop = self.options.stop.clone();
            tokio::select! {
                done = self.round(&round) => done?,
                () = stopped(&stop) => break,
            }
        }
        Ok(())
    }

    async fn round(&mut self, round: &Round) -> Result<(), FaultError> {
        let injector = self.injector;
        let one = |fault: Option<&Fault>| {
            let fault = fault.cloned();
            async move {
                let fault = fault?;
                sleep(fault.after).await;
                Some((injector.inject(&fault).await, fault))
            }
        };
        let (first, second) = tokio::join!(one(round.faults.first()), one(round.faults.get(1)));
        for (done, fault) in [first, second].into_iter().flatten() {
            match done {
                Ok(()) => *self.injected.entry(fault.kind).or_default() += 1,
                Err(error) => {
                    (self.say)(&format!("      {fault}: {error}"));
                    self.troubles.push(format!("{fault}: {error}"));
                }
            }
        }
        let waiting = Instant::now();
        let last = self.injector.well().await?.map(|last| format!("; the last to wait for: {last}"));
        let seconds = waiting.elapsed().as_secs_f64();
        (self.say)(&format!("      well again after {seconds:.1} s{}", last.unwrap_or_default()));
        sleep(round.pause).await;
        Ok(())
    }

    fn is_stopped(&self) -> bool {
        self.options.stop.load(Ordering::SeqCst)
    }
}

async fn stopped(stop: &AtomicBool) {
    while !stop.load(Ordering::SeqCst) {
        sleep(Duration::from_millis(100)).await;
    }
}
