//! All users of a connection compared with what they should be, in two requests; and users of ours that no pipeline has, removed.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use kube::runtime::reflector::ObjectRef;
use tidegate_crds::{EventPipeline, pipeline::UserPhase};
use tidegate_kafka::{AclFilter, AdminError, ErrorClass};

use super::{
    PipelineError, claim, claim_of, kafka,
    memory::Rest,
    names::UserName,
    plan::{InKafka, SecretSeen, Seen, User, plan},
    remove,
};
use crate::{
    context::Context,
    gateway::{Gateway, GatewayError},
};

/// Orphans are looked for in every so many-th cycle.
const ORPHANS_EVERY: u32 = 5;

/// Brokers have heard of a change after this.
const HEARD: Duration = Duration::from_secs(5);

type Found = BTreeMap<String, InKafka>;

/// Runs a cycle per drift interval, for ever.
pub async fn run(context: Arc<Context>) {
    context.filling.done().await;
    let mut suspects = BTreeSet::new();
    for cycle in 0_u32.. {
        tokio::time::sleep(context.config.drift_interval).await;
        for pipeline in meddled(&context, HEARD).await {
            // The controller is there for as long as this is.
            let _ = context.pipeline_triggers.send(pipeline);
        }
        if cycle.is_multiple_of(ORPHANS_EVERY) {
            suspects = orphans(&context, &suspects).await;
        }
    }
}

/// Pipelines whose users somebody changed since they were at rest, those that came to rest less than `heard` ago left out.
pub async fn meddled(context: &Context, heard: Duration) -> Vec<ObjectRef<EventPipeline>> {
    let mut meddled = Vec::new();
    for (connection, gateway) in &context.connections {
        let at_rest: Vec<(Arc<EventPipeline>, Rest)> = context
            .pipelines
            .state_filter(|pipeline| pipeline.spec.connection() == connection)
            .into_iter()
            .filter_map(|pipeline| {
                let uid = pipeline.metadata.uid.as_deref().unwrap_or_default();
                let rest = context.users.with(uid, |memory| memory.rest.clone())?;
                (!rest.desired.rights.is_empty() && rest.since.elapsed() >= heard).then_some((pipeline, rest))
            })
            .collect();
        if at_rest.is_empty() {
            continue;
        }
        let looked_at = Instant::now();
        let found = match everything(gateway).await {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!(connection, %error, "Kafka users cannot be compared with what they should be");
                continue;
            }
        };
        for (pipeline, rest) in at_rest {
            if differs(context, &pipeline, &rest, &found) {
                let uid = pipeline.metadata.uid.as_deref().unwrap_or_default();
                // What was put right meanwhile is not what was seen.
                let is_news = context.users.with(uid, |memory| match &mut memory.rest {
                    Some(rest) if rest.since < looked_at => {
                        rest.meddled = true;
                        true
                    }
                    _ => false,
                });
                if is_news {
                    meddled.push(ObjectRef::from_obj(pipeline.as_ref()));
                }
            }
        }
    }
    meddled
}

/// Every user and every ACL.
async fn everything(gateway: &Gateway) -> Result<Found, AdminError> {
    let admin = gateway.admin();
    let filter = AclFilter::default();
    let (users, acls) = futures::future::try_join(admin.list_users(), admin.describe_acls(&filter)).await?;
    let mut found: Found = BTreeMap::new();
    for user in users.into_keys() {
        found.entry(user).or_default().exists = true;
    }
    for (user, acls) in kafka::by_user(acls) {
        found.entry(user).or_default().acls = acls;
    }
    Ok(found)
}

/// Whether anything would have to be done about a pipeline's users, if its Secrets are as they were.
fn differs(context: &Context, pipeline: &EventPipeline, rest: &Rest, found: &Found) -> bool {
    let records: BTreeSet<_> = context.pipeline_memories.status(pipeline).users.into_iter().collect();
    let secret = |(processor, version): (&String, &String)| {
        let active = records.iter().find(|record| record.processor == *processor && record.phase == UserPhase::Active);
        let username = active.map(|active| active.username.clone());
        (processor.clone(), SecretSeen { username, version: version.clone() })
    };
    let desired = &rest.desired;
    let names = desired.known.iter().flat_map(|processor| desired.owner.users(processor));
    let of = |name: String| {
        let seen = found.get(&name).cloned().unwrap_or_default();
        (User { connection: desired.connection.clone(), name }, seen)
    };
    let uid = pipeline.metadata.uid.as_deref().unwrap_or_default();
    let seen = Seen {
        secrets: rest.versions.iter().map(secret).collect(),
        kafka: names.map(of).collect(),
        lingering: context.users.with(uid, |memory| memory.lingering.clone()),
        records,
        ..Seen::default()
    };
    plan(desired, &seen).is_some()
}

/// Removes users of ours that no pipeline has, now and when `suspects` were last looked for: those that pipelines left behind which went
/// without the operator. The answer is who has none now.
pub async fn orphans(context: &Context, suspects: &BTreeSet<User>) -> BTreeSet<User> {
    let mut alone = BTreeSet::new();
    for (connection, gateway) in &context.connections {
        match orphans_of(context, connection, gateway, suspects).await {
            Ok(found) => alone.extend(found),
            // Where users cannot be managed at all there is nothing to look for.
            Err(PipelineError::Kafka(GatewayError::Kafka(error))) if error.class() == ErrorClass::User => {
                tracing::debug!(connection, %error, "Kafka users without a pipeline were not looked for");
            }
            Err(error) => tracing::warn!(connection, %error, "Kafka users without a pipeline were not looked for"),
        }
    }
    alone
}

async fn orphans_of(
    context: &Context,
    connection: &str,
    gateway: &Gateway,
    suspects: &BTreeSet<User>,
) -> Result<BTreeSet<User>, PipelineError> {
    let found = everything(gateway).await.map_err(GatewayError::from)?;
    let alone: BTreeSet<User> = found
        .into_keys()
        .filter(|name| is_alone(context, connection, name))
        .map(|name| User { connection: connection.to_owned(), name })
        .collect();
    let (removed, young): (BTreeSet<User>, BTreeSet<User>) =
        alone.into_iter().partition(|user| suspects.contains(user));
    if removed.is_empty() {
        return Ok(young);
    }
    // Names that are another cluster's are none of ours, whatever they look like.
    if !context.users.is_claimed(connection) {
        match claim_of(context, gateway).await? {
            claim::Claim::Ours => context.users.claimed(connection),
            claim::Claim::Theirs(_) => return Ok(BTreeSet::new()),
        }
    }
    for user in &removed {
        // A pipeline of the name may have come meanwhile.
        if is_alone(context, connection, &user.name) {
            remove(gateway, &user.name).await?;
            tracing::warn!(connection, user = user.name, "a Kafka user that no pipeline has was removed");
        }
    }
    Ok(young)
}

/// Whether a name is one of ours, and nobody's: no pipeline of that name has such a processor or has the user on record.
fn is_alone(context: &Context, connection: &str, name: &str) -> bool {
    let Some(UserName { owner, processor, .. }) = UserName::parse(&context.config.installation_id, name) else {
        return false;
    };
    let key = ObjectRef::<EventPipeline>::new(&owner.pipeline).within(&owner.namespace);
    let Some(pipeline) = context.pipelines.get(&key) else { return true };
    let spec = &pipeline.spec;
    let is_of_spec = spec.kafka.is_managed()
        && spec.connection() == connection
        && spec.processors.iter().any(|one| one.name == processor);
    let users = context.pipeline_memories.status(&pipeline).users;
    !is_of_spec && !users.iter().any(|record| record.username == name && record.connection == connection)
}
