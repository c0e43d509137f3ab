//! What happens when partitions come and go. Runs on the member's own thread, which may wait.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, OnceLock, PoisonError, Weak, mpsc},
    time::{Duration, Instant},
};

use futures::future::BoxFuture;
use rdkafka::{
    ClientContext, TopicPartitionList,
    config::RDKafkaLogLevel,
    consumer::{
        BaseConsumer, CommitMode, Consumer, ConsumerContext, RebalanceProtocol, StreamConsumer,
        stream_consumer::StreamPartitionQueue,
    },
    error::{KafkaError, KafkaResult},
    statistics::Statistics,
    types::RDKafkaRespErr,
};
use tokio::{runtime::Handle, task::AbortHandle};
use tokio_util::sync::CancellationToken;

use super::{ConsumerMetrics, GroupProtocol, MemberHealth, offsets::Offsets, retries::Retries};
use crate::kafka;

pub(super) type MemberConsumer = StreamConsumer<MemberContext>;

/// A partition that this member owns.
pub(super) struct Assigned {
    pub(super) topic: Arc<str>,
    pub(super) partition: i32,
    /// Its records, and nobody else's.
    pub(super) queue: StreamPartitionQueue<MemberContext>,
    pub(super) consumer: Arc<MemberConsumer>,
    /// Cancelled when it is about to be somebody else's: take no more records in, finish what is under way.
    pub(super) draining: CancellationToken,
    /// Cancelled when it is somebody else's: nothing more may be written for it.
    pub(super) lost: CancellationToken,
}

/// The task of a partition.
struct Running {
    draining: CancellationToken,
    lost: CancellationToken,
    abort: AbortHandle,
    /// Disconnected when the task has ended, however it did.
    ended: mpsc::Receiver<()>,
}

pub(super) struct MemberContext {
    /// Set once the consumer is made, which needs the context first.
    pub(super) consumer: OnceLock<Weak<MemberConsumer>>,
    /// Makes the task of a partition.
    pub(super) task: Box<dyn Fn(Assigned) -> BoxFuture<'static, ()> + Send + Sync>,
    pub(super) runtime: Handle,
    pub(super) protocol: GroupProtocol,
    pub(super) drain: Duration,
    pub(super) offsets: Arc<Offsets>,
    pub(super) retries: Option<Arc<Retries>>,
    pub(super) health: Arc<MemberHealth>,
    pub(super) metrics: ConsumerMetrics,
    running: Mutex<HashMap<(String, i32), Running>>,
}

impl MemberContext {
    pub(super) fn new(
        task: Box<dyn Fn(Assigned) -> BoxFuture<'static, ()> + Send + Sync>,
        (protocol, drain): (GroupProtocol, Duration),
        (offsets, retries): (Arc<Offsets>, Option<Arc<Retries>>),
        (health, metrics): (Arc<MemberHealth>, ConsumerMetrics),
    ) -> Self {
        Self {
            consumer: OnceLock::new(),
            task,
            runtime: Handle::current(),
            protocol,
            drain,
            offsets,
            retries,
            health,
            metrics,
            running: Mutex::default(),
        }
    }

    fn assign(&self, base: &BaseConsumer<Self>, list: &TopicPartitionList) -> KafkaResult<()> {
        // None while the consumer is being closed: nothing is taken in then.
        let consumer = self.consumer.get().and_then(Weak::upgrade);
        let mut queues = Vec::new();
        for element in list.elements() {
            let (topic, partition) = (element.topic().to_owned(), element.partition());
            // Before the assignment, so that not one record goes to the common queue.
            let queue = consumer.as_ref().and_then(|consumer| consumer.split_partition_queue(&topic, partition));
            queues.extend(queue.map(|queue| (topic, partition, queue)));
        }
        match base.rebalance_protocol() {
            RebalanceProtocol::Cooperative => base.incremental_assign(list)?,
            _ => base.assign(list)?,
        }
        let Some(consumer) = consumer else { return Ok(()) };
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        for (topic, partition, queue) in queues {
            let (draining, lost) = (CancellationToken::new(), CancellationToken::new());
            let (alive, ended) = mpsc::channel::<()>();
            let assigned = Assigned {
                topic: topic.as_str().into(),
                partition,
                queue,
                consumer: Arc::clone(&consumer),
                draining: draining.clone(),
                lost: lost.clone(),
            };
            let task = (self.task)(assigned);
            let task = self.runtime.spawn(async move {
                let _alive = alive;
                task.await;
            });
            self.metrics.assigned(&topic, 1);
            running.insert((topic, partition), Running { draining, lost, abort: task.abort_handle(), ended });
        }
        Ok(())
    }

    /// Lets the tasks of those partitions finish what they have begun, within the limit; what does not finish is abandoned, which
    /// loses nothing: it is not committed, and comes again. `lost`: they are somebody else's already.
    fn drain(&self, partitions: impl Iterator<Item = (String, i32)>, lost: bool) {
        let mut ending = Vec::new();
        {
            let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
            for key in partitions {
                ending.extend(running.remove(&key).map(|task| (key, task)));
            }
        }
        for (_, task) in &ending {
            if lost {
                task.lost.cancel();
            }
            task.draining.cancel();
        }
        let deadline = Instant::now() + self.drain;
        for ((topic, partition), task) in ending {
            self.metrics.assigned(&topic, -1);
            let left = deadline.saturating_duration_since(Instant::now());
            if task.ended.recv_timeout(left) == Err(mpsc::RecvTimeoutError::Timeout) {
                tracing::warn!(topic, partition, "what did not finish in time is abandoned");
                task.lost.cancel();
                task.abort.abort();
                // Its records' queue must be let go of before anybody reads the partition again.
                let _ = task.ended.recv_timeout(Duration::from_secs(1));
            }
        }
    }

    /// Ends all tasks: the member is leaving.
    pub(super) fn drain_all(&self) {
        let all: Vec<_> = self.running.lock().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect();
        self.drain(all.into_iter(), false);
    }

    /// Tells Kafka how far partitions are, and waits for the answer.
    pub(super) fn tell(&self, consumer: &impl Consumer<Self>) {
        let begun = Instant::now();
        match self.offsets.tell(|list| consumer.commit(list, CommitMode::Sync)) {
            Ok(told) => {
                let elements = told.iter().flat_map(TopicPartitionList::elements);
                let topics: HashSet<String> = elements.map(|element| element.topic().to_owned()).collect();
                for topic in topics {
                    self.metrics.committed(&topic, begun.elapsed());
                }
            }
            Err(error) => tracing::warn!(%error, "offsets could not be committed to Kafka yet"),
        }
        if let Some(retries) = &self.retries {
            retries.tell();
        }
    }
}

impl ClientContext for MemberContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        kafka::log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        kafka::log_error(&error, reason);
    }

    /// A member of a KIP-848 group that is given no partitions hears nothing; that its coordinator has been there for a while, and
    /// nothing was refused, has to do.
    fn stats(&self, statistics: Statistics) {
        let Some(group) = statistics.cgrp else { return };
        if self.protocol == GroupProtocol::Consumer && group.state == "up" && group.stateage > 6_000 {
            self.health.set_joined(true);
        }
    }
}

impl ConsumerContext for MemberContext {
    fn rebalance(&self, base: &BaseConsumer<Self>, event: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let begun = Instant::now();
        let partitions: Vec<_> =
            list.elements().iter().map(|element| (element.topic().to_owned(), element.partition())).collect();
        let (kind, changed) = if event == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            let assigned = self.assign(base, list);
            self.health.set_joined(assigned.is_ok());
            ("assigned", assigned)
        } else {
            let lost = base.assignment_lost();
            self.drain(partitions.iter().cloned(), lost);
            if !lost {
                self.tell(base);
            }
            self.offsets.forget(list);
            let revoked = match base.rebalance_protocol() {
                RebalanceProtocol::Cooperative => base.incremental_unassign(list),
                _ => base.unassign(),
            };
            ("revoked", revoked)
        };
        self.metrics.rebalanced(kind, begun.elapsed());
        self.health.polled();
        tracing::info!(?partitions, seconds = begun.elapsed().as_secs_f64(), "partitions {kind}");
        if let Err(error) = changed {
            tracing::error!(%error, "the assignment could not be changed");
        }
    }
}
