//! What nobody may learn from repetition or from sizes.
#![expect(clippy::unwrap_used, reason = "a failed test panics")]

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use std::collections::BTreeMap;
use veilsum_params::ClientId;
use veilsum_protocol::build_contribution;
use veilsum_sim::{Faults, Plan, Report, Setup, Simulation, Tables, World};
use veilsum_wire::{Contribution, Wire};

/// A round in masked mode.
fn masked() -> Setup {
    Setup {
        dim: 6_000,
        roster: 5,
        cohort: 5,
        n_min: 4,
        members: 4,
        threshold: 3,
        ..Setup::small(31)
    }
}

/// Everything in a contribution that fresh randomness makes: commitments, ciphertexts, nonces, masks.
fn fresh(contribution: &Contribution) -> Vec<(&'static str, Vec<u8>)> {
    let (header, body) = (&contribution.header.content, &contribution.body);
    let mut out: Vec<(&str, Vec<u8>)> = vec![
        ("f_z", header.f_z.as_bytes().to_vec()),
        ("ephemeral key", header.ephemeral.as_bytes().to_vec()),
        ("proof of knowledge", header.knowledge.to_bytes()),
        ("proof", header.proof.0.to_vec()),
    ];
    let commitments = header.commitments.iter();
    out.extend(commitments.map(|point| ("polynomial", point.as_bytes().to_vec())));
    out.extend(body.shares.iter().map(|share| ("share", share.to_vec())));
    let ciphertext = body.key_ciphertext.iter();
    out.extend(ciphertext.map(|point| ("key ciphertext", point.to_vec())));
    out.extend(body.matrix.iter().map(|row| ("row", row.to_vec())));
    let masked = body.masked_vector.chunks_exact(32);
    out.extend(masked.map(|part| ("masked vector", part.to_vec())));
    out
}

type Seen = BTreeMap<Vec<u8>, (u64, ClientId, &'static str)>;

/// Adds what a contribution has; gives what was seen before.
fn repeated(seen: &mut Seen, round: u64, client: ClientId, made: &Contribution) -> Vec<String> {
    let mut out = Vec::new();
    for (what, bytes) in fresh(made) {
        if let Some(before) = seen.insert(bytes, (round, client, what)) {
            out.push(format!("{what} of {client} in round {round}: {before:?}"));
        }
    }
    out
}

fn nothing_is_repeated(setup: Setup) {
    let tables = Tables::default();
    let mut seen = Seen::new();
    let mut count = 0;
    let mut rngs: BTreeMap<ClientId, ChaCha20Rng> = BTreeMap::new();
    for round_id in 1..=3 {
        let world = World::with_tables(setup, round_id, &tables).unwrap();
        // One update for all clients and rounds: whatever differs is due to randomness alone.
        let update = world.updates.values().next().unwrap().clone();
        for client in world.context.cohort() {
            let seed = u64::from(client.0);
            let rng = rngs
                .entry(*client)
                .or_insert_with(|| ChaCha20Rng::seed_from_u64(seed));
            let before = rng.clone();
            let (identity, _) = world.keys(*client).unwrap();
            let make = |rng: &mut ChaCha20Rng| {
                build_contribution(
                    &world.context,
                    &world.round,
                    *client,
                    identity,
                    &update,
                    rng,
                )
                .unwrap()
            };
            let made = make(rng);
            count += fresh(&made).len();
            assert_eq!(repeated(&mut seen, round_id, *client, &made), [""; 0]);
            // What is looked for is found where the source of randomness repeats.
            let again = make(&mut before.clone());
            let found = repeated(&mut seen, round_id, *client, &again);
            assert_eq!(found.len(), fresh(&made).len());
        }
    }
    assert_eq!(seen.len(), count);
}

#[test]
fn no_mask_key_share_or_nonce_comes_twice() {
    nothing_is_repeated(Setup::small(31));
}

#[test]
fn no_mask_key_share_or_nonce_comes_twice_in_masked_mode() {
    nothing_is_repeated(masked());
}

/// Who sends what to whom and how long it is, in order, and the sizes of everything on the server's disk.
fn shape(report: &Report) -> (Vec<String>, Vec<usize>, Vec<usize>) {
    let line = |line: &String| match line.split_once(" bytes, ") {
        Some((sent, _)) => sent.to_owned(),
        None => line.clone(),
    };
    (
        report.trace.iter().map(line).collect(),
        report.log.iter().map(Vec::len).collect(),
        report
            .published
            .iter()
            .map(|r| r.to_bytes().len())
            .collect(),
    )
}

fn looks_the_same_for_any_update(setup: Setup) {
    let tables = Tables::default();
    let run = |change: fn(&mut Vec<i64>)| {
        let mut world = World::with_tables(setup, 1, &tables).unwrap();
        let client = world.context.cohort()[1];
        change(world.updates.get_mut(&client).unwrap());
        let plan = Plan {
            trace: true,
            ..Plan::default()
        };
        Simulation::run(&world, Faults::ROUGH, plan).unwrap()
    };
    let first = run(|_| {});
    assert!(first.result.is_some() && !first.trace.is_empty());
    let changes: [fn(&mut Vec<i64>); 3] = [
        |update| update.fill(0),
        |update| {
            update.fill(0);
            update[0] = -1000;
        },
        |update| update.iter_mut().for_each(|x| *x = -*x),
    ];
    for change in changes {
        let second = run(change);
        assert_ne!(first.result, second.result);
        assert_eq!(shape(&first), shape(&second));
    }
}

#[test]
fn messages_look_the_same_for_any_update() {
    looks_the_same_for_any_update(Setup::small(31));
}

#[test]
fn messages_look_the_same_for_any_update_in_masked_mode() {
    looks_the_same_for_any_update(masked());
}
