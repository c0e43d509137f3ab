//! What a wallet is: state + command -> events or a refusal. No I/O, no clock, no random: ids, the time and the policy come with the
//! call.
//!
//! Several wallets and their holds are a [`Book`]; a movement between two of them is decided on both and becomes one event of each.

mod book;
mod decide;
mod holds;
mod id;
#[cfg(test)]
mod tests;

use tidegate_contracts::{AmountError, Currency, Money, wallet::WalletEvent};
use uuid::Uuid;

pub use book::{Book, Hold, Settled, Undo, Wallet};
pub use decide::decide;
pub use id::{OwnerId, Reference, TextError, WalletId};

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
    /// Set money of a wallet aside.
    Hold {
        /// The wallet.
        wallet: WalletId,
        /// The money; its id becomes the hold's.
        movement: Movement,
    },
    /// Let money that was set aside leave, and with it end the hold.
    Capture(Capture),
    /// Make money that was set aside available again.
    Release {
        /// The hold.
        hold: Uuid,
    },
}

/// Money that shall leave out of a hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capture {
    /// The hold.
    pub hold: Uuid,
    /// The id that the transaction gets if it is accepted.
    pub transaction_id: Uuid,
    /// How much: a decimal number. The whole hold if nothing is said.
    pub amount: Option<String>,
    /// The currency that the caller believes the wallet to hold, if it said one.
    pub currency: Option<Currency>,
    /// The wallet that it goes to; to the outside if none is named.
    pub to: Option<WalletId>,
    /// What the caller calls it; what it called the hold if nothing is said.
    pub reference: Option<Reference>,
}

/// Money that shall move, as the caller wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Movement {
    /// The id that the transaction, or the hold, gets if it is accepted.
    pub id: Uuid,
    /// How much: a decimal number, which only its wallet's currency makes an amount.
    pub amount: String,
    /// The currency that the caller believes the wallet to hold, if it said one.
    pub currency: Option<Currency>,
    /// What the caller calls it.
    pub reference: Option<Reference>,
}

impl Command {
    /// The wallets that it names. That of a hold is known by the hold.
    pub fn wallets(&self) -> impl Iterator<Item = &WalletId> {
        let (first, second) = match self {
            Self::Open { wallet, .. }
            | Self::Deposit { wallet, .. }
            | Self::Withdraw { wallet, .. }
            | Self::Hold { wallet, .. } => (Some(wallet), None),
            Self::Transfer { from, to, .. } => (Some(from), Some(to)),
            Self::Capture(capture) => (capture.to.as_ref(), None),
            Self::Release { .. } => (None, None),
        };
        first.into_iter().chain(second)
    }

    /// The hold that it names, which must have been placed before.
    pub fn hold(&self) -> Option<Uuid> {
        match self {
            Self::Capture(capture) => Some(capture.hold),
            Self::Release { hold } => Some(*hold),
            _ => None,
        }
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
    /// The balance, less what is on hold, does not suffice.
    #[error("the wallet {wallet} holds {balance} {}{}, less than {amount}", .balance.currency(), on_hold(.held))]
    InsufficientFunds {
        /// The wallet.
        wallet: WalletId,
        /// What it holds.
        balance: Money,
        /// How much of it is on hold.
        held: Money,
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
    /// The hold was never placed.
    #[error("there is no hold {0}")]
    UnknownHold(Uuid),
    /// The hold was captured or released before.
    #[error("the hold {hold} was {} before", if *.captured { "captured" } else { "released" })]
    HoldSettled {
        /// The hold.
        hold: Uuid,
        /// Whether any of it left.
        captured: bool,
    },
    /// More is to be captured than is on hold.
    #[error("the hold {hold} is of {held} {}, less than {amount}", .held.currency())]
    CaptureExceedsHold {
        /// The hold.
        hold: Uuid,
        /// The whole of it.
        held: Money,
        /// What was to leave it.
        amount: Money,
    },
}

fn on_hold(held: &Money) -> String {
    if held.units() == 0 { String::new() } else { format!(", of which {held} are on hold") }
}

/// An event that was decided, and the wallet as it makes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decided {
    /// The event.
    pub event: WalletEvent,
    /// The wallet after it; its version and its time are the event's.
    pub after: Wallet,
    /// The hold that it placed or ended, after it.
    pub hold: Option<Hold>,
}
