//! The main path: money comes in over HTTP, moves, and two projections agree on where it is.

use serde_json::{Value, json};
use tidegate_verify::{client::CallError, stores::postgres};

use crate::world::{SOON, World, ensure, eventually, read_model::row_is, story};

/// The problem document of a refused call, with the status in it.
fn problem(answer: Result<Value, CallError>) -> (u16, Value) {
    match answer {
        Err(error @ CallError::Answer { .. }) => {
            (error.status().map_or(0, |status| status.as_u16()), error.body().clone())
        }
        other => panic!("expected a refusal, got {other:?}"),
    }
}

/// Waits until the projection has it so, and then whoever asks for the wallet is told the same.
async fn read_model_shows(world: &World, wallet: &str, version: i64, balance: &str) {
    eventually(&format!("the read model and GET /wallets/{wallet} show {balance}"), SOON, async || {
        let mut database =
            postgres::connect(&world.environment.wallet_database_url).await.map_err(|error| error.to_string())?;
        row_is(&mut database, wallet, version, balance).await?;
        let found = world.wallet().get(&format!("wallets/{wallet}")).await.map_err(|error| error.to_string())?;
        ensure(found["balance"] == balance && found["version"] == version, || found.to_string())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn money_comes_in_moves_and_both_projections_agree() {
    story("wallet", async |world| {
        let api = world.wallet();
        let (ada, bob) = (world.name("ada"), world.name("bob"));
        let key = |what: &str| format!("{}-{what}", world.run);

        let opened = api.open(&ada, &key("open-ada")).await.unwrap();
        assert_eq!(
            (&opened["walletId"], &opened["version"], &opened["balance"]),
            (&json!(ada), &json!(1), &json!("0.00"))
        );
        api.open(&bob, &key("open-bob")).await.unwrap();

        let deposited = api.deposit(&ada, 10_000, &key("deposit")).await.unwrap();
        assert_eq!((&deposited["version"], &deposited["balance"]), (&json!(2), &json!("100.00")));

        // The same key and body again: the same answer, and no second deposit.
        assert_eq!(api.deposit(&ada, 10_000, &key("deposit")).await.unwrap(), deposited);

        api.transfer(&ada, &bob, 3_050, &key("transfer")).await.unwrap();
        api.withdraw(&bob, 50, &key("withdrawal")).await.unwrap();

        read_model_shows(world, &ada, 3, "69.50").await;
        read_model_shows(world, &bob, 3, "30.00").await;
        let ledger = eventually("Ada's ledger has both movements", SOON, async || {
            let ledger = api.get(&format!("wallets/{ada}/ledger")).await.map_err(|error| error.to_string())?;
            let text = ledger.to_string();
            ensure(text.contains("100.00") && text.contains("30.50"), || text).map(|()| ledger)
        })
        .await;
        assert!(ledger.to_string().contains(&bob), "the transfer names the other wallet: {ledger}");
        let events = api.get(&format!("wallets/{ada}/events")).await.unwrap().to_string();
        assert_eq!(events.matches("\"eventType\"").count(), 3, "opened, deposited, sent: {events}");

        world.books_are_right().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_not_be_is_refused_with_a_type_and_a_field_and_moves_nothing() {
    story("refusals", async |world| {
        let api = world.wallet();
        let (ada, bob, nobody) = (world.name("ada"), world.name("bob"), world.name("nobody"));
        for wallet in [&ada, &bob] {
            api.open(wallet, &format!("{wallet}-open")).await.unwrap();
        }
        api.deposit(&ada, 500, &format!("{ada}-deposit")).await.unwrap();

        let mut types = Vec::new();
        for (index, (path, body)) in [
            (format!("wallets/{ada}/withdrawals"), json!({"amount": "5.01"})),
            ("transfers".into(), json!({"from": ada, "to": nobody, "amount": "1.00"})),
            ("transfers".into(), json!({"from": ada, "to": ada, "amount": "1.00"})),
            (format!("wallets/{nobody}/deposits"), json!({"amount": "1.00"})),
            (format!("wallets/{ada}/deposits"), json!({"amount": "0.00"})),
            (format!("wallets/{ada}/deposits"), json!({"amount": "-1.00"})),
            (format!("wallets/{ada}/deposits"), json!({"amount": "1.001"})),
            (format!("wallets/{ada}/deposits"), json!({"amount": "1".repeat(60)})),
            (format!("wallets/{ada}/deposits"), json!({"amount": "ten"})),
            (format!("wallets/{ada}/deposits"), json!({"amount": 10})),
            (format!("wallets/{ada}/deposits"), json!({})),
        ]
        .into_iter()
        .enumerate()
        {
            let (status, problem) = problem(api.post(&path, &body, &format!("{}-bad-{index}", world.run)).await);
            assert!((400..500).contains(&status), "{path} {body}: {status} {problem}");
            let of_type = problem["type"].as_str().unwrap_or_default();
            assert!(!of_type.is_empty() && of_type != "about:blank", "{path} {body}: {problem}");
            types.push(of_type.to_owned());
        }
        assert_ne!(types[0], types[3], "lack of funds and an unknown wallet are told apart: {types:?}");

        // A key that was used for something else.
        let (status, _) = problem(api.deposit(&ada, 900, &format!("{ada}-deposit")).await);
        assert_eq!(status, 422);

        read_model_shows(world, &ada, 2, "5.00").await;
        world.books_are_right().await;
    })
    .await;
}
