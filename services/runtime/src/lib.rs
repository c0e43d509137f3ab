//! What every service runs on: settings, logs, metrics, shutdown, the HTTP shell, the database, the outbox relay, the consumer.
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
pub mod shutdown;
pub mod telemetry;

#[doc(hidden)]
pub use crash::{__fail, arm_crash_points};
pub use app::{App, Program, StartError, main};
