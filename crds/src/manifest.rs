//! The YAML of the two definitions: what it says and where it is kept. Nobody edits it.

use std::{collections::BTreeMap, io, path::PathBuf};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::CustomResourceExt;

use crate::{EventPipeline, KafkaTopic};

const HEADER: &str = "# Generated from crds/src by `cargo run -p tidegate-crds`. Do not edit.\n";

/// Both definitions.
pub fn definitions() -> [CustomResourceDefinition; 2] {
    let mut definitions = [KafkaTopic::crd(), EventPipeline::crd()];
    for version in definitions.iter_mut().flat_map(|definition| &mut definition.spec.versions) {
        if let Some(schema) = version.schema.as_mut().and_then(|schema| schema.open_api_v3_schema.as_mut()) {
            drop_unknown_formats(schema);
            let_rules_speak(schema);
        }
    }
    definitions
}

/// Rust's unsigned widths are no formats that the API server knows: it would warn at every apply. The bounds say the same.
fn drop_unknown_formats(schema: &mut JSONSchemaProps) {
    schema.format.take_if(|format| format.starts_with("uint"));
    schema.properties.iter_mut().flat_map(BTreeMap::values_mut).for_each(drop_unknown_formats);
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &mut schema.items {
        drop_unknown_formats(items);
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &mut schema.additional_properties {
        drop_unknown_formats(values);
    }
}

/// Which program a processor runs is a choice of one, which a rule says in a sentence. Kubernetes evaluates no rule where a `oneOf`
/// fails, and what it says of that names neither the field nor the remedy.
fn let_rules_speak(schema: &mut JSONSchemaProps) {
    for (name, property) in schema.properties.iter_mut().flatten() {
        property.one_of.take_if(|_| name == "run");
        let_rules_speak(property);
    }
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &mut schema.items {
        let_rules_speak(items);
    }
}

/// File name and text of both definitions.
///
/// # Errors
/// When a definition cannot be written as YAML.
pub fn files() -> io::Result<Vec<(String, String)>> {
    definitions()
        .iter()
        .map(|definition| {
            let yaml = serde_saphyr::to_string(definition).map_err(io::Error::other)?;
            Ok((format!("{}.yaml", definition.spec.names.plural), format!("{HEADER}{yaml}")))
        })
        .collect()
}

/// The folders that hold the files: one for whoever applies them by hand, one for the chart, which is how they are upgraded.
pub fn folders() -> [PathBuf; 2] {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    [root.join("yaml"), root.join("../charts/tidegate-crds/templates")]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn committed_yaml_is_what_the_types_say() {
        for folder in folders() {
            for (name, text) in files().unwrap() {
                let path = folder.join(&name);
                let committed = std::fs::read_to_string(&path).unwrap_or_default();
                assert!(committed == text, "{} is stale: run `cargo run -p tidegate-crds`", path.display());
            }
        }
    }

    #[test]
    fn no_default_is_written_into_a_resource_by_the_api_server() {
        for definition in definitions() {
            let json = serde_json::to_value(&definition.spec.versions[0].schema).unwrap();
            assert_eq!(defaults_in(&json, "spec"), Vec::<String>::new(), "{}", definition.spec.names.kind);
        }
    }

    #[test]
    fn helm_would_not_take_the_text_for_a_template() {
        for (name, text) in files().unwrap() {
            assert!(!text.contains("{{"), "{name}");
        }
    }

    #[test]
    fn every_field_of_ours_says_what_it_is_for() {
        for definition in definitions() {
            let json = serde_json::to_value(&definition.spec.versions[0].schema).unwrap();
            let mut silent = Vec::new();
            undocumented(&json["openAPIV3Schema"], definition.spec.names.kind.clone(), &mut silent);
            assert_eq!(silent, Vec::<String>::new());
        }
    }

    fn defaults_in(value: &serde_json::Value, path: &str) -> Vec<String> {
        match value {
            serde_json::Value::Object(map) => map
                .iter()
                .flat_map(|(key, inner)| {
                    let here = format!("{path}.{key}");
                    // A key beside `type` is a keyword of the schema; elsewhere it is the name of a field.
                    let own = (key == "default" && map.contains_key("type")).then(|| here.clone());
                    own.into_iter().chain(defaults_in(inner, &here)).collect::<Vec<_>>()
                })
                .collect(),
            serde_json::Value::Array(items) => items.iter().flat_map(|item| defaults_in(item, path)).collect(),
            _ => Vec::new(),
        }
    }

    fn undocumented(schema: &serde_json::Value, path: String, silent: &mut Vec<String>) {
        let Some(properties) = schema["properties"].as_object() else { return };
        for (name, property) in properties {
            let here = format!("{path}.{name}");
            // Kubernetes' own types document themselves, and the root's metadata is theirs too.
            if property["description"].as_str().unwrap_or_default().is_empty() && name != "metadata" {
                silent.push(here.clone());
            }
            undocumented(property, here.clone(), silent);
            undocumented(&property["items"], here, silent);
        }
    }
}
