//! Decoding and encoding of ristretto255, eight at a time. The formulas are those of the portable module.

use zeroize::Zeroize;

use super::field::{F8, Mem5, splat_fe};
use super::point::P8;
use super::{Token, enter};
use crate::SimdError;
use crate::edwards::Point;
use crate::field51::{
    D, D_MINUS_ONE_SQ, Fe, INVSQRT_A_MINUS_D, ONE_MINUS_D_SQ, SQRT_AD_MINUS_ONE, SQRT_M1,
};
use crate::ristretto::uniform_halves;
use crate::scalar::words;

pub(crate) fn decompress(token: Token, encodings: &[[u8; 32]]) -> Result<Vec<Point>, SimdError> {
    let mut out = Vec::with_capacity(encodings.len());
    for (at, chunk) in encodings.chunks(8).enumerate() {
        let (valid, points) = enter!(token, decode(chunk));
        // Lanes beyond the chunk hold the encoding of the identity, which is valid.
        if valid != 0xff {
            return Err(SimdError::InvalidEncoding {
                index: at * 8 + valid.trailing_ones() as usize,
            });
        }
        out.extend_from_slice(&points[..chunk.len()]);
    }
    Ok(out)
}

/// 1 when the string is below p and even, bit 255 included.
fn canonical_even(bytes: &[u8; 32]) -> u8 {
    let mut borrow = 0u64;
    let p = [u64::MAX - 18, u64::MAX, u64::MAX, u64::MAX >> 1];
    for (w, p) in words(bytes).iter().zip(p) {
        let (d, b1) = w.overflowing_sub(p);
        let (_, b2) = d.overflowing_sub(borrow);
        borrow = u64::from(b1 | b2);
    }
    borrow as u8 & !bytes[0] & 1
}

#[target_feature(enable = "avx512ifma")]
fn decode(chunk: &[[u8; 32]]) -> (u8, [Point; 8]) {
    let mut fields = [Fe::ZERO; 8];
    let mut canonical = 0u8;
    for (lane, fe) in fields.iter_mut().enumerate() {
        let bytes = chunk.get(lane).unwrap_or(&[0; 32]);
        *fe = Fe::from_bytes(bytes);
        canonical |= canonical_even(bytes) << lane;
    }
    let one = splat_fe(&Fe::ONE);
    let s = F8::gather(fields.each_ref());
    let ss = s.square();
    let u1 = one.sub(ss);
    let u2 = one.add(ss);
    let u2_sq = u2.square();
    let v = splat_fe(&D)
        .mul_raw(u1.square())
        .add(u2_sq.raw())
        .carry()
        .neg();
    let (square, inv) = F8::sqrt_ratio(one, v.mul(u2_sq));
    let dx = inv.mul(u2);
    let dy = inv.mul(dx).mul(v);
    let x = s.add(s).mul(dx).abs();
    let y = u1.mul(dy);
    let t = x.mul(y);
    let valid = canonical & square & !t.negative() & !y.zero();
    let (x, y, t) = (x.scatter(), y.scatter(), t.scatter());
    (
        valid,
        core::array::from_fn(|i| Point {
            x: x[i],
            y: y[i],
            z: Fe::ONE,
            t: t[i],
        }),
    )
}

pub(crate) fn compress(token: Token, points: &[Point]) -> Vec<[u8; 32]> {
    let mut out = Vec::with_capacity(points.len());
    for chunk in points.chunks(8) {
        out.extend_from_slice(&enter!(token, encode(chunk))[..chunk.len()]);
    }
    out
}

/// X, Y, Z, T of up to eight points; lanes beyond are the identity.
#[target_feature(enable = "avx512ifma")]
fn coordinates(chunk: &[Point]) -> [F8; 4] {
    let none = Point::IDENTITY;
    let lanes: [&Point; 8] = core::array::from_fn(|i| chunk.get(i).unwrap_or(&none));
    [
        F8::gather(lanes.map(|p| &p.x)),
        F8::gather(lanes.map(|p| &p.y)),
        F8::gather(lanes.map(|p| &p.z)),
        F8::gather(lanes.map(|p| &p.t)),
    ]
}

#[target_feature(enable = "avx512ifma")]
fn to_bytes(fe: F8) -> [[u8; 32]; 8] {
    fe.scatter().map(Fe::to_bytes)
}

#[target_feature(enable = "avx512ifma")]
fn encode(chunk: &[Point]) -> [[u8; 32]; 8] {
    let [x0, y0, z, t] = coordinates(chunk);
    let sqrt_m1 = splat_fe(&SQRT_M1);
    let u1 = z.add(y0).mul(z.sub(y0));
    let u2 = x0.mul(y0);
    let (_, inv) = F8::sqrt_ratio(splat_fe(&Fe::ONE), u1.mul(u2.square()));
    let d1 = inv.mul(u1);
    let d2 = inv.mul(u2);
    let z_inv = d1.mul(d2).mul(t);
    let rotate = t.mul(z_inv).negative();
    let x = F8::select(x0, y0.mul(sqrt_m1), rotate);
    let y = F8::select(y0, x0.mul(sqrt_m1), rotate);
    let d = F8::select(d2, d1.mul(splat_fe(&INVSQRT_A_MINUS_D)), rotate);
    let y = y.neg_if(x.mul(z_inv).negative());
    to_bytes(d.mul(z.sub(y)).abs())
}

pub(crate) fn double_and_compress(token: Token, points: &[Point]) -> Vec<[u8; 32]> {
    enter!(token, double_and_compress_inner(points))
}

/// E, F, G, H of eight points; see the portable module.
struct Halves([Mem5; 4]);

#[target_feature(enable = "avx512ifma")]
fn double_and_compress_inner(points: &[Point]) -> Vec<[u8; 32]> {
    let groups = points.len().div_ceil(8);
    let mut halves = Vec::with_capacity(groups);
    let mut inverses = vec![[[0; 8]; 5]; groups];
    for (chunk, product) in points.chunks(8).zip(&mut inverses) {
        let [x, y, z, t] = coordinates(chunk);
        let zz = z.square_raw();
        let dtt = splat_fe(&D).mul_raw(t.square());
        let e = x.mul_raw(y).twice().carry();
        let f = zz.add(dtt).carry();
        let g = y.square_raw().add(x.square_raw()).carry();
        let h = zz.sub(dtt).carry();
        e.mul(g).mul(f.mul(h)).store(product);
        let mut mem = Halves([[[0; 8]; 5]; 4]);
        for (m, v) in mem.0.iter_mut().zip([e, f, g, h]) {
            v.store(m);
        }
        halves.push(mem);
    }
    F8::invert_batch(&mut inverses);
    let mut out = Vec::with_capacity(groups * 8);
    for (mem, inverse) in halves.iter().zip(&inverses) {
        out.extend_from_slice(&finish(mem, F8::load(inverse)));
    }
    out.truncate(points.len());
    for mem in &mut halves {
        mem.0.zeroize();
    }
    inverses.zeroize();
    out
}

#[target_feature(enable = "avx512ifma")]
fn finish(mem: &Halves, inverse: F8) -> [[u8; 32]; 8] {
    let [e0, f, g0, h0] = [&mem.0[0], &mem.0[1], &mem.0[2], &mem.0[3]].map(|m| F8::load(m));
    let eg = e0.mul(g0);
    let z_inv = eg.mul(inverse);
    let t_inv = f.mul(h0).mul(inverse);
    let rotate = eg.mul(z_inv).negative();
    let e = F8::select(e0, g0, rotate);
    let g = F8::select(g0, e0.neg(), rotate);
    let h = F8::select(h0, f.mul(splat_fe(&SQRT_M1)), rotate);
    let magic = F8::select(splat_fe(&INVSQRT_A_MINUS_D), splat_fe(&SQRT_M1), rotate);
    let g = g.neg_if(h.mul(e).mul(z_inv).negative());
    to_bytes(h.sub(g).mul(magic.mul(g.mul(t_inv))).abs())
}

pub(crate) fn from_uniform(token: Token, strings: &[[u8; 64]]) -> Vec<Point> {
    let mut out = Vec::with_capacity(strings.len().next_multiple_of(8));
    for chunk in strings.chunks(8) {
        out.extend_from_slice(&enter!(token, from_uniform_chunk(chunk))[..chunk.len()]);
    }
    out
}

#[target_feature(enable = "avx512ifma")]
fn from_uniform_chunk(chunk: &[[u8; 64]]) -> [Point; 8] {
    let halves: [[Fe; 2]; 8] =
        core::array::from_fn(|i| uniform_halves(chunk.get(i).unwrap_or(&[0; 64])));
    let a = map(F8::gather(halves.each_ref().map(|h| &h[0])));
    let b = map(F8::gather(halves.each_ref().map(|h| &h[1])));
    a.add(&b).scatter()
}

#[target_feature(enable = "avx512ifma")]
fn map(t: F8) -> P8 {
    let one = splat_fe(&Fe::ONE);
    let d = splat_fe(&D);
    let r = splat_fe(&SQRT_M1).mul(t.square());
    let u = r.add(one).mul(splat_fe(&ONE_MINUS_D_SQ));
    let v = one.add(r.mul(d)).neg().mul(r.add(d));
    let (square, s) = F8::sqrt_ratio(u, v);
    let s = F8::select(s.mul(t).abs().neg(), s, square);
    let c = F8::select(r, one.neg(), square);
    let n = c.mul(r.sub(one)).mul(splat_fe(&D_MINUS_ONE_SQ)).sub(v);
    let ss = s.square();
    let w0 = s.add(s).mul(v);
    let w1 = n.mul(splat_fe(&SQRT_AD_MINUS_ONE));
    let w2 = one.sub(ss);
    let w3 = one.add(ss);
    let (x, y) = (w0.mul_raw(w3), w2.mul_raw(w1));
    P8 {
        ymx: y.sub(x).carry(),
        ypx: y.add(x).carry(),
        z: w1.mul(w3),
        t: w0.mul(w2),
    }
}
