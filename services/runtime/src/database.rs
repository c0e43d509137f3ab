//! PostgreSQL: a pool with verified TLS, and the tables that the runtime itself needs, in a schema of their own.

use std::{str::FromStr, time::Duration};

use sqlx::{
    Connection, PgPool,
    migrate::{MigrateError, Migrator},
    postgres::{PgConnectOptions, PgPoolOptions, PgSslMode},
};
use tidegate_settings::binding::DatabaseConnection;
use tokio::time::Instant;

/// How long a start waits for the database before it gives up.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long somebody waits for a connection of the pool.
const ACQUIRE: Duration = Duration::from_secs(5);
/// For how long a connection that lies in the pool is trusted to be there still.
const TRUSTED: Duration = Duration::from_secs(1);

/// After how long the server ends a transaction in which nothing happens: a process that is frozen must not keep its locks from the
/// one that takes its place.
const IDLE_IN_TRANSACTION: Duration = Duration::from_secs(30);

/// What went wrong with the database while starting.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// The settings name none.
    #[error("this role needs a database, and the settings name none")]
    Missing,
    /// The address cannot be read. It holds a password, so it is not shown.
    #[error("the database's uri is not one: postgres://user:password@host:port/database?sslmode=verify-full")]
    Uri,
    /// It does not answer.
    #[error("connecting to the database {database} on {host}: {source}")]
    Connect {
        /// Host and port.
        host: String,
        /// The database's name.
        database: String,
        /// What the driver said.
        source: sqlx::Error,
    },
    /// Its tables cannot be brought up to date.
    #[error("bringing the tables of {owner} up to date: {source}")]
    Migrate {
        /// Whose tables.
        owner: &'static str,
        /// What the migrator said.
        source: MigrateError,
    },
}

/// Where and as whom to connect. An authority in a file means that the server's name is verified too.
pub fn options(connection: &DatabaseConnection, application: &str) -> Result<PgConnectOptions, DatabaseError> {
    // The parser's error may quote the uri.
    let options = PgConnectOptions::from_str(connection.uri.expose()).map_err(|_| DatabaseError::Uri)?;
    let idle = format!("{}s", IDLE_IN_TRANSACTION.as_secs());
    let options = options.application_name(application).options([("idle_in_transaction_session_timeout", idle)]);
    Ok(match &connection.ca_file {
        Some(ca_file) => options.ssl_mode(PgSslMode::VerifyFull).ssl_root_cert(ca_file),
        None => options,
    })
}

/// A pool that asks the server whether a connection is still there only if it has lain idle for a while: a question before each use
/// would be a round trip more for every transaction, and an answer is no promise for the statement after it either. Whoever uses a
/// pool copes with a connection that breaks.
pub fn pool() -> PgPoolOptions {
    PgPoolOptions::new().test_before_acquire(false).before_acquire(|connection, lain| {
        Box::pin(async move {
            if lain.idle_for > TRUSTED {
                connection.ping().await?;
            }
            Ok(true)
        })
    })
}

/// Connects, waiting up to a minute for the database to answer.
pub async fn connect(
    connection: &DatabaseConnection,
    application: &str,
    most_connections: u32,
) -> Result<PgPool, DatabaseError> {
    let options = options(connection, application)?;
    let pool = pool().max_connections(most_connections).acquire_timeout(ACQUIRE);
    let deadline = Instant::now() + PATIENCE;
    let mut pause = Duration::from_millis(100);
    loop {
        match pool.clone().connect_with(options.clone()).await {
            Ok(pool) => return Ok(pool),
            Err(source) if Instant::now() + pause >= deadline => {
                return Err(DatabaseError::Connect {
                    host: format!("{}:{}", options.get_host(), options.get_port()),
                    database: options.get_database().unwrap_or_default().to_owned(),
                    source,
                });
            }
            Err(error) => tracing::warn!(error = %error, "the database does not answer yet"),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(5));
    }
}

/// Brings the runtime's tables up to date: the outbox, and projections' offsets, in schema `tidegate`. Replicas that start together
/// take turns by the migrator's advisory lock.
pub async fn migrate_runtime(pool: &PgPool) -> Result<(), DatabaseError> {
    let mut migrator = sqlx::migrate!("./migrations");
    migrator.create_schema("tidegate");
    migrator.dangerous_set_table_name("tidegate.migrations");
    run(&migrator, pool, "the runtime").await
}

/// Brings a service's own tables up to date.
pub async fn migrate(migrator: &Migrator, pool: &PgPool) -> Result<(), DatabaseError> {
    run(migrator, pool, "the service").await
}

async fn run(migrator: &Migrator, pool: &PgPool, owner: &'static str) -> Result<(), DatabaseError> {
    migrator.run(pool).await.map_err(|source| DatabaseError::Migrate { owner, source })
}

#[cfg(test)]
mod tests {
    use tidegate_settings::binding::Secret;

    use super::*;

    #[test]
    fn a_wrong_uri_is_refused_without_showing_its_password() {
        let connection = DatabaseConnection { uri: Secret::new("postgres://u:hunter2@host:port/x"), ca_file: None };
        let error = options(&connection, "test").unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"));
    }
}
