//! A run: pipelines of its own, load on them, rounds of faults, and what there is when everything is undone.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError, atomic::AtomicBool, atomic::Ordering},
    time::{Duration, Instant},
};

use super::{
    Kind,
    inject::Injector,
    look::look,
    orders::{self, Sent},
    orphans::{orphans, unconverged},
    stage::{self, Stage},
    wanted::{PRICING, Wanted},
};
use crate::{
    acknowledged,
    client::WalletApi,
    environment::Environment,
    faults::{
        FaultError,
        cluster::wait_for,
        records::{blocking, unique},
        rounds::{self, Inject, Rounds},
    },
    load::{self, Outcome, drive},
    resources::as_json,
    stores::settle,
    verdict::Verdict,
};

/// How long everything may take to be as the specs ask, once all is undone. What the operator looks for only now and then, such as
/// rights that somebody gave, it finds within a minute.
const CONVERGED_WITHIN: Duration = Duration::from_secs(360);
/// How long the last requests, the recovery and the projections may take after the last round.
const AFTERWARDS: Duration = Duration::from_secs(1_800);
const SETTLED_WITHIN: Duration = Duration::from_secs(180);
/// Money moves so often a second.
const RATE: u32 = 20;

/// What to do.
#[derive(Clone, Debug)]
pub struct Options {
    /// How long faults are injected.
    pub time: Duration,
    /// Decides which faults come when, what they change, and what the load does.
    pub seed: u64,
    /// Kinds to choose from.
    pub kinds: Vec<Kind>,
    /// The image of docs/examples/python-consumer.
    pub image: String,
    /// Set to end the run early: what is under way is undone, and everything is judged.
    pub stop: Arc<AtomicBool>,
}

/// What a run came to.
#[derive(Debug)]
pub struct Report {
    /// How often each kind was injected.
    pub injected: BTreeMap<Kind, u32>,
    /// What did not go as planned: faults that met nobody, what did not recover.
    pub troubles: Vec<String>,
    /// What the load came to.
    pub load: String,
    /// What there is, and what the stores say.
    pub verdict: Verdict,
}

impl Report {
    /// Whether everything held that must.
    pub fn held(&self) -> bool {
        self.troubles.is_empty() && self.verdict.held()
    }

    /// The faults, a line each kind.
    pub fn faults(&self) -> String {
        let troubles: String = self.troubles.iter().map(|trouble| format!("TROUBLE            {trouble}\n")).collect();
        rounds::describe(&self.injected) + &troubles
    }
}

/// Runs it, in a place of its own that is taken away again; `say` is told what happens.
pub async fn run(local: &Environment, options: &Options, say: impl Fn(&str)) -> Result<Report, FaultError> {
    for left in Stage::of(local, "nobody").await?.leftovers().await? {
        say(&format!("cleaning up after {left}, which was killed"));
        Stage::of(local, &left).await?.clean_up().await?;
    }
    let stage = Stage::of(local, &unique("faults")).await?;
    let injector = Injector::new(&stage, Wanted::base(&stage.run, &options.image));
    let outcome = performance(&stage, &injector, options, &say).await;
    if outcome.is_err() {
        // Whatever it was, nobody stays stopped or cut off.
        let _ = injector.undo_all().await;
    }
    say(&format!("taking {} away", stage.run));
    stage.clean_up().await?;
    outcome
}

async fn performance(
    stage: &Stage,
    injector: &Injector<'_>,
    options: &Options,
    say: &impl Fn(&str),
) -> Result<Report, FaultError> {
    let (base, _) = injector.wanted().await;
    say(&format!("making {}: {} topics, {} pipelines", stage.run, base.topics.len(), base.pipelines.len()));
    stage.set_up().await?;
    injector.undo_all().await?;
    injector.well().await?;
    let mut verdict = Verdict::new();
    if let Err(left) = converge(stage, injector, say).await? {
        return Err(FaultError::Missing(format!("a world to begin with: {}", left.join("; "))));
    }

    let mut load = Load::begin(stage, options)?;
    let mut rounds = Rounds {
        injector,
        time: options.time,
        seed: options.seed,
        once: false,
        stop: options.stop.clone(),
        say,
        injected: BTreeMap::new(),
        troubles: vec![],
    };
    let broken_off = rounds.run(&options.kinds).await;
    let Rounds { injected, mut troubles, .. } = rounds;

    say("undoing what is left, waiting until everything is as the specs ask");
    injector.undo_all().await?;
    injector.well().await?;
    broken_off?;
    let left = converge(stage, injector, say).await?.err().unwrap_or_default();
    verdict.rule("converged", "nothing is there but what the specs ask for, after all edits", &left);

    // Every processor has to be there for what is sent to come out.
    let (wanted, _) = injector.wanted().await;
    injector.ask_for(wanted.restored(&base)).await?;
    let left = converge(stage, injector, say).await?.err().unwrap_or_default();
    verdict.rule("restored", "the same, once the specs are again as they were at the beginning", &left);

    say("ending the load, reading the stores");
    let (outcome, sent) = load.end().await?;
    if outcome.failed > 0 {
        troubles.push(format!("{} operations failed, such as {:?}", outcome.failed, outcome.failures));
    }
    troubles.extend(sent.refused.iter().map(|why| format!("Kafka did not take a record: {why}")));
    let reading = settle(&stage.environment_of(&base), SETTLED_WITHIN).await?;
    verdict.judge(&reading);
    if outcome.failed == 0 {
        let lost = acknowledged::violations(&load.options, &outcome.wallets, &reading.facts);
        verdict.rule("acknowledged", acknowledged::PROMISE, &lost);
    }
    verdict.rule(
        "orders",
        "each order came out of somebody's own program",
        &lost_orders(stage, injector, &base, &sent).await?,
    );

    say("deleting everything");
    let left = nothing_is_left(stage, injector).await?;
    verdict.rule(
        "deleted",
        "with the resources goes all that was made for them, but for what is to be retained",
        &left,
    );
    let report = load::describe(&load.options, &outcome)
        + &format!("orders             {} and {} that were none\n", sent.orders.len(), sent.poison.len());
    Ok(Report { injected, troubles, load: report, verdict })
}

/// Waits until everything is as the specs ask; at the deadline, what is not.
async fn converge(
    stage: &Stage,
    injector: &Injector<'_>,
    say: &impl Fn(&str),
) -> Result<Result<(), Vec<String>>, FaultError> {
    let started = Instant::now();
    let (wanted, retained) = injector.wanted().await;
    let converged = until_nothing_is_wrong("everything is as the specs ask", async || {
        let found = unlike(stage, &wanted).await?;
        if found.is_empty() { Ok(orphans(&look(stage).await?, &wanted, &retained)) } else { Ok(found) }
    })
    .await;
    if converged.is_ok() {
        say(&format!("      as the specs ask after {:.1} s", started.elapsed().as_secs_f64()));
    }
    Ok(converged)
}

/// Resources that are not as they ask to be.
async fn unlike(stage: &Stage, wanted: &Wanted) -> Result<Vec<String>, FaultError> {
    let mut sentences = Vec::new();
    for (kind, asked) in [(stage::Kind::Topic, &wanted.topics), (stage::Kind::Pipeline, &wanted.pipelines)] {
        let found = stage.resources(kind).await?;
        let named = |name: &str| found.iter().find(|found| found.metadata.name.as_deref() == Some(name));
        for (name, resource) in asked.iter().filter(|(_, resource)| resource.there) {
            match named(name) {
                Some(found) => sentences.extend(unconverged(&as_json(found), resource)),
                None => sentences.push(format!("{kind:?} {name} is not there")),
            }
        }
    }
    Ok(sentences)
}

/// Looks until nothing is wrong; at the deadline, what was wrong at the last look.
async fn until_nothing_is_wrong(
    what: &str,
    mut look: impl AsyncFnMut() -> Result<Vec<String>, FaultError>,
) -> Result<(), Vec<String>> {
    let last = Mutex::new(vec![]);
    let keep = |found: Vec<String>| *last.lock().unwrap_or_else(PoisonError::into_inner) = found;
    let waited = wait_for(what, CONVERGED_WITHIN, async || match look().await {
        Ok(found) if found.is_empty() => Ok(()),
        Ok(found) => {
            keep(found);
            Err("something is not".into())
        }
        Err(error) => {
            keep(vec![format!("could not be looked at: {error}")]);
            Err(error.to_string())
        }
    })
    .await;
    waited.map_err(|_| last.into_inner().unwrap_or_else(PoisonError::into_inner))
}

async fn lost_orders(
    stage: &Stage,
    injector: &Injector<'_>,
    base: &Wanted,
    sent: &Sent,
) -> Result<Vec<String>, FaultError> {
    let again = injector.reads_again().await;
    let names = ["orders", "priced", "orders-dlq", PRICING].map(|stem| base.in_kafka(stem));
    let looked = until_nothing_is_wrong("every order came out", async || {
        let (kafka, names) = (stage.environment.kafka.clone(), names.clone());
        let [logged, came] = blocking(move || orders::counts(&kafka, &names)).await?;
        Ok(orders::violations(sent, &logged, &came, again))
    })
    .await;
    Ok(looked.err().unwrap_or_default())
}

/// Deletes all resources and looks until nothing is there but topics that are to be retained; at the deadline, what else is.
async fn nothing_is_left(stage: &Stage, injector: &Injector<'_>) -> Result<Vec<String>, FaultError> {
    let (mut wanted, retained) = injector.wanted().await;
    for (kind, resources) in [(stage::Kind::Pipeline, &mut wanted.pipelines), (stage::Kind::Topic, &mut wanted.topics)]
    {
        for (name, resource) in resources {
            resource.there = false;
            stage.delete(kind, name).await?;
        }
    }
    let looked = until_nothing_is_wrong("nothing is left", async || {
        let found = look(stage).await?;
        let mut wrong = orphans(&found, &wanted, &retained);
        let lost: BTreeSet<&String> = retained.iter().filter(|topic| !found.topics.contains_key(*topic)).collect();
        wrong.extend(lost.into_iter().map(|topic| format!("topic {topic} was to be retained, and is gone")));
        Ok(wrong)
    })
    .await;
    Ok(looked.err().unwrap_or_default())
}

/// Money and orders under way.
struct Load {
    options: load::Options,
    stop: Arc<AtomicBool>,
    money: tokio::task::JoinHandle<Outcome>,
    orders: tokio::task::JoinHandle<Result<Sent, FaultError>>,
}

impl Load {
    fn begin(stage: &Stage, options: &Options) -> Result<Self, FaultError> {
        let stop: Arc<AtomicBool> = Arc::default();
        let load = load::Options {
            wallets: 40,
            operations: load::MOST_OPERATIONS,
            workers: 6,
            seed: options.seed,
            run: stage.run.clone(),
            rate: Some(RATE),
            mix: load::Mix::Full,
            stop: stop.clone(),
            deadline: options.time + AFTERWARDS,
            progress: false,
        };
        let api = WalletApi::patient(&stage.environment.wallet_url, load.deadline)?;
        let (kafka, stopping) = (stage.environment.kafka.clone(), stop.clone());
        let [into_orders, into_events] = ["orders", "events"].map(|stem| format!("{}-{stem}", stage.run));
        let orders = async move { orders::load(&kafka, &into_orders, &into_events, stopping).await };
        Ok(Self { money: tokio::spawn(drive(api, load.clone())), orders: tokio::spawn(orders), options: load, stop })
    }

    /// Waits for what is under way.
    async fn end(&mut self) -> Result<(Outcome, Sent), FaultError> {
        self.stop.store(true, Ordering::SeqCst);
        let ended = |panic: tokio::task::JoinError| FaultError::Interrupted(panic.to_string());
        let outcome = (&mut self.money).await.map_err(ended)?;
        Ok((outcome, (&mut self.orders).await.map_err(ended)??))
    }
}

impl Drop for Load {
    /// A run that is broken off leaves nobody knocking.
    fn drop(&mut self) {
        self.money.abort();
        self.orders.abort();
    }
}
