//! Ring arithmetic modulo the group order, exact discrete Gaussian sampling, and masking.
//!
//! Everything here lives in `R = F[X]/(X^N + 1)`, where `F = Z_l` and
//! `l = 2^252 + 27742317777372353535851937790883648493` is the order of the ristretto255 group. Elements of `F` cross
//! this API as canonical little-endian limbs `[u64; 4]` (a value below `l`); secrets and decoded sums cross it as
//! integers.
//!
//! * [`ring`]: products in `R` through several NTT primes and the Chinese remainder theorem, kept exact by a bound that
//!   the code checks, and the transpose product.
//! * [`expand`]: the public ring elements `a_b`.
//! * [`sampler`]: the exact discrete Gaussian of width `2^k`, and the constant-time table for the key's width 8.
//! * [`masking`]: `y = round(a s + e + packed x)` for one client, its wire form, and the opening of a sum.
//!
//! Sources: D. Harvey, "Faster arithmetic for number-theoretic transforms" (2014) for the lazy butterflies;
//! C. Canonne, G. Kamath, T. Steinke, "The Discrete Gaussian for Differential Privacy" (NeurIPS 2020) for the sampler;
//! V. Lyubashevsky, C. Peikert, O. Regev, "On Ideal Lattices and Learning with Errors over Rings" (2010) for the problem.

pub mod expand;
pub mod field;
pub mod masking;
pub mod ring;
pub mod sampler;

mod ntt;
mod primes;
mod secret;
mod transform;
mod wide;

pub use expand::Expander;
pub use field::Limbs;
pub use masking::{MaskError, MaskLayout, MaskShape, Masked, Masking, Opened};
pub use ring::{Accumulator, Basis, Bound, Ring, RingError, Transformed};
pub use sampler::{DiscreteGaussian, SamplerError, sample_key};
pub use secret::{SecretVec, Seed};
