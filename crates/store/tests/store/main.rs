//! Tests of the store through its public interface.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking, in its helper functions too"
)]

mod bodies;
mod closed;
mod common;
mod crash;
mod faults;
mod forged;
mod golden;
mod open;
mod properties;
mod real;
