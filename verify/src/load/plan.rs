//! Which operation comes next.

use std::{
    fmt,
    sync::atomic::{AtomicI64, Ordering},
};

use uuid::Uuid;

use crate::random::Random;

/// The most that one operation moves, in minor units.
const LARGEST: u64 = 10_000;

/// What each wallet can surely pay: money is added when its arrival is acknowledged, and taken before its leaving is asked for, so
/// that no operation of a run may fail for lack of funds, in whichever order they arrive. What is on hold is kept apart.
#[derive(Debug)]
pub struct Funds(Vec<Purse>);

#[derive(Debug, Default)]
struct Purse {
    available: AtomicI64,
    held: AtomicI64,
}

/// What a wallet has, in minor units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Holdings {
    /// All of it.
    pub balance: i64,
    /// The part that is on hold.
    pub held: i64,
}

impl fmt::Display for Holdings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {} of it held", self.balance, self.held)
    }
}

/// Which operations a run makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mix {
    /// 5 deposits to 2 withdrawals to 3 transfers.
    Plain,
    /// Holds, captures, releases and bulks among them.
    Full,
}

/// A hold that was acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hold {
    /// Its id.
    pub id: Uuid,
    /// Index of the wallet.
    pub wallet: usize,
    /// Minor units.
    pub minor: i64,
}

/// One request to the API.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// Money that is set aside.
    Hold {
        /// Index of the wallet.
        from: usize,
        /// Minor units.
        minor: i64,
    },
    /// Money that leaves out of a hold, which ends with it.
    Capture {
        /// The hold.
        hold: Hold,
        /// Minor units, at most the hold's.
        minor: i64,
        /// Index of another wallet; none: to outside.
        to: Option<usize>,
    },
    /// A hold that ends, and nothing leaves.
    Release {
        /// The hold.
        hold: Hold,
    },
    /// Deposits, withdrawals and transfers that happen together.
    Bulk(Vec<Operation>),
}

/// A worker's source of operations, on wallets chosen evenly.
#[derive(Debug)]
pub struct Planner {
    random: Random,
    wallets: usize,
    mix: Mix,
    /// Holds of this worker that are open.
    holds: Vec<Hold>,
}

impl Funds {
    /// So many wallets, all empty.
    pub fn new(wallets: usize) -> Self {
        Self((0..wallets).map(|_| Purse::default()).collect())
    }

    /// What the wallet has when nothing is under way.
    pub fn of(&self, wallet: usize) -> Holdings {
        let held = self.0[wallet].held.load(Ordering::SeqCst);
        Holdings { balance: held + self.0[wallet].available.load(Ordering::SeqCst), held }
    }

    /// Carries out what was acknowledged, but for what was taken before.
    pub fn acknowledge(&self, operation: &Operation) {
        match operation {
            Operation::Deposit { to, minor } | Operation::Transfer { to, minor, .. } => self.add(*to, *minor),
            Operation::Withdrawal { .. } => {}
            Operation::Hold { from, minor } => self.hold(*from, *minor),
            Operation::Capture { hold, minor, to } => {
                self.hold(hold.wallet, -hold.minor);
                self.add(hold.wallet, hold.minor - minor);
                if let Some(to) = to {
                    self.add(*to, *minor);
                }
            }
            Operation::Release { hold } => {
                self.hold(hold.wallet, -hold.minor);
                self.add(hold.wallet, hold.minor);
            }
            Operation::Bulk(operations) => operations.iter().for_each(|operation| self.acknowledge(operation)),
        }
    }

    fn add(&self, wallet: usize, minor: i64) {
        self.0[wallet].available.fetch_add(minor, Ordering::SeqCst);
    }

    fn hold(&self, wallet: usize, minor: i64) {
        self.0[wallet].held.fetch_add(minor, Ordering::SeqCst);
    }

    /// Takes up to `most`; what it took, and 0 when the wallet is empty.
    fn take(&self, wallet: usize, most: i64) -> i64 {
        let available = &self.0[wallet].available;
        let before = available.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |funds| Some(funds - most.min(funds)));
        most.min(before.unwrap_or(0))
    }
}

impl Planner {
    /// The operations of one worker of a run, the same for the same seed as far as funds allow.
    pub fn new(seed: u64, worker: u32, wallets: usize, mix: Mix) -> Self {
        Self { random: Random::stream(seed, worker), wallets, mix, holds: vec![] }
    }

    /// The next operation. What it pays is already taken from the funds.
    pub fn next(&mut self, funds: &Funds) -> Operation {
        let kinds = match self.mix {
            Mix::Plain => 10,
            Mix::Full => 15,
        };
        match self.random.below(kinds) {
            kind @ 0..=9 => self.plain(kind, funds),
            10..=11 => self.hold(funds),
            12..=13 if !self.holds.is_empty() => self.settle(),
            12..=13 => self.plain(0, funds),
            _ => {
                let count = self.random.between(2, 5);
                let mut one = || {
                    let kind = self.random.below(10);
                    self.plain(kind, funds)
                };
                Operation::Bulk((0..count).map(|_| one()).collect())
            }
        }
    }

    /// Remembers a hold that was acknowledged, to end it later.
    pub fn opened(&mut self, hold: Hold) {
        self.holds.push(hold);
    }

    fn plain(&mut self, kind: u64, funds: &Funds) -> Operation {
        let wallet = self.random.index(self.wallets);
        let other = self.other(wallet);
        let minor = self.amount(LARGEST);
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

    fn hold(&mut self, funds: &Funds) -> Operation {
        let wallet = self.random.index(self.wallets);
        let minor = self.amount(LARGEST);
        match funds.take(wallet, minor) {
            0 => Operation::Deposit { to: wallet, minor },
            minor => Operation::Hold { from: wallet, minor },
        }
    }

    fn settle(&mut self) -> Operation {
        let hold = self.random.index(self.holds.len());
        let hold = self.holds.swap_remove(hold);
        let other = self.other(hold.wallet);
        let minor = self.amount(hold.minor as u64);
        match self.random.below(3) {
            0 => Operation::Release { hold },
            1 if other != hold.wallet => Operation::Capture { hold, minor, to: Some(other) },
            _ => Operation::Capture { hold, minor, to: None },
        }
    }

    /// Another wallet, if there is one.
    fn other(&mut self, wallet: usize) -> usize {
        (wallet + 1 + self.random.index(self.wallets.saturating_sub(1).max(1))) % self.wallets
    }

    fn amount(&mut self, most: u64) -> i64 {
        self.random.below(most) as i64 + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Makes operations as if each were acknowledged at once, and checks that none of them overdraws.
    fn play(seed: u64, wallets: usize, count: usize, mix: Mix) -> Vec<Operation> {
        let funds = Funds::new(wallets);
        let mut real = vec![Holdings::default(); wallets];
        let mut planner = Planner::new(seed, 0, wallets, mix);
        (0..count)
            .map(|number| {
                let operation = planner.next(&funds);
                funds.acknowledge(&operation);
                if let Operation::Hold { from, minor } = operation {
                    planner.opened(Hold { id: Uuid::from_u128(number as u128), wallet: from, minor });
                }
                happen(&operation, &mut real);
                assert!(
                    real.iter().all(|wallet| wallet.held >= 0 && wallet.balance >= wallet.held),
                    "{operation:?} overdraws: {real:?}"
                );
                assert!((0..wallets).all(|wallet| funds.of(wallet) == real[wallet]), "{operation:?}");
                operation
            })
            .collect()
    }

    fn happen(operation: &Operation, real: &mut [Holdings]) {
        match *operation {
            Operation::Deposit { to, minor } => real[to].balance += minor,
            Operation::Withdrawal { from, minor } => real[from].balance -= minor,
            Operation::Transfer { from, to, minor } => {
                assert_ne!(from, to);
                real[from].balance -= minor;
                real[to].balance += minor;
            }
            Operation::Hold { from, minor } => real[from].held += minor,
            Operation::Capture { hold, minor, to } => {
                assert!(minor <= hold.minor && to != Some(hold.wallet));
                real[hold.wallet].held -= hold.minor;
                real[hold.wallet].balance -= minor;
                if let Some(to) = to {
                    real[to].balance += minor;
                }
            }
            Operation::Release { hold } => real[hold.wallet].held -= hold.minor,
            Operation::Bulk(ref operations) => operations.iter().for_each(|operation| happen(operation, real)),
        }
    }

    fn count(operations: &[Operation], kind: fn(&Operation) -> bool) -> usize {
        operations.iter().filter(|operation| kind(operation)).count()
    }

    #[test]
    fn no_operation_overdraws_and_every_kind_comes() {
        let operations = play(7, 5, 20_000, Mix::Plain);
        for (name, count) in [
            ("deposits", count(&operations, |o| matches!(o, Operation::Deposit { .. }))),
            ("withdrawals", count(&operations, |o| matches!(o, Operation::Withdrawal { .. }))),
            ("transfers", count(&operations, |o| matches!(o, Operation::Transfer { .. }))),
        ] {
            assert!(count > 2_000, "{count} {name}");
        }
    }

    #[test]
    fn holds_are_placed_captured_and_released_and_bulks_come_in_the_full_mix_alone() {
        let operations = play(7, 5, 20_000, Mix::Full);
        for (name, count) in [
            ("holds", count(&operations, |o| matches!(o, Operation::Hold { .. }))),
            ("captures", count(&operations, |o| matches!(o, Operation::Capture { to: None, .. }))),
            ("captures to a wallet", count(&operations, |o| matches!(o, Operation::Capture { to: Some(_), .. }))),
            ("releases", count(&operations, |o| matches!(o, Operation::Release { .. }))),
            ("bulks", count(&operations, |o| matches!(o, Operation::Bulk(several) if several.len() >= 2))),
        ] {
            assert!(count > 500, "{count} {name}");
        }
        let plain = |o: &Operation| {
            matches!(o, Operation::Deposit { .. } | Operation::Withdrawal { .. } | Operation::Transfer { .. })
        };
        assert!(play(7, 5, 2_000, Mix::Plain).iter().all(plain));
    }

    #[test]
    fn a_seed_makes_the_same_operations_again_and_another_seed_others() {
        assert_eq!(play(1, 100, 500, Mix::Full), play(1, 100, 500, Mix::Full));
        assert_ne!(play(1, 100, 500, Mix::Full), play(2, 100, 500, Mix::Full));
    }

    #[test]
    fn a_single_wallet_never_pays_itself() {
        let transfer = |o: &Operation| matches!(o, Operation::Transfer { .. } | Operation::Capture { to: Some(_), .. });
        assert!(!play(3, 1, 1_000, Mix::Full).iter().any(transfer));
    }
}
