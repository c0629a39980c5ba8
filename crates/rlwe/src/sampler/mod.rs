//! Exact discrete Gaussian samplers. `D(Z, sigma)` gives an integer `y` the probability `exp(-y^2/(2 sigma^2)) / S`.
//!
//! * [`DiscreteGaussian`] for `sigma = 2^k`, `k <= 56`: the noise `e`.
//! * [`sample_key`] for the key's `sigma = 8`: a constant-time table.
//!
//! Neither uses floating point, and neither tells by its running time what value it returned.

mod exact;
mod gaussian;
mod key;

pub use gaussian::{DiscreteGaussian, MAX_LOG2_SIGMA};
pub use key::{KEY_MAX_ABS, KEY_SIGMA, sample_key};

/// Why a sampler was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SamplerError {
    /// The width is not supported.
    #[error("sigma = 2^{log2_sigma} is not supported: the exponent goes up to {MAX_LOG2_SIGMA}")]
    Width {
        /// The exponent asked for.
        log2_sigma: u32,
    },
    /// A bound below the standard deviation, which would cut into the body of the distribution.
    #[error("bound {max_abs} is below sigma = 2^{log2_sigma}")]
    Bound {
        /// The bound asked for.
        max_abs: u64,
        /// The sampler's exponent.
        log2_sigma: u32,
    },
}
