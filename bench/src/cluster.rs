//! The cluster of `hack/up`, and what a run makes on it for itself and clears away.

use std::{
    io::Write,
    process::{Command, Stdio},
    str::FromStr,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    consumer::{BaseConsumer, Consumer},
};
use serde_json::{Value, json};
use sqlx::{
    AssertSqlSafe, Connection, PgConnection, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tidegate_settings::binding::{KafkaConnection, KafkaSecurity, ScramMechanism, Secret};
use tidegate_verify::environment::{Environment, Kafka};
use uuid::Uuid;

/// How long anything may take that only prepares or clears away.
const PATIENCE: Duration = Duration::from_secs(60);

/// The cluster.
pub struct Cluster {
    /// Kafka and the wallet.
    pub environment: Environment,
    /// PostgreSQL, as its administrator.
    admin: PgConnectOptions,
    admin_url: String,
    /// Distinguishes this run's topics, databases and groups from those of others.
    run: String,
}

/// What a run has made, so that it goes when the run does.
#[derive(Default)]
pub struct Scratch {
    databases: Vec<String>,
    topics: Vec<String>,
    groups: Vec<String>,
}

impl Cluster {
    /// Reads the variables of `hack/env`.
    pub fn from_env() -> anyhow::Result<Self> {
        let environment = Environment::from_env()?;
        let admin_url = std::env::var("DATABASE_ADMIN_URL").context("DATABASE_ADMIN_URL is not set; run hack/bench")?;
        // The error could quote the address, which holds a password.
        let Ok(admin) = PgConnectOptions::from_str(&admin_url) else { bail!("DATABASE_ADMIN_URL is not an address") };
        let run = format!("bench-{}", &Uuid::new_v4().simple().to_string()[..8]);
        Ok(Self { environment, admin: admin.application_name("tidegate-bench"), admin_url, run })
    }

    /// A name that no other run uses.
    pub fn name(&self, of: &str) -> String {
        format!("{}-{of}", self.run)
    }

    /// A configuration of librdkafka that connects and nothing more.
    pub fn client(&self) -> ClientConfig {
        self.environment.kafka.client_config()
    }

    /// How the runtime is told where Kafka is.
    pub fn kafka(&self) -> anyhow::Result<KafkaConnection> {
        let Kafka { bootstrap_servers, ca_file, username, password, mechanism } = self.environment.kafka.clone();
        Ok(KafkaConnection {
            bootstrap_servers,
            security: KafkaSecurity::SaslSsl {
                mechanism: ScramMechanism::from_name(&mechanism).context("KAFKA_SASL_MECHANISM is unknown")?,
                username,
                password: Secret::new(password),
                ca_file: Some(ca_file),
            },
        })
    }

    /// A pool of connections to a database that [`Scratch::database`] made.
    pub fn pool(&self, database: &str, most: u32) -> PgPool {
        self.pool_with(database, most, |options| options)
    }

    /// The same, with connections that are special in some way.
    pub fn pool_with(
        &self,
        database: &str,
        most: u32,
        special: impl FnOnce(PgConnectOptions) -> PgConnectOptions,
    ) -> PgPool {
        let pool = PgPoolOptions::new().max_connections(most).acquire_timeout(PATIENCE);
        pool.connect_lazy_with(special(self.admin.clone().database(database)))
    }

    /// The address of a database, password included.
    pub fn url(&self, database: &str) -> anyhow::Result<String> {
        let (server, query) = self.admin_url.split_once('?').unwrap_or((&self.admin_url, ""));
        let (server, _) = server.rsplit_once('/').context("DATABASE_ADMIN_URL names no database")?;
        Ok(format!("{server}/{database}?{query}"))
    }

    /// Where the wallet answers, past the program by which Docker publishes ports on 127.0.0.1: that takes about as much of the processors
    /// as the service itself, and the reference has nothing like it. The published address where the node cannot be reached.
    pub async fn wallet_url(&self) -> anyhow::Result<String> {
        let published = &self.environment.wallet_url;
        let address = "jsonpath={.items[0].status.addresses[?(@.type==\"InternalIP\")].address}";
        let node = String::from_utf8(kubectl(&["get", "nodes", "-o", address], None).await?)?;
        let port = published.trim_end_matches('/').rsplit_once(':').context("the wallet's address has no port")?.1;
        let direct = format!("{node}:{port}");
        let connected = tokio::time::timeout(Duration::from_secs(1), tokio::net::TcpStream::connect(&direct)).await;
        Ok(if matches!(connected, Ok(Ok(_))) { format!("http://{direct}") } else { published.clone() })
    }

    /// Writes what is dirty to disk, so that no run pays for the one before it.
    pub async fn checkpoint(&self) -> anyhow::Result<()> {
        self.execute("CHECKPOINT".into()).await
    }

    /// What was measured.
    pub async fn versions(&self) -> anyhow::Result<Value> {
        let mut connection = PgConnection::connect_with(&self.admin).await.context("connecting to PostgreSQL")?;
        let postgres: String = sqlx::query_scalar("SHOW server_version").fetch_one(&mut connection).await?;
        connection.close().await?;
        let told = |name: &str| std::env::var(name).ok();
        Ok(json!({
            "tidegate": told("TIDEGATE_BENCH_REVISION").unwrap_or_else(|| env!("CARGO_PKG_VERSION").to_owned()),
            "kafka": told("TIDEGATE_BENCH_KAFKA"),
            "postgres": postgres,
            "librdkafka": rdkafka::util::get_rdkafka_version().1,
        }))
    }

    async fn execute(&self, statement: String) -> anyhow::Result<()> {
        let mut connection = PgConnection::connect_with(&self.admin).await.context("connecting to PostgreSQL")?;
        sqlx::query(AssertSqlSafe(statement)).execute(&mut connection).await?;
        Ok(connection.close().await?)
    }

    fn admin(&self) -> anyhow::Result<AdminClient<DefaultClientContext>> {
        Ok(self.client().create()?)
    }
}

impl Scratch {
    /// Makes an empty database; its name.
    pub async fn database(&mut self, cluster: &Cluster, of: &str) -> anyhow::Result<String> {
        let name = cluster.name(of);
        cluster.execute(format!("CREATE DATABASE \"{name}\"")).await.context("creating a database")?;
        self.databases.push(name.clone());
        Ok(name)
    }

    /// Drops a database before the run ends: it takes room.
    pub async fn drop_database(&mut self, cluster: &Cluster, name: &str) -> anyhow::Result<()> {
        cluster.execute(format!("DROP DATABASE \"{name}\" WITH (FORCE)")).await.context("dropping a database")?;
        self.databases.retain(|database| database != name);
        Ok(())
    }

    /// Makes a topic and waits until every partition has a leader; its name.
    pub async fn topic(
        &mut self,
        cluster: &Cluster,
        of: &str,
        partitions: i32,
        replicas: i32,
    ) -> anyhow::Result<String> {
        let name = cluster.name(of);
        self.topic_called(cluster, &name, partitions, replicas).await?;
        Ok(name)
    }

    /// The same, where somebody else says what it is called.
    pub async fn topic_called(
        &mut self,
        cluster: &Cluster,
        name: &str,
        partitions: i32,
        replicas: i32,
    ) -> anyhow::Result<()> {
        let in_sync = if replicas > 1 { "2" } else { "1" };
        let topic =
            NewTopic::new(name, partitions, TopicReplication::Fixed(replicas)).set("min.insync.replicas", in_sync);
        let made = cluster.admin()?.create_topics([&topic], &options()).await.context("creating a topic")?;
        self.topics.push(name.to_owned());
        if let Some(Err((_, code))) = made.first() {
            bail!("creating topic {name}: {code}");
        }
        let (client, topic) = (cluster.client(), name.to_owned());
        tokio::task::spawn_blocking(move || {
            let reader: BaseConsumer = client.create()?;
            let ends = Instant::now() + PATIENCE;
            loop {
                let metadata = reader.fetch_metadata(Some(&topic), PATIENCE)?;
                let led = |found: &rdkafka::metadata::MetadataTopic| {
                    found.partitions().len() == partitions as usize
                        && found.partitions().iter().all(|p| p.leader() >= 0)
                };
                if metadata.topics().iter().any(led) {
                    return Ok(());
                }
                ensure!(Instant::now() < ends, "topic {topic} has no leaders");
                std::thread::sleep(Duration::from_millis(100));
            }
        })
        .await?
    }

    /// A group's name, whose offsets are forgotten in the end.
    pub fn group(&mut self, cluster: &Cluster, of: &str) -> String {
        let name = cluster.name(of);
        self.groups.push(name.clone());
        name
    }

    /// Clears everything away; what cannot be is said, and left.
    pub async fn clear(self, cluster: &Cluster) {
        for name in self.databases {
            if let Err(error) = cluster.execute(format!("DROP DATABASE \"{name}\" WITH (FORCE)")).await {
                eprintln!("database {name} is left behind: {error:#}");
            }
        }
        let Ok(admin) = cluster.admin() else { return };
        let topics: Vec<&str> = self.topics.iter().map(String::as_str).collect();
        if !topics.is_empty()
            && let Err(error) = admin.delete_topics(&topics, &options()).await
        {
            eprintln!("topics {} are left behind: {error}", topics.join(", "));
        }
        let groups: Vec<&str> = self.groups.iter().map(String::as_str).collect();
        if !groups.is_empty() {
            // A group that was never used is not there.
            let _ = admin.delete_groups(&groups, &options()).await;
        }
    }
}

fn options() -> AdminOptions {
    AdminOptions::new().operation_timeout(Some(PATIENCE)).request_timeout(Some(PATIENCE))
}

/// Runs kubectl; what it printed.
pub async fn kubectl(arguments: &[&str], input: Option<&str>) -> anyhow::Result<Vec<u8>> {
    let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
    let input = input.map(str::to_owned);
    tokio::task::spawn_blocking(move || run_kubectl(&arguments, input.as_deref())).await?
}

fn run_kubectl(arguments: &[String], input: Option<&str>) -> anyhow::Result<Vec<u8>> {
    let mut command = Command::new("kubectl");
    command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
    let mut child = command.spawn().context("running kubectl")?;
    if let (Some(input), Some(mut stdin)) = (input, child.stdin.take()) {
        stdin.write_all(input.as_bytes()).context("writing to kubectl")?;
    }
    let output = child.wait_with_output().context("waiting for kubectl")?;
    ensure!(
        output.status.success(),
        "kubectl {}: {}",
        arguments.first().map(String::as_str).unwrap_or_default(),
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(output.stdout)
}

/// Runs a shell command in PostgreSQL's pod; what it printed.
pub async fn in_postgres(command: &str, input: Option<&str>) -> anyhow::Result<String> {
    let mut arguments = vec!["-n", "postgres", "exec"];
    if input.is_some() {
        arguments.push("-i");
    }
    arguments.extend(["postgres-0", "--", "sh", "-c", command]);
    let output = kubectl(&arguments, input).await.context("in PostgreSQL's pod")?;
    Ok(String::from_utf8_lossy(&output).into_owned())
}
