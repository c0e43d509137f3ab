//! What a team needs for a pipeline of its own on the local cluster: a database, and the two Secrets that lead to Kafka and to it.

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, PgConnection, postgres::PgConnectOptions};

use crate::{
    environment::{Kafka, MissingVariable, variable},
    resources::apply,
};

/// Why a tenant cannot be furnished.
#[derive(Debug, thiserror::Error)]
pub enum TenantError {
    /// The environment is not that of hack/env.
    #[error(transparent)]
    Environment(#[from] MissingVariable),
    /// The Kubernetes API refused or did not answer.
    #[error("{doing}: {source}")]
    Kubernetes {
        /// What was being done.
        doing: String,
        /// What the client said.
        source: Box<kube::Error>,
    },
    /// PostgreSQL refused or did not answer.
    #[error("{doing}: {source}")]
    Database {
        /// What was being done.
        doing: String,
        /// What the client said.
        source: sqlx::Error,
    },
    /// What hack/up makes is not there.
    #[error("{0} is not there; run hack/up")]
    Missing(String),
}

/// A tenant: a database of its own, and Secrets `kafka` and `db` in its namespace.
#[derive(Clone, Debug)]
pub struct Tenant {
    /// The namespace.
    pub namespace: String,
    /// The database and its owner; a name that PostgreSQL takes without quotes.
    pub database: String,
}

impl Tenant {
    /// Makes the database and the Secrets; the namespace is there.
    pub async fn furnish(&self, client: &Client, kafka: &Kafka, manager: &str) -> Result<(), TenantError> {
        let database = &self.database;
        // One more connection a statement: neither can be prepared inside a transaction.
        administer(&format!("CREATE ROLE {database} LOGIN PASSWORD '{database}'")).await?;
        administer(&format!("CREATE DATABASE {database} OWNER {database}")).await?;
        let theirs = secret(client, "tidegate-system", "kafka-main").await?;
        let ca = &theirs["ca.crt"];
        let brought = json!({
            "bootstrap-servers": theirs["bootstrap-servers"], "security-protocol": "SASL_SSL", "sasl-mechanism": "SCRAM-SHA-512",
            "username": kafka.username, "password": kafka.password, "ca.crt": ca,
        });
        let host = "postgres.postgres.svc.cluster.local:5432";
        let uri = format!("postgres://{database}:{database}@{host}/{database}?sslmode=verify-full");
        let secrets: Api<Secret> = Api::namespaced(client.clone(), &self.namespace);
        for (name, values) in [("kafka", brought), ("db", json!({"uri": uri, "ca.crt": ca}))] {
            let secret =
                json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": values});
            apply(&secrets, manager, name, &secret).await.map_err(|error| TenantError::Kubernetes {
                doing: format!("making Secret {}/{name}", self.namespace),
                source: Box::new(error),
            })?;
        }
        Ok(())
    }

    /// Drops the database and its owner, if they are there.
    pub async fn drop_database(&self) -> Result<(), TenantError> {
        let database = &self.database;
        administer(&format!("DROP DATABASE IF EXISTS {database} WITH (FORCE)")).await?;
        administer(&format!("DROP ROLE IF EXISTS {database}")).await
    }

    /// How one who may do anything connects to the database from this host.
    pub fn as_administrator(&self) -> Result<PgConnectOptions, TenantError> {
        Ok(administrator()?.database(&self.database))
    }
}

/// The values of a Secret.
pub async fn secret(client: &Client, namespace: &str, name: &str) -> Result<Value, TenantError> {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let doing = || format!("reading Secret {namespace}/{name}");
    let found = secrets
        .get_opt(name)
        .await
        .map_err(|error| TenantError::Kubernetes { doing: doing(), source: Box::new(error) })?
        .ok_or_else(|| TenantError::Missing(format!("Secret {namespace}/{name}")))?;
    let values = found.data.unwrap_or_default().into_iter();
    Ok(values.map(|(key, value)| (key, Value::from(String::from_utf8_lossy(&value.0).into_owned()))).collect())
}

fn administrator() -> Result<PgConnectOptions, TenantError> {
    variable("DATABASE_ADMIN_URL")?.parse().map_err(database("reading DATABASE_ADMIN_URL"))
}

async fn administer(statement: &str) -> Result<(), TenantError> {
    // The password is the database's name, and good for nothing else.
    let mut connection = PgConnection::connect_with(&administrator()?).await.map_err(database(statement))?;
    // The statement is this file's own, with the tenant's name in it.
    sqlx::query(AssertSqlSafe(statement)).execute(&mut connection).await.map(drop).map_err(database(statement))
}

fn database(doing: &str) -> impl Fn(sqlx::Error) -> TenantError {
    let doing = doing.to_owned();
    move |source| TenantError::Database { doing: doing.clone(), source }
}
