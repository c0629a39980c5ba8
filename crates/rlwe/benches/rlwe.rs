//! Times of ring products, expansion, sampling and masking, one thread, at the degree that is used.
#![expect(
    missing_docs,
    reason = "criterion_group makes a public function without documentation"
)]

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use veilsum_rlwe::{
    Bound, DiscreteGaussian, Expander, MaskError, MaskLayout, MaskShape, Masking, Ring, RingError,
    Seed, sample_key,
};

const DEGREE: usize = 8192;

fn ring(c: &mut Criterion) -> Result<(), RingError> {
    let ring = Ring::new(DEGREE)?;
    let expander = Expander::new("veilsum bench", &[0; 32]);
    let (a, w) = (expander.block(0, DEGREE), expander.block(1, DEGREE));
    let key = sample_key(DEGREE, &mut ChaCha20Rng::from_seed([1; 32]));
    let small = ring.basis(Bound::from(1 << 15), Bound::FULL, 1)?;
    let full = ring.basis(Bound::FULL, Bound::FULL, 2)?;
    let key_hat = ring.transform_small(small, &key, 1 << 15)?;
    let (a_small, a_hat, w_hat) = (
        ring.transform_full(small, &a)?,
        ring.transform_full(full, &a)?,
        ring.transform_full(full, &w)?,
    );

    let mut group = c.benchmark_group("ring 8192");
    group.bench_function("product small x full, one transformed", |b| {
        b.iter(|| {
            ring.transform_full(small, &a)
                .and_then(|a| ring.mul(&key_hat, &a))
        });
    });
    group.bench_function("product full x full, one transformed", |b| {
        b.iter(|| {
            let mut sum = ring.accumulator(full)?;
            sum.mul_add_full(&a_hat, &w)?;
            Ok::<_, RingError>(sum.finish())
        });
    });
    group.bench_function("two transposes, one inverse, w transformed", |b| {
        b.iter(|| {
            let mut sum = ring.accumulator(full)?;
            sum.mul_add_transpose(&w_hat, &a)?;
            sum.mul_add_transpose(&a_hat, &w)?;
            Ok::<_, RingError>(sum.finish())
        });
    });
    group.bench_function("transform full, 9 primes", |b| {
        b.iter(|| ring.transform_full(full, &a))
    });
    group.bench_function("transform full, 5 primes", |b| {
        b.iter(|| ring.transform_full(small, &a))
    });
    group.bench_function("transform small, 5 primes", |b| {
        b.iter(|| ring.transform_small(small, &key, 1 << 15))
    });
    group.bench_function("multiply, invert, reconstruct, 9 primes", |b| {
        b.iter(|| ring.mul(&a_hat, &w_hat))
    });
    group.bench_function("multiply, invert, reconstruct, 5 primes", |b| {
        b.iter(|| ring.mul(&key_hat, &a_small))
    });
    group.bench_function("expand one ring element", |b| {
        b.iter(|| expander.block(0, DEGREE))
    });
    group.bench_function("build the tables", |b| b.iter(|| Ring::new(DEGREE)));
    group.finish();
    Ok(())
}

fn sampling(c: &mut Criterion) -> Result<(), MaskError> {
    let mut group = c.benchmark_group("sampler");
    let mut rng = ChaCha20Rng::from_seed([2; 32]);
    for log2_sigma in [3, 55] {
        let sampler = DiscreteGaussian::new(log2_sigma)?;
        group.throughput(Throughput::Elements(1000));
        group.bench_function(format!("1000 of sigma 2^{log2_sigma}"), |b| {
            b.iter(|| (0..1000).fold(0i64, |sum, _| sum.wrapping_add(sampler.sample(&mut rng))));
        });
    }
    group.throughput(Throughput::Elements(1000));
    group.bench_function("1000 key coordinates", |b| {
        b.iter(|| sample_key(1000, &mut rng))
    });
    group.finish();
    Ok(())
}

fn masking(c: &mut Criterion) -> Result<(), MaskError> {
    let ring = Ring::new(DEGREE)?;
    let expander = Expander::new("veilsum bench", &[0; 32]);
    let shape = MaskShape {
        coordinates: 100_000,
        coefficients: 17_408,
        slots: 6,
        slot_width: 26,
        shift: 95,
        cut: 76,
        log2_sigma: 55,
    };
    let layout = MaskLayout::new(shape)?;
    let masking = Masking {
        ring: &ring,
        expander: &expander,
        layout: &layout,
    };
    let key = sample_key(DEGREE, &mut ChaCha20Rng::from_seed([3; 32]));
    let update: Vec<i64> = (0..100_000).map(|i| i % 65_535 - 32_767).collect();
    let seed = Seed::new([4; 32]);
    let masked = masking.mask(&key, &update, &seed)?;
    let packed = layout.pack_masked(&masked.y)?;
    let mut group = c.benchmark_group("masking d 100000");
    group.bench_function("mask", |b| b.iter(|| masking.mask(&key, &update, &seed)));
    group.bench_function("open", |b| {
        b.iter(|| masking.open(&masked.y, &key, 1 << 20))
    });
    group.bench_function("pack", |b| b.iter(|| layout.pack_masked(&masked.y)));
    group.bench_function("unpack", |b| b.iter(|| layout.unpack_masked(&packed)));
    group.bench_function("accumulate", |b| {
        let sum = masked.y.clone();
        b.iter_batched_ref(
            || sum.clone(),
            |sum| veilsum_rlwe::field::accumulate(sum, &masked.y),
            BatchSize::LargeInput,
        );
    });
    group.finish();
    Ok(())
}

/// Setup errors stop the run with their message.
fn all(c: &mut Criterion) {
    let outcome = ring(c)
        .map_err(MaskError::from)
        .and_then(|()| sampling(c))
        .and_then(|()| masking(c));
    assert!(outcome.is_ok(), "{outcome:?}");
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).without_plots();
    targets = all
}
criterion_main!(benches);
