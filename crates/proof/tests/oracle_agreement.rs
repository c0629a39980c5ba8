//! The fast prover makes the same bytes as the plain one from the same randomness, and verdicts agree.

mod common;
mod oracle;

use common::*;
use curve25519_dalek::scalar::Scalar;
use oracle::Oracle;
use veilsum_proof::{MaskedWitness, Parts, Proof, ProofError, Witness, contribute};

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

#[test]
fn repeated_randomness_repeats_a_proof_but_no_announcement_of_another() {
    let layout = direct(200);
    let round = round(&layout, 3);
    let x = update(&layout, 5);
    let mut other = x.clone();
    other[0] = 1 - other[0].signum();
    let decode = |x: &[i64]| {
        let made = honest(&round, x, 11).unwrap();
        Proof::decode(&layout, &made.proof).unwrap()
    };
    let (a, again, b) = (decode(&x), decode(&x), decode(&other));
    assert_eq!(a, again);
    assert_ne!(a.v_x, b.v_x);
    assert_ne!(a.com_pi, b.com_pi);
    assert!(a.points.iter().zip(&b.points).all(|(a, b)| a != b));
    assert!(a.scalars.iter().zip(&b.scalars).all(|(a, b)| a != b));
}

#[test]
fn masked_witnesses_that_break_the_relation_are_refused() {
    let layout = masked(6_000);
    let round = round(&layout, 3);
    let refusal = |client: &MaskedClient, key: &[i64]| {
        let mut witness = client.witness();
        witness.masked = witness.masked.map(|m| MaskedWitness { key, ..m });
        contribute(
            &round,
            &witness,
            |p: &Parts<'_>| Ok::<_, std::convert::Infallible>(client.context(p.k, p.c)),
            &mut rng(12),
        )
        .unwrap_err()
    };
    let mut client = MaskedClient::new(&round, 4);
    let key = client.key.to_vec();
    let mut wide = vec![0; key.len()];
    // One unit more than the whole norm may be.
    let bound = layout.masked_constants().unwrap().s_bound;
    wide[3] = i64::try_from(bound).unwrap() + 1;
    assert_eq!(
        refusal(&client, &wide),
        ProofError::Norm { what: "the key" }.into()
    );
    client.y.swap(0, 1);
    assert_eq!(refusal(&client, &key), ProofError::MaskedVector.into());
}
