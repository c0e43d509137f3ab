//! JSON Schema of the document, for programs in other languages: `docs/reference/settings.schema.json`, which
//! `cargo run -p tidegate-crds` writes.

use std::path::PathBuf;

use schemars::generate::SchemaSettings;
use serde_json::json;

use crate::{SETTINGS_VERSION, Settings};

/// Where the schema is kept.
pub fn schema_path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/settings.schema.json")
}

/// The schema's text (draft 2020-12).
pub fn schema() -> String {
    let mut schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<Settings>();
    if let Some(version) = schema.pointer_mut("/properties/version").and_then(serde_json::Value::as_object_mut) {
        version.insert("const".into(), json!(SETTINGS_VERSION));
        version.insert(
            "description".into(),
            json!("Of this document; a program refuses a version that it does not know."),
        );
    }
    format!("{:#}\n", schema.as_value())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_schema_is_the_one_that_the_types_make() {
        let kept = std::fs::read_to_string(schema_path()).unwrap_or_default();
        assert!(kept == schema(), "docs/reference/settings.schema.json is stale: run `cargo run -p tidegate-crds`");
    }
}
