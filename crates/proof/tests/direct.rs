//! Direct mode: honest contributions verify, with the same bytes whatever the backend and the number of threads.

mod common;

use common::*;
use curve25519_dalek::scalar::Scalar;
use std::sync::Arc;
use veilsum_crypto::Digest;
use veilsum_params::UploadSizes;
use veilsum_proof::{
    ContributeError, Contribution, Parts, Prepared, Proof, ProofCheck, ProofError, Round, Witness,
    contribute, proof_len, verify, verify_batch,
};
use veilsum_simd::{Backend, Engine};

#[test]
fn honest_contributions_verify_for_many_shapes() {
    for dim in [1, 2, 63, 64, 65, 300, 1000, 2500] {
        let layout = direct(dim);
        let round = round(&layout, 1);
        let made: Vec<_> = (0..3)
            .map(|seed| honest(&round, &update(&layout, seed), seed).unwrap())
            .collect();
        for c in &made {
            assert_eq!(c.proof.len() as u64, UploadSizes::of(&layout, 20, 14).proof);
            assert_eq!(c.proof.len(), proof_len(&layout));
            assert_eq!(verify(&round, &statement(c)), Ok(()), "dim {dim}");
            let decoded = Proof::decode(&layout, &c.proof).unwrap();
            assert_eq!(decoded.encode(&layout), c.proof);
        }
        let statements: Vec<_> = made.iter().map(statement).collect();
        assert_eq!(verify_batch(&round, &statements, &[0; 32]), [Ok(()); 3]);
    }
    assert_eq!(verify_batch(&round(&direct(3), 1), &[], &[0; 32]), []);
}

#[test]
fn bytes_do_not_depend_on_threads_or_backend() {
    let layout = direct(700);
    let x = update(&layout, 1);
    let make = |threads: usize, backend: Backend| -> Contribution {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| {
            let engine = Engine::new(backend).unwrap();
            let prepared = Arc::new(Prepared::with_engine(&layout, engine).unwrap());
            let round = Round::new(prepared, Digest([9; 32])).unwrap();
            let c = honest(&round, &x, 4).unwrap();
            assert_eq!(verify(&round, &statement(&c)), Ok(()));
            c
        })
    };
    let one = make(1, Backend::Portable);
    assert_eq!(make(2, Backend::Portable), one);
    assert_eq!(make(4, Backend::Auto), one);
    assert_eq!(make(3, Backend::Auto), one);
}

#[test]
fn a_witness_that_does_not_fit_is_refused() {
    let layout = direct(10);
    let round = round(&layout, 1);
    let refuse = |update: &[i64], error: ProofError| {
        assert_eq!(
            honest(&round, update, 1),
            Err(ContributeError::Proof(error))
        );
    };
    refuse(
        &[1; 9],
        ProofError::Length {
            what: "the update",
            got: 9,
            want: 10,
        },
    );
    refuse(&[i64::MIN; 10], ProofError::Norm { what: "the update" });
    refuse(&[i64::MAX; 10], ProofError::Norm { what: "the update" });
    // Squares that would wrap around 2^64 to something small.
    refuse(
        &[1 << 32, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        ProofError::Norm { what: "the update" },
    );
    let (r, other) = (Scalar::from(3u8), Scalar::from(4u8));
    let witness = Witness {
        update: &[1; 10],
        r: &r,
        masked: None,
    };
    let got = contribute(
        &round,
        &witness,
        |p: &Parts<'_>| Ok::<_, ()>(context(&other, 7, p.k, p.c)),
        &mut rng(1),
    );
    assert_eq!(got, Err(ContributeError::Proof(ProofError::Commitment)));
    let got = contribute(&round, &witness, |_: &Parts<'_>| Err("no"), &mut rng(1));
    assert_eq!(got, Err(ContributeError::Context("no")));
}

#[test]
fn every_check_has_its_own_name() {
    let names: std::collections::BTreeSet<_> = ProofCheck::ALL.iter().map(|c| c.id()).collect();
    assert_eq!(names.len(), ProofCheck::ALL.len());
    assert!(names.iter().all(|n| n.starts_with("proof.")));
    assert!(ProofCheck::ALL.iter().all(|c| c.to_string() == c.id()));
}

#[test]
fn nothing_secret_is_shown() {
    let r = Scalar::from(123_456_789u64);
    let witness = Witness {
        update: &[31_337],
        r: &r,
        masked: None,
    };
    let shown = format!("{witness:?}");
    assert!(!shown.contains("31337") && !shown.contains("123456789"));
}

#[test]
fn a_rejected_attempt_is_made_again_with_fresh_masks() {
    let layout = direct(1);
    let round = round(&layout, 1);
    let r = Scalar::from(11u8);
    let witness = Witness {
        update: &[123],
        r: &r,
        masked: None,
    };
    // A rejection has probability between 2^-11 and 2^-10; the search begins where one was found, so that it is long only
    // after a change of the transcript.
    let attempt = |seed: u64| {
        let mut attempts = Vec::new();
        let bind = |p: &Parts<'_>| {
            attempts.push((p.k.to_vec(), p.c.to_vec(), *p.f_z));
            Ok::<_, ()>(context(&r, 7, p.k, p.c))
        };
        let made = contribute(&round, &witness, bind, &mut rng(seed)).unwrap();
        (attempts.len() > 1).then_some((made, attempts))
    };
    let (made, attempts) = (8895..60_000).find_map(attempt).unwrap();
    assert_eq!(verify(&round, &statement(&made)), Ok(()));
    let [first, .., last] = &attempts[..] else {
        panic!("one attempt")
    };
    let x_rows = layout.x_rows as usize;
    assert_eq!(first.0[..x_rows], last.0[..x_rows]);
    assert_eq!(first.1, last.1);
    assert_ne!(first.2, last.2);
    assert!(
        first.0[x_rows..]
            .iter()
            .zip(&last.0[x_rows..])
            .all(|(a, b)| a != b)
    );
    assert_eq!((&made.k, &made.c, &made.f_z), (&last.0, &last.1, &last.2));
}
