//! Evidence is about one round: what was signed for another one convicts nobody here, even where it would convict there.

use crate::common::*;
use crate::evidence::{endorse, leaves, receipt, resign, rows};
use curve25519_dalek::scalar::Scalar;
use veilsum_crypto::Digest;
use veilsum_params::{ClientId, MemberIndex};
use veilsum_protocol::*;
use veilsum_wire::*;

/// Guilty statements, of which one is for the round with this digest.
fn guilty(w: &World, c: &Closed, digest: Digest) -> Vec<Evidence> {
    let headers = c.headers();
    let root = Digest([8; 32]);
    let propose = |params_digest, root| ServerStatement::Proposal {
        signed: Signed::sign(
            ProposalContent {
                params_digest,
                root,
            },
            &w.server,
        ),
    };
    let four = close(w, w.contributions[1..].to_vec(), vec![]);
    let without = |receipt_digest, proposal_digest| Evidence::ReceiptWithoutInclusion {
        receipt: resign(&receipt(w, 0), &w.server, |r| {
            r.params_digest = receipt_digest
        }),
        proposal: Proposal {
            signed: resign(&four.proposal.signed, &w.server, |p| {
                p.params_digest = proposal_digest
            }),
            entries: four.proposal.entries.clone(),
        },
    };
    let spoilt = forge(
        w,
        0,
        &Cheat {
            body: Some(&|b: &mut Body| b.proof.fill(0)),
            ..Cheat::default()
        },
    );
    let mut vector = c.result.vector.clone();
    vector[0] += 1;
    let result = |r_sum, vector| {
        let mut result = sign_result(w, c.root, vec![], r_sum, vector);
        result.signed = resign(&result.signed, &w.server, |r| r.params_digest = digest);
        result
    };
    let slice = c.rows[0].slice;
    let list = row_list(
        w,
        c.root,
        &[],
        MemberIndex(4),
        vec![(slice, Digest([1; 32]))],
    );
    vec![
        Evidence::BadUnmask {
            unmask: resign(&c.unmasks[2], w.member_key(3), |u| {
                u.sum += Scalar::ONE;
                u.params_digest = digest;
            }),
            headers: headers.clone(),
        },
        Evidence::BadReveal {
            reveal: Signed::sign(
                RevealContent {
                    params_digest: digest,
                    root: c.root,
                    member: MemberIndex(2),
                    header_digest: headers[0].content.digest(),
                    share: Scalar::ONE,
                },
                w.member_key(2),
            ),
            header: headers[0].clone(),
        },
        Evidence::MemberEquivocation {
            first: endorse(w, c, 2, |_| ()),
            second: endorse(w, c, 2, |e| {
                e.root = root;
                e.params_digest = digest;
            }),
            other_params: vec![],
        },
        Evidence::MemberEquivocation {
            first: endorse(w, c, 2, |e| {
                e.root = root;
                e.params_digest = digest;
            }),
            second: endorse(w, c, 2, |_| ()),
            other_params: vec![],
        },
        Evidence::ServerEquivocation {
            first: propose(w.digest(), c.root),
            second: propose(digest, root),
            other_params: vec![],
        },
        Evidence::ServerEquivocation {
            first: propose(digest, root),
            second: propose(w.digest(), c.root),
            other_params: vec![],
        },
        without(digest, w.digest()),
        without(w.digest(), digest),
        Evidence::ReceiptForInvalid {
            receipt: Signed::sign(
                ReceiptContent {
                    params_digest: digest,
                    client: spoilt.header.content.client,
                    header_digest: spoilt.header.content.digest(),
                },
                &w.server,
            ),
            header: spoilt.header.clone(),
            body: Bytes(spoilt.body.to_bytes()),
        },
        Evidence::WrongSecret {
            result: result(c.r_sum + Scalar::ONE, c.result.vector.clone()).signed,
            headers: headers.clone(),
        },
        Evidence::WrongVector {
            result: result(c.r_sum, vector),
            headers: headers.clone(),
            rows: rows(c),
        },
        Evidence::WrongRowSum {
            signed: resign(&list, w.member_key(4), |l| l.params_digest = digest),
            slice,
            convicted: vec![],
            headers,
            leaves: leaves(w, c, slice),
        },
    ]
}

#[test]
fn statements_of_another_round_convict_nobody_in_this_one() {
    let (w, c) = (world(), closed());
    let here = guilty(w, c, w.digest());
    let elsewhere = guilty(w, c, Digest([9; 32]));
    for (i, (here, elsewhere)) in here.iter().zip(&elsewhere).enumerate() {
        assert!(w.judge(here).is_ok(), "{i}");
        assert_eq!(
            w.judge(elsewhere),
            Err(JudgeError::Refused(Check::EvidenceContent.into())),
            "{i}"
        );
    }
}

#[test]
fn under_other_parameters_the_client_behind_a_place_is_accused_and_nobody_else() {
    let (w, c) = (world(), closed());
    let mut other = w.ctx.params().clone();
    // Client 2 of the committee sits in place 3 there.
    other.committee.swap(1, 2);
    let moved = params_digest(&other);
    let evidence = |place: u16| Evidence::MemberEquivocation {
        first: endorse(w, c, 2, |_| ()),
        second: MemberStatement::Endorse {
            signed: resign(&c.endorsements[1], w.member_key(2), |e| {
                e.params_digest = moved;
                e.member = MemberIndex(place);
            }),
        },
        other_params: vec![other.clone()],
    };
    w.convicts(
        &evidence(3),
        EvidenceKind::MemberEquivocation,
        w.member_culprit(2),
        Check::EndorseEquivocation,
    );
    for place in [0, 1, 2, 4, 99] {
        w.acquits(&evidence(place));
    }
}

#[test]
fn kinds_of_evidence_have_names_of_their_own() {
    let kinds: std::collections::BTreeSet<_> = Check::ALL
        .iter()
        .filter_map(|check| check.info().evidence)
        .map(|kind| kind.name())
        .collect();
    assert!(kinds.len() >= 8, "{kinds:?}");
    assert!(
        kinds
            .iter()
            .all(|name| name.contains(|c: char| c.is_ascii_lowercase()))
    );
}

#[test]
fn checks_parties_and_culprits_are_named_where_people_read_them() {
    for check in Check::ALL {
        let info = check.info();
        assert_eq!(check.to_string(), format!("{} ({})", info.reason, info.id));
        if let Some(kind) = info.evidence {
            assert_eq!(kind.to_string(), kind.name());
        }
    }
    let (index, client) = (MemberIndex(3), ClientId(7));
    assert_eq!(Culprit::Server.to_string(), "the server");
    assert_eq!(Culprit::Client(client).to_string(), "client-7");
    let member = Culprit::Member { index, client };
    assert_eq!(member.to_string(), "member-3 (client-7)");
    assert_eq!(Party::Server.to_string(), "server");
    assert_eq!(Party::Client(client).to_string(), "client-7");
    assert_eq!(Party::Member(index).to_string(), "member-3");
}
