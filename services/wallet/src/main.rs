//! The wallet service.
mod commands;
mod domain;
mod error;
mod http;
mod problem;
mod projections;
mod queries;
fn main() {}
