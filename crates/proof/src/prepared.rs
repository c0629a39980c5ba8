use crate::ProofError;
use crate::tally::{GroupWork, Tally};
use bulletproofs::{BulletproofGens, PedersenGens};
use curve25519_dalek::constants::RISTRETTO_BASEPOINT_POINT;
use curve25519_dalek::ristretto::RistrettoPoint;
use curve25519_dalek::scalar::Scalar;
use rayon::prelude::*;
use std::fmt;
use std::sync::Arc;
use veilsum_crypto::{Digest, Family, blinding_base, labels};
use veilsum_params::{Layout, RING_DEGREE, SIGMA_E_LOG2};
use veilsum_rlwe::{Expander, Limbs, MaskLayout, MaskShape, Masking, Ring};
use veilsum_simd::{Backend, ColumnTables, Engine, FixedBaseTable, Point, SameScalarTables};

/// Points that one task decodes or multiplies.
const POINTS_AT_ONCE: usize = 256;
/// Largest table of one point in the combs of V and W.
const COMB_BYTES: usize = 4096;
/// Combs are made for at most this many bytes in total.
const COMB_BYTES_MAX: usize = 64 << 20;

/// Generators and tables of one layout: the same for every round and client; public.
///
/// Tables are made of the generators' halves, so that every result goes through batched double-and-compress.
pub struct Prepared {
    pub(crate) layout: Layout,
    pub(crate) engine: Engine,
    /// G_b, V_a, W_l, Pi_j and Hpi last, B and Bt.
    pub(crate) columns: Vec<Point>,
    pub(crate) rows: Vec<Point>,
    pub(crate) key: Vec<Point>,
    pub(crate) mask: Vec<Point>,
    pub(crate) bases: [Point; 2],
    pub(crate) row_halves: Vec<Point>,
    pub(crate) key_halves: Vec<Point>,
    pub(crate) column_tables: ColumnTables,
    pub(crate) row_combs: SameScalarTables,
    pub(crate) key_combs: SameScalarTables,
    pub(crate) mask_tables: ColumnTables,
    /// Multiples of B / 2.
    pub(crate) base_table: FixedBaseTable,
    /// Columns B / 2 and Bt / 2.
    pub(crate) base_tables: ColumnTables,
    pub(crate) range_bases: PedersenGens,
    pub(crate) range_generators: BulletproofGens,
    ring: Option<(Ring, MaskLayout)>,
    pub(crate) tally: Tally,
}

impl fmt::Debug for Prepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prepared")
            .field("layout", &self.layout)
            .field("engine", &self.engine)
            .finish_non_exhaustive()
    }
}

fn import(engine: Engine, points: &[RistrettoPoint]) -> Result<Vec<Point>, ProofError> {
    let bytes: Vec<[u8; 32]> = points.iter().map(|p| p.compress().to_bytes()).collect();
    Ok(engine.decompress(&bytes)?)
}

fn doubled(halves: &[Point]) -> Vec<Point> {
    halves.iter().map(Point::double).collect()
}

impl Prepared {
    /// Makes the generators and tables on the fastest backend of this machine.
    ///
    /// # Errors
    /// [`ProofError::Group`] or [`ProofError::Mask`] for a layout that [`Layout::derive`] would not make.
    pub fn new(layout: &Layout) -> Result<Self, ProofError> {
        Self::with_engine(layout, Engine::new(Backend::Auto)?)
    }

    /// As [`Prepared::new`] on a chosen backend; results do not depend on it.
    ///
    /// # Errors
    /// As [`Prepared::new`].
    pub fn with_engine(layout: &Layout, engine: Engine) -> Result<Self, ProofError> {
        let column_halves = Family::Column.halves(engine, layout.columns);
        let row_halves = Family::Row.halves(engine, layout.rows());
        let key_halves = Family::Key.halves(engine, layout.key_points());
        let mut mask_halves = Family::Mask.halves(engine, layout.mask_coefficients());
        mask_halves.extend(Family::MaskBlinding.halves(engine, 1));
        let half = Scalar::from(2u8).invert();
        let base_halves = import(
            engine,
            &[half * RISTRETTO_BASEPOINT_POINT, half * blinding_base()],
        )?;
        let combs = |points: &[Point]| {
            SameScalarTables::new(
                engine,
                points,
                (points.len() * COMB_BYTES).min(COMB_BYTES_MAX),
            )
        };
        let ring = match layout.masked_constants() {
            None => None,
            Some(k) => Some((
                Ring::with_engine(RING_DEGREE as usize, engine)?,
                MaskLayout::new(MaskShape {
                    coordinates: layout.dim as usize,
                    coefficients: k.ring_len as usize,
                    slots: k.kappa,
                    slot_width: k.slot_bits,
                    shift: k.shift,
                    cut: k.cut,
                    log2_sigma: SIGMA_E_LOG2,
                })?,
            )),
        };
        let ((column_tables, row_combs), key_combs) = rayon::join(
            || {
                rayon::join(
                    || ColumnTables::new(engine, &column_halves),
                    || combs(&row_halves),
                )
            },
            || combs(&key_halves),
        );
        Ok(Self {
            layout: layout.clone(),
            engine,
            columns: doubled(&column_halves),
            rows: doubled(&row_halves),
            key: doubled(&key_halves),
            mask: doubled(&mask_halves),
            bases: base_halves
                .iter()
                .map(Point::double)
                .collect::<Vec<_>>()
                .try_into()
                .map_err(|_| ProofError::Internal)?,
            column_tables,
            row_combs: row_combs?,
            key_combs: key_combs?,
            mask_tables: ColumnTables::new(engine, &mask_halves),
            base_table: FixedBaseTable::new(engine, &base_halves[0], 253)?,
            base_tables: ColumnTables::new(engine, &base_halves),
            row_halves,
            key_halves,
            range_bases: PedersenGens::default(),
            range_generators: BulletproofGens::new(layout.range_bits as usize, 1),
            ring,
            tally: Tally::default(),
        })
    }

    /// Group operations of all verifications with these tables so far.
    pub fn group_work(&self) -> GroupWork {
        self.tally.read()
    }

    /// The layout that this was made for.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The group arithmetic that this was made with.
    pub fn engine(&self) -> Engine {
        self.engine
    }

    /// Decodes points, in the order given, on the threads of the current pool.
    ///
    /// # Errors
    /// [`ProofError::Group`] with the first string of some part that no point encodes to.
    pub fn decode(&self, encodings: &[[u8; 32]]) -> Result<Vec<Point>, ProofError> {
        self.tally.decoded(encodings.len());
        let parts: Result<Vec<_>, _> = encodings
            .par_chunks(POINTS_AT_ONCE)
            .map(|part| self.engine.decompress(part))
            .collect();
        Ok(parts?.concat())
    }

    /// sum k_l B = sum C_l - r W_l for every key coordinate, where r is the sum of the clients' secrets.
    ///
    /// # Errors
    /// [`ProofError::Length`] when there are not `layout.key_points()` points.
    pub fn decrypt_key(&self, sums: &[Point], r: &Scalar) -> Result<Vec<Point>, ProofError> {
        if sums.len() != self.key.len() {
            return Err(ProofError::Length {
                what: "the summed key ciphertext",
                got: sums.len(),
                want: self.key.len(),
            });
        }
        let parts: Result<Vec<Vec<Point>>, ProofError> = sums
            .par_chunks(POINTS_AT_ONCE)
            .enumerate()
            .map(|(part, sums)| {
                let start = part * POINTS_AT_ONCE;
                let range = start..start + sums.len();
                let halves = self.key_combs.mul_range(r.as_bytes(), range)?;
                let opened = sums.iter().zip(&halves);
                Ok(opened.map(|(sum, half)| *sum - half.double()).collect())
            })
            .collect();
        Ok(parts?.concat())
    }
}

/// One round's public material: layout, parameters digest and, in masked mode, the ring elements expanded from it.
pub struct Round {
    prepared: Arc<Prepared>,
    params_digest: Digest,
    /// Masked mode: keeps a_b for every block, the last one in full length too.
    ring: Option<Expander>,
}

impl fmt::Debug for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Round")
            .field("prepared", &self.prepared)
            .field("params_digest", &self.params_digest)
            .finish_non_exhaustive()
    }
}

/// The masking layer of a masked round (`veilsum-rlwe`).
#[derive(Clone, Copy, Debug)]
pub struct RingMasking<'a> {
    /// The ring.
    pub ring: &'a Ring,
    /// Source of the round's ring elements.
    pub expander: &'a Expander,
    /// Where slots and noise stand.
    pub layout: &'a MaskLayout,
}

impl<'a> RingMasking<'a> {
    /// Masks updates and opens sums of this round.
    pub fn masking(&self) -> Masking<'a> {
        Masking {
            ring: self.ring,
            expander: self.expander,
            layout: self.layout,
        }
    }
}

impl Round {
    /// Binds a layout's tables to one round.
    ///
    /// # Errors
    /// None today; room for layouts whose ring elements are not expanded at once.
    pub fn new(prepared: Arc<Prepared>, params_digest: Digest) -> Result<Self, ProofError> {
        let ring = prepared.layout.masked_constants().map(|k| {
            Expander::new(labels::RING_XOF.as_str(), params_digest.as_bytes())
                .keeping(k.blocks.into(), RING_DEGREE as usize)
        });
        Ok(Self {
            prepared,
            params_digest,
            ring,
        })
    }

    /// The layout.
    pub fn layout(&self) -> &Layout {
        &self.prepared.layout
    }

    /// Digest of the round's parameters.
    pub fn params_digest(&self) -> &Digest {
        &self.params_digest
    }

    /// Generators and tables.
    pub fn prepared(&self) -> &Arc<Prepared> {
        &self.prepared
    }

    /// The masking layer; `None` in direct mode.
    pub fn masking(&self) -> Option<RingMasking<'_>> {
        let (ring, layout) = self.prepared.ring.as_ref()?;
        Some(RingMasking {
            ring,
            expander: self.ring.as_ref()?,
            layout,
        })
    }

    /// The ring and the ring elements a_b; `None` in direct mode.
    pub(crate) fn ring(&self) -> Option<(&Ring, &[Vec<Limbs>])> {
        Some((&self.prepared.ring.as_ref()?.0, self.ring.as_ref()?.kept()))
    }
}
