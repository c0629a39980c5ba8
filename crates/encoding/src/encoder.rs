//! The encoder: checked parameters, encoding of an update, decoding of a sum.

use core::fmt;

use rand_core::CryptoRngCore;
use veilsum_simd::Engine;
use zeroize::Zeroizing;

use crate::{
    EncodingError,
    rounding::{Normalised, pow2},
};

/// Largest dimension of an update.
pub const MAX_DIM: usize = 100_000_000;
/// Largest norm bound `B_x`, in integer units: `2^32 - 1`.
pub const MAX_NORM_BOUND: u64 = u32::MAX as u64;
/// Largest number of fractional bits. A finer scale could not represent anything: `c` would be below `2^-16`.
pub const MAX_SCALE_BITS: u8 = 48;

/// Rounding passes before the vector is shrunk without randomness.
const ROUNDING_TRIES: usize = 8;

/// Turns real updates of one agreed shape into integers of bounded norm, and sums of such integers back into reals.
///
/// See the crate documentation for the method, and for what floating point and timing do and do not promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoder {
    dim: usize,
    scale_bits: u8,
    norm_bound: u64,
    engine: Engine,
}

impl Encoder {
    /// An encoder for updates of `dim` coordinates, with `scale_bits` fractional bits and integer norm bound `B_x` =
    /// `norm_bound`. The real clip norm is `B_x / 2^scale_bits`.
    ///
    /// # Errors
    /// [`EncodingError::DimensionOutOfRange`], [`EncodingError::ScaleBitsOutOfRange`] or
    /// [`EncodingError::NormBoundOutOfRange`], in this order.
    pub fn new(dim: usize, scale_bits: u8, norm_bound: u64) -> Result<Self, EncodingError> {
        if !(1..=MAX_DIM).contains(&dim) {
            return Err(EncodingError::DimensionOutOfRange { dim });
        }
        if scale_bits > MAX_SCALE_BITS {
            return Err(EncodingError::ScaleBitsOutOfRange { scale_bits });
        }
        if !(1..=MAX_NORM_BOUND).contains(&norm_bound) {
            return Err(EncodingError::NormBoundOutOfRange { norm_bound });
        }
        Ok(Self {
            dim,
            scale_bits,
            norm_bound,
            engine: Engine::auto(),
        })
    }

    /// The same encoder with a code path chosen by the caller instead of the processor's fastest. Results do not depend on it.
    #[must_use]
    pub fn with_engine(self, engine: Engine) -> Self {
        Self { engine, ..self }
    }

    /// Number of coordinates `d` of an update.
    #[must_use]
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Number of fractional bits `f`: one integer unit is `2^-f`.
    #[must_use]
    pub fn scale_bits(&self) -> u8 {
        self.scale_bits
    }

    /// The bound `B_x` on the L2 norm of an encoded update, in integer units.
    #[must_use]
    pub fn norm_bound(&self) -> u64 {
        self.norm_bound
    }

    /// The real norm `c = B_x / 2^f` to which updates are clipped.
    #[must_use]
    pub fn clip_norm(&self) -> f64 {
        self.norm_bound as f64 / self.scale()
    }

    fn scale(&self) -> f64 {
        pow2(i32::from(self.scale_bits))
    }

    /// Clips, scales and rounds an update of `f32` or `f64` coordinates to integers with `||x||_2 <= B_x`.
    ///
    /// Each coordinate of the result is, in expectation over `rng`, the clipped coordinate times `2^f`, and lies within
    /// one unit of it. (Only where eight rounding passes in a row exceed the bound is it rounded towards zero, and is
    /// its expectation lost; see the crate documentation.) `rng` must be unpredictable to others: which way
    /// a coordinate was rounded is as private as the coordinate.
    ///
    /// # Errors
    /// [`EncodingError::UpdateLength`] if `update` does not have [`Encoder::dim`] coordinates, and
    /// [`EncodingError::NotFinite`] with the first index at which it is NaN or infinite. No randomness is drawn then.
    pub fn encode<T: Copy + Into<f64> + Sync>(
        &self,
        update: &[T],
        rng: &mut impl CryptoRngCore,
    ) -> Result<Encoded, EncodingError> {
        if update.len() != self.dim {
            return Err(EncodingError::UpdateLength {
                expected: self.dim,
                got: update.len(),
            });
        }
        let update = Normalised::new(self.engine, update)
            .map_err(|index| EncodingError::NotFinite { index })?;
        let unclipped = pow2(i32::from(self.scale_bits) + update.exponent);
        let multiplier = update.fitting_multiplier(unclipped, self.norm_bound);
        let clipped = multiplier < unclipped;

        let limit = u128::from(self.norm_bound) * u128::from(self.norm_bound);
        // All coordinates at once: growing the vector would leave copies behind.
        let mut values = Zeroizing::new(vec![0; self.dim]);
        for _ in 0..ROUNDING_TRIES {
            if update.round_unbiased(multiplier, &mut values, rng) <= limit {
                return Ok(Encoded { values, clipped });
            }
        }
        update.shrink(multiplier, limit, &mut values);
        Ok(Encoded {
            values,
            clipped: true,
        })
    }

    /// The real sum that an integer sum stands for: each coordinate divided by `2^f`. Exact for coordinates up to `2^53`
    /// in magnitude, correctly rounded beyond.
    ///
    /// # Errors
    /// [`EncodingError::SumLength`] if `sum` does not have [`Encoder::dim`] coordinates.
    pub fn decode_sum(&self, sum: &[i64]) -> Result<Vec<f64>, EncodingError> {
        self.divide(sum, self.scale())
    }

    /// The real mean that an integer sum of `count` contributions stands for: each coordinate divided by `2^f * count`.
    /// Correctly rounded for coordinates and counts up to `2^53`.
    ///
    /// # Errors
    /// [`EncodingError::ZeroCount`] if `count` is zero; [`EncodingError::SumLength`] if `sum` does not have
    /// [`Encoder::dim`] coordinates.
    pub fn decode_mean(&self, sum: &[i64], count: u64) -> Result<Vec<f64>, EncodingError> {
        if count == 0 {
            return Err(EncodingError::ZeroCount);
        }
        self.divide(sum, self.scale() * count as f64)
    }

    fn divide(&self, sum: &[i64], divisor: f64) -> Result<Vec<f64>, EncodingError> {
        if sum.len() != self.dim {
            return Err(EncodingError::SumLength {
                expected: self.dim,
                got: sum.len(),
            });
        }
        Ok(sum.iter().map(|&x| x as f64 / divisor).collect())
    }
}

/// An encoded update: integers of bounded norm, in units of `2^-f`. Private to the client: wiped on drop, and absent
/// from `Debug`.
pub struct Encoded {
    values: Zeroizing<Vec<i64>>,
    clipped: bool,
}

/// Holds only for fields that are wiped when they are dropped: each type with secrets names its own beside its definition,
/// so that one that is no longer wiped does not compile.
fn wiped<T: zeroize::ZeroizeOnDrop + ?Sized>(_: &T) {}

impl zeroize::ZeroizeOnDrop for Encoded {}
const _: fn(&Encoded) = |s| wiped(&s.values);

impl Encoded {
    /// The integers, one for each coordinate of the update.
    #[must_use]
    pub fn values(&self) -> &[i64] {
        &self.values
    }

    /// The integers, still wiped when the result is dropped.
    #[must_use]
    pub fn into_values(self) -> Zeroizing<Vec<i64>> {
        self.values
    }

    /// Whether the update was scaled down to satisfy the bound. This is private too: it says something about the norm.
    #[must_use]
    pub fn clipped(&self) -> bool {
        self.clipped
    }
}

impl fmt::Debug for Encoded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encoded")
            .field("values", &"<redacted>")
            .field("clipped", &"<redacted>")
            .finish()
    }
}
