//! Whether the stores hold what the service acknowledged to the load driver: no more and no less, wallet by wallet.

use std::collections::BTreeMap;

use crate::{
    facts::Facts,
    load::{Holdings, Options},
};

/// The rule, in a few words.
pub const PROMISE: &str = "what the service acknowledged in this run is what is stored";

/// A sentence for each of the run's wallets that is missing, or that holds something else than was acknowledged: `wallets`, in
/// the order of the run's wallets.
pub fn violations(options: &Options, wallets: &[Holdings], facts: &Facts) -> Vec<String> {
    let stored: BTreeMap<&str, Holdings> = facts
        .command_state
        .iter()
        .map(|row| (row.wallet.as_str(), Holdings { balance: row.amount, held: row.held }))
        .collect();
    let mut found = Vec::new();
    for (index, &acknowledged) in wallets.iter().enumerate() {
        let wallet = options.wallet(index);
        match stored.get(wallet.as_str()) {
            Some(&holdings) if holdings == acknowledged => {}
            Some(holdings) => found.push(format!("wallet {wallet} has {holdings}; {acknowledged} was acknowledged")),
            None => found.push(format!("wallet {wallet} was opened, and is not stored")),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use super::*;
    use crate::{facts::Balance, load::Mix};

    #[test]
    fn a_deposit_that_was_acknowledged_and_lost_is_seen_and_a_lost_wallet_too() {
        let options = Options {
            wallets: 4,
            operations: 0,
            workers: 1,
            seed: 0,
            run: "run".into(),
            rate: None,
            mix: Mix::Plain,
            stop: Arc::default(),
            deadline: Duration::ZERO,
            progress: false,
        };
        let row = |wallet: &str, amount, held| Balance {
            wallet: wallet.into(),
            version: 1,
            currency: "EUR".into(),
            amount,
            held,
        };
        let command_state = vec![row("run-0", 5, 2), row("run-1", 0, 0), row("run-3", 4, 0)];
        let facts = Facts { command_state, ..Facts::default() };
        let acknowledged = [(5, 2), (7, 0), (0, 0), (4, 1)].map(|(balance, held)| Holdings { balance, held });
        assert_eq!(
            violations(&options, &acknowledged, &facts),
            [
                "wallet run-1 has 0, 0 of it held; 7, 0 of it held was acknowledged",
                "wallet run-2 was opened, and is not stored",
                "wallet run-3 has 4, 0 of it held; 4, 1 of it held was acknowledged",
            ]
        );
    }
}
