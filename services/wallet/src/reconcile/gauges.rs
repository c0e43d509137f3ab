//! What the last reconciliation said, for Prometheus.

use std::sync::atomic::AtomicU64;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
};
use tidegate_runtime::telemetry::Metrics;

use super::report::Report;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Sum {
    currency: String,
    of: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Projection {
    projection: &'static str,
}

/// No labels: in a family, so that nothing is shown before there is something to show.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Whole {}

type Float = Gauge<f64, AtomicU64>;

/// The gauges. Cheap to clone. They show nothing before the first reconciliation.
#[derive(Clone)]
pub struct ReconciliationGauges {
    sums: Family<Sum, Float>,
    behind: Family<Projection, Gauge>,
    differing: Family<Whole, Gauge>,
    broken: Family<Whole, Gauge>,
    checked_at: Family<Whole, Float>,
    seconds: Family<Whole, Float>,
    failures: Counter,
}

impl ReconciliationGauges {
    /// Registers them.
    pub fn new(metrics: &Metrics) -> Self {
        Self {
            sums: metrics.register(
                "wallet_reconciliation_sum",
                "Money in whole units of the currency, as each of them says it: events, balances, held, read-model, ledger, external, \
                 transit.",
                Family::default(),
            ),
            behind: metrics.register(
                "wallet_reconciliation_behind_events",
                "Events that a projection had not applied.",
                Family::default(),
            ),
            differing: metrics.register(
                "wallet_reconciliation_differing_wallets",
                "Wallets of which events, state, ledger and read model did not say the same at the same version.",
                Family::default(),
            ),
            broken: metrics.register(
                "wallet_reconciliation_broken_chains",
                "Wallets whose hash chain was broken.",
                Family::default(),
            ),
            checked_at: metrics.register(
                "wallet_reconciliation_timestamp_seconds",
                "The moment that the last reconciliation showed, in seconds since 1970.",
                Family::default(),
            ),
            seconds: metrics.register(
                "wallet_reconciliation_seconds",
                "How long the last reconciliation took.",
                Family::default(),
            ),
            failures: metrics.register(
                "wallet_reconciliation_failures",
                "Reconciliations that could not be made.",
                Counter::default(),
            ),
        }
    }

    /// Shows the report.
    pub fn show(&self, report: &Report) {
        for sums in &report.currencies {
            for (of, amount) in [
                ("events", &sums.events),
                ("balances", &sums.balances),
                ("held", &sums.held),
                ("read-model", &sums.read_model),
                ("ledger", &sums.ledger),
                ("external", &sums.external),
                ("transit", &sums.transit),
            ] {
                let sum = Sum { currency: sums.currency.clone(), of };
                self.sums.get_or_create(&sum).set(amount.parse().unwrap_or(f64::NAN));
            }
        }
        let behind = |projection| self.behind.get_or_create(&Projection { projection });
        behind("ledger").set(report.wallets.ledger_behind_events);
        behind("read-model").set(report.wallets.read_model_behind_events);
        self.differing.get_or_create(&Whole {}).set(report.wallets.differing);
        self.broken.get_or_create(&Whole {}).set(report.chains.broken);
        if let Ok(checked_at) = report.checked_at.parse::<jiff::Timestamp>() {
            self.checked_at.get_or_create(&Whole {}).set(checked_at.as_millisecond() as f64 / 1000.0);
        }
        self.seconds.get_or_create(&Whole {}).set(report.took_ms as f64 / 1000.0);
    }

    /// Counts one that failed.
    pub fn failed(&self) {
        self.failures.inc();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::reconcile::report::{Chains, CurrencySums, Wallets};

    #[test]
    fn what_a_report_says_is_shown_and_before_it_nothing_is() {
        let metrics = Metrics::default();
        let gauges = ReconciliationGauges::new(&metrics);
        assert!(!metrics.render().contains("differing_wallets{}"), "nobody has looked yet");

        let sums = |amount: &str| amount.to_owned();
        let currency = CurrencySums {
            currency: "EUR".into(),
            wallets: 2,
            events: sums("9.50"),
            balances: sums("9.50"),
            held: sums("1.25"),
            read_model: sums("9.50"),
            events_in_read_model: sums("9.50"),
            ledger: sums("9.50"),
            events_in_ledger: sums("9.50"),
            external: sums("-9.50"),
            transit: sums("0.00"),
            credits: sums("19.50"),
            debits: sums("19.50"),
        };
        let wallets = Wallets { differing: 3, ledger_behind_events: 7, ..Wallets::default() };
        let chains = Chains { broken: 1, ..Chains::default() };
        let at = "2026-11-21T10:15:30.500Z".to_owned();
        gauges.show(&Report::of(at, Duration::from_millis(250), vec![currency], wallets, chains));
        let shown = metrics.render();
        for line in [
            "tidegate_wallet_reconciliation_differing_wallets{} 3",
            "tidegate_wallet_reconciliation_broken_chains{} 1",
            "tidegate_wallet_reconciliation_behind_events{projection=\"ledger\"} 7",
            "tidegate_wallet_reconciliation_sum{currency=\"EUR\",of=\"external\"} -9.5",
            "tidegate_wallet_reconciliation_timestamp_seconds{} 1795256130.5",
            "tidegate_wallet_reconciliation_seconds{} 0.25",
        ] {
            assert!(shown.contains(line), "{line} is not in\n{shown}");
        }
    }
}
