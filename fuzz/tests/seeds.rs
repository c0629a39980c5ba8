//! The fuzz targets over their seeds and over seeds with a few bytes changed, for machines without a fuzzer.

use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};
use std::path::Path;
use std::time::{Duration, Instant};
use veilsum_proof::ProofCheck;

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(target);
    let Ok(entries) = std::fs::read_dir(&dir) else {
        panic!(
            "{}: no seeds; make them with `cargo run -p xtask -- corpus`",
            dir.display()
        );
    };
    let mut files: Vec<_> = entries.map(|e| e.unwrap().path()).collect();
    files.sort();
    files.iter().map(|f| std::fs::read(f).unwrap()).collect()
}

/// Seconds for each target that is fed changed seeds until they are over; 0 for a fixed number of changes.
fn seconds() -> u64 {
    let given = std::env::var("VEILSUM_FUZZ_SECONDS").ok();
    given.and_then(|text| text.parse().ok()).unwrap_or(0)
}

fn changed(seed: &[u8], other: &[u8], rng: &mut ChaCha20Rng) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    match rng.next_u32() % 6 {
        0 => bytes.truncate(rng.next_u32() as usize % (bytes.len() + 1)),
        1 => bytes.extend((0..rng.next_u32() % 40).map(|i| i as u8)),
        2 => {
            // The beginning of one, the end of another.
            bytes.truncate(rng.next_u32() as usize % (bytes.len() + 1));
            bytes.extend_from_slice(&other[rng.next_u32() as usize % (other.len() + 1)..]);
        }
        _ => {}
    }
    for _ in 0..rng.next_u32() % 4 {
        if !bytes.is_empty() {
            let at = rng.next_u32() as usize % bytes.len();
            bytes[at] = match rng.next_u32() % 3 {
                0 => bytes[at] ^ (1 << (rng.next_u32() % 8)),
                1 => [0, 1, 0x7f, 0x80, 0xff][rng.next_u32() as usize % 5],
                _ => rng.next_u32() as u8,
            };
        }
    }
    bytes
}

fn run(target: &str, body: fn(&[u8]), rounds: usize) {
    let mut rng = ChaCha20Rng::seed_from_u64(7);
    let seeds = seeds(target);
    for seed in &seeds {
        body(seed);
        for _ in 0..rounds {
            body(&changed(seed, &seeds[0], &mut rng));
        }
    }
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(seconds()) {
        let [one, other] = [0; 2].map(|_| &seeds[rng.next_u32() as usize % seeds.len()]);
        body(&changed(one, other, &mut rng));
    }
}

#[test]
fn wire() {
    run("wire", veilsum_fuzz::wire, 300);
}

#[test]
fn message() {
    run("message", veilsum_fuzz::message, 300);
}

#[test]
fn frame() {
    run("frame", veilsum_fuzz::frame, 300);
}

#[test]
fn store() {
    run("store", veilsum_fuzz::store, 1000);
}

#[test]
fn intake() {
    run("intake", veilsum_fuzz::intake, 30);
    let mut rng = ChaCha20Rng::seed_from_u64(8);
    veilsum_fuzz::intake(&[1]);
    for i in 0..400u32 {
        let choice = if i % 2 == 0 { 1 } else { 3 };
        let change = rng.next_u32().to_le_bytes();
        veilsum_fuzz::intake(&[choice, change[0], change[1], change[2] | 1, change[3]]);
    }
}

#[test]
fn proof() {
    run("proof", veilsum_fuzz::proof, 100);
    // A small step in every word: those that stand in the group equations alone are what leads past the field equations.
    for word in 0..veilsum_fuzz::words() {
        let [low, high] = u16::try_from(word).unwrap().to_le_bytes();
        for base in 0..2 {
            veilsum_fuzz::proof(&[base, 5, 1, low, high, 0, 0]);
        }
    }
    let reached = veilsum_fuzz::reached().unwrap();
    println!("the verifier was followed as far as {reached:?}");
    assert_eq!(Some(&reached), ProofCheck::ALL.last());
}

#[test]
fn machines() {
    run("machines", veilsum_fuzz::machines, 20);
}

#[test]
fn evidence() {
    run("evidence", veilsum_fuzz::evidence, 300);
}

#[test]
fn complaints() {
    run("complaints", veilsum_fuzz::complaints, 100);
}

#[test]
fn numbers() {
    run("numbers", veilsum_fuzz::numbers, 1000);
}

#[test]
fn oracles() {
    run("oracles", veilsum_fuzz::oracles, 100);
}
