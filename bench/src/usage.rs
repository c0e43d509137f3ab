//! Who used the processors: times of the kernel's process table, joined with the pods that the processes are of.
//!
//! A process that ended passes its time to the parent that waited for it, so the sums of a group of processes only grow.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::Context;
use serde_json::{Value, json};

use crate::cluster::kubectl;

/// Ticks of the kernel's process times in a second (USER_HZ), the same on every Linux.
const TICKS: f64 = 100.0;
/// Below this part of one processor a group is not worth a line.
const WORTH_TELLING: f64 = 0.01;

/// Knows which process belongs to whom.
pub struct Census {
    /// UID and name of each pod.
    pods: Vec<(String, String)>,
    /// Processes that are called something of their own.
    named: BTreeMap<u32, String>,
}

/// Seconds of processor time, by group.
#[derive(Clone, Debug, Default)]
pub struct Usage(BTreeMap<String, f64>);

impl Census {
    /// Learns the cluster's pods. This process is the `generator`.
    pub async fn take() -> anyhow::Result<Self> {
        let pods: Value = serde_json::from_slice(&kubectl(&["get", "pods", "-A", "-o", "json"], None).await?)
            .context("reading the list of pods")?;
        let pods = pods["items"].as_array().map(|items| items.iter().filter_map(pod).collect()).unwrap_or_default();
        Ok(Self { pods, named: BTreeMap::from([(std::process::id(), "generator".to_owned())]) })
    }

    /// Gives a process a name.
    pub fn name(&mut self, process: u32, name: &str) {
        self.named.insert(process, name.to_owned());
    }

    /// Times until now.
    pub fn usage(&self) -> Usage {
        let mut usage = Usage::default();
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let Some(process) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            // A process may end while it is looked at.
            let Some((command, seconds)) = times(&entry.path()) else { continue };
            *usage.0.entry(self.group(process, &command, &entry.path())).or_default() += seconds;
        }
        usage
    }

    fn group(&self, process: u32, command: &str, folder: &Path) -> String {
        if let Some(name) = self.named.get(&process) {
            return name.clone();
        }
        // A process of its own kind, though it runs in the server's pod.
        if command == "pgbench" || command == "psql" {
            return command.to_owned();
        }
        let groups = fs::read_to_string(folder.join("cgroup")).unwrap_or_default();
        let pod =
            self.pods.iter().find(|(uid, _)| groups.contains(uid.as_str()) || groups.contains(&uid.replace('-', "_")));
        match pod {
            Some((_, name)) => name.clone(),
            None => format!("({command})"),
        }
    }
}

impl Usage {
    /// Seconds that a group used since then.
    pub fn of(&self, group: &str, before: &Self) -> f64 {
        let seconds = |usage: &Self| usage.0.get(group).copied().unwrap_or_default();
        seconds(self) - seconds(before)
    }

    /// What was used since then, as parts of one processor over so many seconds.
    pub fn since(&self, before: &Self, seconds: f64) -> BTreeMap<String, f64> {
        let share = |(group, after): (&String, &f64)| {
            let used = after - before.0.get(group).copied().unwrap_or_default();
            (group.clone(), used / seconds)
        };
        self.0.iter().map(share).filter(|(_, share)| *share >= WORTH_TELLING).collect()
    }
}

/// Shares of several windows, averaged: `{"wallet/commands": 0.41, ...}`, 1 being one processor.
pub fn average(windows: &[BTreeMap<String, f64>]) -> Value {
    let mut sums: BTreeMap<&str, f64> = BTreeMap::new();
    for (group, share) in windows.iter().flatten() {
        *sums.entry(group).or_default() += share / windows.len() as f64;
    }
    json!(sums.into_iter().map(|(group, share)| (group, (share * 1000.0).round() / 1000.0)).collect::<BTreeMap<_, _>>())
}

/// UID and name of a pod: that of its processor for a service's, else that of its namespace.
fn pod(item: &Value) -> Option<(String, String)> {
    let metadata = &item["metadata"];
    let namespace = metadata["namespace"].as_str()?;
    let name = match metadata["labels"]["tidegate.dev/processor"].as_str() {
        Some(processor) => format!("{namespace}/{processor}"),
        None => namespace.to_owned(),
    };
    Some((metadata["uid"].as_str()?.to_owned(), name))
}

/// Name and seconds, those of children that were waited for included.
fn times(folder: &Path) -> Option<(String, f64)> {
    parse(&fs::read_to_string(folder.join("stat")).ok()?)
}

/// Reads a line of `/proc/PID/stat` (proc(5)); the name stands in brackets and may hold any character.
fn parse(stat: &str) -> Option<(String, f64)> {
    let (before, after) = stat.rsplit_once(')')?;
    let (_, command) = before.split_once('(')?;
    let ticks: Vec<u64> = after.split_whitespace().skip(11).take(4).map_while(|field| field.parse().ok()).collect();
    (ticks.len() == 4).then(|| (command.to_owned(), ticks.iter().sum::<u64>() as f64 / TICKS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_process_table_is_read() {
        let stat = "4711 (a) b) S 1 1 1 0 -1 4194560 100 200 0 0 150 50 25 75 20 0 3 0 100 1 2";
        assert_eq!(parse(stat), Some(("a) b".to_owned(), 3.0)));
        assert_eq!(parse("4711 (a) S 1 1"), None);
    }

    #[test]
    fn shares_are_of_what_was_used_in_between() {
        let before = Usage(BTreeMap::from([("a".to_owned(), 1.0), ("b".to_owned(), 1.0)]));
        let after = Usage(BTreeMap::from([("a".to_owned(), 3.0), ("b".to_owned(), 1.0), ("c".to_owned(), 4.0)]));
        let shares = after.since(&before, 4.0);
        assert_eq!(shares, BTreeMap::from([("a".to_owned(), 0.5), ("c".to_owned(), 1.0)]));
        assert_eq!(average(&[shares, BTreeMap::from([("a".to_owned(), 1.0)])]), json!({"a": 0.75, "c": 0.5}));
    }

    #[test]
    fn this_process_is_found() {
        let census = Census { pods: vec![], named: BTreeMap::from([(std::process::id(), "generator".to_owned())]) };
        assert!(census.usage().0.contains_key("generator"));
    }
}
