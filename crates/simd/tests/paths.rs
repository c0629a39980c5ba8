//! Says which code paths the tests of this machine went through, and that they are the same mathematics: a test target
//! without the usual harness, because that one hides what passing tests print.

use std::process::ExitCode;
use veilsum_simd::field::Fe;
use veilsum_simd::{Backend, ColumnTables, Engine, LaneNtt, Point};

/// One result of each kind of kernel.
fn results(engine: Engine) -> (Vec<[u8; 32]>, Fe) {
    let generators: Vec<Point> = (0..9)
        .scan(Point::BASE, |p, _| {
            *p = p.double();
            Some(*p)
        })
        .collect();
    let tables = ColumnTables::new(engine, &generators);
    let rows: [&[i16]; 2] = [&[1, -2, 3, -4, 5, -6, 7, -8, 9], &[-9, 8]];
    let halves = tables.commit_rows(&rows, 15).unwrap_or_default();
    let elements: Vec<Fe> = (0..77).map(|i| Fe::pow2(3 * i)).collect();
    (
        engine.double_and_compress(&halves),
        engine.dot(&elements, &elements),
    )
}

fn main() -> ExitCode {
    let available = Backend::available();
    let names: Vec<&str> = available.iter().map(|b| b.name()).collect();
    let absent: Vec<&str> = [Backend::Portable, Backend::Avx512Ifma]
        .iter()
        .filter(|b| !available.contains(b))
        .map(|b| b.name())
        .collect();
    let engines: Vec<Engine> = (available.iter())
        .filter_map(|b| Engine::new(*b).ok())
        .collect();
    let lanes = engines
        .iter()
        .any(|e| (2..50).any(|g| LaneNtt::new(*e, PRIME, power(g), 64).is_some()));
    println!(
        "paths that ran on this machine: group and field {}; ring products 62-bit words{}; absent: {}",
        names.join(", "),
        if lanes { ", 50-bit lanes" } else { "" },
        if absent.is_empty() {
            "none".to_owned()
        } else {
            absent.join(", ")
        }
    );
    let expected = results(Engine::portable());
    let agree = engines.iter().all(|e| results(*e) == expected);
    if agree && lanes == (absent.is_empty()) {
        ExitCode::SUCCESS
    } else {
        println!("paths do not agree: {names:?}, lanes {lanes}");
        ExitCode::FAILURE
    }
}

/// The largest prime below 2^50 that is 1 modulo 2^17.
const PRIME: u64 = 0x3_ffff_ffd2_0001;

/// base^((p - 1) / 128) mod p.
fn power(base: u64) -> u64 {
    let (mut power, mut result, mut exponent) = (base, 1, (PRIME - 1) / 128);
    let product = |a: u64, b: u64| (u128::from(a) * u128::from(b) % u128::from(PRIME)) as u64;
    while exponent != 0 {
        if exponent & 1 == 1 {
            result = product(result, power);
        }
        power = product(power, power);
        exponent >>= 1;
    }
    result
}
