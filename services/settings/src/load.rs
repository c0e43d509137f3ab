//! Reading and writing the document. A key that nobody reads is an error that names it: a typo must not pass for a default.

use std::path::{Path, PathBuf};

use crate::{SETTINGS_VERSION, Settings};

/// Where the operator mounts the document.
pub const DEFAULT_PATH: &str = "/etc/tidegate/settings/settings.yaml";

/// Why a settings document cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("reading the settings file {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The text is not a settings document.
    #[error("the settings are not valid: {0}")]
    Invalid(String),
    /// Keys that no setting is called.
    #[error("the settings hold keys that mean nothing here: {}; remove or correct them", .0.join(", "))]
    UnknownKeys(Vec<String>),
    /// A document of another version.
    #[error("the settings are of version {found}; this program reads version {SETTINGS_VERSION}")]
    Version {
        /// The document's version.
        found: u32,
    },
    /// The document cannot be written as YAML.
    #[error("writing the settings: {0}")]
    Render(String),
}

/// Reads the document at `path`.
pub fn load(path: &Path) -> Result<Settings, LoadError> {
    let text = std::fs::read_to_string(path).map_err(|source| LoadError::Read { path: path.to_owned(), source })?;
    parse(&text)
}

/// Reads the document from YAML text.
pub fn parse(text: &str) -> Result<Settings, LoadError> {
    // Through a JSON value: unknown keys are collected there with their full paths.
    let value: serde_json::Value =
        serde_saphyr::from_str(text).map_err(|error| LoadError::Invalid(error.to_string()))?;
    if let Some(found) = value.get("version").and_then(serde_json::Value::as_u64)
        && found != u64::from(SETTINGS_VERSION)
    {
        return Err(LoadError::Version { found: u32::try_from(found).unwrap_or(u32::MAX) });
    }
    let mut unknown = Vec::new();
    // serde_ignored writes `?` where it steps into an Option; nobody wrote that in the file.
    let settings: Settings = serde_ignored::deserialize(value, |path| unknown.push(path.to_string().replace(".?", "")))
        .map_err(|error| LoadError::Invalid(error.to_string()))?;
    if unknown.is_empty() { Ok(settings) } else { Err(LoadError::UnknownKeys(unknown)) }
}

/// Writes the document as YAML, the same bytes for the same settings.
pub fn render(settings: &Settings) -> Result<String, LoadError> {
    serde_saphyr::to_string(settings).map_err(|error| LoadError::Render(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Auth, Binding, Consumes, Generation, Http, Identity, Run, StartAt, WalletRole, WalletSettings};

    fn projector() -> Settings {
        Settings {
            version: SETTINGS_VERSION,
            identity: Identity { namespace: "wallet".into(), pipeline: "wallet".into(), processor: "ledger".into() },
            kafka: Some(Binding { path: "/etc/tidegate/kafka".into() }),
            database: Some(Binding { path: "/etc/tidegate/database".into() }),
            run: Run::Wallet(WalletSettings { role: WalletRole::LedgerProjector, overdraft: None, publisher: None }),
            produces: vec![],
            consumes: Some(Consumes {
                topics: vec!["wallet-events".into()],
                group: "ledger-projector".into(),
                start_at: Some(StartAt::Earliest),
                ordered: Some(true),
            }),
            retry: None,
            dead_letter: None,
            generation: Some(Generation {
                id: "after-fix-142".into(),
                offsets: [("wallet-events".to_owned(), [("0".to_owned(), 42)].into())].into(),
            }),
            http: Http { port: 8080, auth: Auth::None },
        }
    }

    #[test]
    fn what_is_rendered_reads_back_the_same() {
        let text = render(&projector()).unwrap();
        assert_eq!(parse(&text).unwrap(), projector(), "{text}");
    }

    #[test]
    fn an_unknown_key_is_named_with_its_path() {
        let text = render(&projector()).unwrap().replace("ordered: true", "orderd: true");
        let error = parse(&text).unwrap_err().to_string();
        assert!(error.contains("consumes.orderd"), "{error}");
    }

    #[test]
    fn another_version_is_refused_before_anything_else_is_read() {
        let error = parse("version: 9\nsomething: else\n").unwrap_err().to_string();
        assert_eq!(error, "the settings are of version 9; this program reads version 1");
    }

    #[test]
    fn a_wrong_role_names_the_ones_there_are() {
        let text = render(&projector()).unwrap().replace("LedgerProjector", "Ledger");
        let error = parse(&text).unwrap_err().to_string();
        assert!(error.contains("LedgerProjector") && error.contains("Commands"), "{error}");
    }
}
