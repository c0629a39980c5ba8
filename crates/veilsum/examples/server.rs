//! A server for one round of the whole roster:
//! `cargo run -p veilsum --example server -- ADDR SERVER.key REGISTRAR.pub ROSTER STATE`. Keys and roster are made with
//! `veilsum keygen` and `veilsum roster`; clients are `examples/client.rs`.

use std::{env::args, fs::read, path::PathBuf, sync::Arc};

use veilsum::params::{Beacon, GENERATOR_SET, PROTOCOL_VERSION, RoundParams};
use veilsum::wire::{Roster, Wire, cohort_and_committee};
use veilsum::{Server, ServerKeys, ServerOptions, now_ms, registrar_from_text};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let [listen, key, registrar, roster, state] = args()
        .skip(1)
        .collect::<Vec<_>>()
        .try_into()
        .map_err(|_| "five arguments are needed: see the first lines of this file")?;
    let keys = ServerKeys::from_text(&read(key)?)?;
    let registrar = registrar_from_text(&read(registrar)?)?;
    let roster = Arc::new(Roster::verify(
        Wire::from_bytes(&read(roster)?)?,
        &registrar,
    )?);
    let params = params(&roster, keys.signing().verifying_key().to_bytes())?;
    let mut server = Server::bind(ServerOptions::new(
        listen.parse()?,
        keys,
        roster,
        PathBuf::from(state),
    ))?;
    println!("listening on {}", server.local_addr());
    let report = server.run(params, |event| println!("{event:?}")).await?;
    println!(
        "sum of {} contributions in {}",
        report.accepted,
        report.transcript.display()
    );
    Ok(())
}

/// A round of 1000 coordinates; the beacon's value would come from a public beacon.
fn params(
    roster: &Roster,
    server_key: [u8; 32],
) -> Result<RoundParams, Box<dyn std::error::Error>> {
    let n = u32::try_from(roster.entries().len())?;
    let beacon = Beacon {
        source: [0; 32],
        round: 1,
        value: [7; 32],
    };
    Ok(RoundParams {
        protocol_version: PROTOCOL_VERSION,
        generator_set: GENERATOR_SET,
        round_id: 1,
        epoch: roster.epoch(),
        server_key,
        model_digest: [0; 32],
        roster_digest: roster.digest().0,
        beacon,
        dim: 1000,
        scale_bits: 12,
        norm_bound: 32767,
        weight_max: 1,
        predicates: 0,
        groups: 1,
        cohort_size: n,
        n_max: n,
        n_min: (2 * n).div_ceil(3),
        malicious_max: 1,
        threshold: u16::try_from(2 * n / 3 + 1)?,
        committee: cohort_and_committee(roster, &beacon, 1, n, n)?.1,
        contribute_deadline_ms: now_ms() + 600_000,
    })
}
