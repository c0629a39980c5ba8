//! Constant-time vector commitments to small integers, and batched ristretto255 arithmetic.
//!
//! A prover of this workspace spends its time on sum_j v_j G_j for thousands of rows of small secret integers over
//! fixed generators. A general multiscalar multiplication is the wrong tool for that: it is either variable time or
//! pays for 253 bits a value. This crate has its own arithmetic of Curve25519 and of ristretto255 (RFC 9496) for this
//! one shape and for what surrounds it: decoding, encoding, one secret scalar on many points, one base with many secret
//! scalars, and multiscalar multiplication on public data.
//!
//! # Two backends, one result
//!
//! [`Backend::Portable`] is 64-bit integer code and runs anywhere. [`Backend::Avx512Ifma`] works on eight lanes with the
//! 52-bit multiply-add of AVX-512; it is found at run time, in an ordinary stable build. [`Engine::new`] resolves a
//! [`Backend`] once; asking for an absent one is [`SimdError::BackendUnavailable`]. Group elements, hence encodings, are the
//! same from both.
//!
//! ```
//! use veilsum_simd::{Backend, ColumnTables, Engine, Point};
//!
//! let engine = Engine::new(Backend::Auto)?;
//! let generators = [Point::BASE, Point::BASE.double()];
//! let tables = ColumnTables::new(engine, &generators);
//! // Two rows of integers below 2^15 in absolute value; the second reaches only the first column.
//! let halves = tables.commit_rows::<i16>(&[&[3, -1], &[5]], 15)?;
//! assert_eq!(halves[0], Point::BASE);
//! // Encodings of twice each point, several times cheaper than encodings of the points.
//! let encodings = engine.double_and_compress(&halves);
//! assert_eq!(engine.decompress(&encodings)?[0], Point::BASE.double());
//! # Ok::<(), veilsum_simd::SimdError>(())
//! ```
//!
//! # What is constant time, and why
//!
//! | operation | secret | public |
//! | --- | --- | --- |
//! | [`ColumnTables::commit_rows`], [`ColumnTables::commit_scalar_rows`], [`ColumnTables::mul_column`], [`Engine::mul`] | values | shape of the rows, bound, generators |
//! | [`SameScalarTables::mul`] | scalar | points, budget |
//! | [`FixedBaseTable::mul_small`], [`FixedBaseTable::mul_scalars`] | values | base, bound, number of values |
//! | [`Point`] addition, negation, doubling, equality, [`Engine::add_each`], [`Point::compress`], [`Engine::compress`], [`Engine::double_and_compress`] | points | their number |
//! | [`Engine::decompress`], [`Point::decompress`] | strings | their number, and which is the first bad one |
//! | all verdicts on bounds and scalars | everything else | the verdict: one bit for all values of a call |
//! | [`Engine::dot`] and the other loops over [`field::Fe`] | elements and integers | lengths |
//! | [`Engine::subset_sums`] | values | subsets, bound |
//! | [`LaneNtt`], [`LaneCombine`] | values | primes, degree |
//! | `msm_*_vartime`, table building | nothing: VARIABLE TIME | everything |
//!
//! The argument is by construction. (1) *Branches*: loop counts depend on lengths, bounds and table shapes alone; a
//! value becomes signed digits by shifts and masks, each digit costs one look-up and one addition, zero included, and the
//! addition formulas are complete, so equal, opposite and neutral operands need no case. (2) *Addresses*: a portable
//! look-up reads every entry of the table and keeps one by a mask; an AVX-512 look-up holds the table in registers and
//! permutes it, or reads every entry under a mask. (3) *Instructions*: multiplication, shift, mask, blend and permutation,
//! whose timing does not depend on data on the processors that have these units. Masks pass an optimisation barrier so
//! that the compiler does not turn them back into branches, and digits are made with wrapping operations, because an
//! overflow check is a branch. For the portable backend `examples/secret_taint.rs` checks the compiled program under
//! valgrind, which takes the secrets for undefined memory and reports every branch and every address that depends on
//! one; it found two such branches in early versions of the group, and one in the field. Valgrind does not know AVX-512; there the argument is the
//! source, where no vector function has a condition on data, and a reading of the compiled kernels, whose conditional jumps
//! compare lengths and loop counters.
//!
//! Not covered: registers and stack frames are not erased (digits, accumulators and intermediate field elements on the
//! heap are), and nothing is done against power analysis or faults. Results are [`Point`]s that the caller erases
//! ([`zeroize::Zeroize`]) if they must stay secret.
//!
//! # Cost
//!
//! In multiples of one point addition of curve25519-dalek 4.1.3 measured in the same run (190 ns there), one thread, on a
//! server processor with two 512-bit units; `cargo bench -p veilsum-simd -- ratios` prints the table for a machine.
//!
//! | kernel, an item | dalek | portable | AVX-512 IFMA |
//! | --- | --- | --- | --- |
//! | commit, 16-bit values, 1024 x 1024, a coordinate | 15 (variable time) | 2.9 | 0.42 |
//! | commit, 60-bit values, 64 rows, a coordinate | | 9.2 | 1.6 |
//! | commit, full width, one row, a coordinate | | 40 | 7.5 |
//! | decompress | 27 | 24 | 3.5 |
//! | double and compress | 3.0 | 2.3 | 0.54 |
//! | compress | 26 | 25 | 3.7 |
//! | from uniform bytes | 53 | 50 | 7.4 |
//! | same scalar, 32 entries a point | 199 (variable base) | 44 | 10 |
//! | fixed base, 45-bit / full | - / 66 | 6.7 / 35 | 1.2 / 6.3 |
//! | multiscalar multiplication, 1024 points, 253 / 128 bits | 33 / 20 | 26 / 14 | 6.6 / 3.7 |
//!
//! No function starts a thread. Rows ([`ColumnTables::commit_rows`] on slices of the rows), ranges
//! ([`SameScalarTables::mul_range`]) and groups ([`split_msm`]) are the seams for a thread pool.
//!
//! # Unsafe code
//!
//! This is the one crate of the workspace that may hold `unsafe`. It is used for four things: loading and storing a vector
//! through a reference to as many words or elements, reading elements as the words they are, entering the functions compiled for
//! AVX-512 from ordinary code, for which a token that only the run-time detection creates is asked, and an assembler block
//! without an instruction, which hides from the compiler that a mask has two values.

mod backend;
mod barrier;
mod columns;
mod edwards;
mod edwards64;
mod error;
pub mod field;
mod field51;
mod field64;
mod fixed_base;
#[cfg(target_arch = "x86_64")]
mod ifma;
mod msm;
mod ntt;
mod ristretto;
mod same_scalar;
mod scalar;
mod select;

pub use backend::{Backend, Engine};
pub use columns::ColumnTables;
pub use edwards::Point;
pub use error::SimdError;
pub use fixed_base::FixedBaseTable;
pub use msm::{MsmGroup, MsmWork, split_msm};
pub use ntt::{LaneCombine, LaneNtt, NTT_MIN_DEGREE, NTT_PRIME_BITS};
pub use same_scalar::SameScalarTables;
pub use scalar::SmallInt;
