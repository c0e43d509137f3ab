//! The program as people start it, on the cluster of hack/up, whose wallet is always there.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    process::{Child, Command, Output, Stdio},
    sync::mpsc,
    thread,
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

/// Asks until there is an answer, at the latest after a minute; what was found says why there is none.
fn eventually<T>(what: &str, mut ask: impl FnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        match ask() {
            Ok(answer) => return answer,
            Err(found) => assert!(Instant::now() < deadline, "not within a minute: {what}; the last look: {found}"),
        }
        thread::sleep(Duration::from_millis(500));
    }
}

/// Waits for an operator that leads and has read each group's lag: the lease may still name one that is gone, and one that has just
/// taken over has yet to read.
fn until_the_lag_is_known() {
    eventually("each group's lag is a number", || {
        let (good, stdout, stderr) = run(&["lag", "wallet", "-n", "wallet", "-o", "json"]);
        if !good {
            return Err(stderr);
        }
        let lines: Vec<Value> = serde_json::from_str(&stdout).map_err(|error| format!("{error}: {stdout}"))?;
        let groups = lines.iter().filter_map(|line| line["group"].as_str());
        let known = groups.eq(["ledger-projector", "read-model-projector"])
            && lines.iter().all(|line| line["lagRecords"].is_number());
        if known { Ok(()) } else { Err(format!("{lines:?}")) }
    });
}

/// Its end, which comes within half a minute.
fn end_of(child: Child) -> Output {
    let (tell, ended) = mpsc::channel();
    thread::spawn(move || tell.send(child.wait_with_output()));
    ended.recv_timeout(Duration::from_secs(30)).expect("it ends").expect("it can be waited for")
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
    until_the_lag_is_known();
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
    until_the_lag_is_known();
    let mut watching = program()
        .args(["lag", "-n", "wallet", "--watch", "--interval", "1"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    // As `| head` does.
    drop(watching.stdout.take());
    let output = end_of(watching);
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

#[test]
fn dead_letters_are_asked_of_the_operator_and_what_is_not_there_is_said_with_what_is() {
    until_the_lag_is_known();
    let found = json(&["dead-letters", "list", "wallet", "-n", "wallet", "-o", "json"]);
    assert!(found["letters"].is_array(), "{found}");
    let (good, _, stderr) = run(&["dead-letters", "list", "wallet", "-n", "wallet", "--processor", "commands"]);
    assert!(!good && stderr.contains("no dead-letter topic") && stderr.contains("ledger-projector"), "{stderr}");
    let (good, _, stderr) = run(&["dead-letters", "show", "wallet", "-n", "wallet", "99:0"]);
    assert!(!good && stderr.contains("no partition 99"), "{stderr}");
    let (good, _, stderr) = run(&["dead-letters", "show", "wallet", "-n", "wallet", "somewhere"]);
    assert!(!good && stderr.contains("PARTITION:OFFSET"), "{stderr}");
}
