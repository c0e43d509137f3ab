//! What a team needs for a pipeline of its own: topics, a database, and the two Secrets that lead to Kafka and to it.

use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection, postgres::PgConnectOptions};

use super::{SOON, World, eventually};

impl World {
    /// Makes the namespace with Secrets `kafka` and `db` in it, a database of its own, and a topic of the name that is returned.
    pub async fn furnish(&self) -> String {
        self.make_namespace().await;
        let database = self.database();
        // One more connection a statement: neither can be prepared inside a transaction.
        self.administer(&format!("CREATE ROLE {database} LOGIN PASSWORD '{database}'")).await;
        self.administer(&format!("CREATE DATABASE {database} OWNER {database}")).await;

        let theirs = self.secret("tidegate-system", "kafka-main").await;
        let ca = theirs["ca.crt"].clone();
        let kafka = json!({
            "bootstrap-servers": theirs["bootstrap-servers"], "security-protocol": "SASL_SSL", "sasl-mechanism": "SCRAM-SHA-512",
            "username": self.environment.kafka.username, "password": self.environment.kafka.password, "ca.crt": ca,
        });
        self.apply_secret("kafka", kafka).await;
        let host = "postgres.postgres.svc.cluster.local:5432";
        let uri = format!("postgres://{database}:{database}@{host}/{database}?sslmode=verify-full");
        self.apply_secret("db", json!({"uri": uri, "ca.crt": ca})).await;

        let topic = self.name("own-events");
        let spec = json!({"topicName": topic, "partitions": 3, "replicas": 3, "deletionPolicy": "Delete"});
        self.apply_topic("events", spec).await.expect("the KafkaTopic is taken");
        self.topic_is_ready("events").await;
        topic
    }

    /// The processors of a wallet of one's own on a topic, as its spec's list.
    pub fn wallet_spec(&self, topic: &str) -> Value {
        let consumes = |role: &str| json!({"topics": [topic], "group": self.name(role)});
        json!({
            "kafka": {"user": {"secretRef": {"name": "kafka"}}},
            "database": {"secretRef": {"name": "db"}},
            "processors": [
                {
                    "name": "commands", "run": {"wallet": {"role": "Commands"}}, "produces": [topic],
                    "http": {"port": 8080, "auth": "None"}, "replicas": 1,
                },
                {"name": "ledger", "run": {"wallet": {"role": "LedgerProjector"}}, "consumes": consumes("ledger"), "replicas": 1},
                {
                    "name": "read-model", "run": {"wallet": {"role": "ReadModelProjector"}},
                    "consumes": consumes("read-model"), "replicas": 1,
                },
            ],
        })
    }

    /// Calls the HTTP API of a processor through the Kubernetes API; the answer, when it is a success.
    pub async fn call(&self, service: &str, path: &str, body: Option<Value>) -> Result<Value, String> {
        let uri = format!("/api/v1/namespaces/{}/services/{service}:http/proxy/{path}", self.namespace);
        let request = match body {
            None => http::Request::get(&uri).body(vec![]),
            Some(body) => http::Request::post(&uri)
                .header("content-type", "application/json")
                .header("idempotency-key", uuid::Uuid::new_v4().to_string())
                .body(body.to_string().into_bytes()),
        };
        self.client.request(request.expect("a request can be built")).await.map_err(|error| error.to_string())
    }

    /// Drops what [`Self::furnish`] made outside the namespace.
    pub async fn unfurnish(&self) {
        let database = self.database();
        for statement in
            [format!("DROP DATABASE IF EXISTS {database} WITH (FORCE)"), format!("DROP ROLE IF EXISTS {database}")]
        {
            if let Err(error) = self.try_administer(&statement).await {
                eprintln!("{statement}: {error}");
            }
        }
    }

    /// A connection to the database of [`Self::furnish`], as one who may do anything.
    pub async fn tenant_database(&self) -> PgConnection {
        let options: PgConnectOptions = admin_url().parse().expect("DATABASE_ADMIN_URL is a URL");
        options.database(&self.database()).connect().await.expect("the tenant's database answers")
    }

    fn database(&self) -> String {
        format!("e2e_{}", self.run)
    }

    async fn administer(&self, statement: &str) {
        self.try_administer(statement).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
    }

    async fn try_administer(&self, statement: &str) -> Result<(), sqlx::Error> {
        let mut connection = PgConnection::connect(&admin_url()).await?;
        // The statement is this file's own, with the run's suffix of hexadecimal digits in it.
        sqlx::query(AssertSqlSafe(statement)).execute(&mut connection).await.map(drop)
    }

    /// The values of a Secret.
    pub async fn secret(&self, namespace: &str, name: &str) -> Value {
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
        let found = eventually(&format!("Secret {namespace}/{name}"), SOON, async || {
            secrets.get(name).await.map_err(|error| error.to_string())
        })
        .await;
        let values =
            found.data.unwrap_or_default().into_iter().map(|(key, value)| {
                (key, Value::String(String::from_utf8(value.0).expect("a binding's values are text")))
            });
        Value::Object(values.collect())
    }

    async fn apply_secret(&self, name: &str, values: Value) {
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), &self.namespace);
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": values});
        secrets
            .patch(name, &PatchParams::apply("e2e").force(), &Patch::Apply(secret))
            .await
            .expect("a Secret can be made");
    }
}

fn admin_url() -> String {
    std::env::var("DATABASE_ADMIN_URL").expect("DATABASE_ADMIN_URL is set by: eval \"$(hack/env)\"")
}
