//! The decisions. Each answers with the events that it makes, in the order of their streams, or with the first thing that is wrong.

use tidegate_contracts::{
    Currency, Money,
    wallet::{MoneyMoved, TransferMoved, WalletEvent, WalletOpened},
};
use tidegate_settings::Overdraft;

use super::{Book, Command, Decided, Movement, OwnerId, Refusal, Side, Wallet, WalletId};

/// Decides the command on the wallets of the book, which stays as it is.
pub fn decide(book: &Book, command: &Command, overdraft: Overdraft) -> Result<Vec<Decided>, Refusal> {
    match command {
        Command::Open { wallet, owner, currency } => open(book, wallet, owner, *currency),
        Command::Deposit { wallet, movement } => {
            let wallet = known(book, Side::Wallet, wallet)?;
            let amount = amount(wallet, movement)?;
            deposit(wallet, movement, amount)
        }
        Command::Withdraw { wallet, movement } => {
            let wallet = known(book, Side::Wallet, wallet)?;
            let amount = amount(wallet, movement)?;
            withdraw(wallet, movement, amount, overdraft)
        }
        Command::Transfer { from, to, movement } => {
            if from == to {
                return Err(Refusal::TransferToSelf(from.clone()));
            }
            let from = known(book, Side::From, from)?;
            let to = known(book, Side::To, to)?;
            let amount = amount(from, movement)?;
            transfer(from, to, movement, amount, overdraft)
        }
    }
}

fn known<'a>(book: &'a Book, side: Side, wallet: &WalletId) -> Result<&'a Wallet, Refusal> {
    book.get(wallet).ok_or_else(|| Refusal::UnknownWallet { side, wallet: wallet.clone() })
}

/// The amount in the wallet's currency, which must be the one that the caller said, if it said one.
fn amount(wallet: &Wallet, movement: &Movement) -> Result<Money, Refusal> {
    let holds = wallet.currency();
    match movement.currency {
        Some(said) if said != holds => Err(Refusal::WrongCurrency { wallet: wallet.id.clone(), holds, said }),
        _ => Ok(Money::parse_positive(&movement.amount, holds)?),
    }
}

fn open(book: &Book, wallet: &WalletId, owner: &OwnerId, currency: Currency) -> Result<Vec<Decided>, Refusal> {
    if book.contains_key(wallet) {
        return Err(Refusal::WalletExists(wallet.clone()));
    }
    let owner_id = owner.as_str().to_owned();
    let after = Wallet { id: wallet.clone(), version: 1, owner_id: owner_id.clone(), balance: Money::new(0, currency) };
    Ok(vec![Decided { event: WalletEvent::WalletOpened(WalletOpened { owner_id, currency }), after }])
}

fn deposit(wallet: &Wallet, movement: &Movement, amount: Money) -> Result<Vec<Decided>, Refusal> {
    let after = credited(wallet, amount)?;
    Ok(vec![Decided { event: WalletEvent::MoneyDeposited(moved(&after, movement, amount)), after }])
}

fn withdraw(
    wallet: &Wallet,
    movement: &Movement,
    amount: Money,
    overdraft: Overdraft,
) -> Result<Vec<Decided>, Refusal> {
    let after = debited(wallet, amount, overdraft)?;
    Ok(vec![Decided { event: WalletEvent::MoneyWithdrawn(moved(&after, movement, amount)), after }])
}

fn transfer(
    from: &Wallet,
    to: &Wallet,
    movement: &Movement,
    amount: Money,
    overdraft: Overdraft,
) -> Result<Vec<Decided>, Refusal> {
    if from.currency() != to.currency() {
        return Err(Refusal::CurrencyMismatch {
            from: from.id.clone(),
            from_currency: from.currency(),
            to: to.id.clone(),
            to_currency: to.currency(),
        });
    }
    let sender = debited(from, amount, overdraft)?;
    let receiver = credited(to, amount)?;
    let sent = WalletEvent::TransferSent(transferred(&sender, &receiver, movement, amount));
    let received = WalletEvent::TransferReceived(transferred(&receiver, &sender, movement, amount));
    Ok(vec![Decided { event: sent, after: sender }, Decided { event: received, after: receiver }])
}

/// The wallet after money entered it.
fn credited(wallet: &Wallet, amount: Money) -> Result<Wallet, Refusal> {
    let balance = wallet.balance.checked_add(amount).ok_or_else(|| Refusal::BalanceOverflow(wallet.id.clone()))?;
    Ok(Wallet { version: wallet.version + 1, balance, ..wallet.clone() })
}

/// The wallet after money left it.
fn debited(wallet: &Wallet, amount: Money, overdraft: Overdraft) -> Result<Wallet, Refusal> {
    if overdraft == Overdraft::Forbidden && wallet.balance.units() < amount.units() {
        return Err(Refusal::InsufficientFunds { wallet: wallet.id.clone(), balance: wallet.balance, amount });
    }
    let balance = wallet.balance.checked_sub(amount).ok_or_else(|| Refusal::BalanceOverflow(wallet.id.clone()))?;
    Ok(Wallet { version: wallet.version + 1, balance, ..wallet.clone() })
}

fn moved(after: &Wallet, movement: &Movement, amount: Money) -> MoneyMoved {
    MoneyMoved {
        transaction_id: movement.transaction_id,
        amount,
        balance: after.balance,
        reference: movement.reference.as_ref().map(|reference| reference.as_str().to_owned()),
    }
}

fn transferred(after: &Wallet, other: &Wallet, movement: &Movement, amount: Money) -> TransferMoved {
    TransferMoved {
        transaction_id: movement.transaction_id,
        counterparty: other.id.to_string(),
        amount,
        balance: after.balance,
        reference: movement.reference.as_ref().map(|reference| reference.as_str().to_owned()),
    }
}
