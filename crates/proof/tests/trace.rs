//! Fiat and Shamir: every challenge depends on every byte of the proof that stands before it, and on no later one.

mod common;

use common::*;
use veilsum_crypto::Digest;
use veilsum_params::{Layout, PROJECTIONS};
use veilsum_proof::{Challenge, Contribution, ProofCheck, challenges};
use zeroize::Zeroize;

fn trace(layout: &Layout, c: &Contribution, proof: &[u8]) -> Result<Vec<Challenge>, ProofCheck> {
    challenges(layout, &Digest([1; 32]), &c.context, &c.f_z, proof)
}

#[test]
fn a_challenge_depends_on_all_bytes_before_it() {
    let layout = direct(200);
    let round = round(&layout, 1);
    let c = honest(&round, &update(&layout, 5), 11).unwrap();
    let honest_trace = trace(&layout, &c, &c.proof).unwrap();
    let (row_vars, col_vars) = (layout.row_vars as usize, layout.col_vars as usize);
    let variables = row_vars + col_vars;
    let labels: Vec<&str> = honest_trace.iter().map(|c| c.label).collect();
    let mut expected = vec!["projection seed", "theta seed", "lambda", "xi"];
    expected.extend(vec!["round"; variables]);
    expected.extend(["closing", "folding seed", "y", "z", "x", "w"]);
    expected.extend(vec!["u"; layout.range_bits.trailing_zeros() as usize]);
    assert_eq!(labels, expected);
    let (theta, first_round, closing) = (1, 4, 4 + variables);
    let folding = closing + 1;

    // Parts of the proof in order: length, the first challenge after it, whether the range proof's own transcript has it.
    let z = PROJECTIONS * layout.z_bytes() as usize;
    let range = 32 * (9 + 2 * layout.range_bits.trailing_zeros() as usize);
    let mut parts = vec![
        (z, theta, true),
        (32, theta, true),
        (32, theta, false),
        (32, first_round, false),
    ];
    parts.extend((0..row_vars).map(|j| (96, first_round + j, false)));
    parts.extend((row_vars..variables).map(|j| (64, first_round + j, false)));
    parts.push((32, closing, false));
    // Its last two scalars come after its last challenge.
    parts.push((range - 64, closing, true));
    parts.push((64, closing, false));
    parts.push((32 * (6 + 3), closing, false));
    let before: usize = parts.iter().map(|p| p.0).sum();
    parts.push((c.proof.len() - before, folding, false));

    let mut at = 0;
    for (len, first, in_range_proof) in parts {
        // The first and the last word: of each the lowest bit, which leaves a scalar canonical.
        let width = if at == 0 {
            layout.z_bytes() as usize
        } else {
            32
        };
        for changed in [at, at + len - width] {
            let mut proof = c.proof.clone();
            proof[changed] ^= 1;
            let trace = trace(&layout, &c, &proof).unwrap();
            for (i, (now, was)) in trace
                .iter()
                .zip(&honest_trace)
                .enumerate()
                .take(folding + 1)
            {
                assert_eq!(now == was, i < first, "byte {changed}, challenge {i}");
            }
            let differs = trace[folding + 1..] != honest_trace[folding + 1..];
            assert_eq!(differs, in_range_proof, "byte {changed}");
        }
        at += len;
    }
    assert_eq!(at, c.proof.len());
}

#[test]
fn proofs_that_do_not_decode_have_no_challenges() {
    let layout = direct(3);
    let c = honest(&round(&layout, 1), &[1, 2, 3], 1).unwrap();
    assert_eq!(trace(&layout, &c, &c.proof[1..]), Err(ProofCheck::Length));
    let mut proof = c.proof.clone();
    let end = proof.len();
    proof[end - 32..].fill(255);
    assert_eq!(trace(&layout, &c, &proof), Err(ProofCheck::ScalarEncoding));
}

#[test]
fn wiped_responses_hold_nothing() {
    let layout = direct(3);
    let c = honest(&round(&layout, 1), &[1, 2, 3], 1).unwrap();
    let mut proof = veilsum_proof::Proof::decode(&layout, &c.proof).unwrap();
    let r = &mut proof.responses;
    r.zeroize();
    let zero = veilsum_crypto::field::Fe::ZERO;
    assert!(r.u.is_empty() && r.pi.is_empty());
    assert_eq!([r.r, r.r_z, r.rho, r.v_k, r.n_x, r.nu], [zero; 6]);
}
