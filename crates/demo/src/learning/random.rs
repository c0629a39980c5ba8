//! Streams of one seed, and the few distributions training needs.

use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};

/// What a stream of the federation's seed is for. Each purpose has its own stream, so that adding clients or rounds changes
/// nothing else.
#[derive(Clone, Copy)]
pub(crate) enum Purpose {
    Split,
    Sharding,
    InitialParameters,
    LocalTraining { client: u16, round: u32 },
}

pub(crate) fn stream(seed: &[u8; 32], purpose: Purpose) -> ChaCha20Rng {
    let number = match purpose {
        Purpose::Split => 0,
        Purpose::Sharding => 1,
        Purpose::InitialParameters => 2,
        Purpose::LocalTraining { client, round } => {
            ((u64::from(round) << 32) | u64::from(client)) + 3
        }
    };
    let mut rng = ChaCha20Rng::from_seed(*seed);
    rng.set_stream(number);
    rng
}

/// Uniform in `0..bound`, up to a bias of `bound / 2^64`.
fn below(bound: usize, rng: &mut impl RngCore) -> usize {
    ((u128::from(rng.next_u64()) * bound as u128) >> 64) as usize
}

/// Puts `items` in a uniformly random order (Fisher and Yates).
pub(crate) fn shuffle<T>(items: &mut [T], rng: &mut impl RngCore) {
    for i in (1..items.len()).rev() {
        items.swap(i, below(i + 1, rng));
    }
}

/// Uniform in `-1..1`, a multiple of `2^-23`.
pub(crate) fn symmetric(rng: &mut impl RngCore) -> f32 {
    let steps = (rng.next_u32() >> 8) as f32;
    steps / 8_388_608.0 - 1.0
}
