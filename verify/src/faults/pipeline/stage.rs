//! Where a run takes place: a namespace, a database, a port and names in Kafka that are its own, made and taken away again; and the hands
//! on what is in them.

use std::{collections::BTreeSet, time::Duration};

use k8s_openapi::api::core::v1::{Namespace, Service};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, DynamicObject, ListParams},
};
use rdkafka::{
    admin::{AdminClient, AdminOptions},
    client::DefaultClientContext,
    consumer::{BaseConsumer, Consumer},
};
use reqwest::Url;
use serde_json::{Value, json};
use tidegate_kafka::Krafka;

use super::wanted::{BANK, Resource, Wanted};
use crate::{
    environment::Environment,
    faults::{
        FaultError,
        cluster::{Cluster, wait_for},
        records::blocking,
    },
    resources::{apply, as_json, event_pipelines, kafka_topics},
    tenant::Tenant,
};

/// What a run's namespace is labelled with, so that the next run finds what a killed one left.
const LABEL: (&str, &str) = ("tidegate.dev/faults", "pipeline");
const MANAGER: &str = "faults";
/// The port of the local cluster's node at which the bank answers: hack/kind.yaml publishes it, and nothing of hack/up has it.
const PORT: u16 = 30086;
/// How long the operator may take to let go of a resource.
const GONE_WITHIN: Duration = Duration::from_secs(300);
const REQUEST: Duration = Duration::from_secs(15);

/// The place of a run.
pub struct Stage {
    /// The run's name: its namespace, and what its topics and groups begin with.
    pub run: String,
    /// The run's own wallet, in the local cluster.
    pub environment: Environment,
    /// Pods and their processes.
    pub cluster: Cluster,
    /// Kubernetes.
    pub client: Client,
    /// Kafka's administration.
    pub kafka: Krafka,
    tenant: Tenant,
}

/// EventPipelines or KafkaTopics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// KafkaTopic.
    Topic,
    /// EventPipeline.
    Pipeline,
}

impl Stage {
    /// The place of a run that has not begun, or of an earlier one.
    pub async fn of(local: &Environment, run: &str) -> Result<Self, FaultError> {
        let tenant = Tenant { namespace: run.into(), database: run.replace('-', "_") };
        let mut environment = local.clone();
        environment.wallet_url = format!("http://127.0.0.1:{PORT}");
        let bad = |what: &str| FaultError::Missing(format!("{what} in WALLET_DATABASE_URL"));
        let mut url = Url::parse(&local.wallet_database_url).map_err(|_| bad("a URL"))?;
        url.set_username(&tenant.database).map_err(|()| bad("a user"))?;
        url.set_password(Some(&tenant.database)).map_err(|()| bad("a password"))?;
        url.set_path(&tenant.database);
        environment.wallet_database_url = url.into();
        Ok(Self {
            run: run.into(),
            kafka: environment.kafka.administration(),
            cluster: Cluster::connect(&environment.node).await?,
            client: Client::try_default().await.map_err(FaultError::kubernetes("connecting to Kubernetes"))?,
            environment,
            tenant,
        })
    }

    /// The run's own wallet, and what it calls its topics.
    pub fn environment_of(&self, wanted: &Wanted) -> Environment {
        Environment { streams: wanted.streams(), ..self.environment.clone() }
    }

    /// Makes the namespace, the database, the Secrets and the port.
    pub async fn set_up(&self) -> Result<(), FaultError> {
        let labels = json!({LABEL.0: LABEL.1, "pod-security.kubernetes.io/enforce": "restricted"});
        let namespace =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.run, "labels": labels}});
        let made = apply(&self.namespaces(), MANAGER, &self.run, &namespace).await;
        made.map_err(FaultError::kubernetes("making a namespace"))?;
        self.tenant.furnish(&self.client, &self.environment.kafka, MANAGER).await?;
        let service = json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "bank-from-outside"},
            "spec": {
                "type": "NodePort",
                "selector": {"tidegate.dev/pipeline": BANK, "tidegate.dev/processor": "commands"},
                "ports": [{"name": "http", "port": 8080, "targetPort": "http", "nodePort": PORT}],
            },
        });
        let services: Api<Service> = Api::namespaced(self.client.clone(), &self.run);
        let made = apply(&services, MANAGER, "bank-from-outside", &service).await;
        made.map(drop).map_err(FaultError::kubernetes("making a Service at port 30086, which another run may have"))
    }

    /// Runs that were killed before they had cleaned up.
    pub async fn leftovers(&self) -> Result<Vec<String>, FaultError> {
        let labelled = ListParams::default().labels(&format!("{}={}", LABEL.0, LABEL.1));
        let found = self.namespaces().list(&labelled).await.map_err(FaultError::kubernetes("listing namespaces"))?;
        Ok(found.items.iter().map(ResourceExt::name_any).collect())
    }

    /// Takes away all that the run has made; the operator, what it has made for it.
    pub async fn clean_up(&self) -> Result<(), FaultError> {
        for kind in [Kind::Pipeline, Kind::Topic] {
            for found in self.resources(kind).await? {
                self.delete(kind, &found.name_any()).await?;
            }
        }
        for kind in [Kind::Pipeline, Kind::Topic] {
            for found in self.resources(kind).await? {
                self.is_gone(kind, &found.name_any()).await?;
            }
        }
        let deleted = self.namespaces().delete(&self.run, &DeleteParams::background()).await;
        missing_is_fine(deleted.map(drop), "deleting a namespace")?;
        wait_for(&format!("namespace {} is gone", self.run), GONE_WITHIN, async || {
            let found = self.namespaces().get_opt(&self.run).await.map_err(|error| error.to_string())?;
            found.map_or(Ok(()), |found| Err(format!("it is there: {:?}", found.status)))
        })
        .await?;
        self.tenant.drop_database().await?;
        self.forget_topics_and_groups().await
    }

    async fn forget_topics_and_groups(&self) -> Result<(), FaultError> {
        let doing = "deleting the run's topics and groups";
        let topics: Vec<String> = self.topics().await?.into_iter().collect();
        let kafka = self.environment.kafka.clone();
        let prefixes = [format!("{}-", self.run), format!("kafka-publisher.{}.", self.run)];
        let groups = blocking(move || {
            let consumer: BaseConsumer = kafka.client_config().create().map_err(FaultError::kafka(doing))?;
            let found = consumer.fetch_group_list(None, REQUEST).map_err(FaultError::kafka(doing))?;
            let names = found.groups().iter().map(|group| group.name().to_owned());
            Ok(names.filter(|name| prefixes.iter().any(|prefix| name.starts_with(prefix))).collect::<Vec<_>>())
        })
        .await?;
        let admin: AdminClient<DefaultClientContext> =
            self.environment.kafka.client_config().create().map_err(FaultError::kafka(doing))?;
        // One that is gone already is no trouble: each has an answer of its own.
        if !topics.is_empty() {
            let names: Vec<&str> = topics.iter().map(String::as_str).collect();
            admin.delete_topics(&names, &AdminOptions::new()).await.map_err(FaultError::kafka(doing))?;
        }
        if !groups.is_empty() {
            let names: Vec<&str> = groups.iter().map(String::as_str).collect();
            admin.delete_groups(&names, &AdminOptions::new()).await.map_err(FaultError::kafka(doing))?;
        }
        Ok(())
    }

    /// The run's topics, as Kafka lists them.
    pub async fn topics(&self) -> Result<BTreeSet<String>, FaultError> {
        let doing = "listing topics";
        let kafka = self.environment.kafka.clone();
        let prefix = format!("{}-", self.run);
        blocking(move || {
            let consumer: BaseConsumer = kafka.client_config().create().map_err(FaultError::kafka(doing))?;
            let metadata = consumer.fetch_metadata(None, REQUEST).map_err(FaultError::kafka(doing))?;
            let names = metadata.topics().iter().map(|topic| topic.name().to_owned());
            Ok(names.filter(|name| name.starts_with(&prefix)).collect())
        })
        .await
    }

    /// KafkaTopics or EventPipelines of the run.
    pub fn api(&self, kind: Kind) -> Api<DynamicObject> {
        match kind {
            Kind::Topic => kafka_topics(&self.client, &self.run),
            Kind::Pipeline => event_pipelines(&self.client, &self.run),
        }
    }

    /// Those that there are.
    pub async fn resources(&self, kind: Kind) -> Result<Vec<DynamicObject>, FaultError> {
        let listed = self.api(kind).list(&ListParams::default()).await;
        listed.map(|list| list.items).map_err(FaultError::kubernetes("listing resources"))
    }

    /// `kubectl apply` of a resource.
    pub async fn apply(&self, kind: Kind, name: &str, resource: &Resource) -> Result<(), FaultError> {
        let kind_name = if kind == Kind::Topic { "KafkaTopic" } else { "EventPipeline" };
        let object = json!({
            "apiVersion": "tidegate.dev/v1alpha1", "kind": kind_name,
            "metadata": {"name": name, "annotations": resource.annotations}, "spec": resource.spec,
        });
        let applied = apply(&self.api(kind), MANAGER, name, &object).await;
        applied.map(drop).map_err(FaultError::kubernetes("applying a resource"))
    }

    /// Everything that is asked for.
    pub async fn apply_all(&self, wanted: &Wanted) -> Result<(), FaultError> {
        for (kind, resources) in [(Kind::Topic, &wanted.topics), (Kind::Pipeline, &wanted.pipelines)] {
            for (name, resource) in resources.iter().filter(|(_, resource)| resource.there) {
                self.apply(kind, name, resource).await?;
            }
        }
        Ok(())
    }

    /// `kubectl delete --wait=false` of a resource.
    pub async fn delete(&self, kind: Kind, name: &str) -> Result<(), FaultError> {
        let deleted = self.api(kind).delete(name, &DeleteParams::default()).await;
        missing_is_fine(deleted.map(drop), "deleting a resource")
    }

    /// Waits until a resource that was deleted is gone.
    pub async fn is_gone(&self, kind: Kind, name: &str) -> Result<(), FaultError> {
        wait_for(&format!("{kind:?} {name} is gone"), GONE_WITHIN, async || {
            match self.api(kind).get_opt(name).await.map_err(|error| error.to_string())? {
                Some(found) if found.metadata.deletion_timestamp.is_some() => {
                    let found: Value = as_json(&found);
                    Err(format!(
                        "finalizers {}, status {}",
                        found["metadata"]["finalizers"], found["status"]["conditions"]
                    ))
                }
                // Somebody has made another one.
                Some(_) | None => Ok(()),
            }
        })
        .await
    }

    fn namespaces(&self) -> Api<Namespace> {
        Api::all(self.client.clone())
    }
}

/// What is gone need not be deleted.
pub fn missing_is_fine(done: Result<(), kube::Error>, doing: &'static str) -> Result<(), FaultError> {
    match done {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        other => other.map_err(FaultError::kubernetes(doing)),
    }
}
