//! Logs as JSON lines on standard output, and the one registry of metrics, which `/metrics` shows.

use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::{
    collector::Collector,
    encoding::text::encode,
    registry::{Metric, Registry},
};
use tracing_subscriber::EnvFilter;

/// Starts the log. `RUST_LOG` filters it; without, everything from `info` on is written.
pub(crate) fn start_log() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt().json().flatten_event(true).with_current_span(true).with_span_list(false);
    // A second start, as in tests, keeps the first.
    let _ = log.with_env_filter(filter).try_init();
}

/// The registry. Cheap to clone; every name in it begins with `tidegate_`.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Arc<Mutex<Registry>>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self { registry: Arc::new(Mutex::new(Registry::with_prefix("tidegate"))) }
    }
}

impl Metrics {
    /// Adds a metric, and gives it back. The name is without the prefix, and a counter's without `_total`.
    pub fn register<M: Metric + Clone>(&self, name: &str, help: &str, metric: M) -> M {
        let mut registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        // The encoder ends the sentence itself.
        registry.register(name, help.trim_end_matches('.'), metric.clone());
        metric
    }

    /// Adds what computes its values when it is asked.
    pub fn register_collector(&self, collector: impl Collector) {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner).register_collector(Box::new(collector));
    }

    /// The text that Prometheus scrapes (OpenMetrics 1.0).
    pub fn render(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = encode(&mut text, &self.registry.lock().unwrap_or_else(PoisonError::into_inner));
        text
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::counter::Counter;

    use super::*;

    #[test]
    fn what_is_registered_is_shown_under_the_prefix() {
        let metrics = Metrics::default();
        let counter: Counter = metrics.register("consumer_records", "Records.", Counter::default());
        counter.inc_by(3);
        assert!(metrics.render().contains("tidegate_consumer_records_total 3"), "{}", metrics.render());
    }
}
