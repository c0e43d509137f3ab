//! A database for one test.

use sqlx::{
    Connection, PgConnection, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use super::{Environment, eventually};

/// Creates the database; its address, and a way in.
pub(super) async fn create(environment: &Environment, name: &str) -> (String, PgPool) {
    execute(environment, format!("CREATE DATABASE \"{name}\"")).await.unwrap();
    let mut url: reqwest::Url = environment.database_url.parse().unwrap();
    url.set_path(name);
    let options = url.as_str().parse::<PgConnectOptions>().unwrap().application_name("wallet-test");
    let pool = PgPoolOptions::new().max_connections(8).connect_lazy_with(options);
    (url.to_string(), pool)
}

/// Drops the database, with whoever is still connected to it. PostgreSQL gives them 5 s, which one that writes to a busy disk may need.
pub(super) async fn drop(environment: &Environment, name: &str, pool: PgPool) {
    pool.close().await;
    let statement = format!("DROP DATABASE IF EXISTS \"{name}\" WITH (FORCE)");
    eventually("the database is dropped", async || {
        execute(environment, statement.clone()).await.map_err(|error| error.to_string())
    })
    .await;
}

async fn execute(environment: &Environment, statement: String) -> sqlx::Result<()> {
    let mut connection = PgConnection::connect(&environment.database_url).await?;
    sqlx::query(sqlx::AssertSqlSafe(statement)).execute(&mut connection).await?;
    connection.close().await
}
