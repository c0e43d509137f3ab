//! Runs the operations: workers take the next number until all are done, one of them failed for good, or time is up.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{Funds, Hold, Holdings, Operation, Options, Planner};
use crate::client::{CallError, WalletApi, decimal};

/// Failures whose text is kept.
const KEPT_FAILURES: usize = 10;
const PROGRESS_EVERY: Duration = Duration::from_secs(2);

/// What a run came to.
#[derive(Debug)]
pub struct Outcome {
    /// Wallets that were opened.
    pub opened: u64,
    /// Operations that were acknowledged.
    pub succeeded: u64,
    /// Operations (or openings) that were refused or never answered.
    pub failed: u64,
    /// Attempts beyond the first, after a broken connection or a 503.
    pub retries: u64,
    /// What the first failures said.
    pub failures: Vec<String>,
    /// Whether the deadline ended the run.
    pub out_of_time: bool,
    /// Time of the operations, without opening wallets.
    pub took: Duration,
    /// Microseconds from asking until the acknowledgement, retries included.
    pub latency: Histogram<u64>,
    /// What each wallet must have by what was acknowledged; meaningless when an operation failed.
    pub wallets: Vec<Holdings>,
}

struct Shared {
    api: WalletApi,
    options: Options,
    funds: Funds,
    next: AtomicU64,
    succeeded: AtomicU64,
    failed: AtomicU64,
    ends: Instant,
}

struct Share {
    latency: Histogram<u64>,
    failures: Vec<String>,
}

/// Opens the wallets, then runs the operations.
pub async fn drive(api: WalletApi, options: Options) -> Outcome {
    let shared = Arc::new(Shared {
        funds: Funds::new(options.wallets as usize),
        next: AtomicU64::new(0),
        succeeded: AtomicU64::new(0),
        failed: AtomicU64::new(0),
        ends: Instant::now() + options.deadline,
        api,
        options,
    });

    let opening = run(&shared, Phase::Opening).await;
    let opened = shared.succeeded.swap(0, Ordering::SeqCst);
    shared.next.store(0, Ordering::SeqCst);

    let started = Instant::now();
    let mut operating = Share { latency: microseconds(), failures: vec![] };
    if opening.failures.is_empty() {
        operating = run(&shared, Phase::Operating).await;
    }
    let succeeded = shared.succeeded.load(Ordering::SeqCst);
    let failed = shared.failed.load(Ordering::SeqCst);
    let wanted = u64::from(shared.options.wallets) + shared.options.operations;
    let mut failures = opening.failures;
    failures.extend(operating.failures);
    failures.truncate(KEPT_FAILURES);
    Outcome {
        opened,
        succeeded,
        failed,
        retries: shared.api.retries(),
        failures,
        out_of_time: Instant::now() >= shared.ends && opened + succeeded < wanted,
        took: started.elapsed(),
        latency: operating.latency,
        wallets: (0..shared.options.wallets as usize).map(|wallet| shared.funds.of(wallet)).collect(),
    }
}

/// What the workers are at.
#[derive(Clone, Copy)]
enum Phase {
    Opening,
    Operating,
}

/// Runs a phase on all workers.
async fn run(shared: &Arc<Shared>, phase: Phase) -> Share {
    let total = phase.total(&shared.options);
    let reporter = shared.options.progress.then(|| tokio::spawn(report_progress(shared.clone(), phase, total)));
    let mut workers = JoinSet::new();
    for worker in 0..shared.options.workers {
        workers.spawn(work(shared.clone(), phase, total, worker));
    }
    let mut all = Share { latency: microseconds(), failures: vec![] };
    while let Some(share) = workers.join_next().await {
        match share {
            Ok(share) => {
                // Both have the same bounds, so that adding cannot fail.
                let _ = all.latency.add(share.latency);
                all.failures.extend(share.failures);
            }
            Err(panic) => all.failures.push(format!("a worker ended: {panic}")),
        }
    }
    if let Some(reporter) = reporter {
        reporter.abort();
    }
    all
}

async fn work(shared: Arc<Shared>, phase: Phase, total: u64, worker: u32) -> Share {
    let mut planner = Planner::new(shared.options.seed, worker, shared.options.wallets as usize, shared.options.mix);
    let mut share = Share { latency: microseconds(), failures: vec![] };
    let pace = shared.options.pace();
    while Instant::now() < shared.ends && !shared.options.stop.load(Ordering::SeqCst) {
        let number = shared.next.fetch_add(1, Ordering::SeqCst);
        if number >= total {
            break;
        }
        let asked = Instant::now();
        let operation = async {
            match phase {
                Phase::Opening => open(&shared, number).await,
                Phase::Operating => operate(&shared, &mut planner, number).await,
            }
        };
        // A call that is being repeated when time is up is a failure: nobody knows what became of it.
        let answer = match tokio::time::timeout_at(shared.ends.into(), operation).await {
            Ok(answer) => answer.map_err(|error| error.to_string()),
            Err(_) => Err("the deadline of the run came before the answer".to_owned()),
        };
        match answer {
            Ok(()) => {
                shared.succeeded.fetch_add(1, Ordering::SeqCst);
                share.latency.saturating_record(u64::try_from(asked.elapsed().as_micros()).unwrap_or(u64::MAX));
            }
            Err(what) => {
                shared.failed.fetch_add(1, Ordering::SeqCst);
                if share.failures.len() < KEPT_FAILURES {
                    share.failures.push(what);
                }
            }
        }
        if matches!(phase, Phase::Operating) && asked.elapsed() < pace {
            tokio::time::sleep_until((asked + pace).into()).await;
        }
    }
    share
}

async fn open(shared: &Shared, number: u64) -> Result<(), CallError> {
    let wallet = shared.options.wallet(number as usize);
    shared.api.open(&wallet, &format!("{wallet}-open")).await.map(drop)
}

async fn operate(shared: &Shared, planner: &mut Planner, number: u64) -> Result<(), CallError> {
    let Shared { api, options, funds, .. } = shared;
    let key = format!("{}-operation-{number}", options.run);
    let operation = planner.next(funds);
    let (path, body) = request(options, &operation);
    let answer = api.post(&path, &body, &key).await?;
    if let Operation::Hold { from, minor } = operation {
        let id = answer["holdId"].as_str().and_then(|id| id.parse().ok());
        let id = id.ok_or(CallError::Unexpected { path, body: answer })?;
        planner.opened(Hold { id, wallet: from, minor });
    }
    funds.acknowledge(&operation);
    Ok(())
}

/// Path and body of the request that asks for an operation.
fn request(options: &Options, operation: &Operation) -> (String, Value) {
    let wallet = |index: usize| options.wallet(index);
    match operation {
        Operation::Deposit { to, minor } => {
            (format!("wallets/{}/deposits", wallet(*to)), json!({"amount": decimal(*minor)}))
        }
        Operation::Withdrawal { from, minor } => {
            (format!("wallets/{}/withdrawals", wallet(*from)), json!({"amount": decimal(*minor)}))
        }
        Operation::Transfer { from, to, minor } => {
            ("transfers".into(), json!({"from": wallet(*from), "to": wallet(*to), "amount": decimal(*minor)}))
        }
        Operation::Hold { from, minor } => {
            ("holds".into(), json!({"walletId": wallet(*from), "amount": decimal(*minor)}))
        }
        Operation::Capture { hold, minor, to } => {
            (format!("holds/{}/capture", hold.id), json!({"amount": decimal(*minor), "to": to.map(wallet)}))
        }
        Operation::Release { hold } => (format!("holds/{}/release", hold.id), json!({})),
        Operation::Bulk(operations) => {
            let part = |operation: &Operation| {
                let (_, mut body) = request(options, operation);
                match operation {
                    Operation::Deposit { to, .. } => {
                        body["type"] = json!("Deposit");
                        body["walletId"] = json!(wallet(*to));
                    }
                    Operation::Withdrawal { from, .. } => {
                        body["type"] = json!("Withdraw");
                        body["walletId"] = json!(wallet(*from));
                    }
                    _ => body["type"] = json!("Transfer"),
                }
                body
            };
            let parts: Vec<Value> = operations.iter().map(part).collect();
            ("bulk".into(), json!({"mode": "Atomic", "operations": parts}))
        }
    }
}

async fn report_progress(shared: Arc<Shared>, phase: Phase, total: u64) {
    let started = Instant::now();
    let mut ticks = tokio::time::interval(PROGRESS_EVERY);
    ticks.tick().await;
    loop {
        ticks.tick().await;
        let succeeded = shared.succeeded.load(Ordering::SeqCst);
        eprintln!(
            "{}: {succeeded} of {total}, {:.0} a second, {} failed, {} repeated",
            phase.name(),
            succeeded as f64 / started.elapsed().as_secs_f64(),
            shared.failed.load(Ordering::SeqCst),
            shared.api.retries(),
        );
    }
}

impl Phase {
    fn name(self) -> &'static str {
        match self {
            Self::Opening => "opening wallets",
            Self::Operating => "operations",
        }
    }

    fn total(self, options: &Options) -> u64 {
        match self {
            Self::Opening => u64::from(options.wallets),
            Self::Operating => options.operations,
        }
    }
}

/// An empty histogram of 1 microsecond to 10 minutes, to 3 digits.
pub fn microseconds() -> Histogram<u64> {
    match Histogram::new_with_bounds(1, 600_000_000, 3) {
        Ok(histogram) => histogram,
        Err(_) => unreachable!("the bounds are constants that hdrhistogram accepts"),
    }
}
