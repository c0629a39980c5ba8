//! Times of one contribution and its verification: `measure <dim> <direct|auto> [auto|portable]`.
#![allow(clippy::disallowed_methods, reason = "measures wall time")]

#[path = "../tests/common/mod.rs"]
mod common;

use common::*;
use std::sync::Arc;
use std::time::Instant;
use veilsum_crypto::Digest;
use veilsum_params::Layout;
use veilsum_proof::{Prepared, Round, verify, verify_batch};
use veilsum_simd::{Backend, Engine};

fn timed<T>(what: &str, f: impl Fn() -> T) -> T {
    let mut best = f64::INFINITY;
    let mut out = None;
    for _ in 0..5 {
        let start = Instant::now();
        out = Some(f());
        best = best.min(start.elapsed().as_secs_f64());
    }
    println!("{what:>12}: {:8.2} ms", best * 1000.0);
    out.expect("ran")
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let dim: u32 = args.get(1).and_then(|a| a.parse().ok()).unwrap_or(1000);
    let direct = args.get(2).is_some_and(|a| a == "direct");
    let backend = if args.get(3).is_some_and(|a| a == "portable") {
        Backend::Portable
    } else {
        Backend::Auto
    };
    let layout = if direct {
        Layout::direct(dim, 32_767, 100).expect("layout")
    } else {
        Layout::derive(dim, 32_767, 1000, 20, 14).expect("layout")
    };
    let engine = Engine::new(backend).expect("engine");
    println!(
        "{:?}, rows {}, columns {}, threads {}",
        engine.backend(),
        layout.rows(),
        layout.columns,
        rayon::current_num_threads()
    );
    let prepared = timed("prepare", || {
        Arc::new(Prepared::with_engine(&layout, engine).expect("prepared"))
    });
    let round = timed("round", || {
        Round::new(Arc::clone(&prepared), Digest([3; 32])).expect("round")
    });
    if layout.masked_constants().is_some() {
        let client = timed("mask", || MaskedClient::new(&round, 1));
        let c = timed("contribute", || {
            client.contribute(&round, 2).expect("contribution")
        });
        timed("verify", || {
            verify(&round, &client.statement(&c)).expect("valid")
        });
        let batch = vec![client.statement(&c); 8];
        timed("verify x 8", || {
            assert!(
                verify_batch(&round, &batch, &[9; 32])
                    .iter()
                    .all(Result::is_ok)
            )
        });
    } else {
        let x = update(&layout, 1);
        let c = timed("contribute", || {
            honest(&round, &x, 2).expect("contribution")
        });
        timed("verify", || verify(&round, &statement(&c)).expect("valid"));
        let batch = vec![statement(&c); 8];
        timed("verify x 8", || {
            assert!(
                verify_batch(&round, &batch, &[9; 32])
                    .iter()
                    .all(Result::is_ok)
            )
        });
    }
}
