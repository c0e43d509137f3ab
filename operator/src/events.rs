//! Events of `events.k8s.io`: what was done or refused, where a person looks for it. Never worth failing for.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Client,
    runtime::events::{Event, EventType, Recorder, Reporter},
};

use crate::conditions::truncate;

/// Most bytes of a note that the API takes.
const MAX_NOTE: usize = 1_000;

/// Publishes events of this process.
#[derive(Clone)]
pub struct Events {
    recorder: Recorder,
}

impl Events {
    /// Events that name this process by `instance`.
    pub fn new(client: Client, instance: String) -> Self {
        let reporter = Reporter { controller: "tidegate.dev/operator".into(), instance: Some(instance) };
        Self { recorder: Recorder::new(client, reporter) }
    }

    /// Something was done.
    pub async fn normal(&self, about: &ObjectReference, reason: &str, action: &str, note: String) {
        self.publish(EventType::Normal, about, None, reason, action, note).await;
    }

    /// Something is not as it should be.
    pub async fn warning(&self, about: &ObjectReference, reason: &str, action: &str, note: String) {
        self.publish(EventType::Warning, about, None, reason, action, note).await;
    }

    /// The same about two objects: of Events that are alike in all but the note the API keeps the first, and a number.
    pub async fn of_two(
        &self,
        type_: EventType,
        about: &ObjectReference,
        related: ObjectReference,
        reason: &str,
        action: &str,
        note: String,
    ) {
        self.publish(type_, about, Some(related), reason, action, note).await;
    }

    async fn publish(
        &self,
        type_: EventType,
        about: &ObjectReference,
        secondary: Option<ObjectReference>,
        reason: &str,
        action: &str,
        note: String,
    ) {
        tracing::info!(kind = about.kind, namespace = about.namespace, name = about.name, reason, note, "event");
        let note = Some(truncate(note, MAX_NOTE));
        let event = Event { type_, reason: reason.into(), note, action: action.into(), secondary };
        if let Err(error) = self.recorder.publish(&event, about).await {
            tracing::debug!(%error, reason, "an event was not published");
        }
    }
}
