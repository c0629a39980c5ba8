use crate::labels::Label;
use crate::{CryptoError, Digest};
use ed25519_dalek::{Signer, SigningKey};
use rand_core::CryptoRngCore;
use std::fmt;

/// An Ed25519 signature.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature(pub [u8; 64]);

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head: String = self.0.iter().take(4).map(|b| format!("{b:02x}")).collect();
        write!(f, "Signature({head}..)")
    }
}

/// An Ed25519 verification key that decoded to a curve point.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct VerifyingKey(ed25519_dalek::VerifyingKey);

impl VerifyingKey {
    /// Decodes a key; keys of small order are refused.
    ///
    /// # Errors
    /// [`CryptoError::Key`].
    pub fn decode(bytes: &[u8; 32]) -> Result<Self, CryptoError> {
        let key = ed25519_dalek::VerifyingKey::from_bytes(bytes).map_err(|_| CryptoError::Key)?;
        if key.is_weak() {
            Err(CryptoError::Key)
        } else {
            Ok(Self(key))
        }
    }

    /// The key's bytes.
    pub fn to_bytes(&self) -> [u8; 32] {
        self.0.to_bytes()
    }

    /// Checks a signature over `content` under the context `label`, strictly (honest parties must agree).
    ///
    /// # Errors
    /// [`CryptoError::Signature`].
    pub fn verify(
        &self,
        label: Label,
        content: &[u8],
        signature: &Signature,
    ) -> Result<(), CryptoError> {
        let signature = ed25519_dalek::Signature::from_bytes(&signature.0);
        self.0
            .verify_strict(&Digest::of(label, content).0, &signature)
            .map_err(|_| CryptoError::Signature)
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifyingKey({})", Digest(self.0.to_bytes()))
    }
}

/// A party's long-term Ed25519 signing key; zeroised on drop.
#[derive(Clone)]
pub struct IdentityKey(SigningKey);

impl zeroize::ZeroizeOnDrop for IdentityKey {}
const _: fn(&IdentityKey) = |s| crate::wiped(&s.0);

impl IdentityKey {
    /// A fresh key.
    pub fn generate(rng: &mut impl CryptoRngCore) -> Self {
        let mut seed = zeroize::Zeroizing::new([0u8; 32]);
        rng.fill_bytes(seed.as_mut());
        Self::from_seed(&seed)
    }
    /// The key of a 32-byte seed.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }
    /// The seed, for storage in a private file.
    pub fn to_seed(&self) -> zeroize::Zeroizing<[u8; 32]> {
        zeroize::Zeroizing::new(self.0.to_bytes())
    }
    /// The verification key.
    pub fn verifying_key(&self) -> VerifyingKey {
        VerifyingKey(self.0.verifying_key())
    }
    /// Signs the digest of `content` under the context `label`.
    pub fn sign(&self, label: Label, content: &[u8]) -> Signature {
        Signature(self.0.sign(&Digest::of(label, content).0).to_bytes())
    }
}

impl fmt::Debug for IdentityKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "IdentityKey {{ public: {}, secret: <redacted> }}",
            Digest(self.0.verifying_key().to_bytes())
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::labels::{SIGN_HEADER, SIGN_RECEIPT};

    #[test]
    fn a_signature_holds_for_its_context_and_content_only() {
        let key = IdentityKey::from_seed(&[3; 32]);
        let s = key.sign(SIGN_HEADER, b"content");
        assert_eq!(
            key.verifying_key().verify(SIGN_HEADER, b"content", &s),
            Ok(())
        );
        assert_eq!(
            key.verifying_key().verify(SIGN_RECEIPT, b"content", &s),
            Err(CryptoError::Signature)
        );
        assert_eq!(
            key.verifying_key().verify(SIGN_HEADER, b"contents", &s),
            Err(CryptoError::Signature)
        );
        assert!(format!("{key:?}").contains("<redacted>"));
    }

    #[test]
    fn small_order_keys_are_refused() {
        let mut identity = [0u8; 32];
        identity[0] = 1;
        assert_eq!(VerifyingKey::decode(&identity), Err(CryptoError::Key));
    }
}
