//! Does what a plan says to the operator, the brokers and what is asked of both, and undoes it.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::{sync::Mutex as AsyncMutex, time::sleep};

use super::{
    Kind, Target,
    behind::Behind,
    edit::{self, Edit},
    orphans::kept,
    stage::{self, Stage},
    wanted::{BANK, PRICES, Wanted},
};
use crate::{
    faults::{
        Fault, FaultError, Sorted,
        cluster::{PodId, Signal},
        inject::{insist, out_of_sync, wait_until_well},
        rounds::Inject,
    },
    random::Random,
};

/// What is asked for at the moment, and what was asked for once.
#[derive(Debug)]
struct State {
    wanted: Wanted,
    /// Topics that stay when nothing asks for them any more.
    retained: BTreeSet<String>,
    /// Edits so far.
    serial: u32,
    /// Orders were asked to be read again.
    again: bool,
}

/// Something that was done and must be undone.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Debt {
    /// A pod's processes were stopped.
    Stopped(PodId),
    /// A pod was cut off.
    CutOff(PodId),
}

/// What makes trouble for pipelines.
pub struct Injector<'a> {
    stage: &'a Stage,
    state: AsyncMutex<State>,
    debts: Mutex<Vec<Debt>>,
}

impl<'a> Injector<'a> {
    /// Makes trouble for what is asked for.
    pub fn new(stage: &'a Stage, wanted: Wanted) -> Self {
        let state = State { retained: kept(&wanted), wanted, serial: 0, again: false };
        Self { stage, state: AsyncMutex::new(state), debts: Mutex::default() }
    }

    /// What is asked for, and the topics that are kept though nothing asks for them.
    pub async fn wanted(&self) -> (Wanted, BTreeSet<String>) {
        let state = self.state.lock().await;
        (state.wanted.clone(), state.retained.clone())
    }

    /// Whether orders were asked to be read again.
    pub async fn reads_again(&self) -> bool {
        self.state.lock().await.again
    }

    /// Asks for something else, all of it.
    pub async fn ask_for(&self, wanted: Wanted) -> Result<(), FaultError> {
        let mut state = self.state.lock().await;
        state.retained.extend(kept(&wanted));
        state.wanted = wanted;
        insist("everything that is asked for is applied", async || self.stage.apply_all(&state.wanted).await).await
    }

    /// Undoes whatever is still owed, and what an earlier run that was killed may have left: nobody is stopped or cut off, everything that
    /// is asked for is there, and nothing sleeps.
    pub async fn undo_all(&self) -> Result<(), FaultError> {
        let owed = self.debts.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for debt in owed {
            self.pay(&debt).await?;
        }
        for pod in self.stage.cluster.all().await? {
            // A pod that goes away meanwhile needs nothing.
            let _ = self.stage.cluster.signal(&pod, Signal::Continue).await;
        }
        for pod in self.stage.cluster.operators().await? {
            let _ = self.stage.cluster.reconnect(&pod).await;
        }
        let mut state = self.state.lock().await;
        let State { wanted, .. } = &mut *state;
        for (kind, resources) in
            [(stage::Kind::Topic, &mut wanted.topics), (stage::Kind::Pipeline, &mut wanted.pipelines)]
        {
            for (name, resource) in resources {
                if !std::mem::replace(&mut resource.there, true) {
                    self.stage.is_gone(kind, name).await?;
                }
                if let Some(spec) = resource.spec.as_object_mut() {
                    spec.remove("suspend");
                }
            }
        }
        insist("everything that is asked for is applied", async || self.stage.apply_all(wanted).await).await
    }

    async fn make(&self, fault: &Fault<Kind>) -> Result<String, FaultError> {
        let cluster = &self.stage.cluster;
        let chosen = match fault.target {
            Target::Chosen(number) => number,
            Target::Broker(_) | Target::Only => 0,
        };
        let mut random = Random::stream(chosen, 0);
        match (fault.kind, fault.target) {
            (Kind::OperatorKill, _) => {
                let leader = self.leader().await?;
                cluster.remove(&leader, false).await?;
                Ok(leader.name)
            }
            (Kind::OperatorsKill, _) => {
                let operators = cluster.operators().await?;
                for pod in &operators {
                    cluster.remove(pod, false).await?;
                }
                Ok(format!("{} pods", operators.len()))
            }
            (Kind::OperatorPause, _) => {
                let leader = self.leader().await?;
                let debt = self.owe(Debt::Stopped(leader.clone()));
                cluster.signal(&leader, Signal::Stop).await?;
                self.until_another_leads(&leader, fault.hold, debt).await
            }
            (Kind::OperatorPartition, _) => {
                let leader = self.leader().await?;
                let debt = self.owe(Debt::CutOff(leader.clone()));
                cluster.cut_off(&leader).await?;
                self.until_another_leads(&leader, fault.hold, debt).await
            }
            (Kind::BrokerKill, Target::Broker(broker)) => {
                cluster.kill(&cluster.broker(broker).await?).await.map(|()| String::new())
            }
            (Kind::BrokerPause, Target::Broker(broker)) => {
                let pod = cluster.broker(broker).await?;
                let debt = self.owe(Debt::Stopped(pod.clone()));
                cluster.signal(&pod, Signal::Stop).await?;
                sleep(fault.hold).await;
                self.pay(&debt).await.map(|()| String::new())
            }
            (Kind::BrokerDelete, Target::Broker(broker)) => {
                cluster.remove(&cluster.broker(broker).await?, false).await.map(|()| String::new())
            }
            (Kind::MemberVanish, _) => {
                let mut pods = cluster.running(&self.stage.run, "tidegate.dev/pipeline").await?;
                if pods.is_empty() {
                    return Ok("nobody runs".into());
                }
                let pod = pods.swap_remove(random.index(pods.len()));
                stage::missing_is_fine(cluster.vanish(&pod).await, "deleting a pod")?;
                Ok(pod.name)
            }
            (Kind::Suspend, _) => self.suspend(&mut random, fault.hold).await,
            (Kind::Recreate, _) => {
                let name = if random.below(3) == 0 { PRICES } else { BANK };
                self.recreate(stage::Kind::Pipeline, name, fault.hold).await
            }
            (Kind::TopicRecreate, _) => {
                let name = ["spare", "scratch"][random.index(2)];
                self.recreate(stage::Kind::Topic, name, fault.hold).await
            }
            (Kind::ObjectDelete | Kind::ObjectEdit | Kind::Rights | Kind::TopicDrift, _) => {
                let behind = Behind { stage: self.stage };
                insist(fault.kind.what(), async || match fault.kind {
                    Kind::ObjectDelete => behind.delete(chosen).await,
                    Kind::ObjectEdit => behind.edit(chosen).await,
                    Kind::Rights => behind.rights(chosen).await,
                    _ => behind.drift(chosen).await,
                })
                .await
            }
            (kind, _) => self.edit(kind, &mut random).await,
        }
    }

    async fn edit(&self, kind: Kind, random: &mut Random) -> Result<String, FaultError> {
        let mut state = self.state.lock().await;
        state.serial += 1;
        let Some(Edit { wanted, name, what }) = edit::edit(kind, &state.wanted, random, state.serial) else {
            return Ok("there is nothing to change".into());
        };
        state.retained.extend(kept(&wanted));
        state.wanted = wanted;
        state.again |= kind == Kind::Replay && name == PRICES;
        let (kind, resources) = match kind {
            Kind::TopicEdit => (stage::Kind::Topic, &state.wanted.topics),
            _ => (stage::Kind::Pipeline, &state.wanted.pipelines),
        };
        match resources.get(&name).filter(|resource| resource.there) {
            Some(resource) => {
                insist("an edit is applied", async || self.stage.apply(kind, &name, resource).await).await?;
                Ok(format!("{name}: {what}"))
            }
            None => Ok(format!("{name}, when it is made again: {what}")),
        }
    }

    async fn suspend(&self, random: &mut Random, hold: Duration) -> Result<String, FaultError> {
        let name = if random.below(3) == 0 { PRICES } else { BANK };
        for asleep in [true, false] {
            let mut state = self.state.lock().await;
            if let Some(pipeline) = state.wanted.pipelines.get_mut(name) {
                pipeline.spec["suspend"] = asleep.into();
                if pipeline.there {
                    let pipeline = &*pipeline;
                    let apply = async || self.stage.apply(stage::Kind::Pipeline, name, pipeline).await;
                    insist("a pipeline is suspended or goes on", apply).await?;
                }
            }
            drop(state);
            if asleep {
                sleep(hold).await;
            }
        }
        Ok(name.into())
    }

    async fn recreate(&self, kind: stage::Kind, name: &str, hold: Duration) -> Result<String, FaultError> {
        self.is_there(kind, name, false).await;
        insist("a resource is deleted", async || self.stage.delete(kind, name).await).await?;
        sleep(hold).await;
        self.stage.is_gone(kind, name).await?;
        self.is_there(kind, name, true).await;
        let state = self.state.lock().await;
        let resources = match kind {
            stage::Kind::Topic => &state.wanted.topics,
            stage::Kind::Pipeline => &state.wanted.pipelines,
        };
        if let Some(resource) = resources.get(name) {
            insist("a resource is made again", async || self.stage.apply(kind, name, resource).await).await?;
        }
        Ok(name.into())
    }

    async fn is_there(&self, kind: stage::Kind, name: &str, there: bool) {
        let mut state = self.state.lock().await;
        let resources = match kind {
            stage::Kind::Topic => &mut state.wanted.topics,
            stage::Kind::Pipeline => &mut state.wanted.pipelines,
        };
        if let Some(resource) = resources.get_mut(name) {
            resource.there = there;
        }
    }

    /// A leader that was killed a moment ago is none.
    async fn leader(&self) -> Result<PodId, FaultError> {
        insist("an operator leads", async || self.stage.cluster.leader().await).await
    }

    async fn until_another_leads(&self, leader: &PodId, hold: Duration, debt: Debt) -> Result<String, FaultError> {
        sleep(hold).await;
        let successor = self.stage.cluster.leader().await.map(|pod| pod.name);
        self.pay(&debt).await?;
        match successor {
            Ok(successor) if successor != leader.name => {
                Ok(format!("{successor} led meanwhile, {} woke up", leader.name))
            }
            _ => Err(FaultError::Missing(format!(
                "another leader than {}, {} s after it was lost,",
                leader.name,
                hold.as_secs()
            ))),
        }
    }

    fn owe(&self, debt: Debt) -> Debt {
        self.debts.lock().unwrap_or_else(PoisonError::into_inner).push(debt.clone());
        debt
    }

    async fn pay(&self, debt: &Debt) -> Result<(), FaultError> {
        let cluster = &self.stage.cluster;
        let (Debt::Stopped(pod) | Debt::CutOff(pod)) = debt;
        insist(&format!("pod {} goes on", pod.name), async || {
            // A pod that has gone needs nothing.
            if !cluster.is_there(pod).await? {
                return Ok(());
            }
            match debt {
                Debt::Stopped(pod) => cluster.signal(pod, Signal::Continue).await,
                Debt::CutOff(pod) => cluster.reconnect(pod).await,
            }
        })
        .await?;
        self.debts.lock().unwrap_or_else(PoisonError::into_inner).retain(|owed| owed != debt);
        Ok(())
    }
}

impl Inject for Injector<'_> {
    type Kind = Kind;

    async fn inject(&self, fault: &Fault<Kind>) -> Result<String, FaultError> {
        self.make(fault).await
    }

    /// The operator and what the pipelines stand on: the pipelines themselves need not be where they should while the next fault comes.
    async fn well(&self) -> Result<Option<String>, FaultError> {
        wait_until_well(async || {
            self.stage.cluster.relieve().await?;
            if let Some(unwell) = self.stage.cluster.unwell().await? {
                return Ok(Some(unwell));
            }
            let partitions = out_of_sync(&self.stage.environment.kafka).await?;
            Ok((partitions > 0).then(|| format!("{partitions} partitions had replicas that were not in sync")))
        })
        .await
    }
}
