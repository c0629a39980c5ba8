//! Every check of header and body, tripped by a cheater who recomputes digests and signs; opening of sums.

use crate::common::*;
use curve25519_dalek::ristretto::RistrettoPoint;
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::Identity;
use std::sync::Arc;
use veilsum_crypto::{CanonicalPoint, Digest};
use veilsum_params::ClientId;
use veilsum_proof::{ProofCheck, ProofError, Round};
use veilsum_protocol::*;
use veilsum_wire::*;

type Change = fn(&mut HeaderContent);

/// The changes alone, for a test that says nothing about most of their checks: the table of checks counts only who does.
fn edits() -> impl Iterator<Item = (&'static str, Change)> {
    changes()
        .into_iter()
        .map(|(field, change, _)| (field, change))
}

/// Every field of the header: a change, and the check that it trips when the cheater signs again.
fn changes() -> Vec<(&'static str, Change, Check)> {
    vec![
        (
            "params_digest",
            |c| c.params_digest = Digest([9; 32]),
            Check::HeaderParams,
        ),
        (
            "client",
            |c| c.client = world().outsider(),
            Check::HeaderCohort,
        ),
        (
            "commitments",
            |c| c.commitments.truncate(3),
            Check::HeaderCommitments,
        ),
        (
            "commitments",
            |c| c.commitments.push(point(1)),
            Check::HeaderCommitments,
        ),
        (
            "commitments",
            |c| c.commitments.clear(),
            Check::HeaderCommitments,
        ),
        (
            "commitments",
            |c| c.commitments[0] = CanonicalPoint::from(RistrettoPoint::identity()),
            Check::HeaderIdentity,
        ),
        (
            "commitments",
            |c| c.commitments[2] = point(1),
            Check::HeaderKnowledge,
        ),
        (
            "f_z",
            |c| c.f_z = CanonicalPoint::from(RistrettoPoint::identity()),
            Check::HeaderIdentity,
        ),
        ("f_z", |c| c.f_z = point(2), Check::Proof(ProofCheck::E2)),
        (
            "ephemeral",
            |c| c.ephemeral = CanonicalPoint::from(RistrettoPoint::identity()),
            Check::HeaderIdentity,
        ),
        (
            "ephemeral",
            |c| c.ephemeral = point(3),
            Check::HeaderKnowledge,
        ),
        (
            "knowledge",
            |c| c.knowledge.announcement = point(4),
            Check::HeaderKnowledge,
        ),
        (
            "knowledge",
            |c| c.knowledge.response += Scalar::ONE,
            Check::HeaderKnowledge,
        ),
        (
            "share_root",
            |c| c.share_root = Digest([9; 32]),
            Check::HeaderKnowledge,
        ),
        (
            "row_root",
            |c| c.row_root = Digest([9; 32]),
            Check::BodyRowRoot,
        ),
        (
            "other_rows",
            |c| c.other_rows = Digest([9; 32]),
            Check::BodyOtherRows,
        ),
        (
            "masked_vector",
            |c| c.masked_vector = Digest([9; 32]),
            Check::BodyMaskedVector,
        ),
        (
            "key_ciphertext",
            |c| c.key_ciphertext = Digest([9; 32]),
            Check::BodyKeyCiphertext,
        ),
        ("proof", |c| c.proof = Digest([9; 32]), Check::BodyProof),
    ]
}

#[test]
fn every_field_of_a_header_is_checked_and_gives_evidence_only_when_signed() {
    let w = world();
    let honest = &w.contributions[1];
    let covered: std::collections::BTreeSet<_> = changes().iter().map(|c| c.0).collect();
    assert_eq!(covered, HeaderContent::FIELDS.iter().map(|f| f.0).collect());
    for (field, change, check) in changes() {
        let mut content = honest.header.content.clone();
        change(&mut content);
        assert_ne!(content, honest.header.content);
        // Not signed again: nobody's header, and no evidence whatever else is wrong with it.
        let unsigned = Signed {
            content: content.clone(),
            signature: honest.header.signature,
        };
        let refused = match check {
            Check::HeaderParams | Check::HeaderCohort => check,
            _ => Check::HeaderSignature,
        };
        assert_eq!(w.verify(&unsigned, &honest.body), Err(refused), "{field}");
        w.acquits(&Evidence::InvalidHeader {
            header: unsigned.clone(),
        });
        w.acquits(&Evidence::InvalidProof {
            header: unsigned,
            body: Bytes(honest.body.to_bytes()),
        });
        // Signed by the cheater.
        let signed = w.sign_header(content);
        assert_eq!(w.verify(&signed, &honest.body), Err(check), "{field}");
        let header_only = check_header(&w.ctx, &signed).is_err();
        let evidence = Evidence::of_contribution(&signed, (!header_only).then_some(&honest.body));
        if check.info().blame == Blame::Client {
            w.convicts(
                &evidence,
                EvidenceKind::InvalidProof,
                Culprit::Client(w.client(1)),
                check,
            );
        } else {
            w.acquits(&evidence);
        }
    }
}

#[test]
fn a_request_counts_for_its_signer_round_and_kind_only() {
    let w = world();
    let (client, identity) = (w.client(0), w.identity(w.client(0)));
    let good = sign_request(&w.ctx, client, identity, 8);
    assert_eq!(check_request(&w.ctx, 8, &good), Ok(client));
    let refused = Err(Check::RequestSignature.into());
    assert_eq!(check_request(&w.ctx, 6, &good), refused, "another kind");
    let mut forged = good.clone();
    forged.signature.0[5] ^= 1;
    assert_eq!(check_request(&w.ctx, 8, &forged), refused);
    let stolen = sign_request(&w.ctx, client, w.identity(w.client(1)), 8);
    assert_eq!(check_request(&w.ctx, 8, &stolen), refused, "another's key");
    let mut content = good.content.clone();
    content.params_digest.0[0] ^= 1;
    let other_round = Signed::sign(content, identity);
    assert_eq!(check_request(&w.ctx, 8, &other_round), refused);
    let mut content = good.content;
    content.client = ClientId(u32::MAX);
    assert_eq!(
        check_request(&w.ctx, 8, &Signed::sign(content, identity)),
        Err(Check::HeaderCohort.into())
    );
}

#[test]
fn the_sender_of_a_header_is_known_from_its_bytes() {
    let w = world();
    let honest = &w.contributions[1].header;
    let bytes = honest.to_bytes();
    assert_eq!(check_header_sender(&w.ctx, &bytes), Ok(w.client(1)));
    for (field, change) in edits() {
        let mut content = honest.content.clone();
        change(&mut content);
        let unsigned = Signed {
            content: content.clone(),
            signature: honest.signature,
        };
        // As the common check judges it, which goes on where the signature holds.
        for header in [unsigned, w.sign_header(content)] {
            let sender = check_header_sender(&w.ctx, &header.to_bytes());
            let common = check_header(&w.ctx, &header).map_err(|refusal| refusal.check);
            let early = [
                Check::HeaderParams,
                Check::HeaderCohort,
                Check::HeaderSignature,
            ];
            match common {
                Err(known) if early.contains(&known) => {
                    assert_eq!(sender, Err(known.into()), "{field}");
                }
                _ => assert_eq!(sender, Ok(header.content.client), "{field}"),
            }
        }
    }
    for len in [0, 31, 32, 35, 36, 63, 64, 99, bytes.len() - 1] {
        let sender = check_header_sender(&w.ctx, &bytes[..len]);
        assert!(sender.is_err(), "{len} bytes");
    }
}

#[test]
fn signatures_are_strict() {
    let w = world();
    let mut header = w.header(0).clone();
    assert_eq!(check_header(&w.ctx, &header), Ok(()));
    header.signature.0[5] ^= 1;
    assert_eq!(
        check_header(&w.ctx, &header),
        Err(Check::HeaderSignature.into())
    );
    let stolen = Signed::sign(w.header(0).content.clone(), w.identity(w.client(1)));
    assert_eq!(
        check_header(&w.ctx, &stolen),
        Err(Check::HeaderSignature.into())
    );
    // A header of another client with the dealing of the first: the proof of knowledge names the dealer.
    let copied = HeaderContent {
        client: w.client(1),
        ..w.header(0).content.clone()
    };
    assert_eq!(
        check_header(&w.ctx, &w.sign_header(copied)),
        Err(Refusal {
            check: Check::HeaderKnowledge,
            culprit: Some(w.client(1))
        })
    );
}

#[test]
fn every_part_of_a_body_is_bound_and_proved() {
    let w = world();
    type Change = fn(&mut Body);
    let cases: Vec<(Change, Check, Check)> = vec![
        (
            |b| b.key_ciphertext[3] = *point(8).as_bytes(),
            Check::BodyKeyCiphertext,
            Check::Proof(ProofCheck::E2),
        ),
        (
            |b| b.key_ciphertext[3] = [0xff; 32],
            Check::BodyKeyCiphertext,
            Check::Proof(ProofCheck::PointEncoding),
        ),
        (
            |b| b.matrix[0] = *point(8).as_bytes(),
            Check::BodyRowRoot,
            Check::Proof(ProofCheck::E2),
        ),
        (
            |b| b.matrix.swap(0, 1),
            Check::BodyRowRoot,
            Check::Proof(ProofCheck::E2),
        ),
        (
            |b| b.matrix.last_mut().unwrap()[0] ^= 1,
            Check::BodyOtherRows,
            Check::Proof(ProofCheck::PointEncoding),
        ),
        (
            |b| b.proof[0] ^= 1,
            Check::BodyProof,
            Check::Proof(ProofCheck::E2),
        ),
        (
            |b| b.proof.fill(0),
            Check::BodyProof,
            Check::Proof(ProofCheck::ProjectionInterval),
        ),
        (
            |b| b.shares[2][0] ^= 1,
            Check::BodyShareRoot,
            Check::HeaderKnowledge,
        ),
    ];
    for (at, (change, unsigned, signed)) in cases.into_iter().enumerate() {
        let honest = &w.contributions[2];
        let mut body = honest.body.clone();
        change(&mut body);
        assert_eq!(w.verify(&honest.header, &body), Err(unsigned), "case {at}");
        w.acquits(&Evidence::InvalidProof {
            header: honest.header.clone(),
            body: Bytes(body.to_bytes()),
        });
        let cheat = forge(
            w,
            2,
            &Cheat {
                body: Some(&change),
                ..Cheat::default()
            },
        );
        assert_eq!(
            w.verify(&cheat.header, &cheat.body),
            Err(signed),
            "case {at}"
        );
        let header_only = signed == Check::HeaderKnowledge;
        let evidence =
            Evidence::of_contribution(&cheat.header, (!header_only).then_some(&cheat.body));
        w.convicts(
            &evidence,
            EvidenceKind::InvalidProof,
            Culprit::Client(w.client(2)),
            signed,
        );
    }
    // The forger's own work, without a deviation, is a valid contribution.
    let plain = forge(w, 2, &Cheat::default());
    assert_eq!(w.verify(&plain.header, &plain.body), Ok(()));
    w.acquits(&Evidence::of_contribution(&plain.header, Some(&plain.body)));
    w.acquits(&Evidence::of_contribution(&plain.header, None));
}

#[test]
fn bodies_of_another_length_are_refused_before_they_are_read() {
    let w = world();
    let honest = &w.contributions[0];
    let bytes = honest.body.to_bytes();
    assert_eq!(decode_body(&w.ctx, &bytes), Ok(honest.body.clone()));
    for len in [0, bytes.len() - 1, bytes.len() + 1] {
        let mut other = bytes.clone();
        other.resize(len, 0);
        assert_eq!(decode_body(&w.ctx, &other), Err(Check::BodyLength.into()));
        w.acquits(&Evidence::InvalidProof {
            header: honest.header.clone(),
            body: Bytes(other),
        });
    }
    let mut short = honest.body.clone();
    short.shares.pop();
    assert_eq!(w.verify(&honest.header, &short), Err(Check::BodyLength));
    let mut moved = honest.body.clone();
    let point = moved.matrix.pop().unwrap();
    moved.key_ciphertext.push(point);
    assert_eq!(w.verify(&honest.header, &moved), Err(Check::BodyLength));
}

#[test]
fn many_at_once_get_the_verdicts_that_each_gets_alone() {
    let w = world();
    let mut all: Vec<(Header, Body)> = w
        .contributions
        .iter()
        .map(|c| (c.header.clone(), c.body.clone()))
        .collect();
    all[0].1.proof[9] ^= 1;
    let cheat = forge(
        w,
        2,
        &Cheat {
            body: Some(&|b: &mut Body| b.proof[40] ^= 4),
            ..Cheat::default()
        },
    );
    all[2] = (cheat.header, cheat.body);
    all[3].0.signature.0[0] ^= 1;
    let single: Vec<_> = all
        .iter()
        .map(|(h, b)| {
            verify_contribution(&w.ctx, &w.round, h.clone(), b.clone()).map(|v| *v.header_digest())
        })
        .collect();
    let batch: Vec<_> = verify_contributions(&w.ctx, &w.round, all, &[3; 32])
        .into_iter()
        .map(|v| v.map(|v| *v.header_digest()))
        .collect();
    assert_eq!(single, batch);
    assert_eq!(
        single.iter().map(Result::is_ok).collect::<Vec<_>>(),
        [false, true, false, false, true]
    );
}

#[test]
fn a_contribution_is_made_for_its_own_client_round_and_norm_only() {
    let w = world();
    let mut rng = rng(5);
    let mut build = |client: ClientId, key, x: &[i64]| {
        build_contribution(&w.ctx, &w.round, client, key, x, &mut rng).err()
    };
    let (client, x) = (w.client(0), &w.updates[0]);
    let outsider = w.outsider();
    assert_eq!(
        build(outsider, w.identity(outsider), x),
        Some(BuildError::Cohort { client: outsider })
    );
    assert_eq!(
        build(client, w.identity(outsider), x),
        Some(BuildError::Identity { client })
    );
    let mut large = x.clone();
    large[0] = 1001;
    assert!(matches!(
        build(client, w.identity(client), &large),
        Some(BuildError::Proof(ProofError::Norm { .. }))
    ));
    assert!(matches!(
        build(client, w.identity(client), &x[1..]),
        Some(BuildError::Proof(ProofError::Length { .. }))
    ));
    let other = RoundContext::new(
        params_for(&w.roster, &w.server, 10, 150, 1000),
        w.roster.clone(),
    )
    .unwrap();
    assert_eq!(
        build_contribution(&other, &w.round, client, w.identity(client), x, &mut rng).err(),
        Some(BuildError::Round)
    );
    // Tables of another round refuse everything, and convict nobody.
    let tables = Round::new(Arc::clone(w.round.prepared()), *other.digest()).unwrap();
    let honest = &w.contributions[0];
    let verdict = verify_contribution(&w.ctx, &tables, honest.header.clone(), honest.body.clone());
    assert_eq!(verdict.err(), Some(Check::HeaderParams.into()));
    let evidence = Evidence::of_contribution(&honest.header, Some(&honest.body));
    let judged = judge_with(&w.ctx, Some(&tables), &evidence);
    assert_eq!(judged, Err(JudgeError::Refused(Check::HeaderParams.into())));
    // Nor does a contribution verify in another round.
    let honest = w.contributions[0].clone();
    assert_eq!(
        verify_contribution(&other, &w.round, honest.header, honest.body).err(),
        Some(Check::HeaderParams.into())
    );
}

#[test]
fn sums_open_and_convicted_dealers_leave_them() {
    let w = world();
    let sum = |which: &[usize]| -> Vec<i64> {
        (0..150)
            .map(|j| which.iter().map(|i| w.updates[*i][j]).sum())
            .collect()
    };
    let all = closed();
    assert_eq!(all.result.vector, sum(&[0, 1, 2, 3, 4]));
    let some = close(w, w.contributions.clone(), vec![w.client(1), w.client(4)]);
    assert_eq!(some.result.vector, sum(&[0, 2, 3]));
    let mut sums = RoundSums::new(&w.ctx);
    assert_eq!(
        sums.open(&w.ctx, &w.round, &some.r_sum),
        Err(OpenError::Empty)
    );
    w.contributions
        .iter()
        .for_each(|c| sums.add(&w.round, &c.body).unwrap());
    sums.remove(&w.round, &w.contributions[1].body).unwrap();
    sums.remove(&w.round, &w.contributions[4].body).unwrap();
    assert_eq!(
        sums.open(&w.ctx, &w.round, &some.r_sum),
        Ok(sum(&[0, 2, 3]))
    );
    assert!(matches!(
        sums.open(&w.ctx, &w.round, &all.r_sum),
        Err(OpenError::Logarithm(_))
    ));
}

#[test]
fn masked_contributions_verify_and_open() {
    let w = world_of(7000, 20_000, 3);
    assert!(w.ctx.layout().masked_constants().is_some());
    let mut sums = RoundSums::new(&w.ctx);
    let mut secrets = Vec::new();
    for c in &w.contributions {
        assert_eq!(w.verify(&c.header, &c.body), Ok(()));
        sums.add(&w.round, &c.body).unwrap();
        let shares: Vec<_> = (1..=THRESHOLD)
            .map(|j| {
                let index = veilsum_params::MemberIndex(j);
                open_share(
                    &w.ctx,
                    &c.header.content,
                    index,
                    w.share_key(j),
                    &share_leaf(&c.body, index).unwrap(),
                )
                .unwrap()
            })
            .collect();
        secrets.push(veilsum_crypto::feldman::combine(&shares, THRESHOLD).unwrap());
    }
    let expected: Vec<i64> = (0..7000)
        .map(|j| w.updates.iter().map(|x| x[j]).sum())
        .collect();
    let r_sum: Scalar = secrets.iter().sum();
    assert_eq!(sums.open(&w.ctx, &w.round, &r_sum), Ok(expected));
    sums.remove(&w.round, &w.contributions[1].body).unwrap();
    let left: Vec<i64> = (0..7000)
        .map(|j| w.updates[0][j] + w.updates[2][j])
        .collect();
    assert_eq!(sums.open(&w.ctx, &w.round, &(r_sum - secrets[1])), Ok(left));
    // Derived layouts leave no spare bits, so that every string of the right length is some y.
    let constants = w.ctx.layout().masked_constants().unwrap();
    assert_eq!(constants.ring_len * (252 - constants.cut) % 8, 0);
    for bytes in [0, 1, 7000] {
        let mut body = w.contributions[0].body.clone();
        body.masked_vector.resize(bytes, 0);
        assert_eq!(w.verify(w.header(0), &body), Err(Check::BodyLength));
    }
    // Another y convicts.
    let mut body = w.contributions[0].body.clone();
    body.masked_vector.fill(0xff);
    let mut content = w.header(0).content.clone();
    content.masked_vector = body.digests(w.ctx.params(), w.ctx.layout()).masked_vector;
    let header = w.sign_header(content);
    let check = w.verify(&header, &body).unwrap_err();
    assert_eq!(check, Check::Proof(ProofCheck::E2));
    w.convicts(
        &Evidence::of_contribution(&header, Some(&body)),
        EvidenceKind::InvalidProof,
        Culprit::Client(w.client(0)),
        check,
    );
}

#[test]
fn the_challenges_of_a_proof_are_those_of_its_header_and_its_bytes() {
    let w = world();
    let of = |header: usize, proof: usize| {
        let (header, body) = (w.header(header), &w.contributions[proof].body);
        proof_challenges(w.ctx.layout(), &header.content, &body.proof).unwrap()
    };
    let own = of(0, 0);
    assert!(own.len() > 2, "{own:?}");
    assert_eq!(own, of(0, 0));
    let labels = |challenges: &[veilsum_proof::Challenge]| -> Vec<&str> {
        challenges.iter().map(|c| c.label).collect()
    };
    for other in [of(1, 0), of(0, 1)] {
        assert_eq!(labels(&other), labels(&own));
        assert_ne!(other.last(), own.last());
    }
    // The first challenge is drawn before anything of the proof is read.
    assert_eq!(of(0, 1).first(), own.first());
    assert_ne!(of(1, 0).first(), own.first());
}
