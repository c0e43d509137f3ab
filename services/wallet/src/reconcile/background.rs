//! Reconciles again and again, at a bounded cost.

use std::time::Duration;

use sqlx::PgPool;
use tidegate_runtime::shutdown::Shutdown;
use tokio::time::sleep;

use super::{ReconciliationGauges, reconcile};

/// The first time: when the process has found its feet.
const FIRST: Duration = Duration::from_secs(20);
/// How often, at most.
const OFTEN: Duration = Duration::from_secs(300);
/// How many times longer than it took the next one is waited for: it costs the database a twentieth of its time at the most.
const REST: u64 = 19;

/// Keeps the gauges at what the last reconciliation said, until the process stops. Of several processes one makes it, and the others
/// show the same.
pub async fn keep_reconciled(pool: PgPool, gauges: ReconciliationGauges, shutdown: Shutdown) {
    let mut pause = FIRST;
    while shutdown.or(sleep(pause)).await.is_some() {
        let Some(reconciled) = shutdown.or(reconcile(&pool, OFTEN.as_secs_f64() / 2.0)).await else { return };
        pause = match reconciled {
            Ok(report) => {
                gauges.show(&report);
                OFTEN.max(Duration::from_millis(report.took_ms.saturating_mul(REST)))
            }
            Err(error) => {
                gauges.failed();
                tracing::warn!(error = &error as &dyn std::error::Error, "wallets could not be reconciled");
                OFTEN
            }
        };
    }
}
