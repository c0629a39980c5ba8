use crate::{Reader, Wire, WireError};
use veilsum_crypto::labels::Label;
use veilsum_crypto::{CryptoError, IdentityKey, Signature, VerifyingKey};

/// Content that is signed under a context of its own.
pub trait Content: Wire {
    /// The signature's context.
    const LABEL: Label;
}

/// Content and its signature. Having one does not mean that the signature was checked: [`Signed::verify`] does that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed<T> {
    /// What is signed.
    pub content: T,
    /// Ed25519 over the digest of the content's encoding under [`Content::LABEL`].
    pub signature: Signature,
}

impl<T: Content> Signed<T> {
    /// Signs `content`.
    pub fn sign(content: T, key: &IdentityKey) -> Self {
        let signature = key.sign(T::LABEL, &content.to_bytes());
        Self { content, signature }
    }

    /// Checks the signature and hands out the content.
    ///
    /// # Errors
    /// [`CryptoError::Signature`].
    pub fn verify(&self, key: &VerifyingKey) -> Result<&T, CryptoError> {
        key.verify(T::LABEL, &self.content.to_bytes(), &self.signature)?;
        Ok(&self.content)
    }
}

impl<T: Wire> Wire for Signed<T> {
    const MIN_LEN: usize = T::MIN_LEN + 64;
    fn encode(&self, out: &mut Vec<u8>) {
        self.content.encode(out);
        self.signature.encode(out);
    }
    fn decode(r: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self {
            content: T::decode(r)?,
            signature: Signature::decode(r)?,
        })
    }
}
