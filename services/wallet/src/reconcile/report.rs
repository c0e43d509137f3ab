//! What a reconciliation says.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::chain::{Break, ChainView};

/// Whether everything that says how much money there is says the same. Amounts are decimal strings.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The moment that it shows, or just before it: RFC 3339, UTC.
    pub checked_at: String,
    /// How long it took to make, in ms.
    pub took_ms: u64,
    /// What it comes to.
    pub status: Status,
    /// Sums of each currency.
    pub currencies: Vec<CurrencySums>,
    /// Wallet by wallet.
    pub wallets: Wallets,
    /// The hash chains.
    pub chains: Chains,
}

/// What a reconciliation comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum Status {
    /// All say the same, and nothing is in flight.
    Agrees,
    /// All that was looked at says the same; a projection has events before it.
    Behind,
    /// Something is wrong.
    Differs,
}

/// Sums of a currency, in decimal strings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CurrencySums {
    /// ISO 4217 code.
    pub currency: String,
    /// Wallets of that currency.
    pub wallets: i64,
    /// What the events come to.
    pub events: String,
    /// The balances that commands decide on.
    pub balances: String,
    /// How much of them is on hold.
    pub held: String,
    /// The balances of the read model, at the versions that it has come to.
    pub read_model: String,
    /// What the events up to those versions come to.
    pub events_in_read_model: String,
    /// What the ledger has on wallets, at the versions that it has come to.
    pub ledger: String,
    /// What the events up to those versions come to.
    pub events_in_ledger: String,
    /// What the ledger has on the account of the outside.
    pub external: String,
    /// What the ledger has on the account of transfers that are booked on one side.
    pub transit: String,
    /// All that the ledger adds to accounts.
    pub credits: String,
    /// All that it takes from them.
    pub debits: String,
}

impl CurrencySums {
    /// Whether what must be equal is.
    pub fn agree(&self) -> bool {
        self.events == self.balances
            && self.read_model == self.events_in_read_model
            && self.ledger == self.events_in_ledger
            && self.debits == self.credits
    }
}

/// Wallet by wallet: events, state, ledger, read model and holds.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Wallets {
    /// How many there are.
    pub checked: i64,
    /// Events that the ledger has not booked.
    pub ledger_behind_events: i64,
    /// Events that the read model does not show.
    pub read_model_behind_events: i64,
    /// Wallets of which two say different things.
    pub differing: i64,
    /// The first of them.
    pub first: Vec<Differing>,
}

/// A wallet of which two say different things.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Differing {
    /// The wallet.
    pub wallet_id: String,
    /// Who says something else than the events up to the same version: `State`, `Holds`, `ReadModel`, `Ledger`.
    pub who: Vec<String>,
}

/// The hash chains of all wallets.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Chains {
    /// Wallets whose chain was followed.
    pub wallets: i64,
    /// Events that they are made of.
    pub events: i64,
    /// Chains that are broken.
    pub broken: i64,
    /// The first of them.
    pub first: Vec<Broken>,
}

/// A chain that is broken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Broken {
    /// The wallet.
    pub wallet_id: String,
    /// Where.
    pub first_broken: Break,
}

impl Chains {
    /// Counts a chain in.
    pub fn add(&mut self, view: ChainView, named: usize) {
        self.wallets += 1;
        self.events += view.length;
        if let Some(first_broken) = view.first_broken {
            self.broken += 1;
            if self.first.len() < named {
                self.first.push(Broken { wallet_id: view.wallet_id, first_broken });
            }
        }
    }
}

impl Report {
    /// What the parts come to.
    pub fn of(
        checked_at: String,
        took: Duration,
        currencies: Vec<CurrencySums>,
        wallets: Wallets,
        chains: Chains,
    ) -> Self {
        let wrong = wallets.differing > 0 || chains.broken > 0 || !currencies.iter().all(CurrencySums::agree);
        let booked = wallets.ledger_behind_events == 0;
        // Where everything is booked, nothing is between two wallets any more.
        let in_transit =
            booked && currencies.iter().any(|sums| sums.transit.bytes().any(|b| (b'1'..=b'9').contains(&b)));
        let status = match (wrong || in_transit, booked && wallets.read_model_behind_events == 0) {
            (true, _) => Status::Differs,
            (false, true) => Status::Agrees,
            (false, false) => Status::Behind,
        };
        let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        Self { checked_at, took_ms, status, currencies, wallets, chains }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sums() -> CurrencySums {
        let text = |text: &str| text.to_owned();
        CurrencySums {
            currency: text("EUR"),
            wallets: 2,
            events: text("10.00"),
            balances: text("10.00"),
            held: text("1.00"),
            read_model: text("9.00"),
            events_in_read_model: text("9.00"),
            ledger: text("8.00"),
            events_in_ledger: text("8.00"),
            external: text("-10.00"),
            transit: text("0.00"),
            credits: text("20.00"),
            debits: text("20.00"),
        }
    }

    fn status(change: impl FnOnce(&mut CurrencySums, &mut Wallets, &mut Chains)) -> Status {
        let (mut sums, mut wallets, mut chains) = (sums(), Wallets::default(), Chains::default());
        change(&mut sums, &mut wallets, &mut chains);
        Report::of(String::new(), Duration::ZERO, vec![sums], wallets, chains).status
    }

    #[test]
    fn behind_is_not_wrong_and_wrong_is_wrong_even_behind() {
        assert_eq!(status(|_, _, _| ()), Status::Agrees);
        assert_eq!(status(|_, wallets, _| wallets.read_model_behind_events = 1), Status::Behind);
        assert_eq!(
            status(|sums, wallets, _| {
                wallets.ledger_behind_events = 1;
                sums.transit = "2.00".into();
            }),
            Status::Behind,
            "a transfer of which one side is booked"
        );
        for differs in [
            status(|sums, _, _| sums.transit = "0.01".into()),
            status(|sums, _, _| sums.balances = "10.01".into()),
            status(|sums, _, _| sums.credits = "20.01".into()),
            status(|sums, wallets, _| {
                wallets.ledger_behind_events = 1;
                sums.ledger = "8.01".into();
            }),
            status(|_, wallets, _| wallets.differing = 1),
            status(|_, _, chains| chains.broken = 1),
        ] {
            assert_eq!(differs, Status::Differs);
        }
    }
}
