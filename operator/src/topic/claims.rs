//! Which of several resources that name one topic of one cluster holds it. One does; the others wait their turn.

use jiff::Timestamp;
use tidegate_crds::KafkaTopic;
use uuid::Uuid;

/// A resource's claim to a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// `namespace/name` of the resource.
    pub resource: String,
    /// Its uid.
    pub uid: String,
    /// When it was created.
    pub created: Option<Timestamp>,
    /// The topic's id in its status.
    pub topic_id: Option<String>,
    /// It is being deleted, and so claims nothing any more.
    pub deleting: bool,
}

impl Claim {
    /// The claim of a resource.
    pub fn of(topic: &KafkaTopic) -> Self {
        let metadata = &topic.metadata;
        Self {
            resource: format!(
                "{}/{}",
                metadata.namespace.as_deref().unwrap_or_default(),
                metadata.name.as_deref().unwrap_or_default()
            ),
            uid: metadata.uid.clone().unwrap_or_default(),
            created: metadata.creation_timestamp.as_ref().map(|time| time.0),
            topic_id: topic.status.as_ref().and_then(|status| status.topic_id.clone()),
            deleting: metadata.deletion_timestamp.is_some(),
        }
    }
}

/// The claim that holds: the one whose status carries the id of the topic that exists, then the oldest, then the least uid.
pub fn holder(claims: &[Claim], live: Option<Uuid>) -> Option<&Claim> {
    let live = live.map(|id| id.to_string());
    claims.iter().filter(|claim| !claim.deleting).min_by_key(|claim| {
        let holds = live.is_some() && claim.topic_id == live;
        (!holds, claim.created, &claim.uid)
    })
}

/// Somebody else than `uid` who would go on using the topic.
pub fn rival<'a>(claims: &'a [Claim], uid: &str) -> Option<&'a Claim> {
    claims.iter().find(|claim| claim.uid != uid && !claim.deleting)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIVE: Uuid = Uuid::from_u128(7);

    fn claim(uid: &str, created: i64) -> Claim {
        Claim {
            resource: format!("shop/{uid}"),
            uid: uid.into(),
            created: Some(Timestamp::from_second(created).unwrap()),
            topic_id: None,
            deleting: false,
        }
    }

    fn holds(claims: &[Claim]) -> &str {
        &holder(claims, Some(LIVE)).unwrap().uid
    }

    #[test]
    fn the_oldest_claim_holds_and_among_equals_the_least_uid() {
        assert_eq!(holds(&[claim("a", 20), claim("b", 10)]), "b");
        assert_eq!(holds(&[claim("b", 10), claim("a", 10)]), "a");
    }

    #[test]
    fn whoever_has_the_live_topic_on_record_goes_before_age() {
        let recorded = Claim { topic_id: Some(LIVE.to_string()), ..claim("young", 30) };
        let stale = Claim { topic_id: Some(Uuid::from_u128(8).to_string()), ..claim("old", 10) };
        assert_eq!(holds(&[stale.clone(), recorded.clone()]), "young");
        // While no such topic exists the record is worth nothing.
        assert_eq!(holder(&[recorded, stale], None).unwrap().uid, "old");
    }

    #[test]
    fn a_claim_that_goes_makes_room_for_the_next() {
        let going = Claim { deleting: true, topic_id: Some(LIVE.to_string()), ..claim("a", 10) };
        let claims = [going, claim("b", 20)];
        assert_eq!(holds(&claims), "b");
        assert_eq!(rival(&claims, "a").unwrap().uid, "b");
        assert_eq!(rival(&claims, "b"), None);
    }
}
