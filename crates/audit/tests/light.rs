//! What a light client downloads beside the result.
#![expect(clippy::unwrap_used, clippy::cast_possible_wrap, reason = "tests")]

#[path = "../examples/figures/light.rs"]
mod light;

use light::{Case, Light};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use veilsum_protocol::Check;
use veilsum_wire::Wire;

/// The largest committee of `specs/parameters.md` with a thousand clients and a million coordinates.
#[test]
fn a_thousand_clients_and_a_million_coordinates_take_less_than_100_kilobytes_beside_the_result() {
    let mut light = Light::new(Case {
        dim: 1_000_000,
        clients: 1000,
        members: 128,
        threshold: 92,
        every: 5000,
    });
    let beside = light.bundle.to_bytes().len();
    assert!((50_000..100_000).contains(&beside), "{beside}");
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    light.check(&mut rng).unwrap();
    // It is the real thing: less of it is refused.
    light.bundle.row_lists.pop();
    let refused = light.check(&mut rng).unwrap_err();
    assert_eq!(refused.check, Check::LightRows);
}
