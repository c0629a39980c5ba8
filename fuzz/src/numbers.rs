use curve25519_dalek::constants::RISTRETTO_BASEPOINT_POINT;
use curve25519_dalek::ristretto::RistrettoPoint;
use curve25519_dalek::scalar::Scalar;
use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};
use std::sync::OnceLock;
use veilsum_encoding::Encoder;
use veilsum_params::Layout;
use veilsum_rlwe::{Bound, Limbs, Ring, sample_key};
use veilsum_simd::{Engine, FixedBaseTable};

struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn u8(&mut self) -> u8 {
        match self.0.split_first() {
            Some((first, rest)) => {
                self.0 = rest;
                *first
            }
            None => 0,
        }
    }
    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(std::array::from_fn(|_| self.u8()))
    }
    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(std::array::from_fn(|_| self.u8()))
    }
}

/// Any floats encode to integers within the bound, near the scaled floats where nothing was clipped, or are refused for
/// what they are; sums decode to what they stand for. Any sizes give a layout that holds the largest sum, or none.
pub fn numbers(data: &[u8]) {
    let mut bytes = Bytes(data);
    let (scale_bits, norm_bound) = (bytes.u8() % 40, u64::from(bytes.u32()));
    let dim = 1 + usize::from(bytes.u8() % 24);
    let update: Vec<f64> = (0..dim).map(|_| f64::from_bits(bytes.u64())).collect();
    let mut rng = ChaCha20Rng::seed_from_u64(bytes.u64());
    if let Ok(encoder) = Encoder::new(dim, scale_bits, norm_bound) {
        match encoder.encode(&update, &mut rng) {
            Err(_) => assert!(update.iter().any(|x| !x.is_finite()), "finite and refused"),
            Ok(encoded) => {
                assert!(update.iter().all(|x| x.is_finite()));
                let squares = encoded.values().iter().map(|x| {
                    let x = i128::from(*x);
                    (x * x).unsigned_abs()
                });
                let bound = u128::from(norm_bound);
                assert!(
                    squares.sum::<u128>() <= bound * bound,
                    "over the norm bound"
                );
                if !encoded.clipped() {
                    for (x, real) in encoded.values().iter().zip(&update) {
                        let scaled = real * f64::from(scale_bits).exp2();
                        assert!((scaled - *x as f64).abs() <= 1.0, "{scaled} became {x}");
                    }
                }
                let decoded = encoder
                    .decode_sum(encoded.values())
                    .expect("the right length");
                assert_eq!(decoded.len(), dim);
            }
        }
    }
    let (dim, norm_bound, n_max) = (bytes.u32(), bytes.u32(), bytes.u32());
    let (m, t) = (bytes.u32() % 2048, bytes.u32() % 2048);
    if let Ok(layout) = Layout::derive(dim % (1 << 26), norm_bound, n_max, m, t)
        && let Some(k) = layout.masked_constants()
    {
        let largest = u128::from(n_max) * u128::from(norm_bound);
        assert!(largest < 1 << (k.slot_bits - 1), "a slot that overflows");
        assert!(
            k.shift + k.kappa * k.slot_bits <= 251,
            "slots above the modulus"
        );
    }
}

const DEGREE: usize = 16;

fn ring() -> &'static Ring {
    static RING: OnceLock<Ring> = OnceLock::new();
    RING.get_or_init(|| Ring::new(DEGREE).expect("a small ring"))
}

fn scalar(limbs: &Limbs) -> Scalar {
    let mut bytes = [0; 32];
    for (out, limb) in bytes.chunks_mut(8).zip(limbs) {
        out.copy_from_slice(&limb.to_le_bytes());
    }
    Scalar::from_bytes_mod_order(bytes)
}

fn canonical(scalar: &Scalar) -> Limbs {
    let bytes = scalar.to_bytes();
    std::array::from_fn(|i| u64::from_le_bytes(std::array::from_fn(|j| bytes[8 * i + j])))
}

fn centred(value: i64) -> Scalar {
    let magnitude = Scalar::from(value.unsigned_abs());
    if value < 0 { -magnitude } else { magnitude }
}

fn tables() -> &'static FixedBaseTable {
    static TABLES: OnceLock<FixedBaseTable> = OnceLock::new();
    TABLES.get_or_init(|| {
        let encoded = RISTRETTO_BASEPOINT_POINT.compress().to_bytes();
        let base = Engine::auto().decompress(&[encoded]).expect("a point");
        FixedBaseTable::new(Engine::auto(), &base[0], 40).expect("tables of the basepoint")
    })
}

/// Ring products, small multiples and sampled keys against slow ways to the same: schoolbook products over scalars,
/// multiplication by dalek, the bounds of the distribution.
pub fn oracles(data: &[u8]) {
    let mut bytes = Bytes(data);
    let small: Vec<i64> = (0..DEGREE).map(|_| (bytes.u64() as i64) >> 8).collect();
    let full: Vec<Limbs> = (0..DEGREE)
        .map(|_| {
            let mut wide = [0; 32];
            wide.iter_mut().for_each(|b| *b = bytes.u8());
            canonical(&Scalar::from_bytes_mod_order(wide))
        })
        .collect();
    let bound = 1 << 56;
    let basis = ring()
        .basis(Bound::from(bound), Bound::FULL, 1)
        .expect("a basis for one product");
    let left = ring()
        .transform_small(basis, &small, bound)
        .expect("within the bound");
    let right = ring().transform_full(basis, &full).expect("canonical");
    let product = ring().mul(&left, &right).expect("one basis");
    let mut slow = vec![Scalar::ZERO; DEGREE];
    for (i, a) in small.iter().enumerate() {
        for (j, b) in full.iter().enumerate() {
            let term = centred(*a) * scalar(b);
            if i + j < DEGREE {
                slow[i + j] += term;
            } else {
                slow[i + j - DEGREE] -= term;
            }
        }
    }
    for (fast, slow) in product.iter().zip(&slow) {
        assert_eq!(*fast, canonical(slow), "a ring product");
    }
    let values: Vec<i64> = small.iter().map(|v| v >> 18).collect();
    let points = tables().mul_small(&values, 39).expect("within the bits");
    let compressed = Engine::auto().compress(&points);
    for (value, point) in values.iter().zip(&compressed) {
        let slow: RistrettoPoint = RISTRETTO_BASEPOINT_POINT * centred(*value);
        assert_eq!(*point, slow.compress().to_bytes(), "a small multiple");
    }
    let mut rng = ChaCha20Rng::seed_from_u64(bytes.u64());
    let _ = rng.next_u32();
    let key = sample_key(64, &mut rng);
    assert!(
        key.iter().all(|s| s.abs() <= 128),
        "a key out of its window"
    );
}
