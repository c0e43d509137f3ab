//! Hands on the local cluster: its pods, their processes, its resources. Everything here is about pods of our own namespaces; a process is
//! found by the uid of its pod in its control group, and signalled inside the node's container.

use std::{collections::BTreeMap, process::Command, time::Duration};

use k8s_openapi::api::{
    apps::v1::{Deployment, StatefulSet},
    coordination::v1::Lease,
    core::v1::Pod,
};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, DynamicObject, ListParams, PostParams},
};
use serde_json::{Value, json};

use super::FaultError;
use crate::resources::event_pipelines;

/// Where the wallet runs, and the name of its EventPipeline.
pub const WALLET: &str = "wallet";
const OPERATOR: &str = "tidegate-system";
const LEASE: &str = "tidegate";

/// How long Kubernetes may take to see that a pod has died or gone.
const NOTICED_WITHIN: Duration = Duration::from_secs(120);

/// A signal to the processes of a pod.
#[derive(Clone, Copy, Debug)]
pub enum Signal {
    /// SIGKILL.
    Kill,
    /// SIGSTOP.
    Stop,
    /// SIGCONT.
    Continue,
}

/// Every process of the pod with uid $1.
const PROCESSES: &str = r#"
processes() {
  grep -lE "pod($1|$(printf %s "$1" | tr - _))" /proc/[0-9]*/cgroup 2>/dev/null | cut -d/ -f3
}
"#;

/// Processes of the pod, but not the one that only holds its namespaces, get signal $2. Prints how many.
const SIGNAL: &str = r#"
count=0
for pid in $(processes "$1"); do
  [ "$(cat "/proc/$pid/comm" 2>/dev/null)" != pause ] || continue
  ! kill "-$2" "$pid" 2>/dev/null || count=$((count + 1))
done
echo "$count"
"#;

/// A rule in the pod's own network namespace, before all others and of a name of its own.
const CUT_OFF: &str = r#"
pid=$(processes "$1" | head -n 1)
for chain in INPUT OUTPUT; do
  nsenter --target "$pid" --net iptables --wait 5 --insert "$chain" --match comment --comment tidegate-faults --jump DROP || exit 1
done
"#;

/// As often as it was done. A pod that has gone has taken its rules along.
const RECONNECT: &str = r#"
pid=$(processes "$1" | head -n 1)
[ -n "$pid" ] || exit 0
for chain in INPUT OUTPUT; do
  while nsenter --target "$pid" --net iptables --wait 5 --delete "$chain" --match comment --comment tidegate-faults --jump DROP 2>/dev/null; do
    :
  done
done
"#;

/// A pod by name and uid: a successor of the same name is another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PodId {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
}

/// The cluster of hack/up.
#[derive(Clone)]
pub struct Cluster {
    client: kube::Client,
    node: String,
}

impl Cluster {
    /// Connects to the API server. `node` is the name of the node's container.
    pub async fn connect(node: &str) -> Result<Self, FaultError> {
        let client = kube::Client::try_default().await.map_err(FaultError::kubernetes("connecting to Kubernetes"))?;
        Ok(Self { client, node: node.into() })
    }

    /// Running pods of one of the wallet's processors.
    pub async fn members(&self, processor: &str) -> Result<Vec<PodId>, FaultError> {
        let selector = format!("tidegate.dev/pipeline={WALLET},tidegate.dev/processor={processor}");
        self.running(WALLET, &selector).await
    }

    /// The pod of a broker.
    pub async fn broker(&self, number: usize) -> Result<PodId, FaultError> {
        self.named("kafka", &format!("kafka-{number}")).await
    }

    /// The pod of PostgreSQL.
    pub async fn postgres(&self) -> Result<PodId, FaultError> {
        self.named("postgres", "postgres-0").await
    }

    /// The operator's pod that leads.
    pub async fn leader(&self) -> Result<PodId, FaultError> {
        let leases: Api<Lease> = Api::namespaced(self.client.clone(), OPERATOR);
        let lease = leases.get(LEASE).await.map_err(FaultError::kubernetes("asking who leads"))?;
        let holder = lease.spec.and_then(|spec| spec.holder_identity).filter(|holder| !holder.is_empty());
        let holder = holder.ok_or_else(|| FaultError::Missing("an operator that leads".into()))?;
        self.named(OPERATOR, &holder).await
    }

    /// Running pods of the operator.
    pub async fn operators(&self) -> Result<Vec<PodId>, FaultError> {
        self.running(OPERATOR, "app.kubernetes.io/component=operator").await
    }

    /// Cuts a pod off: nothing that it sends arrives anywhere, and nothing reaches it.
    pub async fn cut_off(&self, pod: &PodId) -> Result<(), FaultError> {
        self.in_node(format!("cutting pod {} off", pod.name), CUT_OFF, &[&pod.uid]).await.map(drop)
    }

    /// Undoes [`Self::cut_off`], if it was done.
    pub async fn reconnect(&self, pod: &PodId) -> Result<(), FaultError> {
        self.in_node(format!("reconnecting pod {}", pod.name), RECONNECT, &[&pod.uid]).await.map(drop)
    }

    /// Sends a signal to every process of a pod.
    pub async fn signal(&self, pod: &PodId, signal: Signal) -> Result<(), FaultError> {
        let name = match signal {
            Signal::Kill => "KILL",
            Signal::Stop => "STOP",
            Signal::Continue => "CONT",
        };
        let doing = format!("sending {name} to pod {}", pod.name);
        let said = self.in_node(doing.clone(), SIGNAL, &[&pod.uid, name]).await?;
        let reached = said.parse().is_ok_and(|count: u32| count > 0);
        if reached { Ok(()) } else { Err(FaultError::Command { doing, said: format!("{said} processes") }) }
    }

    /// Runs a script inside the node's container; what it printed.
    async fn in_node(&self, doing: String, script: &str, arguments: &[&str]) -> Result<String, FaultError> {
        let mut command = Command::new("docker");
        command.args(["exec", &self.node, "sh", "-c", &format!("{PROCESSES}{script}"), "faults"]).args(arguments);
        let failed = |said: String| FaultError::Command { doing: doing.clone(), said };
        let output = tokio::task::spawn_blocking(move || command.output())
            .await
            .map_err(|panic| failed(panic.to_string()))?
            .map_err(|error| failed(error.to_string()))?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(failed(text(&output.stderr))) }
    }

    /// Kills every process of a pod and waits until the kubelet has begun to start it again.
    pub async fn kill(&self, pod: &PodId) -> Result<(), FaultError> {
        let before = self.incarnation(pod).await?;
        self.signal(pod, Signal::Kill).await?;
        wait_for(&format!("pod {} is started again", pod.name), NOTICED_WITHIN, async || {
            let now = self.incarnation(pod).await.map_err(|error| error.to_string())?;
            if now == before { Err("its containers are the same".into()) } else { Ok(()) }
        })
        .await
    }

    /// Deletes a pod and waits until it is gone.
    pub async fn remove(&self, pod: &PodId, grace: bool) -> Result<(), FaultError> {
        self.delete(pod, grace).await?;
        wait_for(&format!("pod {} is gone", pod.name), NOTICED_WITHIN, async || {
            let there = self.is_there(pod).await.map_err(|error| error.to_string())?;
            if there { Err("it is there".into()) } else { Ok(()) }
        })
        .await
    }

    /// Deletes a pod without grace.
    pub async fn vanish(&self, pod: &PodId) -> Result<(), kube::Error> {
        self.pods(&pod.namespace).delete(&pod.name, &DeleteParams::default().grace_period(0)).await.map(drop)
    }

    /// Deletes a pod: with its grace, or without any.
    async fn delete(&self, pod: &PodId, grace: bool) -> Result<(), FaultError> {
        let parameters = DeleteParams::default();
        let parameters = if grace { parameters } else { parameters.grace_period(0) };
        let deleted = self.pods(&pod.namespace).delete(&pod.name, &parameters).await;
        deleted.map(drop).map_err(FaultError::kubernetes("deleting a pod"))
    }

    /// Replicas of one of the wallet's processors, as its EventPipeline says; none when it says nothing.
    pub async fn replicas(&self, processor: &str) -> Result<Option<i64>, FaultError> {
        let mut pipeline = self.pipeline().await?;
        Ok(entry(&mut pipeline, processor)?.get("replicas").and_then(Value::as_i64))
    }

    /// Sets them.
    pub async fn scale(&self, processor: &str, replicas: Option<i64>) -> Result<(), FaultError> {
        let mut pipeline = self.pipeline().await?;
        let entry = entry(&mut pipeline, processor)?;
        match replicas {
            Some(replicas) => entry.insert("replicas".into(), json!(replicas)),
            None => entry.remove("replicas"),
        };
        let replaced = self.pipelines().replace(WALLET, &PostParams::default(), &pipeline).await;
        replaced.map(drop).map_err(FaultError::kubernetes("scaling a processor"))
    }

    /// Whether the very pod is still there.
    pub async fn is_there(&self, pod: &PodId) -> Result<bool, FaultError> {
        let found = self.pods(&pod.namespace).get_opt(&pod.name).await;
        let found = found.map_err(FaultError::kubernetes("looking for a pod"))?;
        Ok(found.is_some_and(|found| found.uid().as_ref() == Some(&pod.uid)))
    }

    /// What is not as it should be among the workloads: a sentence, or none when every pod is ready.
    pub async fn unwell(&self) -> Result<Option<String>, FaultError> {
        let mut wanted: Vec<(String, i32, i32)> = vec![];
        let doing = "asking for the workloads";
        for namespace in [WALLET, OPERATOR] {
            let api: Api<Deployment> = Api::namespaced(self.client.clone(), namespace);
            for found in api.list(&ListParams::default()).await.map_err(FaultError::kubernetes(doing))? {
                let name = format!("{namespace}/{}", found.name_any());
                let replicas = found.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
                let status = found.status.unwrap_or_default();
                let total = status.replicas.unwrap_or(0);
                let ready = status.ready_replicas.unwrap_or(0).min(status.updated_replicas.unwrap_or(0));
                let known = status.observed_generation == found.metadata.generation && total == replicas;
                wanted.push((name, replicas, if known { ready } else { -1 }));
            }
        }
        for namespace in ["kafka", "postgres"] {
            let api: Api<StatefulSet> = Api::namespaced(self.client.clone(), namespace);
            for found in api.list(&ListParams::default()).await.map_err(FaultError::kubernetes(doing))? {
                let replicas = found.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
                let ready = found.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or(0);
                wanted.push((format!("{namespace}/{}", found.name_any()), replicas, ready));
            }
        }
        if wanted.is_empty() {
            return Err(FaultError::Missing("a workload".into()));
        }
        let waiting = wanted.into_iter().find(|(_, replicas, ready)| replicas != ready);
        Ok(waiting.map(|(name, replicas, ready)| match ready {
            -1 => format!("{name} was being rolled"),
            ready => format!("{name} had {ready} of {replicas} pods ready"),
        }))
    }

    /// Deletes pods that Kubernetes lets wait because it takes our kills for the program's crashes: a new pod starts at once.
    pub async fn relieve(&self) -> Result<(), FaultError> {
        for namespace in [WALLET, "kafka", "postgres"] {
            for pod in self.list(namespace, "").await? {
                let statuses = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
                let waits = statuses
                    .filter_map(|container| container.state.as_ref()?.waiting.as_ref()?.reason.as_deref())
                    .any(|reason| reason == "CrashLoopBackOff");
                if waits && let Some(pod) = identify(namespace, &pod) {
                    self.delete(&pod, true).await?;
                }
            }
        }
        Ok(())
    }

    /// All pods that signals may have been sent to.
    pub async fn all(&self) -> Result<Vec<PodId>, FaultError> {
        let mut all = vec![];
        for namespace in [WALLET, "kafka", OPERATOR] {
            all.extend(self.running(namespace, "").await?);
        }
        Ok(all)
    }

    /// Which containers a pod runs: others after each start, and none once the pod is gone.
    async fn incarnation(&self, pod: &PodId) -> Result<Vec<(i32, Option<String>)>, FaultError> {
        let found = self.pods(&pod.namespace).get_opt(&pod.name).await;
        let found = found.map_err(FaultError::kubernetes("looking for a pod"))?;
        let found = found.filter(|found| found.uid().as_ref() == Some(&pod.uid)).and_then(|found| found.status);
        let containers = found.into_iter().flat_map(|status| status.container_statuses.unwrap_or_default());
        Ok(containers.map(|container| (container.restart_count, container.container_id)).collect())
    }

    /// Running pods of a namespace.
    pub async fn running(&self, namespace: &str, selector: &str) -> Result<Vec<PodId>, FaultError> {
        let is_running = |pod: &&Pod| {
            pod.metadata.deletion_timestamp.is_none()
                && pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Running")
        };
        let pods = self.list(namespace, selector).await?;
        // By name, so that a number chooses the same pod whichever way they are listed.
        let named: BTreeMap<String, PodId> = pods
            .iter()
            .filter(is_running)
            .filter_map(|pod| identify(namespace, pod))
            .map(|pod| (pod.name.clone(), pod))
            .collect();
        Ok(named.into_values().collect())
    }

    async fn named(&self, namespace: &str, name: &str) -> Result<PodId, FaultError> {
        let found = self.pods(namespace).get(name).await.map_err(FaultError::kubernetes("looking for a pod"))?;
        identify(namespace, &found).ok_or_else(|| FaultError::Missing(format!("pod {name}")))
    }

    async fn list(&self, namespace: &str, selector: &str) -> Result<Vec<Pod>, FaultError> {
        let listed = self.pods(namespace).list(&ListParams::default().labels(selector)).await;
        listed.map(|list| list.items).map_err(FaultError::kubernetes("listing pods"))
    }

    async fn pipeline(&self) -> Result<DynamicObject, FaultError> {
        self.pipelines().get(WALLET).await.map_err(FaultError::kubernetes("looking for the wallet's pipeline"))
    }

    fn pipelines(&self) -> Api<DynamicObject> {
        event_pipelines(&self.client, WALLET)
    }

    fn pods(&self, namespace: &str) -> Api<Pod> {
        Api::namespaced(self.client.clone(), namespace)
    }
}

/// Asks until there is an answer, at the latest at the deadline.
pub async fn wait_for<T>(
    what: &str,
    within: Duration,
    mut ask: impl AsyncFnMut() -> Result<T, String>,
) -> Result<T, FaultError> {
    let ends = tokio::time::Instant::now() + within;
    loop {
        // An asking that hangs, as one of a stopped server does, is no answer.
        let asked = tokio::time::timeout(Duration::from_secs(20), ask()).await;
        let found = match asked.unwrap_or_else(|_| Err("no answer in 20 s".into())) {
            Ok(answer) => return Ok(answer),
            Err(found) => found,
        };
        if tokio::time::Instant::now() >= ends {
            return Err(FaultError::Slow { what: what.into(), seconds: within.as_secs(), found });
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// A processor in an EventPipeline.
fn entry<'a>(
    pipeline: &'a mut DynamicObject,
    processor: &str,
) -> Result<&'a mut serde_json::Map<String, Value>, FaultError> {
    let processors = pipeline.data["spec"]["processors"].as_array_mut();
    let found = processors.into_iter().flatten().find(|found| found["name"] == processor);
    found.and_then(Value::as_object_mut).ok_or_else(|| FaultError::Missing(format!("processor {processor}")))
}

fn identify(namespace: &str, pod: &Pod) -> Option<PodId> {
    Some(PodId { namespace: namespace.into(), name: pod.name_any(), uid: pod.uid()? })
}
