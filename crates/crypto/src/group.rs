use crate::CryptoError;
use curve25519_dalek::ristretto::{CompressedRistretto, RistrettoPoint};
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::IsIdentity;
use std::fmt;

/// A ristretto255 point that came in its canonical encoding, kept with it.
///
/// Keeping both saves the encoding when the point is hashed, and makes it impossible to hash another encoding than the
/// one that was received.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct CanonicalPoint {
    bytes: [u8; 32],
    point: RistrettoPoint,
}

impl CanonicalPoint {
    /// Decodes a canonical encoding; the identity is allowed.
    ///
    /// # Errors
    /// [`CryptoError::Point`].
    pub fn decode(bytes: &[u8; 32]) -> Result<Self, CryptoError> {
        let point = CompressedRistretto(*bytes)
            .decompress()
            .ok_or(CryptoError::Point)?;
        Ok(Self {
            bytes: *bytes,
            point,
        })
    }

    /// Decodes a canonical encoding of a point other than the identity.
    ///
    /// # Errors
    /// [`CryptoError::Point`], [`CryptoError::Identity`].
    pub fn decode_non_identity(bytes: &[u8; 32]) -> Result<Self, CryptoError> {
        let decoded = Self::decode(bytes)?;
        if decoded.point.is_identity() {
            Err(CryptoError::Identity)
        } else {
            Ok(decoded)
        }
    }

    /// The canonical encoding.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.bytes
    }

    /// The point.
    pub fn point(&self) -> &RistrettoPoint {
        &self.point
    }
}

impl From<RistrettoPoint> for CanonicalPoint {
    fn from(point: RistrettoPoint) -> Self {
        Self {
            bytes: point.compress().to_bytes(),
            point,
        }
    }
}

impl fmt::Debug for CanonicalPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Point({})", crate::Digest(self.bytes))
    }
}

/// Decodes the canonical encoding of a scalar.
///
/// # Errors
/// [`CryptoError::Scalar`] for anything not below the group order.
pub fn scalar_from_canonical(bytes: &[u8; 32]) -> Result<Scalar, CryptoError> {
    Option::from(Scalar::from_canonical_bytes(*bytes)).ok_or(CryptoError::Scalar)
}
