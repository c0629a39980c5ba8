//! Field, generators, hashes and labels, verifiable secret sharing, share encryption, signatures, discrete logarithms.
//!
//! All of Veilsum's labels are in [`labels`]; nothing else may name one. Randomness is always an argument.

pub mod dlog;
mod drand;
mod error;
pub mod feldman;
pub mod field;
mod generators;
mod group;
mod hash;
pub mod labels;
pub mod merkle;
pub mod sampling;
mod share;
mod sign;
mod transcript;

pub use drand::{DrandKey, DrandScheme};
pub use error::CryptoError;
pub use generators::{Family, Generator, Generators, blinding_base};
pub use group::{CanonicalPoint, scalar_from_canonical};
pub use hash::{Digest, Hasher, Xof};
pub use share::{
    CIPHERTEXT_LEN, DleqProof, EphemeralSecret, KnowledgeProof, ShareContext, ShareSecretKey,
    decrypt_share_with_point,
};
pub use sign::{IdentityKey, Signature, VerifyingKey};
pub use transcript::TranscriptExt;

/// Holds only for fields that are wiped when they are dropped: each type with secrets names its own beside its definition,
/// so that one that is no longer wiped does not compile.
pub fn wiped<T: zeroize::ZeroizeOnDrop + ?Sized>(_: &T) {}
