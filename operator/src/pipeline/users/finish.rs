//! What is left to do when a pipeline with managed users goes: its pods stop, then its users and their rights go, then it does.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use tidegate_crds::conditions::ABANDON_ANNOTATION;

use super::{
    PipelineError, Users,
    plan::{Desired, User},
};
use crate::{finalizer, gateway::GatewayError, pipeline::apply::Applier};

/// Holds an EventPipeline until its Kafka users are gone.
pub const FINALIZER: &str = "tidegate.dev/kafka-users";

/// Pods that do not end in their own time are not waited for longer than this.
const STUCK: Duration = Duration::from_secs(60);

/// What is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// Nothing: the pipeline may go.
    Nothing,
    /// Pods that finish what they work on.
    Pods,
}

/// Removes the users of a pipeline that is being deleted.
///
/// # Errors
/// While Kafka cannot be reached or refuses: the finalizer stays, and this is tried again.
pub async fn finish(users: &Users<'_>) -> Result<Left, PipelineError> {
    let Users { context, pipeline, about } = *users;
    let uid = pipeline.metadata.uid.as_deref().unwrap_or_default();
    if !finalizer::is_held(pipeline, FINALIZER) {
        context.users.forget(uid);
        return Ok(Left::Nothing);
    }
    let annotations = pipeline.metadata.annotations.as_ref();
    if annotations.and_then(|all| all.get(ABANDON_ANNOTATION)).is_some_and(|value| value == "true") {
        let names: Vec<String> = users.records().into_iter().map(|record| record.username).collect();
        let note = format!(
            "Kafka users {} were left as they are, because of annotation {ABANDON_ANNOTATION}; those on a connection that the operator has \
             are removed when it finds them",
            names.join(", ")
        );
        context.events.warning(about, "Abandoned", "Keep", note).await;
    } else {
        // A deletion that leaves the pods to themselves (--cascade=orphan) leaves them without users.
        let orphaned = finalizer::is_held(pipeline, "orphan");
        if !orphaned {
            // The garbage collector comes when the pipeline is gone, which is after this.
            Applier { context, pipeline }.stop().await?;
            if !is_overdue(users) && users.has_pods().await? {
                return Ok(Left::Pods);
            }
        }
        users.remove_all().await?;
    }
    users.hold(false).await?;
    context.users.forget(uid);
    Ok(Left::Nothing)
}

/// A sentence for users that cannot be removed yet.
pub fn left(error: &GatewayError) -> String {
    format!(
        "Kafka users of this pipeline are left, and it goes when they are gone: {error}; if they are not worth waiting for, set annotation \
         {ABANDON_ANNOTATION}: \"true\""
    )
}

/// Whether pods had all the time that they may take.
fn is_overdue(users: &Users<'_>) -> bool {
    let Some(deleted) = users.pipeline.metadata.deletion_timestamp.as_ref().map(|time| time.0) else { return false };
    let grace =
        |processor: &tidegate_crds::pipeline::Processor| processor.termination_grace_period_seconds.unwrap_or(30);
    let longest = users.pipeline.spec.processors.iter().map(grace).max().unwrap_or(0);
    let allowed = SignedDuration::from_secs(longest) + SignedDuration::try_from(STUCK).unwrap_or_default();
    Timestamp::now().duration_since(deleted) > allowed
}

impl Users<'_> {
    /// Processors that there are or were.
    fn processors(&self) -> BTreeSet<String> {
        let recorded = self.records().into_iter().map(|record| record.processor);
        recorded.chain(self.pipeline.spec.processors.iter().map(|processor| processor.name.clone())).collect()
    }

    async fn has_pods(&self) -> Result<bool, PipelineError> {
        for processor in self.processors() {
            if !self.pods(&processor).await?.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn remove_all(&self) -> Result<(), PipelineError> {
        let known = self.processors();
        let desired = Desired { rights: BTreeMap::new(), known: known.clone(), ..self.desired() };
        self.converge(&desired, known).await?;
        let left: Vec<String> = self.records().iter().map(|record| User::of(record).name).collect();
        if left.is_empty() {
            return Ok(());
        }
        Err(PipelineError::Defect(format!("Kafka users {} are left", left.join(", "))))
    }
}
