//! Golden values of the derivation; `specs/parameters.md` shows the same table.
use veilsum_params::{Layout, Mode, UploadSizes};

#[test]
fn print() {
    for (dim, bound, n_max, m, t) in [
        (650u32, 32767u32, 20u32, 20u32, 14u32),
        (1000, 32767, 1024, 20, 14),
        (1000, 32767, 1024, 64, 46),
        (5000, 32767, 1024, 64, 46),
        (20_000, 32767, 1024, 64, 46),
        (52_510, 32767, 20, 20, 14),
        (100_000, 32767, 1024, 64, 46),
        (1_000_000, 32767, 1024, 64, 46),
        (1_000_000, 8191, 1024, 64, 46),
        (100_000_000, 32767, 1024, 64, 46),
    ] {
        let l = Layout::derive(dim, bound, n_max, m, t).unwrap();
        let u = UploadSizes::of(&l, m, t);
        println!("{dim} {:.3} {l:?} {u:?}", u.total() as f64 / f64::from(dim));
        assert!(matches!(l.mode, Mode::Direct) || dim > 1000);
    }
}
