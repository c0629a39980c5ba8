//! The golden table of layouts. Also compiled into the command that writes it into `specs/parameters.md`.

use std::fmt::Write;
use veilsum_params::{Layout, Mode, UploadSizes};

/// d, B_x, n_max, m, t.
const GRID: &[(u32, u32, u32, u32, u32)] = &[
    (650, 32767, 20, 20, 14),
    (1000, 32767, 20, 20, 14),
    (1000, 32767, 1024, 64, 46),
    (4000, 32767, 1024, 64, 46),
    (5000, 32767, 1024, 64, 46),
    (6000, 32767, 1024, 64, 46),
    (20_000, 32767, 1024, 64, 46),
    (52_510, 32767, 20, 20, 14),
    (100_000, 32767, 1024, 64, 46),
    (1_000_000, 32767, 1024, 64, 46),
    (1_000_000, 8191, 1024, 128, 92),
    (1_000_000, u32::MAX, 1 << 20, 512, 342),
    (10_000_000, 32767, 10_000, 128, 92),
    (100_000_000, 32767, 1024, 64, 46),
    (1, 1, 2, 2, 2),
];

/// The table, in Markdown. A layout that cannot be derived shows its error in its row.
pub(crate) fn table() -> String {
    let mut out = String::from(
        "| d | B_x | n_max | m | t | mode | C | X-rows | rows | Delta | gamma | range | kappa | sw | shift | cut | M_e | B_e \
         | log2 beta | R-rows | upload | bytes/d |\n",
    );
    out.push('|');
    out.push_str(&"---|".repeat(22));
    out.push('\n');
    for &(d, bound, n_max, m, t) in GRID {
        let row = match Layout::derive(d, bound, n_max, m, t) {
            Err(error) => error.to_string(),
            Ok(l) => {
                let (mode, own) = match &l.mode {
                    Mode::Direct => ("direct", [const { String::new() }; 8]),
                    Mode::Masked(k) => (
                        "masked",
                        [
                            k.kappa.to_string(),
                            k.slot_bits.to_string(),
                            k.shift.to_string(),
                            k.cut.to_string(),
                            k.ring_len.to_string(),
                            k.e_bound.to_string(),
                            k.beta_log2.to_string(),
                            k.r_rows.to_string(),
                        ],
                    ),
                };
                let upload = UploadSizes::of(&l, m, t).total();
                let hundredths = upload * 100 / u64::from(d);
                let mut cells: Vec<String> =
                    [d, bound, n_max, m, t].iter().map(u32::to_string).collect();
                cells.push(mode.to_owned());
                cells.extend([l.columns, l.x_rows, l.rows()].iter().map(u32::to_string));
                cells.push(l.delta.to_string());
                cells.extend([l.gamma, l.range_bits].iter().map(u32::to_string));
                cells.extend(own);
                cells.push(upload.to_string());
                cells.push(format!("{}.{:02}", hundredths / 100, hundredths % 100));
                cells
                    .iter()
                    .map(|c| {
                        if c.is_empty() {
                            " ".to_owned()
                        } else {
                            format!(" {c} ")
                        }
                    })
                    .collect::<Vec<_>>()
                    .join("|")
            }
        };
        // Writing to a string cannot fail.
        let _ = writeln!(out, "|{row}|");
    }
    out
}
