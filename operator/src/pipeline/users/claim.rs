//! An installation's claim on its users' names: an ACL that lets nobody do anything, and names the Kubernetes cluster.
//!
//! Users and ACLs carry no owner, and two operators that share a Kafka cluster under one installation id, which has a default, would take each
//! other's users for orphans. Kafka keeps nothing else that an administrator without topics of its own could write a note into.

use std::collections::BTreeSet;

use tidegate_kafka::{Acl, AclFilter, AdminError, KafkaAdmin, Operation, PatternType, ResourceType};

/// What the resource of a claim begins with; the uid of the Kubernetes cluster follows.
const NAME: &str = "tidegate.dev/installation/";

/// How often our own claim is looked for after it was made: brokers learn of it by and by.
const LOOKS: usize = 20;

/// Whose the users' names are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// This Kubernetes cluster's.
    Ours,
    /// Another one's, which has this uid.
    Theirs(String),
}

/// Reads the claim, and makes it where there is none.
///
/// # Errors
/// What Kafka said.
pub async fn claim(admin: &dyn KafkaAdmin, installation: &str, cluster: &str) -> Result<Claim, AdminError> {
    let ours = acl(installation, cluster);
    for look in 0..LOOKS {
        let claims = admin.describe_acls(&filter(installation)).await?;
        if let Some(other) = rival(&claims, &ours) {
            return Ok(Claim::Theirs(other));
        }
        if claims.contains(&ours) {
            return Ok(Claim::Ours);
        }
        if look == 0 {
            super::kafka::all(admin.create_acls(&BTreeSet::from([ours.clone()])).await)?;
        } else {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    }
    // Made, though the broker that is asked has not heard of it.
    Ok(Claim::Ours)
}

fn rival(claims: &BTreeSet<Acl>, ours: &Acl) -> Option<String> {
    let of_others = claims.iter().filter(|claim| *claim != ours);
    of_others.filter_map(|claim| claim.name.strip_prefix(NAME)).next().map(str::to_owned)
}

/// Which ACLs are claims of an installation.
fn filter(installation: &str) -> AclFilter {
    AclFilter {
        resource: Some(ResourceType::TRANSACTIONAL_ID),
        pattern: Some(PatternType::LITERAL),
        ..AclFilter::of_user(&holder(installation))
    }
}

/// Nobody's name, since a user of ours has five parts.
fn holder(installation: &str) -> String {
    format!("{installation}.installation")
}

fn acl(installation: &str, cluster: &str) -> Acl {
    let name = format!("{NAME}{cluster}");
    let claim = Acl::allow(
        &holder(installation),
        Operation::DESCRIBE,
        ResourceType::TRANSACTIONAL_ID,
        PatternType::LITERAL,
        name,
    );
    Acl { host: "127.0.0.1".to_owned(), ..claim }
}

/// A sentence for who finds that the names are another cluster's.
pub fn refusal(installation: &str, connection: &str, other: &str) -> String {
    format!(
        "installation id {installation} is used on the Kafka cluster of connection {connection} by the operator of another Kubernetes \
         cluster (its namespace kube-system has uid {other}), whose users would have the same names; give this operator another \
         installationId, or, where that cluster is no more, remove its claim: kafka-acls.sh --remove --allow-principal \
         User:{} --allow-host 127.0.0.1 --operation Describe --transactional-id {NAME}{other}",
        holder(installation)
    )
}

#[cfg(test)]
mod tests {
    use tidegate_kafka::{Api, twin::Twin};

    use super::*;

    #[tokio::test]
    async fn the_first_has_the_names_and_another_cluster_is_told_so() {
        let twin = Twin::new();
        assert_eq!(claim(&twin, "tidegate", "one").await, Ok(Claim::Ours));
        assert_eq!(claim(&twin, "tidegate", "one").await, Ok(Claim::Ours), "it is still ours after a restart");
        assert_eq!(claim(&twin, "tidegate", "two").await, Ok(Claim::Theirs("one".into())));
        assert_eq!(claim(&twin, "another", "two").await, Ok(Claim::Ours), "another id is another claim");
        assert_eq!(twin.count(Api::CreateAcls), 2);
        assert!(!twin.may("tidegate", Operation::READ, ResourceType::TOPIC, "any"));
        let said = refusal("tidegate", "main", "one");
        assert!(said.contains("installationId") && said.contains("tidegate.dev/installation/one"), "{said}");
    }
}
