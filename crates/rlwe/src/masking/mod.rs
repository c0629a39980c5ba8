//! Masked vectors: from a client's integer update to `y`, and from the sum of many `y` back to the sum of the updates.
//!
//! Block `b` of the masked vector is `y_b = round(a_b s + e_b + sum_k 2^(shift + k sw) x_(k,b))`, with one key `s` of
//! small coefficients for all blocks and fresh noise `e`. Rounding is to multiples of `2^cut`; afterwards `e` is *defined*
//! as `y - a s - packed x`, so the relation holds exactly in `F`, and a proof speaks about the rounded `y`.
//!
//! The sum over clients opens with the sum of their keys only: `sum y - A sum s = sum e + sum_k 2^(shift + k sw) X_k`, and
//! the layout leaves every part room for the largest sum.
//!
//! Blocks are independent: the noise of block `b` comes from keystream `b` of the seed, so the result is the same
//! whatever the number of threads. [`Masking::mask`] and [`Masking::open`] use the current `rayon` pool.

mod layout;
mod slots;
mod wire;

use core::fmt;

use rayon::prelude::*;
use zeroize::Zeroizing;

use crate::expand::Expander;
use crate::field::{self, Limbs};
use crate::ring::{Basis, Bound, Ring, RingError, Transformed};
use crate::sampler::{DiscreteGaussian, SamplerError};
use crate::secret::{SecretVec, Seed};

pub use layout::{MAX_COEFFICIENTS, MaskLayout, MaskShape};

/// The largest magnitude of one coordinate of a client's key.
pub const KEY_BOUND: u64 = 1023;

/// Noise before rounding stays below this many standard deviations; beyond, it is drawn again.
const NOISE_BOUND_SIGMAS: u64 = 16;

/// Draws of one noise coefficient before its ring block is given up.
const MAX_REDRAWS: u32 = 64;

/// Why masking, packing or opening was refused. No secret value appears in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MaskError {
    /// The layout's numbers contradict each other.
    #[error("mask layout refused: {0}")]
    Layout(#[from] LayoutError),
    /// A ring operation refused its operands.
    #[error(transparent)]
    Ring(#[from] RingError),
    /// The noise width is not supported.
    #[error(transparent)]
    Sampler(#[from] SamplerError),
    /// A vector has the wrong number of entries.
    #[error("{what} has {got} entries, the layout needs {expected}")]
    Length {
        /// Which vector.
        what: Vector,
        /// Entries given.
        got: usize,
        /// Entries needed.
        expected: usize,
    },
    /// A coordinate of the update does not fit its slot. Clip the update to its norm bound first.
    #[error("a coordinate of the update is not below 2^{0} in magnitude", .slot_width - 1)]
    UpdateBeyondSlot {
        /// The slot width in bits.
        slot_width: u32,
    },
    /// The key makes a coefficient round beyond the wire format, whatever the noise (probability below 2^-100 with an
    /// honest key). Draw a fresh key and seed.
    #[error("coefficient {index} cannot be rounded into range: draw a fresh key and seed")]
    Unroundable {
        /// The coefficient.
        index: usize,
    },
    /// A packed masked vector has the wrong number of bytes.
    #[error("packed masked vector has {got} bytes, the layout needs {expected}")]
    PackedLength {
        /// Bytes given.
        got: usize,
        /// Bytes needed.
        expected: usize,
    },
    /// Bits after the last coefficient of a packed masked vector are set.
    #[error("spare bits at the end of the packed masked vector are not zero")]
    SpareBits,
    /// A coefficient is not a multiple of `2^cut` below 2^252, or, in a sum, not a canonical field element.
    #[error("coefficient {index} of the masked vector is out of its range")]
    Coefficient {
        /// The coefficient.
        index: usize,
    },
    /// A summed coefficient has a part beyond its room: some input was not what its proof claims, or the key sum is wrong.
    #[error(
        "the sum in coefficient {index} does not decode: wrong key sum, or a contribution out of bounds"
    )]
    Undecodable {
        /// The coefficient.
        index: usize,
    },
    /// A slot beyond the last coordinate is not zero in the sum.
    #[error("the padding coordinate {index} of the sum is not zero")]
    Padding {
        /// The coordinate.
        index: usize,
    },
}

/// The vector that a [`MaskError::Length`] is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Vector {
    /// The update.
    Update,
    /// The key, or the sum of keys.
    Key,
    /// The masked vector, or the sum of masked vectors.
    Masked,
    /// The output for the noise.
    Noise,
}

impl fmt::Display for Vector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Update => "the update",
            Self::Key => "the key",
            Self::Masked => "the masked vector",
            Self::Noise => "the noise",
        })
    }
}

pub use layout::LayoutError;

/// One client's masked vector.
#[derive(Clone, PartialEq, Eq)]
pub struct Masked {
    /// `y`, rounded: multiples of `2^cut` below 2^252, one per coefficient. This is what travels.
    pub y: Vec<Limbs>,
    /// `e = y - a s - packed x`, centred, one per coefficient: below 16 sigma plus half a rounding step in magnitude.
    pub noise: SecretVec<i128>,
}

impl fmt::Debug for Masked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Masked")
            .field("coefficients", &self.y.len())
            .finish_non_exhaustive()
    }
}

/// An opened sum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// The sum of the updates, coordinate by coordinate.
    pub sums: Vec<i64>,
    /// The sum of the noises, coefficient by coefficient.
    pub noise: Vec<i128>,
}

/// Everything public that masking needs: the ring, the round's ring elements and the layout.
#[derive(Debug, Clone, Copy)]
pub struct Masking<'a> {
    /// The ring.
    pub ring: &'a Ring,
    /// Source of the ring elements `a_b`.
    pub expander: &'a Expander,
    /// The layout.
    pub layout: &'a MaskLayout,
}

impl Masking<'_> {
    /// The number of ring blocks; the last may be truncated.
    #[must_use]
    pub fn blocks(&self) -> usize {
        self.layout.coefficients().div_ceil(self.ring.degree())
    }

    /// Masks `update` under `key`. The caller has bounded the norms of both, checks the norm of the noise against its
    /// bound afterwards ([`norm_squared`]), and never uses `key` or `seed` again.
    ///
    /// # Errors
    /// [`MaskError::Length`], [`MaskError::UpdateBeyondSlot`]; [`RingError::BeyondBound`] for a key coordinate beyond
    /// [`KEY_BOUND`]; [`MaskError::Unroundable`] with negligible probability.
    pub fn mask(&self, key: &[i64], update: &[i64], seed: &Seed) -> Result<Masked, MaskError> {
        self.layout.check_update(update)?;
        let key = self.transform_key(key)?;
        let count = self.layout.coefficients();
        let degree = self.ring.degree();
        let mut y = vec![[0; 4]; count];
        let mut noise = vec![0; count];
        // Collected before the first error is picked, so that the same one is reported whichever thread was faster.
        let results: Vec<Result<(), MaskError>> = y
            .par_chunks_mut(degree)
            .zip(noise.par_chunks_mut(degree))
            .enumerate()
            .map(|(block, (y, noise))| {
                self.mask_block_unchecked(block, &key, update, seed, y, noise)
            })
            .collect();
        let noise = SecretVec::new(noise);
        results.into_iter().collect::<Result<(), _>>()?;
        Ok(Masked { y, noise })
    }

    /// The key in the transform domain, for [`Self::mask_block`].
    ///
    /// # Errors
    /// [`MaskError::Length`]; [`RingError::BeyondBound`] for a coordinate beyond [`KEY_BOUND`].
    pub fn transform_key(&self, key: &[i64]) -> Result<Transformed, MaskError> {
        self.check_length(Vector::Key, key.len(), self.ring.degree())?;
        Ok(self
            .ring
            .transform_small(self.key_basis(KEY_BOUND)?, key, KEY_BOUND)?)
    }

    /// Masks one block: writes `y` and `e` of coefficients `block N ..`. For callers that keep their own threads; the
    /// result is the same as from [`Self::mask`].
    ///
    /// # Errors
    /// As [`Self::mask`]. Outputs must have the block's length: `N`, or what is left in the last block.
    pub fn mask_block(
        &self,
        block: usize,
        key: &Transformed,
        update: &[i64],
        seed: &Seed,
        y: &mut [Limbs],
        noise: &mut [i128],
    ) -> Result<(), MaskError> {
        self.layout.check_update(update)?;
        let start = block.saturating_mul(self.ring.degree());
        let expected = self
            .layout
            .coefficients()
            .saturating_sub(start)
            .min(self.ring.degree());
        self.check_length(Vector::Masked, y.len(), expected)?;
        self.check_length(Vector::Noise, noise.len(), expected)?;
        self.mask_block_unchecked(block, key, update, seed, y, noise)
    }

    fn mask_block_unchecked(
        &self,
        block: usize,
        key: &Transformed,
        update: &[i64],
        seed: &Seed,
        y: &mut [Limbs],
        noise: &mut [i128],
    ) -> Result<(), MaskError> {
        let layout = self.layout;
        let start = block * self.ring.degree();
        let product = self.key_product(block, key)?;
        let sampler = DiscreteGaussian::new(layout.log2_sigma())?;
        let max_abs = (NOISE_BOUND_SIGMAS << layout.log2_sigma()) - 1;
        let mut samples = sampler.samples(seed.stream(stream_number(block)));
        for (i, ((y, noise), product)) in y.iter_mut().zip(noise).zip(product.iter()).enumerate() {
            let index = start + i;
            let packed = field::from_signed(&layout.pack_slots(index, update));
            let base = field::add(product, &packed);
            let mut redraws = 0;
            loop {
                let raw = i128::from(samples.next_bounded(max_abs));
                let exact = field::add(&base, &field::from_i128(raw));
                if let Some((rounded, correction)) = layout.round(&exact) {
                    *y = rounded;
                    *noise = raw.wrapping_add(correction);
                    break;
                }
                redraws += 1;
                if redraws == MAX_REDRAWS {
                    return Err(MaskError::Unroundable { index });
                }
            }
        }
        Ok(())
    }

    /// Opens a sum of masked vectors with the sum of their keys: `sum_y` reduced modulo `l` ([`field::accumulate`]),
    /// `sum_key` over the integers with magnitudes up to `key_bound`.
    ///
    /// # Errors
    /// [`MaskError::Length`], [`MaskError::Coefficient`] for an unreduced sum, [`RingError::BeyondBound`];
    /// [`MaskError::Undecodable`] or [`MaskError::Padding`] when the sums do not belong together.
    pub fn open(
        &self,
        sum_y: &[Limbs],
        sum_key: &[i64],
        key_bound: u64,
    ) -> Result<Opened, MaskError> {
        self.check_length(Vector::Masked, sum_y.len(), self.layout.coefficients())?;
        self.check_length(Vector::Key, sum_key.len(), self.ring.degree())?;
        if let Some(index) = sum_y.iter().position(|y| !field::is_canonical(y)) {
            return Err(MaskError::Coefficient { index });
        }
        let key = self
            .ring
            .transform_small(self.key_basis(key_bound)?, sum_key, key_bound)?;
        let degree = self.ring.degree();
        let blocks: Vec<Result<Vec<Limbs>, MaskError>> = sum_y
            .par_chunks(degree)
            .enumerate()
            .map(|(block, sum_y)| {
                let product = self.key_product(block, &key)?;
                Ok(sum_y
                    .iter()
                    .zip(product.iter())
                    .map(|(y, p)| field::centred(&field::sub(y, p)))
                    .collect())
            })
            .collect();
        let mut centred = Vec::with_capacity(sum_y.len());
        for block in blocks {
            centred.append(&mut block?);
        }
        self.layout.unpack_slots(&centred)
    }

    fn key_basis(&self, key_bound: u64) -> Result<Basis, RingError> {
        self.ring.basis(Bound::from(key_bound), Bound::FULL, 1)
    }

    fn key_product(
        &self,
        block: usize,
        key: &Transformed,
    ) -> Result<Zeroizing<Vec<Limbs>>, RingError> {
        let element = self
            .expander
            .borrow(stream_number(block), self.ring.degree());
        let mut sum = self.ring.accumulator(key.basis())?;
        sum.mul_add_full(key, &element)?;
        Ok(sum.finish())
    }

    fn check_length(&self, what: Vector, got: usize, expected: usize) -> Result<(), MaskError> {
        if got == expected {
            Ok(())
        } else {
            Err(MaskError::Length {
                what,
                got,
                expected,
            })
        }
    }
}

/// Blocks are numbered by 64-bit words in keystreams and ring elements.
fn stream_number(block: usize) -> u64 {
    u64::try_from(block).unwrap_or(u64::MAX)
}

/// The squared Euclidean norm of a noise vector, exactly: 320 bits, least significant limb first. Constant time.
#[must_use]
pub fn norm_squared(noise: &[i128]) -> [u64; 5] {
    let mut total = [0u64; 5];
    for value in noise {
        let magnitude = value.unsigned_abs();
        let (low, high) = (
            crate::primes::low(magnitude),
            crate::primes::low(magnitude >> 64),
        );
        let (s0, carry) = low.carrying_mul(low, 0);
        let (s1, s2) = low.carrying_mul(high, carry);
        let (s1, carry) = low.carrying_mul_add(high, s1, 0);
        let (s2, s3) = high.carrying_mul_add(high, s2, carry);
        let mut carry = false;
        for (slot, limb) in total.iter_mut().zip([s0, s1, s2, s3, 0]) {
            (*slot, carry) = slot.carrying_add(limb, carry);
        }
    }
    total
}
