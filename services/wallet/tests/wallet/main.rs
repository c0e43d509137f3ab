//! The wallet's binary on a real Kafka and a real PostgreSQL. Each story has a topic, a database and groups of its own.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on ends")]

mod api;
mod bulk;
mod chain;
mod crashes;
mod holds;
mod path;
mod rebuild;
mod reconciliation;
mod time;
mod upgrade;
mod world;
