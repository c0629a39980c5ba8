//! Oracle: curve25519-dalek. Every test runs on every backend of the machine.

#![expect(
    clippy::unwrap_used,
    reason = "the lint's exception for tests does not reach helpers outside #[test]"
)]

use curve25519_dalek::RistrettoPoint;
use curve25519_dalek::ristretto::CompressedRistretto;
use curve25519_dalek::scalar::Scalar;
use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};
use veilsum_simd::{Backend, Engine, Point};

/// Every backend that is present, printed, so that a log shows what was tested.
pub(crate) fn engines() -> Vec<Engine> {
    let present = Backend::available();
    let names: Vec<_> = present.iter().map(|b| b.name()).collect();
    println!("backends under test: {}", names.join(", "));
    assert!(present.contains(&Backend::Portable));
    present
        .into_iter()
        .map(|b| Engine::new(b).unwrap())
        .collect()
}

pub(crate) fn rng(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}

pub(crate) fn random_scalar(rng: &mut ChaCha20Rng) -> Scalar {
    let mut wide = [0; 64];
    rng.fill_bytes(&mut wide);
    Scalar::from_bytes_mod_order_wide(&wide)
}

pub(crate) fn random_dalek(rng: &mut ChaCha20Rng) -> RistrettoPoint {
    let mut wide = [0; 64];
    rng.fill_bytes(&mut wide);
    RistrettoPoint::from_uniform_bytes(&wide)
}

/// Random points as both libraries know them. Ours are not in affine form, so that no test relies on Z = 1.
pub(crate) fn random_points(rng: &mut ChaCha20Rng, n: usize) -> (Vec<RistrettoPoint>, Vec<Point>) {
    let dalek: Vec<_> = (0..n).map(|_| random_dalek(rng)).collect();
    let ours = dalek
        .iter()
        .map(|p| {
            let half = p * Scalar::from(2u8).invert();
            ours(&half).double()
        })
        .collect();
    (dalek, ours)
}

pub(crate) fn ours(p: &RistrettoPoint) -> Point {
    Point::decompress(p.compress().as_bytes()).unwrap()
}

pub(crate) fn dalek(p: &Point) -> RistrettoPoint {
    CompressedRistretto(p.compress()).decompress().unwrap()
}

pub(crate) fn scalar_i128(v: i128) -> Scalar {
    let s = Scalar::from(v.unsigned_abs());
    if v < 0 { -s } else { s }
}

/// Scalars that break careless recodings: 0, +-1, powers of two, l - 1, long runs.
pub(crate) fn extreme_scalars() -> Vec<Scalar> {
    let mut out = vec![Scalar::ZERO, Scalar::ONE, -Scalar::ONE, -Scalar::from(2u8)];
    let mut p = Scalar::ONE;
    for i in 0..253 {
        if i % 7 == 0 || i > 248 {
            out.extend([p, -p, p - Scalar::ONE, Scalar::ONE - p]);
        }
        p += p;
    }
    for byte in [0x77, 0x88, 0x7f, 0x80, 0x0f, 0xf0, 0xaa, 0x55, 0xff] {
        let mut bytes = [byte; 32];
        bytes[31] &= 0x0f;
        out.push(Scalar::from_bytes_mod_order(bytes));
    }
    out
}
