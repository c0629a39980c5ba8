//! Eight lanes of AVX-512 with 52-bit multiply-add.
//!
//! Every function with vector code carries `#[target_feature]`, so the compiler itself checks that such code is only
//! reached from such code. The one way in from outside is [`enter`], which asks for a [`Token`].

mod columns;
mod combs;
mod field;
mod msm;
pub(crate) mod ntt;
pub(crate) mod order;
mod point;
mod ristretto;
mod sums;
#[cfg(test)]
mod tests;

pub(crate) use columns::{Accumulators, ColumnTable, WIDTH};
pub(crate) use combs::CombTable;
pub(crate) use msm::{Plans, add_each, msm, to_niels};
pub(crate) use ristretto::{compress, decompress, double_and_compress, from_uniform};

/// Proof that the processor, and the operating system, support what the functions of this module are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token(());

impl Token {
    pub(crate) fn detect() -> Option<Self> {
        (std::arch::is_x86_feature_detected!("avx512f")
            && std::arch::is_x86_feature_detected!("avx512dq")
            && std::arch::is_x86_feature_detected!("avx512bw")
            && std::arch::is_x86_feature_detected!("avx512vl")
            && std::arch::is_x86_feature_detected!("avx512ifma"))
        .then_some(Self(()))
    }
}

/// Calls a function that is compiled for AVX-512 IFMA.
macro_rules! enter {
    ($token:expr, $call:expr) => {{
        let _: $crate::ifma::Token = $token;
        // SAFETY: the callee needs no feature but those that a token's existence shows to be detected.
        unsafe { $call }
    }};
}
use enter;

/// Any code, compiled for the processors that a [`Token`] stands for.
pub(crate) fn vectorised<R>(token: Token, work: impl FnOnce() -> R) -> R {
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    fn inner<R>(work: impl FnOnce() -> R) -> R {
        work()
    }
    enter!(token, inner(work))
}
