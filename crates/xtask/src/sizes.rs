//! `specs/sizes.md`: bytes before time.

use crate::error::TaskError;
use crate::spec::Section;
use std::fmt::Write;
use veilsum_crypto::{CIPHERTEXT_LEN, merkle};
use veilsum_params::{Layout, UploadSizes};
use veilsum_wire::*;

/// Committee size and threshold of both tables.
const COMMITTEES: [(u32, u32); 2] = [(20, 14), (128, 92)];

fn uploads() -> Result<String, TaskError> {
    let mut out = String::from(
        "| d | n_max | m | t | mode | header | y | C | K | proof | shares | upload | bytes/d | plain f32 |\n|---|---|---|---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for d in [
        100, 650, 1000, 5000, 10_000, 52_510, 100_000, 1_000_000, 10_000_000,
    ] {
        for (m, t) in COMMITTEES {
            let layout = Layout::derive(d, 32767, 1024, m, t)?;
            let s = UploadSizes::of(&layout, m, t);
            let mode = if layout.masked_constants().is_some() {
                "masked"
            } else {
                "direct"
            };
            let hundredths = s.total() * 100 / u64::from(d);
            // Writing to a string cannot fail.
            let _ = writeln!(
                out,
                "| {d} | 1024 | {m} | {t} | {mode} | {} | {} | {} | {} | {} | {} | {} | {}.{:02} | {} |",
                s.header,
                s.masked_vector,
                s.key_ciphertext,
                s.matrix_commitment,
                s.proof,
                s.shares,
                s.total(),
                hundredths / 100,
                hundredths % 100,
                4 * u64::from(d)
            );
        }
    }
    Ok(out)
}

fn rounds() -> Result<String, TaskError> {
    let mut out = String::from(
        "| message | n = 20, m = 20, t = 14, d = 650 | n = 1000, m = 128, t = 92, d = 10^6 |\n|---|---|---|\n",
    );
    let mut rows: Vec<(&str, Vec<usize>)> = Vec::new();
    for (n, m, t, d) in [(20usize, 20u32, 14u32, 650), (1000, 128, 92, 1_000_000)] {
        let layout = Layout::derive(d, 32767, 1024, m, t)?;
        let (members, threshold) = (m as usize, t as usize);
        let header = usize::try_from(UploadSizes::of(&layout, m, t).header).unwrap_or(usize::MAX);
        let path = |count: usize| 4 + 32 * merkle::path_len(0, count);
        let proposal = Signed::<ProposalContent>::MIN_LEN + 4 + 36 * n;
        let share = CIPHERTEXT_LEN + path(members);
        let certificate = 4 + threshold * Signed::<EndorseContent>::MIN_LEN;
        let slice_rows = (layout.x_rows as usize).div_ceil(members);
        let leaf = 4 + 32 * slice_rows + path(members);
        let values = 2 + 4 + 32 * slice_rows;
        let final_len = Signed::<FinalContent>::MIN_LEN;
        let slices = members.min(layout.x_rows as usize);
        let signers = 2 * threshold - members;
        let list = |slices: usize| Signed::<RowsContent>::MIN_LEN + 34 * slices;
        let per_member = (slices * signers).div_ceil(members);
        let light = certificate
            + 8
            + path(n)
            + 4
            + threshold * final_len
            + 4
            + slices * (6 + 32 * (layout.x_rows as usize).div_ceil(slices))
            + 4
            + members * list(per_member);
        for (i, (name, len)) in [
            (
                "announcement (server to client)",
                Signed::<AnnouncementContent>::MIN_LEN + 218 + 4 + 36 * members,
            ),
            (
                "receipt (server to client)",
                Signed::<ReceiptContent>::MIN_LEN,
            ),
            (
                "package (server to member)",
                proposal + 4 + n * header + 4 + n * share,
            ),
            (
                "endorsement without complaints (member to server)",
                Signed::<EndorseContent>::MIN_LEN + 4,
            ),
            (
                "one complaint",
                Signed::<ComplaintContent>::MIN_LEN + 32 * merkle::path_len(0, members),
            ),
            (
                "unmask request without complaints (server to member)",
                certificate + Signed::<ComplaintListContent>::MIN_LEN + 4,
            ),
            (
                "unmask (member to server)",
                Signed::<UnmaskContent>::MIN_LEN + 4,
            ),
            ("Final (member to server)", final_len),
            (
                "rows request, one slice (server to member)",
                32 + 2 + 4 + n * leaf,
            ),
            ("rows, one slice (member to server)", list(1) + values),
            (
                "result (server to client)",
                Signed::<ResultContent>::MIN_LEN + 4 + 8 * d as usize,
            ),
            ("light bundle (server to light client)", light),
        ]
        .into_iter()
        .enumerate()
        {
            match rows.get_mut(i) {
                Some(row) => row.1.push(len),
                None => rows.push((name, vec![len])),
            }
        }
    }
    for (name, lens) in rows {
        let cells: Vec<String> = lens.iter().map(usize::to_string).collect();
        let _ = writeln!(out, "| {name} | {} |", cells.join(" | "));
    }
    Ok(out)
}

pub(crate) fn sections() -> Result<Vec<Section>, TaskError> {
    Ok(vec![
        Section {
            name: "uploads",
            text: uploads()?,
        },
        Section {
            name: "messages",
            text: rounds()?,
        },
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_is_as_long_as_the_parameters_derive() {
        for d in [1, 650, 5000, 100_000, 1_000_000] {
            for n_max in [2, 1024, 1 << 20] {
                let layout = Layout::derive(d, 32767, n_max, 20, 14).unwrap();
                let derived = UploadSizes::of(&layout, 20, 14).proof;
                assert_eq!(veilsum_proof::proof_len(&layout) as u64, derived);
            }
        }
    }
}
