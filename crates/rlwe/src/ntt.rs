//! The negacyclic number-theoretic transform modulo one word prime.
//!
//! Butterflies are lazy (D. Harvey 2014): values stay below `4p` forward and below `2p` backward, so there is one
//! conditional subtraction per butterfly and no branch. Roots lie in the order in which the loops use them, and each
//! loop runs over two disjoint contiguous slices with one root, so that a vector unit with a 64-bit multiplier can take it.

use crate::primes::{
    invert_mod, invert_word, low, mul_high, mul_mod, pow_mod, primitive_root, shoup,
};

/// A fixed multiplier with its Shoup companion.
#[derive(Clone, Copy)]
pub(crate) struct Factor {
    value: u64,
    companion: u64,
}

impl Factor {
    pub(crate) fn new(value: u64, p: u64) -> Self {
        Self {
            value,
            companion: shoup(value, p),
        }
    }

    /// `x * self mod p`, in `[0, 2p)`, for any word `x`.
    #[inline(always)]
    pub(crate) fn mul_lazy(self, x: u64, p: u64) -> u64 {
        let quotient = mul_high(x, self.companion);
        x.wrapping_mul(self.value)
            .wrapping_sub(quotient.wrapping_mul(p))
    }
}

/// Tables for one prime and one degree.
pub(crate) struct Plan {
    pub(crate) p: u64,
    /// `p^-1 mod 2^64`.
    p_inverse: u64,
    /// `2^(64 (j + 1)) mod p`: limb `j` of a wide number, times the Montgomery radix.
    limb_weights: [u64; 4],
    roots: Vec<Factor>,
    inverse_roots: Vec<Factor>,
}

/// `x` if `x < bound`, else `x - bound`, for `x < 2 bound`; without a branch.
#[inline(always)]
fn reduce_once(x: u64, bound: u64) -> u64 {
    x.min(x.wrapping_sub(bound))
}

/// For each block of two merged layers: the root of the outer layer and the two of the inner one.
#[inline(always)]
fn pairs(roots: &[Factor], blocks: usize) -> impl Iterator<Item = [Factor; 3]> {
    let inner = roots[2 * blocks..4 * blocks].as_chunks::<2>().0;
    roots[blocks..2 * blocks]
        .iter()
        .zip(inner)
        .map(|(&outer, &[inner_0, inner_1])| [outer, inner_0, inner_1])
}

/// Keeps the loop it stands in scalar. Vector units without a 64-bit multiplier emulate it, at twice the cost of scalar
/// code, and the compiler's estimate is wrong about that.
#[inline(always)]
fn stay_scalar(index: usize) {
    if !cfg!(target_feature = "avx512dq") {
        core::hint::black_box(index);
    }
}

/// Calls `body` with the values at position 0, 1, .. of the two halves of `chunk`.
#[inline(always)]
fn for_each_2(chunk: &mut [u64], mut body: impl FnMut(&mut u64, &mut u64)) {
    let half = chunk.len() / 2;
    let (x, y) = chunk.split_at_mut(half);
    let y = &mut y[..half];
    for index in 0..half {
        body(&mut x[index], &mut y[index]);
        stay_scalar(index);
    }
}

/// Calls `body` with the values at position 0, 1, .. of the four quarters of `chunk`.
#[inline(always)]
fn for_each_4(chunk: &mut [u64], mut body: impl FnMut([&mut u64; 4])) {
    let quarter = chunk.len() / 4;
    let (a, rest) = chunk.split_at_mut(quarter);
    let (b, rest) = rest.split_at_mut(quarter);
    let (c, rest) = rest.split_at_mut(quarter);
    let d = &mut rest[..quarter];
    for index in 0..quarter {
        body([&mut a[index], &mut b[index], &mut c[index], &mut d[index]]);
        stay_scalar(index);
    }
}

impl Plan {
    /// Tables for degree `2^log_n`; `None` when the prime has no root of order `2^(log_n + 1)`.
    pub(crate) fn new(p: u64, log_n: u32) -> Option<Self> {
        let root = primitive_root(p, log_n + 1)?;
        let mut limb_weights = [0; 4];
        let radix = pow_mod(2, 64, p);
        let mut weight = 1;
        for slot in &mut limb_weights {
            weight = mul_mod(weight, radix, p);
            *slot = weight;
        }
        Some(Self {
            p,
            p_inverse: invert_word(p),
            limb_weights,
            roots: powers_bit_reversed(root, p, log_n),
            inverse_roots: powers_bit_reversed(invert_mod(root, p), p, log_n),
        })
    }

    /// `2^64 mod p`, which undoes the factor that [`Self::mul_montgomery`] leaves.
    pub(crate) fn radix(&self) -> u64 {
        self.limb_weights[0]
    }

    /// `a b 2^-64 mod p`, in `[0, 2p)`, for `a b < 4p^2`.
    #[inline(always)]
    pub(crate) fn mul_montgomery(&self, a: u64, b: u64) -> u64 {
        let (low, high) = a.carrying_mul(b, 0);
        self.fold(low, high)
    }

    /// `(high 2^64 + low) 2^-64 mod p`, in `[0, high + p]`.
    #[inline(always)]
    fn fold(&self, low: u64, high: u64) -> u64 {
        let quotient = low.wrapping_mul(self.p_inverse);
        high.wrapping_sub(mul_high(quotient, self.p))
            .wrapping_add(self.p)
    }

    /// A 256-bit number modulo `p`, in `[0, 2.5 p)`. `x[3]` must be below 2^62.
    #[inline(always)]
    pub(crate) fn residue(&self, x: &[u64; 4]) -> u64 {
        let [w0, w1, w2, w3] = self.limb_weights;
        let sum = (u128::from(x[0]) * u128::from(w0))
            .wrapping_add(u128::from(x[1]) * u128::from(w1))
            .wrapping_add(u128::from(x[2]) * u128::from(w2))
            .wrapping_add(u128::from(x[3]) * u128::from(w3));
        // The primes are within 2^25 of 2^62, so w0 < 2^27 and w1 < 2^54, and w2, w3 < p: the sum is below
        // 2^64 (p + 2^55) + 2^62 p, it fits, and its high half is below 1.5 p.
        self.fold(low(sum), low(sum >> 64))
    }

    /// One forward butterfly: inputs and outputs below `4p`.
    #[inline(always)]
    fn forward_butterfly(&self, x: &mut u64, y: &mut u64, root: Factor) {
        let two_p = 2u64.wrapping_mul(self.p);
        let a = reduce_once(*x, two_p);
        let t = root.mul_lazy(*y, self.p);
        *x = a.wrapping_add(t);
        *y = a.wrapping_sub(t).wrapping_add(two_p);
    }

    /// One inverse butterfly: inputs and outputs below `2p`.
    #[inline(always)]
    fn inverse_butterfly(&self, x: &mut u64, y: &mut u64, root: Factor) {
        let two_p = 2u64.wrapping_mul(self.p);
        let (a, b) = (*x, *y);
        *x = reduce_once(a.wrapping_add(b), two_p);
        *y = root.mul_lazy(a.wrapping_sub(b).wrapping_add(two_p), self.p);
    }

    /// Two forward layers at once on one value of each quarter of a block.
    #[inline(always)]
    fn forward_pair(&self, x: [&mut u64; 4], [outer, inner_0, inner_1]: [Factor; 3]) {
        let [x0, x1, x2, x3] = x;
        let (mut v0, mut v1, mut v2, mut v3) = (*x0, *x1, *x2, *x3);
        self.forward_butterfly(&mut v0, &mut v2, outer);
        self.forward_butterfly(&mut v1, &mut v3, outer);
        self.forward_butterfly(&mut v0, &mut v1, inner_0);
        self.forward_butterfly(&mut v2, &mut v3, inner_1);
        (*x0, *x1, *x2, *x3) = (v0, v1, v2, v3);
    }

    /// Two inverse layers at once on one value of each quarter of a block.
    #[inline(always)]
    fn inverse_pair(&self, x: [&mut u64; 4], [outer, inner_0, inner_1]: [Factor; 3]) {
        let [x0, x1, x2, x3] = x;
        let (mut v0, mut v1, mut v2, mut v3) = (*x0, *x1, *x2, *x3);
        self.inverse_butterfly(&mut v0, &mut v1, inner_0);
        self.inverse_butterfly(&mut v2, &mut v3, inner_1);
        self.inverse_butterfly(&mut v0, &mut v2, outer);
        self.inverse_butterfly(&mut v1, &mut v3, outer);
        (*x0, *x1, *x2, *x3) = (v0, v1, v2, v3);
    }

    /// Forward transform in place, natural order in, bit-reversed order out: position `i` holds the value at
    /// `psi^(2 rev(i) + 1)`. Input below `4p`, output below `4p`.
    pub(crate) fn forward(&self, data: &mut [u64]) {
        let n = data.len();
        let mut blocks = 1;
        let mut size = n;
        if n.trailing_zeros() % 2 == 1 {
            // An odd number of layers: the first one alone.
            for_each_2(data, |x, y| self.forward_butterfly(x, y, self.roots[1]));
            blocks = 2;
            size = n / 2;
        }
        while size > 4 {
            for (chunk, roots) in data.chunks_exact_mut(size).zip(pairs(&self.roots, blocks)) {
                for_each_4(chunk, |x| self.forward_pair(x, roots));
            }
            blocks *= 4;
            size /= 4;
        }
        if size == 4 {
            for (chunk, roots) in data
                .as_chunks_mut::<4>()
                .0
                .iter_mut()
                .zip(pairs(&self.roots, blocks))
            {
                self.forward_pair(chunk.each_mut(), roots);
                stay_scalar(0);
            }
        }
    }

    /// Inverse transform in place, without its factor `1/N` and with the factor `scale` in its place: the caller puts
    /// `1/N` and whatever else it wants to multiply by into `scale`. Bit-reversed order in, natural order out; input
    /// below `2p`, output canonical.
    pub(crate) fn inverse(&self, data: &mut [u64], scale: u64) {
        let p = self.p;
        let n = data.len();
        let mut blocks = n / 4;
        let mut size = 4;
        if n >= 4 {
            for (chunk, roots) in data
                .as_chunks_mut::<4>()
                .0
                .iter_mut()
                .zip(pairs(&self.inverse_roots, blocks))
            {
                self.inverse_pair(chunk.each_mut(), roots);
                stay_scalar(0);
            }
            blocks /= 4;
            size = 16;
        }
        while size <= n {
            for (chunk, roots) in data
                .chunks_exact_mut(size)
                .zip(pairs(&self.inverse_roots, blocks))
            {
                for_each_4(chunk, |x| self.inverse_pair(x, roots));
            }
            blocks /= 4;
            size *= 4;
        }
        if n.trailing_zeros() % 2 == 1 {
            for_each_2(data, |x, y| {
                self.inverse_butterfly(x, y, self.inverse_roots[1])
            });
        }
        let scale = Factor::new(scale, p);
        for (index, value) in data.iter_mut().enumerate() {
            *value = reduce_once(scale.mul_lazy(*value, p), p);
            stay_scalar(index);
        }
    }

    /// Brings a forward-transformed value from below `4p` to below `2p`.
    #[inline(always)]
    pub(crate) fn tighten(&self, x: u64) -> u64 {
        reduce_once(x, 2 * self.p)
    }

    /// The sum of two values below `2p`, again below `2p`.
    #[inline(always)]
    pub(crate) fn add_lazy(&self, a: u64, b: u64) -> u64 {
        reduce_once(a.wrapping_add(b), 2 * self.p)
    }
}

/// `root^rev(i)` for `i` in `0..2^log_n`, as factors.
fn powers_bit_reversed(root: u64, p: u64, log_n: u32) -> Vec<Factor> {
    let n = 1usize << log_n;
    let mut table = vec![Factor::new(1, p); n];
    let mut power = 1;
    for i in 0..n {
        let reversed = if log_n == 0 {
            0
        } else {
            i.reverse_bits() >> (usize::BITS - log_n)
        };
        table[reversed] = Factor::new(power, p);
        power = mul_mod(power, root, p);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::primes::PRIMES;

    #[test]
    fn transform_evaluates_at_odd_powers_and_inverts() {
        for p in [PRIMES[0], PRIMES[9]] {
            for log_n in 0..7u32 {
                let n = 1usize << log_n;
                let plan = Plan::new(p, log_n).unwrap();
                let psi = primitive_root(p, log_n + 1).unwrap();
                // Values up to the largest that is allowed, 4p - 1.
                let input: Vec<u64> = (0..n as u64)
                    .map(|i| (4 * p - 1).wrapping_sub(i * 0x1234_5678_9abc))
                    .collect();
                let mut data = input.clone();
                plan.forward(&mut data);
                for (i, &value) in data.iter().enumerate() {
                    let reversed = if log_n == 0 {
                        0
                    } else {
                        i.reverse_bits() >> (usize::BITS - log_n)
                    };
                    let point = pow_mod(psi, 2 * reversed as u64 + 1, p);
                    let expected = input
                        .iter()
                        .rev()
                        .fold(0, |acc, &c| (mul_mod(acc, point, p) + c % p) % p);
                    assert_eq!(value % p, expected);
                }
                for value in &mut data {
                    *value = plan.tighten(*value);
                }
                plan.inverse(&mut data, invert_mod(n as u64, p));
                let expected: Vec<u64> = input.iter().map(|c| c % p).collect();
                assert_eq!(data, expected);
            }
        }
    }

    #[test]
    fn residues_of_extreme_numbers() {
        for p in PRIMES {
            let plan = Plan::new(p, 3).unwrap();
            for x in [
                [u64::MAX, u64::MAX, u64::MAX, (1 << 62) - 1],
                [0; 4],
                [1, 0, 0, 0],
                [0, 0, 0, 1 << 60],
            ] {
                let expected = x.iter().rev().fold(0u128, |acc, &limb| {
                    ((acc << 64) % u128::from(p) + u128::from(limb)) % u128::from(p)
                });
                let residue = plan.residue(&x);
                assert!(u128::from(residue) < 4 * u128::from(p));
                assert_eq!(u128::from(residue % p), expected);
            }
        }
    }
}
