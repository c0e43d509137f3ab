//! A wallet of a test's own: its own database, its own topic, and the real binary as processes of its own, on the Kafka and
//! PostgreSQL of hack/up.

mod kafka;
mod process;
mod store;

use std::{collections::BTreeMap, panic::AssertUnwindSafe, path::PathBuf, time::Duration};

use futures::FutureExt;
use serde_json::{Value, json};
use uuid::Uuid;

pub use kafka::Record;
pub use process::Process;

/// How long anything may take that must happen: longer than brokers wait for a member that was killed.
pub const SOON: Duration = Duration::from_secs(90);

/// The parts of the wallet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Commands,
    Publisher,
    Ledger,
    ReadModel,
}

/// Everything that belongs to one test.
pub struct World {
    /// Names the topic, the database, the groups.
    pub name: String,
    folder: PathBuf,
    environment: Environment,
    /// The test's database.
    pub pool: sqlx::PgPool,
}

/// The cluster of hack/up.
#[derive(Clone)]
struct Environment {
    bootstrap_servers: String,
    sasl_mechanism: String,
    username: String,
    password: String,
    ca_file: String,
    database_url: String,
}

impl Environment {
    fn read() -> Self {
        let read = |name: &str| {
            std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run hack/up, then eval \"$(hack/env)\""))
        };
        Self {
            bootstrap_servers: read("KAFKA_BOOTSTRAP_SERVERS"),
            sasl_mechanism: read("KAFKA_SASL_MECHANISM"),
            username: read("KAFKA_ADMIN_USERNAME"),
            password: read("KAFKA_ADMIN_PASSWORD"),
            ca_file: read("KAFKA_CA_FILE"),
            database_url: read("DATABASE_ADMIN_URL"),
        }
    }
}

/// Runs a story in a world of its own, and clears the world away however the story ends.
pub fn story(tell: impl AsyncFnOnce(&World)) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let world = World::begin().await;
        let told = AssertUnwindSafe(tell(&world)).catch_unwind().await;
        world.end().await;
        if let Err(panic) = told {
            std::panic::resume_unwind(panic);
        }
    });
}

impl World {
    async fn begin() -> Self {
        let environment = Environment::read();
        let name = format!("wallet-test-{}", Uuid::now_v7().simple());
        let folder = std::env::temp_dir().join(&name);
        let (url, pool) = store::create(&environment, &name).await;
        kafka::create_topic(&environment, &name).await;
        bind(
            &folder.join("kafka"),
            &[
                ("bootstrap-servers", &environment.bootstrap_servers),
                ("security-protocol", "SASL_SSL"),
                ("sasl-mechanism", &environment.sasl_mechanism),
                ("username", &environment.username),
                ("password", &environment.password),
                ("ca.crt", &std::fs::read_to_string(&environment.ca_file).unwrap()),
            ],
        );
        bind(
            &folder.join("database"),
            &[("uri", &url), ("ca.crt", &std::fs::read_to_string(&environment.ca_file).unwrap())],
        );
        Self { name, folder, environment, pool }
    }

    async fn end(self) {
        kafka::delete_topic(&self.environment, &self.name).await;
        store::drop(&self.environment, &self.name, self.pool).await;
        let _ = std::fs::remove_dir_all(&self.folder);
    }

    /// Starts a process of that role and waits until it is ready.
    pub async fn start(&self, role: Role) -> Process {
        self.start_with(role, json!({})).await
    }

    /// The same, with other settings of the wallet (`overdraft`, `publisher`).
    pub async fn start_with(&self, role: Role, wallet: Value) -> Process {
        let process = Process::spawn(&self.folder, &self.settings(role, wallet));
        process.until_ready().await;
        process
    }

    /// The same, told of a replay.
    pub async fn start_in_generation(&self, role: Role, generation: &str) -> Process {
        let mut settings = self.settings(role, json!({}));
        settings["generation"] = json!({"id": generation});
        let process = Process::spawn(&self.folder, &settings);
        process.until_ready().await;
        process
    }

    /// Starts role Commands with crash points: it dies where `points` say, and is then to be started again.
    pub async fn start_to_crash(&self, points: &str) -> Process {
        let process = Process::spawn_to_crash(&self.folder, &self.settings(Role::Commands, json!({})), points);
        process.until_ready().await;
        process
    }

    /// Starts role Commands from environment variables alone, without Kafka.
    pub async fn start_from_environment(&self) -> Process {
        let uri = std::fs::read_to_string(self.folder.join("database/uri")).unwrap();
        let process = Process::spawn_with(&self.folder, process::free_port(), |command, port| {
            command
                .env("TIDEGATE_ROLE", "Commands")
                .env("TIDEGATE_HTTP_PORT", port.to_string())
                .env("DATABASE_URL", &uri)
                .env("KAFKA_ENABLED", "false");
        });
        process.until_ready().await;
        process
    }

    fn settings(&self, role: Role, wallet: Value) -> Value {
        let path = |of: &str| json!({"path": self.folder.join(of)});
        let (role_name, processor) = match role {
            Role::Commands => ("Commands", "commands"),
            Role::Publisher => ("Publisher", "publisher"),
            Role::Ledger => ("LedgerProjector", "ledger-projector"),
            Role::ReadModel => ("ReadModelProjector", "read-model-projector"),
        };
        let mut run = json!({"role": role_name});
        for (key, value) in wallet.as_object().unwrap() {
            run[key] = value.clone();
        }
        let mut settings = json!({
            "version": 1,
            "identity": {"namespace": "test", "pipeline": self.name, "processor": processor},
            "kafka": path("kafka"),
            "database": path("database"),
            "run": {"wallet": run},
            "http": {"port": process::free_port(), "auth": "None"},
        });
        match role {
            Role::Commands | Role::Publisher => settings["produces"] = json!([self.name]),
            _ => {
                settings["consumes"] = json!({"topics": [self.name], "group": format!("{}-{processor}", self.name), "startAt": "Earliest"});
            }
        }
        settings
    }

    /// The topic from its beginning, as a read_committed consumer sees it, until it holds that many records, and then some: what
    /// comes behind them is read too.
    pub async fn topic(&self, records: usize) -> Vec<Record> {
        kafka::read(&self.environment, &self.name, records).await
    }

    /// Removes every record of the topic, as retention does with old ones.
    pub async fn empty_topic(&self) {
        kafka::empty(&self.environment, &self.name).await;
    }

    /// Waits until both projections have applied what commands have written.
    pub async fn until_caught_up(&self) {
        eventually("the projections have caught up", async || {
            let sum = async |table: &str| -> i64 {
                let query = format!("SELECT coalesce(sum(version), 0)::bigint FROM {table}");
                sqlx::query_scalar(sqlx::AssertSqlSafe(query)).fetch_one(&self.pool).await.unwrap()
            };
            let (written, booked, shown) =
                (sum("wallet_state").await, sum("ledger_watermarks").await, sum("wallet_read_model").await);
            if (booked, shown) == (written, written) {
                Ok(())
            } else {
                Err(format!("{written} events written, {booked} booked, {shown} shown"))
            }
        })
        .await;
    }

    /// Cuts every connection to the database but one's own, as a database does that goes down.
    pub async fn cut_connections(&self) {
        sqlx::query(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE datname = current_database() AND application_name <> 'wallet-test'",
        )
        .execute(&self.pool)
        .await
        .unwrap();
    }

    /// Each wallet's version and balance as a table has it.
    pub async fn balances(&self, table: &str) -> BTreeMap<String, (i64, i64)> {
        let query = format!("SELECT wallet_id, version, balance FROM {table}");
        let rows: Vec<(String, i64, i64)> =
            sqlx::query_as(sqlx::AssertSqlSafe(query)).fetch_all(&self.pool).await.unwrap();
        rows.into_iter().map(|(wallet, version, balance)| (wallet, (version, balance))).collect()
    }
}

fn bind(folder: &std::path::Path, keys: &[(&str, &str)]) {
    std::fs::create_dir_all(folder).unwrap();
    for (key, value) in keys {
        std::fs::write(folder.join(key), value).unwrap();
    }
}

/// Asks again and again until it is so; what it last said is what the failure says.
pub async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Result<T, String>) -> T {
    let ends = tokio::time::Instant::now() + SOON;
    loop {
        match ask().await {
            Ok(answer) => return answer,
            Err(said) if tokio::time::Instant::now() >= ends => panic!("it did not come about that {what}: {said}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}
