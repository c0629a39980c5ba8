//! Direct mode: honest contributions verify, under any number of threads with the same bytes; wrong ones do not.

mod common;

use common::*;
use veilsum_params::UploadSizes;
use veilsum_proof::{ContributeError, ProofCheck, ProofError, Statement, proof_len, verify, verify_batch};

#[test]
fn honest_contributions_verify_for_many_shapes() {
    for dim in [1, 2, 63, 64, 65, 300, 1000, 2500] {
        let layout = direct(dim);
        let round = round(&layout, 1);
        for seed in 0..3 {
            let c = honest(&round, &update(&layout, seed), seed).unwrap();
            assert_eq!(c.proof.len() as u64, UploadSizes::of(&layout, 20, 14).proof);
            assert_eq!(c.proof.len(), proof_len(&layout));
            assert_eq!(verify(&round, &statement(&c)), Ok(()), "dim {dim}");
        }
    }
}
