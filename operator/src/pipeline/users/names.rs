//! Names of users. One is ours if it has all five parts, the first of which is the installation's id: none of them may contain a dot,
//! so a name is read in one way only.

use std::fmt;

use tidegate_crds::EventPipeline;

/// Whose users are meant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Owner {
    /// Id of the operator's installation.
    pub installation: String,
    /// Namespace of the pipeline.
    pub namespace: String,
    /// Name of the pipeline.
    pub pipeline: String,
}

impl Owner {
    /// The owner of a pipeline's users.
    pub fn of(installation: &str, pipeline: &EventPipeline) -> Self {
        Self {
            installation: installation.to_owned(),
            namespace: pipeline.metadata.namespace.clone().unwrap_or_default(),
            pipeline: pipeline.metadata.name.clone().unwrap_or_default(),
        }
    }

    /// Both users that a processor may have.
    pub fn users(&self, processor: &str) -> [String; 2] {
        [Slot::A, Slot::B].map(|slot| self.user(processor, slot))
    }

    /// A user's name.
    pub fn user(&self, processor: &str, slot: Slot) -> String {
        UserName { owner: self.clone(), processor: processor.to_owned(), slot }.to_string()
    }

    /// Which of a processor's two users has this name.
    pub fn slot(&self, processor: &str, username: &str) -> Option<Slot> {
        [Slot::A, Slot::B].into_iter().find(|slot| self.user(processor, *slot) == username)
    }
}

/// A processor has one of two users, and both while one takes the other's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Slot {
    /// `a`.
    A,
    /// `b`.
    B,
}

impl Slot {
    /// The other one.
    pub fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

/// A user's name in its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserName {
    /// Whose it is.
    pub owner: Owner,
    /// The processor.
    pub processor: String,
    /// Which of its two.
    pub slot: Slot,
}

impl UserName {
    /// Reads a name. None: it is not one of ours.
    pub fn parse(installation: &str, name: &str) -> Option<Self> {
        let parts: Vec<&str> = name.split('.').collect();
        let [of, namespace, pipeline, processor, slot] = parts.as_slice() else { return None };
        let slot = match *slot {
            "a" => Slot::A,
            "b" => Slot::B,
            _ => return None,
        };
        if *of != installation || [namespace, pipeline, processor].iter().any(|part| part.is_empty()) {
            return None;
        }
        let owner = Owner {
            installation: installation.to_owned(),
            namespace: (*namespace).to_owned(),
            pipeline: (*pipeline).to_owned(),
        };
        Some(Self { owner, processor: (*processor).to_owned(), slot })
    }
}

impl fmt::Display for UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { owner: Owner { installation, namespace, pipeline }, processor, slot } = self;
        let slot = match slot {
            Slot::A => "a",
            Slot::B => "b",
        };
        write!(f, "{installation}.{namespace}.{pipeline}.{processor}.{slot}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_reads_back() {
        let owner = Owner { installation: "tidegate".into(), namespace: "bank".into(), pipeline: "wallet".into() };
        let [a, b] = owner.users("commands");
        assert_eq!((a.as_str(), b.as_str()), ("tidegate.bank.wallet.commands.a", "tidegate.bank.wallet.commands.b"));
        let parsed = UserName::parse("tidegate", &b).unwrap();
        assert_eq!((parsed.owner.clone(), parsed.slot), (owner.clone(), Slot::B));
        assert_eq!(parsed.to_string(), b);
        assert_eq!(owner.slot("commands", &b), Some(Slot::B));
        assert_eq!(owner.slot("ledger", &b), None);
    }

    #[test]
    fn what_does_not_have_all_parts_is_somebody_elses() {
        for name in [
            "tidegate",
            "tidegate.bank.wallet.commands",
            "tidegate.bank.wallet.commands.c",
            "tidegate.bank.wallet.commands.a.b",
            "other.bank.wallet.commands.a",
            "tidegate-2.bank.wallet.commands.a",
            "tidegate.bank..commands.a",
            "",
            "admin",
        ] {
            assert_eq!(UserName::parse("tidegate", name), None, "{name}");
        }
    }
}
