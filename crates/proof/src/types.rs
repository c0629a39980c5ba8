use curve25519_dalek::scalar::Scalar;
use std::fmt;
use veilsum_crypto::{CanonicalPoint, Digest};
use veilsum_params::ClientId;
use veilsum_rlwe::Limbs;

/// Everything besides round and F_z that a proof is bound to (`specs/protocol.md`, "The proof", order of absorption).
///
/// The digests stand for y, C and K: whoever builds a context computes them from the very bytes that go with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context {
    /// The client.
    pub client: ClientId,
    /// F, as many points as the threshold; F_0 = r B.
    pub commitments: Vec<CanonicalPoint>,
    /// E.
    pub ephemeral: CanonicalPoint,
    /// Root of the encrypted shares.
    pub share_root: Digest,
    /// Root of the slices of X-rows.
    pub row_root: Digest,
    /// Digest of y as on the wire; of the empty string in direct mode.
    pub y_digest: Digest,
    /// Digest of C.
    pub c_digest: Digest,
    /// The one digest of K.
    pub k_digest: Digest,
}

/// What a client proves about. The caller zeroises its own copies.
#[derive(Clone, Copy)]
pub struct Witness<'a> {
    /// The integer update, `layout.dim` entries of L2 norm at most `layout.norm_bound`.
    pub update: &'a [i64],
    /// r, fresh, the secret that is shared.
    pub r: &'a Scalar,
    /// Key, noise and masked vector in masked mode.
    pub masked: Option<MaskedWitness<'a>>,
}

impl fmt::Debug for Witness<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Witness")
            .field("dim", &self.update.len())
            .finish_non_exhaustive()
    }
}

/// The masked part of a witness, as `veilsum-rlwe` makes it.
#[derive(Clone, Copy)]
pub struct MaskedWitness<'a> {
    /// s, N entries.
    pub key: &'a [i64],
    /// e, `ring_len` entries, defined after rounding.
    pub noise: &'a [i128],
    /// y, `ring_len` rounded entries.
    pub y: &'a [Limbs],
}

impl fmt::Debug for MaskedWitness<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MaskedWitness")
            .field("coefficients", &self.y.len())
            .finish_non_exhaustive()
    }
}

/// The commitments of one attempt, for the caller to compute the context from.
#[derive(Clone, Copy, Debug)]
pub struct Parts<'a> {
    /// K: `layout.rows()` encoded points, the X-rows first.
    pub k: &'a [[u8; 32]],
    /// C: `layout.key_points()` encoded points.
    pub c: &'a [[u8; 32]],
    /// F_z.
    pub f_z: &'a CanonicalPoint,
}

/// The proved part of a contribution; public once sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contribution {
    /// K.
    pub k: Vec<[u8; 32]>,
    /// C.
    pub c: Vec<[u8; 32]>,
    /// F_z.
    pub f_z: CanonicalPoint,
    /// The encoded proof.
    pub proof: Vec<u8>,
    /// The context of the successful attempt.
    pub context: Context,
}

/// What a verifier checks a proof against.
#[derive(Clone, Copy, Debug)]
pub struct Statement<'a> {
    /// The context.
    pub context: &'a Context,
    /// F_z.
    pub f_z: &'a CanonicalPoint,
    /// y, unpacked to multiples of 2^cut; empty in direct mode.
    pub y: &'a [Limbs],
    /// C.
    pub c: &'a [[u8; 32]],
    /// K.
    pub k: &'a [[u8; 32]],
    /// The encoded proof.
    pub proof: &'a [u8],
}
