//! Multiscalar multiplication against curve25519-dalek.

use crate::common::{dalek, engines, extreme_scalars, random_points, random_scalar, rng};
use curve25519_dalek::RistrettoPoint;
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::{Identity, VartimeMultiscalarMul};
use rand_core::RngCore;
use veilsum_simd::{MsmGroup, Point, SimdError, split_msm};

#[test]
fn lengths_around_every_switch() {
    let mut rng = rng(20);
    let mut scalars = extreme_scalars();
    while scalars.len() < 1100 {
        scalars.push(random_scalar(&mut rng));
    }
    let (d, o) = random_points(&mut rng, 1100);
    let bytes: Vec<[u8; 32]> = scalars.iter().map(Scalar::to_bytes).collect();
    let mut short: Vec<u128> = vec![0, 1, u128::MAX, 1 << 127, u128::MAX >> 1, 1 << 64];
    while short.len() < 1100 {
        short.push(u128::from(rng.next_u64()) << 64 | u128::from(rng.next_u64()));
    }
    for engine in engines() {
        for n in [0usize, 1, 2, 7, 23, 24, 25, 47, 48, 100, 190, 513, 1100] {
            let want = RistrettoPoint::vartime_multiscalar_mul(&scalars[..n], &d[..n]);
            assert_eq!(
                dalek(&engine.msm_vartime(&bytes[..n], &o[..n]).unwrap()),
                want,
                "{n}"
            );
            let want = RistrettoPoint::vartime_multiscalar_mul(
                short[..n].iter().map(|s| Scalar::from(*s)),
                &d[..n],
            );
            assert_eq!(
                dalek(&engine.msm_short_vartime(&short[..n], &o[..n]).unwrap()),
                want,
                "{n}"
            );
        }
    }
}

#[test]
fn lists_with_the_same_scalars() {
    let mut rng = rng(23);
    let (_, points) = random_points(&mut rng, 700);
    let mut short: Vec<u128> = vec![0, u128::MAX, 1 << 127, 1];
    while short.len() < 350 {
        short.push(u128::from(rng.next_u64()) << 64 | u128::from(rng.next_u64()));
    }
    for engine in engines() {
        for n in [0usize, 1, 13, 14, 15, 160, 350] {
            let lists = [&points[..n], &points[350..350 + n], &points[..n]];
            let sums = engine
                .msm_same_scalars_counted_vartime(&short[..n], &lists)
                .unwrap();
            assert_eq!(sums.len(), 3);
            for (list, (sum, work)) in lists.iter().zip(&sums) {
                let groups = [MsmGroup::Short {
                    scalars: &short[..n],
                    points: list,
                }];
                let (want, want_work) = engine.msm_groups_counted_vartime(&groups).unwrap();
                assert_eq!((sum, *work), (&want, want_work), "{n}");
            }
        }
        for (left, right) in [(20, 19), (19, 20), (3, 2)] {
            let uneven = engine.msm_same_scalars_counted_vartime(
                &short[..left],
                &[&points[..left], &points[..right]],
            );
            assert_eq!(
                uneven.unwrap_err(),
                SimdError::LengthMismatch {
                    group: 0,
                    left,
                    right
                }
            );
        }
    }
}

#[test]
fn sums_of_many_places() {
    let mut rng = rng(24);
    let (d, o) = random_points(&mut rng, 60);
    for engine in engines() {
        for n in [0usize, 1, 7, 8, 9, 29] {
            // Both the same, opposite and neutral points in places of one vector.
            let mut sums = o[..n].to_vec();
            let mut more = o[30..30 + n].to_vec();
            let mut want: Vec<RistrettoPoint> = (0..n).map(|i| d[i] + d[30 + i]).collect();
            if n > 6 {
                (more[1], want[1]) = (sums[1], d[1] + d[1]);
                (more[3], want[3]) = (-sums[3], RistrettoPoint::identity());
                (more[5], want[5]) = (Point::IDENTITY, d[5]);
            }
            engine.add_each(&mut sums, &more).unwrap();
            assert_eq!(sums.iter().map(dalek).collect::<Vec<_>>(), want, "{n}");
        }
        let mut sums = o[..9].to_vec();
        let uneven = engine.add_each(&mut sums, &o[..8]);
        assert_eq!(
            uneven,
            Err(SimdError::LengthMismatch {
                group: 0,
                left: 9,
                right: 8
            })
        );
        assert_eq!(sums, o[..9]);
    }
}

#[test]
fn groups_merge_and_split() {
    let mut rng = rng(21);
    let (d, o) = random_points(&mut rng, 400);
    let scalars: Vec<Scalar> = (0..400).map(|_| random_scalar(&mut rng)).collect();
    let bytes: Vec<[u8; 32]> = scalars.iter().map(Scalar::to_bytes).collect();
    let short: Vec<u128> = (0..400).map(|_| u128::from(rng.next_u64()) << 60).collect();
    for engine in engines() {
        for (a, b, c) in [
            (0, 0, 0),
            (3, 4, 5),
            (200, 20, 120),
            (20, 200, 20),
            (0, 300, 100),
            (130, 1, 269),
        ] {
            let groups = [
                MsmGroup::Full {
                    scalars: &bytes[..a],
                    points: &o[..a],
                },
                MsmGroup::Short {
                    scalars: &short[a..a + b],
                    points: &o[a..a + b],
                },
                MsmGroup::Full {
                    scalars: &bytes[a + b..a + b + c],
                    points: &o[a + b..a + b + c],
                },
                MsmGroup::Short {
                    scalars: &short[..a],
                    points: &o[..a],
                },
            ];
            let mut want = RistrettoPoint::identity();
            for i in 0..a {
                want += d[i] * (scalars[i] + Scalar::from(short[i]));
            }
            for i in a..a + b {
                want += d[i] * Scalar::from(short[i]);
            }
            for i in a + b..a + b + c {
                want += d[i] * scalars[i];
            }
            assert_eq!(dalek(&engine.msm_groups_vartime(&groups).unwrap()), want);
            for parts in [0, 1, 2, 3, 7, 1000] {
                let pieces = split_msm(&groups, parts).unwrap();
                assert!(pieces.len() <= parts.max(1));
                let sums: Vec<Point> = pieces
                    .iter()
                    .map(|p| engine.msm_groups_vartime(p).unwrap())
                    .collect();
                assert_eq!(dalek(&Point::sum(&sums)), want);
            }
        }
    }
}

#[test]
fn degenerate_points_and_digits() {
    let mut rng = rng(22);
    let (d, o) = random_points(&mut rng, 2);
    for engine in engines() {
        // All in one bucket, all zero, and cancelling pairs.
        for n in [30usize, 300] {
            let ones = vec![Scalar::ONE.to_bytes(); n];
            let p = vec![o[0]; n];
            let sum = engine.msm_vartime(&ones, &p).unwrap();
            assert_eq!(dalek(&sum), d[0] * Scalar::from(n as u64));
            let zeros = vec![[0; 32]; n];
            assert!(bool::from(
                engine.msm_vartime(&zeros, &p).unwrap().is_identity()
            ));
            let identities = vec![Point::IDENTITY; n];
            assert!(bool::from(
                engine
                    .msm_vartime(&ones, &identities)
                    .unwrap()
                    .is_identity()
            ));
            let mixed: Vec<Point> = (0..n)
                .map(|i| if i % 2 == 0 { o[1] } else { -o[1] })
                .collect();
            let s = vec![random_scalar(&mut rng).to_bytes(); n];
            assert!(bool::from(
                engine.msm_vartime(&s, &mixed).unwrap().is_identity()
            ));
        }
    }
}

#[test]
fn refused_inputs() {
    for engine in engines() {
        assert_eq!(
            engine.msm_vartime(&[[0; 32]], &[]),
            Err(SimdError::LengthMismatch {
                group: 0,
                left: 1,
                right: 0
            })
        );
        let bad = [[0; 32], [0xff; 32]];
        let groups = [
            MsmGroup::Short {
                scalars: &[],
                points: &[],
            },
            MsmGroup::Full {
                scalars: &bad,
                points: &[Point::BASE; 2],
            },
        ];
        assert_eq!(
            engine.msm_groups_vartime(&groups),
            Err(SimdError::ScalarNotCanonical { group: 1, index: 1 })
        );
        assert_eq!(
            split_msm(
                &[MsmGroup::Short {
                    scalars: &[1],
                    points: &[]
                }],
                2
            )
            .unwrap_err(),
            SimdError::LengthMismatch {
                group: 0,
                left: 1,
                right: 0
            }
        );
    }
}
