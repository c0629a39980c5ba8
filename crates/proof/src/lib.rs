//! The statement of a contribution, its prover and its verifier.
//!
//! A contribution proves that y, C, K, F_0 = r B and F_z = r_z B were formed from one integer update whose L2 norm is at
//! most the round's bound (and, in masked mode, from a short key and noise): a zero-knowledge sumcheck over a matrix
//! commitment, closed by one generalised Schnorr proof, and a Bulletproofs range proof of the norm's slack
//! (`specs/protocol.md`, "The proof"). [`contribute`] makes commitments and proof, [`verify`] checks one contribution and
//! names the check that it fails, [`verify_batch`] folds many.
//!
//! Work on secrets is constant time (the kernels of `veilsum-simd`, the field of `veilsum-crypto`, the range proof of the
//! `bulletproofs` crate); verification works on public data in variable time. Threads are those of the current `rayon`
//! pool, and no byte depends on their number.

#[doc(hidden)]
pub mod adversarial;
mod check;
mod claims;
mod error;
mod mask;
mod matrix;
mod message;
mod phase;
mod prepared;
mod projection;
mod prover;
mod sumcheck;
mod tally;
mod trace;
mod transcript;
mod types;
mod verifier;

pub use check::ProofCheck;
pub use error::{ContributeError, ProofError};
pub use message::{Proof, Responses, proof_len};
pub use phase::PHASE_TARGET;
pub use prepared::{Prepared, RingMasking, Round};
pub use prover::contribute;
pub use tally::GroupWork;
pub use trace::{Challenge, challenges};
pub use types::{Context, Contribution, MaskedWitness, Parts, Statement, Witness};
pub use verifier::{Decoded, verify, verify_batch, verify_batch_decoding, verify_decoding};
