//! The shell around an EventPipeline: resolve, validate, build, apply, observe, report, in this order.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{Resource, runtime::controller::Action};
use tidegate_crds::{
    EventPipeline, EventPipelineStatus,
    conditions::STALLED,
    pipeline::{Processor, RedriveStatus, ReplayStatus},
};
use tidegate_settings::Generation;

use super::{
    PipelineError,
    apply::Applier,
    build::{Objects, Surroundings, build, hash, object_name},
    failures,
    once::{self, Turn},
    owned,
    pod::ROLL_ANNOTATION,
    record, redrive, replay,
    report::{Outcome, View},
    resolve::{YOUNG, monitoring, resolve},
    scale::{Scale, scale},
    stopped_for,
    users::{self, Left, Standing, Users, Versions},
    validate::{Objection, World, validate},
};
use crate::{
    backoff::RECONCILE,
    conditions::is_true,
    context::Context,
    metrics::Kind,
    scaling::{self, LOOK_FOR_RIVALS},
    topic::plan::Refusal,
};

/// How often a replay is looked at that waits for something.
const GLANCE: Duration = Duration::from_secs(2);

/// How often pods that are not ready are looked at.
const LOOK: Duration = Duration::from_secs(10);

/// How often pods that end are looked at.
const ENDING: Duration = Duration::from_secs(2);

/// A topic's change asks for a pipeline that waits for it; this is in case the asking was lost.
const WAIT: Duration = Duration::from_secs(30);

/// Brings one pipeline closer to its resource.
///
/// # Errors
/// What may pass by itself; [`on_error`] says when to try again.
pub async fn reconcile(pipeline: Arc<EventPipeline>, context: Arc<Context>) -> Result<Action, PipelineError> {
    context.filling.done().await;
    let _busy = context.busy.enter();
    let started = Instant::now();
    let one = One { pipeline: &pipeline, context: &context, about: pipeline.object_ref(&()) };
    let mut result = one.reconcile().await;
    if let Err(error) = &result {
        result = one.trouble(error).await.map_or(result, Ok);
    }
    let uid = pipeline.metadata.uid.as_deref().unwrap_or_default();
    let outcome = match &result {
        Ok(_) => {
            context.pipeline_memories.with(uid, |memory| memory.attempts = 0);
            let stalled = is_true(&context.pipeline_memories.status(&pipeline).conditions, STALLED);
            if stalled { "stalled" } else { "ok" }
        }
        Err(PipelineError::Defect(_)) => "bug",
        Err(_) => "transient",
    };
    context.metrics.reconciled(Kind::Pipeline, outcome, started.elapsed().as_secs_f64());
    result
}

/// When to try again after an error.
pub fn on_error(pipeline: Arc<EventPipeline>, error: &PipelineError, context: Arc<Context>) -> Action {
    let uid = pipeline.metadata.uid.as_deref().unwrap_or_default();
    let attempts = context.pipeline_memories.with(uid, |memory| {
        memory.attempts = memory.attempts.saturating_add(1);
        memory.attempts
    });
    let delay = RECONCILE.after(attempts);
    tracing::warn!(
        namespace = pipeline.metadata.namespace, name = pipeline.metadata.name, attempts,
        delay_ms = delay.as_millis() as u64, %error, "a pipeline could not be reconciled"
    );
    Action::requeue(delay)
}

/// What is on the pods that are made from these objects.
fn roll_hash(objects: &Objects) -> String {
    let template = objects.deployment.spec.as_ref().and_then(|spec| spec.template.metadata.as_ref());
    let annotations = template.and_then(|template| template.annotations.as_ref());
    annotations.and_then(|all| all.get(ROLL_ANNOTATION)).cloned().unwrap_or_default()
}

/// What became of applying.
struct Applied {
    /// All pods are as they should be.
    settled: bool,
    /// What is on the pods of each processor whose pods are.
    rolled: BTreeMap<String, String>,
    /// The numbers of pods that were set.
    wanted: BTreeMap<String, i32>,
}

/// One pipeline and all that it takes to bring it closer to its resource.
pub(super) struct One<'a> {
    pub(super) pipeline: &'a EventPipeline,
    pub(super) context: &'a Context,
    pub(super) about: ObjectReference,
}

impl One<'_> {
    async fn reconcile(&self) -> Result<Action, PipelineError> {
        // What it owned goes with it: every object has it as its owner. Kafka users have no owner.
        if self.pipeline.metadata.deletion_timestamp.is_some() {
            return self.finish().await;
        }
        let previous = self.context.pipeline_memories.status(self.pipeline);
        for record in once::first_seen::<ReplayStatus>(&self.pipeline.spec, &previous) {
            once::note(self.context, self.pipeline, &self.about, record).await?;
        }
        for record in once::first_seen::<RedriveStatus>(&self.pipeline.spec, &previous) {
            once::note(self.context, self.pipeline, &self.about, record).await?;
        }
        let world = resolve(self.context, self.pipeline).await?;
        // What watches comes first, and whether or not the rest can be: a pipeline that never comes up is to be noticed too.
        if world.taken.is_empty() {
            let applier = Applier { context: self.context, pipeline: self.pipeline };
            applier.monitoring(&monitoring(self.context, self.pipeline)?).await?;
        }
        match validate(self.pipeline, &world) {
            Err(Objection::Refuse(refusal)) => {
                self.report(Outcome::Refused(refusal), self.kept(), None).await?;
                Ok(self.rest())
            }
            Err(Objection::Wait(refusal)) => {
                self.report(Outcome::Waiting(refusal), self.kept(), None).await?;
                Ok(Action::requeue(if world.young { YOUNG } else { WAIT }))
            }
            Ok(()) => self.run(&world).await,
        }
    }

    /// Topics first: a process that starts finds those that it needs.
    async fn run(&self, world: &World) -> Result<Action, PipelineError> {
        let topics = owned::topics(self.pipeline, world);
        let applier = Applier { context: self.context, pipeline: self.pipeline };
        for topic in &topics {
            applier.topic(topic).await?;
        }
        if let Some(refusal) = failures::awaited(self.pipeline, world) {
            self.report(Outcome::Waiting(refusal), self.kept(), None).await?;
            return Ok(Action::requeue(WAIT));
        }
        let (standing, unsure) = match self.users().prepare().await? {
            Standing::Ready(versions) => (versions, false),
            Standing::Unsure(versions) => (versions, true),
            // Nothing that is watched changes when somebody sets it right.
            Standing::Refused(refusal) => {
                self.report(Outcome::Refused(refusal), self.kept(), None).await?;
                return Ok(Action::requeue(self.context.config.drift_interval));
            }
        };
        let Applied { settled, rolled, wanted } = self.apply(world, standing).await?;
        let released = applier.prune_topics(&topics).await?;
        // One Event: of several alike the API keeps the first, and a number.
        if !released.is_empty() {
            let note = format!(
                "of KafkaTopic {} no processor has need any more, and the resource goes; the topic stays in Kafka, with what is in it",
                released.join(", ")
            );
            self.context.events.normal(&self.about, "TopicReleased", "Prune", note).await;
        }
        if unsure {
            return Ok(Action::requeue(WAIT));
        }
        let turn = self.turn(&wanted).await?;
        if turn == Turn::Again {
            return Ok(Action::requeue(Duration::ZERO));
        }
        let retired = match self.users().retire(&rolled).await {
            // Whoever runs has a user; what is left over can wait.
            Err(PipelineError::Kafka(error)) => {
                tracing::warn!(%error, "Kafka users of before are left for now");
                return Ok(Action::requeue(if turn == Turn::Wait { GLANCE } else { WAIT }));
            }
            retired => retired?,
        };
        // Pods may get into trouble, or end, without their Deployment changing.
        Ok(match turn {
            Turn::Rest if settled && retired => self.rest(),
            Turn::Rest => Action::requeue(LOOK),
            Turn::Wait | Turn::Again => Action::requeue(GLANCE),
        })
    }

    /// A step of what runs once for each id. `wanted`: the numbers of pods that were set.
    async fn turn(&self, wanted: &BTreeMap<String, i32>) -> Result<Turn, PipelineError> {
        let views = self.views(&self.kept());
        // What is watched may be from before it was scaled.
        let scaled = |view: &View| wanted.get(&view.line.name).is_none_or(|count| view.line.replicas == Some(*count));
        let is_settled = |name: &str| views.iter().any(|view| view.line.name == name && view.settled && scaled(view));
        let replays = replay::turn(self.context, self.pipeline, &self.about, is_settled).await?;
        Ok(replays.max(redrive::turn(self.context, self.pipeline, &self.about).await?))
    }

    /// Nothing is to be done; but others who scale come and go unseen.
    fn rest(&self) -> Action {
        let scaled = self.pipeline.spec.processors.iter().any(|processor| processor.scaling.is_some());
        if scaled { Action::requeue(LOOK_FOR_RIVALS) } else { Action::await_change() }
    }

    /// Lets go of what has no owner that the garbage collector knows.
    async fn finish(&self) -> Result<Action, PipelineError> {
        let refusal = match users::finish(&self.users()).await {
            Ok(Left::Nothing) => return Ok(Action::await_change()),
            Ok(Left::Pods) => return Ok(Action::requeue(ENDING)),
            Err(PipelineError::Refused(refusal)) => refusal,
            Err(PipelineError::Kafka(error)) => Refusal::new("KafkaUsersLeft", users::left(&error)),
            Err(error) => return Err(error),
        };
        self.report(Outcome::Waiting(refusal), self.kept(), None).await?;
        Ok(Action::requeue(WAIT))
    }

    fn users(&self) -> Users<'_> {
        Users { context: self.context, pipeline: self.pipeline, about: &self.about }
    }

    /// Applies every processor.
    async fn apply(&self, world: &World, own_secrets: Versions) -> Result<Applied, PipelineError> {
        let replays = self.context.pipeline_memories.status(self.pipeline).replays;
        let scales = self.scales(&replays);
        self.record_before_suspend(&scales).await?;
        let secrets: Vec<&str> = world.secrets.values().flatten().map(|secret| secret.version.as_str()).collect();
        let awake = |(name, scale): (&String, &Scale)| Some((name.clone(), scale.awake(self.live(name))?));
        let surroundings = Surroundings {
            images: &world.images,
            secrets_version: secrets.join(","),
            own_secrets,
            replicas: scales.iter().filter_map(awake).collect(),
            generations: self.generations(&replays),
        };
        let objects = build(self.pipeline, &surroundings).map_err(|error| PipelineError::Defect(error.to_string()))?;
        let applier = Applier { context: self.context, pipeline: self.pipeline };
        for (processor, objects) in self.pipeline.spec.processors.iter().zip(&objects) {
            applier.apply(objects, scales.get(&processor.name).and_then(|scale| scale.replicas)).await?;
        }
        applier.prune(&objects, &monitoring(self.context, self.pipeline)?).await?;
        let config_hash = hash(objects.iter().map(|objects| objects.settings_hash.as_str()));
        let wanted = scales.iter().filter_map(|(name, scale)| Some((name.clone(), scale.replicas?))).collect();
        let kept = scales.into_iter().filter_map(|(name, scale)| Some((name, scale.before_suspend?))).collect();
        let mut caveats = failures::caveats(self.pipeline, world);
        caveats.extend(self.stopped());
        let settled = self.report(Outcome::Applied(caveats), kept, Some(config_hash)).await?;
        let hashes = objects.iter().map(roll_hash);
        let rolled = self.pipeline.spec.processors.iter().map(|one| one.name.clone()).zip(hashes);
        let rolled = rolled.filter(|(processor, _)| settled.contains(processor)).collect();
        Ok(Applied { settled: settled.len() == self.pipeline.spec.processors.len(), rolled, wanted })
    }

    /// Who is stopped though the spec does not say so.
    fn stopped(&self) -> impl Iterator<Item = String> {
        self.pipeline.spec.processors.iter().filter_map(|processor| {
            let topic = stopped_for(self.context, self.pipeline, processor)?;
            Some(format!("{} is stopped while topic {topic}, which it writes to, grows", processor.name))
        })
    }

    fn generations(&self, replays: &[ReplayStatus]) -> BTreeMap<String, Generation> {
        let of = |processor: &Processor| Some((processor.name.clone(), replay::generation(replays, &processor.name)?));
        self.pipeline.spec.processors.iter().filter_map(of).collect()
    }

    /// Each processor's numbers.
    fn scales(&self, replays: &[ReplayStatus]) -> BTreeMap<String, Scale> {
        let kept = self.kept();
        let of = |processor: &Processor| {
            let name = processor.name.clone();
            let kept = kept.get(&name).copied();
            let live = self.live(&name);
            let decided = scaling::wanted(self.context, self.pipeline, processor, live);
            let grows = || stopped_for(self.context, self.pipeline, processor).is_some();
            let stop = self.pipeline.spec.suspend() || replay::is_stopped(replays, &name) || grows();
            let scale = scale(processor, decided, stop, kept, live);
            (name, scale)
        };
        self.pipeline.spec.processors.iter().map(of).collect()
    }

    /// Numbers to come back to, from the status.
    fn kept(&self) -> BTreeMap<String, i32> {
        let status = self.context.pipeline_memories.status(self.pipeline);
        let of = |line: tidegate_crds::pipeline::ProcessorStatus| Some((line.name, line.replicas_before_suspend?));
        status.processors.into_iter().filter_map(of).collect()
    }

    fn live(&self, processor: &str) -> Option<i32> {
        let namespace = self.pipeline.metadata.namespace.as_deref().unwrap_or_default();
        let deployment = self.context.children.deployment(namespace, &object_name(self.pipeline, processor))?;
        deployment.spec.as_ref().and_then(|spec| spec.replicas)
    }

    /// The numbers to come back to are on record before anything is stopped.
    async fn record_before_suspend(&self, scales: &BTreeMap<String, Scale>) -> Result<(), PipelineError> {
        let previous = self.context.pipeline_memories.status(self.pipeline);
        let mut next = previous.clone();
        for (name, scale) in scales {
            let Some(before) = scale.before_suspend else { continue };
            match next.processors.iter_mut().find(|line| line.name == *name) {
                Some(line) => line.replicas_before_suspend = Some(before),
                None => next.processors.push(tidegate_crds::pipeline::ProcessorStatus {
                    name: name.clone(),
                    replicas_before_suspend: Some(before),
                    ..Default::default()
                }),
            }
        }
        self.write(&previous, next).await
    }

    /// What the API server refuses is the spec's fault and waits for a change; the rest is tried again.
    async fn trouble(&self, error: &PipelineError) -> Option<Action> {
        if error.is_of_the_end() {
            return Some(Action::await_change());
        }
        if let PipelineError::Kafka(kafka) = error {
            let refusal = Refusal::new("KafkaUnreachable", format!("the Kafka users of the processors wait: {kafka}"));
            // Tried again sooner than this says.
            let _ = self.report(Outcome::Waiting(refusal), self.kept(), None).await;
            return None;
        }
        let refusal = error.refusal()?;
        self.report(Outcome::Refused(refusal), self.kept(), None).await.ok()?;
        Some(Action::await_change())
    }

    pub(super) async fn write(
        &self,
        previous: &EventPipelineStatus,
        next: EventPipelineStatus,
    ) -> Result<(), PipelineError> {
        record::write(self.context, self.pipeline, previous, next).await
    }

    pub(super) fn uid(&self) -> &str {
        self.pipeline.metadata.uid.as_deref().unwrap_or_default()
    }
}
