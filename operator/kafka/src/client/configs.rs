//! Topic configuration: all keys with their sources, and changes of single keys.

use std::collections::HashMap;

use krafka::{
    Result as KrafkaResult,
    admin::{ConfigOp, ConfigResource, DescribeConfigsOptions, IncrementalAlterConfigsOptions},
};
use tokio::time::Instant;

use super::{link::Client, topics::left};
use crate::{ConfigChange, ConfigEntry, ConfigSource, TopicConfig, WriteMode};

pub(super) async fn describe(
    client: &Client,
    names: Vec<String>,
    deadline: Instant,
) -> KrafkaResult<HashMap<String, KrafkaResult<TopicConfig>>> {
    let options = DescribeConfigsOptions::default().timeout(left(deadline));
    let described = client.admin.describe_configs(names.into_iter().map(ConfigResource::topic), options).await?;
    Ok(described
        .into_iter()
        .map(|(resource, entries)| {
            let config = entries.map(|entries| {
                entries
                    .into_iter()
                    .map(|entry| {
                        let value = ConfigEntry {
                            value: entry.value,
                            source: source(entry.config_source),
                            read_only: entry.read_only,
                            sensitive: entry.is_sensitive,
                        };
                        (entry.name, value)
                    })
                    .collect()
            });
            (resource.name, config)
        })
        .collect())
}

/// DescribeConfigsResponse.ConfigSource.
fn source(wire: i8) -> ConfigSource {
    match wire {
        1 => ConfigSource::Topic,
        2 => ConfigSource::DynamicBroker,
        3 => ConfigSource::DynamicDefaultBroker,
        4 => ConfigSource::StaticBroker,
        5 => ConfigSource::Default,
        other => ConfigSource::Other(other),
    }
}

pub(super) async fn alter(
    client: &Client,
    changes: impl Iterator<Item = (&str, &ConfigChange)>,
    mode: WriteMode,
    deadline: Instant,
) -> KrafkaResult<HashMap<String, KrafkaResult<()>>> {
    let options = IncrementalAlterConfigsOptions::default()
        .timeout(left(deadline))
        .validate_only(mode == WriteMode::ValidateOnly);
    let changes = changes.map(|(name, change)| {
        let set = change.set.iter().map(|(key, value)| ConfigOp::set(key, value));
        let reset = change.reset.iter().map(ConfigOp::delete);
        (ConfigResource::topic(name), set.chain(reset).collect())
    });
    let altered = client.admin.incremental_alter_configs(changes, options).await?;
    Ok(altered.into_iter().map(|(resource, outcome)| (resource.name, outcome)).collect())
}
