//! A pipeline for tests: bank/wallet, whose commands write what its ledger and its read model read.

use serde_json::{Value, json};
use tidegate_crds::EventPipeline;

/// With that status.
pub fn wallet(status: Value) -> EventPipeline {
    let reader = |name: &str, role: &str| json!({"name": name, "run": {"wallet": {"role": role}}, "consumes": {"topics": ["events"], "group": name}});
    let commands = json!({"name": "commands", "run": {"wallet": {"role": "Commands"}}});
    let mut ledger = reader("ledger", "LedgerProjector");
    ledger["retry"] = json!({});
    ledger["deadLetter"] = json!({"topic": "dead"});
    let value = json!({
        "apiVersion": "tidegate.dev/v1alpha1", "kind": "EventPipeline", "metadata": {"name": "wallet", "namespace": "bank", "generation": 3},
        "spec": {
            "kafka": {"user": {"managed": {}}}, "processors": [commands, ledger, reader("read-model", "ReadModelProjector")],
        },
        "status": status,
    });
    serde_json::from_value(value).unwrap()
}
