//! The fast prover makes the same bytes as the plain one from the same randomness, and verdicts agree.

mod common;
mod oracle;

use common::*;
use curve25519_dalek::scalar::Scalar;
use oracle::Oracle;
use veilsum_proof::Witness;

#[test]
fn direct_contributions_are_the_same_bytes() {
    for dim in [1, 64, 65, 200, 1000] {
        let layout = direct(dim);
        let round = round(&layout, 3);
        let x = update(&layout, 5);
        let fast = honest(&round, &x, 11).unwrap();
        let mut rng = rng(11);
        let r = Scalar::random(&mut rng);
        let oracle = Oracle::new(&round);
        let witness = Witness {
            update: &x,
            r: &r,
            masked: None,
        };
        let slow = oracle.contribute(&witness, |p| context(&r, 7, p.k, p.c), &mut rng);
        assert_eq!(fast, slow, "dim {dim}");
        assert_eq!(oracle.failures(&statement(&fast)), []);
    }
}

#[test]
fn masked_contributions_are_the_same_bytes() {
    let layout = masked(6_000);
    let round = round(&layout, 3);
    let client = MaskedClient::new(&round, 4);
    let fast = client.contribute(&round, 12).unwrap();
    let oracle = Oracle::new(&round);
    let slow = oracle.contribute(
        &client.witness(),
        |p| client.context(p.k, p.c),
        &mut rng(12),
    );
    assert_eq!(fast, slow);
    assert_eq!(oracle.failures(&client.statement(&fast)), []);
}
