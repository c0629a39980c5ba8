//! A short run of what `cargo run -p veilsum-e2e --release --bin attack` does with 200 hostile connections.

use std::time::Duration;

use veilsum_e2e::attack::{Attack, run};

#[test]
fn no_honest_contribution_is_lost_beside_hostile_connections() {
    let outcome = run(Attack {
        clients: 6,
        committee: 6,
        attackers: 32,
        dim: 100,
        contribute_seconds: 900,
        before: Duration::from_secs(1),
    });
    // Garbage costs a connection, and those who sent it come again.
    assert!(outcome.hostile_connections > 32, "{outcome:?}");
}
