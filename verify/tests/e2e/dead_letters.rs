//! Dead letters are shown by the operator that leads, to who may act as the processor and to nobody else.

use k8s_openapi::api::{
    authentication::v1::{TokenRequest, TokenRequestSpec},
    core::v1::ServiceAccount,
};
use kube::{Api, api::PostParams};
use serde_json::{Value, json};

use crate::{
    replay::NAME,
    world::{LATER, SOON, World, ensure, eventually, requests::answered, story},
};

/// Whom tokens are for that the operator takes.
const AUDIENCE: &str = "tidegate.dead-letters.tidegate.dev";

/// A token of a processor's ServiceAccount.
async fn token(world: &World, processor: &str, audience: Option<&str>) -> String {
    let accounts: Api<ServiceAccount> = Api::namespaced(world.client.clone(), &world.namespace);
    let audiences = audience.map(str::to_owned).into_iter().collect();
    let spec = TokenRequestSpec { audiences, expiration_seconds: Some(600), ..TokenRequestSpec::default() };
    let request = TokenRequest { spec, ..TokenRequest::default() };
    let account = format!("{NAME}-{processor}");
    let ask = async || accounts.create_token_request(&account, &PostParams::default(), &request).await;
    answered(ask).await.expect("a token can be asked for").status.expect("it is in the answer").token
}

/// What the operator that leads answers; a refusal is its code and its words.
async fn look(world: &World, path: &str, token: Option<&str>) -> Result<Value, (u16, String)> {
    let ask = async || {
        let leader = eventually("an operator leads", SOON, async || world.leader().await.ok_or("nobody".into())).await;
        let uri = format!(
            "/api/v1/namespaces/tidegate-system/pods/{leader}:8080/proxy/dead-letters/{}/{NAME}/{path}",
            world.namespace
        );
        let mut request = http::Request::get(uri);
        if let Some(token) = token {
            request = request.header("tidegate-token", token);
        }
        world.client.request(request.body(vec![]).expect("a request can be built")).await
    };
    match answered(ask).await {
        Ok(answer) => Ok(answer),
        Err(kube::Error::Api(status)) => Err((status.code, status.message)),
        Err(error) => panic!("asking the operator: {error}"),
    }
}

/// All that a processor is shown, once that is one letter.
async fn only_letter(world: &World, processor: &str, token: &str) -> Result<Value, String> {
    let found = look(world, processor, Some(token)).await.map_err(|refused| format!("{refused:?}"))?;
    let is_one = found["letters"].as_array().map(Vec::len) == Some(1) && found["end"] == "All";
    ensure(is_one, || found.to_string()).map(|()| found)
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_shown_to_who_may_act_as_the_processor_and_to_nobody_else() {
    story("dead-letters", async |world| {
        let topic = world.furnish().await;
        let dlq = world.name("dlq");
        let mut spec = world.wallet_spec(&topic);
        for processor in [1, 2] {
            spec["processors"][processor]["retry"] = json!({"attempts": 2});
            spec["processors"][processor]["deadLetter"] = json!({"topic": dlq, "partitions": 2});
        }
        world.apply_pipeline(NAME, spec.clone()).await.unwrap();
        world.pipeline_is_ready(NAME).await;
        let (partition, offset) = world.produce(&topic, "stranger", b"no event \x1b[2J of ours").await;

        // Both projectors give it up, into one topic; each is shown its own.
        let ledger = token(world, "ledger", Some(AUDIENCE)).await;
        let read_model = token(world, "read-model", Some(AUDIENCE)).await;
        let found = eventually("each is shown the letter that it gave up", LATER, async || {
            only_letter(world, "read-model", &read_model).await?;
            only_letter(world, "ledger", &ledger).await
        })
        .await;
        assert!(found["held"].as_i64() >= Some(2), "the other's is in the topic, too: {found}");
        let letters = found["letters"].as_array().cloned().unwrap_or_default();
        assert_eq!((letters.len(), &found["end"]), (1, &json!("All")), "{found}");
        let letter = &letters[0];
        assert_eq!((&letter["errorClass"], &letter["key"]["text"]), (&json!("Poison"), &json!("stranger")), "{letter}");
        assert_eq!((&letter["origin"]["partition"], &letter["origin"]["offset"]), (&json!(partition), &json!(offset)));
        assert_eq!(letter["redriven"], Value::Null);
        let place = format!("{}/{}", letter["partition"], letter["offset"]);
        let whole = look(world, &format!("ledger/{place}"), Some(&ledger)).await.unwrap();
        assert_eq!(whole["value"], json!({"size": 21, "text": "no event \u{1b}[2J of ours"}));
        assert_eq!(look(world, "ledger?errorClass=Panic", Some(&ledger)).await.unwrap()["letters"], json!([]));

        // The way there is open to whoever reads metrics. That is not enough, nor is another's token, nor one for somebody else.
        let for_kubernetes = token(world, "ledger", None).await;
        for wrong in [None, Some("no token"), Some(&read_model), Some(&for_kubernetes)] {
            for path in ["ledger", &format!("ledger/{place}"), "no-such-processor"] {
                let refused = look(world, path, wrong).await.unwrap_err();
                assert_eq!(refused.0, 401, "{path}: {refused:?}");
            }
        }
        // What is another's is not shown under one's own name either.
        let refused = look(world, &format!("read-model/{place}"), Some(&read_model)).await.unwrap_err();
        assert!(refused.0 == 404 && refused.1.contains("was not given up by group"), "{refused:?}");
        let kubernetes = http::Request::get(format!("/api/v1/namespaces/{}/pods", world.namespace));
        let kubernetes = kubernetes.header("authorization", format!("Bearer {ledger}")).body(vec![]).unwrap();
        let mut nobody = kube::Config::infer().await.unwrap();
        nobody.auth_info = kube::config::AuthInfo::default();
        let nobody = kube::Client::try_from(nobody).unwrap();
        let refused = nobody.request::<Value>(kubernetes).await.unwrap_err();
        assert!(matches!(&refused, kube::Error::Api(status) if status.code == 401), "{refused}");

        // What is redriven is told, and dies again.
        spec["processors"][1]["redrive"] = json!({"id": "again"});
        world.apply_pipeline(NAME, spec).await.unwrap();
        eventually("the dead letter is redriven, and died again", LATER, async || {
            let found = look(world, "ledger", Some(&ledger)).await.map_err(|refused| format!("{refused:?}"))?;
            let redriven = [&found["letters"][0]["redriven"], &found["letters"][1]["redriven"]];
            ensure(redriven == [&Value::Null, &json!("again")], || found.to_string())
        })
        .await;
    })
    .await;
}
