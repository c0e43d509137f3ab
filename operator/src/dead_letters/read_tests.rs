//! Dead letters read from the twin of a Kafka cluster, which gives a few records at a time.

use std::time::Duration;

use axum::{
    body::Body,
    http::{Request, StatusCode},
};
use http_body_util::BodyExt;
use proptest::prelude::*;
use serde_json::{Value, json};
use tidegate_crds::EventPipeline;
use tidegate_kafka::{KafkaAdmin, LoggedRecord, NewTopic, WriteMode, twin::Twin};
use tidegate_settings::failure::headers;
use tower::ServiceExt;

use super::{
    Desk, End, Filter, Letter, Listing, Refusal,
    read::{Source, list, show},
};
use crate::testing::World;

const PATIENCE: Duration = Duration::from_secs(30);

fn pipeline(status: Value) -> EventPipeline {
    let value = json!({
        "apiVersion": "tidegate.dev/v1alpha1", "kind": "EventPipeline",
        "metadata": {"name": "wallet", "namespace": "bank", "generation": 3},
        "spec": {
            "kafka": {"user": {"managed": {}}},
            "processors": [
                {"name": "commands", "run": {"wallet": {"role": "Commands"}}},
                {"name": "ledger", "run": {"wallet": {"role": "LedgerProjector"}}, "consumes": {"topics": ["events"], "group": "g"},
                 "retry": {}, "deadLetter": {"topic": "dead"}},
            ],
        },
        "status": status,
    });
    serde_json::from_value(value).unwrap()
}

fn fine() -> Value {
    json!({"observedGeneration": 3, "conditions": [], "redrives": [
        {"id": "first", "processor": "ledger", "phase": "Done", "moved": 1, "skipped": 0, "errorClass": "Exhausted", "next": {"dead": {"0": 4}}},
        {"id": "anothers", "processor": "read-model", "phase": "Done", "moved": 1, "skipped": 0, "next": {"dead": {"0": 100, "1": 100}}},
    ]})
}

/// A letter of its own second.
fn letter(second: i64, group: &str, class: &str) -> LoggedRecord {
    let header = |name: &str, value: &str| (name.to_owned(), Some(value.as_bytes().to_vec()));
    LoggedRecord {
        timestamp: second * 1000,
        key: Some(format!("key-{}", second % 3).into_bytes()),
        value: Some(vec![0, 159, 146, 150]),
        headers: vec![
            header(headers::GROUP, group),
            header(headers::ORIGIN_TOPIC, "events"),
            header(headers::ORIGIN_OFFSET, &second.to_string()),
            header(headers::ERROR_CLASS, class),
        ],
        ..LoggedRecord::default()
    }
}

/// Letters of two groups, by turns, in two partitions.
async fn kafka(letters: i64) -> Twin {
    let twin = Twin::new();
    for outcome in twin.create_topics(&[NewTopic::new("dead", 2, 3)], WriteMode::Apply).await.into_values() {
        outcome.unwrap();
    }
    for second in 0..letters {
        let group = if second % 2 == 0 { "g" } else { "other" };
        let class = if second % 6 == 0 { "Poison" } else { "Exhausted" };
        twin.append("dead", i32::from(second % 5 == 0), letter(second, group, class)).unwrap();
    }
    twin
}

fn source() -> Source {
    Source::of(&pipeline(fine()), "ledger").unwrap()
}

async fn listed(twin: &Twin, filter: &Filter, limit: usize) -> Listing {
    list(twin, &source(), filter, limit, PATIENCE).await.unwrap()
}

fn origins(listing: &Listing) -> Vec<i64> {
    listing.letters.iter().filter_map(|letter| letter.origin.offset).collect()
}

#[tokio::test]
async fn the_newest_of_its_own_come_first() {
    let twin = kafka(40).await;
    let all = listed(&twin, &Filter::default(), 100).await;
    assert_eq!(origins(&all), (0..40).rev().filter(|second| second % 2 == 0).collect::<Vec<_>>());
    assert_eq!((all.held, all.looked, all.end), (40, 40, End::All));
    let some = listed(&twin, &Filter::default(), 3).await;
    assert_eq!((origins(&some), some.end), (vec![38, 36, 34], End::Limit));
    let empty = listed(&kafka(0).await, &Filter::default(), 3).await;
    assert_eq!((empty.letters.len(), empty.held, empty.end), (0, 0, End::All));
}

#[tokio::test]
async fn a_filter_is_true_as_a_whole() {
    let twin = kafka(40).await;
    let of = |class: &str, origin: &str, key: &str| Filter {
        error_class: Some(class.to_owned()),
        origin: Some(origin.to_owned()),
        key: Some(key.as_bytes().to_vec()),
    };
    assert_eq!(origins(&listed(&twin, &of("Poison", "events", "key-0"), 100).await), [36, 30, 24, 18, 12, 6, 0]);
    for none in [of("Poison", "events", "key-1"), of("Poison", "event", "key-0"), of("Panic", "events", "key-0")] {
        let listing = listed(&twin, &none, 100).await;
        assert_eq!((listing.letters.len(), listing.end), (0, End::All));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    /// Windows and portions do not show: it is the newest of all there are, whatever there is.
    #[test]
    fn a_list_is_the_newest_end_of_the_whole(letters in 0..1_300_i64, limit in 1..60_usize) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let (found, end) = runtime.block_on(async {
            let listing = listed(&kafka(letters).await, &Filter::default(), limit).await;
            (origins(&listing), listing.end)
        });
        let whole: Vec<i64> = (0..letters).rev().filter(|second| second % 2 == 0).collect();
        prop_assert_eq!(&found[..], &whole[..limit.min(whole.len())]);
        prop_assert!(end == End::Limit || whole.len() <= limit);
    }
}

#[tokio::test]
async fn who_has_no_patience_gets_what_was_found() {
    let listing = list(&kafka(40).await, &source(), &Filter::default(), 10, Duration::ZERO).await.unwrap();
    assert_eq!((listing.letters.len(), listing.looked, listing.end), (0, 0, End::Budget));
}

#[tokio::test]
async fn what_was_redriven_is_said_of_the_class_and_the_offsets_that_were() {
    let redriven = |letter: &Letter| letter.redriven.clone().map(|id| (letter.partition, letter.offset, id));
    let listing = listed(&kafka(40).await, &Filter::default(), 100).await;
    // Of partition 0 up to offset 3, which holds the seconds 1, 2, 3, 4; the odd ones are another group's.
    let first = "first".to_owned();
    let found: Vec<_> = listing.letters.iter().filter_map(redriven).collect();
    assert_eq!(found, [(0, 3, first.clone()), (0, 1, first)]);
}

#[tokio::test]
async fn one_is_shown_whole_and_what_is_not_there_is_said_with_what_is() {
    let twin = kafka(40).await;
    let whole = show(&twin, &source(), 0, 1).await.unwrap();
    assert_eq!(
        (whole.letter.origin.offset, whole.value.and_then(|value| value.bytes())),
        (Some(2), Some(vec![0, 159, 146, 150]))
    );
    for (partition, offset, said) in [
        (0, 0, "was not given up by group g"),
        (2, 0, "no partition 2; it has 0 to 1"),
        (0, 32, "holds offsets 0 to 31"),
        (0, -1, "no offset -1"),
    ] {
        match show(&twin, &source(), partition, offset).await {
            Err(Refusal::NotFound(message)) => assert!(message.contains(said), "{message}"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn what_the_operator_has_refused_gives_no_right_to_read() {
    let stalled = json!({"type": "Stalled", "status": "True", "reason": "Conflict", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"});
    for (status, processor, said) in [
        (Value::Null, "ledger", "does not work for the spec"),
        (json!({"observedGeneration": 2}), "ledger", "does not work for the spec"),
        (json!({"observedGeneration": 3, "conditions": [stalled]}), "ledger", "does not work for the spec"),
        (fine(), "commands", "has no deadLetter"),
        (fine(), "ledgre", "it has commands, ledger"),
    ] {
        match Source::of(&pipeline(status), processor) {
            Err(Refusal::Conflict(message) | Refusal::NotFound(message)) => {
                assert!(message.contains(said), "{message}")
            }
            other => panic!("{other:?}"),
        }
    }
}

async fn asked(desk: &Desk, path: &str, token: Option<&str>) -> (StatusCode, Value) {
    let mut request = Request::get(path);
    if let Some(token) = token {
        request = request.header(super::TOKEN, token);
    }
    let answer = desk.clone().router().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    let code = answer.status();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    (code, serde_json::from_slice(&body).unwrap_or_default())
}

#[tokio::test]
async fn nobody_looks_without_a_token_and_nobody_at_all_while_nobody_leads() {
    let twin = kafka(10).await;
    let world = World::after(&twin);
    world.watch_pipeline(&pipeline(fine()));
    let desk = Desk::default();
    let path = "/dead-letters/bank/wallet/ledger";
    assert_eq!(asked(&desk, path, Some("a.b.c")).await.0, StatusCode::SERVICE_UNAVAILABLE);

    let open = desk.open(&world.context);
    for token in [None, Some(""), Some("no token")] {
        let (code, status) = asked(&desk, path, token).await;
        assert_eq!(
            (code, &status["kind"], &status["reason"]),
            (StatusCode::UNAUTHORIZED, &json!("Status"), &json!("Unauthorized"))
        );
    }
    assert!(world.asked().is_empty(), "the API server is not troubled with what is no token");
    // Whoever may not look does not learn what there is.
    world.token("a.b.c", "system:serviceaccount:bank:wallet-ledger");
    for path in [path, "/dead-letters/bank/wallet/nobody", "/dead-letters/nowhere/wallet/ledger/0/1"] {
        assert_eq!(asked(&desk, path, Some("d.e.f")).await.0, StatusCode::UNAUTHORIZED, "{path}");
    }
    assert_eq!(asked(&desk, "/dead-letters/bank/wallet/commands", Some("a.b.c")).await.0, StatusCode::UNAUTHORIZED);

    let (code, listing) = asked(&desk, &format!("{path}?limit=2&errorClass=Exhausted"), Some("a.b.c")).await;
    assert_eq!((code, listing["letters"].as_array().map(Vec::len)), (StatusCode::OK, Some(2)), "{listing}");
    let (code, whole) = asked(&desk, &format!("{path}/0/1"), Some("a.b.c")).await;
    assert_eq!((code, &whole["origin"]["offset"]), (StatusCode::OK, &json!(2)), "{whole}");
    assert_eq!(asked(&desk, &format!("{path}/0/0"), Some("a.b.c")).await.0, StatusCode::NOT_FOUND);
    assert_eq!(asked(&desk, &format!("{path}?limt=2"), Some("a.b.c")).await.0, StatusCode::BAD_REQUEST);

    drop(open);
    assert_eq!(asked(&desk, path, Some("a.b.c")).await.0, StatusCode::SERVICE_UNAVAILABLE);
}
