use super::*;
use crate::blinding_base;
use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};
use veilsum_simd::Backend;

fn pack(pairs: &[[i64; 2]], beta_log2: u32) -> Vec<Point> {
    let base = FixedBaseTable::new(Engine::auto(), &Point::BASE, 100).unwrap();
    let values: Vec<i128> = pairs
        .iter()
        .map(|[low, high]| i128::from(*low) + (i128::from(*high) << beta_log2))
        .collect();
    base.mul_small(&values, 100).unwrap()
}

fn singles(values: &[i64]) -> Vec<[i64; 2]> {
    values.iter().map(|v| [*v, 0]).collect()
}

fn foreign() -> Point {
    Point::decompress(blinding_base().compress().as_bytes()).unwrap()
}

#[test]
fn finds_single_values_within_the_radius_and_none_beyond() {
    let values = singles(&[0, 1, -1, 255, -256, 1000, -1000, 65_535, -65_536, 700_001]);
    let points = pack(&values, 0);
    let radius = 708_000;
    for backend in Backend::available() {
        let engine = Engine::new(backend).unwrap();
        assert_eq!(
            solve(engine, &points, Packing::Single, radius),
            Ok(values.clone())
        );
        // The norm of all together is what is bounded.
        assert_eq!(
            solve(engine, &points, Packing::Single, 700_001),
            Err(CryptoError::DiscreteLog { position: 9 })
        );
        let mut off = points.clone();
        off[3] += foreign();
        assert_eq!(
            solve(engine, &off, Packing::Single, radius),
            Err(CryptoError::DiscreteLog { position: 3 })
        );
    }
}

#[test]
fn finds_every_pair_within_the_radius_and_none_beyond() {
    let packing = Packing::Pair { beta_log2: 13 };
    let pairs = vec![
        [0, 0],
        [1, -1],
        [-300, 300],
        [2500, -2500],
        [-300, -7],
        [17, 0],
        [0, -299],
    ];
    let points = pack(&pairs, 13);
    let engine = Engine::auto();
    assert_eq!(solve(engine, &points, packing, 3600), Ok(pairs));
    for beyond in [[3600, 0], [0, 3600], [-2600, 2600]] {
        let mut points = points.clone();
        points[4] = pack(&[beyond], 13)[0];
        assert!(matches!(
            solve(engine, &points, packing, 3599),
            Err(CryptoError::DiscreteLog { .. })
        ));
    }
    // One more than the packing base allows.
    assert_eq!(
        solve(engine, &points, packing, 4096),
        Err(CryptoError::Packing {
            beta_log2: 13,
            radius: 4096
        })
    );
    assert_eq!(solve(engine, &[], packing, 0), Ok(Vec::new()));
    assert_eq!(
        solve(engine, &[Point::IDENTITY], packing, 0),
        Ok(vec![[0, 0]])
    );
}

/// Sums of keys as 1,024 clients make them, and the worst that they could: all of them put their whole norm on one
/// coordinate, on one pair, or on as many as the first tables do not reach.
#[test]
fn the_widest_sums_of_1024_clients_are_found() {
    const BOUND: i64 = 797;
    let radius = 1024 * BOUND;
    let packing = Packing::Pair { beta_log2: 21 };
    let mut rng = ChaCha20Rng::seed_from_u64(9);
    let mut honest = vec![[0i64; 2]; 4096];
    for pair in honest.iter_mut().flatten() {
        // Of standard deviation about 256, as 1,024 keys of width 8 have.
        *pair = (0..12)
            .map(|_| i64::from(rng.next_u32() >> 22) - 512)
            .sum::<i64>()
            / 4;
    }
    let spread = |points: i64| (radius * radius / (2 * points)).isqrt();
    let worst = [
        vec![(0, [radius, 0])],
        vec![(4095, [0, -radius])],
        vec![(17, [radius * 70 / 99 - 1, -radius * 70 / 99 + 1])],
        (0..40)
            .map(|i| (100 * i, [spread(40), -spread(40)]))
            .collect(),
        (0..4096)
            .map(|i| (i, [-spread(4096), spread(4096)]))
            .collect(),
    ];
    let engine = Engine::auto();
    let opens = |pairs: &Vec<[i64; 2]>| {
        solve(engine, &pack(pairs, 21), packing, radius.unsigned_abs()).as_ref() == Ok(pairs)
    };
    assert!(opens(&honest));
    for (case, extreme) in worst.into_iter().enumerate() {
        let mut pairs = vec![[0i64; 2]; 4096];
        for (at, pair) in extreme {
            pairs[at] = pair;
        }
        assert!(opens(&pairs), "case {case}");
    }
}

/// A point that is no multiple within reach costs what the radius allows, not a search for each coordinate.
#[test]
fn points_that_are_no_sums_are_refused_early() {
    let pairs = vec![[3, -4]; 4096];
    let mut points = pack(&pairs[..1], 21).repeat(4096);
    for at in [5, 900, 4000] {
        points[at] += foreign();
    }
    let search = solve(
        Engine::auto(),
        &points,
        Packing::Pair { beta_log2: 21 },
        20_000,
    );
    assert_eq!(search, Err(CryptoError::DiscreteLog { position: 5 }));
}

#[test]
fn threads_and_backends_change_nothing() {
    let mut rng = ChaCha20Rng::seed_from_u64(4);
    let pairs: Vec<[i64; 2]> = (0..300)
        .map(|_| [0; 2].map(|_: i64| i64::from(rng.next_u32() >> 20) - 2048))
        .collect();
    let points = pack(&pairs, 21);
    for backend in Backend::available() {
        let engine = Engine::new(backend).unwrap();
        for threads in [1, 3] {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            let found =
                pool.install(|| solve(engine, &points, Packing::Pair { beta_log2: 21 }, 100_000));
            assert_eq!(found.as_ref(), Ok(&pairs));
        }
    }
}

#[test]
fn lone_values_far_out_on_an_axis_are_found() {
    let far = (1i64 << 33) - 54_321;
    for far in [[far, -far], [-far, 3 << 24], [1 << 24, far]] {
        let mut values = vec![[0, 0]; 20];
        (values[3][0], values[17][0]) = (far[0], far[1]);
        let points = pack(&values, 0);
        let found = solve(Engine::auto(), &points, Packing::Single, 1 << 34);
        assert_eq!(found, Ok(values));
    }
}

#[test]
fn an_axis_keeps_only_the_multiples_that_it_still_needs() {
    let plane = |beta_log2| Plane {
        beta_log2,
        bits: 20,
    };
    let points = pack(&singles(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]), 0);
    for (plane, kept) in [(plane(0), 4), (plane(9), 11)] {
        let mut shifts = Shifts {
            low: Multiples::new(points[1]),
            high: Multiples::new(points[2]),
        };
        shifts.extend(plane, 0, 3);
        shifts.extend(plane, 7, 10);
        assert_eq!(shifts.low.points.len(), kept);
        for (steps, point) in (7..=10i64).zip(&points[7..]) {
            assert_eq!(shifts.offset([-steps, 0]), *point);
            assert_eq!(shifts.offset([steps, 0]), -*point);
        }
    }
}
