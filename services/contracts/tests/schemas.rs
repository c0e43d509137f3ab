//! The schemas in `schemas/` are those that the types make.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{collections::BTreeMap, fs};

#[test]
fn the_schemas_are_up_to_date() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/schemas");
    let kept: BTreeMap<String, String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            (entry.file_name().into_string().unwrap(), fs::read_to_string(entry.path()).unwrap())
        })
        .collect();
    let made: BTreeMap<_, _> = tidegate_contracts::schema::all().into_iter().collect();
    assert!(
        kept == made,
        "run: cargo run -p tidegate-contracts --example schemas, and look at what changes for readers"
    );
}
