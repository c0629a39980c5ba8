use thiserror::Error;
use veilsum_crypto::CryptoError;
use veilsum_rlwe::{masking::MaskError, ring::RingError};
use veilsum_simd::SimdError;

/// Why preparing or proving was refused. Nothing secret is in it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ProofError {
    /// A vector of the witness has the wrong length.
    #[error("{what} has {got} entries, the layout needs {want}")]
    Length {
        /// Which vector.
        what: &'static str,
        /// Entries given.
        got: usize,
        /// Entries needed.
        want: usize,
    },
    /// The witness holds parts for the other mode.
    #[error("the layout is {layout}, the witness is for the other mode")]
    Mode {
        /// The layout's mode.
        layout: &'static str,
    },
    /// A norm exceeds its bound: clip the update, or draw key and noise again.
    #[error("the norm of {what} exceeds its bound; clip the update, or draw key and noise again")]
    Norm {
        /// Which vector.
        what: &'static str,
    },
    /// The masked vector is not that of this key, update and noise.
    #[error("the masked vector does not belong to this update, key and noise")]
    MaskedVector,
    /// The context's F does not begin with r B.
    #[error("the first polynomial commitment is not r B")]
    Commitment,
    /// The projections were rejected again and again, which has negligible probability with a sound source of randomness.
    #[error(
        "the projections were rejected {attempts} times in a row; check the source of randomness"
    )]
    Restarts {
        /// How often.
        attempts: u32,
    },
    /// Group arithmetic refused its input.
    #[error(transparent)]
    Group(#[from] SimdError),
    /// A cryptographic object was refused.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
    /// Ring arithmetic refused its input.
    #[error(transparent)]
    Ring(#[from] RingError),
    /// The masking layer refused its input.
    #[error(transparent)]
    Mask(#[from] MaskError),
    /// The range proof could not be made.
    #[error("the range proof of the norm could not be made")]
    RangeProof,
    /// A claim about a checked witness came out false: a defect of this library.
    #[error("internal error: a claim about a checked witness is false; no proof was made")]
    Internal,
}

/// Why [`crate::contribute`] gave up.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ContributeError<E> {
    /// The witness or the context was refused.
    #[error(transparent)]
    Proof(#[from] ProofError),
    /// The caller's context function failed.
    #[error("{0}")]
    Context(E),
}
