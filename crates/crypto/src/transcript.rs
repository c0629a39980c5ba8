use crate::Digest;
use curve25519_dalek::ristretto::CompressedRistretto;
use curve25519_dalek::scalar::Scalar;
use merlin::Transcript;

/// What Veilsum absorbs into and draws from Merlin transcripts.
pub trait TranscriptExt {
    /// Absorbs a compressed point.
    fn point(&mut self, label: &'static [u8], point: &[u8; 32]);
    /// Absorbs a canonical scalar.
    fn scalar(&mut self, label: &'static [u8], scalar: &Scalar);
    /// Absorbs a digest.
    fn digest(&mut self, label: &'static [u8], digest: &Digest);
    /// Draws a scalar from 64 bytes.
    fn challenge_scalar(&mut self, label: &'static [u8]) -> Scalar;
    /// Draws a 32-byte seed.
    fn challenge_seed(&mut self, label: &'static [u8]) -> [u8; 32];
}

impl TranscriptExt for Transcript {
    fn point(&mut self, label: &'static [u8], point: &[u8; 32]) {
        self.append_message(label, CompressedRistretto(*point).as_bytes());
    }
    fn scalar(&mut self, label: &'static [u8], scalar: &Scalar) {
        self.append_message(label, scalar.as_bytes());
    }
    fn digest(&mut self, label: &'static [u8], digest: &Digest) {
        self.append_message(label, &digest.0);
    }
    fn challenge_scalar(&mut self, label: &'static [u8]) -> Scalar {
        let mut wide = [0u8; 64];
        self.challenge_bytes(label, &mut wide);
        Scalar::from_bytes_mod_order_wide(&wide)
    }
    fn challenge_seed(&mut self, label: &'static [u8]) -> [u8; 32] {
        let mut seed = [0u8; 32];
        self.challenge_bytes(label, &mut seed);
        seed
    }
}
