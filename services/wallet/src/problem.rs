//! Every way in which the wallet says no. A type here is a promise to callers: it is never renamed, and never means something else.
//! docs/reference/wallet.md holds the same table for people.

use axum::{
    http::StatusCode,
    response::{IntoResponse, Response},
};
use tidegate_contracts::AmountError;
use tidegate_runtime::http::Problem as Document;

use crate::{
    commands::CommitError,
    domain::{Refusal, Side, TextError},
    http::fields::Malformed,
};

/// What kind of problem it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    MalformedBody,
    MissingField,
    UnknownField,
    WrongFieldType,
    InvalidId,
    InvalidText,
    InvalidCurrency,
    InvalidAmount,
    AmountTooLong,
    AmountTooLarge,
    AmountTooPrecise,
    NegativeAmount,
    ZeroAmount,
    UnknownWallet,
    WalletNotYetOpened,
    WalletExists,
    InsufficientFunds,
    WrongCurrency,
    CurrencyMismatch,
    TransferToSelf,
    BalanceOverflow,
    UnknownHold,
    HoldSettled,
    CaptureExceedsHold,
    TooManyOperations,
    InvalidIdempotencyKey,
    IdempotencyKeyReused,
    InvalidQuery,
    Unavailable,
    InDoubt,
    Internal,
}

impl Kind {
    /// All of them, in the order of the documentation.
    #[cfg(test)]
    pub const ALL: [Self; 31] = [
        Self::MalformedBody,
        Self::MissingField,
        Self::UnknownField,
        Self::WrongFieldType,
        Self::InvalidId,
        Self::InvalidText,
        Self::InvalidCurrency,
        Self::InvalidAmount,
        Self::AmountTooLong,
        Self::AmountTooLarge,
        Self::AmountTooPrecise,
        Self::NegativeAmount,
        Self::ZeroAmount,
        Self::UnknownWallet,
        Self::WalletNotYetOpened,
        Self::WalletExists,
        Self::InsufficientFunds,
        Self::WrongCurrency,
        Self::CurrencyMismatch,
        Self::TransferToSelf,
        Self::BalanceOverflow,
        Self::UnknownHold,
        Self::HoldSettled,
        Self::CaptureExceedsHold,
        Self::TooManyOperations,
        Self::InvalidIdempotencyKey,
        Self::IdempotencyKeyReused,
        Self::InvalidQuery,
        Self::Unavailable,
        Self::InDoubt,
        Self::Internal,
    ];

    /// Status, name in the type's URI, title.
    fn row(self) -> (u16, &'static str, &'static str) {
        match self {
            Self::MalformedBody => (400, "malformed-body", "The body is not a JSON object"),
            Self::MissingField => (400, "missing-field", "A field is missing"),
            Self::UnknownField => (400, "unknown-field", "A field is not known"),
            Self::WrongFieldType => (400, "wrong-field-type", "A field has the wrong JSON type"),
            Self::InvalidId => (400, "invalid-id", "An id is not well-formed"),
            Self::InvalidText => (400, "invalid-text", "A text is empty, too long, or holds control characters"),
            Self::InvalidCurrency => (400, "invalid-currency", "The currency is not known"),
            Self::InvalidAmount => (400, "invalid-amount", "The amount is not a decimal number"),
            Self::AmountTooLong => (400, "amount-too-long", "The amount is too long"),
            Self::AmountTooLarge => (422, "amount-too-large", "The amount is too large"),
            Self::AmountTooPrecise => (422, "amount-too-precise", "The amount has too many decimals"),
            Self::NegativeAmount => (422, "negative-amount", "The amount is negative"),
            Self::ZeroAmount => (422, "zero-amount", "The amount is zero"),
            Self::UnknownWallet => (404, "unknown-wallet", "The wallet does not exist"),
            Self::WalletNotYetOpened => (404, "wallet-not-yet-opened", "The wallet did not exist at that time"),
            Self::WalletExists => (409, "wallet-exists", "The wallet exists already"),
            Self::InsufficientFunds => (422, "insufficient-funds", "The balance does not suffice"),
            Self::WrongCurrency => (422, "wrong-currency", "The wallet holds another currency"),
            Self::CurrencyMismatch => (422, "currency-mismatch", "The wallets hold different currencies"),
            Self::TransferToSelf => (422, "transfer-to-self", "A transfer needs two wallets"),
            Self::BalanceOverflow => (422, "balance-overflow", "The balance would be too large"),
            Self::UnknownHold => (404, "unknown-hold", "The hold does not exist"),
            Self::HoldSettled => (409, "hold-settled", "The hold was captured or released before"),
            Self::CaptureExceedsHold => (422, "capture-exceeds-hold", "More is to be captured than is on hold"),
            Self::TooManyOperations => (400, "too-many-operations", "A bulk holds too many operations, or none"),
            Self::InvalidIdempotencyKey => (400, "invalid-idempotency-key", "The Idempotency-Key is not well-formed"),
            Self::IdempotencyKeyReused => {
                (422, "idempotency-key-reused", "The Idempotency-Key was used for another request")
            }
            Self::InvalidQuery => (400, "invalid-query", "A query parameter is not well-formed"),
            Self::Unavailable => (503, "unavailable", "The service cannot write now"),
            Self::InDoubt => (503, "in-doubt", "Whether it was written is not known"),
            Self::Internal => (500, "internal", "Something is wrong here"),
        }
    }

    /// HTTP status.
    pub fn status(self) -> u16 {
        self.row().0
    }

    /// The last part of the type's URI.
    pub fn name(self) -> &'static str {
        self.row().1
    }

    /// A few words, the same each time.
    pub fn title(self) -> &'static str {
        self.row().2
    }
}

/// A problem of that kind, with what is wrong this time.
#[derive(Clone, Debug)]
pub struct Problem {
    /// Which.
    pub kind: Kind,
    /// A sentence for people.
    pub detail: String,
    /// The field, path or query parameter that it is about.
    pub field: Option<String>,
}

impl Problem {
    /// A problem about a field.
    pub fn of(kind: Kind, field: &str, detail: impl ToString) -> Self {
        Self { kind, detail: detail.to_string(), field: Some(field.to_owned()) }
    }

    /// A problem about the whole.
    pub fn whole(kind: Kind, detail: impl ToString) -> Self {
        Self { kind, detail: detail.to_string(), field: None }
    }

    /// The problem as one of an operation in a bulk.
    #[must_use]
    pub fn within(self, operation: usize) -> Self {
        let place = format!("operations[{operation}]");
        Self {
            kind: self.kind,
            detail: format!("{place}: {}", self.detail),
            field: Some(match self.field {
                Some(field) => format!("{place}.{field}"),
                None => place,
            }),
        }
    }

    /// A text that is not what the field takes.
    pub fn text(field: &'static str, error: TextError) -> Self {
        let kind = match error {
            TextError::NotAnId => Kind::InvalidId,
            TextError::NotALine => Kind::InvalidText,
        };
        Self::of(kind, field, error)
    }

    /// An amount that is none.
    pub fn amount(error: AmountError) -> Self {
        let kind = match error {
            AmountError::TooLong => Kind::AmountTooLong,
            AmountError::NotANumber => Kind::InvalidAmount,
            AmountError::Negative => Kind::NegativeAmount,
            AmountError::Zero => Kind::ZeroAmount,
            AmountError::TooManyDecimals { .. } => Kind::AmountTooPrecise,
            AmountError::TooLarge => Kind::AmountTooLarge,
        };
        Self::of(kind, "amount", error)
    }
}

impl From<Problem> for Document {
    fn from(problem: Problem) -> Self {
        let status = StatusCode::from_u16(problem.kind.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let document = Self::new(status, problem.kind.name(), problem.kind.title()).detail(problem.detail);
        match problem.field {
            Some(field) => document.field(field),
            None => document,
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        Document::from(self).into_response()
    }
}

impl From<Malformed> for Problem {
    fn from(malformed: Malformed) -> Self {
        let kind = match malformed {
            Malformed::NotJson(_) | Malformed::NotAnObject => Kind::MalformedBody,
            Malformed::Missing { .. } => Kind::MissingField,
            Malformed::WrongType { .. } => Kind::WrongFieldType,
            Malformed::Unknown { .. } => Kind::UnknownField,
        };
        Self { kind, detail: malformed.to_string(), field: malformed.field().map(str::to_owned) }
    }
}

impl From<&Refusal> for Problem {
    fn from(refusal: &Refusal) -> Self {
        let (kind, field) = match refusal {
            Refusal::UnknownWallet { side: Side::Wallet, .. } => (Kind::UnknownWallet, "walletId"),
            Refusal::UnknownWallet { side: Side::From, .. } => (Kind::UnknownWallet, "from"),
            Refusal::UnknownWallet { side: Side::To, .. } => (Kind::UnknownWallet, "to"),
            Refusal::WalletExists(_) => (Kind::WalletExists, "walletId"),
            Refusal::Amount(error) => return Self::amount(*error),
            Refusal::InsufficientFunds { .. } => (Kind::InsufficientFunds, "amount"),
            Refusal::WrongCurrency { .. } => (Kind::WrongCurrency, "currency"),
            Refusal::CurrencyMismatch { .. } => (Kind::CurrencyMismatch, "to"),
            Refusal::TransferToSelf(_) => (Kind::TransferToSelf, "to"),
            Refusal::UnknownHold(_) => (Kind::UnknownHold, "holdId"),
            Refusal::HoldSettled { .. } => (Kind::HoldSettled, "holdId"),
            Refusal::CaptureExceedsHold { .. } => (Kind::CaptureExceedsHold, "amount"),
            Refusal::BalanceOverflow(_) => (Kind::BalanceOverflow, "amount"),
        };
        Self::of(kind, field, refusal)
    }
}

impl From<CommitError> for Problem {
    fn from(error: CommitError) -> Self {
        let kind = match error {
            CommitError::Unavailable | CommitError::Stopping => Kind::Unavailable,
            CommitError::InDoubt => Kind::InDoubt,
            CommitError::Failed => Kind::Internal,
        };
        Self::whole(kind, error)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_kind_has_a_type_of_its_own_and_a_row_in_the_reference() {
        let reference = include_str!("../../../docs/reference/wallet.md");
        let mut names = BTreeSet::new();
        for kind in Kind::ALL {
            assert!(names.insert(kind.name()), "{} is used twice", kind.name());
            let row = format!("| `{}` | {} |", kind.name(), kind.status());
            assert!(reference.contains(&row), "docs/reference/wallet.md lacks the row {row}");
        }
    }
}
