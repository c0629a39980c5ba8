//! Containers for secrets: wiped on drop, silent in `Debug`.

use core::fmt;
use core::ops::Deref;

use rand_chacha::ChaCha20Rng;
use rand_core::{CryptoRng, CryptoRngCore, RngCore, SeedableRng};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// A vector of secret values. It is overwritten when dropped, and its `Debug` form gives the length only.
///
/// Comparing two of them is for tests: `==` stops at the first difference.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretVec<T: Zeroize>(Zeroizing<Vec<T>>);

/// Holds only for fields that are wiped when they are dropped: each type with secrets names its own beside its definition,
/// so that one that is no longer wiped does not compile.
pub(crate) fn wiped<T: ZeroizeOnDrop + ?Sized>(_: &T) {}

impl<T: Zeroize> ZeroizeOnDrop for SecretVec<T> {}
const _: fn(&SecretVec<i64>) = |s| wiped(&s.0);

impl<T: Zeroize> SecretVec<T> {
    /// Takes over `values`. The caller must not have let the vector grow by reallocation, which leaves copies behind.
    #[must_use]
    pub fn new(values: Vec<T>) -> Self {
        Self(Zeroizing::new(values))
    }

    /// The values, in order.
    #[must_use]
    pub fn as_slice(&self) -> &[T] {
        &self.0
    }
}

impl<T: Zeroize> Deref for SecretVec<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T: Zeroize> fmt::Debug for SecretVec<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretVec(<{} values redacted>)", self.0.len())
    }
}

/// A 32-byte seed for one contribution's noise. One seed serves one contribution: two masked vectors from the same seed
/// reveal the difference of the updates.
#[derive(Clone)]
pub struct Seed(Zeroizing<[u8; 32]>);

impl ZeroizeOnDrop for Seed {}
const _: fn(&Seed) = |s| wiped(&s.0);

impl Seed {
    /// Takes over 32 uniform bytes.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Draws a fresh seed.
    pub fn random(rng: &mut impl CryptoRngCore) -> Self {
        let mut bytes = Zeroizing::new([0u8; 32]);
        rng.fill_bytes(bytes.as_mut());
        Self(bytes)
    }

    /// The `ChaCha20` keystream number `stream` of this seed. Streams of one seed are independent for anybody who does
    /// not know it, so each ring block can be filled by whichever thread comes first, with the same result.
    pub(crate) fn stream(&self, stream: u64) -> StreamRng {
        let mut rng = ChaCha20Rng::from_seed(*self.0);
        rng.set_stream(stream);
        StreamRng(rng)
    }
}

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seed(<redacted>)")
    }
}

/// One keystream of a [`Seed`].
pub(crate) struct StreamRng(ChaCha20Rng);

impl ZeroizeOnDrop for StreamRng {}

impl Drop for StreamRng {
    fn drop(&mut self) {
        // `ChaCha20Rng` does not wipe itself, and without `unsafe` there is no volatile write: the black box keeps the
        // overwrite from being removed as dead.
        self.0 = ChaCha20Rng::from_seed([0; 32]);
        core::hint::black_box(&mut self.0);
    }
}

impl RngCore for StreamRng {
    #[inline]
    fn next_u32(&mut self) -> u32 {
        self.0.next_u32()
    }

    #[inline]
    fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    fn fill_bytes(&mut self, dest: &mut [u8]) {
        self.0.fill_bytes(dest);
    }

    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), rand_core::Error> {
        self.0.try_fill_bytes(dest)
    }
}

impl CryptoRng for StreamRng {}
