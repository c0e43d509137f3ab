//! What is known while decisions are made, and how it changes with them.

use std::collections::HashMap;

use jiff::Timestamp;
use tidegate_contracts::{Currency, Money};
use uuid::Uuid;

use super::{Decided, WalletId};

/// A wallet as its events make it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wallet {
    /// Its id.
    pub id: WalletId,
    /// Events that made it: 1..n.
    pub version: i64,
    /// Its owner.
    pub owner_id: String,
    /// What it holds, of the one currency that it ever holds.
    pub balance: Money,
    /// How much of it is on hold.
    pub held: Money,
    /// When it was opened.
    pub opened_at: Timestamp,
    /// When its last event happened; no event of it is earlier than the one before.
    pub updated_at: Timestamp,
}

impl Wallet {
    /// The currency that it holds.
    pub fn currency(&self) -> Currency {
        self.balance.currency()
    }

    /// What may leave it: the balance less what is on hold. No decision lets this go below what can be counted.
    pub fn available(&self) -> Money {
        Money::new(self.balance.units().saturating_sub(self.held.units()), self.currency())
    }
}

/// Money of a wallet that is set aside until it is captured or released.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// Its id.
    pub id: Uuid,
    /// The wallet.
    pub wallet: WalletId,
    /// The whole of it.
    pub amount: Money,
    /// What the caller calls it.
    pub reference: Option<String>,
    /// The wallet's version that placed it.
    pub placed: i64,
    /// How it ended; none while it is open.
    pub settled: Option<Settled>,
}

/// How a hold ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    /// The wallet's version that ended it.
    pub version: i64,
    /// How much left the wallet; zero if it was released.
    pub captured: Money,
    /// The wallet that it went to; none if it left to the outside, or nothing left.
    pub to: Option<WalletId>,
}

/// The wallets and holds that a decision may look at. One that is not in it does not exist.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Book {
    /// Wallets by their ids.
    pub wallets: HashMap<WalletId, Wallet>,
    /// Holds by their ids.
    pub holds: HashMap<Uuid, Hold>,
}

/// What a decision changed, as it was before.
pub struct Undo {
    wallet: (WalletId, Option<Wallet>),
    hold: Option<(Uuid, Option<Hold>)>,
}

impl Book {
    /// Takes over what was decided.
    pub fn apply(&mut self, decided: &Decided) -> Undo {
        let id = decided.after.id.clone();
        let hold = decided.hold.as_ref().map(|hold| (hold.id, self.holds.insert(hold.id, hold.clone())));
        Undo { wallet: (id.clone(), self.wallets.insert(id, decided.after.clone())), hold }
    }

    /// Takes it back. What was applied last is taken back first.
    pub fn undo(&mut self, undo: Undo) {
        fn put<K: std::hash::Hash + Eq, V>(map: &mut HashMap<K, V>, (key, before): (K, Option<V>)) {
            match before {
                Some(value) => map.insert(key, value),
                None => map.remove(&key),
            };
        }
        put(&mut self.wallets, undo.wallet);
        if let Some(hold) = undo.hold {
            put(&mut self.holds, hold);
        }
    }
}
