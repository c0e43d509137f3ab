//! The reference: pgbench runs the textbook's transfer on a database of its own, by the server's own socket.

use std::{collections::BTreeMap, time::Instant};

use anyhow::{Context, ensure};
use sqlx::AssertSqlSafe;

use super::{Options, Spread};
use crate::{
    cluster::{Cluster, Scratch, in_postgres},
    usage::Census,
};

const TABLES: &str = include_str!("../../sql/textbook.sql");
const TRANSFER: &str = include_str!("../../sql/transfer.pgbench");

/// The textbook's wallets.
pub struct Textbook {
    database: String,
}

/// What pgbench said.
pub struct Reference {
    /// Transfers a second.
    pub rate: f64,
    /// Mean time of a transfer, ms.
    pub latency_ms: f64,
    /// Who used how much of a processor.
    pub processors: BTreeMap<String, f64>,
}

impl Textbook {
    /// Makes its database, tables and wallets.
    pub async fn open(cluster: &Cluster, scratch: &mut Scratch, wallets: u32) -> anyhow::Result<Self> {
        let database = scratch.database(cluster, "textbook").await?;
        let pool = cluster.pool(&database, 1);
        sqlx::raw_sql(TABLES).execute(&pool).await.context("making the textbook's tables")?;
        sqlx::query("INSERT INTO wallet_state SELECT 'w' || n, 1, 1000000000, now() FROM generate_series(1, $1) AS n")
            .bind(i64::from(wallets))
            .execute(&pool)
            .await
            .context("opening the textbook's wallets")?;
        sqlx::query("ANALYZE").execute(&pool).await?;
        pool.close().await;
        let textbook = Self { database };
        for spread in [Spread::Uniform, Spread::Hot] {
            let script = script(spread, wallets);
            in_postgres(&format!("cat > {}", textbook.script(spread)), Some(&script)).await?;
        }
        Ok(textbook)
    }

    fn script(&self, spread: Spread) -> String {
        format!("/tmp/{}-{}.pgbench", self.database, spread.name())
    }

    /// Runs it for one window. The first run of each client prepares its statements, so that pgbench is warmed up apart.
    pub async fn run(&self, options: &Options, spread: Spread, census: &Census) -> anyhow::Result<Reference> {
        if options.warm_up > 0 {
            self.pgbench(options, spread, options.warm_up).await?;
        }
        let (before, begun) = (census.usage(), Instant::now());
        let said = self.pgbench(options, spread, options.seconds).await?;
        let processors = census.usage().since(&before, begun.elapsed().as_secs_f64());
        let (rate, latency_ms) = parse(&said).with_context(|| format!("pgbench said: {said}"))?;
        Ok(Reference { rate, latency_ms, processors })
    }

    async fn pgbench(&self, options: &Options, spread: Spread, seconds: u64) -> anyhow::Result<String> {
        let (clients, script) = (options.connections, self.script(spread));
        let command = format!(
            "pgbench --no-vacuum --protocol=prepared --client={clients} --jobs=1 --time={seconds} --file={script} {}",
            self.database
        );
        in_postgres(&command, None).await
    }

    /// Versions must be 1..n without a gap for the reference to count: it must do what it says.
    pub async fn check(&self, cluster: &Cluster) -> anyhow::Result<()> {
        let pool = cluster.pool(&self.database, 1);
        let wrong: i64 = sqlx::query_scalar(AssertSqlSafe(
            "SELECT count(*) FROM wallet_state s WHERE version - 1 <>
               (SELECT count(*) FROM wallet_events e WHERE e.wallet_id = s.wallet_id)",
        ))
        .fetch_one(&pool)
        .await?;
        pool.close().await;
        ensure!(wrong == 0, "{wrong} of the textbook's wallets have lost an event");
        Ok(())
    }
}

fn script(spread: Spread, wallets: u32) -> String {
    let others = wallets - 1;
    let choice = match spread {
        Spread::Uniform => {
            format!("\\set from random(1, {wallets})\n\\set to 1 + mod(:from - 1 + random(1, {others}), {wallets})\n")
        }
        Spread::Hot => format!(
            "\\set other random(2, {wallets})\n\\set out random(0, 1)\n\\set from case when :out = 1 then 1 else :other end\n\
             \\set to case when :out = 1 then :other else 1 end\n"
        ),
    };
    choice + TRANSFER
}

/// Transfers a second, and their mean time in ms.
fn parse(said: &str) -> Option<(f64, f64)> {
    let number = |name: &str| {
        let line = said.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().find_map(|word| word.parse::<f64>().ok())
    };
    Some((number("tps = ")?, number("latency average = ")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_pgbench_says_is_understood() {
        let said = "transaction type: x\nnumber of transactions actually processed: 12\nnumber of failed transactions: 0 (0.000%)\n\
                    latency average = 33.3 ms\ninitial connection time = 80.1 ms\ntps = 1921.125 (without initial connection time)\n";
        assert_eq!(parse(said), Some((1921.125, 33.3)));
        assert_eq!(parse("pgbench: error"), None);
    }
}
