//! Round after round of faults until time is up: inject, wait until everything is well, rest.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::AtomicBool, atomic::Ordering},
    time::{Duration, Instant},
};

use futures::future::join_all;
use tokio::time::sleep;

use super::{Fault, FaultError, Round, Schedule, schedule::Deal};

/// What makes trouble.
pub(super) trait Inject {
    /// Of which kinds.
    type Kind: Deal;

    /// Injects a fault, keeps it up for as long as it says, and undoes it; what was done, where the plan does not say it.
    async fn inject(&self, fault: &Fault<Self::Kind>) -> Result<String, FaultError>;

    /// Waits until everything is well that faults are aimed at; what it waited for last, if it had to wait.
    async fn well(&self) -> Result<Option<String>, FaultError>;
}

/// A run's rounds.
pub(super) struct Rounds<'a, I: Inject, S> {
    /// What makes trouble.
    pub(super) injector: &'a I,
    /// How long faults are injected.
    pub(super) time: Duration,
    /// Decides which come when.
    pub(super) seed: u64,
    /// Whether to stop when each kind has come once, if that is earlier.
    pub(super) once: bool,
    /// Set to end the rounds early.
    pub(super) stop: Arc<AtomicBool>,
    /// Is told what happens.
    pub(super) say: &'a S,
    /// How often each kind was injected.
    pub(super) injected: BTreeMap<I::Kind, u32>,
    /// What did not go as planned.
    pub(super) troubles: Vec<String>,
}

impl<I: Inject, S: Fn(&str)> Rounds<'_, I, S> {
    /// Round after round until time is up. An error is one that the run cannot go on after.
    pub(super) async fn run(&mut self, kinds: &[I::Kind]) -> Result<(), FaultError> {
        let started = Instant::now();
        let mut schedule = Schedule::new(self.seed, kinds);
        for number in 1.. {
            let is_over = started.elapsed() >= self.time || (self.once && number > 1 && schedule.is_even());
            if is_over || is_set(&self.stop) {
                break;
            }
            let Some(round) = schedule.next() else { break };
            let seconds = started.elapsed().as_secs();
            (self.say)(&format!("{:02}:{:02} round {number}: {round}", seconds / 60, seconds % 60));
            let stop = self.stop.clone();
            tokio::select! {
                done = self.round(&round) => done?,
                () = set(&stop) => break,
            }
        }
        Ok(())
    }

    async fn round(&mut self, round: &Round<I::Kind>) -> Result<(), FaultError> {
        let one = async |fault: &Fault<I::Kind>| {
            sleep(fault.after).await;
            self.injector.inject(fault).await
        };
        let done = join_all(round.faults.iter().map(one)).await;
        for (done, fault) in done.into_iter().zip(&round.faults) {
            match done {
                Ok(note) => {
                    *self.injected.entry(fault.kind).or_default() += 1;
                    if !note.is_empty() {
                        (self.say)(&format!("      {}: {note}", fault.kind));
                    }
                }
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
}

/// Whether a flag is set.
pub(super) fn is_set(flag: &AtomicBool) -> bool {
    flag.load(Ordering::SeqCst)
}

/// Waits until it is.
pub(super) async fn set(flag: &AtomicBool) {
    while !is_set(flag) {
        sleep(Duration::from_millis(100)).await;
    }
}

/// How often each kind was injected, a line each.
pub(super) fn describe<K: Deal>(injected: &BTreeMap<K, u32>) -> String {
    injected.iter().map(|(kind, count)| format!("injected {count:>4}      {kind:<18} {}\n", kind.what())).collect()
}
