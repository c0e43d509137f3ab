//! The operator's own configuration file, which the chart renders.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use jiff::SignedDuration;
use serde::{Deserialize, Deserializer, de};

/// Where the chart mounts it.
pub const DEFAULT_PATH: &str = "/etc/tidegate/operator.yaml";

/// The whole file.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Config {
    /// Tells installations that share a Kafka cluster apart; also the lease's name.
    pub installation_id: String,
    /// Namespace of the operator, which holds its lease.
    pub namespace: String,
    /// Kafka clusters that resources may name.
    pub connections: BTreeMap<String, ConnectionConfig>,
    /// Image of each service that a processor may run.
    pub images: BTreeMap<String, ImageConfig>,
    /// How often every topic is compared with its resource.
    #[serde(default = "one_minute", deserialize_with = "duration")]
    pub drift_interval: Duration,
    /// How often lag is read.
    #[serde(default = "five_seconds", deserialize_with = "duration")]
    pub lag_interval: Duration,
    /// Health and metrics.
    pub http: HttpConfig,
    /// What is measured.
    #[serde(default)]
    pub metrics: MetricsConfig,
    /// Alerting rules.
    #[serde(default)]
    pub alerts: AlertsConfig,
    /// Dead letters.
    #[serde(default)]
    pub dead_letters: DeadLettersConfig,
}

/// A Kafka cluster.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConnectionConfig {
    /// Folder of the mounted binding.
    pub path: PathBuf,
    /// Brokers as the pods of managed users reach them; absent: as the operator does.
    #[serde(default)]
    pub bootstrap_servers: Option<String>,
}

/// A service's image.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ImageConfig {
    /// Whole reference.
    pub image: String,
    /// When to pull it; Kubernetes' default when absent.
    #[serde(default)]
    pub pull_policy: Option<String>,
}

/// The operator's HTTP port.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HttpConfig {
    /// TCP port.
    pub port: u16,
}

/// The operator's metrics.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MetricsConfig {
    /// Lag also under the names of kafka_exporter.
    #[serde(default)]
    pub kafka_exporter_names: bool,
}

/// Dead letters as people see them.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DeadLettersConfig {
    /// Whether the operator shows them to those who may act as the processor.
    pub show: bool,
}

impl Default for DeadLettersConfig {
    fn default() -> Self {
        Self { show: true }
    }
}

/// Alerting rules that are made for each pipeline.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct AlertsConfig {
    /// As what they are made.
    pub rules: RulesAs,
    /// Whether a PodMonitor is made for each pipeline where that kind is served.
    pub pod_monitors: bool,
    /// Labels of these objects, by which a Prometheus may select them.
    pub labels: BTreeMap<String, String>,
    /// Where the pages about alerts are; `{alert}` stands for the name.
    pub runbook_url: String,
    /// Label `severity` of what needs somebody now, unless a processor says another.
    pub severity: String,
    /// And of what can wait until the morning.
    pub minor_severity: String,
}

impl Default for AlertsConfig {
    fn default() -> Self {
        Self {
            rules: RulesAs::Auto,
            pod_monitors: true,
            labels: BTreeMap::new(),
            runbook_url: "https://tidegate.dev/runbooks/{alert}".to_owned(),
            severity: "page".to_owned(),
            minor_severity: "ticket".to_owned(),
        }
    }
}

/// As what rules are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum RulesAs {
    /// As PrometheusRules where that kind is served, as ConfigMaps elsewhere.
    Auto,
    /// As PrometheusRules; not at all while that kind is not served.
    PrometheusRule,
    /// As ConfigMaps whose values are rule files.
    ConfigMap,
    /// Not at all.
    None,
}

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It cannot be read.
    #[error("reading the operator's configuration {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It does not say what it should.
    #[error("the operator's configuration {path} is not valid: {message}")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
}

impl Config {
    /// Reads the file.
    ///
    /// # Errors
    /// When it cannot be read, or holds something else than a configuration.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text =
            std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        serde_saphyr::from_str(&text)
            .map_err(|error| ConfigError::Invalid { path: path.to_owned(), message: error.to_string() })
    }
}

fn one_minute() -> Duration {
    Duration::from_secs(60)
}

fn five_seconds() -> Duration {
    Duration::from_secs(5)
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    let parsed: SignedDuration = text.parse().map_err(|error| de::Error::custom(format!("{text:?}: {error}")))?;
    Duration::try_from(parsed)
        .ok()
        .filter(|duration| *duration >= Duration::from_millis(100))
        .ok_or_else(|| de::Error::custom(format!("{text:?} is less than 100ms")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "
installationId: tidegate
namespace: tidegate-system
connections:
  main: {path: /etc/tidegate/connections/main}
  reports: {path: /etc/tidegate/connections/reports, bootstrapServers: 'kafka:9092'}
images: {wallet: {image: 'tidegate/wallet:1', pullPolicy: IfNotPresent}}
driftInterval: 90s
http: {port: 8080}
";

    fn load(text: &str) -> Result<Config, String> {
        serde_saphyr::from_str(text).map_err(|error| error.to_string())
    }

    #[test]
    fn what_the_chart_renders_is_read() {
        let config = load(TEXT).unwrap();
        assert_eq!(config.drift_interval, Duration::from_secs(90));
        assert_eq!(config.lag_interval, Duration::from_secs(5));
        assert!(!config.metrics.kafka_exporter_names);
        assert!(config.dead_letters.show);
        assert!(!load(&format!("{TEXT}deadLetters: {{show: false}}")).unwrap().dead_letters.show);
        assert!(load(&format!("{TEXT}metrics: {{kafkaExporterNames: true}}")).unwrap().metrics.kafka_exporter_names);
        assert_eq!(config.images["wallet"].image, "tidegate/wallet:1");
        assert_eq!(config.alerts, AlertsConfig::default());
        assert_eq!(config.connections["main"].bootstrap_servers, None);
        assert_eq!(config.connections["reports"].bootstrap_servers.as_deref(), Some("kafka:9092"));
    }

    #[test]
    fn alerts_are_made_as_the_chart_says() {
        let text = TEXT.to_owned() + "alerts: {rules: ConfigMap, runbookUrl: 'https://runbooks.example/{alert}.md'}\n";
        let alerts = load(&text).unwrap().alerts;
        assert_eq!((alerts.rules, alerts.severity.as_str()), (RulesAs::ConfigMap, "page"));
        assert!(load(&text.replace("ConfigMap", "Configmap")).is_err());
    }

    #[test]
    fn a_key_that_means_nothing_and_an_interval_of_nothing_are_refused() {
        assert!(load(&TEXT.replace("driftInterval", "drftInterval")).unwrap_err().contains("drftInterval"));
        assert!(load(&TEXT.replace("90s", "0s")).unwrap_err().contains("less than 100ms"));
        assert!(load(&TEXT.replace("90s", "soon")).is_err());
    }
}
