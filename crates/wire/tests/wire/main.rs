//! The wire format: every message's bytes are frozen, every departure from them is refused with its exact error.

#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helper functions too"
)]

mod complete;
mod decoding;
mod enrol;
mod golden;
mod light;
mod properties;
mod roster;
mod sample;
mod sizes;
mod table;
