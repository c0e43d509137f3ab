//! Invariants 1 to 4 of docs/reference/invariants.md, each a pure function over [`Facts`] that returns what breaks it.

mod balance;
mod projection;
mod publication;
#[cfg(test)]
mod tests;
mod versions;

use std::fmt;

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
}

impl Invariant {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 4] =
        [Self::MoneyIsConserved, Self::PublishedIsCommitted, Self::VersionsAreGapless, Self::ProjectionIsFold];

    /// Its number in docs/reference/invariants.md.
    pub fn number(self) -> u8 {
        match self {
            Self::MoneyIsConserved => 1,
            Self::PublishedIsCommitted => 2,
            Self::VersionsAreGapless => 3,
            Self::ProjectionIsFold => 4,
        }
    }

    /// What it promises, in a few words.
    pub fn promise(self) -> &'static str {
        match self {
            Self::MoneyIsConserved => "money is conserved and no balance is below zero",
            Self::PublishedIsCommitted => "published events are the committed events",
            Self::VersionsAreGapless => "versions are 1..n, gapless and in order",
            Self::ProjectionIsFold => "projections are the fold of the log",
        }
    }

    /// Everything in the facts that breaks it; empty when it holds.
    pub fn violations(self, facts: &Facts) -> Vec<Violation> {
        let found = match self {
            Self::MoneyIsConserved => balance::violations(facts),
            Self::PublishedIsCommitted => publication::violations(facts),
            Self::VersionsAreGapless => versions::violations(facts),
            Self::ProjectionIsFold => projection::violations(facts),
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
