//! The one writer of this process. Requests that arrive while a commit is in flight are the next batch: one transaction, a handful
//! of statements and one flush of the log for all of them. A batch of one is the plain case.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use sqlx::{PgConnection, PgPool};
use tidegate_contracts::{
    Envelope,
    wallet::{WalletEvent, chain::Hash},
};
use tidegate_runtime::{
    crash_point,
    outbox::{self, OutboxEvent},
};
use tidegate_settings::Overdraft;
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};
use uuid::Uuid;

use super::{
    answer::Answer,
    chain::{self, Written},
    lock_of,
    metrics::CommitterMetrics,
    plan::{Plan, Planned, Request, Terms, plan},
    store::{self, Loaded, Writes},
};
use crate::{
    domain::WalletId,
    error::{Again, StoreError},
};

/// Most requests of one batch.
const BATCH: usize = 256;
/// Most commands of one batch, unless its only request is a bulk of more: what is locked at once is bounded by it.
const COMMANDS: usize = 512;
/// Requests that may wait; behind them, callers wait to be let in.
const QUEUE: usize = 1024;
/// How long a batch is tried again while the database cannot be reached.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often a batch is tried again because somebody else was there first.
const CONTESTS: u32 = 20;

/// Why a request has no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CommitError {
    /// Nothing was written.
    #[error("the database cannot be reached; nothing was written")]
    Unavailable,
    /// A commit was sent and its outcome never heard.
    #[error("the database went away during the commit; whether it took place is not known")]
    InDoubt,
    /// It cannot be written as it is.
    #[error("the request could not be written; nothing was")]
    Failed,
    /// The process is on its way down.
    #[error("the service is stopping; nothing was written")]
    Stopping,
}

/// What the committer needs that is not a decision.
pub struct Surroundings {
    /// The database of the wallet.
    pub pool: PgPool,
    /// The topic that events go to.
    pub topic: String,
    /// Whether balances may go below zero.
    pub overdraft: Overdraft,
    /// The time, to the millisecond.
    pub now: fn() -> Timestamp,
    /// A new UUIDv7.
    pub new_id: fn() -> Uuid,
    /// What is counted.
    pub metrics: CommitterMetrics,
}

/// Where requests are handed in. Cheap to clone; the writer ends when the last one is gone.
#[derive(Clone)]
pub struct Committer {
    queue: mpsc::Sender<Waiting>,
}

struct Waiting {
    request: Request,
    reply: oneshot::Sender<Result<Answer, CommitError>>,
}

impl Committer {
    /// The way in, and the writer, which is to be spawned and ends by itself.
    pub fn new(surroundings: Surroundings) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (queue, waiting) = mpsc::channel(QUEUE);
        (Self { queue }, Writer { surroundings: Arc::new(surroundings) }.run(waiting))
    }

    /// Hands the request in and waits until its outcome is durable.
    pub async fn submit(&self, request: Request) -> Result<Answer, CommitError> {
        let (reply, answer) = oneshot::channel();
        self.queue.send(Waiting { request, reply }).await.map_err(|_| CommitError::Stopping)?;
        answer.await.unwrap_or(Err(CommitError::Stopping))
    }
}

struct Writer {
    surroundings: Arc<Surroundings>,
}

/// A plan whose commit was sent, but not heard of.
struct Doubt {
    /// One of its events: they are stored all or none.
    event_id: Uuid,
    answers: Vec<Answer>,
}

impl Writer {
    async fn run(self, mut queue: mpsc::Receiver<Waiting>) {
        let mut waiting = VecDeque::with_capacity(BATCH);
        let mut arrived = Vec::with_capacity(BATCH);
        loop {
            if waiting.is_empty() && queue.recv_many(&mut arrived, BATCH).await == 0 {
                return;
            }
            while arrived.len() + waiting.len() < BATCH {
                let Ok(another) = queue.try_recv() else { break };
                arrived.push(another);
            }
            waiting.extend(arrived.drain(..));
            let (requests, replies): (Vec<_>, Vec<_>) =
                waiting.drain(..next_batch(&waiting)).map(|waiting| (waiting.request, waiting.reply)).unzip();
            let outcomes = self.settle(&requests).await;
            for (reply, outcome) in replies.into_iter().zip(outcomes) {
                // Whoever asked may have gone; what was written stays written.
                let _ = reply.send(outcome);
            }
        }
    }

    /// Commits the batch; if it cannot be written as it is, its requests one by one, so that only the culprit pays.
    async fn settle(&self, requests: &[Request]) -> Vec<Result<Answer, CommitError>> {
        match self.persist(requests).await {
            Ok(answers) => answers.into_iter().map(Ok).collect(),
            Err(CommitError::Failed) if requests.len() > 1 => {
                let mut outcomes = Vec::with_capacity(requests.len());
                for request in requests {
                    let outcome = self.persist(std::slice::from_ref(request)).await;
                    outcomes.push(outcome.and_then(|mut answers| answers.pop().ok_or(CommitError::Failed)));
                }
                outcomes
            }
            Err(error) => requests.iter().map(|_| Err(error.clone())).collect(),
        }
    }

    /// Tries until it is written, or cannot be.
    async fn persist(&self, requests: &[Request]) -> Result<Vec<Answer>, CommitError> {
        let started = Instant::now();
        let mut doubt = None;
        for attempt in 0_u32.. {
            let error = match self.attempt(requests, &mut doubt).await {
                Ok(answers) => {
                    self.surroundings.metrics.committed(requests, &answers, started.elapsed().as_secs_f64());
                    return Ok(answers);
                }
                Err(error) => error,
            };
            self.surroundings.metrics.attempt_failed();
            let again = error.again();
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                requests = requests.len(),
                attempt,
                "a batch failed"
            );
            match again {
                Again::Now if attempt < CONTESTS => {}
                Again::Later if started.elapsed() < PATIENCE => {
                    tokio::time::sleep(Duration::from_millis(50 << attempt.min(4))).await;
                }
                _ if doubt.is_some() => return Err(CommitError::InDoubt),
                Again::Never => return Err(CommitError::Failed),
                Again::Now | Again::Later => return Err(CommitError::Unavailable),
            }
        }
        Err(CommitError::Unavailable)
    }

    async fn attempt(&self, requests: &[Request], doubt: &mut Option<Doubt>) -> Result<Vec<Answer>, StoreError> {
        let holds = holds(&self.surroundings.pool, requests).await?;
        let mut transaction = store::begin(&self.surroundings.pool, &locks(requests, &holds)).await?;
        crash_point!("committer::locked");
        // Behind the locks: a commit that was in doubt has ended by now, one way or the other.
        if let Some(Doubt { event_id, .. }) = *doubt {
            let took_place = store::is_stored(&mut transaction, event_id).await?;
            if let Some(Doubt { answers, .. }) = doubt.take().filter(|_| took_place) {
                return Ok(answers);
            }
        }
        let now = (self.surroundings.now)();
        let Loaded { book, mut heads, given, .. } = load(&mut transaction, requests, &holds).await?;
        let Surroundings { overdraft, new_id, .. } = *self.surroundings;
        let plan = plan(book, &given, requests, Terms { overdraft, now, new_id });
        self.write(&mut transaction, requests, &plan, &mut heads, now).await?;
        crash_point!("committer::written");
        if let Err(error) = transaction.commit().await {
            // A batch without an event has nothing to be in doubt about: its refusals are the same next time.
            *doubt = plan
                .events
                .first()
                .map(|event| event.event_id)
                .map(|event_id| Doubt { event_id, answers: plan.answers });
            return Err(StoreError::on("committing")(error));
        }
        crash_point!("committer::committed");
        Ok(plan.answers)
    }

    async fn write(
        &self,
        connection: &mut PgConnection,
        requests: &[Request],
        plan: &Plan,
        heads: &mut HashMap<WalletId, Hash>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let keep = |&n: &usize| Some((requests[n].key.as_ref()?, &plan.answers[n]));
        let answers: Vec<_> = plan.keep.iter().filter_map(keep).collect();
        if plan.events.is_empty() && answers.is_empty() {
            return Ok(());
        }
        let events = chain::links(heads, envelopes(requests, plan));
        let wallets: Vec<_> = plan.wallets().into_iter().filter_map(|w| Some((w, *heads.get(&w.id)?))).collect();
        let writes = Writes { now, events: &events, wallets: &wallets, holds: &plan.holds(), answers: &answers };
        store::write(connection, writes).await?;
        let trace = |planned: &Planned| requests[planned.request].traceparent.as_deref();
        let record = |(event, planned): (&Written, _)| {
            let value = event.envelope.to_bytes_with(&event.data);
            OutboxEvent::with_payload(&self.surroundings.topic, &event.envelope, value, trace(planned))
        };
        let records: Vec<_> = events.iter().zip(&plan.events).map(record).collect();
        Ok(outbox::append(connection, &records).await?)
    }
}

/// How many of those that wait are the next batch: as many as hold no more commands than a batch may, and at least one.
fn next_batch(waiting: &VecDeque<Waiting>) -> usize {
    let mut commands = 0;
    let fits = waiting.iter().take(BATCH).take_while(|waiting| {
        commands += waiting.request.commands().len();
        commands <= COMMANDS
    });
    fits.count().max(1).min(waiting.len())
}

/// The holds that the requests name, by their ids, and the wallet of each that was placed.
async fn holds(pool: &PgPool, requests: &[Request]) -> Result<HashMap<Uuid, WalletId>, StoreError> {
    let named: BTreeSet<Uuid> = requests.iter().flat_map(Request::commands).filter_map(|c| c.hold()).collect();
    if named.is_empty() {
        return Ok(HashMap::new());
    }
    store::wallets_of_holds(pool, &named.into_iter().collect::<Vec<_>>()).await
}

/// Everything that the requests may be decided on. Chains that an older build left behind are completed first.
async fn load(
    connection: &mut PgConnection,
    requests: &[Request],
    holds: &HashMap<Uuid, WalletId>,
) -> Result<Loaded, StoreError> {
    let named = requests.iter().flat_map(Request::commands).flat_map(|command| command.wallets());
    let ids: BTreeSet<&str> = named.chain(holds.values()).map(WalletId::as_str).collect();
    let keys: Vec<&str> = requests.iter().filter_map(|r| r.key.as_ref()).map(|key| key.key.as_str()).collect();
    let mut loaded = store::load(connection, &ids.into_iter().collect::<Vec<_>>(), &keys).await?;
    for wallet in std::mem::take(&mut loaded.unchained) {
        let head = chain::complete(connection, wallet.as_str()).await?;
        loaded.heads.insert(wallet, head);
    }
    if !holds.is_empty() {
        let holds = store::holds(connection, &holds.keys().copied().collect::<Vec<_>>()).await?;
        loaded.book.holds = holds.into_iter().map(|hold| (hold.id, hold)).collect();
    }
    Ok(loaded)
}

/// The events of the plan as they are stored and published, each with its wallet.
pub(super) fn envelopes(requests: &[Request], plan: &Plan) -> Vec<(WalletId, Envelope<WalletEvent>)> {
    let envelope = |planned: &Planned| {
        let after = &planned.decided.after;
        let envelope = Envelope {
            event_id: planned.event_id,
            aggregate_id: after.id.to_string(),
            aggregate_version: after.version,
            timestamp: after.updated_at,
            correlation_id: requests[planned.request].correlation_id,
            causation_id: None,
            event: planned.decided.event.clone(),
        };
        (after.id.clone(), envelope)
    };
    plan.events.iter().map(envelope).collect()
}

/// The locks of a batch, in the one order that everybody takes them in: its wallets', and its keys', so that the second of two
/// identical requests finds the answer of the first.
fn locks(requests: &[Request], holds: &HashMap<Uuid, WalletId>) -> Vec<i64> {
    let named = requests.iter().flat_map(Request::commands).flat_map(|command| command.wallets());
    let wallets = named.chain(holds.values()).map(|wallet| lock_of("wallet", wallet.as_str()));
    let keys = requests.iter().filter_map(|request| request.key.as_ref()).map(|key| lock_of("key", &key.key));
    wallets.chain(keys).collect::<BTreeSet<_>>().into_iter().collect()
}
