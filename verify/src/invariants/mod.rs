//! Invariants 1 to 5, 7 and 8 of docs/reference/invariants.md, each a pure function over [`Facts`] that returns what breaks it.

mod accounting;
mod balance;
mod effects;
mod order;
mod projection;
mod publication;
#[cfg(test)]
mod tests;
mod versions;

use std::fmt;

pub use accounting::{Account, accounts};

use crate::facts::Facts;

/// The invariants that can be checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Invariant {
    /// 1: balances including external accounts sum to zero, debits equal credits, no overdraft, at every version.
    MoneyIsConserved,
    /// 2: published events are the committed events, none more, none less.
    PublishedIsCommitted,
    /// 3: the versions of a wallet are 1..n, without a gap and in order, in every store.
    VersionsAreGapless,
    /// 4: a projection is the fold of the log.
    ProjectionIsFold,
    /// 5: an effect happens once per consumer and event.
    EffectsHappenOnce,
    /// 7: what a group accepted is what it handled, parked and dead-lettered, exactly.
    NothingIsSkipped,
    /// 8: the order of a key holds across retries, crashes and rebalances.
    OrderHolds,
}

impl Invariant {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 7] = [
        Self::MoneyIsConserved,
        Self::PublishedIsCommitted,
        Self::VersionsAreGapless,
        Self::ProjectionIsFold,
        Self::EffectsHappenOnce,
        Self::NothingIsSkipped,
        Self::OrderHolds,
    ];

    /// Its number in docs/reference/invariants.md.
    pub fn number(self) -> u8 {
        match self {
            Self::MoneyIsConserved => 1,
            Self::PublishedIsCommitted => 2,
            Self::VersionsAreGapless => 3,
            Self::ProjectionIsFold => 4,
            Self::EffectsHappenOnce => 5,
            Self::NothingIsSkipped => 7,
            Self::OrderHolds => 8,
        }
    }

    /// What it promises, in a few words.
    pub fn promise(self) -> &'static str {
        match self {
            Self::MoneyIsConserved => "money is conserved and no balance is below zero",
            Self::PublishedIsCommitted => "published events are the committed events",
            Self::VersionsAreGapless => "versions are 1..n, gapless and in order",
            Self::ProjectionIsFold => "projections are the fold of the log",
            Self::EffectsHappenOnce => "an effect happens once per consumer and event",
            Self::NothingIsSkipped => "accepted = handled + parked + dead-lettered",
            Self::OrderHolds => "the order of a key holds",
        }
    }

    /// Everything in the facts that breaks it; empty when it holds.
    pub fn violations(self, facts: &Facts) -> Vec<Violation> {
        let found = match self {
            Self::MoneyIsConserved => balance::violations(facts),
            Self::PublishedIsCommitted => publication::violations(facts),
            Self::VersionsAreGapless => versions::violations(facts),
            Self::ProjectionIsFold => projection::violations(facts),
            Self::EffectsHappenOnce => effects::violations(facts),
            Self::NothingIsSkipped => accounting::violations(facts),
            Self::OrderHolds => order::violations(facts),
        };
        found.into_iter().map(|what| Violation { invariant: self, what }).collect()
    }
}

/// One thing that must not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// What it breaks.
    pub invariant: Invariant,
    /// A sentence that says where and how.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invariant {}: {}", self.invariant.number(), self.what)
    }
}

/// Checks all of them.
pub fn check(facts: &Facts) -> Vec<Violation> {
    Invariant::ALL.into_iter().flat_map(|invariant| invariant.violations(facts)).collect()
}
