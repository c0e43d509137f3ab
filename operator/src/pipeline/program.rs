//! What is started in a processor's pod: one of our services, which all start and answer alike, or anybody's program, of which only
//! what its owner says is known. Pure.

use k8s_openapi::{
    api::core::v1::{Container, ContainerPort, HTTPGetAction, Probe, TCPSocketAction},
    apimachinery::pkg::util::intstr::IntOrString,
};
use tidegate_crds::pipeline::Processor;
use tidegate_settings::{ContainerSettings, PullPolicy, Run};

use crate::config::ImageConfig;

/// The user of our images, and of a container that names none.
const USER: i64 = 65_532;

/// The user and group that the process runs as.
pub fn user(processor: &Processor) -> i64 {
    match &processor.run {
        Run::Container(container) => container.user.unwrap_or(USER),
        Run::Wallet(_) => USER,
    }
}

/// Name, image, arguments, ports and probes of the container. `image` is the operator's of the service, `port` the one that the settings
/// name for HTTP, `settings` the path of the settings file.
pub fn container(processor: &Processor, image: Option<&ImageConfig>, port: u16, settings: &str) -> Container {
    let program = match &processor.run {
        Run::Container(container) => anybodys(processor, container, port),
        Run::Wallet(_) => ours(processor, image, port, settings),
    };
    Container { name: processor.run.service().into(), ..program }
}

fn ours(processor: &Processor, image: Option<&ImageConfig>, port: u16, settings: &str) -> Container {
    let own_image = processor.image.clone();
    let ask =
        |path: &str, period, failures| probe(Asked::Path(path), IntOrString::String("http".into()), period, failures);
    Container {
        image_pull_policy: image.filter(|_| own_image.is_none()).and_then(|image| image.pull_policy.clone()),
        image: own_image.or_else(|| image.map(|image| image.image.clone())),
        args: Some(vec!["--settings".into(), settings.into()]),
        ports: Some(vec![container_port("http", port)]),
        // Migrations run at the start, so it may take two minutes.
        startup_probe: Some(ask("/livez", 1, 120)),
        readiness_probe: Some(ask("/readyz", 2, 3)),
        liveness_probe: Some(ask("/livez", 10, 6)),
        ..Container::default()
    }
}

fn anybodys(processor: &Processor, container: &ContainerSettings, port: u16) -> Container {
    let program = Container {
        image: Some(container.image.clone()),
        image_pull_policy: container.image_pull_policy.map(|policy: PullPolicy| policy.name().into()),
        command: container.command.clone(),
        args: container.args.clone(),
        ..Container::default()
    };
    let serves = processor.http.is_some();
    if !serves && container.health.is_none() {
        return program;
    }
    let health = container.health.clone().unwrap_or_default();
    let asked = health.port.unwrap_or(port);
    let ask = |path: Option<&String>, period, failures| {
        let what = path.map_or(Asked::Connection, |path| Asked::Path(path));
        probe(what, IntOrString::Int(i32::from(asked)), period, failures)
    };
    let mut ports = Vec::new();
    ports.extend(serves.then(|| container_port("http", port)));
    ports.extend((!serves || asked != port).then(|| container_port("health", asked)));
    Container {
        ports: Some(ports),
        startup_probe: Some(ask(health.liveness.as_ref().or(health.readiness.as_ref()), 1, health.start_seconds())),
        readiness_probe: Some(ask(health.readiness.as_ref(), 2, 3)),
        // A port that takes no connections for a minute says little of whether a restart helps: only a path that is made for it does.
        liveness_probe: health.liveness.as_ref().map(|path| ask(Some(path), 10, 6)),
        ..program
    }
}

fn container_port(name: &str, port: u16) -> ContainerPort {
    ContainerPort {
        name: Some(name.into()),
        container_port: i32::from(port),
        protocol: Some("TCP".into()),
        ..ContainerPort::default()
    }
}

/// What a probe asks for.
enum Asked<'a> {
    /// An answer of 200 to 399.
    Path(&'a str),
    /// A TCP connection.
    Connection,
}

fn probe(asked: Asked<'_>, port: IntOrString, period: i32, failures: i32) -> Probe {
    let probe = Probe {
        period_seconds: Some(period),
        timeout_seconds: Some(5),
        failure_threshold: Some(failures),
        ..Probe::default()
    };
    match asked {
        Asked::Path(path) => Probe {
            http_get: Some(HTTPGetAction { path: Some(path.into()), port, ..HTTPGetAction::default() }),
            ..probe
        },
        Asked::Connection => {
            Probe { tcp_socket: Some(TCPSocketAction { port, ..TCPSocketAction::default() }), ..probe }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn made(processor: Value) -> Value {
        let mut whole = json!({"name": "enrich", "run": {"container": {"image": "registry.example/enrich:1"}}});
        whole["run"]["container"]
            .as_object_mut()
            .unwrap()
            .extend(processor["container"].as_object().cloned().unwrap_or_default());
        if let Some(http) = processor.get("http") {
            whole["http"] = http.clone();
        }
        let processor: Processor = serde_json::from_value(whole).unwrap();
        let port = processor.http.as_ref().map_or(8080, |http| http.port);
        serde_json::to_value(container(&processor, None, port, "/settings.yaml")).unwrap()
    }

    #[test]
    fn a_container_is_its_owners_image_and_words_and_nothing_is_asked_of_it() {
        let made = made(json!({"container": {"command": ["/run"], "args": ["-v"], "imagePullPolicy": "Never"}}));
        let expected = json!({
            "name": "container", "image": "registry.example/enrich:1", "imagePullPolicy": "Never", "command": ["/run"], "args": ["-v"],
        });
        assert_eq!(made, expected);
    }

    #[test]
    fn an_http_port_is_connected_to_where_no_path_is_named() {
        let made = made(json!({"http": {"port": 9000, "auth": "None"}}));
        assert_eq!(made["ports"], json!([{"name": "http", "containerPort": 9000, "protocol": "TCP"}]));
        assert_eq!(made["readinessProbe"]["tcpSocket"], json!({"port": 9000}));
        assert_eq!(made["startupProbe"]["tcpSocket"], json!({"port": 9000}));
        assert_eq!(made["livenessProbe"], Value::Null);
    }

    #[test]
    fn paths_are_asked_for_where_they_are_named() {
        let health = json!({"readiness": "/ready", "liveness": "/alive", "startWithin": "5m"});
        let made = made(json!({"container": {"health": health}}));
        assert_eq!(made["ports"], json!([{"name": "health", "containerPort": 8080, "protocol": "TCP"}]));
        assert_eq!(made["readinessProbe"]["httpGet"], json!({"path": "/ready", "port": 8080}));
        assert_eq!(made["livenessProbe"]["httpGet"], json!({"path": "/alive", "port": 8080}));
        assert_eq!(
            (&made["startupProbe"]["httpGet"]["path"], &made["startupProbe"]["failureThreshold"]),
            (&json!("/alive"), &json!(300))
        );
    }

    #[test]
    fn health_may_have_a_port_of_its_own_beside_the_api() {
        let made = made(json!({"container": {"health": {"port": 9001}}, "http": {"port": 9000, "auth": "None"}}));
        let ports: Vec<&Value> = made["ports"].as_array().unwrap().iter().map(|port| &port["name"]).collect();
        assert_eq!(ports, ["http", "health"]);
        assert_eq!(made["readinessProbe"]["tcpSocket"], json!({"port": 9001}));
    }
}
