//! Every event, envelope and header on a topic, and the money in them. Pure: no I/O, no clock, no random.
//!
//! A record's value is an [`Envelope`] around one aggregate's event, as JSON. What was once published stays readable: old forms are
//! kept as golden files in `tests/golden`, and the schemas in `schemas/` are generated (`cargo run -p tidegate-contracts --example
//! schemas`).

mod currency;
mod envelope;
pub mod headers;
mod money;
pub mod partition;
pub mod schema;
pub mod wallet;

pub use currency::{Currency, UnknownCurrency};
pub use envelope::{Envelope, Event, Unreadable};
pub use money::{AmountError, Money};
