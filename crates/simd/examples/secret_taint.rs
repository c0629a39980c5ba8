//! Checks that compiled secret-dependent code has no secret branch and no secret address.
//!
//! Run under valgrind, which is told that the secrets are undefined memory and then reports every conditional jump and
//! every memory access that depends on them. Valgrind does not offer AVX-512, so this is the portable backend: points, the
//! field modulo l, and the ring products of `veilsum-rlwe`, whose transforms are the portable counterpart of this crate's.
//!
//! ```sh
//! cargo build --release -p veilsum-simd --example secret_taint
//! valgrind --error-exitcode=1 --suppressions=crates/simd/examples/secret_taint.supp target/release/examples/secret_taint
//! ```
//!
//! The suppressions name the two functions that reveal a verdict on purpose. `-- leak` adds a secret branch and a secret
//! address, so that one can see the check fail. Without valgrind it does nothing and exits with 2.

use std::hint::black_box;
use std::process::ExitCode;

use veilsum_rlwe::{Bound, Ring};
use veilsum_simd::field::{Fe, eq_table, inner_product};
use veilsum_simd::{Backend, ColumnTables, Engine, FixedBaseTable, Point, SameScalarTables};

/// Valgrind's request to a memory checker: bytes become undefined.
const MAKE_UNDEFINED: u64 = ((b'M' as u64) << 24) | ((b'C' as u64) << 16) | 1;
const RUNNING_ON_VALGRIND: u64 = 0x1001;

#[cfg(target_arch = "x86_64")]
fn request(code: u64, address: u64, length: u64) -> u64 {
    let arguments = [code, address, length, 0, 0, 0];
    let mut result = 0u64;
    // SAFETY: outside valgrind the rotations add up to 128 bits and the exchange is of a register with itself: no effect.
    // Under valgrind the request reads `arguments` and changes only valgrind's own records and `result`.
    unsafe {
        std::arch::asm!(
            "rol rdi, 3", "rol rdi, 13", "rol rdi, 61", "rol rdi, 51", "xchg rbx, rbx",
            in("rax") arguments.as_ptr(),
            inout("rdx") result,
            inout("rdi") 0u64 => _,
        );
    }
    result
}

#[cfg(not(target_arch = "x86_64"))]
fn request(_code: u64, _address: u64, _length: u64) -> u64 {
    0
}

fn secret<T>(values: &mut [T]) {
    request(
        MAKE_UNDEFINED,
        values.as_mut_ptr() as u64,
        size_of_val(values) as u64,
    );
}

fn main() -> ExitCode {
    if request(RUNNING_ON_VALGRIND, 0, 0) == 0 {
        println!("not under valgrind: nothing was checked");
        return ExitCode::from(2);
    }
    match check() {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            println!("{e}");
            ExitCode::FAILURE
        }
    }
}

fn check() -> Result<(), veilsum_simd::SimdError> {
    let engine = Engine::new(Backend::Portable)?;
    println!("backend under test: {}", engine.backend().name());
    let generators: Vec<Point> = (0..20).map(|i| Point::BASE.double_times(i)).collect();
    let tables = ColumnTables::new(engine, &generators);
    let combs = SameScalarTables::new(engine, &generators[..3], 1 << 18)?;
    let base = FixedBaseTable::new(engine, &Point::BASE, 253)?;

    let mut small: Vec<i64> = (0..20).map(|i| i * 77 - 300).collect();
    let mut wide: Vec<i128> = small.iter().map(|v| i128::from(*v) << 70).collect();
    let mut scalars: Vec<[u8; 32]> = (1..21u8)
        .map(|i| {
            let mut s = [i; 32];
            s[31] = 7;
            s
        })
        .collect();
    if std::env::args().any(|a| a == "leak") {
        secret(&mut small);
        if small[1] > 3 {
            black_box(&generators);
        }
        black_box(generators[(small[2] & 15) as usize]);
        return Ok(());
    }
    secret(&mut small);
    secret(&mut wide);
    secret(&mut scalars);

    let mut points = tables.commit_rows(&[&small, &small[..7]], 15)?;
    points.extend(tables.commit_rows(&[wide.as_slice(); 9], 100)?);
    points.extend(tables.commit_scalar_rows(&[&scalars])?);
    points.push(engine.mul(&generators[3], &scalars[4])?);
    points.extend(combs.mul(&scalars[0])?);
    points.extend(base.mul_small(&small, 45)?);
    points.extend(base.mul_scalars(&scalars[..3])?);
    let sum = Point::sum(&points) - points[0].double();
    points.push(-sum);
    black_box(points[0] == points[1]);
    black_box(sum.is_identity());
    black_box(engine.double_and_compress(&points));
    black_box(engine.compress(&points[..2]));
    println!("done: {} points from secrets", points.len());
    field_kernels(engine, &mut small);
    if ring_products(engine, &mut small).is_none() {
        println!("the ring refused its input");
    }
    Ok(())
}

/// Everything that the prover runs over its witness modulo l.
fn field_kernels(engine: Engine, integers: &mut [i64]) {
    let mut elements = eq_table(&[3, 5, 7, 11, 13].map(Fe::from_u64));
    secret(&mut elements);
    secret(integers);
    let (low, high) = elements.split_at(16);
    let x = high[3];
    let mut out = vec![Fe::ZERO; 16];
    let rows = [&integers[..16], &integers[4..20]];

    black_box(engine.dot(low, high));
    black_box(inner_product(low, high));
    black_box(engine.line_products([low, high], [high, low]));
    engine.mul_each(low, high, &mut out);
    black_box(&out);
    engine.combine(&[(x, low), (low[1], high)], &mut out);
    black_box(&out);
    engine.combine_integers(&[(x, rows[0]), (low[1], rows[1])], &mut out);
    black_box(&out);
    black_box(engine.dot_integers(low, &rows));
    let mut scaled = [vec![Fe::ZERO; 16], vec![Fe::ZERO; 16]];
    engine.scale_integers(low, &rows, &mut scaled);
    black_box(&scaled);
    black_box(engine.product_integers(rows[0], rows[1]));
    let mut bound = low.to_vec();
    engine.bind(&mut bound, high, x);
    black_box(&bound);
    black_box(engine.subset_sums(&rows, 15, &[vec![0, 5, 255], vec![7, 128, 1]]));
    black_box(engine.subset_sums(&rows, 50, &[vec![0, 5, 255], vec![7, 128, 1]]));

    let conversions = [
        Fe::from_i64(integers[0]),
        Fe::from_i128(i128::from(integers[1]) << 60),
        Fe::from_u128(integers[2] as u128),
        Fe::from_bytes_wide(&[integers[3] as u8; 64]),
        x.square(),
    ];
    let sum = conversions.iter().fold(x, |sum, c| (sum + *c) * x - -*c);
    black_box(sum.to_bytes());
    println!("done: the field");
}

/// A product of a public ring element with a secret one of small integers.
fn ring_products(engine: Engine, integers: &mut [i64]) -> Option<()> {
    let ring = Ring::with_engine(64, engine).ok()?;
    let public = [[1, 2, 3, 4], [5, 6, 7, 8]];
    secret(integers);
    let basis = ring.basis(Bound::from(1 << 15), Bound::FULL, 1).ok()?;
    let key = ring.transform_small(basis, integers, 1 << 15).ok()?;
    let product = ring.mul(&key, &ring.transform_full(basis, &public).ok()?);
    black_box(product.ok()?);
    println!("done: the ring");
    Some(())
}
