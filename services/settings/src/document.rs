//! The document's types. Those that the EventPipeline resource embeds carry the documentation that its schema shows.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{ContainerSettings, DeadLetter, Generation, Retry};

/// The version of the document that this build reads and writes.
pub const SETTINGS_VERSION: u32 = 1;

/// One process's settings: the whole of `settings.yaml`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Settings {
    /// Always [`SETTINGS_VERSION`]; another version is refused at start.
    pub version: u32,
    /// Which processor of which pipeline this process is.
    pub identity: Identity,
    /// Where the Kafka binding is mounted. Absent for a process that needs no Kafka.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kafka: Option<Binding>,
    /// Where the database binding is mounted. Absent for a process that needs no database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<Binding>,
    /// The program and its role.
    pub run: Run,
    /// Kafka topics that the process writes to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub produces: Vec<String>,
    /// What the process reads, and as which group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consumes: Option<Consumes>,
    /// How records that failed are tried again. Absent: as long as it takes, where they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,
    /// Where records go that cannot be handled. Absent: the partition stops at such a record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead_letter: Option<DeadLetter>,
    /// The replay that the process works in. Absent: there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<Generation>,
    /// The HTTP port of the process, which serves health and metrics in every role of ours. A container may leave it unused.
    pub http: Http,
}

/// Names a processor: `<namespace>/<pipeline>/<processor>` in logs, client ids and metrics.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Identity {
    /// Namespace of the EventPipeline.
    pub namespace: String,
    /// Name of the EventPipeline.
    pub pipeline: String,
    /// Name of the processor in it.
    pub processor: String,
}

/// A folder of mounted secret files in the Service Binding layout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Binding {
    /// Absolute path of the folder.
    pub path: String,
}

/// The program of a processor: exactly one of its fields.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Run {
    /// Wallets: accounts of money with a ledger and a read model.
    Wallet(WalletSettings),
    /// A program of your own, in any language: it reads the same settings file and the same mounted bindings.
    Container(ContainerSettings),
}

/// Settings of the wallet service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WalletSettings {
    /// The part of the wallet that this processor is.
    pub role: WalletRole,
    /// Whether a wallet's balance may go below zero. Read by role Commands. Default: Forbidden.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overdraft: Option<Overdraft>,
    /// Whether the outbox relay runs inside this processor (Embedded) or in one of role Publisher (Separate). Read by role
    /// Commands. Default: Embedded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub publisher: Option<Publisher>,
}

/// The parts of the wallet service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum WalletRole {
    /// The HTTP API, the event store and the outbox.
    Commands,
    /// The outbox relay alone.
    Publisher,
    /// Events to double-entry ledger entries.
    LedgerProjector,
    /// Events to one row a wallet, which queries answer from.
    ReadModelProjector,
}

/// Whether a balance may go below zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Overdraft {
    /// A withdrawal or transfer beyond the balance is refused.
    #[default]
    Forbidden,
    /// A balance may go below zero.
    Allowed,
}

/// Where the outbox relay runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Publisher {
    /// Inside the processor of role Commands.
    #[default]
    Embedded,
    /// In a processor of its own, of role Publisher.
    Separate,
}

/// What a processor reads from Kafka.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Consumes {
    /// Kafka names of the topics.
    #[schemars(length(min = 1, max = 32), inner(length(min = 1, max = 249)))]
    pub topics: Vec<String>,
    /// The consumer group. A group belongs to one processor of a Kafka cluster.
    #[schemars(length(min = 1, max = 249))]
    pub group: String,
    /// Where to start in a partition for which the group has no offset. Default: Earliest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_at: Option<StartAt>,
    /// Whether records of one key must be handled in the order of the log. Default: true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ordered: Option<bool>,
}

/// Where a group starts in a partition for which it has no offset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum StartAt {
    /// At the oldest record that the topic still holds.
    #[default]
    Earliest,
    /// Behind the newest record.
    Latest,
}

/// The HTTP port of a processor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Http {
    /// TCP port, 1024 to 65535.
    #[schemars(range(min = 1024, max = 65535))]
    pub port: u16,
    /// Who may call the API. Said explicitly, because None means anybody who reaches the port.
    pub auth: Auth,
}

/// How the API knows its callers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Auth {
    /// It does not: whoever reaches the port may call.
    None,
}

impl Consumes {
    /// Where the group starts without an offset, the default applied.
    pub fn start_at(&self) -> StartAt {
        self.start_at.unwrap_or_default()
    }

    /// Whether order per key matters, the default applied.
    pub fn ordered(&self) -> bool {
        self.ordered.unwrap_or(true)
    }
}

impl WalletSettings {
    /// Whether overdrafts are allowed, the default applied.
    pub fn overdraft(&self) -> Overdraft {
        self.overdraft.unwrap_or_default()
    }

    /// Where the relay runs, the default applied.
    pub fn publisher(&self) -> Publisher {
        self.publisher.unwrap_or_default()
    }
}

impl Run {
    /// The service's name, as images, labels and metrics write it: `wallet`, and `container` for anybody's own program.
    pub fn service(&self) -> &'static str {
        match self {
            Run::Wallet(_) => "wallet",
            Run::Container(_) => "container",
        }
    }

    /// Whether a record that is handled again leaves everything as it was, so that a replay does no harm.
    pub fn idempotent(&self) -> bool {
        match self {
            Run::Wallet(_) => true,
            Run::Container(container) => container.idempotent(),
        }
    }
}
