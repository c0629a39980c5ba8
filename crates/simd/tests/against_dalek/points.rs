//! Decoding, encoding and the group law against curve25519-dalek.

use crate::common::{dalek, engines, ours, random_dalek, random_points, rng};
use curve25519_dalek::ristretto::CompressedRistretto;
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::Identity;
use curve25519_dalek::{RistrettoPoint, constants};
use rand_core::RngCore;
use veilsum_simd::{Backend, Engine, Point, SimdError};
use zeroize::Zeroize;

/// Strings near every boundary of the encoding: around 0, p, 2^255, sign and high bits set, and random ones.
fn candidate_strings() -> Vec<[u8; 32]> {
    let mut rng = rng(1);
    let mut out = Vec::new();
    for low in 0..=255u8 {
        for (mid, top) in [(0, 0), (0, 0x80), (0xff, 0x7f), (0xff, 0xff), (0, 0x40)] {
            let mut b = [mid; 32];
            b[0] = low;
            b[31] = top;
            out.push(b);
        }
    }
    for _ in 0..3000 {
        let mut b = [0; 32];
        rng.fill_bytes(&mut b);
        out.push(b);
        b[31] &= 0x7f;
        b[0] &= 0xfe;
        out.push(b);
    }
    for _ in 0..300 {
        let good = random_dalek(&mut rng).compress().to_bytes();
        out.push(good);
        let mut flipped = good;
        flipped[(rng.next_u32() % 32) as usize] ^= 1 << (rng.next_u32() % 8);
        out.push(flipped);
    }
    out
}

#[test]
fn decoding_accepts_exactly_what_dalek_accepts() {
    let strings = candidate_strings();
    let mut good = Vec::new();
    for s in &strings {
        let theirs = CompressedRistretto(*s).decompress();
        let mine = Point::decompress(s);
        assert_eq!(theirs.is_some(), mine.is_ok(), "{s:02x?}");
        if let Ok(p) = mine {
            assert_eq!(p.compress(), *s);
            good.push(*s);
        }
    }
    assert!(good.len() > 1000 && good.len() < strings.len());
    for engine in engines() {
        // One bad string anywhere is named; the first of several is.
        for s in &strings {
            let bad = CompressedRistretto(*s).decompress().is_none();
            let single = engine.decompress(&[*s]);
            assert_eq!(single.is_err(), bad);
        }
        let all = engine.decompress(&good).unwrap();
        assert_eq!(engine.compress(&all), good);
        for at in [0, 1, 7, 8, 500, good.len() - 1] {
            let mut list = good.clone();
            list[at] = [0xff; 32];
            *list.last_mut().unwrap() = [0x01; 32];
            assert_eq!(
                engine.decompress(&list).unwrap_err(),
                SimdError::InvalidEncoding { index: at }
            );
        }
        for n in 0..20 {
            assert_eq!(engine.decompress(&good[..n]).unwrap(), all[..n]);
        }
    }
}

#[test]
fn group_law() {
    let mut rng = rng(2);
    let (d, o) = random_points(&mut rng, 40);
    for i in 0..40 {
        let j = (i * 7 + 3) % 40;
        assert_eq!(dalek(&o[i]), d[i]);
        assert_eq!(dalek(&(o[i] + o[j])), d[i] + d[j]);
        assert_eq!(dalek(&(o[i] - o[j])), d[i] - d[j]);
        assert_eq!(dalek(&-o[i]), -d[i]);
        assert_eq!(dalek(&o[i].double()), d[i] + d[i]);
        assert_eq!(o[i] + o[i], o[i].double());
        assert!(bool::from((o[i] - o[i]).is_identity()));
        assert!(!bool::from(o[i].is_identity()));
        assert_eq!(o[i] + Point::IDENTITY, o[i]);
        assert_eq!(o[i] == o[j], i == j);
    }
    assert_eq!(dalek(&Point::sum(&o)), d.iter().sum());
    assert_eq!(dalek(&Point::BASE), constants::RISTRETTO_BASEPOINT_POINT);
    assert_eq!(Point::default().compress(), [0; 32]);
    let mut secret = o[0];
    secret.zeroize();
    assert_eq!(
        format!("{secret:?} {:?}", o[1]),
        "Point(<redacted>) Point(<redacted>)"
    );
}

#[test]
fn doubled_encodings() {
    let mut rng = rng(3);
    let (mut d, mut o) = random_points(&mut rng, 75);
    for at in [0usize, 7, 8, 74] {
        d[at] = RistrettoPoint::identity();
        o[at] = o[at] - o[at];
    }
    // The base point and its negative, and points in affine form.
    d.extend([
        constants::RISTRETTO_BASEPOINT_POINT,
        -constants::RISTRETTO_BASEPOINT_POINT,
    ]);
    o.extend([Point::BASE, -Point::BASE]);
    for _ in 0..30 {
        let p = random_dalek(&mut rng);
        o.push(ours(&p));
        d.push(p);
    }
    let want: Vec<[u8; 32]> = RistrettoPoint::double_and_compress_batch(&d)
        .iter()
        .map(|c| c.to_bytes())
        .collect();
    let plain: Vec<[u8; 32]> = d.iter().map(|p| p.compress().to_bytes()).collect();
    for engine in engines() {
        for n in (0..20).chain([o.len()]) {
            assert_eq!(engine.double_and_compress(&o[..n]), want[..n]);
            assert_eq!(engine.compress(&o[..n]), plain[..n]);
        }
        // All identity.
        assert_eq!(
            engine.double_and_compress(&[Point::IDENTITY; 9]),
            [[0; 32]; 9]
        );
    }
}

#[test]
fn uniform_bytes_map_as_in_dalek() {
    let mut rng = rng(4);
    let mut strings: Vec<[u8; 64]> = vec![[0; 64], [0xff; 64], [1; 64], [0x80; 64]];
    for low in [0u8, 1, 2, 0xec, 0xed, 0xee, 0xff] {
        for top in [0, 0x7f, 0x80, 0xff] {
            let mut s = [if top & 0x7f == 0 { 0 } else { 0xff }; 64];
            (s[0], s[31], s[32], s[63]) = (low, top, low ^ 1, top);
            strings.push(s);
        }
    }
    while strings.len() < 203 {
        let mut s = [0; 64];
        rng.fill_bytes(&mut s);
        strings.push(s);
    }
    for engine in engines() {
        let points = engine.from_uniform_bytes(&strings);
        assert_eq!(points.len(), strings.len());
        for (p, s) in points.iter().zip(&strings) {
            assert_eq!(dalek(p), RistrettoPoint::from_uniform_bytes(s));
            // Further arithmetic sees all four coordinates.
            assert_eq!(
                dalek(&p.double()),
                RistrettoPoint::from_uniform_bytes(s) * Scalar::from(2u8)
            );
            assert_eq!(p.double(), *p + *p);
        }
        assert!(engine.from_uniform_bytes(&[]).is_empty());
    }
}

#[test]
fn backends_resolve() {
    let auto = Engine::new(Backend::Auto).unwrap();
    assert_ne!(auto.backend(), Backend::Auto);
    assert_eq!(auto.backend(), Engine::auto().backend());
    assert_eq!(
        Engine::new(Backend::Portable).unwrap().backend(),
        Backend::Portable
    );
    match Engine::new(Backend::Avx512Ifma) {
        Ok(e) => assert_eq!(e.backend(), Backend::Avx512Ifma),
        Err(e) => assert_eq!(e, SimdError::BackendUnavailable(Backend::Avx512Ifma)),
    }
}
