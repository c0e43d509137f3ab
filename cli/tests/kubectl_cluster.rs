//! The program as people start it, on the cluster of hack/up, whose wallet is always there.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_kubectl-tidegate"))
}

/// Exit and both outputs.
fn run(arguments: &[&str]) -> (bool, String, String) {
    let output = program().args(arguments).output().expect("the program starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.success(), text(&output.stdout), text(&output.stderr))
}

fn json(arguments: &[&str]) -> Value {
    let (good, stdout, stderr) = run(arguments);
    assert!(good, "{stderr}");
    serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}: {stdout}"))
}

#[test]
fn the_wallets_status_is_a_tree_for_people_and_a_document_for_scripts() {
    let (good, tree, stderr) = run(&["status", "wallet", "-n", "wallet"]);
    assert!(good, "{stderr}");
    assert!(tree.starts_with("wallet/wallet  "), "{tree}");
    for words in ["├─ commands", "├─ ledger-projector", "└─ read-model-projector", "group ledger-projector"]
    {
        assert!(tree.contains(words), "{tree} lacks {words}");
    }
    assert!(!tree.contains('\u{1b}'), "no colours where nobody sees them: {tree:?}");

    let list = json(&["status", "-A", "-o", "json"]);
    let wallet =
        list.as_array().into_iter().flatten().find(|one| one["namespace"] == "wallet" && one["name"] == "wallet");
    let wallet = wallet.expect("-A has the wallet");
    assert_eq!(wallet["status"]["processors"].as_array().map(Vec::len), Some(3));
}

#[test]
fn lag_comes_from_the_operator_that_leads() {
    // A leader that has just taken over has yet to read it once.
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let lines = json(&["lag", "wallet", "-n", "wallet", "-o", "json"]);
        let lines = lines.as_array().cloned().unwrap_or_default();
        let groups: Vec<&str> = lines.iter().filter_map(|line| line["group"].as_str()).collect();
        assert_eq!(groups, ["ledger-projector", "read-model-projector"]);
        if lines.iter().all(|line| line["lagRecords"].is_number()) {
            break;
        }
        assert!(Instant::now() < deadline, "no number within a minute: {lines:?}");
        std::thread::sleep(Duration::from_millis(500));
    }
    let (good, _, stderr) = run(&["lag", "-n", "wallet", "--installation", "nobody"]);
    assert!(!good && stderr.contains("nobody holds the lease nobody"), "{stderr}");
}

#[test]
fn what_is_not_there_is_said_with_what_is() {
    let (good, stdout, stderr) = run(&["status", "purse", "-n", "wallet"]);
    assert!(!good && stdout.is_empty());
    assert!(
        stderr.contains("no EventPipeline purse in namespace wallet") && stderr.contains("there is wallet"),
        "{stderr}"
    );
    let (good, _, stderr) = run(&["status", "--context", "nowhere"]);
    assert!(!good && stderr.contains("nowhere") && stderr.contains("get-contexts"), "{stderr}");
}

#[test]
fn a_reader_that_goes_away_ends_it_quietly() {
    let mut watching = program()
        .args(["lag", "-n", "wallet", "--watch", "--interval", "1"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    // As `| head` does.
    drop(watching.stdout.take());
    let deadline = Instant::now() + Duration::from_secs(30);
    while watching.try_wait().expect("it can be asked").is_none() {
        assert!(Instant::now() < deadline, "it writes on, for nobody");
        std::thread::sleep(Duration::from_millis(100));
    }
    let output = watching.wait_with_output().expect("it has ended");
    assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_replay_is_looked_at_first_and_changes_nothing() {
    let before = json(&["status", "wallet", "-n", "wallet", "-o", "json"])[0]["generation"].clone();
    let arguments = ["replay", "wallet", "ledger-projector", "-n", "wallet", "--id", "a-look", "--from", "earliest"];
    let (good, said, stderr) = run(&arguments);
    assert!(good, "{stderr}");
    for words in ["ledger-projector", "read again", "Nothing is changed yet", r#"{"position":"Earliest"}"#] {
        assert!(said.contains(words), "{said} lacks {words}");
    }
    assert_eq!(json(&["status", "wallet", "-n", "wallet", "-o", "json"])[0]["generation"], before);

    let (good, _, stderr) = run(&["redrive", "wallet", "ledgre", "-n", "wallet", "--id", "a-look"]);
    assert!(!good && stderr.contains("no processor ledgre") && stderr.contains("ledger-projector"), "{stderr}");
}
