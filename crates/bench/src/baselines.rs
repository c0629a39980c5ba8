use bulletproofs::{BulletproofGens, PedersenGens, RangeProof};
use curve25519_dalek::constants::RISTRETTO_BASEPOINT_POINT;
use curve25519_dalek::scalar::Scalar;
use merlin::Transcript;
use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};
use serde::Serialize;
use std::hint::black_box;
use std::time::Instant;

/// What the same machine needs in the same run for well-known work.
#[derive(Clone, Debug, Serialize)]
pub struct Baselines {
    /// One Ristretto addition of curve25519-dalek.
    pub point_add_ns: f64,
    /// Summing the clients' updates as plain 32-bit floats.
    pub f32_sum_seconds: f64,
    /// One coordinate of an aggregated 16-bit Bulletproofs range proof over 64 values, proving.
    pub bulletproofs_seconds_per_coordinate: f64,
}

fn seconds(work: impl FnOnce()) -> f64 {
    #[expect(
        clippy::disallowed_methods,
        reason = "measuring is this crate's purpose"
    )]
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64()
}

/// The least of several runs: a baseline should not be flattered by noise.
fn least(runs: usize, mut work: impl FnMut()) -> f64 {
    (0..runs)
        .map(|_| seconds(&mut work))
        .fold(f64::INFINITY, f64::min)
}

impl Baselines {
    pub(crate) fn measure(dim: u32, clients: u32) -> Self {
        const ADDITIONS: u32 = 20_000;
        let mut point = RISTRETTO_BASEPOINT_POINT;
        let additions = least(5, || {
            for _ in 0..ADDITIONS {
                point += black_box(RISTRETTO_BASEPOINT_POINT);
            }
        });
        black_box(point);

        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let update: Vec<f32> = (0..dim).map(|_| rng.next_u32() as f32).collect();
        let mut sum = vec![0f32; update.len()];
        let f32_sum_seconds = seconds(|| {
            for _ in 0..clients {
                black_box(&mut sum)
                    .iter_mut()
                    .zip(black_box(&update))
                    .for_each(|(s, u)| *s += u);
            }
        });

        const VALUES: usize = 64;
        let (generators, bases) = (BulletproofGens::new(16, VALUES), PedersenGens::default());
        let values: Vec<u64> = (0..VALUES)
            .map(|_| u64::from(rng.next_u32() as u16))
            .collect();
        let blindings: Vec<Scalar> = (0..VALUES).map(|_| Scalar::random(&mut rng)).collect();
        let proving = least(2, || {
            let mut transcript = Transcript::new(b"baseline");
            let mut rng = ChaCha20Rng::seed_from_u64(2);
            let proof = RangeProof::prove_multiple_with_rng(
                &generators,
                &bases,
                &mut transcript,
                &values,
                &blindings,
                16,
                &mut rng,
            );
            black_box(proof.is_ok());
        });
        Self {
            point_add_ns: additions * 1e9 / f64::from(ADDITIONS),
            f32_sum_seconds,
            bulletproofs_seconds_per_coordinate: proving / VALUES as f64,
        }
    }
}
