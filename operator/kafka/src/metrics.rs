//! How many requests were made of Kafka, and how they ended.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

use crate::{AdminError, Api};

/// How a request ended: the worst that happened to any of its items.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// Every item was answered.
    Ok,
    /// Kafka refused an item.
    Refused,
    /// No broker was reached, or not in time.
    Unreachable,
    /// Authentication, TLS or the connection's settings failed.
    Unauthenticated,
    /// An answer made no sense.
    Unexpected,
}

impl Outcome {
    /// The name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
            Self::Unauthenticated => "unauthenticated",
            Self::Unexpected => "unexpected",
        }
    }

    pub(crate) fn of(error: &AdminError) -> Self {
        match error {
            AdminError::Refused { .. } => Self::Refused,
            AdminError::Unreachable { .. } | AdminError::Deadline { .. } => Self::Unreachable,
            AdminError::Authentication { .. } | AdminError::Tls { .. } | AdminError::Settings { .. } => {
                Self::Unauthenticated
            }
            AdminError::Unexpected { .. } => Self::Unexpected,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    api: &'static str,
    outcome: &'static str,
}

/// `tidegate_kafka_admin_requests_total{api, outcome}`. Clones count together, so all connections share one.
#[derive(Clone, Debug, Default)]
pub struct RequestMetrics {
    requests: Family<Labels, Counter>,
}

impl RequestMetrics {
    /// Makes the counter visible in a registry.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "tidegate_kafka_admin_requests",
            "Administrative requests made of Kafka, by API and outcome",
            self.requests.clone(),
        );
    }

    /// Requests counted so far.
    pub fn count(&self, api: Api, outcome: Outcome) -> u64 {
        self.requests.get_or_create(&Labels { api: api.name(), outcome: outcome.name() }).get()
    }

    pub(crate) fn record(&self, api: Api, outcome: Outcome) {
        self.requests.get_or_create(&Labels { api: api.name(), outcome: outcome.name() }).inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counter_is_exported_under_its_name_with_bounded_labels() {
        let metrics = RequestMetrics::default();
        let mut registry = Registry::default();
        metrics.register(&mut registry);
        metrics.record(Api::CreateTopics, Outcome::Refused);

        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).expect("encodes");
        assert!(
            text.contains(r#"tidegate_kafka_admin_requests_total{api="create_topics",outcome="refused"} 1"#),
            "{text}"
        );
        assert_eq!(metrics.count(Api::CreateTopics, Outcome::Refused), 1);
    }
}
