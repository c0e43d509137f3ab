//! Answers are kept for a while, not for ever: a table that only grows is a debt.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use sqlx::PgPool;
use tidegate_runtime::shutdown::Shutdown;

use super::store;

/// How long an answer is kept: as long as events are on the topic.
const KEPT: SignedDuration = SignedDuration::from_hours(7 * 24);
/// How often old ones are looked for.
const OFTEN: Duration = Duration::from_secs(600);

/// Forgets old answers until the process stops.
pub async fn forget_old_answers(pool: PgPool, now: fn() -> Timestamp, shutdown: Shutdown) {
    while shutdown.or(tokio::time::sleep(OFTEN)).await.is_some() {
        let Ok(before) = now().checked_sub(KEPT) else { return };
        loop {
            match store::forget_answers(&pool, before).await {
                Ok(0) => break,
                Ok(answers) => tracing::info!(answers, "forgot old answers"),
                Err(error) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "old answers are kept until the next time"
                    );
                    break;
                }
            }
        }
    }
}
