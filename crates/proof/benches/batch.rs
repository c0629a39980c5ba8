//! What verifying many contributions together saves: terms of multiscalar multiplications, which are the group operations
//! of a verification besides decoding its points, and times, for 1, 8 and 64 contributions. Whatever threads the machine
//! has; `RAYON_NUM_THREADS=1` for one.
#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "measuring and printing are what a benchmark is for"
)]

#[path = "../tests/common/mod.rs"]
mod common;

use common::{MaskedClient, direct, honest, masked, round, statement, update};
use std::time::Instant;
use veilsum_params::Layout;
use veilsum_proof::{Round, Statement, verify_batch};

const SIZES: [usize; 3] = [1, 8, 64];

/// Points that stand for one contribution besides K and C in the folded equations.
const OWN: u32 = 11;

/// Full-width and 128-bit terms of one folded multiplication over `count` contributions: generators are shared, and so are
/// the W_l from two contributions on; a single one sums them with its own short weights.
fn terms(layout: &Layout, count: u32) -> (u32, u32) {
    let (rows, key) = (layout.rows(), layout.key_points());
    let shared = layout.columns + rows + layout.mask_coefficients() + 1 + 2;
    let own = count * (rows + OWN);
    if count == 1 {
        (shared + own + 1, 2 * key)
    } else {
        (shared + own + key, count * key)
    }
}

/// Least time of a verification of all, in seconds.
fn time(round: &Round, statements: &[Statement<'_>]) -> f64 {
    let runs = if statements.len() > 8 { 3 } else { 7 };
    (0..runs)
        .map(|_| {
            let start = Instant::now();
            let verdicts = verify_batch(round, statements, &[1; 32]);
            let seconds = start.elapsed().as_secs_f64();
            assert!(verdicts.iter().all(Result::is_ok), "an honest proof failed");
            seconds
        })
        .fold(f64::INFINITY, f64::min)
}

fn report(name: &str, round: &Round, statements: &[Statement<'_>]) {
    for size in SIZES {
        let (full, short) = terms(round.layout(), size as u32);
        let each = |v: u32| f64::from(v) / size as f64;
        let seconds = time(round, &statements[..size]) / size as f64;
        println!(
            "{name:<16}{size:>6}{:>14.0}{:>14.0}{:>14.2}",
            each(full),
            each(short),
            seconds * 1e3
        );
    }
}

fn main() {
    println!(
        "{:<16}{:>6}{:>14}{:>14}{:>14}",
        "a contribution", "batch", "full terms", "short terms", "ms"
    );
    let layout = direct(1_000);
    let world = round(&layout, 1);
    let made: Vec<_> = (0..64u64)
        .filter_map(|i| honest(&world, &update(&layout, i), i).ok())
        .collect();
    let statements: Vec<_> = made.iter().map(statement).collect();
    report("direct 1 000", &world, &statements);

    let world = round(&masked(20_000), 1);
    let clients: Vec<_> = (0..64).map(|i| MaskedClient::new(&world, i)).collect();
    let made: Vec<_> = (clients.iter())
        .filter_map(|c| c.contribute(&world, 2).ok())
        .collect();
    let statements: Vec<_> = (clients.iter().zip(&made))
        .map(|(client, made)| client.statement(made))
        .collect();
    report("masked 20 000", &world, &statements);
}
