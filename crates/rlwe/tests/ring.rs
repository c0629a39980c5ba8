//! Ring products against schoolbook multiplication over big integers.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use num_bigint::BigInt;
use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};
use veilsum_rlwe::field::{self, ORDER, reduce_384};
use veilsum_rlwe::{Bound, Limbs, Ring, RingError};
use veilsum_simd::{Backend, Engine};

/// One for each way that this machine has.
fn rings(n: usize) -> Vec<Ring> {
    Backend::available()
        .into_iter()
        .map(|backend| Ring::with_engine(n, Engine::new(backend).unwrap()).unwrap())
        .collect()
}

fn big(limbs: &[u64]) -> BigInt {
    limbs
        .iter()
        .rev()
        .fold(BigInt::ZERO, |acc, &limb| (acc << 64) + limb)
}

fn limbs(value: &BigInt) -> Limbs {
    let l = big(&ORDER);
    let (_, mut digits) = (((value % &l) + &l) % &l).to_u64_digits();
    digits.resize(4, 0);
    digits.try_into().unwrap()
}

/// Negacyclic schoolbook product over the integers.
fn schoolbook(a: &[BigInt], b: &[BigInt]) -> Vec<BigInt> {
    let n = a.len();
    let mut result = vec![BigInt::ZERO; n];
    for (i, x) in a.iter().enumerate() {
        for (j, y) in b.iter().enumerate() {
            if i + j < n {
                result[i + j] += x * y;
            } else {
                result[i + j - n] -= x * y;
            }
        }
    }
    result
}

fn random_full(rng: &mut ChaCha20Rng, n: usize) -> Vec<Limbs> {
    let top = [ORDER[0] - 1, ORDER[1], ORDER[2], ORDER[3]];
    (0..n)
        .map(|_| match rng.next_u32() % 8 {
            0 => top,
            1 => [0; 4],
            2 => [1, 0, 0, 0],
            _ => reduce_384(&core::array::from_fn(|_| rng.next_u64())),
        })
        .collect()
}

fn random_small(rng: &mut ChaCha20Rng, n: usize, bound: i64) -> Vec<i64> {
    (0..n)
        .map(|_| match rng.next_u32() % 4 {
            0 => bound,
            1 => -bound,
            _ => (rng.next_u64() >> 1).cast_signed() % (bound + 1),
        })
        .collect()
}

fn bigs(values: &[Limbs]) -> Vec<BigInt> {
    values.iter().map(|v| big(v)).collect()
}

fn bigs_small(values: &[i64]) -> Vec<BigInt> {
    values.iter().map(|&v| BigInt::from(v)).collect()
}

#[test]
fn products_agree_with_schoolbook() {
    let mut rng = ChaCha20Rng::from_seed([11; 32]);
    for ring in [1usize, 2, 4, 8, 16, 64, 128, 256]
        .map(rings)
        .iter()
        .flatten()
    {
        let n = ring.degree();
        for bound in [1i64, 128, 1 << 8, 1 << 15, 1 << 40, 1 << 61] {
            let small = random_small(&mut rng, n, bound);
            let full = random_full(&mut rng, n);
            let basis = ring
                .basis(Bound::from(bound.unsigned_abs()), Bound::FULL, 1)
                .unwrap();
            let small_hat = ring
                .transform_small(basis, &small, bound.unsigned_abs())
                .unwrap();
            let full_hat = ring.transform_full(basis, &full).unwrap();
            let expected: Vec<Limbs> = schoolbook(&bigs_small(&small), &bigs(&full))
                .iter()
                .map(limbs)
                .collect();
            assert_eq!(
                *ring.mul(&small_hat, &full_hat).unwrap(),
                expected,
                "small x full, n {n}, bound {bound}"
            );
        }
        let (a, b) = (random_full(&mut rng, n), random_full(&mut rng, n));
        let basis = ring.basis(Bound::FULL, Bound::FULL, 1).unwrap();
        let (a_hat, b_hat) = (
            ring.transform_full(basis, &a).unwrap(),
            ring.transform_full(basis, &b).unwrap(),
        );
        let expected: Vec<Limbs> = schoolbook(&bigs(&a), &bigs(&b)).iter().map(limbs).collect();
        assert_eq!(
            *ring.mul(&a_hat, &b_hat).unwrap(),
            expected,
            "full x full, n {n}"
        );
    }
}

/// Every coefficient at its largest magnitude with signs that add up in one coefficient: the integer bound is met.
#[test]
fn largest_coefficients_do_not_wrap() {
    rings(128).iter().for_each(largest_coefficients);
}

fn largest_coefficients(ring: &Ring) {
    let n = ring.degree();
    let top = [ORDER[0] - 1, ORDER[1], ORDER[2], ORDER[3]];
    let full = vec![top; n];
    let basis = ring.basis(Bound::FULL, Bound::FULL, 3).unwrap();
    let hat = ring.transform_full(basis, &full).unwrap();
    let mut sum = ring.accumulator(basis).unwrap();
    for _ in 0..3 {
        sum.mul_add(&hat, &hat).unwrap();
    }
    // All -1 modulo l: coefficient k of the square is (k + 1) - (n - 1 - k).
    let result = sum.finish();
    for (k, value) in result.iter().enumerate() {
        let expected = 3 * (2 * i128::try_from(k).unwrap() + 2 - i128::try_from(n).unwrap());
        assert_eq!(*value, field::from_i128(expected));
    }
    for sign in [1, -1] {
        let bound = 1i64 << 15;
        let basis = ring.basis(Bound::from(1 << 15), Bound::FULL, 1).unwrap();
        let small = ring
            .transform_small(basis, &vec![sign * bound; n], 1 << 15)
            .unwrap();
        let product = ring
            .mul(&small, &ring.transform_full(basis, &full).unwrap())
            .unwrap();
        assert_eq!(
            product[n - 1],
            field::from_i128(-i128::from(sign * bound) * 128)
        );
    }
}

/// The degree that is used, against schoolbook on a few coefficients.
#[test]
fn full_degree_spot_checks() {
    let primes: Vec<_> = rings(8192).iter().map(spot_checks).collect();
    assert_eq!(primes[0], (9, 5));
    assert!(primes[1..].iter().all(|primes| *primes == (11, 6)));
}

fn spot_checks(ring: &Ring) -> (usize, usize) {
    let n = ring.degree();
    let mut rng = ChaCha20Rng::from_seed([12; 32]);
    let (a, b) = (random_full(&mut rng, n), random_full(&mut rng, n));
    let s = random_small(&mut rng, n, 1 << 15);
    let basis = ring.basis(Bound::FULL, Bound::FULL, 2).unwrap();
    let narrow = ring.basis(Bound::from(1 << 15), Bound::FULL, 1).unwrap();
    let primes = (basis.primes(), narrow.primes());
    let product = ring
        .mul(
            &ring.transform_full(basis, &a).unwrap(),
            &ring.transform_full(basis, &b).unwrap(),
        )
        .unwrap();
    let with_small = ring
        .mul(
            &ring.transform_full(narrow, &a).unwrap(),
            &ring.transform_small(narrow, &s, 1 << 15).unwrap(),
        )
        .unwrap();
    let (a, b, s) = (bigs(&a), bigs(&b), bigs_small(&s));
    for k in [0, 1, 4095, 4096, 8190, 8191] {
        let coefficient = |y: &[BigInt]| {
            (0..n).fold(BigInt::ZERO, |acc, i| {
                if i <= k {
                    acc + &a[i] * &y[k - i]
                } else {
                    acc - &a[i] * &y[n + k - i]
                }
            })
        };
        assert_eq!(product[k], limbs(&coefficient(&b)));
        assert_eq!(with_small[k], limbs(&coefficient(&s)));
    }
    primes
}

#[test]
fn transpose_product_with_and_without_truncation() {
    let mut rng = ChaCha20Rng::from_seed([13; 32]);
    for ring in [1usize, 2, 8, 64].map(rings).iter().flatten() {
        let n = ring.degree();
        let basis = ring.basis(Bound::FULL, Bound::FULL, 2).unwrap();
        for outputs in [n, n / 2, 1, 0] {
            let (a, w) = (random_full(&mut rng, n), random_full(&mut rng, outputs));
            let a_hat = ring.transform_full(basis, &a).unwrap();
            let w_hat = ring.transform_full(basis, &w).unwrap();
            let row = ring.mul(&a_hat.adjoint(), &w_hat).unwrap();
            let s = random_small(&mut rng, n, 1000);
            let product = schoolbook(&bigs(&a), &bigs_small(&s));
            let left = bigs(&w)
                .iter()
                .zip(&product)
                .fold(BigInt::ZERO, |acc, (w, y)| acc + w * y);
            let right = row
                .iter()
                .zip(&s)
                .fold(BigInt::ZERO, |acc, (r, &s)| acc + big(r) * s);
            assert_eq!(limbs(&left), limbs(&right), "n {n}, {outputs} outputs");
        }
        // Two transpose products, one of them truncated, share one inverse.
        let (a, b) = (random_full(&mut rng, n), random_full(&mut rng, n));
        let w = random_full(&mut rng, n);
        let hat = |x: &[Limbs]| ring.transform_full(basis, x).unwrap();
        let mut sum = ring.accumulator(basis).unwrap();
        sum.mul_add(&hat(&a).adjoint(), &hat(&w)).unwrap();
        sum.mul_add(&hat(&b).adjoint(), &hat(&w[..n / 2])).unwrap();
        let first = ring.mul(&hat(&a).adjoint(), &hat(&w)).unwrap();
        let second = ring.mul(&hat(&b).adjoint(), &hat(&w[..n / 2])).unwrap();
        let expected: Vec<Limbs> = first
            .iter()
            .zip(second.iter())
            .map(|(x, y)| field::add(x, y))
            .collect();
        assert_eq!(*sum.finish(), expected);
        // The same with elements that are used once.
        let mut sum = ring.accumulator(basis).unwrap();
        sum.mul_add_transpose(&hat(&w), &a).unwrap();
        sum.mul_add_transpose(&hat(&w[..n / 2]), &b).unwrap();
        assert_eq!(*sum.finish(), expected);
        let mut once = ring.accumulator(basis).unwrap();
        once.mul_add_full(&hat(&a), &w[..n / 2]).unwrap();
        assert_eq!(
            once.finish(),
            ring.mul(&hat(&a), &hat(&w[..n / 2])).unwrap()
        );
    }
}

#[test]
fn bounds_are_enforced() {
    let ring = Ring::new(16).unwrap();
    let narrow = ring.basis(Bound::from(1 << 8), Bound::FULL, 1).unwrap();
    let wide = ring.basis(Bound::FULL, Bound::FULL, 1).unwrap();
    let full = ring.transform_full(narrow, &[[1, 0, 0, 0]]).unwrap();
    // Full times full does not fit the narrow basis, whatever the values are.
    assert_eq!(
        ring.mul(&full, &full).unwrap_err(),
        RingError::Overflow {
            primes: narrow.primes()
        }
    );
    let small = ring.transform_small(narrow, &[256, -256], 256).unwrap();
    let mut sum = ring.accumulator(narrow).unwrap();
    // The accumulator takes exactly as many products as the primes can hold, and then refuses.
    let tight = ring.basis(Bound::from(1 << 51), Bound::FULL, 1).unwrap();
    assert_eq!(tight.primes(), narrow.primes());
    sum.mul_add(&small, &full).unwrap();
    let large = ring.transform_small(narrow, &[1], 1 << 47).unwrap();
    let mut taken = 0;
    while taken < 100_000 && sum.mul_add(&large, &full).is_ok() {
        taken += 1;
    }
    // floor((prod p) / (4 * 16 * 2^47 * (l - 1))) less the first small product: just below 2^(310 - 6 - 47 - 252).
    assert_eq!(taken, 31);
    assert_eq!(sum.finish()[0], field::from_i128(256 + 31));
    let other = ring.transform_full(wide, &[]).unwrap();
    assert_eq!(
        ring.mul(&small, &other).unwrap_err(),
        RingError::BasisMismatch {
            got: wide.primes(),
            expected: narrow.primes()
        }
    );
    let mut sum = ring.accumulator(narrow).unwrap();
    assert_eq!(
        sum.mul_add_full(&full, &[]).unwrap_err(),
        RingError::Overflow {
            primes: narrow.primes()
        }
    );
    assert_eq!(
        sum.mul_add_transpose(&small, &[ORDER]).unwrap_err(),
        RingError::NotCanonical { index: 0 }
    );
    assert_eq!(
        sum.mul_add_full(&small, &[[0; 4]; 17]).unwrap_err(),
        RingError::TooLong {
            got: 17,
            degree: 16
        }
    );
    let other_ring = Ring::new(32).unwrap();
    assert_eq!(
        other_ring.mul(&small, &full).unwrap_err(),
        RingError::DegreeMismatch {
            got: 16,
            degree: 32
        }
    );
    assert_eq!(
        ring.basis(Bound::FULL, Bound::FULL, u32::MAX)
            .unwrap()
            .primes(),
        9
    );
    assert_eq!(
        ring.transform_small(narrow, &[257], 256).unwrap_err(),
        RingError::BeyondBound { bound: 256 }
    );
    assert_eq!(
        ring.transform_small(narrow, &[i64::MIN], 256).unwrap_err(),
        RingError::BeyondBound { bound: 256 }
    );
    let beyond = (1 << 61) + 1;
    assert_eq!(
        ring.transform_small(narrow, &[0], beyond).unwrap_err(),
        RingError::BeyondBound { bound: beyond }
    );
    assert_eq!(
        ring.transform_full(narrow, &[[0; 4], ORDER]).unwrap_err(),
        RingError::NotCanonical { index: 1 }
    );
    assert_eq!(
        ring.transform_small(narrow, &[0; 17], 1).unwrap_err(),
        RingError::TooLong {
            got: 17,
            degree: 16
        }
    );
    for degree in [0, 3, 1 << 17, usize::MAX] {
        assert_eq!(Ring::new(degree).unwrap_err(), RingError::Degree { degree });
    }
    assert!(Ring::new(1 << 16).is_ok());
}
