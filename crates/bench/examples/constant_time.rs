//! Does the time of the kernels that touch secrets depend on the secrets? A statistical test after Reparaz, Balasch and
//! Verbauwhede ("Dude, is my code constant time?", 2017): one class of inputs is fixed, the other random, in random order;
//! Welch's t for the two classes of times, over all of them and with the slowest left out, must stay small.
//!
//! ```sh
//! cargo run --release -p veilsum-bench --example constant_time -- 20000
//! ```
//!
//! The last kernel branches on its secret: a run that does not find it proves nothing, and fails.

#![expect(
    clippy::disallowed_methods,
    reason = "this program does nothing but measure time"
)]

use curve25519_dalek::scalar::Scalar;
use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};
use std::error::Error;
use std::hint::black_box;
use std::process::ExitCode;
use std::time::Instant;
use veilsum_crypto::{Digest, EphemeralSecret, ShareContext, ShareSecretKey, feldman};
use veilsum_params::{ClientId, MemberIndex};
use veilsum_rlwe::{Bound, Ring, sample_key};
use veilsum_simd::{Backend, ColumnTables, Engine, FixedBaseTable, Point};

/// A difference beyond this is there (the paper's threshold for a leak; below 4.5 nothing is seen at all).
const LEAK: f64 = 10.0;
/// Shares of the times that are looked at, fastest first: what interrupts a measurement makes it slower.
const KEPT: [f64; 6] = [1.0, 0.99, 0.95, 0.9, 0.75, 0.5];

#[derive(Clone, Copy, Default)]
struct Moments {
    count: f64,
    mean: f64,
    squares: f64,
}

impl Moments {
    fn add(&mut self, x: f64) {
        self.count += 1.0;
        let delta = x - self.mean;
        self.mean += delta / self.count;
        self.squares += delta * (x - self.mean);
    }
    fn of_mean(self) -> f64 {
        self.squares / (self.count - 1.0) / self.count
    }
}

fn welch(times: &[(bool, f64)]) -> f64 {
    let mut classes = [Moments::default(); 2];
    for (class, time) in times {
        classes[usize::from(*class)].add(*time);
    }
    let [a, b] = classes;
    let spread = (a.of_mean() + b.of_mean()).sqrt();
    if spread > 0.0 {
        (a.mean - b.mean).abs() / spread
    } else {
        0.0
    }
}

/// The largest t over all the crops.
fn largest(mut times: Vec<(bool, f64)>) -> f64 {
    times.sort_by(|a, b| a.1.total_cmp(&b.1));
    let kept = KEPT
        .iter()
        .map(|share| (times.len() as f64 * share) as usize);
    kept.filter_map(|n| times.get(..n))
        .map(welch)
        .fold(0.0, f64::max)
}

struct Run {
    measurements: usize,
    rng: ChaCha20Rng,
}

impl Run {
    /// Times a kernel on copies of one input and on random ones; gives t.
    fn kernel<T: Clone>(
        &mut self,
        name: &str,
        fixed: &T,
        mut random: impl FnMut(&mut ChaCha20Rng) -> T,
        mut kernel: impl FnMut(&T),
    ) -> f64 {
        let mut times = Vec::with_capacity(self.measurements);
        while times.len() < self.measurements {
            // Inputs of both classes are made in random order and all kept, so that where they lie does not depend on the
            // class; making them is not timed.
            let inputs: Vec<(bool, T, T)> = (0..256)
                .map(|_| {
                    let draw = self.rng.next_u32();
                    let (class, fixed_first) = (draw & 1 == 1, draw & 2 == 2);
                    let (copy, other) = if fixed_first {
                        let copy = fixed.clone();
                        (copy, random(&mut self.rng))
                    } else {
                        let other = random(&mut self.rng);
                        (fixed.clone(), other)
                    };
                    if class {
                        (class, other, copy)
                    } else {
                        (class, copy, other)
                    }
                })
                .collect();
            for (class, input, _) in &inputs {
                let begin = Instant::now();
                kernel(black_box(input));
                times.push((*class, begin.elapsed().as_nanos() as f64));
            }
        }
        // The first ones warm the caches.
        times.drain(..256.min(times.len() / 10));
        let t = largest(times);
        let verdict = match t {
            t if t > LEAK => "DEPENDS ON THE SECRET",
            t if t > 4.5 => "not clear: repeat with more measurements",
            _ => "no difference seen",
        };
        println!("{name:<34} t = {t:>8.2}  {verdict}");
        t
    }
}

fn small(rng: &mut ChaCha20Rng, count: usize, bits: u32) -> Vec<i64> {
    let span = 1i64 << bits;
    (0..count)
        .map(|_| i64::from(rng.next_u32()) % span - span / 2)
        .collect()
}

fn scalar(rng: &mut ChaCha20Rng) -> [u8; 32] {
    Scalar::random(rng).to_bytes()
}

/// The canary: adds where a bit of the secret is set.
fn leaky(base: &Point, secret: &[u8; 32]) -> Point {
    let (mut sum, mut power) = (*base, *base);
    for byte in secret {
        for bit in 0..8 {
            if byte >> bit & 1 == 1 {
                sum += power;
            }
            power = power.double();
        }
    }
    sum
}

fn commitments(run: &mut Run, backend: Backend) -> Result<f64, Box<dyn Error>> {
    let engine = Engine::new(backend)?;
    let generators: Vec<Point> = (0..20).map(|i| Point::BASE.double_times(i)).collect();
    let tables = ColumnTables::new(engine, &generators);
    let base = FixedBaseTable::new(engine, &Point::BASE, 253)?;
    let name = |what: &str| format!("{what} ({})", engine.backend().name());
    let rows = run.kernel(
        &name("row of small integers"),
        &vec![0i64; 20],
        |rng| small(rng, 20, 14),
        |row| {
            black_box(tables.commit_rows(&[row.as_slice()], 15).is_ok());
        },
    );
    let scalars = run.kernel(
        &name("row of scalars"),
        &vec![[0u8; 32]; 20],
        |rng| (0..20).map(|_| scalar(rng)).collect(),
        |row| {
            black_box(tables.commit_scalar_rows(&[row.as_slice()]).is_ok());
        },
    );
    let fixed = run.kernel(
        &name("fixed base"),
        &vec![[0u8; 32]; 4],
        |rng| (0..4).map(|_| scalar(rng)).collect(),
        |list| {
            black_box(base.mul_scalars(list).is_ok());
        },
    );
    let encode = run.kernel(
        &name("encoding of points"),
        &vec![Point::BASE.double_times(99); 8],
        |rng| {
            let some = (0..8).map(|_| Point::BASE.double_times(1 + rng.next_u32() % 200));
            some.collect()
        },
        |points| {
            black_box(engine.double_and_compress(points));
        },
    );
    Ok([rows, scalars, fixed, encode]
        .into_iter()
        .fold(0.0, f64::max))
}

fn ring(run: &mut Run, backend: Backend) -> Result<f64, Box<dyn Error>> {
    let engine = Engine::new(backend)?;
    let ring = Ring::with_engine(1024, engine)?;
    let basis = ring.basis(Bound::from(1 << 7), Bound::FULL, 1)?;
    let name = format!("transform of a key ({})", engine.backend().name());
    Ok(run.kernel(
        &name,
        &vec![0i64; 1024],
        |rng| small(rng, 1024, 7),
        |key| {
            black_box(ring.transform_small(basis, key, 1 << 7).is_ok());
        },
    ))
}

fn sampler(run: &mut Run) -> f64 {
    run.kernel(
        "sampler of keys",
        &[0u8; 32],
        |rng| {
            let mut seed = [0; 32];
            rng.fill_bytes(&mut seed);
            seed
        },
        |seed| {
            black_box(sample_key(256, &mut ChaCha20Rng::from_seed(*seed)));
        },
    )
}

fn sharing(run: &mut Run) -> Result<f64, Box<dyn Error>> {
    let deal = run.kernel(
        "dealing: shares and commitments",
        &Scalar::ZERO,
        Scalar::random,
        |secret| {
            let mut rng = ChaCha20Rng::seed_from_u64(1);
            black_box(feldman::deal(secret, 4, 5, &mut rng).is_ok());
        },
    );
    // One member decrypts shares of one dealer: the plaintext is the secret.
    let (digest, client, index) = (Digest([1; 32]), ClientId(1), MemberIndex(1));
    let mut rng = ChaCha20Rng::seed_from_u64(2);
    let key = ShareSecretKey::generate(&mut rng);
    let ephemeral = EphemeralSecret::generate(&mut rng);
    let seal = |share: &Scalar| ephemeral.encrypt(&digest, client, index, key.public(), share);
    let context = ShareContext {
        params_digest: &digest,
        dealer: client,
        index,
        share_key: key.public(),
        ephemeral: ephemeral.public(),
    };
    let zero = seal(&Scalar::ZERO)?;
    let decrypt = run.kernel(
        "decryption of a share",
        &zero,
        |rng| seal(&Scalar::random(rng)).unwrap_or(zero),
        |sealed| {
            black_box(key.decrypt(&context, sealed).is_ok());
        },
    );
    let mut low = [0; 32];
    low[0] = 1;
    let decode = run.kernel("decoding of a secret key", &low, scalar, |bytes| {
        black_box(ShareSecretKey::from_bytes(bytes).is_ok());
    });
    Ok([deal, decrypt, decode].into_iter().fold(0.0, f64::max))
}

fn all(measurements: usize) -> Result<bool, Box<dyn Error>> {
    let mut run = Run {
        measurements,
        rng: ChaCha20Rng::seed_from_u64(7),
    };
    let best = Engine::auto().backend();
    println!("{measurements} measurements of each kernel");
    let mut worst: f64 = 0.0;
    for backend in [best, Backend::Portable] {
        worst = worst.max(commitments(&mut run, backend)?);
        worst = worst.max(ring(&mut run, backend)?);
    }
    worst = worst.max(sampler(&mut run)).max(sharing(&mut run)?);
    let mut few = [0; 32];
    few[0] = 1;
    let canary = run.kernel("canary: double and add", &few, scalar, |secret| {
        black_box(leaky(&Point::BASE, secret));
    });
    if canary <= LEAK {
        println!("the canary was not found: this run proves nothing");
    }
    Ok(worst <= LEAK && canary > LEAK)
}

fn main() -> ExitCode {
    let measurements = std::env::args().nth(1).and_then(|n| n.parse().ok());
    match all(measurements.unwrap_or(20_000)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            println!("{error}");
            ExitCode::FAILURE
        }
    }
}
