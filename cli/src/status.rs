//! A pipeline as a tree, from its status. Pure.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Value, json};
use tidegate_crds::{
    EventPipeline,
    pipeline::{ProcessorStatus, RedrivePhase, RedriveStatus, ReplayPhase, ReplayStatus},
};

use crate::{bytes::safe, lag::span, out::Paint, table::table};

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
pub fn tree(pipelines: &[EventPipeline], now: Timestamp, paint: Paint) -> String {
    if pipelines.is_empty() {
        return "no pipelines here; -A shows those of every namespace\n".to_owned();
    }
    pipelines.iter().map(|pipeline| one(pipeline, now, paint)).collect::<Vec<_>>().join("\n")
}

fn one(pipeline: &EventPipeline, now: Timestamp, paint: Paint) -> String {
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
    for (index, (line, processor)) in table(&lines).lines().zip(processors).enumerate() {
        text.push_str(&format!("{line}\n"));
        let stem = if index + 1 == processors.len() { " " } else { "│" };
        for wish in wishes(pipeline, &processor.name) {
            text.push_str(&format!("{stem}    {}\n", wish.told(now, paint)));
        }
    }
    text
}

/// A replay or a redrive, and what became of it.
struct Wish<'a> {
    what: &'static str,
    id: &'a str,
    phase: String,
    is_active: bool,
    is_refused: bool,
    said: Option<String>,
    at: Option<&'a Time>,
}

/// Of a processor's replays and of its redrives those that are under way, or the last one.
fn wishes<'a>(pipeline: &'a EventPipeline, processor: &str) -> Vec<Wish<'a>> {
    let Some(status) = &pipeline.status else { return Vec::new() };
    let of_it = |name: &str| name == processor;
    let replays = status.replays.iter().filter(|one| of_it(&one.processor)).map(Wish::from).collect();
    let redrives = status.redrives.iter().filter(|one| of_it(&one.processor)).map(Wish::from).collect();
    let current = |all: Vec<Wish<'a>>| {
        let last = all.len().saturating_sub(1);
        let is_active = all.iter().any(|wish| wish.is_active);
        let shown = move |(at, wish): &(usize, Wish<'_>)| if is_active { wish.is_active } else { *at == last };
        all.into_iter().enumerate().filter(shown).map(|(_, wish)| wish).collect::<Vec<_>>()
    };
    let mut wishes = current(replays);
    wishes.extend(current(redrives));
    wishes
}

impl<'a> From<&'a ReplayStatus> for Wish<'a> {
    fn from(replay: &'a ReplayStatus) -> Self {
        Self {
            what: "replay",
            id: &replay.id,
            phase: format!("{:?}", replay.phase),
            is_active: replay.phase.is_active(),
            is_refused: replay.phase == ReplayPhase::Refused,
            said: replay.message.clone(),
            at: replay.finished_at.as_ref().or(replay.started_at.as_ref()),
        }
    }
}

impl<'a> From<&'a RedriveStatus> for Wish<'a> {
    fn from(redrive: &'a RedriveStatus) -> Self {
        let is_active = redrive.phase == RedrivePhase::Running;
        let so_far = || format!("{} dead letters redriven, {} passed over so far", redrive.moved, redrive.skipped);
        Self {
            what: "redrive",
            id: &redrive.id,
            phase: format!("{:?}", redrive.phase),
            is_active,
            is_refused: redrive.phase == RedrivePhase::Refused,
            said: redrive.message.clone().or_else(|| is_active.then(so_far)),
            at: redrive.finished_at.as_ref().or(redrive.started_at.as_ref()),
        }
    }
}

impl Wish<'_> {
    fn told(&self, now: Timestamp, paint: Paint) -> String {
        let phase = match (self.is_active, self.is_refused) {
            (true, _) => paint.odd(&self.phase),
            (_, true) => paint.bad(&self.phase),
            _ => self.phase.clone(),
        };
        let age = self.at.map_or_else(String::new, |at| {
            let age = span(now.duration_since(at.0).as_secs_f64());
            if self.is_active { format!(" for {age}") } else { format!(" {age} ago") }
        });
        let said = self.said.as_deref().map_or_else(String::new, |said| format!(": {}", safe(said)));
        format!("{} {} {phase}{age}{said}", self.what, safe(self.id))
    }
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
    use crate::testing::wallet;

    fn condition(type_: &str, status: &str, reason: &str, message: &str) -> Value {
        json!({"type": type_, "status": status, "reason": reason, "message": message, "lastTransitionTime": "2024-01-01T00:00:00Z"})
    }

    fn shown(status: Value) -> String {
        tree(&[wallet(status)], "2026-01-01T01:00:00Z".parse().unwrap(), Paint(false))
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
├─ commands    2/2 pods
├─ ledger      1/1 pods           group ledger (Stable, 1 member)  lag 1200, 3m10s old, draining  retries 4  dead letters 0  scaling to 3 (ScaledOut)
└─ read-model  not looked at yet
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
├─ commands    not looked at yet
├─ ledger      0/1 pods           group ledger  lag ?
└─ read-model  not looked at yet
";
        assert_eq!(text, expected);
    }

    #[test]
    fn replays_and_redrives_stand_below_their_processor_while_they_run_and_the_last_one_after() {
        let record = |processor: &str, id: &str, phase: &str| json!({"processor": processor, "id": id, "phase": phase, "startedAt": "2026-01-01T00:56:50Z", "moved": 40, "skipped": 2});
        let ended = |mut record: Value, message: &str| {
            record["finishedAt"] = json!("2026-01-01T00:59:00Z");
            record["message"] = json!(message);
            record
        };
        let text = shown(json!({
            "observedGeneration": 3, "conditions": [condition("Ready", "True", "Running", "fine")],
            "processors": [{"name": "ledger", "replicas": 0, "ready": 0}, {"name": "read-model", "replicas": 1, "ready": 1}],
            "replays": [
                ended(record("ledger", "first", "Done"), "long ago"), record("ledger", "second", "Moving"),
                ended(record("read-model", "no", "Refused"), "below the log start"),
            ],
            "redrives": [
                record("ledger", "batch-7", "Running"), ended(record("read-model", "a", "Done"), "1 is redriven"),
                ended(record("read-model", "b", "Done"), "2 are redriven"),
            ],
        }));
        let found: Vec<&str> = text.lines().skip(1).filter(|line| !line.contains("─")).collect();
        let expected = [
            "│    replay second Moving for 3m10s",
            "│    redrive batch-7 Running for 3m10s: 40 dead letters redriven, 2 passed over so far",
            "     replay no Refused 1m00s ago: below the log start",
            "     redrive b Done 1m00s ago: 2 are redriven",
        ];
        assert_eq!(found, expected, "{text}");
        assert!(text.lines().nth(2).is_some_and(|line| line.starts_with("├─ ledger")), "{text}");
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
        let list = json(&[wallet(json!({"observedGeneration": 3, "configHash": "abc"}))]);
        assert_eq!((&list[0]["name"], &list[0]["status"]["configHash"]), (&json!("wallet"), &json!("abc")));
    }
}
