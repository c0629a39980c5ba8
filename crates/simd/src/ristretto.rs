//! Encoding and decoding of ristretto255 (RFC 9496), and the batched encoding of doubled points.

use subtle::Choice;
use zeroize::Zeroize;

use crate::SimdError;
use crate::edwards::Point;
use crate::field51::{
    D, D_MINUS_ONE_SQ, Fe, INVSQRT_A_MINUS_D, ONE_MINUS_D_SQ, SQRT_AD_MINUS_ONE, SQRT_M1,
};

impl Point {
    /// Decodes a canonical ristretto255 encoding (RFC 9496, 4.3.1), in constant time up to the verdict.
    ///
    /// # Errors
    /// [`SimdError::InvalidEncoding`] with index 0 for anything that no element encodes to.
    pub fn decompress(bytes: &[u8; 32]) -> Result<Self, SimdError> {
        let (valid, point) = decode(bytes);
        if bool::from(valid) {
            Ok(point)
        } else {
            Err(SimdError::InvalidEncoding { index: 0 })
        }
    }

    /// The canonical encoding, 32 bytes (RFC 9496, 4.3.2), in constant time.
    #[must_use]
    pub fn compress(&self) -> [u8; 32] {
        let u1 = self.z.add(&self.y).mul(&self.z.sub(&self.y));
        let u2 = self.x.mul(&self.y);
        let (_, inv) = Fe::sqrt_ratio(&Fe::ONE, &u1.mul(&u2.square()));
        let d1 = inv.mul(&u1);
        let d2 = inv.mul(&u2);
        let z_inv = d1.mul(&d2).mul(&self.t);
        let rotate = self.t.mul(&z_inv).is_negative();
        let x = Fe::select(&self.x, &self.y.mul(&SQRT_M1), rotate);
        let y = Fe::select(&self.y, &self.x.mul(&SQRT_M1), rotate);
        let d = Fe::select(&d2, &d1.mul(&INVSQRT_A_MINUS_D), rotate);
        let y = y.neg_if(x.mul(&z_inv).is_negative());
        d.mul(&self.z.sub(&y)).abs().to_bytes()
    }
}

/// Whether the string is a canonical encoding, and the point (meaningless when it is not). The point has Z = 1.
pub(crate) fn decode(bytes: &[u8; 32]) -> (Choice, Point) {
    let [decoded] = decode_each([bytes]);
    decoded
}

/// [`decode`] for several, whose square roots are taken side by side.
fn decode_each<const N: usize>(strings: [&[u8; 32]; N]) -> [(Choice, Point); N] {
    let s = strings.map(Fe::from_bytes);
    let ss = s.map(|s| s.square());
    let u1 = ss.map(|ss| Fe::ONE.sub(&ss));
    let u2 = ss.map(|ss| Fe::ONE.add(&ss));
    let u2_sq = u2.map(|u2| u2.square());
    let v: [Fe; N] = core::array::from_fn(|i| D.mul(&u1[i].square()).add(&u2_sq[i]).neg());
    let roots = Fe::sqrt_ratios([Fe::ONE; N], core::array::from_fn(|i| v[i].mul(&u2_sq[i])));
    core::array::from_fn(|i| {
        // Canonical and non-negative: the round trip is the identity (bit 255 included) and bit 0 is clear.
        let mut differ = strings[i][0] & 1;
        for (a, b) in s[i].to_bytes().iter().zip(strings[i]) {
            differ |= a ^ b;
        }
        let canonical = subtle::ConstantTimeEq::ct_eq(&differ, &0);
        let (square, inv) = &roots[i];
        let dx = inv.mul(&u2[i]);
        let dy = inv.mul(&dx).mul(&v[i]);
        let x = s[i].add(&s[i]).mul(&dx).abs();
        let y = u1[i].mul(&dy);
        let t = x.mul(&y);
        let valid = canonical & *square & !t.is_negative() & !y.is_zero();
        let point = Point {
            x,
            y,
            z: Fe::ONE,
            t,
        };
        (valid, point)
    })
}

/// Strings that are decoded side by side.
const TOGETHER: usize = 2;

pub(crate) fn decompress_portable(encodings: &[[u8; 32]]) -> Result<Vec<Point>, SimdError> {
    let mut out = Vec::with_capacity(encodings.len());
    let mut push = |(valid, point): (Choice, Point)| {
        let index = out.len();
        out.push(point);
        if bool::from(valid) {
            Ok(())
        } else {
            Err(SimdError::InvalidEncoding { index })
        }
    };
    let (groups, rest) = encodings.as_chunks::<TOGETHER>();
    for group in groups {
        decode_each(group.each_ref())
            .into_iter()
            .try_for_each(&mut push)?;
    }
    rest.iter().map(decode).try_for_each(push)?;
    Ok(out)
}

/// What the encoding of 2P needs of P. The double is the image of the 2-isogeny from the Jacobi quartic, so its
/// encoding is rational in these four: the square root that an encoding otherwise takes is known in advance.
struct Halves {
    e: Fe,
    f: Fe,
    g: Fe,
    h: Fe,
    eg: Fe,
    fh: Fe,
}

impl Halves {
    fn new(p: &Point) -> Self {
        let zz = p.z.square();
        let dtt = D.mul(&p.t.square());
        let e = p.x.mul(&p.y.add(&p.y));
        let f = zz.add(&dtt);
        let g = p.y.square().add(&p.x.square());
        let h = zz.sub(&dtt);
        let eg = e.mul(&g);
        let fh = f.mul(&h);
        Self { e, f, g, h, eg, fh }
    }

    /// Encodes, given 1 / (e f g h), or 0 when that is not invertible (2P is then the identity, encoded as 0).
    fn finish(&self, inverse: &Fe) -> [u8; 32] {
        let z_inv = self.eg.mul(inverse);
        let t_inv = self.fh.mul(inverse);
        let rotate = self.eg.mul(&z_inv).is_negative();
        let g = self.g.carry();
        let e = Fe::select(&self.e, &g, rotate);
        let g = Fe::select(&g, &self.e.neg(), rotate);
        let h = Fe::select(&self.h, &self.f.mul(&SQRT_M1), rotate);
        let magic = Fe::select(&INVSQRT_A_MINUS_D, &SQRT_M1, rotate);
        let g = g.neg_if(h.mul(&e).mul(&z_inv).is_negative());
        let s = h.carry().sub(&g).mul(&magic.mul(&g.mul(&t_inv)));
        s.abs().to_bytes()
    }
}

impl Zeroize for Halves {
    fn zeroize(&mut self) {
        for fe in [
            &mut self.e,
            &mut self.f,
            &mut self.g,
            &mut self.h,
            &mut self.eg,
            &mut self.fh,
        ] {
            fe.zeroize();
        }
    }
}

pub(crate) fn double_and_compress_portable(points: &[Point]) -> Vec<[u8; 32]> {
    let mut halves: Vec<Halves> = points.iter().map(Halves::new).collect();
    let mut inverses: Vec<Fe> = halves.iter().map(|h| h.eg.mul(&h.fh)).collect();
    Fe::invert_batch(&mut inverses);
    let out = halves
        .iter()
        .zip(&inverses)
        .map(|(h, inverse)| h.finish(inverse))
        .collect();
    halves.zeroize();
    inverses.zeroize();
    out
}

/// The two field elements of a 64-byte string: the low 255 bits of each half.
pub(crate) fn uniform_halves(bytes: &[u8; 64]) -> [Fe; 2] {
    let (mut low, mut high) = ([0; 32], [0; 32]);
    low.copy_from_slice(&bytes[..32]);
    high.copy_from_slice(&bytes[32..]);
    [Fe::from_bytes(&low), Fe::from_bytes(&high)]
}

/// MAP of RFC 9496, 4.3.4 (Elligator 2 on the Jacobi quartic), of several.
fn map_each<const N: usize>(t: [Fe; N]) -> [Point; N] {
    let r = t.map(|t| SQRT_M1.mul(&t.square()));
    let u = r.map(|r| r.add(&Fe::ONE).mul(&ONE_MINUS_D_SQ));
    let v = r.map(|r| Fe::ONE.add(&r.mul(&D)).neg().mul(&r.add(&D)));
    let roots = Fe::sqrt_ratios(u, v);
    core::array::from_fn(|i| {
        let (t, r, v, (square, s)) = (&t[i], &r[i], &v[i], &roots[i]);
        let s = Fe::select(&s.mul(t).abs().neg(), s, *square);
        let c = Fe::select(r, &Fe::ONE.neg(), *square);
        let n = c.mul(&r.sub(&Fe::ONE)).mul(&D_MINUS_ONE_SQ).sub(v);
        let ss = s.square();
        let w0 = s.add(&s).mul(v);
        let w1 = n.mul(&SQRT_AD_MINUS_ONE);
        let w2 = Fe::ONE.sub(&ss);
        let w3 = Fe::ONE.add(&ss);
        Point {
            x: w0.mul(&w3),
            y: w2.mul(&w1),
            z: w1.mul(&w3),
            t: w0.mul(&w2),
        }
    })
}

pub(crate) fn from_uniform_portable(strings: &[[u8; 64]]) -> Vec<Point> {
    strings
        .iter()
        .map(|bytes| {
            let [a, b] = map_each(uniform_halves(bytes));
            a + b
        })
        .collect()
}
