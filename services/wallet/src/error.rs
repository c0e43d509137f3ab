//! What can go wrong with the tables, and which of it another attempt may cure.

use tidegate_runtime::outbox::AppendError;

/// Constraints that two writers of one wallet or one key run into, or two who apply one event.
const CONTESTED: [&str; 5] = [
    "wallet_events_stream_version",
    "wallet_state_wallet_id",
    "idempotency_keys_key",
    "ledger_entries_line",
    "wallet_read_model_wallet_id",
];

/// Why the tables could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database refused, or could not be reached.
    #[error("{doing}: {source}")]
    Database {
        /// What was being done.
        doing: &'static str,
        /// What the database or its driver said.
        #[source]
        source: sqlx::Error,
    },
    /// An event can never be published.
    #[error(transparent)]
    Outbox(AppendError),
    /// A row holds what this build cannot read.
    #[error("{what} holds {value:?}, which cannot be read")]
    Unreadable {
        /// Table and column.
        what: &'static str,
        /// The value.
        value: String,
    },
}

/// What an error means for whoever wants to try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// Somebody else was there first: now.
    Now,
    /// The database is not there: in a while.
    Later,
    /// Not as it is.
    Never,
}

impl From<AppendError> for StoreError {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Database(source) => Self::Database { doing: "putting events into the outbox", source },
            too_large => Self::Outbox(too_large),
        }
    }
}

impl StoreError {
    /// Names what was being done: `.map_err(StoreError::on("reading the wallets"))`.
    pub fn on(doing: &'static str) -> impl Fn(sqlx::Error) -> Self {
        move |source| Self::Database { doing, source }
    }

    /// Whether the same may work when it is tried again.
    pub fn again(&self) -> Again {
        let Self::Database { source, .. } = self else { return Again::Never };
        match source {
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::WorkerCrashed
            | sqlx::Error::Protocol(_) => Again::Later,
            sqlx::Error::Database(error) => match error.code().as_deref() {
                // Serialization failure, deadlock.
                Some("40001" | "40P01") => Again::Now,
                Some("23505") if error.constraint().is_some_and(|name| CONTESTED.contains(&name)) => Again::Now,
                // Connection lost or refused, the server stops or starts, or is out of connections, memory or disk; a standby.
                Some(code) if code.starts_with("08") || code.starts_with("57P") || code.starts_with("53") => {
                    Again::Later
                }
                Some("25006") => Again::Later,
                _ => Again::Never,
            },
            _ => Again::Never,
        }
    }
}
