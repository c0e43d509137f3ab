//! What a caller is told: status and body, made once, kept under the request's key, and given again as it was.

use serde_json::{Value, json};
use tidegate_runtime::http::Problem as Document;

use crate::{
    domain::{Command, Decided, Refusal, Wallet},
    problem::{Kind, Problem},
};

const CREATED: u16 = 201;

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

/// What is told of a command that was accepted.
pub fn accepted(command: &Command, decided: &[Decided]) -> Value {
    let Some(first) = decided.first() else { return Value::Null };
    let mut body = match command {
        Command::Transfer { .. } => {
            json!({"from": state(&first.after), "to": decided.last().map(|last| state(&last.after))})
        }
        _ => state(&first.after),
    };
    body["currency"] = first.after.currency().code().into();
    match command {
        Command::Open { owner, .. } => body["ownerId"] = owner.as_str().into(),
        Command::Deposit { movement, .. } | Command::Withdraw { movement, .. } | Command::Transfer { movement, .. } => {
            body["transactionId"] = movement.id.to_string().into();
        }
        Command::Hold { .. } => {}
        Command::Capture(capture) => {
            body["transactionId"] = capture.transaction_id.to_string().into();
            if let [_, receiver] = decided {
                body["to"] = state(&receiver.after);
            }
        }
        Command::Release { .. } => {}
    }
    if let Some(hold) = &first.hold {
        body["holdId"] = hold.id.to_string().into();
        body["amount"] = hold.amount.to_string().into();
        body["held"] = first.after.held.to_string().into();
        body["available"] = first.after.available().to_string().into();
        if let Some(settled) = &hold.settled {
            body["captured"] = settled.captured.to_string().into();
        }
    }
    body
}

fn state(wallet: &Wallet) -> Value {
    json!({"walletId": wallet.id.as_str(), "version": wallet.version, "balance": wallet.balance.to_string()})
}

/// The answer to a request of one command that was accepted.
pub fn one(accepted: &Value) -> Answer {
    Answer { status: CREATED, body: accepted.to_string() }
}

/// The answer to a request of one command that was refused.
pub fn refused(refusal: &Refusal) -> Answer {
    Problem::from(refusal).into()
}

/// The answer to an atomic bulk of which that operation was refused.
pub fn refused_within(operation: usize, refusal: &Refusal) -> Answer {
    Problem::from(refusal).within(operation).into()
}

/// The answer to an atomic bulk of which every operation was accepted.
pub fn atomic(accepted: Vec<Value>) -> Answer {
    bulk("Atomic", CREATED, accepted.into_iter().map(Ok))
}

/// The answer to a bulk whose operations are answered each for itself.
pub fn independent(outcomes: impl Iterator<Item = Result<Value, Refusal>>) -> Answer {
    bulk("Independent", 200, outcomes)
}

/// An operation's result is what a request of its own would have been answered, and its status.
fn bulk(mode: &str, status: u16, outcomes: impl Iterator<Item = Result<Value, Refusal>>) -> Answer {
    let mut accepted = 0;
    let results: Vec<Value> = outcomes
        .enumerate()
        .map(|(operation, outcome)| match outcome {
            Ok(mut body) => {
                accepted += 1;
                body["status"] = CREATED.into();
                body
            }
            // A document of strings and a number always becomes JSON.
            Err(refusal) => {
                serde_json::to_value(Document::from(Problem::from(&refusal).within(operation))).unwrap_or_default()
            }
        })
        .collect();
    let refused = results.len() - accepted;
    let body = json!({"mode": mode, "accepted": accepted, "refused": refused, "results": results});
    Answer { status, body: body.to_string() }
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
