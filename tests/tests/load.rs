//! A short run of what `cargo run -p veilsum-e2e --release --bin load` does with a thousand clients. No speed is asserted.

use veilsum_e2e::load::{Load, run};

#[test]
fn a_cohort_with_malicious_clients_and_drop_outs_has_its_exact_sum() {
    let dir = tempfile::tempdir().unwrap();
    let measured = run(Load {
        dir: dir.path().to_owned(),
        clients: 60,
        malicious: 6,
        dropouts: 6,
        dim: 1_000,
        committee: 16,
        baseline: false,
    })
    .unwrap();
    assert_eq!((measured.accepted, measured.rejected), (48, 6));
    assert!(measured.exact, "{measured:?}");
    // Not zero: the process was there to be looked at.
    assert!((1..500).contains(&measured.server_peak_mib), "{measured:?}");
}
