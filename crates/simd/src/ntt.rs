//! Negacyclic number-theoretic transforms modulo primes of 50 bits, eight lanes at a time: for an engine that has the
//! 52-bit multiplier. There is no portable form here; whoever uses this has another way to the same products.

use crate::backend::{Engine, Kind};
use crate::field::Fe;

/// Bits of the primes: four times a prime is below the multiplier's 2^52.
pub const NTT_PRIME_BITS: u32 = 50;

/// The shortest transform.
pub const NTT_MIN_DEGREE: usize = 64;

/// Tables for one prime and one degree. Transforms are constant time in the data.
///
/// A transformed vector has its values in an order of its own, in which position N - 1 - i is the value at the inverse of
/// position i's point. Values are kept below twice the prime.
#[derive(Debug)]
pub struct LaneNtt {
    #[cfg(target_arch = "x86_64")]
    token: crate::ifma::Token,
    #[cfg(target_arch = "x86_64")]
    tables: crate::ifma::ntt::Tables,
    #[cfg(not(target_arch = "x86_64"))]
    never: core::convert::Infallible,
}

impl LaneNtt {
    /// Tables for the prime `p` below 2^50 and `root`, a primitive 2N-th root of unity modulo it; `degree` is N, a power of
    /// two. `None` when the engine has no such multiplier, or the arguments do not fit.
    #[must_use]
    pub fn new(engine: Engine, p: u64, root: u64, degree: usize) -> Option<Self> {
        let fits = degree.is_power_of_two()
            && degree >= NTT_MIN_DEGREE
            && p >> (NTT_PRIME_BITS - 1) == 1
            && pow_mod(root, degree as u64, p) == p - 1;
        match engine.kind {
            #[cfg(target_arch = "x86_64")]
            Kind::Ifma(token) if fits => Some(Self {
                token,
                tables: crate::ifma::ntt::Tables::new(p, root, degree),
            }),
            _ => None,
        }
    }
}

#[cfg(target_arch = "x86_64")]
impl LaneNtt {
    /// The factor that [`LaneNtt::mul_add`] divides by: 2^52 modulo the prime.
    #[must_use]
    pub fn radix(&self) -> u64 {
        (1 << 52) % self.tables.p
    }

    /// Residues of integers below 2^253, below four times the prime: input for [`LaneNtt::forward`]. The rest of `out` is
    /// set to zero.
    pub fn residues(&self, integers: &[[u64; 4]], out: &mut [u64]) {
        let (given, rest) = out.split_at_mut(integers.len().min(out.len()));
        crate::ifma::ntt::residues(self.token, &self.tables, integers, given);
        rest.fill(0);
    }

    /// Transforms N values below four times the prime in place. Does nothing for another number of values.
    pub fn forward(&self, data: &mut [u64]) {
        if data.len() == self.tables.degree {
            crate::ifma::ntt::forward(self.token, &self.tables, data);
        }
    }

    /// Transforms back in place, with the factor `scale` where 1/N belongs: N values below twice the prime, canonical
    /// afterwards. Does nothing for another number of values.
    pub fn inverse(&self, data: &mut [u64], scale: u64) {
        if data.len() == self.tables.degree {
            crate::ifma::ntt::inverse(self.token, &self.tables, data, scale);
        }
    }

    /// sum_i += a_i b_i 2^-52, all below twice the prime, over the shortest length.
    pub fn mul_add(&self, sum: &mut [u64], a: &[u64], b: &[u64]) {
        crate::ifma::ntt::mul_add(self.token, &self.tables, sum, a, b);
    }
}

#[cfg(not(target_arch = "x86_64"))]
#[expect(
    missing_docs,
    reason = "the type has no value on this machine; documented above"
)]
impl LaneNtt {
    #[must_use]
    pub fn radix(&self) -> u64 {
        match self.never {}
    }
    pub fn residues(&self, _: &[[u64; 4]], _: &mut [u64]) {
        match self.never {}
    }
    pub fn forward(&self, _: &mut [u64]) {
        match self.never {}
    }
    pub fn inverse(&self, _: &mut [u64], _: u64) {
        match self.never {}
    }
    pub fn mul_add(&self, _: &mut [u64], _: &[u64], _: &[u64]) {
        match self.never {}
    }
}

/// The way back from residues modulo several primes p_i of 50 bits with product M to values modulo l: with
/// y_i = x (M/p_i)^-1 mod p_i, x is sum y_i M/p_i - q M for the integer q closest to sum y_i/p_i, if |x| < M/4.
#[derive(Debug)]
pub struct LaneCombine {
    #[cfg(target_arch = "x86_64")]
    token: crate::ifma::Token,
    /// floor(2^101 / p_i).
    #[cfg(target_arch = "x86_64")]
    quotients: Vec<u64>,
    /// 2^104 M/p_i, then -2^104 M, modulo l.
    #[cfg(target_arch = "x86_64")]
    factors: Vec<Fe>,
    #[cfg(not(target_arch = "x86_64"))]
    never: core::convert::Infallible,
}

impl LaneCombine {
    /// For the primes, M/p_i mod l and -M mod l. `None` when the engine has no such multiplier, for more than 16 primes, or
    /// for one that has not 50 bits.
    #[must_use]
    pub fn new(
        engine: Engine,
        primes: &[u64],
        cofactors: &[[u64; 4]],
        minus_modulus: [u64; 4],
    ) -> Option<Self> {
        let fits = primes.len() == cofactors.len()
            && primes.len() <= 16
            && primes.iter().all(|p| p >> (NTT_PRIME_BITS - 1) == 1);
        match engine.kind {
            #[cfg(target_arch = "x86_64")]
            Kind::Ifma(token) if fits => Some(Self {
                token,
                quotients: primes
                    .iter()
                    .map(|p| u64::try_from((1u128 << 101) / u128::from(*p)).unwrap_or(u64::MAX))
                    .collect(),
                // As plain integers, which an `Fe` may hold as well.
                factors: (cofactors.iter().chain([&minus_modulus]))
                    .map(|c| Fe((Fe::from_limbs_unchecked(*c) * Fe::pow2(104)).to_limbs()))
                    .collect(),
            }),
            _ => None,
        }
    }
}

#[cfg(target_arch = "x86_64")]
impl LaneCombine {
    /// x mod l for each coefficient, from the y_i, prime by prime in rows of `degree`.
    pub fn combine(&self, rows: &[u64], degree: usize, out: &mut [[u64; 4]]) {
        let rows: Vec<&[u64]> = rows.chunks(degree.max(1)).collect();
        let factors = &self.factors;
        crate::ifma::ntt::combine(self.token, &self.quotients, factors, &rows, out);
    }
}

#[cfg(not(target_arch = "x86_64"))]
#[expect(
    missing_docs,
    reason = "the type has no value on this machine; documented above"
)]
impl LaneCombine {
    pub fn combine(&self, _: &[u64], _: usize, _: &mut [[u64; 4]]) {
        match self.never {}
    }
}

/// base^exponent mod p, on public constants.
pub(crate) fn pow_mod(base: u64, mut exponent: u64, p: u64) -> u64 {
    let (mut power, mut result) = (base % p, 1);
    while exponent != 0 {
        if exponent & 1 == 1 {
            result = mul_mod(result, power, p);
        }
        power = mul_mod(power, power, p);
        exponent >>= 1;
    }
    result
}

pub(crate) fn mul_mod(a: u64, b: u64, p: u64) -> u64 {
    (u128::from(a) * u128::from(b) % u128::from(p)) as u64
}
