//! Measures a server with a large cohort, against bounds of its memory and its CPU time.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use veilsum_e2e::load::{Failure, Load, run};

#[derive(Debug, Parser)]
#[command(about = "Measure a server with a large cohort over QUIC on loopback")]
struct Arguments {
    /// Directory for keys, contributions and the server's state; used again when it fits
    #[arg(long)]
    dir: PathBuf,
    /// Clients of the cohort
    #[arg(long, default_value_t = 1000)]
    clients: u32,
    /// How many of them send a contribution whose proof was made for another
    #[arg(long, default_value_t = 100)]
    malicious: u32,
    /// How many of them join and vanish
    #[arg(long, default_value_t = 100)]
    dropouts: u32,
    /// Coordinates
    #[arg(long, default_value_t = 10_000)]
    dim: u32,
    /// Members of the committee
    #[arg(long, default_value_t = 64)]
    committee: u32,
    /// Bound of the server's memory, MiB
    #[arg(long, default_value_t = 500)]
    memory_mib: u64,
    /// Bound of the server's CPU time, as a multiple of that of verification alone on as many threads
    #[arg(long, default_value_t = 1.5)]
    cpu_factor: f64,
}

fn main() -> Result<ExitCode, Failure> {
    let arguments = Arguments::parse();
    let (clients, dim) = (arguments.clients, arguments.dim);
    let measured = run(Load {
        dir: arguments.dir,
        clients,
        malicious: arguments.malicious,
        dropouts: arguments.dropouts,
        dim,
        committee: arguments.committee,
        baseline: true,
    })?;
    let (one_thread, all_threads) = measured.verification_cpu_seconds.unwrap_or_default();
    let server = measured.server_cpu_seconds;
    let factor = server / all_threads;
    println!(
        "{}",
        serde_json::json!({
            "clients": clients, "dim": dim, "accepted": measured.accepted, "rejected": measured.rejected,
            "exact": measured.exact, "seconds": measured.seconds, "server_cpu_seconds": server,
            "verification_cpu_seconds": all_threads, "cpu_factor": factor,
            "one_thread_verification_cpu_seconds": one_thread, "one_thread_cpu_factor": server / one_thread,
            "server_peak_mib": measured.server_peak_mib,
        })
    );
    let within = factor <= arguments.cpu_factor && measured.server_peak_mib <= arguments.memory_mib;
    Ok(if measured.exact && within {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
