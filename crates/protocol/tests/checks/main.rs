//! The checks of every role, each tripped by a cheater who recomputes digests and signs again; attacks A3, A4, A7, A9,
//! A13, A14, A15 and A18 (`specs/protocol.md`, "Attacks").
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot set up its case fails"
)]

mod beacon;
mod client;
mod common;
mod complaints;
mod contributions;
mod evidence;
mod files;
mod light;
mod limits;
mod other_rounds;
mod records;
