//! The decisions. Each answers with the events that it makes, in the order of their streams, or with the first thing that is wrong.

use jiff::Timestamp;
use tidegate_contracts::{
    Currency, Money,
    wallet::{MoneyMoved, TransferMoved, WalletEvent, WalletOpened},
};
use tidegate_settings::Overdraft;

use super::{Book, Command, Decided, Movement, OwnerId, Refusal, Side, Wallet, WalletId, holds};

/// Decides the command on the book, which stays as it is. Its events happen at `at`, or, where a wallet has an event that is later,
/// at that time: the events of a wallet never go back in time.
pub fn decide(book: &Book, command: &Command, overdraft: Overdraft, at: Timestamp) -> Result<Vec<Decided>, Refusal> {
    let at = command
        .wallets()
        .chain(command.hold().and_then(|hold| book.holds.get(&hold)).map(|hold| &hold.wallet))
        .filter_map(|wallet| book.wallets.get(wallet))
        .fold(at, |at, wallet| at.max(wallet.updated_at));
    match command {
        Command::Open { wallet, owner, currency } => open(book, wallet, owner, *currency, at),
        Command::Deposit { wallet, movement } => {
            let wallet = known(book, Side::Wallet, wallet)?;
            let amount = amount(wallet, movement)?;
            let after = credited(wallet, amount, at)?;
            Ok(vec![Decided { event: WalletEvent::MoneyDeposited(moved(&after, movement, amount)), after, hold: None }])
        }
        Command::Withdraw { wallet, movement } => {
            let wallet = known(book, Side::Wallet, wallet)?;
            let amount = amount(wallet, movement)?;
            let after = debited(wallet, amount, overdraft, at)?;
            Ok(vec![Decided { event: WalletEvent::MoneyWithdrawn(moved(&after, movement, amount)), after, hold: None }])
        }
        Command::Transfer { from, to, movement } => {
            if from == to {
                return Err(Refusal::TransferToSelf(from.clone()));
            }
            let from = known(book, Side::From, from)?;
            let to = known(book, Side::To, to)?;
            let amount = amount(from, movement)?;
            same_currency(from, to)?;
            let sender = debited(from, amount, overdraft, at)?;
            let receiver = credited(to, amount, at)?;
            let sent = WalletEvent::TransferSent(transferred(&sender, &receiver, movement, amount));
            let received = WalletEvent::TransferReceived(transferred(&receiver, &sender, movement, amount));
            Ok(vec![
                Decided { event: sent, after: sender, hold: None },
                Decided { event: received, after: receiver, hold: None },
            ])
        }
        Command::Hold { wallet, movement } => {
            let wallet = known(book, Side::Wallet, wallet)?;
            let amount = amount(wallet, movement)?;
            holds::place(wallet, movement, amount, overdraft, at)
        }
        Command::Capture(capture) => holds::capture(book, capture, at),
        Command::Release { hold } => holds::release(book, *hold, at),
    }
}

pub(super) fn known<'a>(book: &'a Book, side: Side, wallet: &WalletId) -> Result<&'a Wallet, Refusal> {
    book.wallets.get(wallet).ok_or_else(|| Refusal::UnknownWallet { side, wallet: wallet.clone() })
}

/// The amount in the wallet's currency, which must be the one that the caller said, if it said one.
fn amount(wallet: &Wallet, movement: &Movement) -> Result<Money, Refusal> {
    as_said(wallet, movement.currency)?;
    Ok(Money::parse_positive(&movement.amount, wallet.currency())?)
}

pub(super) fn as_said(wallet: &Wallet, said: Option<Currency>) -> Result<(), Refusal> {
    let holds = wallet.currency();
    match said {
        Some(said) if said != holds => Err(Refusal::WrongCurrency { wallet: wallet.id.clone(), holds, said }),
        _ => Ok(()),
    }
}

pub(super) fn same_currency(from: &Wallet, to: &Wallet) -> Result<(), Refusal> {
    if from.currency() == to.currency() {
        return Ok(());
    }
    Err(Refusal::CurrencyMismatch {
        from: from.id.clone(),
        from_currency: from.currency(),
        to: to.id.clone(),
        to_currency: to.currency(),
    })
}

fn open(
    book: &Book,
    wallet: &WalletId,
    owner: &OwnerId,
    currency: Currency,
    at: Timestamp,
) -> Result<Vec<Decided>, Refusal> {
    if book.wallets.contains_key(wallet) {
        return Err(Refusal::WalletExists(wallet.clone()));
    }
    let owner_id = owner.as_str().to_owned();
    let nothing = Money::new(0, currency);
    let after = Wallet {
        id: wallet.clone(),
        version: 1,
        owner_id: owner_id.clone(),
        balance: nothing,
        held: nothing,
        opened_at: at,
        updated_at: at,
    };
    Ok(vec![Decided { event: WalletEvent::WalletOpened(WalletOpened { owner_id, currency }), after, hold: None }])
}

/// The wallet after money entered it.
pub(super) fn credited(wallet: &Wallet, amount: Money, at: Timestamp) -> Result<Wallet, Refusal> {
    let balance = wallet.balance.checked_add(amount).ok_or_else(|| Refusal::BalanceOverflow(wallet.id.clone()))?;
    Ok(Wallet { version: wallet.version + 1, balance, updated_at: at, ..wallet.clone() })
}

/// The wallet after money left it.
fn debited(wallet: &Wallet, amount: Money, overdraft: Overdraft, at: Timestamp) -> Result<Wallet, Refusal> {
    spendable(wallet, amount, overdraft)?;
    let balance = wallet.balance.checked_sub(amount).ok_or_else(|| Refusal::BalanceOverflow(wallet.id.clone()))?;
    Ok(Wallet { version: wallet.version + 1, balance, updated_at: at, ..wallet.clone() })
}

/// Whether that much may leave the wallet or be set aside in it: it is available, or an overdraft may be taken and can be counted.
pub(super) fn spendable(wallet: &Wallet, amount: Money, overdraft: Overdraft) -> Result<(), Refusal> {
    let available = wallet.available();
    if overdraft == Overdraft::Forbidden && available.units() < amount.units() {
        return Err(Refusal::InsufficientFunds {
            wallet: wallet.id.clone(),
            balance: wallet.balance,
            held: wallet.held,
            amount,
        });
    }
    let left = available.checked_sub(amount);
    left.map(|_| ()).ok_or_else(|| Refusal::BalanceOverflow(wallet.id.clone()))
}

fn moved(after: &Wallet, movement: &Movement, amount: Money) -> MoneyMoved {
    MoneyMoved {
        transaction_id: movement.id,
        amount,
        balance: after.balance,
        reference: movement.reference.as_ref().map(|reference| reference.as_str().to_owned()),
    }
}

fn transferred(after: &Wallet, other: &Wallet, movement: &Movement, amount: Money) -> TransferMoved {
    TransferMoved {
        transaction_id: movement.id,
        counterparty: other.id.to_string(),
        amount,
        balance: after.balance,
        reference: movement.reference.as_ref().map(|reference| reference.as_str().to_owned()),
    }
}
