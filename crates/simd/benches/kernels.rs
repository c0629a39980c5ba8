//! Every kernel beside its counterpart in curve25519-dalek.
//!
//! `cargo bench -p veilsum-simd` runs criterion; `cargo bench -p veilsum-simd -- ratios` (and a part of a name) only prints a table of
//! nanoseconds and of multiples of one dalek point addition, measured in the same run, so that figures from
//! different machines compare. One thread.

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput};
use curve25519_dalek::RistrettoPoint;
use curve25519_dalek::ristretto::{CompressedRistretto, RistrettoBasepointTable};
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::VartimeMultiscalarMul;
use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};
use veilsum_simd::{Backend, ColumnTables, Engine, FixedBaseTable, Point, SameScalarTables};

const COLUMNS: usize = 1024;
const POINTS: usize = 1024;

/// One kernel: what it is called, how many items a run handles, and a run.
struct Kernel<'a> {
    name: String,
    items: usize,
    run: Box<dyn FnMut() + 'a>,
}

struct Data {
    dalek: Vec<RistrettoPoint>,
    ours: Vec<Point>,
    encodings: Vec<[u8; 32]>,
    scalars: Vec<Scalar>,
    bytes: Vec<[u8; 32]>,
    weights: Vec<u128>,
    uniform: Vec<[u8; 64]>,
    rows: Vec<Vec<i16>>,
    wide: Vec<Vec<i64>>,
}

impl Data {
    fn new() -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let dalek: Vec<_> = (0..8 * POINTS)
            .map(|_| {
                let mut wide = [0; 64];
                rng.fill_bytes(&mut wide);
                RistrettoPoint::from_uniform_bytes(&wide)
            })
            .collect();
        let encodings: Vec<_> = dalek.iter().map(|p| p.compress().to_bytes()).collect();
        let ours = Engine::auto().decompress(&encodings).unwrap_or_default();
        let scalars: Vec<_> = (0..8 * POINTS)
            .map(|_| {
                let mut wide = [0; 64];
                rng.fill_bytes(&mut wide);
                Scalar::from_bytes_mod_order_wide(&wide)
            })
            .collect();
        Self {
            bytes: scalars.iter().map(Scalar::to_bytes).collect(),
            weights: (0..8 * POINTS)
                .map(|_| u128::from(rng.next_u64()) << 64 | u128::from(rng.next_u64()))
                .collect(),
            uniform: (0..POINTS)
                .map(|_| {
                    let mut s = [0; 64];
                    rng.fill_bytes(&mut s);
                    s
                })
                .collect(),
            rows: (0..COLUMNS)
                .map(|_| {
                    (0..COLUMNS)
                        .map(|_| (rng.next_u32() as i16).max(-i16::MAX))
                        .collect()
                })
                .collect(),
            wide: (0..64)
                .map(|_| (0..COLUMNS).map(|_| rng.next_u64() as i64 >> 4).collect())
                .collect(),
            dalek,
            ours,
            encodings,
            scalars,
        }
    }
}

fn dalek_kernels<'a>(data: &'a Data) -> Vec<Kernel<'a>> {
    let mut out = Vec::new();
    let mut add = |name: &str, items, run: Box<dyn FnMut() + 'a>| {
        out.push(Kernel {
            name: format!("dalek/{name}"),
            items,
            run,
        });
    };
    add(
        "add",
        8 * POINTS,
        Box::new(|| {
            black_box(data.dalek.iter().sum::<RistrettoPoint>());
        }),
    );
    add(
        "decompress",
        128,
        Box::new(|| {
            for e in &data.encodings[..128] {
                black_box(CompressedRistretto(*e).decompress());
            }
        }),
    );
    add(
        "compress",
        128,
        Box::new(|| {
            for p in &data.dalek[..128] {
                black_box(p.compress());
            }
        }),
    );
    add(
        "double-and-compress",
        POINTS,
        Box::new(|| {
            black_box(RistrettoPoint::double_and_compress_batch(
                &data.dalek[..POINTS],
            ));
        }),
    );
    add(
        "from uniform bytes",
        64,
        Box::new(|| {
            for s in &data.uniform[..64] {
                black_box(RistrettoPoint::from_uniform_bytes(s));
            }
        }),
    );
    for n in [16, 128, 1024, 8192] {
        add(
            &format!("msm {n}"),
            n,
            Box::new(move || {
                black_box(RistrettoPoint::vartime_multiscalar_mul(
                    &data.scalars[..n],
                    &data.dalek[..n],
                ));
            }),
        );
    }
    add(
        "msm 1024 of 128-bit scalars",
        POINTS,
        Box::new(|| {
            black_box(RistrettoPoint::vartime_multiscalar_mul(
                data.weights[..POINTS].iter().map(|w| Scalar::from(*w)),
                &data.dalek[..POINTS],
            ));
        }),
    );
    add(
        "commit 16-bit (vartime msm)",
        COLUMNS,
        Box::new(|| {
            black_box(RistrettoPoint::vartime_multiscalar_mul(
                data.rows[0].iter().map(|v| {
                    let s = Scalar::from(v.unsigned_abs());
                    if *v < 0 { -s } else { s }
                }),
                &data.dalek[..COLUMNS],
            ));
        }),
    );
    add(
        "same scalar (variable base, constant time)",
        16,
        Box::new(|| {
            for p in &data.dalek[..16] {
                black_box(p * data.scalars[0]);
            }
        }),
    );
    let table = RistrettoBasepointTable::create(&data.dalek[0]);
    add(
        "fixed base",
        64,
        Box::new(move || {
            for s in &data.scalars[..64] {
                black_box(&table * s);
            }
        }),
    );
    out
}

fn own_kernels<'a>(data: &'a Data, engine: Engine) -> Vec<Kernel<'a>> {
    let mut out = Vec::new();
    let mut add = |name: &str, items, run: Box<dyn FnMut() + 'a>| {
        out.push(Kernel {
            name: format!("{}/{name}", engine.backend().name()),
            items,
            run,
        });
    };
    add(
        "add",
        8 * POINTS,
        Box::new(|| {
            black_box(Point::sum(&data.ours));
        }),
    );
    add(
        "decompress",
        POINTS,
        Box::new(move || {
            black_box(engine.decompress(&data.encodings[..POINTS])).ok();
        }),
    );
    add(
        "compress",
        POINTS,
        Box::new(move || {
            black_box(engine.compress(&data.ours[..POINTS]));
        }),
    );
    add(
        "double-and-compress",
        POINTS,
        Box::new(move || {
            black_box(engine.double_and_compress(&data.ours[..POINTS]));
        }),
    );
    add(
        "from uniform bytes",
        POINTS,
        Box::new(move || {
            black_box(engine.from_uniform_bytes(&data.uniform));
        }),
    );
    for n in [16, 128, 1024, 8192] {
        add(
            &format!("msm {n}"),
            n,
            Box::new(move || {
                black_box(engine.msm_vartime(&data.bytes[..n], &data.ours[..n])).ok();
            }),
        );
    }
    add(
        "msm 1024 of 128-bit scalars",
        POINTS,
        Box::new(move || {
            black_box(engine.msm_short_vartime(&data.weights[..POINTS], &data.ours[..POINTS])).ok();
        }),
    );
    add(
        "column tables, a column",
        COLUMNS,
        Box::new(move || {
            black_box(ColumnTables::new(engine, &data.ours[..COLUMNS]));
        }),
    );
    for (height, name) in [(COLUMNS, "1024 rows"), (64, "64 rows"), (1, "1 row")] {
        let tables = ColumnTables::new(engine, &data.ours[..COLUMNS]);
        add(
            &format!("commit 16-bit, {name}, a coordinate"),
            height * COLUMNS,
            Box::new(move || {
                let rows: Vec<&[i16]> = data.rows[..height].iter().map(Vec::as_slice).collect();
                black_box(tables.commit_rows(&rows, 15)).ok();
            }),
        );
    }
    let tables = ColumnTables::new(engine, &data.ours[..COLUMNS]);
    add(
        "commit 60-bit, 64 rows, a coordinate",
        64 * COLUMNS,
        Box::new(move || {
            let rows: Vec<&[i64]> = data.wide.iter().map(Vec::as_slice).collect();
            black_box(tables.commit_rows(&rows, 60)).ok();
        }),
    );
    let tables = ColumnTables::new(engine, &data.ours[..COLUMNS]);
    add(
        "commit full width, 1 row, a coordinate",
        COLUMNS,
        Box::new(move || {
            black_box(tables.commit_scalar_rows(&[&data.bytes[..COLUMNS]])).ok();
        }),
    );
    for entries in [8, 32, 64] {
        let points = &data.ours[..POINTS];
        if let Ok(combs) = SameScalarTables::new(engine, points, POINTS * entries * 128) {
            add(
                &format!("same scalar, {entries} entries a point"),
                POINTS,
                Box::new(move || {
                    black_box(combs.mul(&data.bytes[0])).ok();
                }),
            );
        }
    }
    add(
        "same scalar tables, 32 entries, a point",
        POINTS,
        Box::new(move || {
            black_box(SameScalarTables::new(
                engine,
                &data.ours[..POINTS],
                POINTS * 32 * 128,
            ))
            .ok();
        }),
    );
    if let Ok(table) = FixedBaseTable::new(engine, &data.ours[0], 45) {
        let values: Vec<i64> = data.wide[0].iter().map(|v| v >> 15).collect();
        add(
            "fixed base, 45-bit",
            COLUMNS,
            Box::new(move || {
                black_box(table.mul_small(&values, 45)).ok();
            }),
        );
    }
    if let Ok(table) = FixedBaseTable::new(engine, &data.ours[0], 253) {
        add(
            "fixed base",
            128,
            Box::new(move || {
                black_box(table.mul_scalars(&data.bytes[..128])).ok();
            }),
        );
    }
    out
}

/// Least time an item over several runs: the figure that noise from other processes disturbs least.
#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
fn best(kernel: &mut Kernel<'_>) -> f64 {
    (kernel.run)();
    let mut best = Duration::MAX;
    let begin = Instant::now();
    let mut runs = 0;
    while runs < 5 || begin.elapsed() < Duration::from_millis(400) {
        let start = Instant::now();
        (kernel.run)();
        best = best.min(start.elapsed());
        runs += 1;
    }
    best.as_secs_f64() * 1e9 / kernel.items as f64
}

fn ratios(kernels: &mut [Kernel<'_>], filter: &str) {
    let unit = (0..4)
        .map(|_| best(&mut kernels[0]))
        .fold(f64::INFINITY, f64::min);
    println!("{:<58} {:>11} {:>12}", "kernel", "ns an item", "dalek adds");
    for k in kernels.iter_mut().filter(|k| k.name.contains(filter)) {
        let ns = best(k);
        println!("{:<58} {ns:>11.1} {:>12.3}", k.name, ns / unit);
    }
}

fn main() {
    let data = Data::new();
    let mut kernels = dalek_kernels(&data);
    for backend in Backend::available() {
        if let Ok(engine) = Engine::new(backend) {
            kernels.extend(own_kernels(&data, engine));
        }
    }
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let Some(at) = words.iter().position(|w| w == "ratios") {
        let filter = words.get(at + 1).filter(|w| !w.starts_with('-'));
        ratios(&mut kernels, filter.map_or("", String::as_str));
        return;
    }
    let mut criterion = Criterion::default()
        .sample_size(20)
        .measurement_time(Duration::from_secs(2))
        .warm_up_time(Duration::from_millis(300))
        .configure_from_args();
    for k in &mut kernels {
        let mut group = criterion.benchmark_group("kernels");
        group.throughput(Throughput::Elements(k.items as u64));
        group.bench_function(&k.name, |b| b.iter(|| (k.run)()));
        group.finish();
    }
    criterion.final_summary();
}
