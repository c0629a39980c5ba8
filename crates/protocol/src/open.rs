use crate::RoundContext;
use crate::contribution::unpack_masked;
use crate::pairlog::PairLogs;
use curve25519_dalek::ristretto::{CompressedRistretto, RistrettoPoint};
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::Identity;
use rayon::prelude::*;
use thiserror::Error;
use veilsum_crypto::dlog::BabySteps;
use veilsum_crypto::{CryptoError, Family};
use veilsum_params::Mode;
use veilsum_proof::Round;
use veilsum_rlwe::{Limbs, MaskError, field};
use veilsum_wire::Body;

/// Why a sum could not be opened. After every proof of U was verified this is an internal error and never blame
/// (`specs/protocol.md`, "Open").
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// A body that does not belong to this round's layout: it was not verified.
    #[error(
        "a body with another shape than the layout's; only verified contributions can be summed"
    )]
    Body,
    /// More contributions were taken away than were added, or none is left.
    #[error("no contribution is left to open")]
    Empty,
    /// The proof's round is that of other parameters.
    #[error("the round's tables are those of other parameters")]
    Round,
    /// A coordinate of the summed key has no discrete logarithm within its bound.
    #[error(transparent)]
    Logarithm(#[from] CryptoError),
    /// The masked sum does not decode under the summed key.
    #[error(transparent)]
    Mask(#[from] MaskError),
    /// A coordinate exceeds what this many updates can sum to.
    #[error("coordinate {coordinate} of the sum exceeds what {count} updates can sum to")]
    Bound {
        /// The coordinate.
        coordinate: usize,
        /// Number of updates.
        count: u32,
    },
}

/// Running sums of C and y: memory depends on the layout and not on the number of contributions.
#[derive(Clone, Debug)]
pub struct RoundSums {
    key: Vec<RistrettoPoint>,
    masked: Vec<Limbs>,
    count: u32,
}

impl RoundSums {
    /// The empty sum.
    pub fn new(ctx: &RoundContext) -> Self {
        let layout = ctx.layout();
        let coefficients = layout.masked_constants().map_or(0, |k| k.ring_len as usize);
        Self {
            key: vec![RistrettoPoint::identity(); layout.key_points() as usize],
            masked: vec![[0; 4]; coefficients],
            count: 0,
        }
    }

    /// Number of contributions in the sum.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Adds a verified contribution.
    ///
    /// # Errors
    /// [`OpenError::Body`]; the sums are unchanged then.
    pub fn add(&mut self, round: &Round, body: &Body) -> Result<(), OpenError> {
        let (key, masked) = self.parts(round, body)?;
        let count = self.count.checked_add(1).ok_or(OpenError::Body)?;
        self.key
            .par_iter_mut()
            .zip(key)
            .for_each(|(sum, point)| *sum += point);
        field::accumulate(&mut self.masked, &masked);
        self.count = count;
        Ok(())
    }

    /// Takes a contribution that was added away again: its dealer was convicted.
    ///
    /// # Errors
    /// [`OpenError::Body`], [`OpenError::Empty`]; the sums are unchanged then.
    pub fn remove(&mut self, round: &Round, body: &Body) -> Result<(), OpenError> {
        let (key, masked) = self.parts(round, body)?;
        self.count = self.count.checked_sub(1).ok_or(OpenError::Empty)?;
        self.key
            .par_iter_mut()
            .zip(key)
            .for_each(|(sum, point)| *sum -= point);
        for (sum, term) in self.masked.iter_mut().zip(&masked) {
            *sum = field::sub(sum, term);
        }
        Ok(())
    }

    fn parts(
        &self,
        round: &Round,
        body: &Body,
    ) -> Result<(Vec<RistrettoPoint>, Vec<Limbs>), OpenError> {
        let masked = unpack_masked(round, &body.masked_vector).ok_or(OpenError::Body)?;
        if body.key_ciphertext.len() != self.key.len() || masked.len() != self.masked.len() {
            return Err(OpenError::Body);
        }
        let key: Option<Vec<RistrettoPoint>> = body
            .key_ciphertext
            .par_iter()
            .map(|bytes| CompressedRistretto(*bytes).decompress())
            .collect();
        Ok((key.ok_or(OpenError::Body)?, masked))
    }

    /// x_U: bounded discrete logarithms of sum C - R W, and in masked mode the decoding of sum y under the summed key.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(
        &self,
        ctx: &RoundContext,
        round: &Round,
        r_sum: &Scalar,
    ) -> Result<Vec<i64>, OpenError> {
        if round.params_digest() != ctx.digest() || round.layout() != ctx.layout() {
            return Err(OpenError::Round);
        }
        if self.count == 0 {
            return Err(OpenError::Empty);
        }
        let layout = ctx.layout();
        let opened: Vec<RistrettoPoint> = self
            .key
            .par_iter()
            .enumerate()
            .map(|(l, sum)| sum - r_sum * Family::Key.generator(l as u64).point)
            .collect();
        let count = u64::from(self.count);
        let largest = count * u64::from(layout.norm_bound);
        let sum = match &layout.mode {
            Mode::Direct => BabySteps::for_bound(largest, opened.len()).solve(&opened, largest)?,
            Mode::Masked(constants) => {
                let ring = round.masking().ok_or(OpenError::Round)?;
                let bound = count.saturating_mul(constants.s_bound);
                let pairs = PairLogs::new(bound, constants.beta_log2)
                    .solve(&opened, bound)
                    .map_err(|position| CryptoError::DiscreteLog { position })?;
                let key: Vec<i64> = pairs
                    .into_iter()
                    .flat_map(|(low, high)| [low, high])
                    .collect();
                ring.masking().open(&self.masked, &key, bound)?.sums
            }
        };
        match sum.iter().position(|x| x.unsigned_abs() > largest) {
            Some(coordinate) => Err(OpenError::Bound {
                coordinate,
                count: self.count,
            }),
            None => Ok(sum),
        }
    }
}
