//! The auditor against transcripts of simulated rounds: honest ones, damaged ones, and ones of servers that lie.
#![expect(clippy::unwrap_used, reason = "tests")]

mod again;
mod common;
mod complete;
mod damage;
mod dealer;
mod large;
mod lies;
mod page;
mod statements;
