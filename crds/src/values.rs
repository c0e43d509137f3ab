//! `values.schema.json` of charts/tidegate-pipelines: the specs of both kinds as the definitions have them, strict, so that a typo in a
//! values file is refused on a laptop. Nobody edits it.

use std::path::PathBuf;

use serde_json::{Map, Value, json};

use crate::{manifest, reference::KUBERNETES};

/// Keywords that mean in JSON Schema what they mean in a definition.
const KEPT: [&str; 12] = [
    "type",
    "enum",
    "pattern",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "maxProperties",
    "required",
    "oneOf",
];

/// Where the schema is kept.
pub fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../charts/tidegate-pipelines/values.schema.json")
}

/// The schema's text (draft 07, which Helm reads).
///
/// # Errors
/// When a definition cannot be written as JSON.
pub fn schema() -> serde_json::Result<String> {
    let [topic, pipeline] = manifest::definitions().map(|definition| {
        let schema = serde_json::to_value(&definition.spec.versions[0].schema)?;
        Ok::<_, serde_json::Error>(strict(&schema["openAPIV3Schema"]["properties"]["spec"], true))
    });
    let strings =
        |what: &str| json!({"description": what, "type": "object", "additionalProperties": {"type": "string"}});
    let resources = |what: &str, names: &str, spec: Value| json!({"description": what, "type": "object", "propertyNames": {"pattern": names}, "additionalProperties": spec});
    let schema = json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "$comment": "Generated from crds/src by `cargo run -p tidegate-crds`. Do not edit.",
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "global": {"type": "object"},
            "labels": strings("On every resource."),
            "annotations": strings("On every resource."),
            "topics": resources("KafkaTopics: metadata.name to spec.", "^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$", topic?),
            "pipelines": resources(
                "EventPipelines: metadata.name to spec, with processors as a map from their names.",
                "^[a-z]([-a-z0-9]*[a-z0-9])?$",
                with_a_map_of_processors(pipeline?),
            ),
        },
    });
    Ok(format!("{schema:#}\n"))
}

/// What Helm merges field by field is a map: a processor's name is its key.
fn with_a_map_of_processors(mut pipeline: Value) -> Value {
    let processors = &mut pipeline["properties"]["processors"];
    let mut processor = processors["items"].take();
    if let Some(properties) = processor["properties"].as_object_mut() {
        properties.remove("name");
    }
    if let Some(required) = processor["required"].as_array_mut() {
        required.retain(|field| field != "name");
    }
    *processors = json!({
        "description": processors["description"],
        "type": "object",
        "minProperties": 1,
        "maxProperties": processors["maxItems"],
        "propertyNames": {"pattern": "^[a-z]([-a-z0-9]*[a-z0-9])?$", "maxLength": 40},
        "additionalProperties": processor,
    });
    pipeline
}

/// A structural schema as JSON Schema that knows no other field. `ours`: what is not Kubernetes' own keeps its description.
fn strict(schema: &Value, ours: bool) -> Value {
    let mut made = Map::new();
    let mut keep = |key: &str, value: Value| (!value.is_null()).then(|| made.insert(key.to_owned(), value));
    for key in KEPT {
        keep(key, schema[key].clone());
    }
    if ours {
        keep("description", schema["description"].clone());
    }
    if schema["x-kubernetes-int-or-string"] == json!(true) {
        keep("type", json!(["integer", "string"]));
    } else if schema["nullable"] == json!(true) {
        keep("type", json!([schema["type"], "null"]));
        if let Some(values) = schema["enum"].as_array() {
            keep("enum", values.iter().cloned().chain([Value::Null]).collect());
        }
    }
    if schema["items"].is_object() {
        keep("items", strict(&schema["items"], ours));
    }
    if let Some(properties) = schema["properties"].as_object() {
        let of = |(name, field): (&String, &Value)| {
            (name.clone(), strict(field, ours && !KUBERNETES.contains(&name.as_str())))
        };
        keep("properties", properties.iter().map(of).collect());
        if schema["x-kubernetes-preserve-unknown-fields"] != json!(true) {
            keep("additionalProperties", json!(false));
        }
    }
    if schema["additionalProperties"].is_object() {
        keep("additionalProperties", strict(&schema["additionalProperties"], ours));
    }
    Value::Object(made)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_charts_schema_is_the_one_that_the_definitions_make() {
        let kept = std::fs::read_to_string(path()).unwrap_or_default();
        assert!(
            kept == schema().unwrap(),
            "charts/tidegate-pipelines/values.schema.json is stale: run `cargo run -p tidegate-crds`"
        );
    }

    #[test]
    fn a_definition_becomes_strict_and_keeps_what_it_bounds() {
        let definition = json!({
            "type": "object", "description": "Ours.", "required": ["mode"], "x-kubernetes-validations": [{"rule": "true"}],
            "properties": {
                "mode": {"type": "string", "enum": ["A", "B"], "nullable": true},
                "port": {"x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}]},
                "config": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
                "env": {"type": "array", "description": "Theirs.", "items": {"type": "object", "properties": {"name": {"type": "string", "description": "Theirs."}}}},
            },
        });
        let expected = json!({
            "type": "object", "description": "Ours.", "required": ["mode"], "additionalProperties": false,
            "properties": {
                "mode": {"type": ["string", "null"], "enum": ["A", "B", null]},
                "port": {"type": ["integer", "string"]},
                "config": {"type": "object"},
                "env": {"type": "array", "items": {
                    "type": "object", "properties": {"name": {"type": "string"}}, "additionalProperties": false,
                }},
            },
        });
        assert_eq!(strict(&definition, true), expected);
    }
}
