//! Settings together with the connections that they name: all that a process is told from outside.

use std::path::{Path, PathBuf};

use crate::{
    DEFAULT_PATH, Identity, LoadError, Settings,
    binding::{self, BindingError, DatabaseConnection, KafkaConnection},
    environment::{self, EnvironmentError},
    load,
};

/// All that a process is told from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// The document, or what the environment makes of one.
    pub settings: Settings,
    /// How to reach Kafka, if the process does.
    pub kafka: Option<KafkaConnection>,
    /// How to reach the database, if the process does.
    pub database: Option<DatabaseConnection>,
    /// What Kafka's brokers call this process in their logs and metrics.
    pub client_id: String,
    /// What is to be said in the log about how it was told.
    pub warnings: Vec<String>,
}

/// Why a process cannot be told what it is.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// The document.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// A binding that it names.
    #[error(transparent)]
    Binding(#[from] BindingError),
    /// The environment.
    #[error(transparent)]
    Environment(#[from] EnvironmentError),
    /// The document is of another program.
    #[error("the settings {} are those of {found}, not of {expected}", .path.display())]
    Program {
        /// The document.
        path: PathBuf,
        /// Whose settings it holds.
        found: &'static str,
        /// The program that reads it.
        expected: String,
    },
}

/// Settings of `service`: those of the file; without one those of [`DEFAULT_PATH`] if it exists; else those of the environment.
pub fn resolve(service: &str, file: Option<&Path>) -> Result<Resolved, ResolveError> {
    match file.or_else(|| Some(Path::new(DEFAULT_PATH)).filter(|path| path.exists())) {
        Some(path) => from_file(service, path),
        None => Ok(environment::resolve(service, |name| std::env::var(name).ok())?),
    }
}

fn from_file(service: &str, path: &Path) -> Result<Resolved, ResolveError> {
    let settings = load(path)?;
    if settings.run.service() != service {
        let (found, expected) = (settings.run.service(), service.to_owned());
        return Err(ResolveError::Program { path: path.to_owned(), found, expected });
    }
    let kafka = settings.kafka.as_ref().map(|binding| binding::kafka(Path::new(&binding.path))).transpose()?;
    let database = settings.database.as_ref().map(|binding| binding::database(Path::new(&binding.path))).transpose()?;
    let client_id = settings.identity.to_string();
    Ok(Resolved { settings, kafka, database, client_id, warnings: Vec::new() })
}

impl std::fmt::Display for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}/{}", self.namespace, self.pipeline, self.processor)
    }
}
