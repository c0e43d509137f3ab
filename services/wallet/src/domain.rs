//! What a wallet is: state + command -> events or a refusal. No I/O, no clock, no random: ids and the policy come with the call.
//!
//! Several wallets at once are a [`Book`]; a movement between two of them is decided on both and becomes one event of each.

mod decide;
mod id;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use tidegate_contracts::{AmountError, Currency, Money, wallet::WalletEvent};
use uuid::Uuid;

pub use decide::decide;
pub use id::{OwnerId, Reference, TextError, WalletId};

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
}

impl Wallet {
    /// The currency that it holds.
    pub fn currency(&self) -> Currency {
        self.balance.currency()
    }
}

/// The wallets that a decision may look at. One that is not in it does not exist.
pub type Book = HashMap<WalletId, Wallet>;

/// What somebody asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Open a wallet.
    Open {
        /// The id that it shall have.
        wallet: WalletId,
        /// Who owns it.
        owner: OwnerId,
        /// The currency that it shall hold.
        currency: Currency,
    },
    /// Bring money from outside into a wallet.
    Deposit {
        /// The wallet.
        wallet: WalletId,
        /// The money.
        movement: Movement,
    },
    /// Take money out of a wallet.
    Withdraw {
        /// The wallet.
        wallet: WalletId,
        /// The money.
        movement: Movement,
    },
    /// Move money from one wallet to another.
    Transfer {
        /// The wallet that it leaves.
        from: WalletId,
        /// The wallet that it enters.
        to: WalletId,
        /// The money.
        movement: Movement,
    },
}

/// Money that shall move, as the caller wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Movement {
    /// The id that the transaction gets if it is accepted.
    pub transaction_id: Uuid,
    /// How much: a decimal number, which only its wallet's currency makes an amount.
    pub amount: String,
    /// The currency that the caller believes the wallet to hold, if it said one.
    pub currency: Option<Currency>,
    /// What the caller calls it.
    pub reference: Option<Reference>,
}

impl Command {
    /// The wallets that must be known to decide it.
    pub fn wallets(&self) -> impl Iterator<Item = &WalletId> {
        let (first, second) = match self {
            Self::Open { wallet, .. } | Self::Deposit { wallet, .. } | Self::Withdraw { wallet, .. } => (wallet, None),
            Self::Transfer { from, to, .. } => (from, Some(to)),
        };
        std::iter::once(first).chain(second)
    }
}

/// Which wallet of a command a refusal is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// The only one.
    Wallet,
    /// The one that money leaves.
    From,
    /// The one that money enters.
    To,
}

/// Why a command is refused. Nothing has changed then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The wallet was never opened.
    #[error("there is no wallet {wallet}")]
    UnknownWallet {
        /// Where the command names it.
        side: Side,
        /// The wallet.
        wallet: WalletId,
    },
    /// A wallet of that id was opened before.
    #[error("the wallet {0} exists")]
    WalletExists(WalletId),
    /// The amount cannot be moved.
    #[error(transparent)]
    Amount(#[from] AmountError),
    /// The balance does not suffice.
    #[error("the wallet {wallet} holds {balance} {}, less than {amount}", .balance.currency())]
    InsufficientFunds {
        /// The wallet.
        wallet: WalletId,
        /// What it holds.
        balance: Money,
        /// What was to leave it.
        amount: Money,
    },
    /// The wallet holds another currency than the caller said.
    #[error("the wallet {wallet} holds {holds}, not {said}")]
    WrongCurrency {
        /// The wallet.
        wallet: WalletId,
        /// Its currency.
        holds: Currency,
        /// What the caller said.
        said: Currency,
    },
    /// The two wallets of a transfer hold different currencies.
    #[error("the wallet {to} holds {to_currency}, but {from} holds {from_currency}")]
    CurrencyMismatch {
        /// The wallet that money was to leave.
        from: WalletId,
        /// Its currency.
        from_currency: Currency,
        /// The wallet that it was to enter.
        to: WalletId,
        /// Its currency.
        to_currency: Currency,
    },
    /// Both wallets of a transfer are the same.
    #[error("a transfer needs two wallets; {0} is both")]
    TransferToSelf(WalletId),
    /// The balance would be beyond what can be counted.
    #[error("the balance of {0} would be larger than a wallet can hold")]
    BalanceOverflow(WalletId),
}

/// An event that was decided, and the wallet as it makes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decided {
    /// The event.
    pub event: WalletEvent,
    /// The wallet after it; its version is the event's.
    pub after: Wallet,
}
