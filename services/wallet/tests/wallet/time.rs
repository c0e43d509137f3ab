//! A wallet as it was.

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::world::{Role, story};

#[test]
fn a_wallet_is_shown_as_it_was_at_any_time() {
    story(async |world| {
        let api = world.start(Role::Commands).await;
        api.done("/wallets", json!({"walletId": "ada", "ownerId": "o", "currency": "EUR"})).await;
        api.done("/wallets/ada/deposits", json!({"amount": "10.00"})).await;
        let hold = api.done("/holds", json!({"walletId": "ada", "amount": "4.00"})).await["holdId"].clone();
        api.done("/wallets/ada/withdrawals", json!({"amount": "1.00"})).await;
        api.done(&format!("/holds/{}/capture", hold.as_str().unwrap()), json!({"amount": "3.00"})).await;
        let (_, page) = api.get("/wallets/ada/events").await;
        let times: Vec<&str> =
            page["items"].as_array().unwrap().iter().map(|event| event["timestamp"].as_str().unwrap()).collect();
        let expected = [("0.00", "0.00"), ("10.00", "0.00"), ("10.00", "4.00"), ("9.00", "4.00"), ("6.00", "0.00")];
        for (version, (balance, held)) in (1..).zip(expected) {
            let at = times[version - 1];
            // Of events at the same time, the last one counts.
            if times.get(version) == Some(&at) {
                continue;
            }
            let (status, wallet) = api.get(&format!("/wallets/ada?at={at}")).await;
            assert_eq!(status, StatusCode::OK, "{wallet}");
            assert_eq!(
                (&wallet["version"], &wallet["balance"], &wallet["held"], &wallet["updatedAt"]),
                (&json!(version), &json!(balance), &json!(held), &json!(at)),
                "{wallet}"
            );
            let open: Vec<&Value> = wallet["holds"].as_array().unwrap().iter().map(|open| &open["holdId"]).collect();
            assert_eq!(open, if held == "0.00" { vec![] } else { vec![&hold] });
        }
        assert_eq!(api.get("/wallets/ada?at=2100-01-01T00:00:00Z").await.1["version"], 5);

        let (status, problem) = api.get("/wallets/ada?at=2020-01-01T00:00:00%2B01:00").await;
        assert_eq!((status, &problem["field"]), (StatusCode::NOT_FOUND, &json!("at")));
        assert_eq!(
            problem["detail"],
            json!(format!("the wallet ada was opened at {}, later than 2019-12-31T23:00:00Z", times[0]))
        );
        for (path, status, field) in [
            ("/wallets/nobody?at=2100-01-01T00:00:00Z", 404, "walletId"),
            ("/wallets/ada?at=yesterday", 400, "at"),
            ("/wallets/ada?at=2026-01-01", 400, "at"),
            ("/wallets/ada?on=2026-01-01", 400, "on"),
        ] {
            let (answered, problem) = api.get(path).await;
            assert_eq!((answered.as_u16(), &problem["field"]), (status, &json!(field)), "{path}: {problem}");
        }
    });
}
