//! Seeded network, adversaries and checkers that know the truth.
//!
//! A [`World`] is a roster with all its secrets and one round, made from a seed. A [`Simulation`] runs the protocol's
//! machines in it over a network that delays, reorders, doubles and loses messages, all from the same seed: the same seed
//! gives the same log, byte for byte. Adversaries use the protocol's public interface only. The checkers of [`truth`] know
//! every update and who is honest, which no party does.

mod drive;
mod error;
mod faults;
mod forge;
mod hands;
mod journal;
mod node;
mod plan;
mod report;
mod simulation;
pub mod truth;
mod world;

pub use error::SimError;
pub use faults::{Counts, Cut, Faults, Injected};
pub use forge::{Deviation, Forged, ProofCheat, forge, forge_with};
pub use hands::Hands;
pub use plan::{Injection, Plan, Rogue, Sent, Tamper};
pub use report::Report;
pub use simulation::Simulation;
pub use world::{Setup, Tables, World};
