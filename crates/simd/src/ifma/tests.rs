//! The lanes against the portable field, at the bounds that the carries rely on.

use super::field::F8;
use super::point::{MemN8, N8, P8, to_affine_batch};
use super::{Token, enter};
use crate::edwards::Point;
use crate::field51::Fe;

fn token() -> Option<Token> {
    let token = Token::detect();
    println!(
        "avx512ifma: {}",
        if token.is_some() {
            "tested"
        } else {
            "absent, not tested"
        }
    );
    token
}

/// Limbs drawn from the corners of the tight range (or of the range below 2^52) and from its inside.
fn corner_elements(count: usize, wide: bool) -> Vec<Fe> {
    let top = if wide {
        (1u64 << 52) - 1
    } else {
        (1 << 51) + (1 << 17) - 1
    };
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut out = vec![Fe([top; 5]), Fe([0; 5]), Fe([(1 << 51) - 1; 5])];
    while out.len() < count {
        out.push(Fe(core::array::from_fn(|_| match next() % 6 {
            0 => top,
            1 => 0,
            2 => (1 << 51) - 1,
            3 => 1 << 51,
            4 => top - next() % 64,
            _ => next() % (top + 1),
        })));
    }
    out
}

fn chunks(elements: &[Fe]) -> impl Iterator<Item = [&Fe; 8]> {
    elements
        .as_chunks::<8>()
        .0
        .iter()
        .map(|chunk| chunk.each_ref())
}

fn same(lanes: [Fe; 8], want: impl Fn(usize) -> Fe) {
    for (i, got) in lanes.iter().enumerate() {
        assert!(bool::from(got.equals(&want(i))), "lane {i}");
        assert!(got.0.iter().all(|limb| *limb < (1 << 51) + (1 << 17)));
    }
}

#[test]
fn products_at_the_corners() {
    let Some(token) = token() else { return };
    for wide in [false, true] {
        let a = corner_elements(800, wide);
        let b: Vec<Fe> = a.iter().rev().copied().collect();
        for (a, b) in chunks(&a).zip(chunks(&b)) {
            let (product, square) = enter!(token, {
                let (x, y) = (F8::gather(a), F8::gather(b));
                (x.mul(y).scatter(), x.square().scatter())
            });
            same(product, |i| a[i].mul(b[i]));
            same(square, |i| a[i].square());
        }
    }
}

#[test]
fn sums_of_raw_products_at_the_corners() {
    let Some(token) = token() else { return };
    let a = corner_elements(400, false);
    // The second operand of a mixed addition may come from a negation, with limbs up to 2^52.
    let b = corner_elements(400, true);
    for (a, b) in chunks(&a).zip(chunks(&b)) {
        let got = enter!(token, {
            let (x, y) = (F8::gather(a), F8::gather(b));
            let (p, q) = (x.mul_raw(y), x.square_raw());
            [
                p.sub(q).carry().scatter(),
                q.sub(p).carry().scatter(),
                p.add(q).carry().scatter(),
                // The largest difference of a doubling.
                q.twice().twice().sub(q.twice()).carry().scatter(),
                x.raw().twice().sub(p).carry().scatter(),
                x.sub(y).scatter(),
                x.add(y).scatter(),
                y.neg().scatter(),
            ]
        });
        let mul = |i: usize| a[i].mul(b[i]);
        let square = |i: usize| a[i].square();
        same(got[0], |i| mul(i).sub(&square(i)));
        same(got[1], |i| square(i).sub(&mul(i)));
        same(got[2], |i| mul(i).add(&square(i)));
        same(got[3], |i| square(i).add(&square(i)));
        same(got[4], |i| a[i].add(a[i]).sub(&mul(i)));
        same(got[5], |i| a[i].sub(b[i]));
        same(got[6], |i| a[i].add(b[i]));
        same(got[7], |i| b[i].neg());
    }
}

#[test]
fn canonical_forms_roots_and_inverses() {
    let Some(token) = token() else { return };
    let mut a = corner_elements(160, true);
    // 0, p - 1, p, p + 1, 2^255 - 1, 2p in several spellings.
    let low = (1u64 << 51) - 1;
    for first in [low - 20, low - 19, low - 18, low - 17, low] {
        a.push(Fe([first, low, low, low, low]));
    }
    a.push(Fe([2 * (low - 18), 2 * low, 2 * low, 2 * low, 2 * low]));
    a.extend([Fe::ZERO, Fe::ONE]);
    for lanes in chunks(&a) {
        let (canonical, negative, zero, inverse, (square, root)) = enter!(token, {
            let x = F8::gather(lanes);
            (
                x.canonical().scatter(),
                x.negative(),
                x.zero(),
                x.invert().scatter(),
                F8::sqrt_ratio(x, x.add(super::field::splat_fe(&Fe::ONE))),
            )
        });
        let root = enter!(token, root.scatter());
        for i in 0..8 {
            assert_eq!(canonical[i].0, lanes[i].canonical().0);
            assert_eq!(negative >> i & 1, lanes[i].is_negative().unwrap_u8());
            assert_eq!(zero >> i & 1, lanes[i].is_zero().unwrap_u8());
            assert!(bool::from(inverse[i].equals(&lanes[i].invert())));
            let (want, r) = Fe::sqrt_ratio(lanes[i], &lanes[i].add(&Fe::ONE));
            assert_eq!(square >> i & 1, want.unwrap_u8());
            assert!(bool::from(root[i].equals(&r)));
        }
    }
}

#[test]
fn points_keep_their_lanes() {
    let Some(token) = token() else { return };
    let points: Vec<Point> = (0..8).map(|i| Point::BASE.double_times(3 * i)).collect();
    let other: Vec<Point> = (0..8).map(|i| -Point::BASE.double_times(5 * i)).collect();
    let (back, double, sum, negative, affine) = enter!(token, {
        let (p, q) = (P8::gather_slice(&points), P8::gather_slice(&other));
        let mut mem = super::point::MemP8::ZERO;
        mem.store(&q);
        let affine: Vec<MemN8> = to_affine_batch(&[mem]);
        let n = N8 {
            ymx: F8::load(&affine[0].0[0]),
            ypx: F8::load(&affine[0].0[1]),
            t2d: F8::load(&affine[0].0[2]),
        };
        (
            p.scatter(),
            p.double().scatter(),
            p.add(&q).scatter(),
            p.neg().scatter(),
            [
                p.add_affine(&n).scatter(),
                p.add_affine(&n.neg_if(0b1010_0110)).scatter(),
            ],
        )
    });
    for i in 0..8 {
        assert_eq!(back[i], points[i]);
        assert_eq!(double[i], points[i].double());
        assert_eq!(sum[i], points[i] + other[i]);
        assert_eq!(negative[i], -points[i]);
        assert_eq!(affine[0][i], points[i] + other[i]);
        let minus = 0b1010_0110 >> i & 1 == 1;
        let want = if minus {
            points[i] - other[i]
        } else {
            points[i] + other[i]
        };
        assert_eq!(affine[1][i], want);
        // The invariant T Z = X Y, which equality does not see.
        for p in [&double[i], &sum[i], &affine[1][i]] {
            assert!(bool::from(p.t.mul(&p.z).equals(&p.x.mul(&p.y))));
        }
    }
}
