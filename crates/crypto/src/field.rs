//! Arithmetic modulo the group order, for inner loops: that of `veilsum-simd`, whose kernels work on it.

pub use veilsum_simd::field::*;
