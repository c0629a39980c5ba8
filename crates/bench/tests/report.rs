//! What a benchmark reports.

use veilsum_bench::{BenchConfig, run};
use veilsum_simd::Backend;

fn config(dim: u32, clients: u32) -> BenchConfig {
    BenchConfig {
        dim,
        clients,
        threads: 1,
        n_max: 1024,
        norm_bound: 32_767,
        members: 4,
        threshold: 3,
        wide_keys: 0,
        backend: Backend::Auto,
        seed: 5,
    }
}

/// The phases are documented, are disjoint, and sum to the time that they are parts of.
#[test]
fn phases_are_documented_and_sum_to_the_whole() {
    let documented = include_str!("../../../specs/benchmarks.md");
    for (dim, mode) in [(300, "direct"), (20_000, "masked")] {
        let report = run(&config(dim, 3)).unwrap();
        assert!(report.sum_exact);
        assert_eq!(report.mode, mode);
        for (phases, whole) in [
            (&report.client_phases, report.client_seconds),
            (&report.verify_phases, report.verify_seconds_per_client),
            (&report.finish_phases, report.finish_seconds),
        ] {
            for (name, seconds) in phases {
                assert!(documented.contains(&format!("`{name}`")), "{name}");
                assert!(*seconds >= 0.0, "{name} {seconds}");
            }
            assert!(phases.len() >= 4, "{phases:?}");
            let sum: f64 = phases.values().sum();
            assert!((sum - whole).abs() < 1e-6, "{sum} of {whole}");
        }
        let masked = mode == "masked";
        assert_eq!(report.client_phases.contains_key("packing"), masked);
    }
}

/// Clients that put the whole norm of their key on one coordinate are accepted, and the sum is as exact as with others.
#[test]
fn wide_keys_open() {
    for wide_keys in [1, 4] {
        let config = BenchConfig {
            wide_keys,
            threads: 2,
            ..config(10_000, 4)
        };
        let report = run(&config).unwrap();
        assert_eq!(report.mode, "masked");
        assert!(report.sum_exact);
    }
}
