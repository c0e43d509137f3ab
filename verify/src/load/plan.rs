//! Which operation comes next.

use std::sync::atomic::{AtomicI64, Ordering};

use crate::random::Random;

/// The most that one operation moves, in minor units.
const LARGEST: u64 = 10_000;

/// What each wallet can surely pay: money is added when its arrival is acknowledged, and taken before its leaving is asked for, so
/// that no operation of a run may fail for lack of funds, in whichever order they arrive.
#[derive(Debug)]
pub struct Funds(Vec<AtomicI64>);

/// One request to the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Money from outside.
    Deposit {
        /// Index of the wallet.
        to: usize,
        /// Minor units.
        minor: i64,
    },
    /// Money to outside.
    Withdrawal {
        /// Index of the wallet.
        from: usize,
        /// Minor units.
        minor: i64,
    },
    /// Money from wallet to wallet.
    Transfer {
        /// Index of the wallet that pays.
        from: usize,
        /// Index of another wallet.
        to: usize,
        /// Minor units.
        minor: i64,
    },
}

/// A worker's source of operations: 5 deposits to 2 withdrawals to 3 transfers, on wallets chosen evenly.
#[derive(Debug)]
pub struct Planner {
    random: Random,
    wallets: usize,
}

impl Funds {
    /// So many wallets, all empty.
    pub fn new(wallets: usize) -> Self {
        Self((0..wallets).map(|_| AtomicI64::new(0)).collect())
    }

    /// What the wallet can pay.
    pub fn of(&self, wallet: usize) -> i64 {
        self.0[wallet].load(Ordering::SeqCst)
    }

    /// Adds money whose arrival was acknowledged.
    pub fn add(&self, wallet: usize, minor: i64) {
        self.0[wallet].fetch_add(minor, Ordering::SeqCst);
    }

    /// Takes up to `most`; what it took, and 0 when the wallet is empty.
    fn take(&self, wallet: usize, most: i64) -> i64 {
        let before =
            self.0[wallet].fetch_update(Ordering::SeqCst, Ordering::SeqCst, |funds| Some(funds - most.min(funds)));
        most.min(before.unwrap_or(0))
    }
}

impl Planner {
    /// The operations of one worker of a run, the same for the same seed as far as funds allow.
    pub fn new(seed: u64, worker: u32, wallets: usize) -> Self {
        Self { random: Random::stream(seed, worker), wallets }
    }

    /// The next operation. What it pays is already taken from the funds.
    pub fn next(&mut self, funds: &Funds) -> Operation {
        let kind = self.random.below(10);
        let wallet = self.random.index(self.wallets);
        let other = (wallet + 1 + self.random.index(self.wallets.saturating_sub(1).max(1))) % self.wallets;
        let minor = self.random.below(LARGEST) as i64 + 1;
        match kind {
            5..=6 => match funds.take(wallet, minor) {
                0 => Operation::Deposit { to: wallet, minor },
                minor => Operation::Withdrawal { from: wallet, minor },
            },
            7..=9 if other != wallet => match funds.take(wallet, minor) {
                0 => Operation::Deposit { to: wallet, minor },
                minor => Operation::Transfer { from: wallet, to: other, minor },
            },
            _ => Operation::Deposit { to: wallet, minor },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Makes operations as if each were acknowledged at once.
    fn play(seed: u64, wallets: usize, count: usize) -> Vec<Operation> {
        let funds = Funds::new(wallets);
        let mut balances = vec![0_i64; wallets];
        let mut planner = Planner::new(seed, 0, wallets);
        (0..count)
            .map(|_| {
                let operation = planner.next(&funds);
                match operation {
                    Operation::Deposit { to, minor } => {
                        funds.add(to, minor);
                        balances[to] += minor;
                    }
                    Operation::Withdrawal { from, minor } => balances[from] -= minor,
                    Operation::Transfer { from, to, minor } => {
                        assert_ne!(from, to);
                        funds.add(to, minor);
                        balances[from] -= minor;
                        balances[to] += minor;
                    }
                }
                assert!(balances.iter().all(|&balance| balance >= 0), "{operation:?} overdraws: {balances:?}");
                operation
            })
            .collect()
    }

    #[test]
    fn no_operation_overdraws_and_every_kind_comes() {
        let operations = play(7, 5, 20_000);
        for (name, count) in [
            ("deposits", operations.iter().filter(|o| matches!(o, Operation::Deposit { .. })).count()),
            ("withdrawals", operations.iter().filter(|o| matches!(o, Operation::Withdrawal { .. })).count()),
            ("transfers", operations.iter().filter(|o| matches!(o, Operation::Transfer { .. })).count()),
        ] {
            assert!(count > 2_000, "{count} {name}");
        }
    }

    #[test]
    fn a_seed_makes_the_same_operations_again_and_another_seed_others() {
        assert_eq!(play(1, 100, 500), play(1, 100, 500));
        assert_ne!(play(1, 100, 500), play(2, 100, 500));
    }

    #[test]
    fn a_single_wallet_never_pays_itself() {
        assert!(play(3, 1, 1_000).iter().all(|operation| !matches!(operation, Operation::Transfer { .. })));
    }
}
