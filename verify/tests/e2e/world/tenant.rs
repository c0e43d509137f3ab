//! What a team needs for a pipeline of its own: topics, a database, and the two Secrets that lead to Kafka and to it.

use serde_json::{Value, json};
use sqlx::{ConnectOptions, PgConnection};
use tidegate_verify::tenant::{Tenant, secret};

use super::{SOON, World, eventually, requests::FIELD_MANAGER};

impl World {
    /// Makes the namespace with Secrets `kafka` and `db` in it, a database of its own, and a topic of the name that is returned.
    pub async fn furnish(&self) -> String {
        self.make_namespace().await;
        let furnished = self.tenant().furnish(&self.client, &self.environment.kafka, FIELD_MANAGER).await;
        furnished.unwrap_or_else(|error| panic!("{error}"));
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
        if let Err(error) = self.tenant().drop_database().await {
            eprintln!("{error}");
        }
    }

    /// A connection to the database of [`Self::furnish`], as one who may do anything.
    pub async fn tenant_database(&self) -> PgConnection {
        let options = self.tenant().as_administrator().unwrap_or_else(|error| panic!("{error}"));
        eventually("the tenant's database answers", SOON, async || {
            options.connect().await.map_err(|error| error.to_string())
        })
        .await
    }

    fn tenant(&self) -> Tenant {
        Tenant { namespace: self.namespace.clone(), database: format!("e2e_{}", self.run) }
    }

    /// The values of a Secret.
    pub async fn secret(&self, namespace: &str, name: &str) -> Value {
        eventually(&format!("Secret {namespace}/{name}"), SOON, async || {
            secret(&self.client, namespace, name).await.map_err(|error| error.to_string())
        })
        .await
    }
}
