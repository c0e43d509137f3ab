//! What the committer counts.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, histogram::Histogram},
};
use tidegate_runtime::telemetry::Metrics;

use super::{Answer, Request, Work};
use crate::domain::Command;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    command: &'static str,
    outcome: &'static str,
}

/// The committer's metrics. Cheap to clone.
#[derive(Clone)]
pub struct CommitterMetrics {
    commands: Family<Labels, Counter>,
    batch: Histogram,
    seconds: Histogram,
    attempts: Counter,
}

impl CommitterMetrics {
    /// Registers them.
    pub fn new(metrics: &Metrics) -> Self {
        Self {
            commands: metrics.register(
                "wallet_commands",
                "Requests that were answered; a bulk is one.",
                Family::default(),
            ),
            batch: metrics.register(
                "wallet_batch_commands",
                "Requests that were committed together.",
                Histogram::new([1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0]),
            ),
            seconds: metrics.register(
                "wallet_batch_seconds",
                "Time from the first statement of a batch until its commit was heard of, repetitions included.",
                Histogram::new([0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0]),
            ),
            attempts: metrics.register(
                "wallet_batch_failures",
                "Attempts to commit a batch that failed, those that were repeated included.",
                Counter::default(),
            ),
        }
    }

    pub(super) fn committed(&self, requests: &[Request], answers: &[Answer], seconds: f64) {
        self.batch.observe(requests.len() as f64);
        self.seconds.observe(seconds);
        for (request, answer) in requests.iter().zip(answers) {
            let outcome = if answer.status < 400 { "accepted" } else { "refused" };
            self.commands.get_or_create(&Labels { command: name(&request.work), outcome }).inc();
        }
    }

    pub(super) fn attempt_failed(&self) {
        self.attempts.inc();
    }
}

fn name(work: &Work) -> &'static str {
    match work {
        Work::Bulk { .. } => "bulk",
        Work::One(command) => match command {
            Command::Open { .. } => "open",
            Command::Deposit { .. } => "deposit",
            Command::Withdraw { .. } => "withdraw",
            Command::Transfer { .. } => "transfer",
            Command::Hold { .. } => "hold",
            Command::Capture(_) => "capture",
            Command::Release { .. } => "release",
        },
    }
}
