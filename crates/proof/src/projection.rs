//! Random projections with 0/1 coefficients (`specs/protocol.md`, "Random projection").

use veilsum_crypto::field::Fe;
use veilsum_crypto::{Xof, labels};
use veilsum_params::{Layout, PROJECTIONS};
use zeroize::Zeroize;

/// c_t and d_t for all t, as bytes of eight entries, lowest bit first.
pub(crate) struct Projections {
    pub(crate) rows: Vec<Vec<u8>>,
    pub(crate) columns: Vec<Vec<u8>>,
}

impl Projections {
    /// Projection t reads its row bits, then its column bits, from stream t of the seed.
    pub(crate) fn expand(layout: &Layout, seed: &[u8; 32]) -> Self {
        let row_bytes = layout.projected_rows().div_ceil(8) as usize;
        let column_bytes = layout.columns.div_ceil(8) as usize;
        let (mut rows, mut columns) = (Vec::new(), Vec::new());
        for t in 0..PROJECTIONS as u64 {
            let mut xof = Xof::new(labels::PROJECTION_XOF, seed, t);
            let mut c = vec![0u8; row_bytes];
            let mut d = vec![0u8; column_bytes];
            xof.fill(&mut c);
            xof.fill(&mut d);
            // Rows that are not projected have coefficient zero.
            if let (Some(last), spare @ 1..) =
                (c.last_mut(), 8 * row_bytes as u32 - layout.projected_rows())
            {
                *last &= u8::MAX >> spare;
            }
            rows.push(c);
            columns.push(d);
        }
        Self { rows, columns }
    }

    /// Entry `row` of c_t.
    pub(crate) fn row(&self, t: usize, row: usize) -> bool {
        self.rows[t]
            .get(row / 8)
            .is_some_and(|bits| bits >> (row % 8) & 1 == 1)
    }

    /// Entry `column` of d_t.
    pub(crate) fn column(&self, t: usize, column: usize) -> bool {
        self.columns[t][column / 8] >> (column % 8) & 1 == 1
    }
}

/// For every subset in `subsets` (bits of the values, lowest first) the sum of its values. Eight values at a time, the sums
/// of all their subsets are tabulated once; addresses depend on the subsets only, which are public: the values may be secret.
pub(crate) fn subset_sums(values: &[Fe], subsets: &[Vec<u8>]) -> Vec<Fe> {
    let mut out = vec![Fe::ZERO; subsets.len()];
    let mut table = [Fe::ZERO; 256];
    for (group, values) in values.chunks(8).enumerate() {
        for (i, &v) in values.iter().enumerate() {
            for j in 0..1 << i {
                table[(1 << i) + j] = table[j] + v;
            }
        }
        let mask = (1usize << values.len()) - 1;
        for (sum, subset) in out.iter_mut().zip(subsets) {
            *sum += table[usize::from(subset[group]) & mask];
        }
    }
    table.zeroize();
    out
}
