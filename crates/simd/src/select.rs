//! Constant-time selection of a table entry: every entry is read and all but one masked out.
//!
//! A mask that the compiler knows to be all ones or zero becomes a branch around the entry (it did), so every mask passes
//! through a barrier that costs no instruction. Written with the vectors that every x86-64 has, because the compiler keeps
//! twelve words in twelve scalar registers otherwise, which takes three times as long; elsewhere it is left to it.

use crate::edwards64::WordNiels;

/// `base` with the words of entry `index` set in it; `base` alone when there is no such entry. `index` is secret, the
/// number of entries is below 2^31.
#[inline(always)]
pub(crate) fn select(entries: &[WordNiels], index: u32, base: WordNiels) -> WordNiels {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every x86-64 processor has SSE2.
    return unsafe { vectors(entries, index, base) };
    #[cfg(not(target_arch = "x86_64"))]
    words(entries, index, base)
}

/// Word by word; what the vectors are tested against.
#[cfg(any(test, not(target_arch = "x86_64")))]
fn words(entries: &[WordNiels], index: u32, base: WordNiels) -> WordNiels {
    let mut out = base;
    for (i, entry) in (0u32..).zip(entries) {
        let differ = u64::from(i ^ index);
        let mask = core::hint::black_box(differ.wrapping_neg() >> 63).wrapping_sub(1);
        for (out, word) in out.0.iter_mut().zip(entry.0) {
            *out |= word & mask;
        }
    }
    out
}

#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "sse2")]
fn vectors(entries: &[WordNiels], index: u32, base: WordNiels) -> WordNiels {
    use core::arch::x86_64::*;

    let halves = |niels: &WordNiels| -> [__m128i; 6] {
        let pairs = niels.0.as_chunks::<2>().0;
        // SAFETY: each reference is valid for 16 bytes and the load needs no alignment.
        core::array::from_fn(|i| unsafe { _mm_loadu_si128(pairs[i].as_ptr().cast()) })
    };
    let mut out = halves(&base);
    let wanted = _mm_set1_epi32(index as i32);
    let mut here = _mm_setzero_si128();
    for entry in entries {
        let mut mask = _mm_cmpeq_epi32(wanted, here);
        // SAFETY: no instruction at all; the one operand may have changed for all that the compiler knows.
        unsafe {
            core::arch::asm!("/* {0} */", inout(xmm_reg) mask, options(pure, nomem, nostack, preserves_flags));
        }
        for (out, part) in out.iter_mut().zip(halves(entry)) {
            *out = _mm_or_si128(*out, _mm_and_si128(part, mask));
        }
        here = _mm_add_epi32(here, _mm_set1_epi32(1));
    }
    let mut result = WordNiels([0; 12]);
    for (pair, part) in result.0.as_chunks_mut::<2>().0.iter_mut().zip(out) {
        // SAFETY: the reference is valid for writing 16 bytes and the store needs no alignment.
        unsafe { _mm_storeu_si128(pair.as_mut_ptr().cast(), part) };
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_entry_that_is_named_and_no_other() {
        for count in [0usize, 1, 2, 31, 32, 64] {
            let entries: Vec<WordNiels> = (1..=count as u64)
                .map(|i| WordNiels(core::array::from_fn(|j| i << (5 * (j % 12)) | i)))
                .collect();
            for base in [WordNiels([0; 12]), WordNiels([1 << 63; 12])] {
                for index in [0, 1, 2, 30, 31, 32, 63, 64, 1 << 31, u32::MAX] {
                    let got = select(&entries, index, base).0;
                    let entry = entries.get(index as usize).map_or([0; 12], |e| e.0);
                    assert_eq!(got, core::array::from_fn(|j| entry[j] | base.0[j]));
                    assert_eq!(got, words(&entries, index, base).0);
                }
            }
        }
    }
}
