//! Sampling of cohort and committee: one exact function, so that nobody can draw again (`specs/protocol.md`, "Sampling").

use crate::labels::Label;
use crate::{CryptoError, Xof};
use std::collections::BTreeMap;

/// A uniform integer in `0..bound` by rejection: 8-byte draws at or above the largest multiple of `bound` are skipped.
fn below(xof: &mut Xof, bound: u64) -> u64 {
    let limit = u64::MAX - (u64::MAX % bound + 1) % bound;
    loop {
        let draw = xof.next_u64();
        if draw <= limit {
            return draw % bound;
        }
    }
}

/// `wanted` distinct positions out of `0..available`, in the order drawn: the first steps of a Fisher-Yates shuffle
/// over the XOF of (label, seed, context).
///
/// # Errors
/// [`CryptoError::Sample`] when more are wanted than there are.
pub fn sample(
    label: Label,
    seed: &[u8; 32],
    context: u64,
    available: usize,
    wanted: usize,
) -> Result<Vec<usize>, CryptoError> {
    if wanted > available {
        return Err(CryptoError::Sample { wanted, available });
    }
    let mut xof = Xof::new(label, seed, context);
    // The shuffled array, sparsely: only places that were swapped differ from their index.
    let mut moved: BTreeMap<usize, usize> = BTreeMap::new();
    let mut drawn = Vec::with_capacity(wanted);
    for i in 0..wanted {
        let offset = below(&mut xof, (available - i) as u64);
        let j =
            i + usize::try_from(offset).map_err(|_| CryptoError::Sample { wanted, available })?;
        let at_i = moved.get(&i).copied().unwrap_or(i);
        let at_j = moved.insert(j, at_i).unwrap_or(j);
        drawn.push(if i == j { at_i } else { at_j });
    }
    Ok(drawn)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::labels::{COHORT_XOF, COMMITTEE_XOF};
    use std::collections::BTreeSet;

    #[test]
    fn draws_a_permutation_that_depends_on_everything() {
        let a = sample(COHORT_XOF, &[7; 32], 1, 50, 50).unwrap();
        assert_eq!(
            a.iter().copied().collect::<BTreeSet<_>>(),
            (0..50).collect()
        );
        assert_ne!(a, sample(COHORT_XOF, &[8; 32], 1, 50, 50).unwrap());
        assert_ne!(a, sample(COHORT_XOF, &[7; 32], 2, 50, 50).unwrap());
        assert_ne!(a, sample(COMMITTEE_XOF, &[7; 32], 1, 50, 50).unwrap());
        assert_eq!(a[..9], sample(COHORT_XOF, &[7; 32], 1, 50, 9).unwrap());
        assert!(sample(COHORT_XOF, &[7; 32], 1, 5, 6).is_err());
    }

    #[test]
    fn every_position_is_equally_likely() {
        let mut count = [0u32; 5];
        for i in 0..5000 {
            count[sample(COHORT_XOF, &[1; 32], i, 5, 1).unwrap()[0]] += 1;
        }
        assert!(count.iter().all(|c| (900..1100).contains(c)), "{count:?}");
    }
}
