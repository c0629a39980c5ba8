//! What an encoding promises, on random and on extreme inputs.

use proptest::{prelude::*, test_runner::RngSeed};
use rand_chacha::ChaCha20Rng;
use rand_core::{CryptoRng, RngCore, SeedableRng};
use veilsum_encoding::{Encoder, EncodingError, MAX_DIM, MAX_NORM_BOUND, MAX_SCALE_BITS};

fn rng(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}

fn squared_norm(values: &[i64]) -> u128 {
    values
        .iter()
        .map(|x| u128::from(x.unsigned_abs()).pow(2))
        .sum()
}

fn real_norm(update: &[f64]) -> f64 {
    update.iter().map(|v| v * v).sum::<f64>().sqrt()
}

/// Draws all zeros: every coordinate with a fraction is rounded away from zero, in every try.
struct AlwaysAway;

impl RngCore for AlwaysAway {
    fn next_u32(&mut self) -> u32 {
        0
    }
    fn next_u64(&mut self) -> u64 {
        0
    }
    fn fill_bytes(&mut self, dest: &mut [u8]) {
        dest.fill(0);
    }
    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), rand_core::Error> {
        self.fill_bytes(dest);
        Ok(())
    }
}

impl CryptoRng for AlwaysAway {}

/// Counts the bytes drawn.
struct Counting(ChaCha20Rng, usize);

impl RngCore for Counting {
    fn next_u32(&mut self) -> u32 {
        self.1 += 4;
        self.0.next_u32()
    }
    fn next_u64(&mut self) -> u64 {
        self.1 += 8;
        self.0.next_u64()
    }
    fn fill_bytes(&mut self, dest: &mut [u8]) {
        self.1 += dest.len();
        self.0.fill_bytes(dest);
    }
    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), rand_core::Error> {
        self.fill_bytes(dest);
        Ok(())
    }
}

impl CryptoRng for Counting {}

fn finite_f32() -> impl Strategy<Value = f32> {
    any::<u32>()
        .prop_map(f32::from_bits)
        .prop_filter("finite", |v| v.is_finite())
}

fn finite_f64() -> impl Strategy<Value = f64> {
    any::<u64>()
        .prop_map(f64::from_bits)
        .prop_filter("finite", |v| v.is_finite())
}

fn bound() -> impl Strategy<Value = u64> {
    (0_u32..32).prop_flat_map(|bits| 1_u64 << bits..=(2_u64 << bits) - 1)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, rng_seed: RngSeed::Fixed(7), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn norm_never_exceeds_the_bound_f32(
        update in prop::collection::vec(finite_f32(), 1..80),
        scale_bits in 0..=MAX_SCALE_BITS,
        norm_bound in bound(),
        seed: u64,
    ) {
        let encoder = Encoder::new(update.len(), scale_bits, norm_bound).unwrap();
        let limit = u128::from(norm_bound).pow(2);
        let encoded = encoder.encode(&update, &mut rng(seed)).unwrap();
        prop_assert_eq!(encoded.values().len(), update.len());
        prop_assert!(squared_norm(encoded.values()) <= limit);
        let unlucky = encoder.encode(&update, &mut AlwaysAway).unwrap();
        prop_assert!(squared_norm(unlucky.values()) <= limit);
    }

    #[test]
    fn norm_never_exceeds_the_bound_f64(
        update in prop::collection::vec(finite_f64(), 1..80),
        scale_bits in 0..=MAX_SCALE_BITS,
        norm_bound in bound(),
        seed: u64,
    ) {
        let encoder = Encoder::new(update.len(), scale_bits, norm_bound).unwrap();
        let encoded = encoder.encode(&update, &mut rng(seed)).unwrap();
        prop_assert!(squared_norm(encoded.values()) <= u128::from(norm_bound).pow(2));
    }

    /// Norms from far below to a hair above the bound, where rounding noise decides.
    #[test]
    fn norm_never_exceeds_the_bound_near_the_bound(
        update in prop::collection::vec(-1.0_f64..1.0, 1..200),
        factor in 0.9_f64..1.1,
        norm_bound in 1_u64..2000,
        seed: u64,
    ) {
        let norm = real_norm(&update).max(1e-9);
        let update: Vec<f64> = update.iter().map(|v| v / norm * factor * norm_bound as f64).collect();
        let encoder = Encoder::new(update.len(), 0, norm_bound).unwrap();
        let encoded = encoder.encode(&update, &mut rng(seed)).unwrap();
        prop_assert!(squared_norm(encoded.values()) <= u128::from(norm_bound).pow(2));
        prop_assert!(encoded.clipped() || factor < 1.000_001);
    }

    #[test]
    fn round_trip_is_within_one_unit_when_not_clipped(
        update in prop::collection::vec(-1.0_f64..1.0, 1..80),
        scale_bits in 0_u8..=20,
        seed: u64,
    ) {
        let encoder = Encoder::new(update.len(), scale_bits, MAX_NORM_BOUND).unwrap();
        let encoded = encoder.encode(&update, &mut rng(seed)).unwrap();
        prop_assert!(!encoded.clipped());
        let unit = 0.5_f64.powi(i32::from(scale_bits));
        for (decoded, v) in encoder.decode_sum(encoded.values()).unwrap().iter().zip(&update) {
            prop_assert!((decoded - v).abs() < unit, "{decoded} for {v}");
        }
    }

    #[test]
    fn clipping_keeps_the_direction(
        update in prop::collection::vec(-1.0_f64..1.0, 1..80),
        scale in 1e3_f64..1e30,
        seed: u64,
    ) {
        let norm = real_norm(&update);
        prop_assume!(norm > 0.1);
        let norm_bound = (1 << 15) - 1;
        let encoder = Encoder::new(update.len(), 10, norm_bound).unwrap();
        let big: Vec<f64> = update.iter().map(|v| v * scale).collect();
        let encoded = encoder.encode(&big, &mut rng(seed)).unwrap();
        prop_assert!(encoded.clipped());
        for (&x, v) in encoded.values().iter().zip(&update) {
            // One unit of rounding, and at most 0.02 % of room left for it.
            let ideal = v / norm * norm_bound as f64;
            prop_assert!((x as f64 - ideal).abs() <= 1.0 + 2e-4 * ideal.abs(), "{x} for {ideal}");
        }
    }

    #[test]
    fn any_non_finite_coordinate_is_named(
        mut update in prop::collection::vec(finite_f32(), 1..40),
        at: prop::sample::Index,
        also: prop::sample::Index,
        bad in prop::sample::select(vec![f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY]),
    ) {
        let encoder = Encoder::new(update.len(), 10, 1000).unwrap();
        let (i, j) = (at.index(update.len()), also.index(update.len()));
        update[i] = bad;
        update[j] = f32::NAN;
        prop_assert_eq!(
            encoder.encode(&update, &mut rng(0)).unwrap_err(),
            EncodingError::NotFinite { index: i.min(j) }
        );
    }
}

/// 20,000 encodings of one vector: the mean of each coordinate is within five standard deviations of the coordinate,
/// where the standard deviation of one rounding is at most half a unit.
#[test]
fn rounding_is_unbiased() {
    let update = [
        0.3_f64, -0.3, 0.5, 1e-3, -2.25, 7.999, 0.0, -0.0, 3.0, -1e-9,
    ];
    let encoder = Encoder::new(update.len(), 0, 100).unwrap();
    let (mut rng, tries) = (rng(11), 20_000);
    let mut sums = [0_i64; 10];
    for _ in 0..tries {
        for (sum, x) in sums
            .iter_mut()
            .zip(encoder.encode(&update, &mut rng).unwrap().values())
        {
            *sum += x;
        }
    }
    let tolerance = 5.0 * 0.5 / f64::from(tries).sqrt();
    for (mean, v) in encoder
        .decode_mean(&sums, 20_000)
        .unwrap()
        .iter()
        .zip(&update)
    {
        assert!((mean - v).abs() < tolerance, "mean {mean} for {v}");
    }
    assert_eq!(
        (sums[6], sums[7], sums[8]),
        (0, 0, 60_000),
        "integers are kept"
    );
}

/// A vector at twice the clip norm: the mean is the clipped vector, on average over coordinates to 1 part in 1000.
#[test]
fn clipped_rounding_is_unbiased_too() {
    let dim = 10_000;
    let update: Vec<f64> = (0..dim).map(|j| f64::from(j % 7) - 3.0).collect();
    let norm_bound = 500_u64;
    let factor = norm_bound as f64 / real_norm(&update);
    assert!(
        factor < 2.6,
        "coordinates of a few units: rounding noise is a third of the squared norm"
    );
    let encoder = Encoder::new(update.len(), 3, norm_bound).unwrap();
    let (mut rng, tries) = (rng(12), 200);
    let mut sums = vec![0_i64; update.len()];
    for _ in 0..tries {
        let encoded = encoder.encode(&update, &mut rng).unwrap();
        assert!(encoded.clipped());
        for (sum, x) in sums.iter_mut().zip(encoded.values()) {
            *sum += x;
        }
    }
    let along: f64 = sums.iter().zip(&update).map(|(&s, v)| s as f64 * v).sum();
    let squared: f64 = update.iter().map(|v| v * v).sum();
    let slope = along / f64::from(tries) / squared;
    assert!(
        slope > 0.9 * factor && slope < factor,
        "slope {slope} of at most {factor}"
    );
    let residual: f64 = sums
        .iter()
        .zip(&update)
        .map(|(&s, v)| (s as f64 / f64::from(tries) - slope * v).powi(2))
        .sum::<f64>()
        / f64::from(dim);
    // Variance of a mean of 200 roundings, each at most 1/4.
    assert!(
        residual < 1.1 * 0.25 / f64::from(tries),
        "residual variance {residual}"
    );
}

/// The margin in the clip factor makes re-rounding rare even where the rounding noise alone exceeds the bound.
#[test]
fn vectors_at_the_bound_are_rarely_rounded_again() {
    for (dim, norm_bound) in [(650, 32_767), (52_510, 32_767), (20_000, 40), (5_000, 1)] {
        let update: Vec<f64> = (0..dim).map(|j| f64::from(j).sin()).collect();
        let encoder = Encoder::new(update.len(), 20, norm_bound).unwrap();
        let mut rng = Counting(rng(13), 0);
        let tries = 100;
        let mut squared = 0.0;
        for _ in 0..tries {
            let encoded = encoder.encode(&update, &mut rng).unwrap();
            assert!(encoded.clipped());
            squared += squared_norm(encoded.values()) as f64 / tries as f64;
        }
        let passes = rng.1 / (8 * update.len());
        let most = if norm_bound == 1 {
            2 * tries
        } else {
            tries + 2
        };
        assert!(
            passes <= most,
            "{passes} passes for {tries} encodings at d = {dim}, B = {norm_bound}"
        );
        if norm_bound > 1 {
            let used = squared.sqrt() / norm_bound as f64;
            assert!(
                used > 0.93,
                "only {used} of the bound {norm_bound} is used at d = {dim}"
            );
        }
    }
}

/// With the worst randomness every try exceeds, and the fallback rounds towards zero.
#[test]
fn unlucky_randomness_falls_back_to_shrinking() {
    let update = vec![2.5_f64; 400];
    let encoder = Encoder::new(400, 0, 50).unwrap();
    let usual = encoder.encode(&update, &mut rng(3)).unwrap();
    assert!(usual.values().contains(&3) && usual.values().contains(&2));
    let unlucky = encoder.encode(&update, &mut AlwaysAway).unwrap();
    assert_eq!(unlucky.values(), vec![2; 400]);
    assert!(unlucky.clipped());
}

#[test]
fn integer_vectors_exactly_at_the_bound_are_kept() {
    let encoder = Encoder::new(2, 0, 5).unwrap();
    let encoded = encoder.encode(&[3.0_f32, -4.0], &mut rng(0)).unwrap();
    assert_eq!((encoded.values(), encoded.clipped()), (&[3, -4][..], false));
    let encoder = Encoder::new(1, 0, MAX_NORM_BOUND).unwrap();
    let encoded = encoder.encode(&[f64::from(u32::MAX)], &mut rng(0)).unwrap();
    assert_eq!(
        (encoded.values(), encoded.clipped()),
        (&[i64::from(u32::MAX)][..], false)
    );
}

#[test]
fn extreme_inputs() {
    let encoder = Encoder::new(4, 16, 32_767).unwrap();

    let zero = encoder
        .encode(&[0.0_f32, -0.0, 0.0, 0.0], &mut AlwaysAway)
        .unwrap();
    assert_eq!((zero.values(), zero.clipped()), (&[0; 4][..], false));

    let tiny = f32::from_bits(1);
    let subnormal = encoder.encode(&[tiny; 4], &mut rng(1)).unwrap();
    assert_eq!(
        (subnormal.values(), subnormal.clipped()),
        (&[0; 4][..], false)
    );
    let subnormal = encoder
        .encode(&[f64::from_bits(1); 4], &mut rng(1))
        .unwrap();
    assert_eq!(
        (subnormal.values(), subnormal.clipped()),
        (&[0; 4][..], false)
    );

    let huge = encoder
        .encode(&[f32::MAX, -f32::MAX, f32::MAX, -f32::MAX], &mut rng(1))
        .unwrap();
    assert!(huge.clipped());
    for (x, sign) in huge.values().iter().zip([1, -1, 1, -1]) {
        assert!(
            (16_381..=16_384).contains(&(x * sign)),
            "half the bound each, less the margin: {x}"
        );
    }

    let huge = encoder
        .encode(&[f64::MAX, 0.0, 1.0, f64::MAX], &mut rng(1))
        .unwrap();
    assert_eq!((huge.values()[1], huge.values()[2]), (0, 0));
    assert!(squared_norm(huge.values()) <= 32_767_u128.pow(2) && huge.values()[0] > 23_100);

    let mixed = encoder
        .encode(&[1.0e-45_f32, 0.25, -f32::MIN_POSITIVE, 0.0], &mut rng(1))
        .unwrap();
    assert_eq!(
        (mixed.values(), mixed.clipped()),
        (&[0, 16_384, 0, 0][..], false)
    );
}

#[test]
fn f32_and_f64_agree_and_the_seed_decides() {
    let single: Vec<f32> = (0..500_u16)
        .map(|j| (f32::from(j) * 0.37) % 1.0 - 0.5)
        .collect();
    let double: Vec<f64> = single.iter().map(|&v| v.into()).collect();
    let encoder = Encoder::new(500, 12, 32_767).unwrap();
    let a = encoder.encode(&single, &mut rng(5)).unwrap();
    let b = encoder.encode(&double, &mut rng(5)).unwrap();
    let c = encoder.encode(&double, &mut rng(6)).unwrap();
    assert_eq!(a.values(), b.values());
    assert_ne!(a.values(), c.values());
    // Frozen: a change here changes what a seeded simulation or demo produces.
    assert_eq!(
        a.values()[..8],
        [-2048, -532, 983, -1597, -82, 1433, -1147, 368]
    );
}

#[test]
fn sums_and_means_decode() {
    let encoder = Encoder::new(3, 4, 1000).unwrap();
    assert_eq!(encoder.clip_norm(), 62.5);
    assert_eq!(encoder.decode_sum(&[16, -8, 0]).unwrap(), [1.0, -0.5, 0.0]);
    assert_eq!(
        encoder.decode_mean(&[16, -8, 1 << 40], 4).unwrap(),
        [0.25, -0.125, f64::from(1 << 30) * 16.0]
    );
    assert_eq!(
        encoder.decode_mean(&[3, 1, -1], 3).unwrap(),
        [3.0 / 48.0, 1.0 / 48.0, -1.0 / 48.0]
    );
}

#[test]
fn each_error_is_exact() {
    use EncodingError::*;
    assert_eq!(
        Encoder::new(0, 0, 1).unwrap_err(),
        DimensionOutOfRange { dim: 0 }
    );
    assert_eq!(
        Encoder::new(MAX_DIM + 1, 0, 1).unwrap_err(),
        DimensionOutOfRange { dim: MAX_DIM + 1 }
    );
    assert_eq!(
        Encoder::new(1, 49, 1).unwrap_err(),
        ScaleBitsOutOfRange { scale_bits: 49 }
    );
    assert_eq!(
        Encoder::new(1, 0, 0).unwrap_err(),
        NormBoundOutOfRange { norm_bound: 0 }
    );
    assert_eq!(
        Encoder::new(1, 0, 1 << 32).unwrap_err(),
        NormBoundOutOfRange {
            norm_bound: 1 << 32
        }
    );
    let encoder = Encoder::new(MAX_DIM, MAX_SCALE_BITS, MAX_NORM_BOUND).unwrap();
    assert_eq!(
        (encoder.dim(), encoder.scale_bits(), encoder.norm_bound()),
        (MAX_DIM, 48, u64::from(u32::MAX))
    );

    let encoder = Encoder::new(2, 10, 100).unwrap();
    let encode = |update: &[f32]| encoder.encode(update, &mut rng(0)).unwrap_err();
    assert_eq!(
        encode(&[]),
        UpdateLength {
            expected: 2,
            got: 0
        }
    );
    assert_eq!(
        encode(&[f32::NAN]),
        UpdateLength {
            expected: 2,
            got: 1
        }
    );
    assert_eq!(
        encode(&[0.0; 3]),
        UpdateLength {
            expected: 2,
            got: 3
        }
    );
    assert_eq!(encode(&[0.0, f32::NAN]), NotFinite { index: 1 });
    assert_eq!(
        encode(&[f32::NEG_INFINITY, f32::NAN]),
        NotFinite { index: 0 }
    );
    assert_eq!(
        encoder
            .encode(&[0.0, f64::INFINITY], &mut rng(0))
            .unwrap_err(),
        NotFinite { index: 1 }
    );

    assert_eq!(
        encoder.decode_sum(&[1]).unwrap_err(),
        SumLength {
            expected: 2,
            got: 1
        }
    );
    assert_eq!(
        encoder.decode_mean(&[1, 2, 3], 1).unwrap_err(),
        SumLength {
            expected: 2,
            got: 3
        }
    );
    assert_eq!(encoder.decode_mean(&[1, 2], 0).unwrap_err(), ZeroCount);
}

#[test]
fn neither_errors_nor_debug_show_values() {
    let encoder = Encoder::new(2, 10, 1 << 20).unwrap();
    let encoded = encoder.encode(&[12.5_f32, 77.25], &mut rng(0)).unwrap();
    assert_eq!(encoded.values(), [12_800, 79_104]);
    assert_eq!(
        format!("{encoded:?}"),
        r#"Encoded { values: "<redacted>", clipped: "<redacted>" }"#
    );
    assert_eq!(encoded.into_values()[..], [12_800, 79_104]);
    let error = encoder
        .encode(&[12.5_f32, f32::INFINITY], &mut rng(0))
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "coordinate 1 of the update is not a finite number: the training that produced it has diverged"
    );
}

/// Work is cut into pieces for threads; what comes out is the same whatever their number, and on both sides of a piece's end.
#[test]
fn the_number_of_threads_changes_nothing() {
    let dim = 100_003;
    let encoder = Encoder::new(dim, 8, 1_000).unwrap();
    let mut draw = rng(77);
    let update: Vec<f32> = (0..dim)
        .map(|_| (draw.next_u32() as i32) as f32 / i32::MAX as f32)
        .collect();
    let with = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        let encoded = pool
            .install(|| encoder.encode(&update, &mut rng(5)))
            .unwrap();
        encoded.values().to_vec()
    };
    let one = with(1);
    assert_eq!(one, with(3));
    assert_eq!(one.len(), dim);
    let norm = squared_norm(&one);
    assert!((900 * 900..=1_000_000).contains(&norm), "{norm}");
    // Every coordinate is within one unit of a multiple that is common to all.
    let sum: f64 = one
        .iter()
        .zip(&update)
        .map(|(x, v)| *x as f64 * f64::from(*v))
        .sum();
    let squares: f64 = update.iter().map(|v| f64::from(*v).powi(2)).sum();
    let multiple = sum / squares;
    for (i, (x, v)) in one.iter().zip(&update).enumerate() {
        assert!((*x as f64 - multiple * f64::from(*v)).abs() < 1.1, "{i}");
    }
}
