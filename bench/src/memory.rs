//! Memory of the operator's and the services' pods, idle and at load, as the kubelet counts it: pages that are theirs alone. The
//! services' pods are new ones, so that what is measured is this load's and not what somebody gave them before.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use crate::{
    cluster::{Cluster, Scratch, kubectl},
    report::{Aim, Figure, Report, percentile, rounded},
    usage::Census,
    wallet::{Load, Purse, Spread, settle},
};

/// How often the kubelet is asked. It looks itself every ten seconds or so.
const EVERY: Duration = Duration::from_secs(5);
/// Namespaces whose pods are measured, and what each pod must stay below, MB.
const LIMITS: [(&str, f64); 2] = [("tidegate-system", 64.0), (WALLET, 50.0)];
const WALLET: &str = "wallet";
/// How long the kubelet may take to look at a new pod.
const LOOKED: Duration = Duration::from_secs(60);

/// How to measure.
#[derive(clap::Args)]
pub struct Options {
    /// Wallets that transfers are spread over.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(2..=100_000))]
    wallets: u32,
    /// Connections that transfer.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1000))]
    connections: u32,
    /// Seconds of load; the kubelet must have had a look meanwhile.
    #[arg(long, default_value_t = 45, value_parser = clap::value_parser!(u64).range(20..=3600))]
    seconds: u64,
}

/// Bytes of a pod.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Bytes {
    /// Its own (anonymous).
    resident: f64,
    /// With the pages of files that are in use.
    working_set: f64,
}

/// Bytes by namespace and pod.
type Pods = BTreeMap<(String, String), Bytes>;

/// Runs the benchmark.
pub async fn run(options: &Options, cluster: &Cluster, _: &mut Scratch) -> anyhow::Result<()> {
    let report = Report::new("memory", cluster.versions().await?);
    settle(cluster).await?;
    let before = renew().await?;
    let purse = Purse::fill(cluster, options.wallets).await?;
    settle(cluster).await?;
    let idle = idle(&before).await?;
    let census = Census::take().await?;
    let load = Load {
        spread: Spread::Uniform,
        connections: options.connections,
        warm_up: Duration::ZERO,
        counted: Duration::from_secs(options.seconds),
        // With it an event is a record of 1 KiB: 140 characters are the most, and each of these is four bytes.
        reference: "\u{1D11E}".repeat(140),
    };
    let (window, most) = tokio::join!(load.run(cluster, &purse, &census), most(options));
    let (window, most) = (window?, most?);
    settle(cluster).await?;

    for (state, pods) in [("idle", &idle), ("at load", &most)] {
        for ((namespace, pod), bytes) in pods {
            let limit = LIMITS.iter().find(|(name, _)| name == namespace).map(|(_, limit)| Aim::Below(*limit));
            let mut raw = json!({"workingSetMB": rounded(bytes.working_set / 1e6)});
            if state == "at load" {
                raw["transfersPerSecond"] = json!(rounded(window.rate));
                raw["p99Ms"] = json!(rounded(percentile(&window.latency, 99.0)));
            }
            let case = format!("{namespace}/{pod} {state}");
            report.print(Figure { case, unit: "MB", value: bytes.resident / 1e6, reference: None, aim: limit, raw });
        }
    }
    Ok(())
}

/// Replaces the wallet's pods by new ones; once those are ready, what the kubelet told of the old ones.
async fn renew() -> anyhow::Result<Pods> {
    let before = pods().await?;
    let wallet = ["-n", WALLET, "-l", "tidegate.dev/pipeline=wallet"];
    kubectl(&[&["delete", "pods", "--wait=true"], &wallet[..]].concat(), None).await?;
    kubectl(&[&["rollout", "status", "deployment", "--timeout=120s"], &wallet[..]].concat(), None).await?;
    Ok(before)
}

/// The pods once the kubelet has had a look at all of the new ones.
async fn idle(before: &Pods) -> anyhow::Result<Pods> {
    let ends = Instant::now() + LOOKED;
    loop {
        let now = pods().await?;
        let is_new = |pod: &(String, String)| pod.0 != WALLET || !before.contains_key(pod);
        if now.len() >= before.len() && now.keys().all(is_new) {
            return Ok(now);
        }
        ensure!(Instant::now() < ends, "the kubelet does not tell of the wallet's new pods");
        tokio::time::sleep(EVERY).await;
    }
}

/// The most of each pod that the kubelet tells of while there is load, and shortly after, when it may have looked last.
async fn most(options: &Options) -> anyhow::Result<Pods> {
    let ends = Instant::now() + Duration::from_secs(options.seconds + 10);
    let mut most = Pods::new();
    while Instant::now() < ends {
        for (pod, bytes) in pods().await? {
            let most = most.entry(pod).or_default();
            most.resident = most.resident.max(bytes.resident);
            most.working_set = most.working_set.max(bytes.working_set);
        }
        tokio::time::sleep(EVERY).await;
    }
    Ok(most)
}

async fn pods() -> anyhow::Result<Pods> {
    let node = std::env::var("TIDEGATE_BENCH_NODE").context("TIDEGATE_BENCH_NODE is not set; run hack/bench")?;
    let path = format!("/api/v1/nodes/{node}/proxy/stats/summary");
    let summary: Value = serde_json::from_slice(&kubectl(&["get", "--raw", &path], None).await?)?;
    let pods = read(&summary);
    ensure!(!pods.is_empty(), "the kubelet tells of no pod");
    Ok(pods)
}

/// The pods of the namespaces that are measured, out of the kubelet's summary.
fn read(summary: &Value) -> Pods {
    let pods = summary["pods"].as_array().map(Vec::as_slice).unwrap_or_default();
    pods.iter()
        .filter_map(|pod| {
            let text = |field: &str| pod["podRef"][field].as_str().map(str::to_owned);
            let (namespace, name) = (text("namespace")?, text("name")?);
            let memory = &pod["memory"];
            let bytes = Bytes {
                resident: memory["rssBytes"].as_f64()?,
                working_set: memory["workingSetBytes"].as_f64().unwrap_or_default(),
            };
            let measured = LIMITS.iter().any(|(limited, _)| *limited == namespace) && bytes.resident > 0.0;
            measured.then_some(((namespace, name), bytes))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pods_that_have_a_limit_are_read() {
        let pod = |namespace: &str, rss: u64| json!({"podRef": {"namespace": namespace, "name": "p"}, "memory": {"rssBytes": rss, "workingSetBytes": rss + 1}});
        let pods = read(&json!({"pods": [pod("wallet", 7), pod("kafka", 9), pod("tidegate-system", 0)]}));
        let bytes = Bytes { resident: 7.0, working_set: 8.0 };
        assert_eq!(pods, BTreeMap::from([(("wallet".to_owned(), "p".to_owned()), bytes)]));
    }
}
