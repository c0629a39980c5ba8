//! Scaling, the forecast of the norm after rounding, and unbiased rounding.
//!
//! A coordinate `v` of the update is first normalised to `w = v * 2^-e`, where `2^e` is the power of two at the largest
//! magnitude: squares of `w` neither overflow nor vanish. Integers come from `u = w * multiplier`.

use rand_core::CryptoRngCore;
use zeroize::Zeroizing;

/// Standard deviations of room that the clip factor leaves for the rounding noise of the squared norm.
const MARGIN_SD: f64 = 4.0;
/// Newton steps towards the clip factor; each vector takes all of them.
const NEWTON_STEPS: usize = 3;
/// Coordinates per draw of randomness.
const CHUNK: usize = 512;
const BYTES_PER_DRAW: usize = 8;
const TWO_POW_53: f64 = 9_007_199_254_740_992.0;

/// `2^exponent` for exponents from -1022 up; infinite above 1023, where it only ever stands for "no limit".
pub(crate) fn pow2(exponent: i32) -> f64 {
    let biased = (exponent + 1023).clamp(1, 2047).unsigned_abs();
    f64::from_bits(u64::from(biased) << 52)
}

/// Exponent `e` with `2^e <= magnitude < 2^(e+1)`, held inside -1022..=1022 so that `2^-e` is a normal number.
fn exponent_of(magnitude: f64) -> i32 {
    let [high, low, ..] = magnitude.to_be_bytes();
    let biased = (u16::from_be_bytes([high, low]) >> 4) & 0x7ff;
    i32::from(biased).clamp(1, 2045) - 1023
}

/// A vector brought to magnitude about one by a power of two, without copying it.
pub(crate) struct Normalised<'a, T> {
    update: &'a [T],
    /// `2^-e`.
    down: f64,
    /// `e`.
    pub(crate) exponent: i32,
    /// `||w||_2`, zero only for the zero vector.
    pub(crate) norm: f64,
}

impl<'a, T: Copy + Into<f64>> Normalised<'a, T> {
    /// Normalises, or gives the index of the first coordinate that is not finite. Always walks the whole vector.
    pub(crate) fn new(update: &'a [T]) -> Result<Self, usize> {
        let mut largest = 0.0_f64;
        let mut first_bad = usize::MAX;
        for (index, &v) in update.iter().enumerate() {
            let magnitude = v.into().abs();
            first_bad = first_bad.min(if magnitude.is_finite() {
                usize::MAX
            } else {
                index
            });
            largest = largest.max(magnitude);
        }
        if first_bad != usize::MAX {
            return Err(first_bad);
        }
        let exponent = exponent_of(largest);
        let down = pow2(-exponent);
        let mut squared = 0.0_f64;
        for &v in update {
            let w = v.into() * down;
            squared += w * w;
        }
        Ok(Self {
            update,
            down,
            exponent,
            norm: squared.sqrt(),
        })
    }

    /// The squared norm to expect after rounding `w * multiplier`.
    fn forecast(&self, multiplier: f64) -> Forecast {
        let mut forecast = Forecast {
            expected: 0.0,
            derivative: 0.0,
            variance: 0.0,
            worst: 0.0,
        };
        for &v in self.update {
            let w = (v.into() * self.down).abs();
            let u = w * multiplier;
            let whole = f64_floor(u);
            let part = u - whole;
            let step = 2.0 * whole + 1.0;
            forecast.expected += whole * whole + step * part;
            forecast.derivative += w * step;
            forecast.variance += step * step * (part * (1.0 - part));
            forecast.worst += whole * whole + if part > 0.0 { step } else { 0.0 };
        }
        forecast
    }

    /// The largest multiplier, up to `wanted`, whose rounding fits below `bound` with room to spare.
    ///
    /// The expected squared norm, as a function of the multiplier, interpolates the squares of integers linearly: it is
    /// convex, increasing and zero at zero. So Newton steps converge, and a last step along the chord to the origin,
    /// taken if they end too high, ends low enough.
    pub(crate) fn fitting_multiplier(&self, wanted: f64, bound: u64) -> f64 {
        let bound = bound as f64;
        let limit = bound * bound;
        let start = wanted.min(bound / self.norm);
        let mut multiplier = start;
        for _ in 0..NEWTON_STEPS {
            let forecast = self.forecast(multiplier);
            let step = forecast.excess(limit) / forecast.derivative.max(f64::MIN_POSITIVE);
            multiplier = (multiplier - step).clamp(0.0, start);
        }
        let forecast = self.forecast(multiplier);
        let chord = if forecast.excess(limit) > 0.0 {
            forecast.room(limit) / forecast.expected
        } else {
            1.0
        };
        multiplier * chord
    }

    /// Rounds each `w * multiplier` up or down at random so that its expectation is kept, into `out`; gives the exact
    /// squared norm.
    pub(crate) fn round_unbiased(
        &self,
        multiplier: f64,
        out: &mut Vec<i64>,
        rng: &mut impl CryptoRngCore,
    ) -> u128 {
        out.clear();
        let mut bytes = Zeroizing::new([0_u8; CHUNK * BYTES_PER_DRAW]);
        let mut squared = 0_u128;
        for chunk in self.update.chunks(CHUNK) {
            rng.fill_bytes(&mut bytes[..chunk.len() * BYTES_PER_DRAW]);
            let (draws, _) = bytes.as_chunks::<BYTES_PER_DRAW>();
            for (&v, draw) in chunk.iter().zip(draws) {
                let signed = v.into() * self.down;
                let u = signed.abs() * multiplier;
                let whole = u as i64;
                let threshold = ((u - whole as f64) * TWO_POW_53) as u64;
                let up = i64::from(u64::from_le_bytes(*draw) >> 11 < threshold);
                squared += push_signed(out, whole + up, signed);
            }
        }
        squared
    }

    /// Rounds each `w * multiplier` towards zero and then takes single units off the largest coordinate until the
    /// squared norm is at most `limit`. Needs no randomness and always succeeds.
    pub(crate) fn shrink(&self, multiplier: f64, limit: u128, out: &mut Vec<i64>) {
        out.clear();
        let mut squared = 0_u128;
        for &v in self.update {
            let signed = v.into() * self.down;
            squared += push_signed(out, (signed.abs() * multiplier) as i64, signed);
        }
        while squared > limit {
            let Some(largest) = out.iter_mut().max_by_key(|x| x.unsigned_abs()) else {
                return;
            };
            squared -= square(*largest);
            *largest -= largest.signum();
            squared += square(*largest);
        }
    }
}

struct Forecast {
    expected: f64,
    /// Of `expected` by the multiplier.
    derivative: f64,
    /// Of the squared norm after rounding.
    variance: f64,
    /// The squared norm if every coordinate were rounded away from zero.
    worst: f64,
}

impl Forecast {
    /// What the expected squared norm should stay below. At least half the limit: for tiny bounds the spread of a single
    /// coordinate is as large as the bound, and re-rounding is the cheaper remedy.
    fn room(&self, limit: f64) -> f64 {
        (limit - MARGIN_SD * self.variance.sqrt()).max(limit / 2.0)
    }

    /// By how much the expectation is too large; not positive when no outcome can exceed the limit.
    fn excess(&self, limit: f64) -> f64 {
        if self.worst <= limit {
            0.0
        } else {
            self.expected - self.room(limit)
        }
    }
}

/// Floor of a number in `0..2^63`, without the library call that `f64::floor` is on targets that lack the instruction.
fn f64_floor(u: f64) -> f64 {
    (u as i64) as f64
}

fn push_signed(out: &mut Vec<i64>, magnitude: i64, sign_of: f64) -> u128 {
    let negative = -i64::from(sign_of.is_sign_negative());
    out.push((magnitude ^ negative) - negative);
    square(magnitude)
}

fn square(x: i64) -> u128 {
    let magnitude = u128::from(x.unsigned_abs());
    magnitude * magnitude
}
