//! The HTTP shell around a service's routes: health, metrics, OpenAPI, limits, traces, and problem documents for whatever goes wrong
//! before a handler is reached.

mod health;
mod json;
mod limits;
mod problem;
mod requests;
mod shell;
#[cfg(test)]
mod tests;
mod trace;

pub use health::{Check, Health};
pub use json::Json;
pub use problem::{PROBLEM_BASE, Problem};
pub use shell::{Api, ServeError, Shell};
pub use trace::TraceContext;
