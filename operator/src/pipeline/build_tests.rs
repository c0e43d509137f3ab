//! What is made for a processor.

use serde_json::json;

use super::*;
use crate::{pipeline::pod::ROLL_ANNOTATION, testing::wallet};

fn pipeline() -> EventPipeline {
    wallet(|json| {
        let processors = &mut json["spec"]["processors"];
        processors[0]["run"] = json!({"wallet": {"role": "Commands", "overdraft": "Forbidden"}});
        processors[0]["http"]["port"] = json!(9000);
        processors[0]["replicas"] = json!(2);
        processors[0]["podLabels"] = json!({"team": "payments"});
        processors[0]["env"] = json!([{"name": "RUST_LOG", "value": "debug"}]);
        processors[1]["image"] = json!("elsewhere/wallet:2");
    })
}

fn objects(pipeline: &EventPipeline, secrets_version: &str) -> Vec<Objects> {
    let images =
        [("wallet".to_owned(), ImageConfig { image: "wallet:1".into(), pull_policy: Some("Never".into()) })].into();
    let replicas = [("commands".to_owned(), 2), ("ledger".to_owned(), 1)].into();
    let surroundings = Surroundings {
        images: &images,
        secrets_version: secrets_version.into(),
        own_secrets: BTreeMap::new(),
        replicas,
        generations: BTreeMap::new(),
    };
    build(pipeline, &surroundings).unwrap()
}

fn template(objects: &Objects) -> &k8s_openapi::api::core::v1::PodTemplateSpec {
    &objects.deployment.spec.as_ref().unwrap().template
}

fn roll_hash(objects: &Objects) -> String {
    template(objects).metadata.as_ref().unwrap().annotations.as_ref().unwrap()[ROLL_ANNOTATION].clone()
}

#[test]
fn the_process_reads_exactly_what_the_resource_says() {
    let made = objects(&pipeline(), "1");
    let text = &made[0].config_map.data.as_ref().unwrap()["settings.yaml"];
    let settings = tidegate_settings::parse(text).unwrap();
    assert_eq!(settings.run, pipeline().spec.processors[0].run);
    assert_eq!(settings.produces, ["events"]);
    assert_eq!(settings.http.port, 9000);
    let identity = Identity { namespace: "bank".into(), pipeline: "wallet".into(), processor: "commands".into() };
    assert_eq!(settings.identity, identity);

    let text = &made[1].config_map.data.as_ref().unwrap()["settings.yaml"];
    let projector = tidegate_settings::parse(text).unwrap();
    assert_eq!(projector.consumes, pipeline().spec.processors[1].consumes);
    assert_eq!(projector.http.port, 8080);
}

#[test]
fn pods_roll_when_settings_or_secrets_change_and_only_those_concerned() {
    let before = objects(&pipeline(), "1");
    let mut changed = pipeline();
    changed.spec.processors[1].consumes.as_mut().unwrap().start_at = Some(tidegate_settings::StartAt::Latest);
    let after = objects(&changed, "1");
    assert_eq!(roll_hash(&before[0]), roll_hash(&after[0]));
    assert_ne!(roll_hash(&before[1]), roll_hash(&after[1]));
    assert_ne!(roll_hash(&before[0]), roll_hash(&objects(&pipeline(), "2")[0]));
    assert_eq!(before, objects(&pipeline(), "1"));
}

#[test]
fn each_processor_mounts_the_user_that_is_made_for_it_and_rolls_with_it() {
    let mut managed = pipeline();
    managed.spec.kafka.user = tidegate_crds::pipeline::KafkaUser::Managed(Default::default());
    let images = [("wallet".to_owned(), ImageConfig { image: "wallet:1".into(), pull_policy: None })].into();
    let made = |versions: [(&str, &str); 2]| {
        let own_secrets = versions.map(|(processor, version)| (processor.to_owned(), version.to_owned())).into();
        let around = Surroundings {
            images: &images,
            secrets_version: "1".into(),
            own_secrets,
            replicas: BTreeMap::new(),
            generations: BTreeMap::new(),
        };
        build(&managed, &around).unwrap()
    };
    let (before, after) = (made([("commands", "1"), ("ledger", "1")]), made([("commands", "1"), ("ledger", "2")]));
    let mounted = |objects: &Objects| {
        let volumes = template(objects).spec.as_ref().unwrap().volumes.as_ref().unwrap();
        let kafka = volumes.iter().find(|volume| volume.name == "kafka").unwrap();
        kafka.secret.as_ref().unwrap().secret_name.clone().unwrap()
    };
    assert_eq!([mounted(&before[0]), mounted(&before[1])], ["wallet-commands-kafka", "wallet-ledger-kafka"]);
    assert_eq!(roll_hash(&before[0]), roll_hash(&after[0]));
    assert_ne!(roll_hash(&before[1]), roll_hash(&after[1]));
}

#[test]
fn replicas_are_never_in_the_apply() {
    for made in objects(&pipeline(), "1") {
        assert_eq!(made.deployment.spec.unwrap().replicas, None);
    }
}

#[test]
fn a_service_where_there_is_an_api_and_a_budget_where_there_are_several_pods() {
    let made = objects(&pipeline(), "1");
    let port = &made[0].service.as_ref().unwrap().spec.as_ref().unwrap().ports.as_ref().unwrap()[0];
    assert_eq!((port.name.as_deref(), port.port), (Some("http"), 9000));
    assert!(made[0].disruption_budget.is_some());
    assert!(made[1].service.is_none() && made[1].disruption_budget.is_none());
}

#[test]
fn pods_meet_the_restricted_standard_and_carry_no_token() {
    for made in objects(&pipeline(), "1") {
        let pod = template(&made).spec.as_ref().unwrap();
        let security = pod.security_context.as_ref().unwrap();
        assert_eq!(security.run_as_non_root, Some(true));
        assert_eq!(security.seccomp_profile.as_ref().unwrap().type_, "RuntimeDefault");
        assert_eq!(pod.automount_service_account_token, Some(false));
        let container = pod.containers[0].security_context.as_ref().unwrap();
        assert_eq!(container.allow_privilege_escalation, Some(false));
        assert_eq!(container.capabilities.as_ref().unwrap().drop, Some(vec!["ALL".to_owned()]));
        assert_eq!(container.read_only_root_filesystem, Some(true));
        // Only volume types that the standard allows.
        for volume in pod.volumes.as_ref().unwrap() {
            assert!(volume.secret.is_some() || volume.config_map.is_some() || volume.empty_dir.is_some());
        }
    }
}

#[test]
fn no_secret_value_and_no_secret_name_is_in_the_settings() {
    for made in objects(&pipeline(), "1") {
        let text = &made.config_map.data.as_ref().unwrap()["settings.yaml"];
        assert!(!text.contains("db") && text.contains("/etc/tidegate/database"), "{text}");
    }
}

#[test]
fn an_image_of_its_own_takes_the_place_of_the_operators_and_of_its_pull_policy() {
    let made = objects(&pipeline(), "1");
    let image = |at: usize| {
        let container = &template(&made[at]).spec.as_ref().unwrap().containers[0];
        (container.image.clone().unwrap(), container.image_pull_policy.clone())
    };
    assert_eq!(image(0), ("wallet:1".into(), Some("Never".into())));
    assert_eq!(image(1), ("elsewhere/wallet:2".into(), None));
}

#[test]
fn a_container_has_the_settings_and_bindings_of_any_other_and_its_own_image_and_user() {
    let mut value = serde_json::to_value(pipeline()).unwrap();
    let container = json!({"image": "registry.example/enrich:1", "args": ["--fast"], "user": 1000, "idempotent": true});
    value["spec"]["processors"][1] = json!({
        "name": "enrich", "run": {"container": container}, "consumes": {"topics": ["events"], "group": "enrich"},
        "deadLetter": {"topic": "events-dlq"},
    });
    let made = &objects(&serde_json::from_value(value).unwrap(), "1")[1];

    let settings = tidegate_settings::parse(&made.config_map.data.as_ref().unwrap()["settings.yaml"]).unwrap();
    assert_eq!(settings.consumes.unwrap().group, "enrich");
    assert_eq!(settings.dead_letter.unwrap().topic, "events-dlq");
    assert!(settings.run.idempotent());

    let pod = template(made).spec.as_ref().unwrap();
    assert_eq!(pod.security_context.as_ref().unwrap().run_as_user, Some(1000));
    let container = &pod.containers[0];
    assert_eq!(container.image.as_deref(), Some("registry.example/enrich:1"));
    assert_eq!(container.args, Some(vec!["--fast".to_owned()]));
    assert_eq!(container.readiness_probe, None, "nothing is known of where it answers");
    let mounts: Vec<&str> = container.volume_mounts.iter().flatten().map(|mount| mount.mount_path.as_str()).collect();
    assert_eq!(mounts, ["/etc/tidegate/settings", "/etc/tidegate/kafka", "/etc/tidegate/database", "/tmp"]);
    assert!(made.service.is_none());
}

#[test]
fn the_operators_labels_win_over_a_pods_own() {
    let mut pipeline = pipeline();
    let labels = pipeline.spec.processors[0].pod_labels.as_mut().unwrap();
    labels.insert(PROCESSOR_LABEL.into(), "somebody-else".into());
    let made = objects(&pipeline, "1");
    let labels = template(&made[0]).metadata.as_ref().unwrap().labels.as_ref().unwrap();
    assert_eq!((labels[PROCESSOR_LABEL].as_str(), labels["team"].as_str()), ("commands", "payments"));
}

#[test]
fn a_hash_tells_apart_where_one_text_ends() {
    assert_ne!(hash(["ab", "c"]), hash(["a", "bc"]));
    assert_eq!(hash(["a"]).len(), 16);
}
