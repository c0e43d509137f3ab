//! Which rules a pipeline gets, and that every alert has its page.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use super::{
    kinds::Served,
    objects::{Monitoring, RULES_LABEL},
    rule::RuleFile,
    *,
};
use crate::{config::RulesAs, testing::wallet};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const GENERATED: &str = "# Generated from example.yaml: UPDATE_RULES=1 cargo test -p tidegate-operator --lib -- alerts::tests. Do not edit.\n";

fn ledger(edit: impl FnOnce(&mut Value)) -> Vec<Rule> {
    let pipeline = wallet(|json| edit(&mut json["spec"]["processors"][1]));
    let groups = groups(&pipeline, &AlertsConfig::default());
    groups.into_iter().find(|(name, _)| name.as_deref() == Some("ledger")).unwrap().1.rules
}

fn names(rules: &[Rule]) -> BTreeSet<&str> {
    rules.iter().filter_map(|rule| rule.alert.as_deref()).collect()
}

fn named<'a>(rules: &'a [Rule], name: &str) -> &'a Rule {
    rules.iter().find(|rule| rule.alert.as_deref() == Some(name)).unwrap()
}

#[test]
fn who_consumes_has_a_group_and_so_has_the_pipeline() {
    let groups = groups(&wallet(|_| ()), &AlertsConfig::default());
    let names: Vec<&str> = groups.iter().map(|(_, group)| group.name.as_str()).collect();
    assert_eq!(names, ["tidegate/bank/wallet", "tidegate/bank/wallet/ledger"]);
    assert_eq!(self::names(&groups[0].1.rules), ["PipelineNotReady"].into(), "no dead-letter topic, no alert about it");
    let wanted = [
        "PipelineLagHigh",
        "LagBudgetBurn",
        "PartitionStuck",
        "ConsumerGroupEmptyWithLag",
        "RetentionRisk",
        "DataLost",
        "RetryStorm",
        "RebalanceLoop",
        "ScalingSaturated",
        "LagSignalAbsent",
    ];
    assert_eq!(self::names(&groups[1].1.rules), wanted.into());
}

#[test]
fn without_a_lag_field_the_defaults_hold() {
    let rules = ledger(|_| ());
    let high = named(&rules, "PipelineLagHigh");
    assert!(high.expr.ends_with("> 60"), "{}", high.expr);
    assert_eq!((high.hold.as_deref(), high.labels["severity"].as_str()), (Some("2m"), "page"));
    assert_eq!(high.annotations["runbook_url"], "https://tidegate.dev/runbooks/PipelineLagHigh");
    assert_eq!(named(&rules, "RetryStorm").labels["severity"], "ticket");
}

#[test]
fn the_objective_is_in_the_rules_and_how_long_it_must_be_missed_follows() {
    for (objective, seconds, hold, stuck) in
        [("10s", "10", "20s", 120), ("30s", "30", "1m", 120), ("5m", "300", "10m", 600), ("1d", "86400", "15m", 1800)]
    {
        let rules = ledger(|json| json["lag"] = json!({"objective": objective}));
        let high = named(&rules, "PipelineLagHigh");
        assert!(high.expr.ends_with(&format!("> {seconds}")), "{}", high.expr);
        assert_eq!(high.hold.as_deref(), Some(hold), "{objective}");
        let expr = &named(&rules, "PartitionStuck").expr;
        assert!(expr.contains(&format!("> {stuck}\n")), "{expr}");
    }
}

#[test]
fn burn_rates_are_shares_of_the_windows_budget() {
    for (lag, fast, slow) in [
        (json!({"target": "99.9%"}), "0.0144", "0.006"),
        (json!({"target": "99%", "window": "30d"}), "0.144", "0.06"),
        (json!({"target": "99.9%", "window": "28d"}), "0.01344", "0.0056"),
        (json!({"target": "95%", "window": "30d"}), "0.72", "0.3"),
        (json!({"target": "95%", "window": "7d"}), "0.168", "0.07"),
    ] {
        let rules = ledger(|json| json["lag"] = lag.clone());
        let burns: Vec<&Rule> = rules.iter().filter(|rule| rule.alert.as_deref() == Some("LagBudgetBurn")).collect();
        for (rule, burn, threshold) in [(burns[0], "fast", fast), (burns[1], "slow", slow)] {
            assert_eq!(rule.labels["burn"], burn);
            assert_eq!(rule.expr.matches(&format!("> {threshold}")).count(), 2, "{lag}: {}", rule.expr);
        }
    }
}

#[test]
fn who_stops_a_processor_is_told_of_losses_alone() {
    let left: BTreeSet<&str> = ["RetentionRisk", "DataLost", "LagSignalAbsent"].into();
    assert_eq!(names(&ledger(|json| json["replicas"] = json!(0))), left);
    let asleep = wallet(|json| json["spec"]["suspend"] = json!(true));
    let groups = groups(&asleep, &AlertsConfig::default());
    assert_eq!(names(&groups[1].1.rules), left);
}

#[test]
fn labels_severities_and_what_is_not_wanted_are_the_processors() {
    let rules = ledger(|json| {
        json["lag"] = json!({"alert": {
            "severity": "critical", "minorSeverity": "warning", "labels": {"team": "payments", "pipeline": "mine"},
            "disabled": ["LagBudgetBurn", "RebalanceLoop"],
        }});
    });
    let high = named(&rules, "PipelineLagHigh");
    assert_eq!((high.labels["severity"].as_str(), high.labels["team"].as_str()), ("critical", "payments"));
    assert_eq!(high.labels["pipeline"], "wallet", "the operator's own labels hold");
    assert_eq!(named(&rules, "RetryStorm").labels["severity"], "warning");
    assert!(!names(&rules).contains("LagBudgetBurn") && !names(&rules).contains("RebalanceLoop"));
    assert!(rules.iter().all(|rule| rule.record.is_none()), "nobody needs the series: {rules:#?}");
}

#[test]
fn rules_are_of_the_kind_that_the_cluster_serves() {
    let both = Served { prometheus_rules: true, pod_monitors: true };
    let made = |rules: RulesAs, served: Served| {
        let config = AlertsConfig { rules, ..AlertsConfig::default() };
        let made = objects(&wallet(|_| ()), &config, served).unwrap();
        (made.config_maps.len(), made.rules.len(), made.pod_monitor.is_some())
    };
    assert_eq!(made(RulesAs::Auto, Served::default()), (2, 0, false));
    assert_eq!(made(RulesAs::Auto, both), (0, 2, true));
    assert_eq!(made(RulesAs::ConfigMap, both), (2, 0, true));
    assert_eq!(made(RulesAs::PrometheusRule, Served::default()), (0, 0, false));
    assert_eq!(made(RulesAs::None, both), (0, 0, true));
}

#[test]
fn objects_are_owned_found_and_hold_the_rules() {
    let config =
        AlertsConfig { labels: [("release".to_owned(), "stack".to_owned())].into(), ..AlertsConfig::default() };
    let pipeline = wallet(|_| ());
    let Monitoring { config_maps, .. } = objects(&pipeline, &config, Served::default()).unwrap();
    let map = &config_maps[1];
    assert_eq!(map.metadata.name.as_deref(), Some("wallet.ledger.rules"));
    assert_eq!(map.metadata.owner_references.as_ref().unwrap()[0].uid, "u-1");
    let labels = map.metadata.labels.as_ref().unwrap();
    let label = |key: &str| labels.get(key).map(String::as_str);
    assert_eq!((label(RULES_LABEL), label("release")), (Some("true"), Some("stack")));
    assert_eq!(label("tidegate.dev/processor"), Some("ledger"));
    let (file, text) = map.data.as_ref().unwrap().first_key_value().unwrap();
    assert_eq!(file, "bank.wallet.ledger.rules.yaml");
    let read: RuleFile = serde_saphyr::from_str(text).unwrap();
    assert_eq!(read.groups, [groups(&pipeline, &config)[1].1.clone()]);

    let both = Served { prometheus_rules: true, pod_monitors: true };
    let made = objects(&pipeline, &config, both).unwrap();
    assert_eq!(made.rules[1].spec.groups, read.groups);
    assert_eq!(made.rules[1].metadata.name, map.metadata.name);
    let monitor = serde_json::to_value(made.pod_monitor.unwrap()).unwrap();
    assert_eq!(monitor["metadata"]["name"], "wallet.pods");
    assert_eq!(monitor["spec"]["selector"]["matchLabels"]["tidegate.dev/pipeline"], "wallet");
    let relabeling = &monitor["spec"]["podMetricsEndpoints"][0]["relabelings"][0];
    assert_eq!(relabeling["sourceLabels"][0], "__meta_kubernetes_pod_label_tidegate_dev_pipeline");
}

#[test]
fn the_rules_under_test_are_those_that_the_operator_makes() {
    let folder = Path::new(ROOT).join("rules");
    let arguments =
        render::Arguments { file: folder.join("example.yaml"), namespace: "default".into(), runbook_url: None };
    let text = format!("{GENERATED}{}", render::rules(&arguments).unwrap());
    let path = folder.join("generated.yaml");
    if std::env::var_os("UPDATE_RULES").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == text,
        "{} is stale: UPDATE_RULES=1 cargo test -p tidegate-operator --lib -- alerts::",
        path.display()
    );
}

/// Names of the alerts in a rule file.
fn alerts_of(path: &Path) -> BTreeSet<String> {
    let text = std::fs::read_to_string(path).unwrap();
    let file: RuleFile = serde_saphyr::from_str(&text).unwrap();
    file.groups.into_iter().flat_map(|group| group.rules).filter_map(|rule| rule.alert).collect()
}

/// A file of promtool's unit tests, as far as it is looked at.
#[derive(serde::Deserialize)]
struct TestFile {
    tests: Vec<TestCase>,
}

#[derive(serde::Deserialize)]
struct TestCase {
    #[serde(default)]
    alert_rule_test: Vec<AlertTest>,
}

#[derive(serde::Deserialize)]
struct AlertTest {
    alertname: String,
    exp_alerts: Vec<Value>,
}

#[test]
fn every_alert_is_seen_quiet_then_firing_then_quiet_again() {
    let mut shown: BTreeSet<String> = BTreeSet::new();
    for entry in std::fs::read_dir(repository("operator/rules/tests")).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        let file: TestFile = serde_saphyr::from_str(&text).unwrap();
        for case in file.tests {
            let mut course: BTreeMap<String, Vec<bool>> = BTreeMap::new();
            for test in case.alert_rule_test {
                course.entry(test.alertname).or_default().push(!test.exp_alerts.is_empty());
            }
            let whole = |(name, fires): (String, Vec<bool>)| {
                let at = fires.iter().position(|fires| *fires)?;
                (at > 0 && fires.last() == Some(&false)).then_some(name)
            };
            shown.extend(course.into_iter().filter_map(whole));
        }
    }
    let mut alerts = alerts_of(&repository("operator/rules/generated.yaml"));
    alerts.extend(alerts_of(&repository("charts/tidegate/rules/cluster.yaml")));
    assert_eq!(shown, alerts);
}

fn repository(path: &str) -> PathBuf {
    Path::new(ROOT).join("..").join(path)
}

#[test]
fn every_alert_has_its_page_and_every_page_its_alert() {
    let mut alerts = alerts_of(&repository("operator/rules/generated.yaml"));
    alerts.extend(alerts_of(&repository("charts/tidegate/rules/cluster.yaml")));
    let pages = std::fs::read_dir(repository("docs/runbooks")).unwrap().map(|entry| entry.unwrap().path());
    let pages: BTreeMap<String, String> = pages
        .map(|path| (path.file_stem().unwrap().to_str().unwrap().to_owned(), std::fs::read_to_string(&path).unwrap()))
        .filter(|(name, _)| name != "README")
        .collect();
    assert_eq!(pages.keys().cloned().collect::<BTreeSet<_>>(), alerts);
    for (name, page) in &pages {
        assert!(page.starts_with(&format!("# {name}\n")), "{name}");
        for part in ["## Meaning", "## Impact", "## Look at", "## Do"] {
            assert!(page.contains(&format!("\n{part}\n")), "{name} lacks {part}");
        }
    }
    let index = std::fs::read_to_string(repository("docs/runbooks/README.md")).unwrap();
    for name in &alerts {
        assert!(index.contains(&format!("({name}.md)")), "{name} is not in the index");
    }
}
