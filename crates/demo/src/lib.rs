//! Federated training on handwritten digits through Veilsum, honest clients and attackers alike, on public API only.

pub mod learning;
