//! The runtime against a real Kafka and a real PostgreSQL. Each test has topics, a database and groups of its own.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod consumer;
mod consumer_faults;
mod generations;
mod outbox;
mod outbox_crashes;
mod outbox_wake;
mod process;
mod producer;
mod projector;
mod rotation;
mod stream;
mod support;
mod users;
