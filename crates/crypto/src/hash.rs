use crate::labels::Label;
use std::fmt;

/// A 32-byte BLAKE3 digest under some [`Label`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// Digest of one byte string under `label`.
    pub fn of(label: Label, bytes: &[u8]) -> Self {
        let mut h = blake3::Hasher::new_derive_key(label.as_str());
        h.update(bytes);
        Self(*h.finalize().as_bytes())
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Lower-case hexadecimal.
    pub fn to_hex(&self) -> String {
        blake3::Hash::from_bytes(self.0).to_hex().to_string()
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_hex())
    }
}
impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_hex())
    }
}

/// Incremental hash under a label. The concatenation of everything that is fed in is hashed: callers feed canonical,
/// uniquely decodable encodings only (`specs/wire.md`, "Hashing").
#[derive(Clone)]
pub struct Hasher(blake3::Hasher);

impl Hasher {
    /// A hash under `label`.
    pub fn new(label: Label) -> Self {
        Self(blake3::Hasher::new_derive_key(label.as_str()))
    }
    /// Feeds bytes.
    pub fn update(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.update(bytes);
        self
    }
    /// Feeds a u64, little-endian.
    pub fn u64(&mut self, v: u64) -> &mut Self {
        self.update(&v.to_le_bytes())
    }
    /// The digest of all that was fed.
    pub fn finish(&self) -> Digest {
        Digest(*self.0.finalize().as_bytes())
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hasher { .. }")
    }
}

/// Extendable output of BLAKE3 (derive-key mode) for a label, a 32-byte seed and an index.
pub struct Xof(blake3::OutputReader);

impl Xof {
    /// Output stream of `label || seed || index` (index as u64, little-endian).
    pub fn new(label: Label, seed: &[u8; 32], index: u64) -> Self {
        let mut h = blake3::Hasher::new_derive_key(label.as_str());
        h.update(seed).update(&index.to_le_bytes());
        Self(h.finalize_xof())
    }
    /// The next bytes of the stream.
    pub fn fill(&mut self, out: &mut [u8]) {
        self.0.fill(out);
    }
    /// The next eight bytes as a little-endian integer.
    pub fn next_u64(&mut self) -> u64 {
        let mut b = [0u8; 8];
        self.fill(&mut b);
        u64::from_le_bytes(b)
    }
}

impl fmt::Debug for Xof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Xof { .. }")
    }
}
