//! One kernel of the portable path, once, for counting instructions: `specs/checks/instructions.py` runs this under
//! valgrind with and without the kernel and records the difference. Counts do not depend on what else the machine does.
#![expect(clippy::print_stderr, reason = "a usage message")]

use std::hint::black_box;
use std::process::ExitCode;
use veilsum_simd::field::{Fe, eq_table};
use veilsum_simd::{ColumnTables, Engine, Point, SameScalarTables};

const COUNT: usize = 256;

fn points() -> Vec<Point> {
    (0..COUNT)
        .scan(Point::BASE, |p, _| {
            *p = p.double() + Point::BASE;
            Some(*p)
        })
        .collect()
}

fn elements() -> Vec<Fe> {
    eq_table(&[3, 5, 7, 11, 13, 17, 19, 23].map(Fe::from_u64))
}

fn integers() -> Vec<i64> {
    (0..COUNT as i64)
        .map(|i| (i * 7919) % 32_768 - 16_384)
        .collect()
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let kernel = arguments.next().unwrap_or_default();
    // Everything but the kernel itself happens either way.
    let run = arguments.next().as_deref() != Some("base");
    let engine = Engine::portable();
    let (points, elements, integers) = (points(), elements(), integers());
    let bytes: Vec<[u8; 32]> = elements.iter().map(|e| e.to_bytes()).collect();
    let encodings = engine.double_and_compress(&points);
    macro_rules! kernel {
        ($work:expr) => {
            if run {
                black_box($work);
            }
        };
    }
    match kernel.as_str() {
        "commit-16-bit" => {
            let tables = ColumnTables::new(engine, &points);
            let rows = [&integers[..]; 8];
            kernel!(tables.commit_rows(&rows, 15).is_ok());
        }
        "same-scalar" => {
            let Ok(tables) = SameScalarTables::new(engine, &points, COUNT * 4096) else {
                return ExitCode::FAILURE;
            };
            kernel!(tables.mul(&bytes[1]).is_ok());
        }
        "decompress" => kernel!(engine.decompress(&encodings).is_ok()),
        "double-and-compress" => kernel!(engine.double_and_compress(&points)),
        "msm" => kernel!(engine.msm_vartime(&bytes, &points).is_ok()),
        "dot" => kernel!(engine.dot(&elements, &elements)),
        "dot-integers" => kernel!(engine.dot_integers(&elements, &[&integers])),
        "combine-integers" => {
            let terms: Vec<(Fe, &[i64])> =
                elements[..16].iter().map(|w| (*w, &integers[..])).collect();
            let mut out = vec![Fe::ZERO; COUNT];
            kernel!(engine.combine_integers(&terms, &mut out));
        }
        "bind" => {
            let mut low = elements.clone();
            kernel!(engine.bind(&mut low, &elements, elements[3]));
        }
        "subset-sums" => {
            let rows = [&integers[..]; 16];
            let selections = vec![(0..=255).collect::<Vec<u8>>(); COUNT / 8];
            kernel!(engine.subset_sums(&rows, 15, &selections));
        }
        _ => {
            eprintln!("no kernel {kernel:?}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
