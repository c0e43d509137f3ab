//! What a caller is told: status and body, made once, kept under the request's key, and given again as it was.

use serde_json::{Value, json};
use tidegate_runtime::http::Problem as Document;

use crate::{
    domain::{Command, Decided, Refusal, Wallet},
    problem::{Kind, Problem},
};

/// An answer as it goes on the wire. From 400 on the body is a problem document (RFC 9457).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// JSON.
    pub body: String,
}

impl Answer {
    /// Whether the request could not even be understood.
    pub fn is_malformed(&self) -> bool {
        self.status == 400
    }
}

impl From<Problem> for Answer {
    fn from(problem: Problem) -> Self {
        let status = problem.kind.status();
        // A document of strings and a number always becomes JSON.
        let body = serde_json::to_string(&Document::from(problem)).unwrap_or_default();
        Self { status, body }
    }
}

/// The answer to a command that was accepted.
pub fn accepted(command: &Command, decided: &[Decided]) -> Answer {
    let state = |wallet: &Wallet| json!({"walletId": wallet.id.as_str(), "version": wallet.version, "balance": wallet.balance.to_string()});
    let mut body = match decided {
        [one] => state(&one.after),
        several => {
            json!({"from": several.first().map(|d| state(&d.after)), "to": several.last().map(|d| state(&d.after))})
        }
    };
    if let (Value::Object(fields), Some(first)) = (&mut body, decided.first()) {
        fields.insert("currency".into(), first.after.currency().code().into());
        match command {
            Command::Open { owner, .. } => fields.insert("ownerId".into(), owner.as_str().into()),
            Command::Deposit { movement, .. }
            | Command::Withdraw { movement, .. }
            | Command::Transfer { movement, .. } => {
                fields.insert("transactionId".into(), movement.transaction_id.to_string().into())
            }
        };
    }
    Answer { status: 201, body: body.to_string() }
}

/// The answer to a command that was refused.
pub fn refused(refusal: &Refusal) -> Answer {
    Problem::from(refusal).into()
}

/// The answer to a request whose key was used for another.
pub fn key_reused() -> Answer {
    Problem::of(
        Kind::IdempotencyKeyReused,
        "Idempotency-Key",
        "the key was used for a request that said something else; a new request needs a new key",
    )
    .into()
}
