//! Scaling, the forecast of the norm after rounding, and unbiased rounding.
//!
//! A coordinate `v` of the update is first normalised to `w = v * 2^-e`, where `2^e` is the power of two at the largest
//! magnitude: squares of `w` neither overflow nor vanish. Integers come from `u = w * multiplier`.

use rand_core::CryptoRngCore;
use rayon::prelude::*;
use veilsum_simd::Engine;
use zeroize::{Zeroize, Zeroizing};

/// Standard deviations of room that the clip factor leaves for the rounding noise of the squared norm.
const MARGIN_SD: f64 = 4.0;
/// Newton steps towards the clip factor; each vector takes all of them.
const NEWTON_STEPS: usize = 3;
/// Coordinates that one task takes. Sums are taken piece by piece and then over the pieces in order, so that results do not
/// depend on the number of threads. A multiple of [`LANES`].
const PIECE: usize = 1 << 15;
/// Most pieces for which randomness is drawn at once: no more than there are threads, because fresh memory costs more than
/// what is drawn into it.
const PIECES_PER_DRAW: usize = 8;
const BYTES_PER_DRAW: usize = 8;
const TWO_POW_53: f64 = 9_007_199_254_740_992.0;
const TWO_POW_52: f64 = 4_503_599_627_370_496.0;
/// Sums over the vector are taken in so many interleaved parts, joined in order: fixed, so that the result is the same
/// everywhere, and many, so that a vector unit can take them.
const LANES: usize = 8;

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
    engine: Engine,
    /// `2^-e`.
    down: f64,
    /// `e`.
    pub(crate) exponent: i32,
    /// `||w||_2`, zero only for the zero vector.
    pub(crate) norm: f64,
}

impl<'a, T: Copy + Into<f64> + Sync> Normalised<'a, T> {
    /// Normalises, or gives the index of the first coordinate that is not finite. Always walks the whole vector.
    pub(crate) fn new(engine: Engine, update: &'a [T]) -> Result<Self, usize> {
        let extremes = by_piece(engine, update, |piece| {
            let mut largest = [0.0_f64; LANES];
            let mut finite = [true; LANES];
            in_lanes(piece, |lane, v| {
                let magnitude = v.abs();
                finite[lane] &= magnitude < f64::INFINITY;
                largest[lane] = if magnitude > largest[lane] {
                    magnitude
                } else {
                    largest[lane]
                };
            });
            let largest = largest.into_iter().fold(0.0, f64::max);
            (largest, finite == [true; LANES])
        });
        if !extremes.iter().all(|(_, finite)| *finite) {
            let bad = |v: &T| !(*v).into().is_finite();
            return Err(update.iter().position(bad).unwrap_or(0));
        }
        let largest = extremes.iter().map(|(l, _)| *l).fold(0.0, f64::max);
        let exponent = exponent_of(largest);
        let down = pow2(-exponent);
        let squared = by_piece(engine, update, |piece| {
            let mut squared = [0.0_f64; LANES];
            in_lanes(piece, |lane, v| {
                let w = v * down;
                squared[lane] += w * w;
            });
            total(&squared)
        });
        Ok(Self {
            update,
            engine,
            down,
            exponent,
            norm: total(&squared).sqrt(),
        })
    }

    /// The squared norm to expect after rounding `w * multiplier`.
    fn forecast(&self, multiplier: f64) -> Forecast {
        let pieces = by_piece(self.engine, self.update, |piece| {
            let [mut expected, mut derivative, mut variance, mut worst] = [[0.0_f64; LANES]; 4];
            in_lanes(piece, |lane, v| {
                let w = (v * self.down).abs();
                let u = w * multiplier;
                let whole = f64_floor(u);
                let part = u - whole;
                let step = 2.0 * whole + 1.0;
                expected[lane] += whole * whole + step * part;
                derivative[lane] += w * step;
                variance[lane] += step * step * (part * (1.0 - part));
                worst[lane] += whole * whole + if part > 0.0 { step } else { 0.0 };
            });
            [expected, derivative, variance, worst].map(|lanes| total(&lanes))
        });
        let [expected, derivative, variance, worst] =
            core::array::from_fn(|i| pieces.iter().fold(0.0, |sum, piece| sum + piece[i]));
        Forecast {
            expected,
            derivative,
            variance,
            worst,
        }
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

    /// Rounds each `w * multiplier` up or down at random so that its expectation is kept, into `out`, which has as many
    /// elements; gives the exact squared norm.
    pub(crate) fn round_unbiased(
        &self,
        multiplier: f64,
        out: &mut [i64],
        rng: &mut impl CryptoRngCore,
    ) -> u128 {
        let at_once = PIECE * rayon::current_num_threads().clamp(1, PIECES_PER_DRAW);
        let mut bytes = Zeroizing::new(vec![0; at_once.min(out.len()) * BYTES_PER_DRAW]);
        let mut squared = 0_u128;
        for (update, out) in self.update.chunks(at_once).zip(out.chunks_mut(at_once)) {
            let bytes = &mut bytes[..update.len() * BYTES_PER_DRAW];
            rng.fill_bytes(bytes);
            let (draws, _) = bytes.as_chunks::<BYTES_PER_DRAW>();
            squared += update
                .par_chunks(PIECE)
                .zip(draws.par_chunks(PIECE))
                .zip(out.par_chunks_mut(PIECE))
                .map(|((update, draws), out)| self.round_piece(multiplier, update, draws, out))
                .sum::<u128>();
        }
        squared
    }

    fn round_piece(
        &self,
        multiplier: f64,
        update: &[T],
        draws: &[[u8; BYTES_PER_DRAW]],
        out: &mut [i64],
    ) -> u128 {
        // Sums of the products of the magnitudes' halves of 16 bits: magnitudes are at most 2^32.
        let mut squared = [[0_u64; LANES]; 3];
        let mut round = |lane: usize, v: T, draw: &[u8; BYTES_PER_DRAW], out: &mut i64| {
            let signed = v.into() * self.down;
            let u = signed.abs() * multiplier;
            let whole = f64_floor(u);
            // A draw of 53 bits is below the integer part of the threshold when the next integer is at most the threshold.
            let threshold = (u - whole) * TWO_POW_53;
            let next = (u64::from_le_bytes(*draw) >> 11).wrapping_add(1) as f64;
            let magnitude = integer(whole + if next <= threshold { 1.0 } else { 0.0 });
            *out = with_sign(magnitude, signed);
            // Wrapping, because a check of each would keep the loop from being vectorised; none of these comes near 2^64.
            let (high, low) = (
                magnitude.cast_unsigned() >> 16 & u64::from(u32::MAX),
                magnitude.cast_unsigned() & 0xffff,
            );
            let products = [
                high.wrapping_mul(high),
                high.wrapping_mul(low),
                low.wrapping_mul(low),
            ];
            for (sums, product) in squared.iter_mut().zip(products) {
                sums[lane] = sums[lane].wrapping_add(product);
            }
        };
        self.engine.vectorised(|| {
            let (updates, last_updates) = update.as_chunks::<LANES>();
            let (draws, last_draws) = draws.as_chunks::<LANES>();
            let (outs, last_outs) = out.as_chunks_mut::<LANES>();
            for ((update, draws), outs) in updates.iter().zip(draws).zip(outs) {
                for lane in 0..LANES {
                    round(lane, update[lane], &draws[lane], &mut outs[lane]);
                }
            }
            for (lane, ((v, draw), out)) in last_updates
                .iter()
                .zip(last_draws)
                .zip(last_outs)
                .enumerate()
            {
                round(lane, *v, draw, out);
            }
        });
        let [high, mixed, low] =
            squared.map(|lanes| lanes.into_iter().map(u128::from).sum::<u128>());
        (high << 32) + (mixed << 17) + low
    }

    /// Rounds each `w * multiplier` towards zero and then takes single units off the largest coordinate until the
    /// squared norm is at most `limit`. Needs no randomness and always succeeds.
    pub(crate) fn shrink(&self, multiplier: f64, limit: u128, out: &mut [i64]) {
        let mut squared = 0_u128;
        for (&v, out) in self.update.iter().zip(out.iter_mut()) {
            let signed = v.into() * self.down;
            let magnitude = (signed.abs() * multiplier) as i64;
            *out = with_sign(magnitude, signed);
            squared += square(magnitude);
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

/// Hands every coordinate to the part that it is summed in.
#[inline(always)]
fn in_lanes<T: Copy + Into<f64>>(update: &[T], mut sum: impl FnMut(usize, f64)) {
    let (chunks, rest) = update.as_chunks::<LANES>();
    for chunk in chunks {
        for (lane, v) in chunk.iter().enumerate() {
            sum(lane, (*v).into());
        }
    }
    for (lane, v) in rest.iter().enumerate() {
        sum(lane, (*v).into());
    }
}

/// What `work` makes of every piece, in order. Wiped: norms of parts of the update tell more than the update's norm does.
fn by_piece<T: Sync, R: Send + Zeroize>(
    engine: Engine,
    update: &[T],
    work: impl Fn(&[T]) -> R + Sync + Send,
) -> Zeroizing<Vec<R>> {
    let pieces = update.par_chunks(PIECE);
    Zeroizing::new(
        pieces
            .map(|piece| engine.vectorised(|| work(piece)))
            .collect(),
    )
}

/// In a fixed order.
fn total(parts: &[f64]) -> f64 {
    parts.iter().fold(0.0, |sum, part| sum + part)
}

/// Floor of a number in `0..2^51`, in operations that every vector unit has: adding 2^52 rounds to the nearest integer.
fn f64_floor(u: f64) -> f64 {
    let nearest = (u + TWO_POW_52) - TWO_POW_52;
    nearest - if nearest > u { 1.0 } else { 0.0 }
}

/// A whole number in `0..2^52` as an integer, in operations that every vector unit has.
fn integer(whole: f64) -> i64 {
    ((whole + TWO_POW_52).to_bits() & ((1 << 52) - 1)).cast_signed()
}

/// The magnitude with the sign of another number, without a branch.
fn with_sign(magnitude: i64, sign_of: f64) -> i64 {
    let negative = sign_of.to_bits().cast_signed() >> 63;
    (magnitude ^ negative).wrapping_sub(negative)
}

fn square(x: i64) -> u128 {
    let magnitude = u128::from(x.unsigned_abs());
    magnitude * magnitude
}
