//! Group operations of verification, counted where they are made.

use std::sync::atomic::{AtomicU64, Ordering};
use veilsum_simd::{MsmGroup, MsmWork};

/// Work in the group that verification with one [`crate::Prepared`] has done so far.
///
/// Range proofs are verified by another library, which makes a multiplication of its own for each; they are counted as such.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupWork {
    /// Points decoded.
    pub decoded: u64,
    /// Terms of multiscalar multiplications with full-width scalars.
    pub full_terms: u64,
    /// Terms with 128-bit scalars.
    pub short_terms: u64,
    /// Additions that these multiplications made.
    pub additions: u64,
    /// Doublings that they made.
    pub doublings: u64,
    /// Range proofs verified.
    pub range_proofs: u64,
}

impl GroupWork {
    /// What was done since `earlier`, which was read of the same [`crate::Prepared`]: counts of another one give 0 where they are
    /// larger.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            decoded: self.decoded.saturating_sub(earlier.decoded),
            full_terms: self.full_terms.saturating_sub(earlier.full_terms),
            short_terms: self.short_terms.saturating_sub(earlier.short_terms),
            additions: self.additions.saturating_sub(earlier.additions),
            doublings: self.doublings.saturating_sub(earlier.doublings),
            range_proofs: self.range_proofs.saturating_sub(earlier.range_proofs),
        }
    }
}

/// The running counts, from all threads.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    decoded: AtomicU64,
    full_terms: AtomicU64,
    short_terms: AtomicU64,
    additions: AtomicU64,
    doublings: AtomicU64,
    range_proofs: AtomicU64,
}

fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}

impl Tally {
    pub(crate) fn decoded(&self, points: usize) {
        add(&self.decoded, points as u64);
    }

    pub(crate) fn range_proof(&self) {
        add(&self.range_proofs, 1);
    }

    pub(crate) fn multiplied(&self, groups: &[MsmGroup<'_>], work: &MsmWork) {
        for group in groups {
            match group {
                MsmGroup::Full { scalars, .. } => add(&self.full_terms, scalars.len() as u64),
                MsmGroup::Short { scalars, .. } => add(&self.short_terms, scalars.len() as u64),
                // Should there be another width, it is not a full one.
                _ => {}
            }
        }
        add(&self.additions, work.additions);
        add(&self.doublings, work.doublings);
    }

    pub(crate) fn read(&self) -> GroupWork {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        GroupWork {
            decoded: get(&self.decoded),
            full_terms: get(&self.full_terms),
            short_terms: get(&self.short_terms),
            additions: get(&self.additions),
            doublings: get(&self.doublings),
            range_proofs: get(&self.range_proofs),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_of_another_layout_are_no_overflow() {
        let (tally, other) = (Tally::default(), Tally::default());
        tally.decoded(7);
        other.decoded(9);
        other.range_proof();
        let none = GroupWork::default();
        assert_eq!(tally.read().since(&other.read()), none);
        let two = GroupWork {
            decoded: 2,
            range_proofs: 1,
            ..none
        };
        assert_eq!(other.read().since(&tally.read()), two);
    }
}
