//! What a person reads after a run.

use std::{fmt::Write, sync::atomic::Ordering};

use super::{Options, Outcome};

/// The outcome in a few lines: counts, throughput and latency percentiles.
pub fn describe(options: &Options, outcome: &Outcome) -> String {
    let mut text = String::new();
    let seconds = outcome.took.as_secs_f64();
    let rate = if seconds > 0.0 { outcome.succeeded as f64 / seconds } else { 0.0 };
    let _ = writeln!(text, "wallets opened     {} of {}", outcome.opened, options.wallets);
    let stopped = options.stop.load(Ordering::SeqCst);
    let asked = if stopped { "until it was stopped".into() } else { format!("of {}", options.operations) };
    let _ = writeln!(text, "operations done    {} {asked}", outcome.succeeded);
    let _ = writeln!(text, "failed             {}", outcome.failed);
    let _ = writeln!(text, "repeated attempts  {} (broken connections and 503s, under the same key)", outcome.retries);
    let _ = writeln!(
        text,
        "throughput         {rate:.0} operations a second over {seconds:.1} s, {} workers",
        options.workers
    );
    let _ = write!(text, "latency in ms     ");
    for (name, quantile) in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)] {
        let _ = write!(text, " {name} {:.1}", outcome.latency.value_at_quantile(quantile) as f64 / 1000.0);
    }
    let _ = writeln!(text);
    for failure in &outcome.failures {
        let _ = writeln!(text, "failure: {failure}");
    }
    if outcome.out_of_time {
        let _ = writeln!(text, "the run was ended by its deadline of {} s", options.deadline.as_secs());
    }
    text
}
