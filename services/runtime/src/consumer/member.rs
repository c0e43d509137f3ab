//! The loop of a group member: it polls, whatever happens to partitions, so that the group keeps it.

use std::sync::{Arc, OnceLock};

use futures::future::BoxFuture;
use rdkafka::{consumer::Consumer as _, error::KafkaError, message::Message, types::RDKafkaErrorCode};
use tidegate_settings::{RetryMode, binding::KafkaConnection};
use tokio::{
    runtime::Handle,
    sync::oneshot,
    task::{JoinHandle, spawn_blocking},
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

use super::{
    ConsumerConfig, ConsumerMetrics, MemberHealth,
    context::{MemberConsumer, MemberContext},
    offsets::Offsets,
    partition::{self, Shared},
    retries::{Retries, Trim},
    transactor::Transactor,
    work::{Consumer, Work},
};
use crate::{kafka::Brokers, shutdown::Shutdown};

/// Why a member cannot go on. The process is to be started again.
#[derive(Debug, thiserror::Error)]
pub enum ConsumerError {
    /// librdkafka does not take its configuration.
    #[error("configuring the consumer of group {group}: {source}")]
    Configure {
        /// The group.
        group: String,
        /// What it said.
        source: KafkaError,
    },
    /// It cannot subscribe.
    #[error("subscribing group {group} to {topics}: {source}")]
    Subscribe {
        /// The group.
        group: String,
        /// The topics.
        topics: String,
        /// What it said.
        source: KafkaError,
    },
    /// The client cannot be used any more.
    #[error("reading as group {group}: {source}")]
    Fatal {
        /// The group.
        group: String,
        /// What it said.
        source: KafkaError,
    },
    /// A record came that no partition's task will see.
    #[error("a record of {topic}/{partition} at {offset} came past its partition's queue")]
    Misrouted {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// The offset.
        offset: i64,
    },
    /// A replay has begun that this process was not told of.
    #[error("group {group} has been replayed since: what this process makes is of no use any more")]
    Superseded {
        /// The group.
        group: String,
    },
    /// The loop's thread is gone.
    #[error("the consumer's thread could not be started, or broke off")]
    Thread,
}

/// Runs a member on a thread of its own: it may have to wait where nothing else may.
pub(super) async fn run<W: Work>(consumer: Consumer<W>, shutdown: Shutdown) -> Result<(), ConsumerError> {
    let (result, ended) = oneshot::channel();
    let runtime = Handle::current();
    let thread = std::thread::Builder::new().name("kafka-member".into());
    let started = thread.spawn(move || {
        let _ = result.send(runtime.block_on(members(consumer, shutdown)));
    });
    started.map_err(|_| ConsumerError::Thread)?;
    ended.await.unwrap_or(Err(ConsumerError::Thread))
}

/// How a member ended.
#[derive(PartialEq, Eq)]
enum Ended {
    /// The process stops.
    Stopping,
    /// The way to the brokers has changed, and is read when clients are made.
    Changed,
}

/// One member after another, each with the connection of its time.
async fn members<W: Work>(consumer: Consumer<W>, shutdown: Shutdown) -> Result<(), ConsumerError> {
    let Consumer { config, mut brokers, work, metrics, health } = consumer;
    let work = Arc::new(work);
    loop {
        let connection = brokers.now();
        metrics.member_started();
        let parts = (Arc::clone(&work), metrics.clone(), Arc::clone(&health));
        match member(&config, &connection, parts, &mut brokers, &shutdown).await? {
            Ended::Stopping => return Ok(()),
            Ended::Changed => {
                tracing::info!(group = config.group, "the way to the brokers has changed: a new member takes over");
                health.set_joined(false);
            }
        }
    }
}

async fn member<W: Work>(
    config: &ConsumerConfig,
    connection: &KafkaConnection,
    (work, metrics, health): (Arc<W>, ConsumerMetrics, Arc<MemberHealth>),
    brokers: &mut Brokers,
    shutdown: &Shutdown,
) -> Result<Ended, ConsumerError> {
    let group = &config.group;
    let configure = |source| ConsumerError::Configure { group: group.clone(), source };
    let parks = config.retry.as_ref().is_some_and(|retry| retry.mode() == RetryMode::Topic);
    let retries = if parks { Some(Arc::new(Retries::new(config, connection).map_err(configure)?)) } else { None };
    let offsets = Arc::new(Offsets::default());
    let superseded = CancellationToken::new();
    // The tasks need what needs the consumer, which needs the context, which makes the tasks.
    let shared = Arc::new(OnceLock::<Arc<Shared<W>>>::new());
    let task = {
        let shared = Arc::clone(&shared);
        Box::new(move |assigned| match shared.get() {
            Some(shared) => partition::task(Arc::clone(shared), assigned),
            None => Box::pin(std::future::ready(())) as BoxFuture<'static, ()>,
        })
    };
    let context = MemberContext::new(
        task,
        (config.protocol, config.drain),
        (Arc::clone(&offsets), retries.clone()),
        (Arc::clone(&health), metrics.clone()),
    );
    let consumer: MemberConsumer = config.client(connection).create_with_context(context).map_err(configure)?;
    let consumer = Arc::new(consumer);
    let transacts = W::TRANSACTS || parks || config.dead_letter.is_some();
    let transactor = if transacts {
        let started = Transactor::start(config, connection, Arc::downgrade(&consumer));
        Some(started.map_err(|_| ConsumerError::Thread)?)
    } else {
        None
    };
    // Both are set once, here.
    let _ = shared.set(Arc::new(Shared {
        config: config.clone(),
        work,
        offsets,
        retries: retries.clone(),
        transactor,
        metrics,
        superseded: superseded.clone(),
    }));
    let _ = context_of(&consumer).consumer.set(Arc::downgrade(&consumer));
    let topics: Vec<_> = config.topics.iter().map(String::as_str).collect();
    consumer.subscribe(&topics).map_err(|source| ConsumerError::Subscribe {
        group: group.clone(),
        topics: topics.join(", "),
        source,
    })?;
    tracing::info!(group, ?topics, "subscribed");

    let mut tick = interval(config.commit_interval);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut trim = Trim::new(config, connection);
    let mut telling: Option<JoinHandle<()>> = None;
    let result = loop {
        tokio::select! {
            biased;
            () = shutdown.begun() => break Ok(Ended::Stopping),
            () = brokers.changed() => break Ok(Ended::Changed),
            () = superseded.cancelled() => break Err(ConsumerError::Superseded { group: group.clone() }),
            _ = tick.tick() => {
                health.polled();
                if telling.as_ref().is_none_or(JoinHandle::is_finished) {
                    let consumer = Arc::clone(&consumer);
                    telling = Some(spawn_blocking(move || context_of(&consumer).tell(&*consumer)));
                }
                if let Some(retries) = &retries {
                    trim.turn(&retries.offsets);
                }
            }
            received = consumer.recv() => match received {
                Ok(record) => break Err(ConsumerError::Misrouted {
                    topic: record.topic().to_owned(),
                    partition: record.partition(),
                    offset: record.offset(),
                }),
                Err(source @ KafkaError::MessageConsumptionFatal(_)) => {
                    break Err(ConsumerError::Fatal { group: group.clone(), source });
                }
                Err(error) => {
                    if is_refusal(&error) {
                        health.set_joined(false);
                        tracing::error!(group, %error, "Kafka refuses");
                    } else {
                        tracing::warn!(group, %error, "Kafka says");
                    }
                }
            },
            // It has nothing to say but errors: its partitions have queues of their own.
            Err(error) = heard(retries.as_deref()) => tracing::warn!(group, %error, "Kafka says of retry topics"),
        }
    };
    // The tasks finish what they have begun, Kafka is told how far they came, and closing leaves the group at once.
    context_of(&consumer).drain_all();
    context_of(&consumer).tell(&*consumer);
    if let Some(telling) = telling {
        let _ = telling.await; // It has the consumer, too, which is to be closed here.
    }
    drop(consumer);
    result
}

async fn heard(retries: Option<&Retries>) -> Result<(), KafkaError> {
    match retries {
        Some(retries) => retries.consumer.recv().await.map(drop),
        None => std::future::pending().await,
    }
}

fn context_of(consumer: &MemberConsumer) -> &MemberContext {
    consumer.client().context()
}

/// Whether waiting will not help; somebody has to grant, create or correct something.
fn is_refusal(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::GroupAuthorizationFailed
                | RDKafkaErrorCode::TopicAuthorizationFailed
                | RDKafkaErrorCode::ClusterAuthorizationFailed
                | RDKafkaErrorCode::Authentication
                | RDKafkaErrorCode::SaslAuthenticationFailed
                | RDKafkaErrorCode::UnknownTopicOrPartition
                | RDKafkaErrorCode::UnknownTopic
                | RDKafkaErrorCode::InvalidGroupId
        )
    )
}
