//! Small-scalar commitments, fixed-base and same-scalar multiplications against curve25519-dalek.

use crate::common::{
    dalek, engines, extreme_scalars, random_points, random_scalar, rng, scalar_i128,
};
use curve25519_dalek::RistrettoPoint;
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::{Identity, VartimeMultiscalarMul};
use rand_core::RngCore;
use veilsum_simd::{ColumnTables, FixedBaseTable, Point, SameScalarTables, SimdError};

fn want(row: &[i128], generators: &[RistrettoPoint]) -> RistrettoPoint {
    RistrettoPoint::vartime_multiscalar_mul(
        row.iter().map(|v| scalar_i128(*v)),
        &generators[..row.len()],
    )
}

fn random_value(rng: &mut impl RngCore, bits: u32) -> i128 {
    let max = (1i128 << bits) - 1;
    let raw = (i128::from(rng.next_u64()) << 63) ^ i128::from(rng.next_u64());
    match rng.next_u32() % 8 {
        0 => 0,
        1 => max,
        2 => -max,
        3 => 1,
        4 => -1,
        _ => raw.rem_euclid(2 * max + 1) - max,
    }
}

#[test]
fn rows_of_every_bound_and_shape() {
    let mut rng = rng(10);
    let (d, o) = random_points(&mut rng, 67);
    for engine in engines() {
        let tables = ColumnTables::new(engine, &o);
        assert_eq!(tables.columns(), 67);
        assert!(tables.memory_bytes() >= 67 * 32 * 96);
        for bits in [
            1, 2, 3, 4, 7, 8, 11, 14, 15, 16, 17, 31, 45, 53, 61, 62, 63, 64, 65, 100, 119, 120,
        ] {
            let height = [1, 2, 7, 8, 9, 16, 21][(bits % 7) as usize];
            let rows: Vec<Vec<i128>> = (0..height)
                .map(|r| {
                    let len = if r % 3 == 0 { 67 } else { (r * 31) % 68 };
                    (0..len).map(|_| random_value(&mut rng, bits)).collect()
                })
                .collect();
            let refs: Vec<&[i128]> = rows.iter().map(Vec::as_slice).collect();
            let got = tables.commit_rows(&refs, bits).unwrap();
            assert_eq!(got.len(), height);
            for (got, row) in got.iter().zip(&rows) {
                assert_eq!(dalek(got), want(row, &d), "bits {bits}");
            }
            if bits <= 63 {
                let small: Vec<Vec<i64>> = rows
                    .iter()
                    .map(|r| r.iter().map(|v| i64::try_from(*v).unwrap()).collect())
                    .collect();
                let refs: Vec<&[i64]> = small.iter().map(Vec::as_slice).collect();
                assert_eq!(tables.commit_rows(&refs, bits).unwrap(), got);
            }
        }
    }
}

#[test]
fn extreme_rows() {
    let mut rng = rng(11);
    let (d, o) = random_points(&mut rng, 300);
    for engine in engines() {
        let tables = ColumnTables::new(engine, &o);
        for v in [i16::MAX, -i16::MAX, 0, 1, -1, 0x7fff, 0x7777, -0x7778] {
            let row = vec![v; 300];
            let wide: Vec<i128> = row.iter().map(|v| i128::from(*v)).collect();
            let got = tables.commit_rows(&[&row, &row[..1], &[]], 15).unwrap();
            assert_eq!(dalek(&got[0]), want(&wide, &d));
            assert_eq!(dalek(&got[1]), want(&wide[..1], &d));
            assert!(bool::from(got[2].is_identity()));
        }
        // Equal and opposite generators drive the accumulators through doublings and the identity.
        let p = o[0];
        let tables = ColumnTables::new(engine, &[p, -p, p, Point::IDENTITY, -p, p.double()]);
        let rows: [&[i8]; 5] = [
            &[5, 5, 0, 9, 0, 0],
            &[1, -1, 1, 0, -1, 0],
            &[0, 0, 4, 0, 0, -2],
            &[127, -127, 127, 127, -127, 127],
            &[-127, -127, -127, -127, -127, -127],
        ];
        let got = tables.commit_rows(&rows, 7).unwrap();
        for (got, k) in got.iter().zip([0i128, 4, 0, 127 * 6, -127 * 2]) {
            assert_eq!(dalek(got), d[0] * scalar_i128(k));
        }
        assert_eq!(tables.commit_rows::<i64>(&[], 9).unwrap(), []);
        let none = ColumnTables::new(engine, &[]);
        assert!(bool::from(
            none.commit_rows::<i64>(&[&[]], 9).unwrap()[0].is_identity()
        ));
    }
}

#[test]
fn many_rows_keep_their_places() {
    let mut rng = rng(12);
    let (d, o) = random_points(&mut rng, 5);
    for engine in engines() {
        let tables = ColumnTables::new(engine, &o);
        for height in [63usize, 127, 128, 129, 333] {
            let rows: Vec<Vec<i32>> = (0..height)
                .map(|r| {
                    (0..1 + r % 5)
                        .map(|_| rng.next_u32() as i32 >> 12)
                        .collect()
                })
                .collect();
            let refs: Vec<&[i32]> = rows.iter().map(Vec::as_slice).collect();
            for (got, row) in tables.commit_rows(&refs, 20).unwrap().iter().zip(&rows) {
                let wide: Vec<i128> = row.iter().map(|v| i128::from(*v)).collect();
                assert_eq!(dalek(got), want(&wide, &d));
            }
        }
    }
}

#[test]
fn refused_rows() {
    let (_, o) = random_points(&mut rng(13), 3);
    for engine in engines() {
        let tables = ColumnTables::new(engine, &o);
        assert_eq!(
            tables.commit_rows::<i64>(&[&[1], &[1; 4]], 3),
            Err(SimdError::RowTooLong {
                row: 1,
                len: 4,
                columns: 3
            })
        );
        assert_eq!(
            tables.commit_rows::<i64>(&[&[7, -7, 0], &[0, -8, 0]], 3),
            Err(SimdError::SecretOutOfBound { bits: 3 })
        );
        assert_eq!(
            tables.commit_rows::<i16>(&[&[i16::MIN]], 15),
            Err(SimdError::SecretOutOfBound { bits: 15 })
        );
        for bits in [0, 16] {
            assert_eq!(
                tables.commit_rows::<i16>(&[&[0]], bits),
                Err(SimdError::BoundUnsupported { bits, max: 15 })
            );
        }
        assert_eq!(
            tables.commit_scalar_rows(&[&[[0; 32], [0xff; 32]]]),
            Err(SimdError::SecretScalarNotCanonical)
        );
        assert_eq!(
            tables.mul_column(3, &[0; 32]),
            Err(SimdError::NoSuchColumn {
                column: 3,
                columns: 3
            })
        );
        assert_eq!(
            tables.mul_column(0, &[0x1f; 32]),
            Err(SimdError::SecretScalarNotCanonical)
        );
    }
}

#[test]
fn full_width_rows() {
    let mut rng = rng(14);
    let mut scalars = extreme_scalars();
    scalars.extend((0..60).map(|_| random_scalar(&mut rng)));
    let (d, o) = random_points(&mut rng, scalars.len());
    let bytes: Vec<[u8; 32]> = scalars.iter().map(Scalar::to_bytes).collect();
    for engine in engines() {
        let tables = ColumnTables::new(engine, &o);
        for height in [1usize, 3, 8, 10] {
            let rows: Vec<&[[u8; 32]]> = (0..height).map(|r| &bytes[r..]).collect();
            let got = tables.commit_scalar_rows(&rows).unwrap();
            for (r, got) in got.iter().enumerate() {
                let want =
                    RistrettoPoint::vartime_multiscalar_mul(&scalars[r..], &d[..scalars.len() - r]);
                assert_eq!(dalek(got), want);
            }
        }
        for (i, s) in scalars.iter().enumerate().step_by(5) {
            assert_eq!(dalek(&tables.mul_column(i, &bytes[i]).unwrap()), d[i] * s);
            assert_eq!(dalek(&engine.mul(&o[i], &bytes[i]).unwrap()), d[i] * s);
        }
    }
}

#[test]
fn one_base_many_scalars() {
    let mut rng = rng(15);
    let (d, o) = random_points(&mut rng, 1);
    for engine in engines() {
        for max in [1, 15, 45, 64, 120, 253] {
            let table = FixedBaseTable::new(engine, &o[0], max).unwrap();
            for bits in [1, 7, 44, 45, 63, 64, 119] {
                if bits > max {
                    assert_eq!(
                        table.mul_small(&[0i128], bits),
                        Err(SimdError::BoundUnsupported { bits, max })
                    );
                    continue;
                }
                let values: Vec<i128> = (0..37).map(|_| random_value(&mut rng, bits)).collect();
                let got = table.mul_small(&values, bits).unwrap();
                for (got, v) in got.iter().zip(&values) {
                    assert_eq!(dalek(got), d[0] * scalar_i128(*v));
                }
                assert_eq!(
                    table.mul_small(&[0i128, 1 << bits], bits),
                    Err(SimdError::SecretOutOfBound { bits })
                );
            }
            let scalars = extreme_scalars();
            let bytes: Vec<[u8; 32]> = scalars.iter().map(Scalar::to_bytes).collect();
            let got = table.mul_scalars(&bytes);
            if max < 253 {
                assert_eq!(got, Err(SimdError::BoundUnsupported { bits: 253, max }));
            } else {
                for (got, s) in got.unwrap().iter().zip(&scalars) {
                    assert_eq!(dalek(got), d[0] * s);
                }
                assert_eq!(
                    table.mul_scalars(&[[0xff; 32]]),
                    Err(SimdError::SecretScalarNotCanonical)
                );
            }
        }
        for bits in [0, 254] {
            assert_eq!(
                FixedBaseTable::new(engine, &o[0], bits).unwrap_err(),
                SimdError::BoundUnsupported { bits, max: 253 }
            );
        }
    }
}

#[test]
fn one_scalar_many_points() {
    let mut rng = rng(16);
    let (mut d, mut o) = random_points(&mut rng, 19);
    d[5] = RistrettoPoint::identity();
    o[5] = Point::IDENTITY;
    let mut scalars = extreme_scalars();
    scalars.extend((0..5).map(|_| random_scalar(&mut rng)));
    for engine in engines() {
        let mut sizes = Vec::new();
        for entries in [1usize, 2, 5, 8, 16, 31, 64, 200] {
            let budget = entries * 24 * 128;
            let tables = SameScalarTables::new(engine, &o, budget).unwrap();
            assert_eq!(tables.len(), 19);
            assert!(tables.memory_bytes() <= budget);
            sizes.push(tables.memory_bytes());
            let some = if entries == 8 { 1 } else { 11 };
            for s in scalars.iter().step_by(some) {
                let got = tables.mul(&s.to_bytes()).unwrap();
                assert_eq!(got.len(), 19);
                for (got, d) in got.iter().zip(&d) {
                    assert_eq!(dalek(got), d * s, "entries {entries}");
                }
                for range in [0..8, 8..19, 3..4, 5..17, 0..0, 12..90] {
                    let part = tables.mul_range(&s.to_bytes(), range.clone()).unwrap();
                    assert_eq!(part, got[range.start..range.end.min(19)]);
                }
            }
            assert_eq!(
                tables.mul(&[0xff; 32]),
                Err(SimdError::SecretScalarNotCanonical)
            );
        }
        assert!(sizes.is_sorted() && sizes[0] < sizes[7]);
        assert_eq!(
            SameScalarTables::new(engine, &o, 24 * 128 - 1).unwrap_err(),
            SimdError::BudgetTooSmall {
                budget: 24 * 128 - 1,
                needed: 24 * 128
            }
        );
        assert!(
            SameScalarTables::new(engine, &[], 1 << 20)
                .unwrap()
                .is_empty()
        );
    }
}
