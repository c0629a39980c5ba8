//! Checks that compiled secret-dependent code has no secret branch and no secret address.
//!
//! Run under valgrind, which is told that the secrets are undefined memory and then reports every conditional jump and
//! every memory access that depends on them. Valgrind does not offer AVX-512, so this is the portable backend.
//!
//! ```sh
//! cargo build --release -p veilsum-simd --example secret_taint
//! valgrind --error-exitcode=1 --suppressions=crates/simd/examples/secret_taint.supp target/release/examples/secret_taint
//! ```
//!
//! The suppression names the one function that reveals a verdict on purpose. `-- leak` adds a secret branch and a secret
//! address, so that one can see the check fail. Without valgrind it does nothing and exits with 2.

use std::hint::black_box;
use std::process::ExitCode;

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
    Ok(())
}
