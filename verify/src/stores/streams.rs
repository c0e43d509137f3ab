//! What a wallet's topics and groups are called.

use crate::facts::Projection;

/// The topic of the wallet on the local cluster.
pub const TOPIC: &str = "wallet-events";
/// Where its groups put what they cannot handle.
pub const DEAD_LETTERS: &str = "wallet-events-dlq";
/// The groups that project it.
pub const GROUPS: [(&str, Projection); 2] =
    [("ledger-projector", Projection::Ledger), ("read-model-projector", Projection::ReadModel)];

/// The retry topic of one of [`GROUPS`], and the group that its offsets are committed under.
pub fn retry(group: &str) -> (String, String) {
    retry_of(group, TOPIC)
}

fn retry_of(group: &str, topic: &str) -> (String, String) {
    (format!("{group}.{topic}.retry"), format!("{group}.retry"))
}

/// A wallet's topic and the groups that read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Streams {
    /// The topic.
    pub topic: String,
    /// Where its groups put what they cannot handle.
    pub dead_letters: String,
    /// The group that keeps the ledger.
    pub ledger: String,
    /// The group that keeps the read model.
    pub read_model: String,
}

impl Streams {
    /// Those of the wallet on the local cluster.
    pub fn wallet() -> Self {
        let [(ledger, _), (read_model, _)] = GROUPS.map(|(group, projection)| (group.to_owned(), projection));
        Self { topic: TOPIC.into(), dead_letters: DEAD_LETTERS.into(), ledger, read_model }
    }

    /// The groups, and what each keeps.
    pub fn groups(&self) -> [(&str, Projection); 2] {
        [(&self.ledger, Projection::Ledger), (&self.read_model, Projection::ReadModel)]
    }

    /// The retry topic of a group, and the group that its offsets are committed under.
    pub fn retry(&self, group: &str) -> (String, String) {
        retry_of(group, &self.topic)
    }
}
