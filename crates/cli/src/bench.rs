//! `veilsum bench`.

use veilsum_bench::{BenchConfig, BenchReport, run};
use veilsum_simd::Backend;

use crate::args::{BenchArguments, BenchBackend};
use crate::error::{CliError, exit};

pub(crate) fn bench(arguments: &BenchArguments) -> Result<u8, CliError> {
    let (members, threshold) = arguments.committee;
    let report = run(&BenchConfig {
        dim: arguments.dim,
        clients: arguments.clients,
        threads: arguments.threads.into(),
        n_max: arguments.n_max,
        norm_bound: arguments.norm_bound,
        members,
        threshold,
        wide_keys: arguments.wide_keys,
        batches: arguments.batches,
        backend: match arguments.backend {
            BenchBackend::Auto => Backend::Auto,
            BenchBackend::Portable => Backend::Portable,
            BenchBackend::Avx512ifma => Backend::Avx512Ifma,
        },
        seed: arguments.seed,
    })?;
    if arguments.json {
        println!("{}", serde_json::json!(report));
    } else {
        print(&report);
    }
    Ok(if report.sum_exact {
        0
    } else {
        exit::VERIFICATION
    })
}

fn milliseconds(label: &str, seconds: f64) {
    println!("{label:<34}{:>12.2} ms", seconds * 1e3);
}

fn print(report: &BenchReport) {
    println!(
        "{} coordinates, {} clients, {} thread(s), {} mode, {} arithmetic, {} bits of security",
        report.dim,
        report.clients,
        report.threads,
        report.mode,
        report.backend,
        report.layout.security_bits
    );
    milliseconds("setup (once per generator set)", report.setup_seconds);
    milliseconds("client", report.client_seconds);
    for (name, seconds) in &report.client_phases {
        milliseconds(&format!("  {name}"), *seconds);
    }
    milliseconds(
        "verification, one contribution",
        report.verify_seconds_per_client,
    );
    for (name, seconds) in &report.verify_phases {
        milliseconds(&format!("  {name}"), *seconds);
    }
    milliseconds(
        "  in a batch of all",
        report.batch_verify_seconds_per_client,
    );
    for batch in &report.batches {
        let each = |count: u64| count / u64::from(batch.contributions);
        println!(
            "{:<34}{:>12.2} ms, {} points decoded, {} additions, {} doublings (each of {})",
            format!("  in a batch of {}", batch.contributions),
            batch.seconds * 1e3 / f64::from(batch.contributions),
            each(batch.decoded),
            each(batch.additions),
            each(batch.doublings),
            batch.contributions,
        );
    }
    milliseconds("summing and opening", report.finish_seconds);
    for (name, seconds) in &report.finish_phases {
        milliseconds(&format!("  {name}"), *seconds);
    }
    milliseconds("summing again after a restart", report.resum_seconds);
    let each = report.upload_bytes as f64 / f64::from(report.dim);
    println!(
        "{:<34}{:>12} bytes, {each:.2} a coordinate (plain f32: 4)",
        "upload", report.upload_bytes
    );
    println!(
        "{:<34}{:>12.1} MiB",
        "client's peak memory",
        report.client_peak_bytes as f64 / (1 << 20) as f64
    );
    println!("{:<34}{:>12}", "sum exact", report.sum_exact);
    println!(
        "{:<34}{:>12.0} ns",
        "a dalek point addition here", report.baselines.point_add_ns
    );
}
