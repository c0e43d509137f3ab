//! Does what a plan says, and undoes it. What is owed is written down before it is done, so that an interrupted run can pay.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use rdkafka::consumer::{BaseConsumer, Consumer};
use tokio::time::sleep;

use super::{
    Fault, FaultError, Kind, Target,
    cluster::{Cluster, PodId, Signal, wait_for},
    records::{LARGE, Poison, PutAside, Records, blocking, poisons, unique},
    rounds::Inject,
    tables::Tables,
};
use crate::{
    environment::{Environment, Kafka},
    load,
};

/// How long the cluster may take to be well again after a round.
const WELL_WITHIN: Duration = Duration::from_secs(300);
const UNDONE_WITHIN: Duration = Duration::from_secs(120);
/// The most pods of a projector.
const SCALED: i64 = 3;

/// Something that was done and must be undone.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Debt {
    /// A pod's processes were stopped.
    Stopped(PodId),
    /// A processor was scaled; what its replicas were.
    Scaled(&'static str, Option<i64>),
    /// A table refuses rows.
    Refuses,
}

/// What makes trouble.
pub struct Injector {
    environment: Environment,
    cluster: Cluster,
    records: Records,
    tables: Tables,
    wallets: load::Options,
    debts: Mutex<Vec<Debt>>,
}

impl Injector {
    /// Makes trouble for a load.
    pub async fn new(environment: &Environment, wallets: &load::Options) -> Result<Self, FaultError> {
        let records = insist("Kafka says where its topics end", async || Records::new(&environment.kafka).await);
        Ok(Self {
            environment: environment.clone(),
            cluster: Cluster::connect(&environment.node).await?,
            records: records.await?,
            tables: Tables::new(&environment.wallet_database_url),
            wallets: wallets.clone(),
            debts: Mutex::default(),
        })
    }

    /// Why a kind cannot be injected here; none when it can.
    pub async fn obstacle(&self, kind: Kind) -> Result<Option<String>, FaultError> {
        insist("Kafka describes the wallet's topics", async || match kind {
            Kind::Poison | Kind::PoisonedWallet | Kind::RetryStorm => self.records.are_deadly().await,
            Kind::Large => match self.records.are_deadly().await? {
                None => self.records.are_too_large().await,
                why => Ok(why),
            },
            _ => Ok(None),
        })
        .await
    }

    async fn make(&self, fault: &Fault<Kind>) -> Result<(), FaultError> {
        let cluster = &self.cluster;
        match (fault.kind, &fault.target) {
            (Kind::MemberKill, Target::Processor(processor, which)) => {
                cluster.kill(&self.member(processor, *which).await?).await
            }
            (Kind::MemberPause | Kind::MemberStop, Target::Processor(processor, which)) => {
                self.stop(self.member(processor, *which).await?, fault.hold).await
            }
            (Kind::MemberDelete | Kind::MemberVanish, Target::Processor(processor, which)) => {
                let pod = self.member(processor, *which).await?;
                cluster.remove(&pod, fault.kind == Kind::MemberDelete).await
            }
            (Kind::Scale, Target::Processor(processor, _)) => self.scale(processor, fault.hold).await,
            (Kind::BrokerKill, Target::Broker(broker)) => cluster.kill(&cluster.broker(*broker).await?).await,
            (Kind::BrokerPause, Target::Broker(broker)) => self.stop(cluster.broker(*broker).await?, fault.hold).await,
            (Kind::BrokerDelete, Target::Broker(broker)) => {
                cluster.remove(&cluster.broker(*broker).await?, false).await
            }
            (Kind::PostgresKill, _) => cluster.kill(&cluster.postgres().await?).await,
            // Never without grace: a second server would start on the folder of the first.
            (Kind::PostgresRestart, _) => cluster.remove(&cluster.postgres().await?, true).await,
            (Kind::Disconnect, _) => self.tables.cut_connections(fault.hold).await,
            (Kind::OperatorKill, _) => cluster.remove(&cluster.leader().await?, false).await,
            (Kind::Poison, _) => self.poison(poisons(&unique("poison")), Duration::ZERO).await,
            (Kind::Large, _) => {
                let large = Poison { key: Some(unique("large")), value: vec![b'x'; LARGE] };
                self.poison(vec![large], Duration::ZERO).await
            }
            (Kind::PoisonedWallet, Target::Wallet(which)) => {
                let wallet = self.wallets.wallet(which % self.wallets.wallets as usize);
                let poison = Poison { key: Some(wallet), value: b"{\"eventType\": \"Money".to_vec() };
                self.poison(vec![poison], fault.hold).await
            }
            (Kind::TableLock, Target::Table(table)) => {
                insist(&format!("{table} is locked"), async || self.tables.lock(table, fault.hold).await).await
            }
            (Kind::RetryStorm, Target::Table(table)) => self.storm(table, fault.hold).await,
            (kind, target) => Err(FaultError::Missing(format!("a way to do {kind} to {target:?}"))),
        }
    }

    /// Undoes whatever is still owed, and what an earlier run that was killed may have left.
    pub async fn undo_all(&self) -> Result<(), FaultError> {
        for debt in self.owed() {
            self.pay(&debt).await?;
        }
        for pod in self.cluster.all().await? {
            // A pod that goes away meanwhile needs nothing.
            let _ = self.cluster.signal(&pod, Signal::Continue).await;
        }
        self.undo_tables().await
    }

    /// Lets go on what dead letters of this run hold up; how many keys' words were said.
    pub async fn release(&self) -> Result<usize, FaultError> {
        insist("quarantined keys are let go", async || self.records.release().await).await
    }

    /// What the groups have put aside so far.
    pub async fn put_aside(&self) -> Result<PutAside, FaultError> {
        self.records.put_aside().await
    }

    async fn unwell(&self) -> Result<Option<String>, FaultError> {
        self.cluster.relieve().await?;
        if let Some(unwell) = self.cluster.unwell().await? {
            return Ok(Some(unwell));
        }
        self.tables.answer().await?;
        let partitions = out_of_sync(&self.environment.kafka).await?;
        Ok((partitions > 0).then(|| format!("{partitions} partitions had replicas that were not in sync")))
    }

    async fn member(&self, processor: &str, which: usize) -> Result<PodId, FaultError> {
        let mut pods = self.cluster.members(processor).await?;
        if pods.is_empty() {
            return Err(FaultError::Missing(format!("a pod of {processor}")));
        }
        Ok(pods.swap_remove(which % pods.len()))
    }

    async fn stop(&self, pod: PodId, hold: Duration) -> Result<(), FaultError> {
        let debt = self.owe(Debt::Stopped(pod.clone()));
        self.cluster.signal(&pod, Signal::Stop).await?;
        sleep(hold).await;
        self.pay(&debt).await
    }

    async fn scale(&self, processor: &'static str, hold: Duration) -> Result<(), FaultError> {
        let before = self.cluster.replicas(processor).await?;
        let debt = self.owe(Debt::Scaled(processor, before));
        self.cluster.scale(processor, Some(SCALED)).await?;
        wait_for(&format!("{processor} has {SCALED} pods"), WELL_WITHIN, async || {
            let pods = self.cluster.members(processor).await.map_err(|error| error.to_string())?;
            if pods.len() as i64 >= SCALED { Ok(()) } else { Err(format!("{} run", pods.len())) }
        })
        .await?;
        sleep(hold).await;
        self.pay(&debt).await
    }

    async fn storm(&self, table: &str, hold: Duration) -> Result<(), FaultError> {
        let debt = self.owe(Debt::Refuses);
        insist(&format!("{table} refuses rows"), async || self.tables.refuse(table).await).await?;
        sleep(hold).await;
        self.pay(&debt).await?;
        self.release().await.map(drop)
    }

    /// Sends poison, and once it is buried and the time is over lets its keys go on.
    async fn poison(&self, poisons: Vec<Poison>, hold: Duration) -> Result<(), FaultError> {
        let mut places = vec![];
        for poison in poisons {
            places.push(self.records.send(poison).await?);
        }
        self.records.are_buried(&places).await?;
        sleep(hold).await;
        self.release().await.map(drop)
    }

    async fn undo_tables(&self) -> Result<(), FaultError> {
        insist("the tables accept rows again", async || self.tables.accept().await).await
    }

    fn owe(&self, debt: Debt) -> Debt {
        self.debts.lock().unwrap_or_else(PoisonError::into_inner).push(debt.clone());
        debt
    }

    fn owed(&self) -> Vec<Debt> {
        self.debts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn pay(&self, debt: &Debt) -> Result<(), FaultError> {
        match debt {
            Debt::Stopped(pod) => {
                insist(&format!("pod {} goes on", pod.name), async || {
                    // A pod that has gone needs nothing.
                    if !self.cluster.is_there(pod).await? {
                        return Ok(());
                    }
                    self.cluster.signal(pod, Signal::Continue).await
                })
                .await?;
            }
            Debt::Scaled(processor, before) => {
                insist(&format!("{processor} is scaled back"), async || self.cluster.scale(processor, *before).await)
                    .await?;
            }
            Debt::Refuses => self.undo_tables().await?,
        }
        self.debts.lock().unwrap_or_else(PoisonError::into_inner).retain(|owed| owed != debt);
        Ok(())
    }
}

impl Inject for Injector {
    type Kind = Kind;

    async fn inject(&self, fault: &Fault<Kind>) -> Result<String, FaultError> {
        self.make(fault).await.map(|()| String::new())
    }

    async fn well(&self) -> Result<Option<String>, FaultError> {
        wait_until_well(async || self.unwell().await).await
    }
}

/// Waits until nothing is said to be unwell; what it waited for last, if it had to wait.
pub(super) async fn wait_until_well(
    mut unwell: impl AsyncFnMut() -> Result<Option<String>, FaultError>,
) -> Result<Option<String>, FaultError> {
    let last = Mutex::new(None);
    wait_for("everything is well again", WELL_WITHIN, async || {
        let found = unwell().await.map_err(|error| error.to_string()).and_then(|found| found.map_or(Ok(()), Err));
        if let Err(found) = &found {
            *last.lock().unwrap_or_else(PoisonError::into_inner) = Some(found.clone());
        }
        found
    })
    .await?;
    Ok(last.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// Partitions of any topic with fewer replicas in sync than it has.
pub(super) async fn out_of_sync(kafka: &Kafka) -> Result<usize, FaultError> {
    let kafka = kafka.clone();
    blocking(move || {
        let doing = "asking for the replicas in sync";
        let consumer: BaseConsumer = kafka.client_config().create().map_err(FaultError::kafka(doing))?;
        let metadata = consumer.fetch_metadata(None, Duration::from_secs(15)).map_err(FaultError::kafka(doing))?;
        let partitions = metadata.topics().iter().flat_map(|topic| topic.partitions());
        Ok(partitions.filter(|partition| partition.isr().len() < partition.replicas().len()).count())
    })
    .await
}

/// Asks until there is an answer: what is asked may be down because of an earlier fault.
pub(super) async fn insist<T, E: std::fmt::Display>(
    what: &str,
    mut ask: impl AsyncFnMut() -> Result<T, E>,
) -> Result<T, FaultError> {
    wait_for(what, UNDONE_WITHIN, async || ask().await.map_err(|error| error.to_string())).await
}
