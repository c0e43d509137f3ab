//! A consumer that stops under load: the rules that the operator made of its spec notice, Alertmanager hears of it, and hears when it is
//! over. Rules go with their processor.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use serde_json::{Value, json};

use crate::world::{LATER, SOON, World, ensure, eventually, story};

const NAME: &str = "own";

/// Asks a service of namespace `monitoring` through the Kubernetes API.
async fn monitoring(world: &World, service: &str, path: &str) -> Result<Value, String> {
    let uri = format!("/api/v1/namespaces/monitoring/services/{service}:http/proxy{path}");
    let request = http::Request::get(&uri).body(vec![]).expect("a request can be built");
    world.client.request(request).await.map_err(|error| format!("{service}: {error} (hack/up monitoring?)"))
}

/// What Alertmanager has of an alert for a processor of the story's pipeline.
async fn alert(world: &World, name: &str, processor: &str) -> Result<Option<Value>, String> {
    let alerts = monitoring(world, "alertmanager", "/api/v2/alerts").await?;
    let ours = |alert: &&Value| {
        let labels = &alert["labels"];
        labels["alertname"] == name
            && labels["namespace"] == world.namespace.as_str()
            && labels["processor"] == processor
    };
    Ok(alerts.as_array().into_iter().flatten().find(ours).cloned())
}

/// The same, when Alertmanager answers.
async fn alert_now(world: &World, name: &str, processor: &str) -> Option<Value> {
    eventually("Alertmanager answers", SOON, async || alert(world, name, processor).await).await
}

/// The rule groups of the story's pipeline that Prometheus evaluates.
async fn groups(world: &World) -> Result<Vec<String>, String> {
    let rules = monitoring(world, "prometheus", "/api/v1/rules").await?;
    let prefix = format!("tidegate/{}/", world.namespace);
    let names = rules["data"]["groups"].as_array().into_iter().flatten().filter_map(|group| group["name"].as_str());
    Ok(names.filter(|name| name.starts_with(&prefix)).map(|name| name[prefix.len()..].to_owned()).collect())
}

async fn rules(world: &World, processor: &str) -> Result<Option<ConfigMap>, String> {
    let maps: Api<ConfigMap> = Api::namespaced(world.client.clone(), &world.namespace);
    maps.get_opt(&format!("{NAME}.{processor}.rules")).await.map_err(|error| error.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_that_stops_under_load_is_heard_of_in_alertmanager_and_so_is_its_return() {
    story("alerts", async |world| {
        let topic = world.furnish().await;
        let mut good = world.wallet_spec(&topic);
        good["processors"][1]["lag"] = json!({"objective": "10s", "alert": {"labels": {"story": world.run}}});
        world.apply_pipeline(NAME, good.clone()).await.unwrap();
        let pipeline = world.pipeline_is_ready(NAME).await;
        let made = eventually("the rules can be read", SOON, async || rules(world, "ledger").await).await;
        let made = made.expect("the processor has rules");
        let owner = &made.metadata.owner_references.as_ref().unwrap()[0];
        assert_eq!(Some(owner.uid.as_str()), pipeline["metadata"]["uid"].as_str());
        eventually("Prometheus has the rules", SOON, async || {
            let found = groups(world).await?;
            let all = [NAME, "own/ledger", "own/read-model"];
            ensure(all.iter().all(|name| found.iter().any(|group| group == name)), || format!("{found:?}"))
        })
        .await;

        world.open_ada().await;
        world.deposit().await;
        assert_eq!(alert_now(world, "PipelineLagHigh", "ledger").await, None);

        // A bad deployment of one processor: its pod cannot start. Nothing is pulled from anywhere.
        let mut bad = good.clone();
        bad["processors"][1]["image"] = json!("localhost:1/no-such-image:1");
        world.apply_pipeline(NAME, bad).await.unwrap();
        let heard = eventually("Alertmanager hears of it", LATER, async || {
            world.try_deposit().await?;
            alert(world, "PipelineLagHigh", "ledger").await?.ok_or_else(|| "nothing".to_owned())
        })
        .await;
        let (labels, annotations) = (&heard["labels"], &heard["annotations"]);
        assert_eq!((&labels["severity"], &labels["pipeline"]), (&json!("page"), &json!(NAME)), "{heard:#}");
        assert_eq!(labels["story"], world.run.as_str(), "{heard:#}");
        let summary = annotations["summary"].as_str().unwrap_or_default();
        assert!(summary.contains("own/ledger is ") && summary.ends_with(" behind"), "{heard:#}");
        let page = annotations["runbook_url"].as_str().unwrap_or_default();
        assert!(page.ends_with("/PipelineLagHigh"), "{heard:#}");
        // The other processor reads the same topic, and reads it still.
        assert_eq!(alert_now(world, "PipelineLagHigh", "read-model").await, None);

        world.apply_pipeline(NAME, good.clone()).await.unwrap();
        eventually("Alertmanager hears that it is over", LATER, async || {
            let left = alert(world, "PipelineLagHigh", "ledger").await?;
            ensure(left.is_none(), || left.unwrap_or_default().to_string())
        })
        .await;

        // A processor that is taken out of the spec takes its rules with it, from Kubernetes and from Prometheus.
        let mut smaller = good;
        smaller["processors"].as_array_mut().unwrap().remove(1);
        world.apply_pipeline(NAME, smaller).await.unwrap();
        eventually("its rules are gone", SOON, async || {
            let (map, found) = (rules(world, "ledger").await?.is_some(), groups(world).await?);
            ensure(!map && !found.iter().any(|group| group == "own/ledger"), || format!("{map} {found:?}"))
        })
        .await;
    })
    .await;
}
