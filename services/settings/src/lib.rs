//! The settings of one process: what the operator writes, what a service reads, nothing else configures it.
//!
//! [`Settings`] is the document; [`Run`], [`Consumes`] and [`Http`] are also fields of the EventPipeline resource, so that a
//! value travels from `kubectl apply` to the process through one definition. Secrets are never values of the document:
//! it names folders of mounted files in the Service Binding layout ([`binding`]).

pub mod binding;
mod container;
mod document;
pub mod environment;
pub mod failure;
mod generation;
mod load;
mod resolve;
mod schema;

pub use container::{ContainerSettings, Health, PullPolicy};
pub use document::{
    Auth, Binding, Consumes, Http, Identity, Overdraft, Publisher, Run, SETTINGS_VERSION, Settings, StartAt,
    WalletRole, WalletSettings,
};
pub use failure::{DeadLetter, NotASpan, Retry, RetryBackoff, RetryMode, Span};
pub use generation::{Generation, PartitionOffsets};
pub use load::{DEFAULT_PATH, LoadError, load, parse, render};
pub use resolve::{ResolveError, Resolved, resolve};
pub use schema::{schema, schema_path};
