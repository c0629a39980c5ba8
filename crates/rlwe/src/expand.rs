//! The public ring elements `a_b`: nobody may choose them, so they come from an extendable-output function.

use std::borrow::Cow;

use rayon::prelude::*;

use crate::field::{Limbs, reduce_384};

/// Expands the ring elements of one round.
///
/// `a_b` is the output of BLAKE3 in its key-derivation mode, under a context string, over the 32 bytes of the round's
/// parameter digest and the block index as eight little-endian bytes; each coefficient is the next 48 output bytes, read
/// as a little-endian integer and reduced modulo `l`. The bias of one coefficient is below `2^-131`.
#[derive(Debug, Clone)]
pub struct Expander {
    prefix: blake3::Hasher,
    /// The first blocks, in full length, for callers that need them more than once.
    kept: Vec<Vec<Limbs>>,
}

impl Expander {
    /// `context` separates this use of the hash from all others and is fixed by the protocol version.
    #[must_use]
    pub fn new(context: &str, params_digest: &[u8; 32]) -> Self {
        let mut prefix = blake3::Hasher::new_derive_key(context);
        prefix.update(params_digest);
        Self {
            prefix,
            kept: Vec::new(),
        }
    }

    /// The first `out.len()` coefficients of `a_index`.
    pub fn fill(&self, index: u64, out: &mut [Limbs]) {
        const BATCH: usize = 128;
        let mut hasher = self.prefix.clone();
        hasher.update(&index.to_le_bytes());
        let mut stream = hasher.finalize_xof();
        let mut buffer = [[0u8; 48]; BATCH];
        for chunk in out.chunks_mut(BATCH) {
            let bytes = &mut buffer[..chunk.len()];
            stream.fill(bytes.as_flattened_mut());
            for (coefficient, bytes) in chunk.iter_mut().zip(bytes) {
                let mut limbs = [0; 6];
                for (limb, word) in limbs.iter_mut().zip(bytes.as_chunks::<8>().0) {
                    *limb = u64::from_le_bytes(*word);
                }
                *coefficient = reduce_384(&limbs);
            }
        }
    }

    /// The first `count` coefficients of `a_index`.
    #[must_use]
    pub fn block(&self, index: u64, count: usize) -> Vec<Limbs> {
        let mut out = vec![[0; 4]; count];
        self.fill(index, &mut out);
        out
    }

    /// Expands the first `blocks` blocks of `degree` coefficients once and keeps them: 32 bytes a coefficient. Uses the
    /// current `rayon` pool.
    #[must_use]
    pub fn keeping(mut self, blocks: u64, degree: usize) -> Self {
        self.kept = (0..blocks)
            .into_par_iter()
            .map(|b| self.block(b, degree))
            .collect();
        self
    }

    /// The blocks that are kept, in order.
    #[must_use]
    pub fn kept(&self) -> &[Vec<Limbs>] {
        &self.kept
    }

    /// The first `count` coefficients of a block, from those that are kept if it is among them.
    pub(crate) fn borrow(&self, index: u64, count: usize) -> Cow<'_, [Limbs]> {
        let kept = usize::try_from(index).ok().and_then(|i| self.kept.get(i));
        match kept.and_then(|block| block.get(..count)) {
            Some(block) => Cow::Borrowed(block),
            None => Cow::Owned(self.block(index, count)),
        }
    }
}

#[cfg(test)]
mod tests {
    use num_bigint::BigUint;

    use super::*;

    #[test]
    fn coefficients_follow_the_definition() {
        let digest = [7u8; 32];
        let context = "veilsum test 2026 ring element";
        let block = Expander::new(context, &digest).block(3, 300);
        let mut hasher = blake3::Hasher::new_derive_key(context);
        hasher.update(&digest).update(&[3, 0, 0, 0, 0, 0, 0, 0]);
        let mut bytes = vec![0u8; 300 * 48];
        hasher.finalize_xof().fill(&mut bytes);
        let l: BigUint = (BigUint::from(1u8) << 252u32)
            + "27742317777372353535851937790883648493"
                .parse::<BigUint>()
                .unwrap();
        for (coefficient, bytes) in block.iter().zip(bytes.chunks(48)) {
            let mut expected: Vec<u64> = (BigUint::from_bytes_le(bytes) % &l).to_u64_digits();
            expected.resize(4, 0);
            assert_eq!(coefficient[..], expected[..]);
        }
    }

    #[test]
    fn index_digest_context_and_length() {
        let expander = Expander::new("veilsum test 2026 a", &[1; 32]);
        let block = expander.block(0, 64);
        assert_eq!(block[..40], expander.block(0, 40));
        assert_ne!(block, expander.block(1, 64));
        let keeping = expander.clone().keeping(2, 64);
        assert_eq!(
            keeping.kept(),
            [expander.block(0, 64), expander.block(1, 64)]
        );
        for (index, count) in [(0, 64), (1, 40), (1, 65), (2, 64)] {
            assert_eq!(*keeping.borrow(index, count), expander.block(index, count));
        }
        assert_ne!(
            block,
            Expander::new("veilsum test 2026 a", &[2; 32]).block(0, 64)
        );
        assert_ne!(
            block,
            Expander::new("veilsum test 2026 b", &[1; 32]).block(0, 64)
        );
    }

    #[test]
    fn golden_value() {
        // Another implementation must find the same: the first coefficient of a_0 for an all-zero digest.
        let block = Expander::new("veilsum test 2026 golden", &[0; 32]).block(0, 1);
        assert_eq!(
            block,
            [[
                0x9008_f452_3d7b_2315,
                0x0891_ddbb_73bb_8560,
                0xf264_fdb9_b305_c189,
                0x0b49_1671_032a_f300
            ]]
        );
    }
}
