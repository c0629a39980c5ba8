//! One prime's transform, in either of two forms: 62-bit primes in 64-bit words anywhere, or 50-bit primes in eight lanes
//! where the processor has a 52-bit multiplier. Products are exact integers either way, so they do not depend on it.

use veilsum_simd::{Engine, LaneNtt};

use crate::field::{self, Limbs};
use crate::ntt::Plan;
use crate::primes::{LANE_PRIMES, PRIMES, primitive_root};

/// The primes of a ring and how it transforms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    Words,
    Lanes,
}

impl Family {
    /// The fastest for this engine and degree.
    pub(crate) fn of(engine: Engine, degree: usize) -> Self {
        let prime = LANE_PRIMES[0];
        let lanes = primitive_root(prime, degree.trailing_zeros() + 1)
            .and_then(|root| LaneNtt::new(engine, prime, root, degree));
        if lanes.is_some() {
            Self::Lanes
        } else {
            Self::Words
        }
    }

    pub(crate) fn primes(self) -> &'static [u64] {
        match self {
            Self::Words => &PRIMES,
            Self::Lanes => &LANE_PRIMES,
        }
    }
}

/// Tables for one prime and one degree. Transformed values are below twice the prime.
pub(crate) enum Transform {
    Words(Plan),
    Lanes { p: u64, ntt: LaneNtt },
}

impl Transform {
    /// `None` when the prime has no root of the order, or the engine no lanes.
    pub(crate) fn new(engine: Engine, family: Family, p: u64, log_degree: u32) -> Option<Self> {
        match family {
            Family::Words => Plan::new(p, log_degree).map(Self::Words),
            Family::Lanes => {
                let root = primitive_root(p, log_degree + 1)?;
                let ntt = LaneNtt::new(engine, p, root, 1 << log_degree)?;
                Some(Self::Lanes { p, ntt })
            }
        }
    }

    pub(crate) fn p(&self) -> u64 {
        match self {
            Self::Words(plan) => plan.p,
            Self::Lanes { p, .. } => *p,
        }
    }

    /// What [`Self::mul_add`] divides by, modulo the prime.
    pub(crate) fn radix(&self) -> u64 {
        match self {
            Self::Words(plan) => plan.radix(),
            Self::Lanes { ntt, .. } => ntt.radix(),
        }
    }

    /// Residues of canonical field elements, zeros after them; input for [`Self::forward`].
    pub(crate) fn residues(&self, coefficients: &[Limbs], out: &mut [u64]) {
        match self {
            Self::Words(plan) => {
                let (given, rest) = out.split_at_mut(coefficients.len());
                for (residue, coefficient) in given.iter_mut().zip(coefficients) {
                    *residue = plan.residue(coefficient);
                }
                rest.fill(0);
            }
            Self::Lanes { ntt, .. } => ntt.residues(coefficients, out),
        }
    }

    /// As [`Self::residues`] for integers of magnitude at most `bound`, which is at most 2^61.
    pub(crate) fn small_residues(&self, values: &[i64], bound: u64, out: &mut [u64]) {
        if bound < self.p() {
            out.fill(0);
            for (residue, value) in out.iter_mut().zip(values) {
                let negative = field::mask_of(*value < 0);
                *residue = value.cast_unsigned().wrapping_add(self.p() & negative);
            }
        } else {
            let lifted: Vec<Limbs> = (values.iter())
                .map(|v| field::from_i128(i128::from(*v)))
                .collect();
            // Positive and negative integers as field elements differ by l, which is not zero modulo the prime.
            self.residues(&lifted, out);
            let order = field::ORDER;
            let mut multiple = [0];
            self.residues(&[order], &mut multiple);
            let order = multiple[0] % self.p();
            for (residue, value) in out.iter_mut().zip(values) {
                let negative = field::mask_of(*value < 0);
                let shifted = residue.wrapping_add(self.p().wrapping_sub(order) & negative);
                *residue = shifted.min(shifted.wrapping_sub(4 * self.p()));
            }
        }
    }

    /// In place, from below `4p` to below `2p`, in the family's own order: position `N - 1 - i` is the inverse of `i`.
    pub(crate) fn forward(&self, data: &mut [u64]) {
        match self {
            Self::Words(plan) => {
                plan.forward(data);
                for value in data {
                    *value = plan.tighten(*value);
                }
            }
            Self::Lanes { ntt, .. } => ntt.forward(data),
        }
    }

    /// In place, from below `2p` to canonical, with the factor `scale` where `1/N` belongs.
    pub(crate) fn inverse(&self, data: &mut [u64], scale: u64) {
        match self {
            Self::Words(plan) => plan.inverse(data, scale),
            Self::Lanes { ntt, .. } => ntt.inverse(data, scale),
        }
    }

    /// `sum += a b / radix`, all below `2p`.
    pub(crate) fn mul_add(&self, sum: &mut [u64], a: &[u64], b: &[u64]) {
        match self {
            Self::Words(plan) => {
                for ((sum, &a), &b) in sum.iter_mut().zip(a).zip(b) {
                    *sum = plan.add_lazy(*sum, plan.mul_montgomery(a, b));
                }
            }
            Self::Lanes { ntt, .. } => ntt.mul_add(sum, a, b),
        }
    }
}
