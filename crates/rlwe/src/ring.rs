//! Products in `Z_l[X]/(X^N + 1)`.
//!
//! `l` is 5 modulo 8, so `F` has no root of unity to transform with. A product is computed over the integers instead:
//! modulo several word primes by number-theoretic transforms, then put together by the Chinese remainder theorem and
//! reduced modulo `l`. That is exact when the integer result is smaller than the product of the primes; the accumulator
//! adds up the bound of each product it takes in and refuses one that would not fit.
//!
//! An operand is transformed once and may be used any number of times; a sum of products pays for one inverse transform
//! and one reconstruction. Everything is constant time in the values of the operands.
//!
//! ```
//! use veilsum_rlwe::{Bound, Ring};
//!
//! let ring = Ring::new(8)?;
//! let basis = ring.basis(Bound::from(4), Bound::FULL, 2)?;
//! let small = ring.transform_small(basis, &[0, -1, 0, 0, 0, 0, 0, 0], 4)?;
//! let full = ring.transform_full(basis, &[[5, 0, 0, 0]])?;
//! let mut sum = ring.accumulator(basis)?;
//! sum.mul_add(&small, &full)?;
//! sum.mul_add(&small, &full)?;
//! let product = sum.finish();
//! assert_eq!(product[1], veilsum_rlwe::field::from_i128(-10));
//! # Ok::<(), veilsum_rlwe::RingError>(())
//! ```

use core::fmt;

use zeroize::{ZeroizeOnDrop, Zeroizing};

use crate::field::{self, Limbs, ORDER};
use veilsum_simd::{Engine, LaneCombine};

use crate::primes::{LOG2_ROOT_ORDER, invert_mod, low, mul_high, mul_mod};
use crate::transform::{Family, Transform};
use crate::wide::Wide;

/// The largest ring degree: every prime has roots of unity of order twice as large.
pub const MAX_DEGREE: usize = 1 << (LOG2_ROOT_ORDER - 1);

/// The largest bound of a small operand.
pub const MAX_SMALL_BOUND: u64 = 1 << 61;

/// Why a ring operation was refused. Positions are of coefficients; secret values never appear.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RingError {
    /// The degree is not a power of two between 1 and [`MAX_DEGREE`].
    #[error("ring degree {degree} is not a power of two between 1 and {MAX_DEGREE}")]
    Degree {
        /// The degree asked for.
        degree: usize,
    },
    /// An operand has more coefficients than the ring has.
    #[error("operand has {got} coefficients, the ring has {degree}")]
    TooLong {
        /// Coefficients given.
        got: usize,
        /// The ring's degree.
        degree: usize,
    },
    /// A full operand has a coefficient that is not reduced modulo `l`.
    #[error("coefficient {index} is not a canonical field element")]
    NotCanonical {
        /// The position of the first such coefficient.
        index: usize,
    },
    /// A small operand has a coefficient beyond its declared bound, or the bound is beyond [`MAX_SMALL_BOUND`].
    #[error("a small operand exceeds its bound {bound} (bounds go up to {MAX_SMALL_BOUND})")]
    BeyondBound {
        /// The declared bound.
        bound: u64,
    },
    /// The sum of products could exceed what the primes of the basis can tell apart. Ask [`Ring::basis`] for a basis
    /// with the right bounds and count.
    #[error("the sum of products may exceed the range of {primes} primes")]
    Overflow {
        /// The number of primes in the basis.
        primes: usize,
    },
    /// Operands belong to rings of different degree.
    #[error("operand of degree {got} in a ring of degree {degree}")]
    DegreeMismatch {
        /// The operand's degree.
        got: usize,
        /// The ring's degree.
        degree: usize,
    },
    /// Operands were transformed for different bases.
    #[error("operand transformed for {got} primes, the sum uses {expected}")]
    BasisMismatch {
        /// Primes of the operand.
        got: usize,
        /// Primes of the accumulator.
        expected: usize,
    },
    /// A table could not be built. This is a defect of the library, not of the input.
    #[error("internal error: no root of unity modulo prime {prime}")]
    Internal {
        /// The prime.
        prime: u64,
    },
}

/// An inclusive bound on the magnitude of an operand's coefficients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound(Limbs);

impl Bound {
    /// Canonical field elements: at most `l - 1`.
    pub const FULL: Self = Self([ORDER[0] - 1, ORDER[1], ORDER[2], ORDER[3]]);
}

impl From<u64> for Bound {
    fn from(bound: u64) -> Self {
        Self([bound, 0, 0, 0])
    }
}

/// The first so many NTT primes of a ring; decides how large a sum of products may be. From [`Ring::basis`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Basis {
    primes: usize,
    family: Family,
}

impl Basis {
    /// The number of primes, 1 to 10 of 62 bits or 1 to 12 of 50. Time and memory of an operand are proportional to it.
    #[must_use]
    pub fn primes(self) -> usize {
        self.primes
    }
}

/// Constants of the reconstruction from the first `k` primes `p_0 .. p_(k-1)`, `M` their product.
///
/// With `y_i = x (M/p_i)^-1 mod p_i` in `[0, p_i)`, `x = sum y_i M/p_i - q M` for the integer `q` closest to
/// `sum y_i/p_i`, whenever `|x| < M/4`.
struct Reconstruction {
    modulus: Wide,
    /// `radix / N (M/p_i)^-1 mod p_i`: the inverse transform's factor, the Montgomery radix and the CRT weight at once.
    scales: Vec<u64>,
    /// Present where lanes do what the rest of this does elsewhere.
    lanes: Option<LaneCombine>,
    /// `floor(2^124 / p_i)`; of 62-bit primes.
    quotient_weights: Vec<u64>,
    /// `M/p_i mod l`.
    cofactors: Vec<Limbs>,
    /// `-M mod l`.
    minus_modulus: Limbs,
}

impl Reconstruction {
    fn new(engine: Engine, family: Family, plans: &[Transform], degree: u64) -> Option<Self> {
        let mut modulus = Wide::one();
        let mut scales = Vec::with_capacity(plans.len());
        let mut quotient_weights = Vec::with_capacity(plans.len());
        let mut cofactors = Vec::with_capacity(plans.len());
        let mut product = [1, 0, 0, 0];
        for plan in plans {
            let p = plan.p();
            modulus = modulus.mul_word(p)?;
            product = mul_word(&product, p);
            let others = || plans.iter().map(Transform::p).filter(|&other| other != p);
            let cofactor_mod_p = others().fold(1, |acc, other| mul_mod(acc, other % p, p));
            let divisor = mul_mod(cofactor_mod_p, degree % p, p);
            scales.push(mul_mod(plan.radix(), invert_mod(divisor, p), p));
            if family == Family::Words {
                quotient_weights.push(low((1u128 << 124) / u128::from(p)));
            }
            cofactors.push(others().fold([1, 0, 0, 0], |acc, other| mul_word(&acc, other)));
        }
        let minus_modulus = field::sub(&[0; 4], &product);
        let lanes = match family {
            Family::Words => None,
            Family::Lanes => {
                let primes: Vec<u64> = plans.iter().map(Transform::p).collect();
                Some(LaneCombine::new(
                    engine,
                    &primes,
                    &cofactors,
                    minus_modulus,
                )?)
            }
        };
        Some(Self {
            modulus,
            scales,
            lanes,
            quotient_weights,
            cofactors,
            minus_modulus,
        })
    }

    /// `x mod l` for each coefficient, from the `y_i`, prime by prime in `rows`.
    fn combine(&self, rows: &[u64], degree: usize, out: &mut [Limbs]) {
        if let Some(lanes) = &self.lanes {
            return lanes.combine(rows, degree, out);
        }
        // Loops of known length over the primes are unrolled, which is worth a third of the time.
        match self.scales.len() {
            5 => self.combine_primes::<5>(rows, degree, out),
            6 => self.combine_primes::<6>(rows, degree, out),
            9 => self.combine_primes::<9>(rows, degree, out),
            _ => {
                for (j, coefficient) in out.iter_mut().enumerate() {
                    let y = rows.iter().skip(j).step_by(degree);
                    *coefficient = combine_one(
                        y.zip(&self.quotient_weights).zip(&self.cofactors),
                        &self.minus_modulus,
                    );
                }
            }
        }
    }

    fn combine_primes<const K: usize>(&self, rows: &[u64], degree: usize, out: &mut [Limbs]) {
        let (Some(weights), Some(cofactors)) = (
            self.quotient_weights.first_chunk::<K>(),
            self.cofactors.first_chunk::<K>(),
        ) else {
            return;
        };
        let rows: [&[u64]; K] = core::array::from_fn(|i| &rows[i * degree..][..out.len()]);
        for (j, coefficient) in out.iter_mut().enumerate() {
            let y: [u64; K] = core::array::from_fn(|i| rows[i][j]);
            *coefficient = combine_one(y.iter().zip(weights).zip(cofactors), &self.minus_modulus);
        }
    }
}

#[inline(always)]
fn combine_one<'a>(
    terms: impl Iterator<Item = ((&'a u64, &'a u64), &'a Limbs)>,
    minus_modulus: &Limbs,
) -> Limbs {
    let mut sum = [0u64; 5];
    let mut fixed_point = 0u64;
    for ((&y, &weight), cofactor) in terms {
        mul_add(&mut sum, y, cofactor);
        // floor(y weight / 2^64) is below 2^60 y/p by less than 1.25: y times the rounding of the weight is below
        // 2^62, and the floor takes less than one.
        fixed_point = fixed_point.wrapping_add(mul_high(y, weight));
    }
    // Ten terms below 2^60 fit a word. They are off by less than 12.5 in 2^60, and x/M is within 1/4 of zero, so
    // rounding to the nearest integer gives q exactly.
    let quotient = fixed_point.wrapping_add(1 << 59) >> 60;
    mul_add(&mut sum, quotient, minus_modulus);
    // Ten terms below 2^62 l, and one below 16 l, stay below 2^318.
    field::reduce_320(&sum)
}

#[inline(always)]
fn mul_add(sum: &mut [u64; 5], word: u64, factor: &Limbs) {
    let mut carry = 0;
    for (slot, &limb) in sum.iter_mut().zip(factor) {
        (*slot, carry) = word.carrying_mul_add(limb, *slot, carry);
    }
    sum[4] = sum[4].wrapping_add(carry);
}

fn mul_word(a: &Limbs, word: u64) -> Limbs {
    let mut wide = [0; 5];
    mul_add(&mut wide, word, a);
    field::reduce_320(&wide)
}

/// `Z_l[X]/(X^N + 1)` with the tables for its products. Build it once; it is shared freely between threads.
pub struct Ring {
    degree: usize,
    family: Family,
    plans: Vec<Transform>,
    /// Entry `k - 1` is for the first `k` primes.
    reconstructions: Vec<Reconstruction>,
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring")
            .field("degree", &self.degree)
            .finish_non_exhaustive()
    }
}

impl Ring {
    /// Builds the tables for degree `degree`, for portable arithmetic.
    ///
    /// # Errors
    /// [`RingError::Degree`] unless `degree` is a power of two, at most [`MAX_DEGREE`].
    pub fn new(degree: usize) -> Result<Self, RingError> {
        Self::with_engine(degree, Engine::portable())
    }

    /// As [`Ring::new`], for the arithmetic of an engine: about 32 bytes times 10 or 12 primes times the degree. Products do
    /// not depend on it; operands of one ring are for that ring.
    ///
    /// # Errors
    /// As [`Ring::new`].
    pub fn with_engine(degree: usize, engine: Engine) -> Result<Self, RingError> {
        let wrong = RingError::Degree { degree };
        if !degree.is_power_of_two() || degree > MAX_DEGREE {
            return Err(wrong);
        }
        let log_degree = degree.trailing_zeros();
        let family = Family::of(engine, degree);
        let plans = (family.primes().iter())
            .map(|&prime| {
                Transform::new(engine, family, prime, log_degree)
                    .ok_or(RingError::Internal { prime })
            })
            .collect::<Result<Vec<_>, _>>()?;
        let degree_word = u64::try_from(degree).map_err(|_| wrong)?;
        let reconstructions = (1..=plans.len())
            .map(|k| {
                Reconstruction::new(engine, family, &plans[..k], degree_word)
                    .ok_or(RingError::Overflow { primes: k })
            })
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            degree,
            family,
            plans,
            reconstructions,
        })
    }

    /// `N`.
    #[must_use]
    pub fn degree(&self) -> usize {
        self.degree
    }

    /// The smallest basis that can hold a sum of `count` products of operands with these bounds:
    /// `4 N left right count <= prod p_i`.
    ///
    /// # Errors
    /// [`RingError::Overflow`] when no basis can.
    pub fn basis(&self, left: Bound, right: Bound, count: u32) -> Result<Basis, RingError> {
        let none = RingError::Overflow {
            primes: self.plans.len(),
        };
        let bound = product_bound(self.degree, left, right)
            .and_then(|bound| bound.mul_word(u64::from(count)))
            .ok_or_else(|| none.clone())?;
        let enough = |tables: &Reconstruction| holds(&tables.modulus, &bound);
        let index = self.reconstructions.iter().position(enough).ok_or(none)?;
        Ok(Basis {
            primes: index + 1,
            family: self.family,
        })
    }

    /// Transforms an operand of canonical field elements. Fewer than `N` coefficients mean zeros after them.
    ///
    /// # Errors
    /// [`RingError::TooLong`], [`RingError::NotCanonical`].
    pub fn transform_full(
        &self,
        basis: Basis,
        coefficients: &[Limbs],
    ) -> Result<Transformed, RingError> {
        check_full(coefficients, self.degree)?;
        self.transform(basis, Bound::FULL, |plan, residues| {
            plan.residues(coefficients, residues);
        })
    }

    /// Transforms an operand of signed integers of magnitude at most `bound`. Fewer than `N` mean zeros after them.
    ///
    /// # Errors
    /// [`RingError::TooLong`], [`RingError::BeyondBound`] (which tells one bit about the values: that one is too large).
    pub fn transform_small(
        &self,
        basis: Basis,
        values: &[i64],
        bound: u64,
    ) -> Result<Transformed, RingError> {
        if values.len() > self.degree {
            return Err(RingError::TooLong {
                got: values.len(),
                degree: self.degree,
            });
        }
        let beyond = values.iter().fold(false, |beyond, value| {
            beyond | (value.unsigned_abs() > bound)
        });
        if beyond || bound > MAX_SMALL_BOUND {
            return Err(RingError::BeyondBound { bound });
        }
        self.transform(basis, Bound::from(bound), |plan, residues| {
            plan.small_residues(values, bound, residues);
        })
    }

    fn transform(
        &self,
        basis: Basis,
        bound: Bound,
        fill: impl Fn(&Transform, &mut [u64]),
    ) -> Result<Transformed, RingError> {
        let plans = self.plans.get(..basis.primes).ok_or(RingError::Overflow {
            primes: basis.primes,
        })?;
        let mut residues = vec![0; plans.len() * self.degree];
        for (plan, row) in plans.iter().zip(residues.chunks_exact_mut(self.degree)) {
            fill(plan, row);
            plan.forward(row);
        }
        Ok(Transformed {
            degree: self.degree,
            basis,
            bound,
            residues,
        })
    }

    /// An empty sum of products.
    ///
    /// # Errors
    /// [`RingError::Overflow`] for a basis that this ring does not have; not reachable with one from [`Self::basis`].
    pub fn accumulator(&self, basis: Basis) -> Result<Accumulator<'_>, RingError> {
        match (
            self.plans.get(..basis.primes),
            self.reconstructions.get(basis.primes.wrapping_sub(1)),
        ) {
            (Some(plans), Some(tables)) => Ok(Accumulator {
                degree: self.degree,
                family: self.family,
                plans,
                tables,
                bound: Wide::ZERO,
                residues: Zeroizing::new(vec![0; plans.len() * self.degree]),
            }),
            _ => Err(RingError::Overflow {
                primes: basis.primes,
            }),
        }
    }

    /// One product, `N` canonical coefficients.
    ///
    /// # Errors
    /// As [`Accumulator::mul_add`].
    pub fn mul(
        &self,
        left: &Transformed,
        right: &Transformed,
    ) -> Result<Zeroizing<Vec<Limbs>>, RingError> {
        let mut sum = self.accumulator(left.basis)?;
        sum.mul_add(left, right)?;
        Ok(sum.finish())
    }
}

fn product_bound(degree: usize, left: Bound, right: Bound) -> Option<Wide> {
    Wide::from_limbs(&left.0)
        .mul_limbs(&right.0)?
        .mul_word(u64::try_from(degree).ok()?)
}

fn check_full(coefficients: &[Limbs], degree: usize) -> Result<(), RingError> {
    if coefficients.len() > degree {
        return Err(RingError::TooLong {
            got: coefficients.len(),
            degree,
        });
    }
    match coefficients.iter().position(|c| !field::is_canonical(c)) {
        Some(index) => Err(RingError::NotCanonical { index }),
        None => Ok(()),
    }
}

fn holds(modulus: &Wide, bound: &Wide) -> bool {
    bound.mul_word(4).is_some_and(|room| room.at_most(modulus))
}

/// An operand in the transform domain. Wiped on drop, because it may be a secret; `Debug` does not show it.
#[derive(Clone, ZeroizeOnDrop)]
pub struct Transformed {
    #[zeroize(skip)]
    degree: usize,
    #[zeroize(skip)]
    basis: Basis,
    #[zeroize(skip)]
    bound: Bound,
    /// Prime by prime, each below `2p`, in bit-reversed order.
    residues: Vec<u64>,
}

impl Transformed {
    /// `a(X^-1)` for this `a`: the operand whose product with `w` is `A^T w`, where `A` is the negacyclic matrix of `a`.
    /// So `<w, a s> = <a.adjoint() w, s>` for all `s`.
    ///
    /// Where only the first `j` coefficients of `a s` exist, give `w` with `j` coefficients: the rest count as zeros.
    #[must_use]
    pub fn adjoint(&self) -> Self {
        let mut residues = self.residues.clone();
        // Position i holds the value at psi^(2 rev(i) + 1); the value at its inverse is at N - 1 - i.
        for row in residues.chunks_exact_mut(self.degree) {
            row.reverse();
        }
        Self {
            degree: self.degree,
            basis: self.basis,
            bound: self.bound,
            residues,
        }
    }

    /// The basis it was transformed for.
    #[must_use]
    pub fn basis(&self) -> Basis {
        self.basis
    }
}

impl fmt::Debug for Transformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transformed")
            .field("degree", &self.degree)
            .field("basis", &self.basis)
            .finish_non_exhaustive()
    }
}

/// A sum of products in the transform domain. From [`Ring::accumulator`].
pub struct Accumulator<'r> {
    degree: usize,
    family: Family,
    plans: &'r [Transform],
    tables: &'r Reconstruction,
    bound: Wide,
    residues: Zeroizing<Vec<u64>>,
}

const _: fn(&Accumulator<'_>) = |s| crate::secret::wiped(&s.residues);

impl Accumulator<'_> {
    /// Adds `left * right`.
    ///
    /// # Errors
    /// [`RingError::DegreeMismatch`], [`RingError::BasisMismatch`]; [`RingError::Overflow`] when the sum, this product
    /// included, might not be reconstructed exactly. The sum is then as before.
    pub fn mul_add(&mut self, left: &Transformed, right: &Transformed) -> Result<(), RingError> {
        self.check_operand(left)?;
        self.check_operand(right)?;
        self.reserve(left.bound, right.bound)?;
        let rows = self.residues.chunks_exact_mut(self.degree);
        let operands = left
            .residues
            .chunks_exact(self.degree)
            .zip(right.residues.chunks_exact(self.degree));
        for ((row, (left, right)), plan) in rows.zip(operands).zip(self.plans) {
            plan.mul_add(row, left, right);
        }
        Ok(())
    }

    /// Adds `left * right`, where `right` is given by its coefficients (fewer than `N`: zeros after them) and used only
    /// here. Faster than [`Ring::transform_full`] and [`Self::mul_add`], because one prime's transform is held at a time.
    ///
    /// # Errors
    /// As [`Ring::transform_full`] and [`Self::mul_add`].
    pub fn mul_add_full(&mut self, left: &Transformed, right: &[Limbs]) -> Result<(), RingError> {
        self.mul_add_once(left, right, false)
    }

    /// Adds `A^T w`, where `A` is the negacyclic matrix of the element with coefficients `a`: as
    /// [`Self::mul_add`] with [`Transformed::adjoint`] of `a`, for an `a` that is used only here.
    ///
    /// # Errors
    /// As [`Ring::transform_full`] and [`Self::mul_add`].
    pub fn mul_add_transpose(&mut self, w: &Transformed, a: &[Limbs]) -> Result<(), RingError> {
        self.mul_add_once(w, a, true)
    }

    fn mul_add_once(
        &mut self,
        left: &Transformed,
        right: &[Limbs],
        adjoint: bool,
    ) -> Result<(), RingError> {
        self.check_operand(left)?;
        check_full(right, self.degree)?;
        self.reserve(left.bound, Bound::FULL)?;
        let mut scratch = Zeroizing::new(vec![0; self.degree]);
        let rows = self.residues.chunks_exact_mut(self.degree);
        for ((row, left), plan) in rows
            .zip(left.residues.chunks_exact(self.degree))
            .zip(self.plans)
        {
            plan.residues(right, &mut scratch);
            plan.forward(&mut scratch);
            if adjoint {
                scratch.reverse();
            }
            plan.mul_add(row, left, &scratch);
        }
        Ok(())
    }

    fn check_operand(&self, operand: &Transformed) -> Result<(), RingError> {
        if operand.degree != self.degree {
            return Err(RingError::DegreeMismatch {
                got: operand.degree,
                degree: self.degree,
            });
        }
        if operand.basis.primes != self.plans.len() || operand.basis.family != self.family {
            return Err(RingError::BasisMismatch {
                got: operand.basis.primes,
                expected: self.plans.len(),
            });
        }
        Ok(())
    }

    /// Makes room for one more product, or refuses.
    fn reserve(&mut self, left: Bound, right: Bound) -> Result<(), RingError> {
        let bound = product_bound(self.degree, left, right)
            .and_then(|bound| bound.add(&self.bound))
            .filter(|bound| holds(&self.tables.modulus, bound));
        self.bound = bound.ok_or(RingError::Overflow {
            primes: self.plans.len(),
        })?;
        Ok(())
    }

    /// The sum, as `N` canonical field elements.
    #[must_use]
    pub fn finish(mut self) -> Zeroizing<Vec<Limbs>> {
        let rows = self.residues.chunks_exact_mut(self.degree);
        for ((row, plan), &scale) in rows.zip(self.plans).zip(&self.tables.scales) {
            plan.inverse(row, scale);
        }
        let mut result = Zeroizing::new(vec![[0; 4]; self.degree]);
        self.tables
            .combine(&self.residues, self.degree, &mut result);
        result
    }
}

impl fmt::Debug for Accumulator<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Accumulator")
            .field("degree", &self.degree)
            .finish_non_exhaustive()
    }
}
