//! Cheaters in direct mode. Each gets past every check but the one that the test names: the plain verifier lists exactly
//! that one, so the cheater would succeed if it were left out.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod common;
mod oracle;

use common::*;
use curve25519_dalek::constants::RISTRETTO_BASEPOINT_POINT as B;
use curve25519_dalek::scalar::Scalar;
use oracle::Oracle;
use veilsum_crypto::field::Fe;
use veilsum_crypto::{CanonicalPoint, blinding_base};
use veilsum_params::Layout;
use veilsum_proof::adversarial::{Deviation, Escape, Forgery};
use veilsum_proof::{
    ContributeError, Contribution, ProofCheck, ProofError, Round, verify, verify_batch,
};

const DIM: u32 = 100;

struct World {
    layout: Layout,
    round: Round,
    r: Scalar,
}

impl World {
    fn new() -> Self {
        let layout = direct(DIM);
        Self {
            round: round(&layout, 1),
            layout,
            r: Scalar::random(&mut rng(1)),
        }
    }

    /// A forgery for an update of field elements.
    fn forgery(&self, update: &[Fe]) -> Forgery {
        let mut entries = update.to_vec();
        entries.resize(
            (self.layout.x_rows * self.layout.columns) as usize,
            Fe::ZERO,
        );
        Forgery::new(&self.round, entries, &self.r, Vec::new())
    }

    fn honest_update(&self) -> Vec<Fe> {
        update(&self.layout, 3)
            .into_iter()
            .map(Fe::from_i64)
            .collect()
    }

    fn prove(&self, forgery: &Forgery) -> Contribution {
        // An escape may not exist for some randomness.
        (0..50)
            .find_map(|seed| {
                forgery
                    .contribute(
                        &self.round,
                        |p| context(&self.r, 7, p.k, p.c),
                        &mut rng(100 + seed),
                    )
                    .ok()
            })
            .unwrap()
    }

    /// Exactly `check` stops the contribution.
    fn stopped_by(&self, c: &Contribution, check: ProofCheck) {
        assert_eq!(Oracle::new(&self.round).failures(&statement(c)), [check]);
        assert_eq!(verify(&self.round, &statement(c)), Err(check));
    }

    fn cheat(&self, forgery: &Forgery, check: ProofCheck) {
        self.stopped_by(&self.prove(forgery), check);
    }

    /// An update whose squared norm is one more than the bound allows.
    fn over_norm(&self) -> Vec<Fe> {
        let mut x = vec![Fe::ZERO; DIM as usize];
        x[0] = Fe::from_u64(self.layout.norm_bound.into());
        x[99] = -Fe::ONE;
        x
    }

    fn bound(&self) -> Fe {
        Fe::from_u64(self.layout.norm_bound.into()).square()
    }
}

fn explain(escape: Escape) -> Deviation {
    Deviation {
        escape: Some(escape),
        ..Deviation::default()
    }
}

#[test]
fn a_forgery_that_does_not_cheat_is_accepted() {
    let w = World::new();
    let c = w.prove(&w.forgery(&w.honest_update()));
    assert_eq!(verify(&w.round, &statement(&c)), Ok(()));
    assert_eq!(Oracle::new(&w.round).failures(&statement(&c)), []);
}

#[test]
fn the_largest_allowed_norm_is_accepted() {
    let w = World::new();
    let mut x = vec![0; DIM as usize];
    x[50] = -i64::from(w.layout.norm_bound);
    let c = honest(&w.round, &x, 1).unwrap();
    assert_eq!(verify(&w.round, &statement(&c)), Ok(()));
    x[51] = 1;
    let refused = honest(&w.round, &x, 1).unwrap_err();
    assert_eq!(
        refused,
        ContributeError::Proof(ProofError::Norm { what: "the update" })
    );
}

#[test]
fn norm_one_unit_over_claimed_openly() {
    let w = World::new();
    let mut f = w.forgery(&w.over_norm());
    // V_x commits to -1; the range proof is for 0.
    f.deviation.range_slack = Some(Fe::ZERO);
    w.cheat(&f, ProofCheck::NormRange);
}

#[test]
fn norm_one_unit_over_with_another_slack_committed() {
    let w = World::new();
    let mut f = w.forgery(&w.over_norm());
    f.deviation.committed_slack = Some(Fe::ZERO);
    w.cheat(&f, ProofCheck::E9);
}

#[test]
fn norm_one_unit_over_denied_in_the_sumcheck() {
    let w = World::new();
    let mut f = w.forgery(&w.over_norm());
    f.deviation.norm = Some(w.bound());
    w.cheat(&f, ProofCheck::E4);
}

#[test]
fn norm_one_unit_over_denied_by_a_false_value() {
    let w = World::new();
    let mut f = w.forgery(&w.over_norm());
    f.deviation = Deviation {
        norm: Some(w.bound()),
        ..explain(Escape::Value)
    };
    w.cheat(&f, ProofCheck::E2);
}

#[test]
fn norm_one_unit_over_denied_by_another_mask() {
    let w = World::new();
    let mut f = w.forgery(&w.over_norm());
    f.deviation = Deviation {
        norm: Some(w.bound()),
        ..explain(Escape::Mask)
    };
    w.cheat(&f, ProofCheck::E3);
}

#[test]
fn norm_one_unit_over_denied_outside_the_sum() {
    let w = World::new();
    let mut f = w.forgery(&w.over_norm());
    f.deviation.norm = Some(w.bound());
    f.deviation.norm_in_sum = Some(w.bound() + Fe::ONE);
    w.cheat(&f, ProofCheck::E6);
}

#[test]
fn a01_junk_in_the_key_ciphertext() {
    let w = World::new();
    let mut f = w.forgery(&w.honest_update());
    f.key_junk = vec![(3, blinding_base())];
    w.cheat(&f, ProofCheck::E5);
}

#[test]
fn a02_junk_in_an_update_row() {
    let w = World::new();
    let mut f = w.forgery(&w.honest_update());
    f.row_junk = vec![(0, blinding_base())];
    w.cheat(&f, ProofCheck::E1);
}

#[test]
fn a02_junk_in_the_base_in_an_update_row() {
    let w = World::new();
    let mut f = w.forgery(&w.honest_update());
    f.row_junk = vec![(1, B)];
    w.cheat(&f, ProofCheck::E1);
}

#[test]
fn another_blinding_in_one_of_the_other_rows() {
    let w = World::new();
    let mut f = w.forgery(&w.honest_update());
    let row = w.layout.x_rows as usize + 1;
    f.row_junk = vec![(row, veilsum_crypto::Family::Row.generator(row as u64).point)];
    w.cheat(&f, ProofCheck::E1);
}

#[test]
fn another_r_in_the_key_ciphertext() {
    let w = World::new();
    let mut f = w.forgery(&w.honest_update());
    f.key_r = Some(f.r + Fe::ONE);
    w.cheat(&f, ProofCheck::E5);
}

#[test]
fn another_r_in_the_update_rows() {
    let w = World::new();
    let mut f = w.forgery(&w.honest_update());
    let shared = f.r;
    f.r += Fe::ONE;
    f.key_r = Some(shared);
    f.claimed_r = Some(shared);
    w.cheat(&f, ProofCheck::E1);
}

#[test]
fn another_r_is_shared() {
    let w = World::new();
    let mut f = w.forgery(&w.honest_update());
    f.r += Fe::ONE;
    w.cheat(&f, ProofCheck::E7);
}

#[test]
fn r_z_is_not_anchored() {
    let w = World::new();
    let mut f = w.forgery(&w.honest_update());
    f.f_z_junk = Some(B);
    w.cheat(&f, ProofCheck::E8);
}

#[test]
fn another_update_in_the_key_ciphertext() {
    let w = World::new();
    let mut f = w.forgery(&w.honest_update());
    f.key[5] += Fe::ONE;
    w.cheat(&f, ProofCheck::E4);
}

#[test]
fn a08_padding_that_is_not_zero() {
    let w = World::new();
    for at in [
        DIM as usize,
        (w.layout.x_rows * w.layout.columns) as usize - 1,
    ] {
        let mut f = w.forgery(&w.honest_update());
        f.entries[at] = Fe::ONE;
        f.norm += Fe::ONE;
        w.cheat(&f, ProofCheck::E4);
    }
}

#[test]
fn a08_padding_that_cancels() {
    let w = World::new();
    let mut f = w.forgery(&w.honest_update());
    f.entries[DIM as usize] = Fe::ONE;
    f.entries[DIM as usize + 1] = -Fe::ONE;
    f.norm += Fe::from_u64(2);
    w.cheat(&f, ProofCheck::E4);
}

#[test]
fn a06_projections_sent_although_outside_the_interval() {
    let w = World::new();
    let mut f = w.forgery(&w.honest_update());
    f.deviation.keep_rejected = true;
    // The mask hides the projection only if it is taken from the whole interval.
    f.first_mask = Some(i128::try_from(w.layout.delta / 2).unwrap());
    w.cheat(&f, ProofCheck::ProjectionInterval);
}

#[test]
fn answers_at_the_ends_of_the_interval() {
    let w = World::new();
    // The projections of zero are zero, so an answer is its mask.
    let mut f = w.forgery(&vec![Fe::ZERO; DIM as usize]);
    let (low, high) = (w.layout.delta, (1 << w.layout.gamma) - w.layout.delta);
    let ends = [
        (low - 1, Err(ProofCheck::ProjectionInterval)),
        (low, Ok(())),
        (high - 1, Ok(())),
        (high, Err(ProofCheck::ProjectionInterval)),
    ];
    for (answer, verdict) in ends {
        f.first_mask = Some(i128::try_from(answer).unwrap());
        f.deviation.keep_rejected = true;
        let c = w.prove(&f);
        assert_eq!(verify(&w.round, &statement(&c)), verdict);
        // A prover that rejects comes to the same.
        f.deviation.keep_rejected = false;
        let made = f.contribute(&w.round, |p| context(&w.r, 7, p.k, p.c), &mut rng(1));
        assert_eq!(made.is_ok(), verdict.is_ok());
    }
}

/// An update whose squares add up to zero modulo the group order: huge entries, smallest norm.
#[test]
fn norm_that_wraps_around_the_group_order() {
    let w = World::new();
    let root = veilsum_proof::adversarial::sqrt(-Fe::ONE).unwrap();
    let big = Fe::pow2(126) + Fe::from_u64(12_345);
    let mut x = vec![Fe::ZERO; DIM as usize];
    x[0] = big;
    x[1] = big * root;
    let mut f = w.forgery(&x);
    assert!(f.norm == Fe::ZERO);
    f.deviation.keep_rejected = true;
    // The answers do not even fit their width on the wire; cut to it, they are false as well as out of the interval.
    let c = w.prove(&f);
    assert_eq!(
        verify(&w.round, &statement(&c)),
        Err(ProofCheck::ProjectionInterval)
    );
}

#[test]
fn an_entry_too_large_to_project() {
    let w = World::new();
    // The last two leave the lower half of an answer in the interval.
    for bits in [w.layout.gamma + 1, w.layout.gamma + 9, 126, 128, 192] {
        let mut x = w.honest_update();
        x[17] = Fe::pow2(bits);
        let mut f = w.forgery(&x);
        f.deviation.keep_rejected = true;
        f.deviation.norm = Some(w.bound());
        let c = w.prove(&f);
        // What does not fit the answer's width on the wire is cut off, and then the answer is false.
        let fits = bits + 2 < 8 * w.layout.z_bytes();
        let expected = if fits {
            vec![ProofCheck::ProjectionInterval]
        } else {
            vec![ProofCheck::ProjectionInterval, ProofCheck::E4]
        };
        assert!(
            expected.contains(&verify(&w.round, &statement(&c)).unwrap_err()),
            "{bits}"
        );
        // A prover that rejects never finds an answer.
        f.deviation.keep_rejected = false;
        let refused = f.contribute(&w.round, |p| context(&w.r, 7, p.k, p.c), &mut rng(1));
        assert_eq!(refused, Err(ProofError::Restarts { attempts: 64 }));
    }
}

#[test]
fn the_batch_names_the_same_checks() {
    let w = World::new();
    let good = w.prove(&w.forgery(&w.honest_update()));
    let mut f = w.forgery(&w.honest_update());
    f.key_junk = vec![(3, blinding_base())];
    let junk = w.prove(&f);
    let mut f = w.forgery(&w.over_norm());
    f.deviation.range_slack = Some(Fe::ZERO);
    let over = w.prove(&f);
    let mut f = w.forgery(&w.honest_update());
    f.entries[DIM as usize] = Fe::ONE;
    let padded = w.prove(&f);
    let mut short = good.clone();
    short.proof.pop();
    let all = [&good, &junk, &good, &over, &padded, &short, &good, &junk];
    let statements: Vec<_> = all.iter().map(|c| statement(c)).collect();
    let verdicts = verify_batch(&w.round, &statements, &[5; 32]);
    let single: Vec<_> = statements.iter().map(|s| verify(&w.round, s)).collect();
    assert_eq!(verdicts, single);
    assert_eq!(verdicts[1], Err(ProofCheck::E5));
    assert_eq!(verdicts[5], Err(ProofCheck::Length));
    assert_eq!(verdicts.iter().filter(|v| v.is_ok()).count(), 3);
    // Two false equations that cancel without weights do not cancel with them.
    let mut f = w.forgery(&w.honest_update());
    f.key_junk = vec![(3, -blinding_base())];
    let opposite = w.prove(&f);
    let verdicts = verify_batch(
        &w.round,
        &[statement(&junk), statement(&opposite)],
        &[5; 32],
    );
    assert_eq!(verdicts, [Err(ProofCheck::E5); 2]);
}

#[test]
fn a_proof_holds_for_its_context_only() {
    let w = World::new();
    let good = w.prove(&w.forgery(&w.honest_update()));
    let refused = |c: &Contribution, round: &Round| assert!(verify(round, &statement(c)).is_err());
    let point = CanonicalPoint::from(B * Scalar::from(5u8));
    let changes: [fn(&mut Contribution, CanonicalPoint); 9] = [
        |c, _| c.context.client.0 += 1,
        |c, p| c.context.ephemeral = p,
        |c, p| c.context.commitments[1] = p,
        |c, p| c.context.commitments.push(p),
        |c, _| c.context.share_root.0[0] ^= 1,
        |c, _| c.context.row_root.0[0] ^= 1,
        |c, _| c.context.y_digest.0[0] ^= 1,
        |c, _| c.context.c_digest.0[0] ^= 1,
        |c, _| c.context.k_digest.0[0] ^= 1,
    ];
    for change in changes {
        let mut c = good.clone();
        change(&mut c, point);
        refused(&c, &w.round);
    }
    // Another round of the same layout, the same round with another bound, another n_max.
    refused(&good, &round(&w.layout, 2));
    refused(&good, &round(&Layout::direct(DIM, 32_766, 100).unwrap(), 1));
    refused(&good, &round(&Layout::direct(DIM, 32_767, 101).unwrap(), 1));
    refused(
        &good,
        &round(&Layout::direct(DIM - 1, 32_767, 100).unwrap(), 1),
    );
}

#[test]
fn a_change_anywhere_is_refused() {
    let w = World::new();
    let good = w.prove(&w.forgery(&w.honest_update()));
    let mut seen = std::collections::BTreeSet::new();
    let len = good.proof.len();
    for at in (0..len).step_by(13).chain([len - 1]) {
        for bit in [0, 7] {
            let mut c = good.clone();
            c.proof[at] ^= 1 << bit;
            seen.insert(verify(&w.round, &statement(&c)).unwrap_err());
        }
    }
    assert!(seen.len() >= 5, "{seen:?}");
    for i in 0..good.k.len() {
        let mut c = good.clone();
        c.k[i] = good.k[(i + 1) % good.k.len()];
        assert_eq!(verify(&w.round, &statement(&c)), Err(ProofCheck::E1));
    }
    let mut c = good.clone();
    c.c.swap(0, 1);
    assert_eq!(verify(&w.round, &statement(&c)), Err(ProofCheck::E5));
    let mut c = good.clone();
    c.k[0] = [255; 32];
    assert_eq!(
        verify(&w.round, &statement(&c)),
        Err(ProofCheck::PointEncoding)
    );
    let mut c = good.clone();
    c.k.pop();
    assert_eq!(verify(&w.round, &statement(&c)), Err(ProofCheck::Shape));
    let mut c = good.clone();
    c.c.push([0; 32]);
    assert_eq!(verify(&w.round, &statement(&c)), Err(ProofCheck::Shape));
    let mut c = good.clone();
    c.context.commitments.clear();
    assert_eq!(verify(&w.round, &statement(&c)), Err(ProofCheck::Shape));
    let s = veilsum_proof::Statement {
        y: &[[0; 4]],
        ..statement(&good)
    };
    assert_eq!(verify(&w.round, &s), Err(ProofCheck::Shape));
    let mut c = good.clone();
    c.proof.push(0);
    assert_eq!(verify(&w.round, &statement(&c)), Err(ProofCheck::Length));
    let mut c = good;
    let end = c.proof.len();
    c.proof[end - 32..].fill(255);
    assert_eq!(
        verify(&w.round, &statement(&c)),
        Err(ProofCheck::ScalarEncoding)
    );
}
