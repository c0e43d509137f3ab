//! The loop of a group member: it polls, whatever happens to partitions, so that the group keeps it.

use std::sync::Arc;

use rdkafka::{consumer::Consumer, error::KafkaError, message::Message, types::RDKafkaErrorCode};
use tokio::{
    runtime::Handle,
    sync::oneshot,
    time::{MissedTickBehavior, interval},
};

use super::{
    Projection, Projector,
    context::{MemberConsumer, MemberContext},
    offsets::Untold,
    partition::{self, Shared},
};
use crate::shutdown::Shutdown;

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
    /// The loop's thread is gone.
    #[error("the consumer's thread could not be started, or broke off")]
    Thread,
}

/// Runs a member on a thread of its own: it may have to wait where nothing else may.
pub(super) async fn run<P: Projection>(projector: Projector<P>, shutdown: Shutdown) -> Result<(), ConsumerError> {
    let (result, ended) = oneshot::channel();
    let runtime = Handle::current();
    let thread = std::thread::Builder::new().name("kafka-member".into());
    let started = thread.spawn(move || {
        let _ = result.send(runtime.block_on(member(projector, shutdown)));
    });
    started.map_err(|_| ConsumerError::Thread)?;
    ended.await.unwrap_or(Err(ConsumerError::Thread))
}

async fn member<P: Projection>(projector: Projector<P>, shutdown: Shutdown) -> Result<(), ConsumerError> {
    let Projector { config, kafka, pool, projection, metrics, health } = projector;
    let group = config.group.clone();
    let untold = Arc::new(Untold::default());
    let shared = Arc::new(Shared::new(&config, pool, projection, Arc::clone(&untold), metrics.clone()));
    let task = Box::new(move |assigned| partition::task(Arc::clone(&shared), assigned));
    let context = MemberContext::new(task, (config.protocol, config.drain), untold, (Arc::clone(&health), metrics));
    let consumer: MemberConsumer = config
        .client(&kafka)
        .create_with_context(context)
        .map_err(|source| ConsumerError::Configure { group: group.clone(), source })?;
    let consumer = Arc::new(consumer);
    // Set once, here.
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
    let result = loop {
        tokio::select! {
            biased;
            () = shutdown.begun() => break Ok(()),
            _ = tick.tick() => {
                health.polled();
                context_of(&consumer).tell(&*consumer);
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
        }
    };
    // The tasks finish what they have begun, Kafka is told how far they came, and closing leaves the group at once.
    context_of(&consumer).drain_all();
    context_of(&consumer).tell(&*consumer);
    drop(consumer);
    result
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
