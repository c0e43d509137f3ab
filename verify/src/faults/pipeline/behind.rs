//! What somebody does behind the operator's back, to what it made.

use kube::{
    Api, ResourceExt,
    api::{ApiResource, DeleteParams, DynamicObject, Patch, PatchParams},
};
use rdkafka::{
    admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier},
    client::DefaultClientContext,
};
use serde_json::{Value, json};
use tidegate_kafka::{Acl, AclFilter, KafkaAdmin, Operation, PatternType, ResourceType};

use super::{
    look::{kinds, labelled},
    orphans::prefix,
    stage::{Stage, missing_is_fine},
};
use crate::{faults::FaultError, random::Random};

/// Kinds that are not the operator's own work, but Kubernetes' or made of it.
const FOLLOWERS: [&str; 2] = ["Pod", "ReplicaSet"];

/// Somebody with a command line.
pub struct Behind<'a> {
    /// Where.
    pub stage: &'a Stage,
}

impl Behind<'_> {
    /// Deletes an object that the operator made.
    pub async fn delete(&self, chosen: u64) -> Result<String, FaultError> {
        let Some((kind, object)) = self.any(chosen, |kind| !FOLLOWERS.contains(&kind)).await? else {
            return Ok("there is nothing to delete".into());
        };
        let name = object.name_any();
        let deleted = self.api(&kind).delete(&name, &DeleteParams::background()).await;
        missing_is_fine(deleted.map(drop), "deleting an object")?;
        Ok(format!("{} {name}", kind.kind))
    }

    /// Edits one in a field that is the operator's.
    pub async fn edit(&self, chosen: u64) -> Result<String, FaultError> {
        let editable = ["Deployment", "ConfigMap", "Secret", "KafkaTopic"];
        let Some((kind, object)) = self.any(chosen, |kind| editable.contains(&kind)).await? else {
            return Ok("there is nothing to edit".into());
        };
        let name = object.name_any();
        let patch = match kind.kind.as_str() {
            "Deployment" => {
                let container = &object.data["spec"]["template"]["spec"]["containers"][0]["name"];
                let container = json!({"name": container, "image": "tidegate/nobody:0"});
                Patch::Strategic(json!({"spec": {"template": {"spec": {"containers": [container]}}}}))
            }
            "ConfigMap" => {
                let keys = object.data["data"].as_object().into_iter().flatten().map(|(key, _)| key);
                let edited: Value = keys.map(|key| (key.clone(), json!("edited by hand"))).collect();
                Patch::Merge(json!({"data": edited}))
            }
            // In base64.
            "Secret" => Patch::Merge(json!({"data": {"password": "ZWRpdGVkIGJ5IGhhbmQ="}})),
            _ => Patch::Merge(json!({"spec": {"config": {"retention.ms": 3_600_000}}})),
        };
        let edited = self.api(&kind).patch(&name, &PatchParams::default(), &patch).await;
        missing_is_fine(edited.map(drop), "editing an object")?;
        Ok(format!("{} {name}", kind.kind))
    }

    /// Takes a right from a managed user, and gives it another.
    pub async fn rights(&self, chosen: u64) -> Result<String, FaultError> {
        let (mut random, kafka) = (Random::stream(chosen, 1), &self.stage.kafka);
        let prefix = prefix(&self.stage.run);
        let users = kafka.list_users().await.map_err(FaultError::administration("listing users"))?;
        let mut users: Vec<String> = users.into_keys().filter(|user| user.starts_with(&prefix)).collect();
        if users.is_empty() {
            return Ok("there is no user".into());
        }
        let user = users.swap_remove(random.index(users.len()));
        let held = kafka.describe_acls(&AclFilter::of_user(&user)).await;
        let mut held: Vec<Acl> = held.map_err(FaultError::administration("listing ACLs"))?.into_iter().collect();
        if !held.is_empty() {
            let taken = held.swap_remove(random.index(held.len()));
            let answers = kafka.delete_acls(&[AclFilter::from(&taken)].into()).await;
            answers
                .into_values()
                .try_for_each(|answer| answer.map(drop))
                .map_err(FaultError::administration("taking a right"))?;
        }
        let everything = Acl::allow(
            &user,
            Operation::ALL,
            ResourceType::TOPIC,
            PatternType::LITERAL,
            format!("{}-events", self.stage.run),
        );
        let answers = kafka.create_acls(&[everything].into()).await;
        answers.into_values().collect::<Result<(), _>>().map_err(FaultError::administration("giving a right"))?;
        Ok(user)
    }

    /// Changes a topic's configuration in Kafka.
    pub async fn drift(&self, chosen: u64) -> Result<String, FaultError> {
        let doing = "changing a topic's configuration";
        let topic = format!("{}-{}", self.stage.run, ["spare", "scratch"][Random::stream(chosen, 1).index(2)]);
        let admin: AdminClient<DefaultClientContext> =
            self.stage.environment.kafka.client_config().create().map_err(FaultError::kafka(doing))?;
        let edit = AlterConfig::new(ResourceSpecifier::Topic(&topic)).set("retention.ms", "7200000");
        // It may be deleted at the moment, which the answer for it says.
        admin.alter_configs([&edit], &AdminOptions::new()).await.map_err(FaultError::kafka(doing))?;
        Ok(topic)
    }

    async fn any(
        &self,
        chosen: u64,
        fits: impl Fn(&str) -> bool,
    ) -> Result<Option<(ApiResource, DynamicObject)>, FaultError> {
        let mut random = Random::stream(chosen, 1);
        let fitting: Vec<ApiResource> = kinds().into_iter().filter(|kind| fits(&kind.kind)).collect();
        let kind = fitting[random.index(fitting.len())].clone();
        let mut objects = labelled(self.stage, &kind).await?;
        if objects.is_empty() {
            return Ok(None);
        }
        let object = objects.swap_remove(random.index(objects.len()));
        Ok(Some((kind, object)))
    }

    fn api(&self, kind: &ApiResource) -> Api<DynamicObject> {
        Api::namespaced_with(self.stage.client.clone(), &self.stage.run, kind)
    }
}
