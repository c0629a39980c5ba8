//! Federated training on handwritten digits through Veilsum, honest clients and attackers alike, on public API only.

mod cheat;
mod client;
mod error;
mod forge;
mod investigate;
pub mod learning;
mod plan;
mod run;

pub use cheat::CheatingServer;
pub use error::DemoError;
pub use forge::{ForgeError, Twist, forge};
pub use investigate::{Misbehaviour, Noticed};
pub use plan::{Attack, Behaviour, Dropout, MAX_CLIENTS, MAX_ROUNDS, MIN_CLIENTS, Plan, PlanError};
pub use run::{DemoEvent, DemoReport, Interference, RoundSummary, run, run_with};
