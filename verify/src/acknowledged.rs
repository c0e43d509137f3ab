//! Whether the stores hold what the service acknowledged to the load driver: no more and no less, wallet by wallet.

use std::collections::BTreeMap;

use crate::{facts::Facts, load::Options};

/// The rule, in a few words.
pub const PROMISE: &str = "what the service acknowledged in this run is what is stored";

/// A sentence for each of the run's wallets that is missing, or that holds something else than was acknowledged: `balances`, in
/// minor units, in the order of the run's wallets.
pub fn violations(options: &Options, balances: &[i64], facts: &Facts) -> Vec<String> {
    let stored: BTreeMap<&str, i64> = facts.command_state.iter().map(|row| (row.wallet.as_str(), row.amount)).collect();
    let mut found = Vec::new();
    for (index, &acknowledged) in balances.iter().enumerate() {
        let wallet = options.wallet(index);
        match stored.get(wallet.as_str()) {
            Some(&amount) if amount == acknowledged => {}
            Some(amount) => found.push(format!("wallet {wallet} holds {amount}; {acknowledged} was acknowledged")),
            None => found.push(format!("wallet {wallet} was opened, and is not stored")),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use super::*;
    use crate::facts::Balance;

    #[test]
    fn a_deposit_that_was_acknowledged_and_lost_is_seen_and_a_lost_wallet_too() {
        let options = Options {
            wallets: 3,
            operations: 0,
            workers: 1,
            seed: 0,
            run: "run".into(),
            rate: None,
            stop: Arc::default(),
            deadline: Duration::ZERO,
            progress: false,
        };
        let row = |wallet: &str, amount| Balance { wallet: wallet.into(), version: 1, currency: "EUR".into(), amount };
        let facts = Facts { command_state: vec![row("run-0", 5), row("run-1", 0)], ..Facts::default() };
        assert_eq!(
            violations(&options, &[5, 7, 0], &facts),
            ["wallet run-1 holds 0; 7 was acknowledged", "wallet run-2 was opened, and is not stored"]
        );
    }
}
