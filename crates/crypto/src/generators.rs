use curve25519_dalek::ristretto::RistrettoPoint;
use rayon::prelude::*;
use sha2::{Digest as _, Sha512};
use veilsum_params::Layout;
use veilsum_simd::{Engine, Point};

/// Points that one task makes.
const HASHED_AT_ONCE: usize = 128;

/// A family of independent generators (`specs/protocol.md`, "Generators").
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// G_b: the columns of the witness matrix.
    Column,
    /// V_a: the blinding of row a.
    Row,
    /// W_l: the key vector.
    Key,
    /// Pi_j: the coefficients of the mask polynomial.
    Mask,
    /// Hpi: the blinding of the mask polynomial's commitment.
    MaskBlinding,
}

impl Family {
    /// The name that is hashed.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Column => "veilsum/v1 generator column G",
            Self::Row => "veilsum/v1 generator row blinding V",
            Self::Key => "veilsum/v1 generator key W",
            Self::Mask => "veilsum/v1 generator mask Pi",
            Self::MaskBlinding => "veilsum/v1 generator mask blinding Hpi",
        }
    }

    /// Generator `index`: twice the ristretto255 hash-to-group (wide map) of
    /// SHA-512(length of name as u64 || name || index as u64), little-endian.
    pub fn generator(self, index: u64) -> Generator {
        let half = RistrettoPoint::from_uniform_bytes(&self.uniform(index));
        Generator {
            half,
            point: half + half,
        }
    }

    /// What is mapped to the group.
    fn uniform(self, index: u64) -> [u8; 64] {
        let name = self.name().as_bytes();
        Sha512::new()
            .chain_update((name.len() as u64).to_le_bytes())
            .chain_update(name)
            .chain_update(index.to_le_bytes())
            .finalize()
            .into()
    }

    /// Halves of generators `0..count`, the same points as [`Family::generator`] gives, for tables: mapped many at a time
    /// on the engine, on the threads of the current pool.
    pub fn halves(self, engine: Engine, count: u32) -> Vec<Point> {
        let indices: Vec<u64> = (0..count.into()).collect();
        let parts: Vec<Vec<Point>> = indices
            .par_chunks(HASHED_AT_ONCE)
            .map(|part| {
                let strings: Vec<[u8; 64]> = part.iter().map(|i| self.uniform(*i)).collect();
                engine.from_uniform_bytes(&strings)
            })
            .collect();
        parts.concat()
    }

    fn first(self, count: u32) -> Vec<Generator> {
        (0..u64::from(count))
            .into_par_iter()
            .map(|i| self.generator(i))
            .collect()
    }
}

/// A generator and its known half: outputs can be computed from halves and go through batched double-and-compress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Generator {
    /// The hashed point.
    pub half: RistrettoPoint,
    /// Twice the hashed point: the generator.
    pub point: RistrettoPoint,
}

/// All generators that one layout needs, made one by one and by another library than [`Family::halves`]: what tests
/// compare with.
#[derive(Clone, Debug)]
pub struct Generators {
    /// G_b, one for each column.
    pub columns: Vec<Generator>,
    /// V_a, one for each row.
    pub rows: Vec<Generator>,
    /// W_l, one for each point of the key ciphertext.
    pub key: Vec<Generator>,
    /// Pi_j, one for each coefficient of the mask polynomial.
    pub mask: Vec<Generator>,
    /// Hpi.
    pub mask_blinding: Generator,
}

impl Generators {
    /// The generators of a layout; about 9 us each on one core.
    pub fn for_layout(layout: &Layout) -> Self {
        Self {
            columns: Family::Column.first(layout.columns),
            rows: Family::Row.first(layout.rows()),
            key: Family::Key.first(layout.key_points()),
            mask: Family::Mask.first(layout.mask_coefficients()),
            mask_blinding: Family::MaskBlinding.generator(0),
        }
    }
}

/// Bt: the blinding base of the range proof's commitment, that of the `bulletproofs` crate's `PedersenGens`.
pub fn blinding_base() -> RistrettoPoint {
    bulletproofs::PedersenGens::default().B_blinding
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn generators_are_distinct_and_doubled() {
        let families = [
            Family::Column,
            Family::Row,
            Family::Key,
            Family::Mask,
            Family::MaskBlinding,
        ];
        let mut seen = BTreeSet::new();
        for family in families {
            for i in 0..50 {
                let g = family.generator(i);
                assert_eq!(g.point, g.half + g.half);
                assert!(seen.insert(g.point.compress().to_bytes()));
            }
        }
        assert!(seen.insert(blinding_base().compress().to_bytes()));
    }

    #[test]
    fn many_at_a_time_are_the_same_points_on_every_backend() {
        for backend in veilsum_simd::Backend::available() {
            let engine = Engine::new(backend).unwrap();
            for (family, count) in [
                (Family::Column, 300),
                (Family::Row, 129),
                (Family::Key, 9),
                (Family::Mask, 1),
                (Family::MaskBlinding, 0),
            ] {
                let halves = family.halves(engine, count);
                assert_eq!(halves.len(), count as usize);
                for (i, half) in (0..).zip(&halves) {
                    let want = family.generator(i).half.compress().to_bytes();
                    assert_eq!(half.compress(), want, "{} {i}", family.name());
                }
            }
        }
    }

    #[test]
    fn the_first_column_generator_is_pinned() {
        assert_eq!(
            crate::Digest(Family::Column.generator(0).point.compress().to_bytes()).to_hex(),
            "ea69927259e04d912d5fc41eadf6e80db7be81cd98a238f2a925e54f586a4924"
        );
    }
}
