//! Encoding of one update of 10^6 coordinates.
#![expect(missing_docs, reason = "the criterion macros make public functions")]
#![expect(clippy::unwrap_used, reason = "a benchmark stops at its first error")]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};
use veilsum_encoding::Encoder;

fn encode(c: &mut Criterion) {
    let dim = 1_000_000_u32;
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    // Uniform in -1..1: the norm is about 577.
    let update: Vec<f32> = (0..dim)
        .map(|_| (f64::from(rng.next_u32()) / f64::from(1_u32 << 31) - 1.0) as f32)
        .collect();
    let mut group = c.benchmark_group("encode");
    group
        .sample_size(10)
        .throughput(Throughput::Elements(u64::from(dim)));
    for (name, scale_bits) in [("within the norm", 5), ("clipped", 13)] {
        let encoder = Encoder::new(update.len(), scale_bits, (1 << 15) - 1).unwrap();
        group.bench_function(name, |b| {
            b.iter(|| encoder.encode(&update, &mut rng).unwrap())
        });
    }
    group.finish();
}

criterion_group!(benches, encode);
criterion_main!(benches);
