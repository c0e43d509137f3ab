//! What is worth an Event.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::EventType;
use tidegate_crds::pipeline::{KafkaUserStatus, UserPhase};

use super::{
    Users,
    plan::{Seen, Step, User},
};

impl Users<'_> {
    /// What is worth an Event.
    pub(super) async fn tell(&self, step: &Step, before: &Seen, meddled: bool) {
        match step {
            Step::Grant(_, acls) | Step::Revoke(_, acls) if meddled => {
                let (action, done) = match step {
                    Step::Grant(..) => ("Grant", "put back"),
                    _ => ("Revoke", "taken away again"),
                };
                let some: Vec<String> = acls.iter().take(5).map(ToString::to_string).collect();
                let more = if acls.len() > some.len() { ", and more" } else { "" };
                let note = format!("somebody changed rights in Kafka; {done}: {}{more}", some.join(", "));
                self.context.events.warning(self.about, "KafkaRightsReverted", action, note).await;
            }
            Step::Give { processor, user } if meddled => {
                let note = format!("Kafka user {} was deleted by somebody and is made again", user.name);
                self.say(EventType::Warning, processor, "KafkaUserRestored", "Restore", note).await;
            }
            Step::Issue { processor, user } => self.tell_issued(processor, user, before).await,
            Step::Remove(user) => {
                let record = before.records.iter().find(|record| User::of(record) == *user);
                let processor = record.map(|record| record.processor.clone()).unwrap_or_default();
                let note = format!("Kafka user {} and its rights were removed: no pod uses it any more", user.name);
                self.say(EventType::Normal, &processor, "KafkaUserRemoved", "Delete", note).await;
            }
            _ => {}
        }
    }

    async fn tell_issued(&self, processor: &str, user: &User, before: &Seen) {
        let (secret, name) = (self.pipeline.managed_secret(processor), &user.name);
        let (type_, reason, note) = match before.records.iter().find(|record| User::of(record) == *user) {
            Some(KafkaUserStatus { phase: UserPhase::Next, .. }) => (
                EventType::Normal,
                "CredentialsRotating",
                format!(
                    "Kafka user {name} takes the place of processor {processor}'s former one; Secret {secret} holds it"
                ),
            ),
            Some(KafkaUserStatus { secret_version: Some(_), .. }) => (
                EventType::Warning,
                "CredentialsReplaced",
                format!(
                    "Secret {secret} was missing or did not hold what it should; Kafka user {name} has another password"
                ),
            ),
            _ => {
                (EventType::Normal, "KafkaUserCreated", format!("Kafka user {name} was made; Secret {secret} holds it"))
            }
        };
        self.say(type_, processor, reason, "Issue", note).await;
    }

    /// An Event about the pipeline and a processor's Secret.
    async fn say(&self, type_: EventType, processor: &str, reason: &str, action: &str, note: String) {
        let secret = ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Secret".to_owned()),
            namespace: self.pipeline.metadata.namespace.clone(),
            name: Some(self.pipeline.managed_secret(processor)),
            ..ObjectReference::default()
        };
        self.context.events.of_two(type_, self.about, secret, reason, action, note).await;
    }
}
