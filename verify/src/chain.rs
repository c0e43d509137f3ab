//! Whether each wallet's events are the ones that its hash chain vouches for: the fold of the store, hash by hash.

use std::collections::BTreeMap;

use crate::facts::{Facts, Link};

/// The rule, in a few words.
pub const PROMISE: &str = "each event is the one that its wallet's hash chain vouches for";

/// A sentence for each event whose hash is not that of the event and the hash before it, or that has none though a later one has;
/// and for each wallet whose head is not the hash of its last event that has one.
pub fn violations(facts: &Facts) -> Vec<String> {
    let mut found = Vec::new();
    let mut wallets: BTreeMap<&str, Vec<&Link>> = BTreeMap::new();
    for link in &facts.chain {
        wallets.entry(&link.wallet).or_default().push(link);
    }
    let mut heads: BTreeMap<&str, &[u8]> =
        facts.heads.iter().map(|(wallet, head)| (wallet.as_str(), head.as_slice())).collect();
    for (wallet, mut links) in wallets {
        links.sort_by_key(|link| link.version);
        let chained = links.iter().rposition(|link| link.stored.is_some()).map_or(0, |last| last + 1);
        for link in &links[..chained] {
            match &link.stored {
                None => {
                    found.push(format!("version {} of wallet {wallet} has no hash, and later ones have", link.version))
                }
                Some(stored) if *stored != link.computed => {
                    found.push(format!(
                        "the hash of version {} of wallet {wallet} is not that of the event",
                        link.version
                    ));
                }
                Some(_) => {}
            }
        }
        let last = links[..chained].last().and_then(|link| link.stored.as_deref());
        if heads.remove(wallet) != last {
            found.push(format!("the head of wallet {wallet}'s chain is not the hash of its last event"));
        }
    }
    found.extend(heads.into_keys().map(|wallet| format!("wallet {wallet} has a head, and no events")));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(version: i64, hash: u8) -> Link {
        Link { wallet: "ada".into(), version, stored: Some(vec![hash]), computed: vec![hash] }
    }

    fn facts() -> Facts {
        Facts {
            chain: (1..4).map(|n| link(n, n as u8)).collect(),
            heads: vec![("ada".into(), vec![3])],
            ..Facts::default()
        }
    }

    fn broken(breaking: impl FnOnce(&mut Facts)) -> Vec<String> {
        let mut facts = facts();
        breaking(&mut facts);
        violations(&facts)
    }

    #[test]
    fn a_whole_chain_and_one_whose_end_has_no_hashes_yet_are_right() {
        assert_eq!(violations(&facts()), Vec::<String>::new());
        let unchained = |facts: &mut Facts| {
            facts.chain.push(Link { stored: None, ..link(4, 4) });
            facts.chain.push(Link { wallet: "old".into(), stored: None, ..link(1, 9) });
        };
        assert_eq!(broken(unchained), Vec::<String>::new());
    }

    #[test]
    fn each_way_to_break_it_is_seen() {
        let changed = broken(|facts| facts.chain[1].computed = vec![9]);
        assert_eq!(changed, ["the hash of version 2 of wallet ada is not that of the event"]);
        let missing = broken(|facts| facts.chain[1].stored = None);
        assert_eq!(missing, ["version 2 of wallet ada has no hash, and later ones have"]);
        let cut = broken(|facts| drop(facts.chain.pop()));
        assert_eq!(cut, ["the head of wallet ada's chain is not the hash of its last event"]);
        let headless = broken(|facts| facts.heads.clear());
        assert_eq!(headless, ["the head of wallet ada's chain is not the hash of its last event"]);
        let gone = broken(|facts| facts.chain.clear());
        assert_eq!(gone, ["wallet ada has a head, and no events"]);
    }
}
