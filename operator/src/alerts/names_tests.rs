//! Every series that a rule or a dashboard asks for is in the reference, and what the reference lists is shown by a process.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
/// Where metrics are registered.
const SOURCES: [&str; 4] = ["operator/src", "operator/kafka/src", "services/runtime/src", "services/wallet/src"];

fn files(folder: &Path, ending: &str, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, ending, found);
        } else if path.extension().is_some_and(|extension| extension == ending) {
            found.push(path);
        }
    }
}

/// The text of all files under some folders.
fn text(folders: &[&str], ending: &str) -> String {
    let mut found = Vec::new();
    for folder in folders {
        files(&Path::new(ROOT).join(folder), ending, &mut found);
    }
    found.iter().map(|path| std::fs::read_to_string(path).unwrap()).collect()
}

/// The names of our metrics in a text.
fn names(text: &str) -> BTreeSet<String> {
    let part = |char: char| char.is_ascii_alphanumeric() || char == '_';
    let words = text.split(|char: char| !part(char));
    words.filter(|word| word.starts_with("tidegate_")).map(str::to_owned).collect()
}

fn stem<'a>(name: &'a str, endings: &[&str]) -> &'a str {
    endings.iter().find_map(|ending| name.strip_suffix(ending)).unwrap_or(name)
}

#[test]
fn rules_and_dashboards_ask_for_metrics_of_the_reference() {
    let listed = names(&text(&["docs/reference"], "md"));
    let asked =
        text(&["operator/rules", "charts/tidegate/rules"], "yaml") + &text(&["charts/tidegate/dashboards"], "json");
    let asked: BTreeSet<String> =
        names(&asked).iter().map(|name| stem(name, &["_bucket", "_sum", "_count"]).to_owned()).collect();
    let unknown: Vec<&String> =
        asked.difference(&listed).filter(|name| name.as_str() != "tidegate_wallet_reconciliation").collect();
    assert!(unknown.is_empty(), "not in docs/reference/metrics.md: {unknown:?}");
    assert!(asked.len() > 40, "{asked:?}");
}

#[test]
fn the_reference_lists_metrics_that_there_are() {
    let page = std::fs::read_to_string(Path::new(ROOT).join("docs/reference/metrics.md")).unwrap();
    let mut found = Vec::new();
    SOURCES.iter().for_each(|folder| files(&Path::new(ROOT).join(folder), "rs", &mut found));
    // What makes rules names what others show.
    found
        .retain(|path| !path.parent().is_some_and(|folder| folder.ends_with("alerts")) || path.ends_with("metrics.rs"));
    let sources: String = found.iter().map(|path| std::fs::read_to_string(path).unwrap()).collect();
    let registered = |name: &String| {
        let name = stem(name, &["_total"]);
        // Some are registered under a prefix, and a unit may be added.
        let short = name.trim_start_matches("tidegate_");
        let prefixes = ["", "consumer_", "producer_", "topic_", "processor_"];
        prefixes.iter().filter_map(|prefix| short.strip_prefix(prefix)).chain([name]).any(|candidate| {
            [candidate, stem(candidate, &["_seconds"])].iter().any(|word| sources.contains(&format!("\"{word}\"")))
        })
    };
    let missing: Vec<String> = names(&page).into_iter().filter(|name| !registered(name)).collect();
    assert_eq!(missing, Vec::<String>::new());
}
