//! A pipeline as a tree, from its status. Pure.

use serde_json::{Value, json};
use tidegate_crds::{EventPipeline, pipeline::ProcessorStatus};

use crate::{lag::span, out::Paint, table::table};

/// For scripts: a list of what each pipeline's status says.
pub fn json(pipelines: &[EventPipeline]) -> Value {
    let one = |pipeline: &EventPipeline| {
        json!({
            "namespace": pipeline.metadata.namespace, "name": pipeline.metadata.name,
            "generation": pipeline.metadata.generation, "suspended": pipeline.spec.suspend(), "status": pipeline.status,
        })
    };
    pipelines.iter().map(one).collect()
}

/// For people.
pub fn tree(pipelines: &[EventPipeline], paint: Paint) -> String {
    if pipelines.is_empty() {
        return "no pipelines here; -A shows those of every namespace\n".to_owned();
    }
    pipelines.iter().map(|pipeline| one(pipeline, paint)).collect::<Vec<_>>().join("\n")
}

fn one(pipeline: &EventPipeline, paint: Paint) -> String {
    let of = |part: &Option<String>| part.clone().unwrap_or_default();
    let mut text = format!(
        "{}/{}  {}\n",
        of(&pipeline.metadata.namespace),
        of(&pipeline.metadata.name),
        headline(pipeline, paint)
    );
    for (word, said) in troubles(pipeline) {
        let word = if word == "Reconciling" { paint.odd(&word) } else { paint.bad(&word) };
        text.push_str(&format!("│  {word} {said}\n"));
    }
    let processors = &pipeline.spec.processors;
    let seen = |name: &str| pipeline.status.iter().flat_map(|status| &status.processors).find(|seen| seen.name == name);
    let lines: Vec<Vec<String>> = processors
        .iter()
        .enumerate()
        .map(|(index, processor)| {
            let branch = if index + 1 == processors.len() { "└─" } else { "├─" };
            let mut line = vec![format!("{branch} {}", processor.name)];
            match seen(&processor.name) {
                Some(seen) => line.extend(cells(seen, processor.consumes.is_some(), paint)),
                None => line.push("not looked at yet".to_owned()),
            }
            line
        })
        .collect();
    text + &table(&lines)
}

/// Ready or not, and since what generation.
fn headline(pipeline: &EventPipeline, paint: Paint) -> String {
    let Some(status) = &pipeline.status else { return paint.odd("not looked at yet: is the operator running?") };
    let ready =
        status.summary.as_ref().map_or_else(String::new, |summary| format!("  {} processors ready", summary.ready));
    let behind = status.observed_generation != pipeline.metadata.generation;
    let word = match status.conditions.iter().find(|condition| condition.type_ == "Ready") {
        _ if behind => paint.odd("the newest spec is not looked at yet"),
        Some(condition) if condition.status == "True" && condition.reason == "Suspended" => paint.odd("Suspended"),
        Some(condition) if condition.status == "True" => paint.good("Ready"),
        _ => paint.bad("not Ready"),
    };
    word + &ready
}

/// Conditions that a person should read, each once: what is said under two types is said under the stronger.
fn troubles(pipeline: &EventPipeline) -> Vec<(String, String)> {
    let mut told: Vec<(String, String)> = Vec::new();
    let conditions = pipeline.status.iter().flat_map(|status| &status.conditions);
    let wrong = |type_: &str, status: &str| match type_ {
        "Ready" | "Healthy" => status != "True",
        _ => status == "True",
    };
    let rank = |type_: &str| ["Stalled", "Reconciling", "Healthy", "Ready"].iter().position(|known| *known == type_);
    let mut wrong: Vec<_> = conditions.filter(|condition| wrong(&condition.type_, &condition.status)).collect();
    wrong.sort_by_key(|condition| rank(&condition.type_));
    for condition in wrong {
        let said = format!("{}: {}", condition.reason, condition.message);
        if told.iter().all(|(_, other)| *other != said) {
            let word = match condition.type_.as_str() {
                "Ready" | "Healthy" => format!("not {}", condition.type_),
                other => other.to_owned(),
            };
            told.push((word, said));
        }
    }
    told
}

fn cells(seen: &ProcessorStatus, consumes: bool, paint: Paint) -> Vec<String> {
    let number = |number: Option<i32>| number.map_or("?".to_owned(), |number| number.to_string());
    let pods = format!("{}/{} pods", number(seen.ready), number(seen.replicas));
    let pods = if seen.ready == seen.replicas { pods } else { paint.odd(&pods) };
    if !consumes {
        return vec![pods];
    }
    let group = match (&seen.group_state, seen.members) {
        (Some(state), Some(1)) => format!(" ({state}, 1 member)"),
        (Some(state), Some(members)) => format!(" ({state}, {members} members)"),
        (Some(state), None) => format!(" ({state})"),
        (None, _) => String::new(),
    };
    // What is unknown is not 0.
    let count = |what: &str, count: Option<i64>| match count {
        Some(0) => format!("{what} 0"),
        Some(count) => paint.odd(&format!("{what} {count}")),
        None => paint.odd(&format!("{what} ?")),
    };
    let behind = seen.lag_records.is_some_and(|records| records > 0);
    let oldest = seen.lag_seconds.filter(|_| behind).map(|seconds| format!(", {} old", span(seconds as f64)));
    let trend = seen.lag_trend.filter(|_| behind).map(|trend| format!(", {}", format!("{trend:?}").to_lowercase()));
    let lag = count("lag", seen.lag_records) + &oldest.unwrap_or_default() + &trend.unwrap_or_default();
    let mut cells = vec![pods, format!("group {}{group}", seen.group.as_deref().unwrap_or("?")), lag];
    cells.extend(seen.retry_depth.map(|depth| count("retries", Some(depth))));
    cells.extend(seen.dead_letters.map(|letters| count("dead letters", Some(letters))));
    cells.extend(seen.scaling.as_ref().map(|scaling| format!("scaling to {} ({})", scaling.desired, scaling.reason)));
    cells
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pipeline(status: Value) -> EventPipeline {
        let value = json!({
            "apiVersion": "tidegate.dev/v1alpha1", "kind": "EventPipeline",
            "metadata": {"name": "wallet", "namespace": "bank", "generation": 3},
            "spec": {
                "kafka": {"user": {"secretRef": {"name": "kafka"}}},
                "processors": [
                    {"name": "commands", "run": {"wallet": {"role": "Commands"}}},
                    {"name": "ledger", "run": {"wallet": {"role": "LedgerProjector"}}, "consumes": {"topics": ["events"], "group": "ledger"}},
                ],
            },
            "status": status,
        });
        serde_json::from_value(value).unwrap()
    }

    fn condition(type_: &str, status: &str, reason: &str, message: &str) -> Value {
        json!({"type": type_, "status": status, "reason": reason, "message": message, "lastTransitionTime": "2024-01-01T00:00:00Z"})
    }

    fn shown(status: Value) -> String {
        tree(&[pipeline(status)], Paint(false))
    }

    #[test]
    fn a_pipeline_that_is_well_is_a_line_and_a_line_for_each_processor() {
        let text = shown(json!({
            "observedGeneration": 3, "summary": {"ready": "2/2"},
            "conditions": [condition("Ready", "True", "Running", "fine"), condition("Healthy", "True", "MembersPresent", "fine")],
            "processors": [
                {"name": "commands", "replicas": 2, "ready": 2},
                {"name": "ledger", "replicas": 1, "ready": 1, "group": "ledger", "groupState": "Stable", "members": 1,
                 "lagRecords": 1200, "lagSeconds": 190, "lagTrend": "Draining", "retryDepth": 4, "deadLetters": 0,
                 "scaling": {"desired": 3, "reason": "ScaledOut", "message": "more are needed"}},
            ],
        }));
        let expected = "\
bank/wallet  Ready  2/2 processors ready
├─ commands  2/2 pods
└─ ledger    1/1 pods  group ledger (Stable, 1 member)  lag 1200, 3m10s old, draining  retries 4  dead letters 0  scaling to 3 (ScaledOut)
";
        assert_eq!(text, expected);
    }

    #[test]
    fn what_is_wrong_is_said_once_and_what_is_unknown_is_a_question_mark() {
        let text = shown(json!({
            "observedGeneration": 3, "summary": {"ready": "0/2"},
            "conditions": [
                condition("Ready", "False", "SecretMissing", "there is no Secret kafka"),
                condition("Stalled", "True", "SecretMissing", "there is no Secret kafka"),
                condition("Healthy", "False", "GroupEmpty", "nobody reads as ledger"),
            ],
            "processors": [{"name": "ledger", "replicas": 1, "ready": 0, "group": "ledger"}],
        }));
        let expected = "\
bank/wallet  not Ready  0/2 processors ready
│  Stalled SecretMissing: there is no Secret kafka
│  not Healthy GroupEmpty: nobody reads as ledger
├─ commands  not looked at yet
└─ ledger    0/1 pods           group ledger  lag ?
";
        assert_eq!(text, expected);
    }

    #[test]
    fn an_old_status_does_not_pass_for_the_state_of_a_new_spec() {
        let text =
            shown(json!({"observedGeneration": 2, "conditions": [condition("Ready", "True", "Running", "fine")]}));
        assert!(text.starts_with("bank/wallet  the newest spec is not looked at yet"), "{text}");
        assert!(shown(Value::Null).contains("is the operator running?"));
    }

    #[test]
    fn scripts_get_the_status_whole() {
        let list = json(&[pipeline(json!({"observedGeneration": 3, "configHash": "abc"}))]);
        assert_eq!((&list[0]["name"], &list[0]["status"]["configHash"]), (&json!("wallet"), &json!("abc")));
    }
}
