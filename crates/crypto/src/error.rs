use thiserror::Error;

/// Why a cryptographic object was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CryptoError {
    /// Not the canonical encoding of a ristretto255 point.
    #[error("not a canonical ristretto255 point")]
    Point,
    /// The identity, where the protocol forbids it.
    #[error("the identity point is forbidden here")]
    Identity,
    /// Not the canonical encoding of a scalar.
    #[error("not a canonical scalar")]
    Scalar,
    /// Not a valid Ed25519 key.
    #[error("not a valid Ed25519 verification key")]
    Key,
    /// A signature does not verify under its context and key.
    #[error("the signature does not verify")]
    Signature,
    /// A Schnorr-type proof does not verify.
    #[error("the proof does not verify")]
    Proof,
    /// A Merkle path does not lead to the root.
    #[error("the Merkle path does not lead to the root")]
    Path,
    /// An encrypted share does not decrypt to a canonical scalar under its key and context.
    #[error("the share does not decrypt to a canonical scalar")]
    Ciphertext,
    /// A share does not lie on the committed polynomial.
    #[error("the share does not lie on the committed polynomial")]
    Share,
    /// The number of commitments is not the threshold.
    #[error("{got} polynomial commitments, the threshold is {want}")]
    CommitmentCount {
        /// How many there are.
        got: usize,
        /// How many there must be.
        want: usize,
    },
    /// The sharing library refused its arguments.
    #[error(
        "sharing refused: threshold and number of shares do not fit, or shares are too few or doubled"
    )]
    Sharing,
    /// No discrete logarithm within the bound.
    #[error("no discrete logarithm within the bound at position {position}")]
    DiscreteLog {
        /// Which of the points has none.
        position: usize,
    },
    /// Sums that a packing base cannot hold.
    #[error(
        "pairs packed with base 2^{beta_log2} cannot hold logarithms up to {radius}; derive the base from the bound"
    )]
    Packing {
        /// log2 of the packing base; 0 for single values.
        beta_log2: u32,
        /// The bound.
        radius: u64,
    },
    /// Not the public key of a drand chain of this scheme.
    #[error("not the public key of a drand chain of this scheme")]
    BeaconKey,
    /// A drand round whose signature does not verify under the chain's key.
    #[error("the drand round is not signed by the chain's key")]
    BeaconSignature,
    /// Fewer elements to sample from than are asked for.
    #[error("cannot sample {wanted} out of {available}")]
    Sample {
        /// How many are asked for.
        wanted: usize,
        /// How many there are.
        available: usize,
    },
}
