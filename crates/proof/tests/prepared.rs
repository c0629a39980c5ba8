//! What the tables of a layout do for the protocol, and the count of the group operations.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use common::*;
use curve25519_dalek::constants::RISTRETTO_BASEPOINT_POINT as B;
use curve25519_dalek::scalar::Scalar;
use veilsum_crypto::CanonicalPoint;
use veilsum_crypto::field::Fe;
use veilsum_params::Layout;
use veilsum_proof::{Contribution, GroupWork, ProofError, Round, verify, verify_batch};

fn made(round: &Round, count: u64) -> Vec<Contribution> {
    (0..count)
        .map(|seed| honest(round, &update(round.layout(), seed), seed).unwrap())
        .collect()
}

/// Points of a statement besides K and C: announcements, Com_pi, V_x, F_0, F_z.
const OWN_POINTS: u64 = 6 + 4;

/// Full-width terms of folded equations: generators once, for each contribution K, its own points and sum theta_l C_l.
fn full_terms(layout: &Layout, contributions: u64) -> u64 {
    let generators = layout.columns + layout.rows() + layout.mask_coefficients() + 1 + 2;
    u64::from(generators) + contributions * (u64::from(layout.rows()) + OWN_POINTS + 1)
}

#[test]
fn verifications_are_counted_and_a_batch_shares_the_generators() {
    let layout = direct(200);
    let round = round(&layout, 1);
    let made = made(&round, 3);
    let statements: Vec<_> = made.iter().map(statement).collect();
    let (rows, key) = (u64::from(layout.rows()), u64::from(layout.key_points()));
    let since = |before: &GroupWork| round.prepared().group_work().since(before);

    let none = round.prepared().group_work();
    assert_eq!(none, GroupWork::default());
    assert_eq!(verify(&round, &statements[0]), Ok(()));
    let one = since(&none);
    assert_eq!(one.decoded, rows + key + OWN_POINTS);
    // The weights of C and of W have half the width; W_theta is one more point.
    assert_eq!(one.short_terms, 2 * key);
    assert_eq!(one.full_terms, full_terms(&layout, 1) + 1);
    assert_eq!(one.range_proofs, 1);
    // Each term is added at least once for its top digit.
    assert!(one.additions >= one.full_terms + one.short_terms);
    assert!(one.doublings > 0);

    let before = round.prepared().group_work();
    assert_eq!(verify_batch(&round, &statements, &[7; 32]), [Ok(()); 3]);
    let batch = since(&before);
    assert_eq!(batch.decoded, 3 * one.decoded);
    // W is shared: its terms have sums of the weights.
    assert_eq!(batch.short_terms, 3 * key);
    assert_eq!(batch.full_terms, full_terms(&layout, 3) + key);
    assert_eq!(batch.range_proofs, 3);
}

#[test]
fn a_key_ciphertext_opens_with_its_secret() {
    // More points than one task takes.
    let layout = direct(300);
    let round = round(&layout, 1);
    let x = update(&layout, 1);
    let c = honest(&round, &x, 1).unwrap();
    let r = Scalar::random(&mut rng(1));
    let prepared = round.prepared();
    let sums = prepared.decode(&c.c).unwrap();
    let opened = prepared.decrypt_key(&sums, &r).unwrap();
    let encoded = prepared.engine().compress(&opened);
    let expected: Vec<_> = (x.iter())
        .map(|v| *CanonicalPoint::from(B * Scalar::from(Fe::from_i64(*v))).as_bytes())
        .collect();
    assert_eq!(encoded, expected);
    let refused = prepared.decrypt_key(&sums[1..], &r).unwrap_err();
    let error = ProofError::Length {
        what: "the summed key ciphertext",
        got: 299,
        want: 300,
    };
    assert_eq!(refused, error);
    assert!(matches!(
        prepared.decode(&[[255; 32]]),
        Err(ProofError::Group(_))
    ));
}
