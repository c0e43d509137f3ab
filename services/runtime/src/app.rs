//! A process from its first line to its last: settings, log, parts, the server, and an end in which nothing is lost.

use std::{
    error::Error,
    future::Future,
    path::PathBuf,
    process::ExitCode,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use clap::Parser;
use sqlx::{PgPool, migrate::Migrator};
use tidegate_settings::{Generation, Resolved, Settings};
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use crate::{
    consumer::{
        BatchHandler, Consumer, ConsumerConfig, ConsumerError, ConsumerMetrics, Each, Handler, MemberHealth,
        Projection, Records, Rows, Together, Transform, generation,
    },
    database::{self, DatabaseError},
    http::{Api, Check, Health, Shell},
    kafka::Brokers,
    outbox::{Relay, RelayConfig, RelayHandle},
    producer::Producer,
    rotation::Rotation,
    shutdown::Shutdown,
    telemetry::{self, Metrics},
};

/// Whatever made a start fail. `anyhow::Error` becomes one by `?`.
pub type StartError = Box<dyn Error + Send + Sync>;

/// What a binary is.
#[derive(Clone, Copy, Debug)]
pub struct Program {
    /// Service's name, as the settings know it: `wallet`.
    pub service: &'static str,
    /// `env!("CARGO_PKG_VERSION")`.
    pub version: &'static str,
}

#[derive(Debug, Parser)]
struct Arguments {
    /// Settings file. Without it the operator's mount is read if it is there, and else environment variables.
    #[arg(long, value_name = "FILE")]
    settings: Option<PathBuf>,
}

/// What must be there and is not.
#[derive(Debug, thiserror::Error)]
enum Missing {
    #[error("this role needs Kafka, and the settings name none")]
    Kafka,
    #[error("this role needs a topic to write to, and the settings name none")]
    Produces,
    #[error("this role needs topics to read from, and the settings name none")]
    Consumes,
}

/// How long parts may take to end once the server has. Together less than the half minute that Kubernetes gives.
const DRAIN: Duration = Duration::from_secs(15);
/// How long records under way may take to be acknowledged after that.
const FLUSH: Duration = Duration::from_secs(3);
/// Connections of a process to its database.
const CONNECTIONS: u32 = 16;

/// Runs a program: reads its settings, hands an [`App`] to `start`, and returns what `main` returns.
pub fn main<F, Fut>(program: Program, start: F) -> ExitCode
where
    F: FnOnce(App) -> Fut,
    Fut: Future<Output = Result<(), StartError>>,
{
    let arguments = Arguments::parse();
    telemetry::start_log();
    crate::arm_crash_points();
    let ran = tidegate_settings::resolve(program.service, arguments.settings.as_deref())
        .map_err(StartError::from)
        .and_then(|resolved| {
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
            runtime.block_on(async {
                let app = App::new(program, resolved);
                app.shutdown.on_signals()?;
                start(app).await
            })
        });
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = %chain(&*error), "the process ends");
            ExitCode::FAILURE
        }
    }
}

/// The error and what caused it, in one line.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        // Many errors quote their source already.
        if !line.contains(&text) {
            line = format!("{line}: {text}");
        }
        cause = error.source();
    }
    line
}

/// A process that is starting: what it was told, and what its parts share.
pub struct App {
    program: Program,
    resolved: Resolved,
    brokers: Option<Brokers>,
    producer: OnceLock<Producer>,
    metrics: Metrics,
    health: Health,
    shutdown: Shutdown,
    /// Ends after the server has, so that what the last requests committed is still published.
    background: Shutdown,
    tasks: TaskTracker,
    failure: Arc<Mutex<Option<StartError>>>,
}

impl App {
    /// An app of those settings, inside a runtime. For `main` there is [`main`].
    pub fn new(program: Program, resolved: Resolved) -> Self {
        for warning in &resolved.warnings {
            tracing::warn!("{warning}");
        }
        let identity = resolved.settings.identity.to_string();
        tracing::info!(service = program.service, version = program.version, instance = identity, "starting");
        let mut app = Self {
            program,
            resolved,
            brokers: None,
            producer: OnceLock::new(),
            metrics: Metrics::default(),
            health: Health::default(),
            shutdown: Shutdown::new(),
            background: Shutdown::new(),
            tasks: TaskTracker::new(),
            failure: Arc::default(),
        };
        app.brokers = app.watched_brokers();
        app
    }

    /// How to reach Kafka; watched where it is mounted, and fixed where it comes from the environment.
    fn watched_brokers(&self) -> Option<Brokers> {
        let connection = self.resolved.kafka.clone()?;
        let Some(binding) = &self.resolved.settings.kafka else { return Some(connection.into()) };
        let (brokers, rotation) = Rotation::new(binding.path.clone().into(), connection, &self.metrics);
        let shutdown = self.background.clone();
        self.spawn("watching the binding of Kafka", async move {
            rotation.run(shutdown).await;
            Ok(())
        });
        Some(brokers)
    }

    /// The settings.
    pub fn settings(&self) -> &Settings {
        &self.resolved.settings
    }

    /// The metrics, to register one's own.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The health, to add one's own checks.
    pub fn health(&self) -> &Health {
        &self.health
    }

    /// The end of the process.
    pub fn shutdown(&self) -> &Shutdown {
        &self.shutdown
    }

    /// How to reach Kafka, now and after passwords or certificates have changed; an error when the settings name none.
    pub fn kafka(&self) -> Result<Brokers, StartError> {
        Ok(self.brokers.clone().ok_or(Missing::Kafka)?)
    }

    /// The process's producer, which all its parts share; an error when the settings name no Kafka.
    pub fn producer(&self) -> Result<Producer, StartError> {
        if let Some(producer) = self.producer.get() {
            return Ok(producer.clone());
        }
        let producer = Producer::new(self.kafka()?, &self.resolved.client_id, &self.metrics)?;
        Ok(self.producer.get_or_init(|| producer).clone())
    }

    /// Whether the settings name a Kafka.
    pub fn kafka_enabled(&self) -> bool {
        self.resolved.kafka.is_some()
    }

    /// Connects to the database, waiting for it if need be, and brings the runtime's tables and then the service's up to date.
    pub async fn database(&self, migrator: &Migrator) -> Result<PgPool, StartError> {
        let connection = self.resolved.database.as_ref().ok_or(DatabaseError::Missing)?;
        let pool = database::connect(connection, &self.resolved.client_id, CONNECTIONS).await?;
        database::migrate_runtime(&pool).await?;
        database::migrate(migrator, &pool).await?;
        Ok(pool)
    }

    /// Starts the relay of the outbox in that database. Its position is kept at the first topic that the settings let it produce to.
    pub fn publish_outbox(&self, pool: PgPool) -> Result<RelayHandle, StartError> {
        let identity = &self.settings().identity;
        let topic = self.settings().produces.first().ok_or(Missing::Produces)?;
        let config =
            RelayConfig::new(&self.resolved.client_id, &format!("{}.{}", identity.namespace, identity.pipeline), topic);
        let (handle, relay) = Relay::new(config, self.kafka()?, pool, &self.metrics);
        let shutdown = self.background.clone();
        self.spawn("outbox relay", async move {
            relay.run(shutdown).await;
            Ok(())
        });
        Ok(handle)
    }

    /// The generation that a projection is to work in, begun if the settings say so: everything that it had made is removed then.
    /// To be asked before [`project`](Self::project), and before anything is written for the projection.
    pub async fn generation(&self, pool: &PgPool, projection: &impl Projection) -> Result<Generation, StartError> {
        let consumes = self.settings().consumes.as_ref().ok_or(Missing::Consumes)?;
        Ok(generation::begin(pool, &consumes.group, self.settings().generation.as_ref(), projection).await?)
    }

    /// Starts a projection of the topics that the settings name, in that generation.
    pub fn project(
        &self,
        pool: PgPool,
        projection: impl Projection,
        generation: Generation,
    ) -> Result<Arc<MemberHealth>, StartError> {
        let mut consumer = self.consumer(Rows { pool, projection })?;
        // A transaction costs much the same for many records as for one.
        let config = &mut consumer.config;
        (config.batch_records, config.batch_wait) = (2000, Duration::from_millis(10));
        config.batch_pace = Duration::from_millis(200);
        config.generation = generation;
        Ok(self.start(Arc::clone(&consumer.health), consumer.run(self.background.clone())))
    }

    /// Starts handling records of the topics that the settings name, one at a time.
    pub fn consume(&self, handler: impl Handler) -> Result<Arc<MemberHealth>, StartError> {
        let consumer = self.consumer(Each(handler))?;
        Ok(self.start(Arc::clone(&consumer.health), consumer.run(self.background.clone())))
    }

    /// Starts handling records of the topics that the settings name, several together.
    pub fn consume_batches(&self, handler: impl BatchHandler) -> Result<Arc<MemberHealth>, StartError> {
        let consumer = self.consumer(Together(handler))?;
        Ok(self.start(Arc::clone(&consumer.health), consumer.run(self.background.clone())))
    }

    /// Starts making records of those of the topics that the settings name.
    pub fn transform(&self, transform: impl Transform) -> Result<Arc<MemberHealth>, StartError> {
        let consumer = self.consumer(Records(transform))?;
        Ok(self.start(Arc::clone(&consumer.health), consumer.run(self.background.clone())))
    }

    fn consumer<W>(&self, work: W) -> Result<Consumer<W>, StartError> {
        let settings = self.settings();
        let consumes = settings.consumes.as_ref().ok_or(Missing::Consumes)?;
        let health = Arc::new(MemberHealth::default());
        let config = ConsumerConfig {
            retry: settings.retry.clone(),
            dead_letter: settings.dead_letter.clone(),
            ..ConsumerConfig::new(&self.resolved.client_id, consumes)
        };
        let metrics = ConsumerMetrics::new(&self.metrics, Arc::clone(&health));
        Ok(Consumer { config, brokers: self.kafka()?, work, metrics, health })
    }

    fn start(
        &self,
        health: Arc<MemberHealth>,
        member: impl Future<Output = Result<(), ConsumerError>> + Send + 'static,
    ) -> Arc<MemberHealth> {
        let (ready, alive) = (Arc::clone(&health), Arc::clone(&health));
        self.health.add(Check::ready("consumer", move || ready.has_joined()).alive(move || alive.is_alive()));
        self.spawn("consumer", async move { Ok(member.await?) });
        health
    }

    /// Runs a part of the process beside the server. If it fails, the process ends.
    pub fn spawn(&self, name: &'static str, part: impl Future<Output = Result<(), StartError>> + Send + 'static) {
        let (shutdown, failure) = (self.shutdown.clone(), Arc::clone(&self.failure));
        self.tasks.spawn(async move {
            // In a task of its own, so that a panic of it is heard of.
            let ended = match tokio::spawn(part).await {
                Ok(ended) => ended,
                Err(error) => Err(format!("{name}: {error}").into()),
            };
            if let Err(error) = ended {
                tracing::error!(part = name, error = %chain(&*error), "a part of the process failed");
                failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                shutdown.begin();
            }
        });
    }

    /// Serves until the process is told to stop; then ends the server, the parts, and returns. An error is that of the first part
    /// that failed.
    pub async fn serve(self, api: impl Into<Api>) -> Result<(), StartError> {
        let shell = Shell {
            service: self.program.service,
            version: self.program.version,
            instance: self.settings().identity.to_string(),
            kafka_enabled: self.kafka_enabled(),
            health: self.health.clone(),
            metrics: self.metrics.clone(),
            shutdown: self.shutdown.clone(),
        };
        let served = shell.serve(self.settings().http.port, api.into()).await;
        self.shutdown.begin();
        self.background.begin();
        self.tasks.close();
        if timeout(DRAIN, self.tasks.wait()).await.is_err() {
            tracing::error!(seconds = DRAIN.as_secs(), "parts that did not end in time are cut off");
        }
        if let Some(producer) = self.producer.get()
            && timeout(FLUSH, producer.flush()).await.is_err()
        {
            tracing::error!(seconds = FLUSH.as_secs(), "records that brokers did not acknowledge in time are given up");
        }
        let failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner).take();
        match failure {
            Some(error) => Err(error),
            None => Ok(served?),
        }
    }
}
