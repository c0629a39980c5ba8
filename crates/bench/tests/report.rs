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
        batches: false,
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

/// What a batch shares it makes once; what every contribution needs it makes for each.
#[test]
fn batches_count_their_group_operations() {
    for dim in [300, 20_000] {
        let report = run(&BenchConfig {
            batches: true,
            ..config(dim, 2)
        })
        .unwrap();
        let sizes: Vec<u32> = report.batches.iter().map(|b| b.contributions).collect();
        assert_eq!(sizes, [1, 8, 64]);
        let [one, eight, many] = &report.batches[..] else {
            panic!("three sizes");
        };
        // K, the points of the proof, and C, which is what the short weights of a contribution meet.
        let own_terms = u64::from(report.layout.rows) + 11;
        let key = many.short_terms / 64;
        for batch in [one, eight, many] {
            let count = u64::from(batch.contributions);
            assert_eq!(batch.decoded, count * (own_terms - 1 + key), "{batch:?}");
            assert_eq!(batch.range_proofs, count);
            assert!(batch.additions > batch.full_terms && batch.doublings > 0);
        }
        let shared = eight.full_terms - 8 * own_terms;
        assert_eq!(many.full_terms, shared + 64 * own_terms);
        assert!(shared >= u64::from(report.layout.columns) + key);
        assert!(many.additions / 64 < eight.additions / 8 && eight.additions / 8 < one.additions);
    }
}
