//! `veilsum bench`: the whole cryptographic path of a round in one process (`specs/benchmarks.md`).
//!
//! Every client has a vector and randomness of its own; what is counted as uploaded is what was decoded and verified; the
//! sum is opened from decrypted shares as a committee would, and compared with a plain integer sum.

mod baselines;
mod phases;
mod round;

pub use baselines::Baselines;
/// The counting allocator that the binary installs, so that peaks can be read.
pub use peak_alloc::PeakAlloc;
pub use round::run;

use serde::Serialize;
use std::collections::BTreeMap;
use thiserror::Error;

/// What to measure.
#[derive(Clone, Debug)]
pub struct BenchConfig {
    /// Number of coordinates.
    pub dim: u32,
    /// Number of contributing clients.
    pub clients: u32,
    /// Threads of the pool.
    pub threads: usize,
    /// Largest number of summed clients that the slots are sized for.
    pub n_max: u32,
    /// B_x.
    pub norm_bound: u32,
    /// Committee size m.
    pub members: u16,
    /// Threshold t.
    pub threshold: u16,
    /// How many clients put the whole norm of their key on one coordinate, the same for all (masked mode): the sum whose
    /// logarithms are the hardest to find.
    pub wide_keys: u32,
    /// Whether to verify batches of 1, 8 and 64 contributions too, the same ones again where there are fewer.
    pub batches: bool,
    /// Group arithmetic.
    pub backend: veilsum_simd::Backend,
    /// Seed of vectors and keys.
    pub seed: u64,
}

/// Why a benchmark did not run.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BenchError {
    /// The parameters are refused.
    #[error(transparent)]
    Params(#[from] veilsum_params::ParameterError),
    /// Not that many threads could be started.
    #[error("{threads} threads cannot be started; ask for fewer")]
    Threads {
        /// How many were asked for.
        threads: usize,
    },
    /// The backend is not to be had on this machine.
    #[error(transparent)]
    Backend(#[from] veilsum_simd::SimdError),
    /// A step of the round failed.
    #[error("{step}: {cause}")]
    Step {
        /// Which step.
        step: &'static str,
        /// What it said.
        cause: String,
    },
}

/// The layout, for the report.
#[derive(Clone, Debug, Serialize)]
pub struct LayoutReport {
    /// Columns of the witness matrix.
    pub columns: u32,
    /// Rows of the witness matrix.
    pub rows: u32,
    /// Bits of the projection masks.
    pub gamma: u32,
    /// Slots in one ring coefficient (masked mode).
    pub kappa: Option<u32>,
    /// Bits of one slot (masked mode).
    pub slot_bits: Option<u32>,
    /// Bits below the slots (masked mode).
    pub shift: Option<u32>,
    /// Rounding of y (masked mode).
    pub cut: Option<u32>,
    /// Ring coefficients (masked mode).
    pub ring_len: Option<u32>,
    /// Security level, classical bits.
    pub security_bits: u32,
    /// Ring-LWE estimate (masked mode).
    pub lattice_bits: Option<u32>,
}

/// Verifying a number of contributions together: group operations as the verifier counted them, all for the whole batch.
#[derive(Clone, Debug, Serialize)]
pub struct BatchReport {
    /// How many.
    pub contributions: u32,
    /// Decoding and verifying all of them.
    pub seconds: f64,
    /// Points decoded.
    pub decoded: u64,
    /// Terms of multiscalar multiplications with full-width scalars.
    pub full_terms: u64,
    /// Terms with 128-bit scalars.
    pub short_terms: u64,
    /// Additions that the multiplications made.
    pub additions: u64,
    /// Doublings that they made.
    pub doublings: u64,
    /// Range proofs, each with a multiplication of its own that is not in these counts.
    pub range_proofs: u64,
}

/// What was measured; keys as `specs/cli.md` fixes them.
#[derive(Clone, Debug, Serialize)]
pub struct BenchReport {
    /// Number of coordinates.
    pub dim: u32,
    /// Number of clients.
    pub clients: u32,
    /// Threads.
    pub threads: usize,
    /// `direct` or `masked`.
    pub mode: &'static str,
    /// Group arithmetic that ran.
    pub backend: &'static str,
    /// Layout.
    pub layout: LayoutReport,
    /// Generators and tables, once for a generator set.
    pub setup_seconds: f64,
    /// One client's work for one round, mean over the clients.
    pub client_seconds: f64,
    /// Parts of `client_seconds`; they sum to it.
    pub client_phases: BTreeMap<&'static str, f64>,
    /// Decoding and verifying one contribution alone, mean.
    pub verify_seconds_per_client: f64,
    /// Parts of `verify_seconds_per_client`; they sum to it.
    pub verify_phases: BTreeMap<&'static str, f64>,
    /// Verifying all in one batch, for one client.
    pub batch_verify_seconds_per_client: f64,
    /// Batches of 1, 8 and 64, when asked for.
    pub batches: Vec<BatchReport>,
    /// Decoding the sum: adding accepted contributions as they come, combining shares, and opening.
    pub finish_seconds: f64,
    /// Parts of `finish_seconds`; they sum to it.
    pub finish_phases: BTreeMap<&'static str, f64>,
    /// Adding all accepted contributions from their stored bodies, as after a restart.
    pub resum_seconds: f64,
    /// Bytes of one contribution, as decoded and verified.
    pub upload_bytes: u64,
    /// Its parts.
    pub upload_parts: BTreeMap<&'static str, u64>,
    /// The update as plain 32-bit floats.
    pub plain_f32_bytes: u64,
    /// Peak of the heap during one client's work, above what was there before.
    pub client_peak_bytes: u64,
    /// Whether the opened sum equals the plain integer sum.
    pub sum_exact: bool,
    /// Baselines of the same run.
    pub baselines: Baselines,
}
