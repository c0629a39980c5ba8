//! Complaints: a bad share convicts its dealer, a false complaint the member, and nothing else anybody.

use crate::common::*;
use curve25519_dalek::ristretto::RistrettoPoint;
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::Identity;
use veilsum_crypto::{CIPHERTEXT_LEN, Digest};
use veilsum_params::MemberIndex;
use veilsum_protocol::*;
use veilsum_wire::*;

const ROOT: Digest = Digest([4; 32]);

fn complaint(w: &World, c: &Contribution, j: u16) -> Signed<ComplaintContent> {
    let index = MemberIndex(j);
    let leaf = share_leaf(&c.body, index).unwrap();
    complain(
        &w.ctx,
        &ROOT,
        &c.header.content,
        index,
        w.share_key(j),
        w.member_key(j),
        &leaf,
        &mut rng(j.into()),
    )
}

fn verdict(w: &World, c: &Contribution, complaint: &Signed<ComplaintContent>) -> Verdict {
    judge_complaint(&w.ctx, &ROOT, &c.header.content, complaint)
}

#[test]
fn a_bad_share_convicts_its_dealer() {
    let w = world();
    let garbled = |shares: &mut Vec<[u8; CIPHERTEXT_LEN]>| shares[2][7] ^= 1;
    let swapped = |shares: &mut Vec<[u8; CIPHERTEXT_LEN]>| shares.swap(2, 3);
    let dealers = [
        bad_dealer(w, 1, 3),
        forge(
            w,
            1,
            &Cheat {
                shares: Some(&garbled),
                ..Cheat::default()
            },
        ),
        forge(
            w,
            1,
            &Cheat {
                shares: Some(&swapped),
                ..Cheat::default()
            },
        ),
    ];
    for bad in dealers {
        // Header and proof are fine: only the member can see it.
        assert_eq!(w.verify(&bad.header, &bad.body), Ok(()));
        let leaf = share_leaf(&bad.body, MemberIndex(3)).unwrap();
        let refused = open_share(
            &w.ctx,
            &bad.header.content,
            MemberIndex(3),
            w.share_key(3),
            &leaf,
        )
        .unwrap_err();
        assert_eq!(
            refused,
            Refusal {
                check: Check::DealtShare,
                culprit: Some(w.client(1))
            }
        );
        let complaint = complaint(w, &bad, 3);
        assert_eq!(verdict(w, &bad, &complaint), Verdict::Counts(w.client(1)));
        let evidence =
            Evidence::of_complaint(verdict(w, &bad, &complaint), &bad.header, &complaint).unwrap();
        w.convicts(
            &evidence,
            EvidenceKind::BadShare,
            Culprit::Client(w.client(1)),
            Check::DealtShare,
        );
        // It says nothing against the member, and nothing without the dealer's signature.
        w.acquits(&Evidence::FalseComplaint {
            header: bad.header.clone(),
            complaint: complaint.clone(),
        });
        let mut unsigned = bad.header.clone();
        unsigned.signature.0[0] ^= 1;
        w.acquits(&Evidence::BadShare {
            header: unsigned,
            complaint,
        });
    }
}

#[test]
fn a_good_share_is_complained_of_at_the_members_own_peril() {
    let w = world();
    let honest = &w.contributions[1];
    let groundless = complaint(w, honest, 3);
    let (member, _) = w.ctx.member(MemberIndex(3)).unwrap();
    assert_eq!(
        verdict(w, honest, &groundless),
        Verdict::False {
            member,
            check: Check::ComplaintGroundless
        }
    );
    let evidence =
        Evidence::of_complaint(verdict(w, honest, &groundless), &honest.header, &groundless)
            .unwrap();
    w.convicts(
        &evidence,
        EvidenceKind::FalseComplaint,
        w.member_culprit(3),
        Check::ComplaintGroundless,
    );
    w.acquits(&Evidence::BadShare {
        header: honest.header.clone(),
        complaint: groundless,
    });
}

#[test]
fn every_field_of_a_complaint_is_bound() {
    let w = world();
    let bad = bad_dealer(w, 1, 3);
    let good = complaint(w, &bad, 3);
    type Change = fn(&mut ComplaintContent);
    let (member, _) = w.ctx.member(MemberIndex(3)).unwrap();
    let (member_4, _) = w.ctx.member(MemberIndex(4)).unwrap();
    let applicable = Verdict::NotApplicable(Check::ComplaintApplicable);
    let unequal = Verdict::False {
        member,
        check: Check::ComplaintEquality,
    };
    let path = Verdict::False {
        member,
        check: Check::ComplaintPath,
    };
    let cases: Vec<(&str, Change, Verdict)> = vec![
        (
            "params_digest",
            |c| c.params_digest = Digest([1; 32]),
            applicable,
        ),
        ("root", |c| c.root = Digest([1; 32]), applicable),
        (
            "header_digest",
            |c| c.header_digest = Digest([1; 32]),
            applicable,
        ),
        (
            "member",
            |c| c.member = MemberIndex(4),
            Verdict::False {
                member: member_4,
                check: Check::ComplaintPath,
            },
        ),
        (
            "member",
            |c| c.member = MemberIndex(0),
            Verdict::NotApplicable(Check::ComplaintSignature),
        ),
        (
            "member",
            |c| c.member = MemberIndex(6),
            Verdict::NotApplicable(Check::ComplaintSignature),
        ),
        ("share", |c| c.share.ciphertext[0] ^= 1, path),
        ("share", |c| c.share.path.truncate(1), path),
        ("share", |c| c.share.path[0] = Digest([1; 32]), path),
        ("point", |c| c.point = point(1), unequal),
        ("equality", |c| c.equality.response += Scalar::ONE, unequal),
        ("equality", |c| c.equality.on_base = point(2), unequal),
        ("equality", |c| c.equality.on_ephemeral = point(2), unequal),
    ];
    let covered: std::collections::BTreeSet<_> = cases.iter().map(|c| c.0).collect();
    assert_eq!(
        covered,
        ComplaintContent::FIELDS.iter().map(|f| f.0).collect()
    );
    for (field, change, expected) in cases {
        let mut content = good.content.clone();
        change(&mut content);
        let unsigned = Signed {
            content: content.clone(),
            signature: good.signature,
        };
        assert!(
            matches!(verdict(w, &bad, &unsigned), Verdict::NotApplicable(_)),
            "{field}"
        );
        w.acquits(&Evidence::BadShare {
            header: bad.header.clone(),
            complaint: unsigned.clone(),
        });
        w.acquits(&Evidence::FalseComplaint {
            header: bad.header.clone(),
            complaint: unsigned,
        });
        let j = if (1..=MEMBERS).contains(&content.member.0) {
            content.member.0
        } else {
            3
        };
        let signed = Signed::sign(content, w.member_key(j));
        assert_eq!(verdict(w, &bad, &signed), expected, "{field}");
        w.acquits(&Evidence::BadShare {
            header: bad.header.clone(),
            complaint: signed.clone(),
        });
        let evidence = Evidence::FalseComplaint {
            header: bad.header.clone(),
            complaint: signed,
        };
        // A complaint that it signed about another root is the member's own doing: its proof is bound to this one.
        let convicts = match (field, expected) {
            ("root", _) => Some(Check::ComplaintEquality),
            (_, Verdict::False { check, .. }) => Some(check),
            _ => None,
        };
        match convicts {
            Some(check) => w.convicts(
                &evidence,
                EvidenceKind::FalseComplaint,
                w.member_culprit(j),
                check,
            ),
            None => w.acquits(&evidence),
        }
    }
}

#[test]
fn a14_another_header_or_anothers_leaf_frames_nobody() {
    let w = world();
    // The dealer signs two headers, one with a bad share: the complaint about the bad one says nothing about the other.
    let (bad, honest) = (bad_dealer(w, 1, 3), &w.contributions[1]);
    let about_bad = complaint(w, &bad, 3);
    assert_eq!(
        verdict(w, honest, &about_bad),
        Verdict::NotApplicable(Check::ComplaintApplicable)
    );
    w.acquits(&Evidence::FalseComplaint {
        header: honest.header.clone(),
        complaint: about_bad.clone(),
    });
    w.acquits(&Evidence::BadShare {
        header: honest.header.clone(),
        complaint: about_bad.clone(),
    });
    // Another member's leaf at one's own place.
    let leaf = share_leaf(&honest.body, MemberIndex(4)).unwrap();
    let check = check_share_path(&w.ctx, &honest.header.content, MemberIndex(3), &leaf);
    assert_eq!(check, Err(Check::SharePath.into()));
    let content = &honest.header.content;
    let forged = complain(
        &w.ctx,
        &ROOT,
        content,
        MemberIndex(3),
        w.share_key(3),
        w.member_key(3),
        &leaf,
        &mut rng(1),
    );
    let (member, _) = w.ctx.member(MemberIndex(3)).unwrap();
    assert_eq!(
        verdict(w, honest, &forged),
        Verdict::False {
            member,
            check: Check::ComplaintPath
        }
    );
    // Somebody else's signature, and another root.
    let stolen = Signed::sign(about_bad.content.clone(), w.member_key(4));
    assert_eq!(
        verdict(w, &bad, &stolen),
        Verdict::NotApplicable(Check::ComplaintSignature)
    );
    let elsewhere = judge_complaint(&w.ctx, &Digest([5; 32]), &bad.header.content, &about_bad);
    assert_eq!(
        elsewhere,
        Verdict::NotApplicable(Check::ComplaintApplicable)
    );
}

#[test]
fn a03_a_derived_ephemeral_key_is_refused_before_anybody_complains() {
    let w = world();
    // E = E_victim + B: the dealer does not know its discrete logarithm, so it has no proof of knowledge.
    let victim = w.header(0).content.ephemeral;
    let derived = veilsum_crypto::CanonicalPoint::from(
        victim.point() + curve25519_dalek::constants::RISTRETTO_BASEPOINT_POINT,
    );
    let change = move |h: &mut HeaderContent| h.ephemeral = derived;
    let bad = forge(
        w,
        1,
        &Cheat {
            header: Some(&change),
            ..Cheat::default()
        },
    );
    assert_eq!(
        check_header(&w.ctx, &bad.header),
        Err(Refusal {
            check: Check::HeaderKnowledge,
            culprit: Some(w.client(1))
        })
    );
    // Nor is an honest member convicted by a complaint about a header that no honest party accepts.
    let complaint = complaint(w, &bad, 3);
    w.acquits(&Evidence::FalseComplaint {
        header: bad.header.clone(),
        complaint: complaint.clone(),
    });
    w.acquits(&Evidence::BadShare {
        header: bad.header,
        complaint,
    });
}

#[test]
fn a_complaint_about_an_invalid_header_convicts_nobody() {
    let w = world();
    let change = |h: &mut HeaderContent| {
        h.f_z = veilsum_crypto::CanonicalPoint::from(RistrettoPoint::identity())
    };
    let invalid = forge(
        w,
        1,
        &Cheat {
            header: Some(&change),
            ..Cheat::default()
        },
    );
    let groundless = complaint(w, &invalid, 3);
    assert!(matches!(
        verdict(w, &invalid, &groundless),
        Verdict::False { .. }
    ));
    let (header, complaint) = (invalid.header, groundless);
    for evidence in [
        Evidence::FalseComplaint {
            header: header.clone(),
            complaint: complaint.clone(),
        },
        Evidence::BadShare {
            header: header.clone(),
            complaint: complaint.clone(),
        },
    ] {
        assert!(
            matches!(w.judge(&evidence), Err(JudgeError::Refused(r)) if r.check == Check::HeaderIdentity)
        );
    }
}
