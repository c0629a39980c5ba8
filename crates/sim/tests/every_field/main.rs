//! Every field of every message, changed: not signed again it is refused without evidence, and signed again by its sender,
//! with every digest made anew, it meets exactly the check that it is there for; evidence names the sender, and nobody
//! else can be convicted with it.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a failed test panics")]

#[path = "../common/mod.rs"]
mod common;

mod client;
mod enrolment;
mod member;
mod registration;
mod server;
mod table;
mod transcript;

use std::collections::BTreeSet;
use table::Table;
use transcript::transcript;
use veilsum_wire::MESSAGES;

fn run(tables: Vec<Table>) {
    for table in tables {
        (table.run)();
    }
}

#[test]
fn what_the_server_is_sent() {
    run(server::tables(transcript()));
}

#[test]
fn what_members_are_sent() {
    run(member::tables(transcript()));
}

#[test]
fn what_clients_are_told() {
    run(client::tables(transcript()));
}

#[test]
fn what_is_signed_outside_of_rounds() {
    run(registration::tables());
    run(enrolment::tables());
}

#[test]
fn the_honest_round_convicts_its_bad_dealer_only() {
    assert_eq!(transcript().framed(None), BTreeSet::new());
}

#[test]
fn no_field_of_any_message_is_left_out() {
    let t = transcript();
    let tables = [
        server::tables(t),
        member::tables(t),
        client::tables(t),
        registration::tables(),
        enrolment::tables(),
    ];
    let covered: BTreeSet<(&str, &str)> = tables
        .iter()
        .flatten()
        .flat_map(|table| table.fields.iter().map(|field| (table.message, *field)))
        .collect();
    let all: BTreeSet<(&str, &str)> = MESSAGES
        .iter()
        .flat_map(|m| m.fields.iter().map(|(field, _)| (m.name, *field)))
        .chain(client::params_fields())
        .collect();
    assert_eq!(covered, all);
}
