//! A database for one test.

use sqlx::{
    Connection, PgConnection, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use super::Environment;

/// Creates the database; its address, and a way in.
pub(super) async fn create(environment: &Environment, name: &str) -> (String, PgPool) {
    execute(environment, format!("CREATE DATABASE \"{name}\"")).await;
    let mut url: reqwest::Url = environment.database_url.parse().unwrap();
    url.set_path(name);
    let options = url.as_str().parse::<PgConnectOptions>().unwrap().application_name("wallet-test");
    let pool = PgPoolOptions::new().max_connections(8).connect_lazy_with(options);
    (url.to_string(), pool)
}

/// Drops the database, with whoever is still connected to it.
pub(super) async fn drop(environment: &Environment, name: &str, pool: PgPool) {
    pool.close().await;
    execute(environment, format!("DROP DATABASE \"{name}\" WITH (FORCE)")).await;
}

async fn execute(environment: &Environment, statement: String) {
    let mut connection = PgConnection::connect(&environment.database_url).await.unwrap();
    sqlx::query(sqlx::AssertSqlSafe(statement)).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}
