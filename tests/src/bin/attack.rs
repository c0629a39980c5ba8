//! A round in peace and one under attack, and what the server used in each.

use std::time::Duration;

use clap::Parser;
use veilsum_e2e::attack::{Attack, Outcome, run};

#[derive(Clone, Copy, Debug, Parser)]
#[command(
    about = "Silent, slow, garbage and flooding connections beside honest clients: none of them is lost or late"
)]
struct Arguments {
    /// Honest clients
    #[arg(long, default_value_t = 50)]
    clients: u32,
    /// Committee members among them
    #[arg(long, default_value_t = 10)]
    committee: u32,
    /// Hostile connections
    #[arg(long, default_value_t = 200)]
    attackers: u32,
    /// Coordinates
    #[arg(long, default_value_t = 1000)]
    dim: u32,
    /// For how long contributions are taken, in seconds
    #[arg(long, default_value_t = 120)]
    contribute_seconds: u32,
    /// Seconds of the attack before the first honest client comes
    #[arg(long, default_value_t = 10)]
    before: u64,
}

fn report(outcome: &Outcome) -> serde_json::Value {
    serde_json::json!({
        "slowest_contribution_seconds": outcome.slowest_contribution, "seconds": outcome.seconds,
        "server_cpu_seconds": outcome.server_cpu_seconds, "server_peak_mib": outcome.server_peak_mib,
        "hostile_connections": outcome.hostile_connections,
    })
}

fn main() {
    let a = Arguments::parse();
    let attack = Attack {
        clients: a.clients,
        committee: a.committee,
        attackers: a.attackers,
        dim: a.dim,
        contribute_seconds: a.contribute_seconds,
        before: Duration::from_secs(a.before),
    };
    let peace = run(Attack {
        attackers: 0,
        ..attack
    });
    let war = run(attack);
    println!(
        "{}",
        serde_json::json!({ "in_peace": report(&peace), "under_attack": report(&war) })
    );
}
