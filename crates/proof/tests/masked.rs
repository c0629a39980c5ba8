//! Masked mode: honest contributions verify; wrong ones do not.

mod common;

use common::*;
use veilsum_params::UploadSizes;
use veilsum_proof::verify;

#[test]
fn honest_contributions_verify() {
    for dim in [6_000, 60_000] {
        let layout = masked(dim);
        let round = round(&layout, 1);
        let client = MaskedClient::new(&round, 1);
        let c = client.contribute(&round, 2).unwrap();
        assert_eq!(c.proof.len() as u64, UploadSizes::of(&layout, 20, 14).proof);
        assert_eq!(verify(&round, &client.statement(&c)), Ok(()), "dim {dim}");
    }
}
