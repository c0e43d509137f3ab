//! The fields of both kinds as Markdown tables, in the reference pages between two marks: what is written around them is
//! written by hand.

use std::path::PathBuf;

use serde_json::Value;

use crate::manifest;

const BEGIN: &str = "<!-- fields: written by `cargo run -p tidegate-crds` -->";
const END: &str = "<!-- end of fields -->";

/// Kubernetes' own types, which its documentation describes.
pub(crate) const KUBERNETES: [&str; 7] =
    ["affinity", "tolerations", "env", "resources", "imagePullSecrets", "conditions", "metadata"];

/// Page of each kind and its tables.
///
/// # Errors
/// When a definition cannot be written as JSON.
pub fn pages() -> serde_json::Result<Vec<(PathBuf, String)>> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/reference");
    manifest::definitions()
        .iter()
        .map(|definition| {
            let schema = serde_json::to_value(&definition.spec.versions[0].schema)?;
            let page = folder.join(format!("{}.md", definition.spec.names.singular.as_deref().unwrap_or_default()));
            Ok((page, tables(&schema["openAPIV3Schema"])))
        })
        .collect()
}

/// The page with its tables replaced; none when it lacks the marks.
pub fn replaced(page: &str, tables: &str) -> Option<String> {
    let (before, rest) = page.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n\n{tables}\n{END}{after}"))
}

fn tables(schema: &Value) -> String {
    let mut text = String::new();
    for (part, title) in [("spec", "## spec"), ("status", "## status")] {
        text += &format!("{title}\n\n| field | type | what it says |\n|---|---|---|\n");
        fields(&schema["properties"][part], "", &mut text);
        text.push('\n');
    }
    text += "## Refused at apply\n\n";
    rules(schema, &mut text);
    text
}

fn fields(schema: &Value, prefix: &str, text: &mut String) {
    let required: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{prefix}{name}");
        let description = field["description"].as_str().unwrap_or_default().replace('\n', " ").replace('|', "\\|");
        let must = if required.contains(&name.as_str()) { ", required" } else { "" };
        *text += &format!("| `{path}` | {}{must} | {description} |\n", type_of(field));
        if !KUBERNETES.contains(&name.as_str()) {
            fields(field, &format!("{path}."), text);
            fields(&field["items"], &format!("{path}[]."), text);
        }
    }
}

fn type_of(field: &Value) -> String {
    let number = |key: &str| field[key].as_f64();
    let plain = match field["type"].as_str() {
        Some("array") => format!("list of {}", type_of(&field["items"])),
        Some("object") if !field["additionalProperties"].is_null() => "map".to_owned(),
        Some(other) => other.to_owned(),
        None => "any".to_owned(),
    };
    if let Some(values) = field["enum"].as_array() {
        return values.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", ");
    }
    match (number("minimum"), number("maximum")) {
        (Some(least), Some(most)) => format!("{plain} {least} to {most}"),
        _ => plain,
    }
}

fn rules(schema: &Value, text: &mut String) {
    for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
        if let Some(message) = rule["message"].as_str() {
            *text += &format!("- {}\n", message.replace('<', "&lt;"));
        }
    }
    for field in schema["properties"].as_object().into_iter().flatten().map(|(_, field)| field) {
        rules(field, text);
    }
    if schema["items"].is_object() {
        rules(&schema["items"], text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn committed_pages_have_the_fields_that_the_types_have() {
        for (path, tables) in pages().unwrap() {
            let page = std::fs::read_to_string(&path).unwrap();
            let fresh = replaced(&page, &tables).unwrap_or_else(|| panic!("{} lacks the marks", path.display()));
            assert!(page == fresh, "{} is stale: run `cargo run -p tidegate-crds`", path.display());
        }
    }
}
