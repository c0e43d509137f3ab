//! Decisions on money that is set aside. It stays in the balance and is not available until its hold ends: captured, it leaves, and
//! what is left of the hold is available again; released, all of it is.

use jiff::Timestamp;
use tidegate_contracts::{
    Money,
    wallet::{HoldCaptured, HoldChanged, TransferMoved, WalletEvent},
};
use tidegate_settings::Overdraft;
use uuid::Uuid;

use super::{
    Book, Capture, Decided, Hold, Movement, Refusal, Settled, Side, Wallet,
    decide::{as_said, credited, known, same_currency, spendable},
};

/// Sets money aside. The hold's id is the movement's.
pub fn place(
    wallet: &Wallet,
    movement: &Movement,
    amount: Money,
    overdraft: Overdraft,
    at: Timestamp,
) -> Result<Vec<Decided>, Refusal> {
    spendable(wallet, amount, overdraft)?;
    let held = wallet.held.checked_add(amount).ok_or_else(|| Refusal::BalanceOverflow(wallet.id.clone()))?;
    let after = Wallet { version: wallet.version + 1, held, updated_at: at, ..wallet.clone() };
    let hold = Hold {
        id: movement.id,
        wallet: wallet.id.clone(),
        amount,
        reference: movement.reference.as_ref().map(|reference| reference.as_str().to_owned()),
        placed: after.version,
        settled: None,
    };
    let event = WalletEvent::FundsHeld(changed(&hold, &after, hold.reference.clone()));
    Ok(vec![Decided { event, after, hold: Some(hold) }])
}

/// Lets money leave out of a hold. That there is enough was decided when it was set aside.
pub fn capture(book: &Book, capture: &Capture, at: Timestamp) -> Result<Vec<Decided>, Refusal> {
    let (wallet, hold) = open(book, capture.hold)?;
    as_said(wallet, capture.currency)?;
    let amount = match &capture.amount {
        Some(amount) => Money::parse_positive(amount, wallet.currency())?,
        None => hold.amount,
    };
    if amount.units() > hold.amount.units() {
        return Err(Refusal::CaptureExceedsHold { hold: hold.id, held: hold.amount, amount });
    }
    let overflow = || Refusal::BalanceOverflow(wallet.id.clone());
    let balance = wallet.balance.checked_sub(amount).ok_or_else(overflow)?;
    let released = hold.amount.checked_sub(amount).ok_or_else(overflow)?;
    let after = Wallet { balance, ..settled(wallet, hold, at)? };
    let reference = capture.reference.as_ref().map(|reference| reference.as_str().to_owned());
    let reference = reference.or_else(|| hold.reference.clone());

    let receiver = match &capture.to {
        None => None,
        Some(to) if *to == wallet.id => return Err(Refusal::TransferToSelf(wallet.id.clone())),
        Some(to) => {
            let to = known(book, Side::To, to)?;
            same_currency(wallet, to)?;
            Some(credited(to, amount, at)?)
        }
    };
    let event = WalletEvent::HoldCaptured(HoldCaptured {
        hold_id: hold.id,
        transaction_id: capture.transaction_id,
        counterparty: capture.to.as_ref().map(ToString::to_string),
        amount,
        released,
        balance,
        held: after.held,
        reference: reference.clone(),
    });
    let ended = Settled { version: after.version, captured: amount, to: capture.to.clone() };
    let mut decided = vec![Decided { event, after, hold: Some(Hold { settled: Some(ended), ..hold.clone() }) }];
    decided.extend(receiver.map(|after| {
        let event = WalletEvent::TransferReceived(TransferMoved {
            transaction_id: capture.transaction_id,
            counterparty: wallet.id.to_string(),
            amount,
            balance: after.balance,
            reference,
        });
        Decided { event, after, hold: None }
    }));
    Ok(decided)
}

/// Makes money that was set aside available again.
pub fn release(book: &Book, hold: Uuid, at: Timestamp) -> Result<Vec<Decided>, Refusal> {
    let (wallet, hold) = open(book, hold)?;
    let after = settled(wallet, hold, at)?;
    let event = WalletEvent::HoldReleased(changed(hold, &after, None));
    let ended = Settled { version: after.version, captured: Money::new(0, wallet.currency()), to: None };
    Ok(vec![Decided { event, after, hold: Some(Hold { settled: Some(ended), ..hold.clone() }) }])
}

/// The hold, which must be open, and its wallet.
fn open(book: &Book, id: Uuid) -> Result<(&Wallet, &Hold), Refusal> {
    let hold = book.holds.get(&id).ok_or(Refusal::UnknownHold(id))?;
    match &hold.settled {
        Some(settled) => Err(Refusal::HoldSettled { hold: id, captured: settled.captured.units() > 0 }),
        None => Ok((known(book, Side::Wallet, &hold.wallet)?, hold)),
    }
}

/// The wallet after the hold ended, its balance as it was.
fn settled(wallet: &Wallet, hold: &Hold, at: Timestamp) -> Result<Wallet, Refusal> {
    let held = wallet.held.checked_sub(hold.amount).ok_or_else(|| Refusal::BalanceOverflow(wallet.id.clone()))?;
    Ok(Wallet { version: wallet.version + 1, held, updated_at: at, ..wallet.clone() })
}

fn changed(hold: &Hold, after: &Wallet, reference: Option<String>) -> HoldChanged {
    HoldChanged { hold_id: hold.id, amount: hold.amount, balance: after.balance, held: after.held, reference }
}
