//! Real updates to bounded integers and back.
//!
//! An update is a vector of `d` real numbers. The protocol sums vectors of integers whose Euclidean norm is at most
//! `B_x`, and has every client prove that bound. This crate is the only bridge between the two: it clips to the real
//! norm `c = B_x / 2^f`, multiplies by `2^f`, rounds stochastically and without bias, and checks the norm of the
//! integers exactly. What it returns satisfies `||x||_2 <= B_x` as integers, whatever the input and the randomness,
//! so an honest client can never be caught by the norm predicate.
//!
//! There is deliberately no function that encodes without clipping.
//!
//! # Room for rounding
//!
//! Rounding a vector of real norm `B_x` adds about `d / 6` to its squared norm, which for large `d` and small `B_x` is
//! not a rare excess but the rule. The clip factor is therefore chosen so that the *expected* squared norm after
//! rounding, plus four standard deviations, fits; rejecting and re-rounding is left with the rare rest, and its bias is
//! negligible. (The same concern is treated as "conditional rounding" in Kairouz, Liu and Steinke, "The Distributed
//! Discrete Gaussian Mechanism for Federated Learning with Secure Aggregation", ICML 2021, section 4; here the bound is
//! computed from the vector itself instead of for the worst vector.) So a vector whose norm lies just below `c` may be
//! scaled down a little as well; [`Encoded::clipped`] says whether any scaling took place.
//!
//! # Floating point
//!
//! Only additions, multiplications, divisions and square roots of `f64` are used, in a fixed order and never fused; all
//! are correctly rounded by IEEE 754, so the same update and the same randomness give the same integers on every
//! target with standard `f64` arithmetic (not on 32-bit x86 without SSE2). Scaling without clipping is by a power of two
//! and exact, except for coordinates more than `2^1022` times smaller than the largest one, which may be flushed towards zero. With
//! clipping a coordinate carries a relative error of a few `2^-53`. A rounding probability is truncated to a multiple
//! of `2^-53`: the bias of a coordinate is below `2^-53` units.
//!
//! # Timing
//!
//! The number of passes over the vector, and the randomness drawn in each, depend on `d` alone: the clip factor is
//! computed and applied for every vector, clipped or not; no loop ends early on a value; rounding compares
//! integers without branching. It is still not constant time in these respects: floating-point instructions may take
//! longer on subnormal operands and division by value; the few scalar decisions (clip or not) are ordinary branches; an
//! excess after rounding (about one encoding in ten thousand or rarer for vectors at the bound, never for vectors well inside it)
//! costs another rounding pass; an input error is reported after the pass over all coordinates, but without encoding.

mod encoder;
mod error;
mod rounding;

pub use encoder::{Encoded, Encoder, MAX_DIM, MAX_NORM_BOUND, MAX_SCALE_BITS};
pub use error::EncodingError;
