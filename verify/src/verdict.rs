//! What the stores say after a run, and whether all of it is as promised.

use std::fmt::{self, Write};

use crate::{
    chain,
    invariants::{Invariant, accounts},
    stores::Reading,
};

/// Violations of one invariant that are printed.
const SHOWN: usize = 10;

/// Lines for a person, and whether everything held.
#[derive(Debug)]
pub struct Verdict {
    text: String,
    held: bool,
}

impl Verdict {
    /// One that has seen nothing yet.
    pub fn new() -> Self {
        Self { text: String::new(), held: true }
    }

    /// The verdict on the stores.
    pub fn of(reading: &Reading) -> Self {
        let mut verdict = Self::new();
        verdict.judge(reading);
        verdict
    }

    /// Judges the stores: projections have caught up, nothing is left to read, every invariant holds.
    pub fn judge(&mut self, reading: &Reading) {
        let verdict = self;
        match reading.caught_up_after {
            Some(after) => verdict.line(format_args!(
                "projections        caught up {:.2} s after the last operation",
                after.as_secs_f64()
            )),
            None => {
                verdict.held = false;
                let progress = &reading.progress;
                verdict.line(format_args!("projections        did NOT catch up within the limit: {progress:?}"));
            }
        }
        for (group, unread) in &reading.lag {
            verdict.held &= *unread == 0;
            verdict.line(format_args!("lag                {unread} records, group {group}"));
        }
        let facts = &reading.facts;
        verdict.line(format_args!(
            "stores             {} wallets, {} events committed, {} published, {} ledger entries",
            facts.command_state.len(),
            facts.committed.len(),
            facts.published.len(),
            facts.ledger.len()
        ));
        for account in accounts(facts) {
            verdict.line(format_args!(
                "accounts           {} accepted = {} handled + {} parked + {} dead-lettered, group {}",
                account.accepted, account.handled, account.parked, account.dead_lettered, account.group
            ));
        }
        for invariant in Invariant::ALL {
            let violations: Vec<String> =
                invariant.violations(facts).into_iter().map(|violation| violation.what).collect();
            verdict.rule(&format!("invariant {}", invariant.number()), invariant.promise(), &violations);
        }
        verdict.rule("chain", chain::PROMISE, &chain::violations(facts));
    }

    /// Adds a rule of the run's own, and what breaks it.
    pub fn rule(&mut self, name: &str, promise: &str, violations: &[String]) {
        let said = if violations.is_empty() { "held".into() } else { format!("VIOLATED {} times", violations.len()) };
        self.line(format_args!("{name:<18} {said}: {promise}"));
        for violation in violations.iter().take(SHOWN) {
            self.line(format_args!("  {violation}"));
        }
        self.held &= violations.is_empty();
    }

    /// Whether everything held.
    pub fn held(&self) -> bool {
        self.held
    }

    fn line(&mut self, line: fmt::Arguments<'_>) {
        let _ = writeln!(self.text, "{line}");
    }
}

impl Default for Verdict {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
