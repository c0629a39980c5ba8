//! The samplers against exact probabilities and against an independent exact implementation, with fixed seeds.
//!
//! Thresholds: a chi-square statistic with `f` degrees of freedom has mean `f` and variance `2 f`; a correct sampler
//! exceeds `f + 5 sqrt(2 f)` for fewer than one seed in ten thousand. Seeds are fixed, so the outcome is too.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;

use prio::dp::Rational;
use prio::dp::distributions::DiscreteGaussian as Reference;
use rand::distr::Distribution;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use veilsum_rlwe::{DiscreteGaussian, sample_key};

type Histogram = BTreeMap<i64, f64>;

fn histogram(samples: impl Iterator<Item = i64>) -> Histogram {
    let mut counts = Histogram::new();
    for sample in samples {
        *counts.entry(sample).or_default() += 1.0;
    }
    counts
}

/// `D(Z, sigma)` out to 12 sigma.
fn exact_probabilities(sigma: f64) -> Histogram {
    let end = (12.0 * sigma) as i64 + 2;
    let weight = |y: i64| (-((y * y) as f64) / (2.0 * sigma * sigma)).exp();
    let total: f64 = (-end..=end).map(weight).sum();
    (-end..=end).map(|y| (y, weight(y) / total)).collect()
}

/// Chi-square of counts against probabilities; values with fewer than 10 expected go to one common bin. Everything
/// counted must have a probability.
fn assert_fits(name: &str, counts: &Histogram, probabilities: &Histogram) {
    let n: f64 = counts.values().sum();
    assert!(
        counts.keys().all(|value| probabilities.contains_key(value)),
        "{name}: impossible value"
    );
    let (mut statistic, mut bins) = (0.0, 0.0);
    let mut rest = (0.0, 0.0);
    let mut take = |observed: f64, expected: f64| {
        statistic += (observed - expected).powi(2) / expected;
        bins += 1.0;
    };
    for (value, probability) in probabilities {
        let observed = counts.get(value).copied().unwrap_or(0.0);
        let expected = n * probability;
        if expected >= 10.0 {
            take(observed, expected);
        } else {
            rest = (rest.0 + observed, rest.1 + expected);
        }
    }
    if rest.1 >= 10.0 {
        take(rest.0, rest.1);
    } else {
        assert!(
            rest.0 < rest.1 + 30.0,
            "{name}: {} samples in the far tail, {} expected",
            rest.0,
            rest.1
        );
    }
    let freedom: f64 = bins - 1.0;
    let threshold = freedom + 5.0 * (2.0 * freedom).sqrt();
    assert!(
        statistic < threshold,
        "{name}: chi-square {statistic} with {freedom} degrees of freedom"
    );
}

fn samples(log2_sigma: u32, count: usize, seed: u8) -> impl Iterator<Item = i64> {
    let sampler = DiscreteGaussian::new(log2_sigma).unwrap();
    let mut rng = ChaCha20Rng::from_seed([seed; 32]);
    (0..count).map(move |_| sampler.sample(&mut rng))
}

#[test]
fn small_widths_fit_exact_probabilities() {
    for log2_sigma in [0, 1, 2, 3, 6] {
        let counts = histogram(samples(log2_sigma, 2_000_000, 21));
        assert_fits(
            &format!("sigma 2^{log2_sigma}"),
            &counts,
            &exact_probabilities(f64::from(1u32 << log2_sigma)),
        );
    }
}

#[test]
fn key_table_fits_exact_probabilities() {
    let key = sample_key(2_000_000, &mut ChaCha20Rng::from_seed([22; 32]));
    assert_fits(
        "key",
        &histogram(key.iter().copied()),
        &exact_probabilities(8.0),
    );
}

/// A chi-square that can fail: a width wrong by one percent is told apart with the same number of samples.
#[test]
#[should_panic(expected = "chi-square")]
fn a_slightly_wrong_width_is_noticed() {
    assert_fits(
        "wrong",
        &histogram(samples(3, 2_000_000, 21)),
        &exact_probabilities(8.08),
    );
}

/// For large widths: intervals of sigma/8 against the probabilities of `D(Z, 2^12)` summed over the same intervals, which
/// differ from the continuous limit by less than 2^-30; and uniform low bits within them.
#[test]
fn large_widths_fit_interval_probabilities() {
    for log2_sigma in [20, 55, 56] {
        let interval = |y: i64, shift: u32| y >> shift;
        let values: Vec<i64> = samples(log2_sigma, 2_000_000, 23).collect();
        let counts = histogram(values.iter().map(|&y| interval(y, log2_sigma - 3)));
        let mut probabilities = Histogram::new();
        // Symmetric around zero: [0, w) loses nothing but half of zero itself, so compare magnitudes' halves exactly at
        // the finer width, where an interval has 2^13 points.
        for (y, p) in exact_probabilities(f64::from(1u32 << 16)) {
            *probabilities.entry(interval(y, 13)).or_default() += p;
        }
        assert_fits(
            &format!("intervals, sigma 2^{log2_sigma}"),
            &counts,
            &probabilities,
        );
        for shift in [0, 1, log2_sigma / 2, log2_sigma - 10] {
            let low = histogram(values.iter().map(|y| (y >> shift) & 63));
            let uniform = (0..64).map(|bits| (bits, 1.0 / 64.0)).collect();
            assert_fits(
                &format!("bits {shift}.., sigma 2^{log2_sigma}"),
                &low,
                &uniform,
            );
        }
    }
}

#[test]
fn bounded_samples_fit_the_truncated_distribution() {
    let sampler = DiscreteGaussian::new(3).unwrap();
    let mut rng = ChaCha20Rng::from_seed([24; 32]);
    let counts = histogram((0..1_000_000).map(|_| sampler.sample_bounded(12, &mut rng).unwrap()));
    let mut probabilities = exact_probabilities(8.0);
    probabilities.retain(|y, _| y.abs() <= 12);
    let total: f64 = probabilities.values().sum();
    probabilities.values_mut().for_each(|p| *p /= total);
    assert_fits("bounded", &counts, &probabilities);
}

/// Two-sample chi-square against the exact rational sampler of another library.
#[test]
fn samples_agree_with_an_independent_implementation() {
    let count = 60_000;
    let reference = |sigma: u64, seed: u64| {
        let distribution = Reference::new(Rational::from_unsigned(sigma, 1u64).unwrap()).unwrap();
        let mut rng: rand::rngs::StdRng = rand::SeedableRng::seed_from_u64(seed);
        (0..count).map(move |_| i64::try_from(distribution.sample(&mut rng)).unwrap())
    };
    let key = sample_key(count, &mut ChaCha20Rng::from_seed([25; 32]));
    let wide = |y: i64| y >> 47;
    let pairs = [
        (
            "sigma 8",
            histogram(samples(3, count, 26)),
            histogram(reference(8, 1)),
        ),
        (
            "key",
            histogram(key.iter().copied()),
            histogram(reference(8, 2)),
        ),
        (
            "sigma 1",
            histogram(samples(0, count, 27)),
            histogram(reference(1, 3)),
        ),
        (
            "sigma 2^50",
            histogram(samples(50, count, 28).map(wide)),
            histogram(reference(1 << 50, 4).map(wide)),
        ),
    ];
    for (name, ours, theirs) in pairs {
        let (mut statistic, mut bins) = (0.0, 0.0);
        for value in ours
            .keys()
            .chain(theirs.keys())
            .collect::<std::collections::BTreeSet<_>>()
        {
            let (a, b) = (
                ours.get(value).copied().unwrap_or(0.0),
                theirs.get(value).copied().unwrap_or(0.0),
            );
            if a + b >= 20.0 {
                statistic += (a - b).powi(2) / (a + b);
                bins += 1.0;
            } else {
                assert!(a + b < 40.0);
            }
        }
        let freedom: f64 = bins - 1.0;
        assert!(
            bins > 5.0 && statistic < freedom + 5.0 * (2.0 * freedom).sqrt(),
            "{name}: {statistic} over {bins}"
        );
    }
}

/// The same seed gives the same samples on every platform and in every version: protocol tests depend on it.
#[test]
fn golden_samples() {
    assert_eq!(
        samples(55, 3, 1).collect::<Vec<_>>(),
        [26020524023028582, -37860200742390669, -28770381452523461]
    );
    assert_eq!(
        samples(3, 8, 1).collect::<Vec<_>>(),
        [5, -8, -6, 3, 5, -2, -6, -2]
    );
    assert_eq!(
        sample_key(8, &mut ChaCha20Rng::from_seed([1; 32])).as_slice(),
        [8, -2, 9, 1, -3, 1, -10, -6]
    );
}
