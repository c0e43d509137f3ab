//! Transfers over HTTP, closed loop: each connection sends its next request when it has its answer.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use futures::future::try_join_all;
use hdrhistogram::Histogram;
use tidegate_verify::{client::WalletApi, load::microseconds};
use tokio::time::sleep_until;

use super::Spread;
use crate::{cluster::Cluster, http::Connection, usage::Census};

/// What each wallet begins with, in minor units: more than any run can move out of it.
const FUNDS: i64 = 100_000_000_000;
/// Requests at a time while wallets are opened.
const OPENING: usize = 32;

/// Wallets with money in them.
pub struct Purse {
    prefix: String,
    wallets: u32,
    requests: AtomicU64,
}

/// What to run.
#[derive(Clone, Debug)]
pub struct Load {
    /// Between which wallets.
    pub spread: Spread,
    /// On how many connections.
    pub connections: u32,
    /// How long before counting.
    pub warm_up: Duration,
    /// How long to count.
    pub counted: Duration,
    /// What each transfer is called; nothing if that is empty. It is in both of its events.
    pub reference: String,
}

/// What came of it.
pub struct Window {
    /// Transfers that were answered, a second.
    pub rate: f64,
    /// Time of each, microseconds.
    pub latency: Histogram<u64>,
    /// Who used how much of a processor.
    pub processors: BTreeMap<String, f64>,
}

impl Purse {
    /// Opens the wallets and fills them.
    pub async fn fill(cluster: &Cluster, wallets: u32) -> anyhow::Result<Arc<Self>> {
        let purse = Self { prefix: cluster.name("wallet"), wallets, requests: AtomicU64::new(0) };
        let api = WalletApi::new(&cluster.environment.wallet_url)?;
        let next = AtomicU64::new(0);
        let opening = || async {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= u64::from(wallets) {
                    return anyhow::Ok(());
                }
                let wallet = purse.wallet(number);
                api.open(&wallet, &format!("{wallet}-open")).await?;
                api.deposit(&wallet, FUNDS, &format!("{wallet}-fill")).await?;
            }
        };
        try_join_all((0..OPENING).map(|_| opening())).await?;
        Ok(Arc::new(purse))
    }

    fn wallet(&self, number: u64) -> String {
        format!("{}-{number}", self.prefix)
    }
}

impl Load {
    /// Runs it, on a thread of its own.
    pub async fn run(self, cluster: &Cluster, purse: &Arc<Purse>, census: &Census) -> anyhow::Result<Window> {
        let (url, counted) = (cluster.wallet_url().await?, self.counted.as_secs_f64());
        let begins = Instant::now() + self.warm_up;
        let ends = begins + self.counted;
        let generating = Generating { load: self, purse: Arc::clone(purse), begins, ends };
        let generator = tokio::task::spawn_blocking(move || generating.run(&url));
        sleep_until(begins.into()).await;
        let (before, taken) = (census.usage(), Instant::now());
        sleep_until(ends.into()).await;
        let processors = census.usage().since(&before, taken.elapsed().as_secs_f64());
        let latency = generator.await.context("the generator broke off")??;
        let rate = latency.len() as f64 / counted;
        Ok(Window { rate, latency, processors })
    }
}

struct Generating {
    load: Load,
    purse: Arc<Purse>,
    begins: Instant,
    ends: Instant,
}

impl Generating {
    /// One thread serves all connections: it has little to do.
    fn run(&self, url: &str) -> anyhow::Result<Histogram<u64>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let connections = (0..self.load.connections).map(|number| self.connection(url, number));
            let mut all = microseconds();
            for latency in try_join_all(connections).await? {
                all.add(latency)?;
            }
            Ok(all)
        })
    }

    async fn connection(&self, url: &str, number: u32) -> anyhow::Result<Histogram<u64>> {
        let mut connection = Connection::open(url).await?;
        let mut latency = microseconds();
        let reference = match self.load.reference.as_str() {
            "" => String::new(),
            reference => format!(r#","reference":"{reference}""#),
        };
        let mut random = Random(u64::from(number) ^ (self.purse.requests.load(Ordering::Relaxed) << 20));
        loop {
            let asked = Instant::now();
            if asked >= self.ends {
                return Ok(latency);
            }
            let (from, to) = self.load.spread.pick(&mut random, u64::from(self.purse.wallets));
            let key = format!("{}-{}", self.purse.prefix, self.purse.requests.fetch_add(1, Ordering::Relaxed));
            let (from, to) = (self.purse.wallet(from), self.purse.wallet(to));
            let body = format!(r#"{{"from":"{from}","to":"{to}","amount":"0.01"{reference}}}"#);
            let (status, answer) = connection.post("/transfers", &key, &body).await?;
            if status != 201 {
                bail!("a transfer was answered {status}: {}", String::from_utf8_lossy(answer));
            }
            let answered = Instant::now();
            if answered >= self.begins && answered < self.ends {
                latency.saturating_record((answered - asked).as_micros() as u64);
            }
        }
    }
}

impl Spread {
    fn pick(self, random: &mut Random, wallets: u64) -> (u64, u64) {
        match self {
            Self::Uniform => {
                let from = random.below(wallets);
                (from, (from + 1 + random.below(wallets - 1)) % wallets)
            }
            Self::Hot => {
                let other = 1 + random.below(wallets - 1);
                if random.below(2) == 0 { (0, other) } else { (other, 0) }
            }
        }
    }
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((u128::from(z ^ (z >> 31)) * u128::from(bound)) >> 64) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transfer_is_between_two_wallets() {
        for spread in [Spread::Uniform, Spread::Hot] {
            let mut random = Random(1);
            for _ in 0..10_000 {
                let (from, to) = spread.pick(&mut random, 3);
                assert!(from != to && from < 3 && to < 3, "{spread:?} {from} {to}");
                assert!(spread == Spread::Uniform || from == 0 || to == 0);
            }
        }
    }
}
