//! What every service runs on: settings, logs, metrics, shutdown, the HTTP shell, the database, the outbox relay, the consumer,
//! the producer.
//!
//! A service's `main` is a few lines: [`main`] reads the settings and hands over an [`App`]; the service starts what its role needs
//! and ends by [`App::serve`]. Nothing here knows what an event means.

mod app;
mod backoff;
pub mod consumer;
mod crash;
pub mod database;
pub mod http;
pub mod kafka;
pub mod outbox;
pub mod producer;
pub mod rotation;
pub mod shutdown;
pub mod telemetry;

pub use app::{App, Program, StartError, main};
#[doc(hidden)]
pub use crash::{__fail, arm_crash_points};
