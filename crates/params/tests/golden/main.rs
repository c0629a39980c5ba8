//! Layouts that may not change, rules that every layout keeps, and every refusal of parameters.

#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helper functions too"
)]

mod refusals;
mod rules;
mod table;

/// The table as it was frozen; `specs/parameters.md` shows the same, and `specs/layout.py` computes it independently.
const FROZEN: &str = include_str!("layouts.md");

#[test]
fn the_layouts_of_version_1_are_frozen() {
    let table = table::table();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/layouts.md");
        std::fs::write(path, &table).unwrap();
        return;
    }
    for (now, then) in table.lines().zip(FROZEN.lines()) {
        assert_eq!(now, then);
    }
    assert_eq!(table, FROZEN);
}

#[test]
fn the_specification_shows_the_frozen_table() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../specs/parameters.md");
    let text = std::fs::read_to_string(path).unwrap();
    let shown = text.split("<!-- generated: layouts -->").nth(1);
    let shown = shown.and_then(|rest| rest.split("<!-- end generated -->").next());
    assert_eq!(shown.map(str::trim), Some(FROZEN.trim()));
}
