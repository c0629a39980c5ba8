//! Every kernel on every backend of the machine, against curve25519-dalek.

mod commitments;
mod common;
mod msm;
mod points;
