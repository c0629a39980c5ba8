//! One secret scalar, many fixed public points: signed combs.
//!
//! The scalar is made odd (by adding the group order if need be) and written with digits +-1 only, so no digit is zero
//! (Hedabou, Pinel, Beneteau 2005). With t teeth, v tables and s = ceil(254 / (t v)) steps, tooth i of table b at step j
//! reads bit i v s + b s + j: s - 1 doublings and s v additions a point, from v 2^(t-1) entries.

use core::hint::black_box;

use zeroize::{Zeroize, Zeroizing};

use crate::SimdError;
use crate::backend::{Engine, Kind};
use crate::edwards::Point;
use crate::edwards64::{WordNiels, WordPoint};
use crate::scalar::{ORDER, check_secret_scalars, words};
use crate::select::select;

/// Bits that hold every odd representative below 2 l.
const COMB_BITS: usize = 254;

/// Bytes that an entry is counted with: those of the vector tables.
const ENTRY_BYTES: usize = 128;

/// The shape of a comb.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) teeth: usize,
    pub(crate) tables: usize,
    pub(crate) steps: usize,
}

impl Shape {
    fn new(teeth: usize, tables: usize) -> Self {
        Self {
            teeth,
            tables,
            steps: COMB_BITS.div_ceil(teeth * tables),
        }
    }

    /// Table entries a point.
    pub(crate) fn entries(&self) -> usize {
        self.tables << (self.teeth - 1)
    }

    /// Cost a point, in hundredths of a mixed addition (measured ratios, the same for both backends within a fifth).
    /// The tables of eight points no longer fit a first-level cache beyond 32 entries.
    fn cost(&self) -> usize {
        let entry = if self.entries() <= 32 { 2 } else { 5 };
        let lookup = entry << (self.teeth - 1);
        self.steps * self.tables * (100 + lookup) + (self.steps - 1) * 90
    }

    /// The cheapest shape with at most `entries` entries a point.
    fn best(entries: usize) -> Option<Self> {
        (1..=7)
            .flat_map(|t| (1..=8).map(move |v| Self::new(t, v)))
            .filter(|s| s.entries() <= entries)
            .min_by_key(|s| (s.cost(), s.entries()))
    }
}

/// One look-up: the entry (its bits above the sign), and all ones for a negative digit.
#[derive(Clone, Copy, Default)]
pub(crate) struct CombDigit {
    pub(crate) index: u64,
    pub(crate) negative: u64,
}

impl Zeroize for CombDigit {
    fn zeroize(&mut self) {
        self.index.zeroize();
        self.negative.zeroize();
    }
}

/// The digits of a scalar in the order of use: steps from the top, tables within a step.
fn comb_digits(scalar: &[u8; 32], shape: &Shape) -> Zeroizing<Vec<CombDigit>> {
    let mut w = words(scalar);
    // Add l if even; the sum is below 2^254. Without the barrier this compiles to a branch on the parity.
    let even = black_box(w[0] & 1).wrapping_sub(1);
    let mut carry = 0u64;
    for (w, l) in w.iter_mut().zip(ORDER) {
        let sum = u128::from(*w)
            .wrapping_add(u128::from(l & even))
            .wrapping_add(u128::from(carry));
        *w = sum as u64;
        carry = (sum >> 64) as u64;
    }
    // With L = t v s bits, r = sum (2 b_i - 1) 2^i exactly when the b_i are the bits of (r + 2^L - 1) / 2, that is of
    // (r >> 1) + 2^(L-1) for odd r.
    let length = shape.teeth * shape.tables * shape.steps;
    let mut bits = [0u64; 5];
    for i in 0..4 {
        let above = if i < 3 { w[i + 1] << 63 } else { 0 };
        bits[i] = (w[i] >> 1) | above;
    }
    // (r >> 1) < 2^253 <= 2^(L-1), so the sum has no carry.
    bits[(length - 1) / 64] |= 1 << ((length - 1) % 64);
    let bit = |at: usize| (bits[at / 64] >> (at % 64)) & 1;

    let mut out = Zeroizing::new(Vec::with_capacity(shape.steps * shape.tables));
    let low = (1u64 << (shape.teeth - 1)) - 1;
    for j in (0..shape.steps).rev() {
        for b in 0..shape.tables {
            let raw = (0..shape.teeth).fold(0u64, |raw, i| {
                raw | (bit(i * shape.tables * shape.steps + b * shape.steps + j) << i)
            });
            let negative = black_box(raw >> (shape.teeth - 1)).wrapping_sub(1);
            out.push(CombDigit {
                index: (raw ^ negative) & low,
                negative,
            });
        }
    }
    w.zeroize();
    bits.zeroize();
    out
}

enum Combs {
    Portable(Vec<WordNiels>),
    #[cfg(target_arch = "x86_64")]
    Ifma(crate::ifma::Token, crate::ifma::CombTable),
}

/// Combs of fixed public points P_l, for constant-time r P_l with one secret scalar r.
pub struct SameScalarTables {
    combs: Combs,
    shape: Shape,
    points: usize,
    engine: Engine,
}

impl core::fmt::Debug for SameScalarTables {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("SameScalarTables")
            .field("points", &self.points)
            .field("shape", &self.shape)
            .field("backend", &self.engine.backend())
            .finish_non_exhaustive()
    }
}

impl SameScalarTables {
    /// Builds the combs that are fastest among those of at most `max_bytes` of tables.
    ///
    /// An entry takes 128 bytes; 8 entries a point (1 KiB) are the least that is fast; 32 entries
    /// are a third faster, and more are never taken, since they no longer fit the first-level cache.
    ///
    /// # Errors
    /// [`SimdError::BudgetTooSmall`] when not even one entry a point fits.
    pub fn new(engine: Engine, points: &[Point], max_bytes: usize) -> Result<Self, SimdError> {
        let padded = points.len().next_multiple_of(8).max(8);
        let needed = padded * ENTRY_BYTES;
        let shape = Shape::best(max_bytes / needed).ok_or(SimdError::BudgetTooSmall {
            budget: max_bytes,
            needed,
        })?;
        let combs = match engine.kind {
            Kind::Portable => Combs::Portable(build_portable(points, &shape)),
            #[cfg(target_arch = "x86_64")]
            Kind::Ifma(token) => {
                Combs::Ifma(token, crate::ifma::CombTable::new(token, points, &shape))
            }
        };
        Ok(Self {
            combs,
            shape,
            points: points.len(),
            engine,
        })
    }

    /// Number of points.
    #[must_use]
    pub fn len(&self) -> usize {
        self.points
    }

    /// Whether there are no points.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.points == 0
    }

    /// Bytes of memory that the tables take.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        match &self.combs {
            Combs::Portable(t) => core::mem::size_of_val(t.as_slice()),
            #[cfg(target_arch = "x86_64")]
            Combs::Ifma(_, t) => t.memory_bytes(),
        }
    }

    /// r P_l for every point, in the order of construction, in constant time. `scalar` is canonical little-endian.
    ///
    /// # Errors
    /// [`SimdError::SecretScalarNotCanonical`].
    pub fn mul(&self, scalar: &[u8; 32]) -> Result<Vec<Point>, SimdError> {
        self.mul_range(scalar, 0..self.points)
    }

    /// [`SameScalarTables::mul`] for a range of the points, so that callers can spread the work over threads. Ranges
    /// that start at a multiple of 8 waste nothing. The part of the range beyond the last point is ignored.
    ///
    /// # Errors
    /// [`SimdError::SecretScalarNotCanonical`].
    pub fn mul_range(
        &self,
        scalar: &[u8; 32],
        range: core::ops::Range<usize>,
    ) -> Result<Vec<Point>, SimdError> {
        check_secret_scalars([scalar])?;
        let range = range.start.min(self.points)..range.end.min(self.points);
        if range.is_empty() {
            return Ok(Vec::new());
        }
        let digits = comb_digits(scalar, &self.shape);
        Ok(match &self.combs {
            Combs::Portable(t) => range
                .map(|l| {
                    let entries = self.shape.entries();
                    mul_portable(&t[l * entries..(l + 1) * entries], &self.shape, &digits)
                })
                .collect(),
            #[cfg(target_arch = "x86_64")]
            Combs::Ifma(token, t) => t.mul(*token, &self.shape, &digits, range),
        })
    }
}

fn mul_portable(table: &[WordNiels], shape: &Shape, digits: &[CombDigit]) -> Point {
    let size = 1 << (shape.teeth - 1);
    let mut acc = WordPoint::IDENTITY;
    for (j, step) in digits.chunks_exact(shape.tables).enumerate() {
        if j > 0 {
            acc = acc.double();
        }
        for (sub, digit) in table.chunks_exact(size).zip(step) {
            let entry = select(sub, digit.index as u32, WordNiels::NONE);
            acc = acc.add_affine(&entry.neg_if_mask(digit.negative));
        }
    }
    let out = Point::from(&acc);
    acc.zeroize();
    out
}

/// Entries of one point, projective: tables in order, entry e = top tooth plus or minus the others by the bits of e.
fn comb_entries(point: &Point, shape: &Shape) -> Vec<Point> {
    let mut out = Vec::with_capacity(shape.entries());
    // 2^(k s) P for every k: tooth i of table b stands at bit (i v + b) s, so one chain of doublings meets them all.
    let mut p = WordPoint::from(point);
    let chain: Vec<Point> = (0..shape.teeth * shape.tables)
        .map(|k| {
            if k > 0 {
                p = p.double_times(shape.steps as u32);
            }
            Point::from(&p)
        })
        .collect();
    for b in 0..shape.tables {
        let teeth: Vec<Point> = chain
            .iter()
            .skip(b)
            .step_by(shape.tables)
            .copied()
            .collect();
        let top = teeth[shape.teeth - 1];
        let start = out.len();
        out.push(teeth[..shape.teeth - 1].iter().fold(top, |acc, t| acc - *t));
        for (i, tooth) in teeth[..shape.teeth - 1].iter().enumerate() {
            let twice = tooth.double().cached();
            for e in 0..1 << i {
                let q: Point = out[start + e];
                out.push(q.add_cached(&twice));
            }
        }
    }
    out
}

fn build_portable(points: &[Point], shape: &Shape) -> Vec<WordNiels> {
    let mut out = Vec::with_capacity(points.len() * shape.entries());
    // One inversion for several points.
    for points in points.chunks(8) {
        let entries: Vec<Point> = points.iter().flat_map(|p| comb_entries(p, shape)).collect();
        out.extend(WordNiels::batch(&entries));
    }
    out
}
