//! Managed Kafka users: observe -> plan -> carry out, a step at a time, until there is none.
//!
//! [`Users::prepare`] comes before a pipeline's objects are applied: everybody who will run has a user. [`Users::retire`] comes after: what
//! only pods of before needed goes when they are gone. [`finish`] removes everything with the pipeline, and [`watch`] undoes what others do.

mod claim;
mod finish;
mod kafka;
mod look;
mod memory;
mod names;
mod plan;
mod rights;
mod secret;
#[cfg(test)]
mod shell_tests;
mod tell;
pub mod watch;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use k8s_openapi::api::core::v1::{ObjectReference, Pod};
use kube::{Api, api::ListParams, runtime::reflector::ObjectRef};
use tidegate_crds::{
    EventPipeline,
    pipeline::{KafkaUserStatus, UserPhase},
};
use tidegate_kafka::{AclFilter, AdminError, ErrorClass, ErrorCode};

pub use self::{
    finish::{FINALIZER, Left, finish, left},
    kafka::look,
    memory::Memories,
    plan::InKafka,
};
use self::{
    look::Looked,
    memory::Rest,
    names::Owner,
    plan::{Desired, Step, plan},
};
use super::{PipelineError, apply::Applier, build::selector, pod::ROLL_ANNOTATION, record};
use crate::{
    context::Context,
    finalizer,
    gateway::{Gateway, GatewayError},
    topic::plan::Refusal,
};

/// More steps than this take a defect.
const STEPS: usize = 200;

/// resourceVersion of each processor's Secret.
pub type Versions = BTreeMap<String, String>;

/// How a pipeline's users are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// There is one for every processor.
    Ready(Versions),
    /// There was one for every processor, and whether there still is could not be looked at.
    Unsure(Versions),
    /// There cannot be any until somebody changes something in Kafka or in the operator's installation.
    Refused(Refusal),
}

/// The users of one pipeline.
pub struct Users<'a> {
    /// Clients, stores, memories.
    pub context: &'a Context,
    /// The pipeline.
    pub pipeline: &'a EventPipeline,
    /// The pipeline, for Events.
    pub about: &'a ObjectReference,
}

impl Users<'_> {
    /// Makes what every processor needs to log in.
    ///
    /// # Errors
    /// What may pass by itself.
    pub async fn prepare(&self) -> Result<Standing, PipelineError> {
        if !self.pipeline.spec.kafka.is_managed() && self.records().is_empty() {
            self.hold(false).await?;
            return Ok(Standing::Ready(Versions::new()));
        }
        self.hold(true).await?;
        let desired = self.desired();
        self.memory(|memory| {
            for (processor, rights) in &desired.rights {
                memory.lingering.entry(processor.clone()).or_default().extend(rights.iter().cloned());
            }
        });
        if let Some(versions) = self.at_rest(&desired) {
            return Ok(Standing::Ready(versions));
        }
        match self.converge(&desired, BTreeSet::new()).await {
            Ok(versions) => Ok(Standing::Ready(versions)),
            Err(error) => self.stand(error, &desired).await,
        }
    }

    /// What an error means: nothing, as long as everybody has a user; something to tell; or something to try again.
    async fn stand(&self, error: PipelineError, desired: &Desired) -> Result<Standing, PipelineError> {
        let kafka = match &error {
            PipelineError::Kafka(GatewayError::Kafka(error)) => error,
            PipelineError::Refused(refusal) => return Ok(Standing::Refused(refusal.clone())),
            _ => return Err(error),
        };
        if kafka.class() == ErrorClass::User {
            return Ok(Standing::Refused(Refusal::new("KafkaRefuses", refusal(kafka))));
        }
        match self.as_recorded(desired).await? {
            Some(versions) => {
                tracing::warn!(%error, "whether Kafka users are as they should be could not be looked at");
                Ok(Standing::Unsure(versions))
            }
            None => Err(error),
        }
    }

    /// Removes what nobody needs any more, now that objects are applied. `rolled`: the hash on the pods of each processor that runs as the
    /// spec says. True: nothing is left to remove.
    ///
    /// # Errors
    /// What may pass by itself.
    pub async fn retire(&self, rolled: &BTreeMap<String, String>) -> Result<bool, PipelineError> {
        let desired = self.desired();
        let waiting = self.waiting(&desired);
        if !waiting.is_empty() {
            let mut settled = BTreeSet::new();
            for processor in waiting {
                if self.is_settled(&processor, rolled.get(&processor)).await? {
                    settled.insert(processor);
                }
            }
            if !settled.is_empty() {
                self.converge(&desired, settled.clone()).await?;
                self.memory(|memory| {
                    for processor in settled {
                        match desired.rights.get(&processor) {
                            Some(rights) => memory.lingering.insert(processor, rights.clone()),
                            None => memory.lingering.remove(&processor),
                        };
                    }
                });
            }
        }
        self.prune().await?;
        Ok(self.waiting(&desired).is_empty())
    }

    /// Processors of which something goes when their pods of before are gone.
    fn waiting(&self, desired: &Desired) -> BTreeSet<String> {
        let former = self.records().into_iter().filter(|record| record.phase == UserPhase::Former);
        let mut waiting: BTreeSet<String> = former.map(|record| record.processor).collect();
        let lingering = self.memory(|memory| memory.lingering.clone());
        let outlived = |(processor, rights): &(String, BTreeSet<_>)| desired.rights.get(processor) != Some(rights);
        waiting.extend(lingering.into_iter().filter(outlived).map(|(processor, _)| processor));
        waiting
    }

    /// Whether all pods of a processor, those that are about to go included, began with what is applied now. `hash`: what is on those that
    /// did; none: there should be none.
    async fn is_settled(&self, processor: &str, hash: Option<&String>) -> Result<bool, PipelineError> {
        let is_of_spec = self.pipeline.spec.processors.iter().any(|one| one.name == processor);
        if is_of_spec && hash.is_none() {
            return Ok(false);
        }
        let pods = self.pods(processor).await?;
        let hash_of = |pod: &Pod| pod.metadata.annotations.as_ref()?.get(ROLL_ANNOTATION).cloned();
        Ok(pods.iter().all(|pod| hash.is_some() && hash_of(pod).as_ref() == hash))
    }

    async fn pods(&self, processor: &str) -> Result<Vec<Pod>, PipelineError> {
        let labels = selector(self.pipeline, processor).into_iter().map(|(key, value)| format!("{key}={value}"));
        let parameters = ListParams::default().labels(&labels.collect::<Vec<_>>().join(","));
        let api: Api<Pod> = Api::namespaced(self.context.client.clone(), self.namespace());
        Ok(api.list(&parameters).await.map_err(PipelineError::kubernetes("looking for pods of before"))?.items)
    }

    /// Secrets go with the users that they were made for.
    async fn prune(&self) -> Result<(), PipelineError> {
        let recorded = self.records().into_iter().map(|record| record.processor);
        let managed = self.pipeline.spec.kafka.is_managed();
        let of_spec = self.pipeline.spec.processors.iter().filter(|_| managed).map(|processor| processor.name.clone());
        let wanted = recorded.chain(of_spec).map(|processor| self.pipeline.managed_secret(&processor)).collect();
        let applier = Applier { context: self.context, pipeline: self.pipeline };
        applier.prune_secrets(&wanted).await
    }

    /// Looks and takes steps until there is none.
    async fn converge(&self, desired: &Desired, settled: BTreeSet<String>) -> Result<Versions, PipelineError> {
        let meddled =
            self.memory(|memory| memory.rest.as_ref().is_some_and(|rest| rest.meddled && rest.desired == *desired));
        let mut looked = self.look(desired).await?;
        looked.seen.settled = settled;
        for _ in 0..STEPS {
            let Some(step) = plan(desired, &looked.seen) else {
                let of =
                    |(processor, secret): (&String, &plan::SecretSeen)| (processor.clone(), secret.version.clone());
                let versions: Versions = looked.seen.secrets.iter().map(of).collect();
                let rest = Rest {
                    desired: desired.clone(),
                    versions: versions.clone(),
                    since: Instant::now(),
                    meddled: false,
                };
                self.memory(|memory| memory.rest = Some(rest));
                return Ok(versions);
            };
            let secret = self.carry_out(&step, &mut looked).await?;
            self.tell(&step, &looked.seen, meddled).await;
            looked.seen.after(step, secret);
        }
        Err(PipelineError::Defect("steps towards the Kafka users come to no end".to_owned()))
    }

    async fn carry_out(&self, step: &Step, looked: &mut Looked) -> Result<Option<plan::SecretSeen>, PipelineError> {
        match step {
            Step::Record(records) => {
                let previous = self.context.pipeline_memories.status(self.pipeline);
                let mut next = previous.clone();
                next.users = records.iter().cloned().collect();
                record::write(self.context, self.pipeline, &previous, next).await?;
            }
            Step::Grant(connection, acls) => {
                let gateway = self.claimed(connection).await?;
                kafka::all(gateway.admin().create_acls(acls).await).map_err(GatewayError::from)?;
            }
            Step::Revoke(connection, acls) => {
                let filters = acls.iter().map(AclFilter::from).collect();
                kafka::all(self.claimed(connection).await?.admin().delete_acls(&filters).await)
                    .map_err(GatewayError::from)?;
            }
            Step::Issue { processor, user } => {
                let gateway = self.claimed(&user.connection).await?;
                let way = looked.way.as_ref().ok_or_else(|| self.no_users_there())?;
                let password = secret::draw().map_err(|error| PipelineError::Defect(error.to_string()))?;
                let passwords = [(user.name.clone(), password.clone())].into();
                kafka::all(gateway.admin().upsert_users(&passwords).await).map_err(GatewayError::from)?;
                let before = looked.secrets.get(processor);
                let wanted = secret::build(self.pipeline, processor, way, &user.name, &password, before);
                let written = self.write_secret(&wanted).await?;
                let seen = secret::seen(&written);
                looked.secrets.insert(processor.clone(), written);
                return Ok(Some(seen));
            }
            Step::Give { processor, user } => {
                let held = looked.secrets.get(processor).and_then(secret::held);
                let (_, password) =
                    held.ok_or_else(|| PipelineError::Defect("a Secret lost its password".to_owned()))?;
                let passwords = [(user.name.clone(), password)].into();
                let gateway = self.claimed(&user.connection).await?;
                kafka::all(gateway.admin().upsert_users(&passwords).await).map_err(GatewayError::from)?;
            }
            Step::Remove(user) => remove(self.claimed(&user.connection).await?, &user.name).await?,
        }
        Ok(None)
    }

    /// What there should be.
    fn desired(&self) -> Desired {
        let spec = &self.pipeline.spec;
        let processors = || spec.processors.iter().filter(|_| spec.kafka.is_managed());
        let annotations = self.pipeline.metadata.annotations.as_ref();
        Desired {
            owner: Owner::of(&self.context.config.installation_id, self.pipeline),
            connection: spec.connection().to_owned(),
            rights: processors().map(|one| (one.name.clone(), rights::rights(self.pipeline, one))).collect(),
            known: spec.processors.iter().map(|one| one.name.clone()).collect(),
            rotation: annotations.and_then(|all| all.get(tidegate_crds::pipeline::ROTATE_ANNOTATION)).cloned(),
        }
    }

    /// The Secrets' versions, when all is as it was left and nobody meddled with it.
    fn at_rest(&self, desired: &Desired) -> Option<Versions> {
        let rest = self.memory(|memory| memory.rest.clone())?;
        let version = |processor: &String| {
            let secret = ObjectRef::new(&self.pipeline.managed_secret(processor)).within(self.namespace());
            self.context.children.secrets.get(&secret)?.metadata.resource_version.clone()
        };
        let is_same = |(processor, before): (&String, &String)| version(processor).as_ref() == Some(before);
        (rest.desired == *desired && !rest.meddled && rest.versions.iter().all(is_same)).then_some(rest.versions)
    }

    /// The Secrets' versions, when what is on record says that every processor has a user that can log in.
    async fn as_recorded(&self, desired: &Desired) -> Result<Option<Versions>, PipelineError> {
        let records = self.records();
        let mut versions = Versions::new();
        for processor in desired.rights.keys() {
            let of_it = || records.iter().filter(|record| record.processor == *processor);
            let active = of_it().find(|record| record.phase == UserPhase::Active);
            let found = self.secret(processor, None).await?;
            let (Some(active), Some(found)) = (active, found.as_ref().map(secret::seen)) else { return Ok(None) };
            let agrees = found.username.as_ref() == Some(&active.username)
                && active.secret_version.as_ref() == Some(&found.version)
                && active.connection == desired.connection;
            if !agrees {
                return Ok(None);
            }
            versions.insert(processor.clone(), found.version);
        }
        Ok(Some(versions))
    }

    fn records(&self) -> Vec<KafkaUserStatus> {
        self.context.pipeline_memories.status(self.pipeline).users
    }

    async fn hold(&self, hold: bool) -> Result<(), PipelineError> {
        finalizer::hold(&self.context.client, self.pipeline, FINALIZER, hold)
            .await
            .map_err(PipelineError::kubernetes("setting the finalizer"))
    }

    fn gateway(&self, connection: &str) -> Result<&Gateway, PipelineError> {
        self.context.connections.get(connection).ok_or_else(|| {
            PipelineError::Refused(Refusal::new(
                "UnknownConnection",
                format!(
                    "the operator has no Kafka connection {connection} any more, and Kafka users of this pipeline are left there; give \
                     the operator the connection again, or let them go with annotation {}: \"true\"",
                    tidegate_crds::conditions::ABANDON_ANNOTATION
                ),
            ))
        })
    }

    /// A connection on which the users' names are ours to write to.
    async fn claimed(&self, connection: &str) -> Result<&Gateway, PipelineError> {
        let gateway = self.gateway(connection)?;
        if self.context.users.is_claimed(connection) {
            return Ok(gateway);
        }
        match claim_of(self.context, gateway).await? {
            claim::Claim::Ours => self.context.users.claimed(connection),
            claim::Claim::Theirs(other) => {
                let sentence = claim::refusal(&self.context.config.installation_id, connection, &other);
                return Err(PipelineError::Refused(Refusal::new("InstallationIdTaken", sentence)));
            }
        }
        Ok(gateway)
    }

    fn no_users_there(&self) -> PipelineError {
        let connection = self.pipeline.spec.connection();
        PipelineError::Refused(Refusal::new(
            "NoKafkaUsers",
            format!(
                "Kafka connection {connection} has no users: its security-protocol is PLAINTEXT; name a Secret in spec.kafka.user.secretRef"
            ),
        ))
    }

    fn memory<R>(&self, work: impl FnOnce(&mut memory::Memory) -> R) -> R {
        self.context.users.with(self.pipeline.metadata.uid.as_deref().unwrap_or_default(), work)
    }

    fn namespace(&self) -> &str {
        self.pipeline.metadata.namespace.as_deref().unwrap_or_default()
    }
}

/// Whose the users' names are on a connection.
async fn claim_of(context: &Context, gateway: &Gateway) -> Result<claim::Claim, PipelineError> {
    let cluster = context.users.cluster(&context.client).await;
    let cluster = cluster.map_err(PipelineError::kubernetes("reading the uid of namespace kube-system"))?;
    Ok(claim::claim(gateway.admin(), &context.config.installation_id, cluster).await.map_err(GatewayError::from)?)
}

/// Deletes a user, which then cannot log in, and all that is said of it.
async fn remove(gateway: &Gateway, name: &str) -> Result<(), PipelineError> {
    for outcome in gateway.admin().delete_users(&[name.to_owned()]).await.into_values() {
        match outcome {
            Err(error) if !error.is_unknown_user() => return Err(GatewayError::from(error).into()),
            _ => {}
        }
    }
    kafka::all(gateway.admin().delete_acls(&[AclFilter::of_user(name)].into()).await).map_err(GatewayError::from)?;
    Ok(())
}

/// A sentence for what Kafka refuses.
fn refusal(error: &AdminError) -> String {
    let remedy = match error.code() {
        Some(ErrorCode::CLUSTER_AUTHORIZATION_FAILED) => {
            "; managed users take Alter and Describe on the cluster: grant them to the operator's own user, or name a Secret in \
             spec.kafka.user.secretRef"
        }
        Some(ErrorCode::SECURITY_DISABLED) => {
            "; the brokers have no authorizer (authorizer.class.name), so no user can be kept to its rights: name a Secret in \
             spec.kafka.user.secretRef"
        }
        _ => "",
    };
    format!("{error}{remedy}")
}
