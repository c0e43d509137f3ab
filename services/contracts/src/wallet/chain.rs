//! The hash chain of a wallet's events: each event's hash covers the event and the hash before it, so that the last one vouches for
//! all. Whoever changes, removes or inserts an event has to change every hash behind it, the wallet's head among them.
//!
//! `hash(n) = SHA-256(hash(n - 1) || event(n))`, and `hash(0)` is the hash of the wallet's id ([`genesis`]). `event(n)` is every
//! column of the event in the order of [`Link`]'s fields, each as its length in bytes (32 bits, big-endian) and its bytes: text in
//! UTF-8, numbers in 64 bits big-endian, ids as their 16 bytes, an absent id as nothing. `data` is a canonical form of the JSON that
//! does not depend on spacing or on the order of keys: a letter for the kind of value, then its content ([`Link::data`]).

use serde_json::Value;
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// A hash of the chain.
pub type Hash = [u8; 32];

/// An event as the chain sees it: what is stored of it, column by column.
#[derive(Clone, Copy, Debug)]
pub struct Link<'a> {
    /// The wallet.
    pub wallet_id: &'a str,
    /// The event's place in the wallet's stream.
    pub version: i64,
    /// The event's id.
    pub event_id: Uuid,
    /// The event's type.
    pub event_type: &'a str,
    /// When it happened: ms since 1970, UTC.
    pub occurred_at: i64,
    /// What it is joined to others by.
    pub correlation_id: Uuid,
    /// What caused it.
    pub causation_id: Option<Uuid>,
    /// The movement of money that it is part of.
    pub transaction_id: Option<Uuid>,
    /// What it says. `n`, `t` and `f` are null, true and false; `d` a number and `s` a string, each with its length and its text;
    /// `a` an array with the number of its items and the items; `o` an object with the number of its keys, then key (length and
    /// text) and value by turns, in the order of the keys' bytes. Lengths and numbers of things are 32 bits, big-endian.
    pub data: &'a Value,
}

/// What the chain of a wallet begins with: `SHA-256("tidegate.wallet.chain.1" || 0 || wallet id)`.
pub fn genesis(wallet_id: &str) -> Hash {
    Sha256::new().chain_update(b"tidegate.wallet.chain.1\0").chain_update(wallet_id).finalize().into()
}

/// The hash of the event that follows the one with the hash `before`.
pub fn next(before: &Hash, link: &Link<'_>) -> Hash {
    let mut hash = Sha256::new_with_prefix(before);
    field(&mut hash, link.wallet_id.as_bytes());
    field(&mut hash, &link.version.to_be_bytes());
    field(&mut hash, link.event_id.as_bytes());
    field(&mut hash, link.event_type.as_bytes());
    field(&mut hash, &link.occurred_at.to_be_bytes());
    field(&mut hash, link.correlation_id.as_bytes());
    field(&mut hash, link.causation_id.as_ref().map_or(&[], |id| id.as_bytes()));
    field(&mut hash, link.transaction_id.as_ref().map_or(&[], |id| id.as_bytes()));
    let mut data = Vec::with_capacity(256);
    canonical(&mut data, link.data);
    field(&mut hash, &data);
    hash.finalize().into()
}

fn field(hash: &mut Sha256, bytes: &[u8]) {
    hash.update(count(bytes.len()));
    hash.update(bytes);
}

/// No event comes near four billion of anything: a record is 10 MB at most.
fn count(n: usize) -> [u8; 4] {
    u32::try_from(n).unwrap_or(u32::MAX).to_be_bytes()
}

fn canonical(out: &mut Vec<u8>, value: &Value) {
    let text = |out: &mut Vec<u8>, text: &str| {
        out.extend(count(text.len()));
        out.extend(text.as_bytes());
    };
    match value {
        Value::Null => out.push(b'n'),
        Value::Bool(true) => out.push(b't'),
        Value::Bool(false) => out.push(b'f'),
        Value::Number(number) => {
            out.push(b'd');
            text(out, &number.to_string());
        }
        Value::String(string) => {
            out.push(b's');
            text(out, string);
        }
        Value::Array(items) => {
            out.push(b'a');
            out.extend(count(items.len()));
            items.iter().for_each(|item| canonical(out, item));
        }
        Value::Object(fields) => {
            out.push(b'o');
            out.extend(count(fields.len()));
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_unstable_by_key(|(key, _)| key.as_bytes());
            for (key, value) in fields {
                text(out, key);
                canonical(out, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::json;

    use super::*;

    fn hex(hash: Hash) -> String {
        hash.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn link(data: &Value) -> Link<'_> {
        Link {
            wallet_id: "alice",
            version: 2,
            event_id: Uuid::from_u128(1),
            event_type: "MoneyDeposited",
            occurred_at: 1_700_000_000_000,
            correlation_id: Uuid::from_u128(2),
            causation_id: None,
            transaction_id: Some(Uuid::from_u128(3)),
            data,
        }
    }

    /// The form is a promise to what is stored: a change of it breaks every chain there is.
    #[test]
    fn the_form_never_changes() {
        assert_eq!(hex(genesis("alice")), GENESIS);
        let data = json!({"currency": "EUR", "amount": "12.34", "more": [null, true, false, 7, {}]});
        assert_eq!(hex(next(&genesis("alice"), &link(&data))), SECOND);
    }

    // Computed by hand with another program, from the description at the top.
    const GENESIS: &str = "1f1e26745e076bc38c0a4444842126bbc001470c92640242ca5cf35f191c8638";
    const SECOND: &str = "4a4a986f375a8a3311182dce27683f1d64f10d41c4b1abe799700f450a18dca3";

    #[test]
    fn spacing_and_the_order_of_keys_do_not_matter() {
        let one: Value = serde_json::from_str(r#"{"b": "1", "a": {"y": 1, "x": 2}}"#).unwrap();
        let other: Value = serde_json::from_str(r#"{"a":{"x":2,"y":1},"b":"1"}"#).unwrap();
        assert_eq!(next(&[0; 32], &link(&one)), next(&[0; 32], &link(&other)));
    }

    #[test]
    fn every_column_counts() {
        let (data, other) = (json!({"a": "bc"}), json!({"ab": "c"}));
        let event = link(&data);
        let changed = [
            event,
            Link { wallet_id: "alicf", ..event },
            Link { version: 3, ..event },
            Link { event_id: Uuid::from_u128(9), ..event },
            Link { event_type: "MoneyWithdrawn", ..event },
            Link { occurred_at: 1_700_000_000_001, ..event },
            Link { correlation_id: Uuid::from_u128(9), ..event },
            Link { causation_id: Some(Uuid::from_u128(3)), transaction_id: None, ..event },
            Link { transaction_id: None, ..event },
            Link { data: &other, ..event },
        ];
        let hashes: BTreeSet<_> = changed.iter().map(|link| next(&[0; 32], link)).collect();
        assert_eq!(hashes.len(), changed.len());
        assert_ne!(next(&[1; 32], &event), next(&[0; 32], &event));
    }
}
