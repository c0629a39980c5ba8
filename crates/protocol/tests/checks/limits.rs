//! Norms, keys and sums exactly at their bounds, and one beyond.

use crate::common::*;
use curve25519_dalek::ristretto::CompressedRistretto;
use curve25519_dalek::scalar::Scalar;
use rand_chacha::ChaCha20Rng;
use std::sync::Arc;
use veilsum_crypto::Digest;
use veilsum_params::MemberIndex;
use veilsum_protocol::*;
use veilsum_rlwe::SecretVec;
use veilsum_wire::*;

const DIM: u32 = 7000;
const BOUND: i64 = 20_000;

fn masked() -> World {
    world_of(DIM, BOUND.try_into().unwrap(), 0)
}

/// What a client gives whose update is zero but in the first coordinate, and its secret. Its key is short, so that no sum of keys
/// exceeds its bound.
fn single(w: &World, i: usize, first: i64) -> (Contribution, Scalar) {
    let client = w.ctx.cohort()[i];
    let mut x = vec![0; DIM as usize];
    x[0] = first;
    let mut rng = rng(500 + i as u64);
    let identity = w.identity(client);
    let key = |degree: usize, _: &mut ChaCha20Rng| {
        let mut key = vec![0; degree];
        key[0] = 1;
        SecretVec::new(key)
    };
    let made = build_with_key(&w.ctx, &w.round, client, identity, &x, key, &mut rng).unwrap();
    let shares: Vec<_> = (1..=THRESHOLD)
        .map(|j| {
            let (header, member) = (&made.header.content, MemberIndex(j));
            let leaf = share_leaf(&made.body, member).unwrap();
            open_share(&w.ctx, header, member, w.share_key(j), &leaf).unwrap()
        })
        .collect();
    let secret = veilsum_crypto::feldman::combine(&shares, THRESHOLD).unwrap();
    (made, secret)
}

#[test]
fn a_key_at_its_bound_is_used_and_one_beyond_it_is_drawn_again() {
    let w = masked();
    let bound = i64::try_from(w.ctx.layout().masked_constants().unwrap().s_bound).unwrap();
    let client = w.ctx.cohort()[0];
    let built = |second: i64| {
        let key = |degree: usize, _: &mut ChaCha20Rng| {
            let mut key = vec![0; degree];
            (key[0], key[1]) = (bound, second);
            SecretVec::new(key)
        };
        let (identity, x) = (w.identity(client), vec![1; DIM as usize]);
        build_with_key(&w.ctx, &w.round, client, identity, &x, key, &mut rng(3))
    };
    let made = built(0).unwrap();
    assert_eq!(w.verify(&made.header, &made.body), Ok(()));
    // The norm squared is one more than the bound allows.
    assert_eq!(built(1).map(|_| ()), Err(BuildError::Redraws));
}

#[test]
fn a_sum_at_its_bound_opens_and_one_beyond_it_does_not() {
    let w = masked();
    let (a, secret_a) = single(&w, 0, BOUND);
    let (b, secret_b) = single(&w, 1, BOUND);
    let (c, secret_c) = single(&w, 2, -BOUND);
    let mut sums = RoundSums::new(&w.ctx);
    sums.add(&w.round, &a.body).unwrap();
    sums.add(&w.round, &b.body).unwrap();
    let opened = sums.open(&w.ctx, &w.round, &(secret_a + secret_b)).unwrap();
    assert_eq!(opened[0], 2 * BOUND);
    // What nobody verified may sum to more: one that was never added is taken out.
    sums.remove(&w.round, &c.body).unwrap();
    assert_eq!(
        sums.open(&w.ctx, &w.round, &(secret_a + secret_b - secret_c)),
        Err(OpenError::Bound {
            coordinate: 0,
            count: 1
        })
    );
}

#[test]
fn a_sum_is_opened_by_the_tables_of_its_own_round_only() {
    let w = world();
    let mut sums = RoundSums::new(&w.ctx);
    sums.add(&w.round, &w.contributions[0].body).unwrap();
    // Another round of the very same layout.
    let mut params = w.ctx.params().clone();
    params.model_digest = [6; 32];
    let other = RoundContext::new(params, Arc::clone(&w.roster)).unwrap();
    assert_eq!(other.layout(), w.ctx.layout());
    let opened = sums.open(&other, &w.round, &Scalar::ONE);
    assert_eq!(opened, Err(OpenError::Round));
}

#[test]
fn a_list_of_a_slice_that_the_committee_does_not_have_convicts_nobody() {
    let w = world();
    let c = closed();
    for slice in [MEMBERS, MEMBERS + 1] {
        let member = MemberIndex(4);
        let slices = vec![(slice, Digest([1; 32]))];
        let signed = row_list(w, c.root, &c.convicted, member, slices);
        let empty = RowLeaf {
            rows: Vec::new(),
            path: Vec::new(),
        };
        let evidence = Evidence::WrongRowSum {
            signed,
            slice,
            convicted: c.convicted.clone(),
            headers: c.headers(),
            leaves: vec![empty; c.contributions.len()],
        };
        let refused = Refusal::from(Check::EvidenceContent);
        assert_eq!(w.judge(&evidence), Err(JudgeError::Refused(refused)));
    }
}

#[test]
fn a_draw_of_everybody_needs_no_proof() {
    let w = world();
    assert!(w.ctx.unproven_draw(), "five of six");
    let beacon = w.ctx.params().beacon;
    let context = |roster: &Arc<Roster>, cohort_size, members: u16| {
        let (_, committee) =
            cohort_and_committee(roster, &beacon, 9, cohort_size, members.into()).unwrap();
        let params = veilsum_params::RoundParams {
            cohort_size,
            n_max: cohort_size,
            threshold: members - 1,
            committee,
            roster_digest: roster.digest().0,
            ..w.ctx.params().clone()
        };
        RoundContext::new(params, Arc::clone(roster)).unwrap()
    };
    assert!(context(&w.roster, 6, 5).unproven_draw(), "five of six");
    assert!(!context(&w.roster, 6, 6).unproven_draw(), "all of them");
}

#[test]
fn row_sums_are_known_while_every_contribution_was_decoded() {
    let w = world();
    let verified: Vec<VerifiedContribution> = w.contributions[..2]
        .iter()
        .map(|c| verify_contribution(&w.ctx, &w.round, c.header.clone(), c.body.clone()).unwrap())
        .collect();
    let mut sums = RoundSums::new(&w.ctx);
    let known = |sums: &RoundSums| {
        let engine = w.round.prepared().engine();
        sums.row_sums().map(|rows| engine.compress(rows))
    };
    for contribution in &verified {
        assert_eq!(contribution.x_rows(), &contribution.body().matrix[..3]);
        sums.add_verified(&w.round, contribution).unwrap();
    }
    let added: Vec<[u8; 32]> = (0..3)
        .map(|row| {
            let of = |i: usize| CompressedRistretto(verified[i].x_rows()[row]).decompress();
            (of(0).unwrap() + of(1).unwrap()).compress().to_bytes()
        })
        .collect();
    assert_eq!(known(&sums), Some(added));
    sums.remove(&w.round, verified[1].body()).unwrap();
    assert_eq!(known(&sums), Some(verified[0].x_rows().to_vec()));
    sums.add(&w.round, verified[1].body()).unwrap();
    assert_eq!((known(&sums), sums.count()), (None, 2));
}
