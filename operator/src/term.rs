//! One leadership: both controllers and what runs beside them, from taking the lease to losing it. Dropping it drops every
//! request that is under way.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use futures::{Stream, StreamExt, TryStreamExt};
use kube::{
    Api, Client, Resource, ResourceExt,
    runtime::{
        Controller, PredicateConfig, WatchStreamExt, controller,
        reflector::{self, ObjectRef, Store, store::Writer},
        watcher,
    },
};
use serde::de::DeserializeOwned;
use tidegate_crds::{EventPipeline, KafkaTopic};
use tidegate_kafka::{AdminOptions, Krafka};
use tidegate_settings::binding::{self, BindingError};
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tokio_util::sync::CancellationToken;

use crate::{
    config::Config,
    context::Context,
    events::Events,
    gateway::Gateway,
    metrics::Metrics,
    pipeline::memory::PipelineMemories,
    topic::{self, drift, memory::TopicMemories},
};

/// Topics that are worked on at once; their Kafka requests travel together.
const TOPICS_AT_ONCE: u16 = 256;

/// Opens the connections of the configuration. None of them is contacted yet.
///
/// # Errors
/// When a binding cannot be read.
pub fn connections(config: &Config, metrics: &Metrics) -> Result<BTreeMap<String, Gateway>, BindingError> {
    let open = |(name, connection): (&String, &crate::config::ConnectionConfig)| {
        let options =
            AdminOptions { client_id: format!("{}-operator", config.installation_id), ..AdminOptions::default() };
        let admin = Krafka::new(binding::kafka(&connection.path)?, options, metrics.kafka.clone());
        Ok((name.clone(), Gateway::new(Arc::new(admin))))
    };
    config.connections.iter().map(open).collect()
}

/// Leads until `stop`, and then until what is being reconciled is done.
pub async fn lead(
    client: Client,
    config: Arc<Config>,
    connections: BTreeMap<String, Gateway>,
    events: Events,
    metrics: Metrics,
    stop: CancellationToken,
) {
    let (topics, topics_writer) = reflector::store();
    let (pipelines, pipelines_writer) = reflector::store();
    let (topic_triggers, topic_requests) = mpsc::unbounded_channel();
    let (pipeline_triggers, _pipeline_requests) = mpsc::unbounded_channel();
    let context = Arc::new(Context {
        client: client.clone(),
        config,
        connections,
        topics: topics.clone(),
        pipelines: pipelines.clone(),
        topic_memories: TopicMemories::default(),
        pipeline_memories: PipelineMemories,
        topic_triggers,
        pipeline_triggers,
        events,
        metrics,
    });

    let neighbours = context.clone();
    let topic_events = watched(Api::all(client.clone()), topics_writer)
        .inspect_ok(move |topic| topic_changed(&neighbours, topic))
        .predicate_filter(meant, PredicateConfig::default());
    let topic_controller = Controller::for_stream(topic_events, topics)
        .with_config(controller::Config::default().concurrency(TOPICS_AT_ONCE))
        .reconcile_on(UnboundedReceiverStream::new(topic_requests))
        .graceful_shutdown_on(stop.clone().cancelled_owned())
        .run(after(pipelines.clone(), topic::reconcile), topic::on_error, context.clone())
        .for_each(|result| std::future::ready(log(result)));

    let pipeline_events =
        watched::<EventPipeline>(Api::all(client), pipelines_writer).for_each(|_| std::future::ready(()));
    tokio::select! {
        () = topic_controller => {}
        () = pipeline_events => {}
        () = drift::run(context.clone()) => {}
    }
}

/// Objects as they change, each in the store before it is seen here.
fn watched<K>(api: Api<K>, writer: Writer<K>) -> impl Stream<Item = Result<K, watcher::Error>> + Send + use<K>
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned + Send + Sync + 'static,
{
    watcher(api, watcher::Config::default())
        .default_backoff()
        .modify(|object| object.managed_fields_mut().clear())
        .reflect(writer)
        .touched_objects()
}

/// What people mean of an object: not its status, which is ours.
fn meant<K: Resource>(object: &K) -> Option<u64> {
    let meta = object.meta();
    let mut hasher = DefaultHasher::new();
    (&meta.uid, meta.generation, &meta.annotations, &meta.finalizers, meta.deletion_timestamp.is_some())
        .hash(&mut hasher);
    Some(hasher.finish())
}

/// A topic came, changed or went: those who claim it too look again.
fn topic_changed(context: &Context, topic: &KafkaTopic) {
    let uid = topic.metadata.uid.as_deref().unwrap_or_default();
    let gone = context.topics.get(&ObjectRef::from_obj(topic)).is_none();
    if gone {
        context.topic_memories.forget(uid);
    }
    if gone || topic.metadata.deletion_timestamp.is_some() {
        let name = topic.topic_name();
        for other in context.topics.state_filter(|other| other.topic_name() == name && other.uid() != topic.uid()) {
            let _ = context.topic_triggers.send(ObjectRef::from_obj(other.as_ref()));
        }
    }
}

/// A reconciler that begins once a store that it reads is filled.
fn after<K, O, F, Fut, T, E>(
    store: Store<O>,
    reconcile: F,
) -> impl FnMut(Arc<K>, Arc<Context>) -> futures::future::BoxFuture<'static, Result<T, E>>
where
    O: Resource<DynamicType = ()> + Clone + 'static + Send + Sync,
    F: Fn(Arc<K>, Arc<Context>) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<T, E>> + Send,
    K: Send + Sync + 'static,
{
    move |object, context| {
        let (store, reconcile) = (store.clone(), reconcile.clone());
        Box::pin(async move {
            // The writer lives as long as the leadership, and so does this.
            let _ = store.wait_until_ready().await;
            reconcile(object, context).await
        })
    }
}

fn log<K, E>(result: Result<(ObjectRef<K>, controller::Action), controller::Error<E, watcher::Error>>)
where
    K: Resource<DynamicType = ()>,
    E: std::error::Error + 'static,
{
    match result {
        Ok((object, _)) => tracing::debug!(%object, "reconciled"),
        // Logged where it is known what was being done.
        Err(controller::Error::ReconcilerFailed(..)) => {}
        // A trigger for what is gone.
        Err(controller::Error::ObjectNotFound(_)) => {}
        Err(error) => tracing::warn!(%error, "a watch failed and is opened again"),
    }
}
