use crate::contribution::unpack_masked;
use crate::{RoundContext, VerifiedContribution};
use curve25519_dalek::scalar::Scalar;
use rayon::prelude::*;
use thiserror::Error;
use veilsum_crypto::CryptoError;
use veilsum_crypto::dlog::{self, Packing};
use veilsum_params::Mode;
use veilsum_proof::{ProofError, Round, phase};
use veilsum_rlwe::{Limbs, MaskError, field};
use veilsum_simd::{Engine, Point};
use veilsum_wire::Body;

/// Points that one task adds.
const POINTS_AT_ONCE: usize = 512;

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
    /// The key ciphertext could not be decrypted.
    #[error(transparent)]
    Key(#[from] ProofError),
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
    key: Vec<Point>,
    masked: Vec<Limbs>,
    count: u32,
    /// The sums of the X-rows, as long as those of every contribution were decoded when it was added.
    rows: Option<Vec<Point>>,
}

/// Adds points to sums of the same places, on the threads of the current pool.
fn add_each(engine: Engine, sums: &mut [Point], points: &[Point]) -> Result<(), OpenError> {
    if sums.len() != points.len() {
        return Err(OpenError::Body);
    }
    sums.par_chunks_mut(POINTS_AT_ONCE)
        .zip(points.par_chunks(POINTS_AT_ONCE))
        .try_for_each(|(sums, points)| engine.add_each(sums, points))
        .map_err(|_| OpenError::Body)
}

fn negated(points: &[Point]) -> Vec<Point> {
    points.iter().map(|point| -*point).collect()
}

impl RoundSums {
    /// The empty sum.
    pub fn new(ctx: &RoundContext) -> Self {
        let layout = ctx.layout();
        let coefficients = layout.masked_constants().map_or(0, |k| k.ring_len as usize);
        Self {
            key: vec![Point::IDENTITY; layout.key_points() as usize],
            masked: vec![[0; 4]; coefficients],
            count: 0,
            rows: Some(vec![Point::IDENTITY; layout.x_rows as usize]),
        }
    }

    /// Number of contributions in the sum.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Adds a contribution that was just verified: the points of C that verification decoded are used again.
    ///
    /// # Errors
    /// [`OpenError::Body`]; the sums are unchanged then.
    pub fn add_verified(
        &mut self,
        round: &Round,
        contribution: &VerifiedContribution,
    ) -> Result<(), OpenError> {
        match contribution.decoded() {
            Some(decoded) => {
                self.add_decoded(round, contribution.body(), &decoded.key)?;
                match &mut self.rows {
                    Some(rows) => add_each(round.prepared().engine(), rows, &decoded.x_rows),
                    None => Ok(()),
                }
            }
            None => self.add(round, contribution.body()),
        }
    }

    /// The sums of the X-rows of all contributions in the sum; none when some were added from their bodies alone.
    pub fn row_sums(&self) -> Option<&[Point]> {
        self.rows.as_deref()
    }

    /// Adds the body of a contribution that was verified at some time: after a restart, say.
    ///
    /// # Errors
    /// [`OpenError::Body`]; the sums are unchanged then.
    pub fn add(&mut self, round: &Round, body: &Body) -> Result<(), OpenError> {
        let key = self.decode(round, body)?;
        self.add_decoded(round, body, &key)?;
        self.rows = None;
        Ok(())
    }

    fn add_decoded(&mut self, round: &Round, body: &Body, key: &[Point]) -> Result<(), OpenError> {
        let masked = self.unpack(round, body)?;
        if key.len() != self.key.len() {
            return Err(OpenError::Body);
        }
        let count = self.count.checked_add(1).ok_or(OpenError::Body)?;
        add_each(round.prepared().engine(), &mut self.key, key)?;
        field::accumulate(&mut self.masked, &masked);
        self.count = count;
        Ok(())
    }

    /// Takes a contribution that was added away again: its dealer was convicted.
    ///
    /// # Errors
    /// [`OpenError::Body`], [`OpenError::Empty`]; the sums are unchanged then.
    pub fn remove(&mut self, round: &Round, body: &Body) -> Result<(), OpenError> {
        let (key, masked) = (self.decode(round, body)?, self.unpack(round, body)?);
        let rows = match &self.rows {
            Some(rows) => {
                let of_body = body.matrix.get(..rows.len()).ok_or(OpenError::Body)?;
                let decoded = round.prepared().decode(of_body);
                Some(decoded.map_err(|_| OpenError::Body)?)
            }
            None => None,
        };
        self.count = self.count.checked_sub(1).ok_or(OpenError::Empty)?;
        let engine = round.prepared().engine();
        add_each(engine, &mut self.key, &negated(&key))?;
        if let (Some(sums), Some(rows)) = (&mut self.rows, rows) {
            add_each(engine, sums, &negated(&rows))?;
        }
        for (sum, term) in self.masked.iter_mut().zip(&masked) {
            *sum = field::sub(sum, term);
        }
        Ok(())
    }

    fn decode(&self, round: &Round, body: &Body) -> Result<Vec<Point>, OpenError> {
        if body.key_ciphertext.len() != self.key.len() {
            return Err(OpenError::Body);
        }
        let decoded = round.prepared().decode(&body.key_ciphertext);
        decoded.map_err(|_| OpenError::Body)
    }

    fn unpack(&self, round: &Round, body: &Body) -> Result<Vec<Limbs>, OpenError> {
        unpack_masked(round, &body.masked_vector)
            .filter(|masked| masked.len() == self.masked.len())
            .ok_or(OpenError::Body)
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
        let opened = phase!(
            "key-decryption",
            round.prepared().decrypt_key(&self.key, r_sum)?
        );
        let engine = round.prepared().engine();
        let count = u64::from(self.count);
        // Every contribution's norm is proved, so the norm of the sum is at most their number times the bound.
        let largest = count * u64::from(layout.norm_bound);
        let sum: Vec<i64> = match &layout.mode {
            Mode::Direct => phase!(
                "logarithms",
                dlog::solve(engine, &opened, Packing::Single, largest)?
            )
            .into_iter()
            .map(|[value, _]| value)
            .collect(),
            Mode::Masked(constants) => {
                let ring = round.masking().ok_or(OpenError::Round)?;
                let bound = count.saturating_mul(constants.s_bound);
                let packing = Packing::Pair {
                    beta_log2: constants.beta_log2,
                };
                let key = phase!(
                    "logarithms",
                    dlog::solve(engine, &opened, packing, bound)?.concat()
                );
                phase!(
                    "unmasking",
                    ring.masking().open(&self.masked, &key, bound)?.sums
                )
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
