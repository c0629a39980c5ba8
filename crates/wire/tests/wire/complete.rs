//! The table that the other tests run over is complete and says what the bytes say.

use crate::table::{all, structures};
use std::collections::BTreeSet;

#[test]
fn the_table_holds_every_message_that_the_crate_declares() {
    let mut declared = BTreeSet::new();
    for source in [
        include_str!("../../src/messages.rs"),
        include_str!("../../src/contribution.rs"),
        include_str!("../../src/roster.rs"),
        include_str!("../../src/beacon.rs"),
        include_str!("../../src/join.rs"),
        include_str!("../../src/signed.rs"),
        include_str!("../../src/params.rs"),
    ] {
        for block in source.split("message! {").skip(1) {
            let line = block
                .lines()
                .map(str::trim)
                .find(|l| !l.is_empty() && !l.starts_with("//"))
                .unwrap();
            declared.insert(line.strip_suffix(" {").unwrap().to_owned());
        }
    }
    let listed: BTreeSet<_> = structures().iter().map(|m| m.name.to_owned()).collect();
    assert_eq!(listed, declared);
    assert!(declared.len() > 30);
}

#[test]
fn every_field_stands_where_the_description_says() {
    for message in all() {
        let encoded = message.golden();
        let names: Vec<_> = encoded.fields.iter().map(|(name, _)| *name).collect();
        if let (Some(fields), false) = (&message.fields, names.is_empty()) {
            assert_eq!(*fields, names, "{}", message.name);
        }
        let end = encoded.places.last().map_or(0, |(_, range)| range.end);
        assert_eq!(end, encoded.bytes.len(), "{}", message.name);
        assert!(message.min_len <= encoded.bytes.len() && message.min_len > 0);
    }
}
