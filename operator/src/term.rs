//! One leadership: both controllers and what runs beside them, from taking the lease to losing it. Dropping it drops every
//! request that is under way.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use futures::{FutureExt, Stream, StreamExt, TryStreamExt, future::BoxFuture, stream};
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, Client, Resource, ResourceExt,
    core::PartialObjectMeta,
    runtime::{
        Controller, PredicateConfig, WatchStreamExt, controller,
        reflector::{self, ObjectRef, Store, store::Writer},
        watcher,
    },
};
use serde::de::DeserializeOwned;
use tidegate_crds::KafkaTopic;
use tidegate_kafka::{AdminOptions, Krafka, Tally};
use tidegate_settings::binding::{self, BindingError, KafkaConnection};
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tokio_util::sync::CancellationToken;

use crate::{
    alerts::kinds::Served,
    busy::Busy,
    config::{Config, ConnectionConfig},
    context::{Context, Filling},
    dead_letters::Desk,
    events::Events,
    gateway::Gateway,
    lag::{self, Readings},
    metrics::Metrics,
    neighbours,
    pipeline::{
        self,
        children::{Child, Children},
        memory::PipelineMemories,
        users,
    },
    scaling::Scalers,
    topic::{self, drift, memory::TopicMemories},
};

/// Topics that are worked on at once; their Kafka requests travel together.
const TOPICS_AT_ONCE: u16 = 256;
/// Pipelines that are worked on at once.
const PIPELINES_AT_ONCE: u16 = 16;
/// How long a reading of lag waits for a broker: the others' partitions are wanted soon.
const LAG_PATIENCE: Duration = Duration::from_secs(5);
/// How often the mounted connections are read again.
const LOOK_AT_BINDINGS: Duration = Duration::from_secs(30);
/// What the operator manages carries this.
const MANAGED: &str = "app.kubernetes.io/managed-by=tidegate";

/// Kafka connections by name.
pub type Bindings = BTreeMap<String, KafkaConnection>;

/// Reads the connections of the configuration.
///
/// # Errors
/// When a binding cannot be read.
pub fn bindings(config: &Config) -> Result<Bindings, BindingError> {
    let read = |(name, connection): (&String, &ConnectionConfig)| Ok((name.clone(), binding::kafka(&connection.path)?));
    config.connections.iter().map(read).collect()
}

/// Waits until a binding reads otherwise than it did: a password was changed, say.
pub async fn changed(config: &Config, bindings: &Bindings) {
    loop {
        tokio::time::sleep(LOOK_AT_BINDINGS).await;
        match self::bindings(config) {
            Ok(now) if now == *bindings => {}
            Ok(_) => return,
            // Half of a change: the other half comes.
            Err(error) => tracing::warn!(%error, "a connection cannot be read at the moment"),
        }
    }
}

/// Opens the connections. None of them is contacted yet.
pub fn connections(bindings: &Bindings, config: &Config, metrics: &Metrics) -> BTreeMap<String, Gateway> {
    let open = |(name, connection): (&String, &KafkaConnection)| {
        let options =
            AdminOptions { client_id: format!("{}-operator", config.installation_id), ..AdminOptions::default() };
        let admin = Krafka::new(connection.clone(), options, metrics.kafka.clone());
        let mut reached_by = connection.clone();
        if let Some(servers) = config.connections.get(name).and_then(|connection| connection.bootstrap_servers.clone())
        {
            reached_by.bootstrap_servers = servers;
        }
        let requests = Tally::default();
        let lag = admin.beside(LAG_PATIENCE, requests.clone());
        (name.clone(), Gateway::new(Arc::new(admin)).with_lag(Arc::new(lag), requests).reached_by(reached_by))
    };
    bindings.iter().map(open).collect()
}

/// Leads until `stop`, and then until what is being reconciled is done.
pub async fn lead(
    client: Client,
    config: Arc<Config>,
    connections: BTreeMap<String, Gateway>,
    events: Events,
    (metrics, desk): (Metrics, Desk),
    stop: CancellationToken,
) {
    let served = Served::learn(&client).await;
    let (topics, topics_writer) = reflector::store();
    let (pipelines, pipelines_writer) = reflector::store();
    let (topic_triggers, topic_requests) = mpsc::unbounded_channel();
    let (pipeline_triggers, pipeline_requests) = mpsc::unbounded_channel();
    let mut filling = Filling::default();
    let (topics_filled, pipelines_filled) = (filling.store(), filling.store());
    let (children, child_watches) = children(&client, topics.clone(), served, &mut filling);
    let context = Arc::new(Context {
        client: client.clone(),
        config,
        connections,
        busy: Busy::default(),
        filling,
        topics: topics.clone(),
        pipelines: pipelines.clone(),
        children,
        served,
        readings: Readings::default(),
        scalers: Scalers::default(),
        topic_memories: TopicMemories::default(),
        pipeline_memories: PipelineMemories::default(),
        users: users::Memories::default(),
        topic_triggers,
        pipeline_triggers,
        events,
        metrics,
    });
    let _shown = desk.open(&context);

    let neighbours = context.clone();
    let topic_events =
        watched(watcher(Api::all(client.clone()), watcher::Config::default()), topics_writer, topics_filled, true)
            .inspect_ok(move |topic| neighbours::of_topic(&neighbours, topic))
            .predicate_filter(meant, PredicateConfig::default());
    let topic_controller = Controller::for_stream(topic_events, topics.clone())
        .with_config(controller::Config::default().concurrency(TOPICS_AT_ONCE))
        .reconcile_on(UnboundedReceiverStream::new(topic_requests))
        .run(topic::reconcile, topic::on_error, context.clone())
        .for_each(async |result| log(result));

    let neighbours = context.clone();
    let pipeline_events =
        watched(watcher(Api::all(client), watcher::Config::default()), pipelines_writer, pipelines_filled, true)
            .inspect_ok(move |pipeline| neighbours::of_pipeline(&neighbours, pipeline))
            .predicate_filter(meant, PredicateConfig::default());
    let pipeline_controller = Controller::for_stream(pipeline_events, pipelines)
        .with_config(controller::Config::default().concurrency(PIPELINES_AT_ONCE))
        .reconcile_on(UnboundedReceiverStream::new(pipeline_requests))
        .run(pipeline::reconcile, pipeline::on_error, context.clone())
        .for_each(async |result| log(result));

    let watches = stream::iter(child_watches).for_each_concurrent(None, |watch| watch(context.clone()));
    tokio::select! {
        _ = futures::future::join(topic_controller, pipeline_controller) => {}
        () = watches => {}
        () = async { stop.cancelled().await; context.busy.idle().await } => {}
        () = drift::run(context.clone()) => {}
        () = users::watch::run(context.clone()) => {}
        () = lag::run(context.clone()) => {}
        () = served.changed(&context.client) => {}
    }
}

/// A watch that fills a store and tells the owners, for as long as it is polled.
type Watch = Box<dyn FnOnce(Arc<Context>) -> BoxFuture<'static, ()> + Send>;

/// Stores of what is made for pipelines, and the watches that fill them.
fn children(
    client: &Client,
    topics: Store<KafkaTopic>,
    served: Served,
    filling: &mut Filling,
) -> (Children, Vec<Watch>) {
    let managed = || watcher::Config::default().labels(MANAGED);
    let (deployments, writer) = reflector::store();
    let events = watched(watcher(Api::all(client.clone()), managed()), writer, filling.store(), false);
    let mut watches: Vec<Watch> = vec![telling(events, |context, object: &_| {
        neighbours::of_child(context, Resource::meta(object));
    })];
    let (service_accounts, watch) = metadata_child(client, filling);
    watches.push(watch);
    let (config_maps, watch) = metadata_child(client, filling);
    watches.push(watch);
    let (services, watch) = metadata_child(client, filling);
    watches.push(watch);
    let (budgets, watch) = metadata_child(client, filling);
    watches.push(watch);
    let prometheus_rules = served_child(served.prometheus_rules, client, filling, &mut watches);
    let pod_monitors = served_child(served.pod_monitors, client, filling, &mut watches);
    let (secrets, writer) = reflector::store::<PartialObjectMeta<Secret>>();
    let events = watched(watcher(Api::all(client.clone()), watcher::Config::default()), writer, filling.store(), true);
    watches.push(telling(events, neighbours::of_secret));
    let children = Children {
        deployments,
        service_accounts,
        config_maps,
        services,
        budgets,
        prometheus_rules,
        pod_monitors,
        topics,
        secrets,
    };
    (children, watches)
}

/// Of a kind that the cluster may not serve: nothing is there then, and nothing is watched.
fn served_child<K: Child + DeserializeOwned>(
    served: bool,
    client: &Client,
    filling: &mut Filling,
    watches: &mut Vec<Watch>,
) -> Store<PartialObjectMeta<K>> {
    if !served {
        return reflector::store().0;
    }
    let (store, watch) = metadata_child(client, filling);
    watches.push(watch);
    store
}

fn metadata_child<K: Child + DeserializeOwned>(
    client: &Client,
    filling: &mut Filling,
) -> (Store<PartialObjectMeta<K>>, Watch) {
    let (store, writer) = reflector::store::<PartialObjectMeta<K>>();
    let events = watcher(Api::all(client.clone()), watcher::Config::default().labels(MANAGED));
    let watch = telling(watched(events, writer, filling.store(), true), |context, object: &PartialObjectMeta<K>| {
        neighbours::of_child(context, &object.metadata);
    });
    (store, watch)
}

fn telling<K: Send + 'static>(
    events: impl Stream<Item = Result<K, watcher::Error>> + Send + 'static,
    tell: impl Fn(&Context, &K) + Send + Sync + 'static,
) -> Watch {
    Box::new(move |context| {
        events
            .for_each(move |event| {
                match event {
                    Ok(object) => tell(&context, &object),
                    Err(error) => tracing::warn!(%error, "a watch failed and is opened again"),
                }
                std::future::ready(())
            })
            .boxed()
    })
}

/// Objects as they change, each in the store before it is seen here. `lean`: without their managed fields.
fn watched<K, W>(
    events: W,
    writer: Writer<K>,
    filled: CancellationToken,
    lean: bool,
) -> impl Stream<Item = Result<K, watcher::Error>> + Send + use<K, W>
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned + Send + Sync + 'static,
    W: Stream<Item = Result<watcher::Event<K>, watcher::Error>> + Send + 'static,
{
    events
        .default_backoff()
        .modify(move |object| {
            if lean {
                object.managed_fields_mut().clear();
            }
        })
        .reflect(writer)
        .inspect_ok(move |event| {
            if matches!(event, watcher::Event::InitDone) {
                filled.cancel();
            }
        })
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

fn log<K, E>(result: Result<(ObjectRef<K>, controller::Action), controller::Error<E, watcher::Error>>)
where
    K: Resource<DynamicType = ()>,
    E: std::error::Error + 'static,
{
    match result {
        Ok((object, _)) => tracing::debug!(%object, "reconciled"),
        // Logged where it is known what was being done; and a trigger for what is gone.
        Err(controller::Error::ReconcilerFailed(..) | controller::Error::ObjectNotFound(_)) => {}
        Err(error) => tracing::warn!(%error, "a watch failed and is opened again"),
    }
}
