//! Records, Secrets and Kafka, as they are read; and a processor's Secret, as it is written.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, api::PostParams};
use tidegate_crds::pipeline::KafkaUserStatus;

use super::{
    PipelineError, Users,
    plan::{Desired, Seen, User},
    secret::{self, Way},
};
use crate::context::MANAGER;

/// What was looked at.
pub(super) struct Looked {
    /// For the plan.
    pub(super) seen: Seen,
    /// Secrets of processors.
    pub(super) secrets: BTreeMap<String, Secret>,
    /// What the Secrets have in common; none: nobody logs in there.
    pub(super) way: Option<Way>,
}

impl Users<'_> {
    /// Looks at everything that a plan depends on.
    pub(super) async fn look(&self, desired: &Desired) -> Result<Looked, PipelineError> {
        let way = self.way().await?;
        let mut secrets = BTreeMap::new();
        for processor in desired.rights.keys() {
            if let Some(secret) = self.secret(processor, way.as_ref()).await? {
                secrets.insert(processor.clone(), secret);
            }
        }
        let records: BTreeSet<KafkaUserStatus> = self.records().into_iter().collect();
        let known = desired.known.iter().flat_map(|processor| desired.owner.users(processor));
        let mut users: BTreeSet<User> =
            known.map(|name| User { connection: desired.connection.clone(), name }).collect();
        users.extend(records.iter().map(User::of));
        // Of a connection that the operator does not have any more nothing is known.
        users.retain(|user| self.context.connections.contains_key(&user.connection));
        let found = users.into_iter().map(|user| async move {
            let found = self.gateway(&user.connection)?.user(&user.name).await?;
            Ok::<_, PipelineError>((user, found))
        });
        let kafka = futures::future::try_join_all(found).await?.into_iter().collect();
        let seen = Seen {
            records,
            secrets: secrets.iter().map(|(processor, found)| (processor.clone(), secret::seen(found))).collect(),
            kafka,
            lingering: self.memory(|memory| memory.lingering.clone()),
            ..Seen::default()
        };
        Ok(Looked { seen, secrets, way })
    }

    /// A processor's Secret, its way to Kafka brought up to date; the password stays, so nobody is locked out.
    pub(super) async fn secret(&self, processor: &str, way: Option<&Way>) -> Result<Option<Secret>, PipelineError> {
        let name = self.pipeline.managed_secret(processor);
        let found = self.secrets().get_opt(&name).await.map_err(PipelineError::kubernetes("reading a Secret"))?;
        let (Some(found), Some(way)) = (&found, way) else { return Ok(found) };
        match secret::held(found) {
            Some((username, password)) if !secret::leads(found, way) => {
                let wanted = secret::build(self.pipeline, processor, way, &username, &password, Some(found));
                self.write_secret(&wanted).await.map(Some)
            }
            _ => Ok(Some(found.clone())),
        }
    }

    pub(super) async fn write_secret(&self, wanted: &Secret) -> Result<Secret, PipelineError> {
        let api = self.secrets();
        let name = wanted.metadata.name.as_deref().unwrap_or_default();
        let parameters = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
        let written = if wanted.metadata.resource_version.is_some() {
            api.replace(name, &parameters, wanted).await
        } else {
            api.create(&parameters, wanted).await
        };
        written.map_err(PipelineError::kubernetes("writing the Secret of a Kafka user"))
    }

    async fn way(&self) -> Result<Option<Way>, PipelineError> {
        let Some(connection) = self.gateway(self.pipeline.spec.connection())?.connection() else { return Ok(None) };
        let Some(authorities) = Way::authorities_of(connection) else { return Ok(None) };
        let pem = match authorities {
            None => None,
            Some(path) => {
                let read = tokio::fs::read(&path).await;
                let failed = |error| PipelineError::Defect(format!("reading {}: {error}", path.display()));
                Some(read.map_err(failed)?)
            }
        };
        Ok(Some(Way::new(connection, pem)))
    }

    fn secrets(&self) -> Api<Secret> {
        Api::namespaced(self.context.client.clone(), self.namespace())
    }
}
