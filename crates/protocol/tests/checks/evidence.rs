//! Every kind of evidence convicts whom it should, and nothing that honest parties sign convicts anybody.

use crate::common::*;
use curve25519_dalek::scalar::Scalar;
use veilsum_crypto::{Digest, IdentityKey};
use veilsum_params::{MemberIndex, RoundParams};
use veilsum_protocol::*;
use veilsum_wire::*;

pub(crate) fn receipt(w: &World, i: usize) -> Signed<ReceiptContent> {
    let content = ReceiptContent {
        params_digest: w.digest(),
        client: w.client(i),
        header_digest: w.header(i).content.digest(),
    };
    Signed::sign(content, &w.server)
}

/// Parameters that the same server announces for the same round id.
fn other_params(w: &World) -> RoundParams {
    let mut params = w.ctx.params().clone();
    params.model_digest = [6; 32];
    params
}

pub(crate) fn rows(c: &Closed) -> Vec<Vec<[u8; 32]>> {
    c.summed().map(|k| k.body.matrix[..3].to_vec()).collect()
}

pub(crate) fn leaves(w: &World, c: &Closed, slice: u16) -> Vec<RowLeaf> {
    c.summed()
        .map(|k| row_leaf(&w.ctx, &k.body.matrix, slice))
        .collect()
}

pub(crate) fn resign<T: Content + Clone>(
    signed: &Signed<T>,
    key: &IdentityKey,
    change: impl FnOnce(&mut T),
) -> Signed<T> {
    let mut content = signed.content.clone();
    change(&mut content);
    Signed::sign(content, key)
}

pub(crate) fn endorse(
    w: &World,
    c: &Closed,
    j: u16,
    change: impl FnOnce(&mut EndorseContent),
) -> MemberStatement {
    MemberStatement::Endorse {
        signed: resign(&c.endorsements[usize::from(j) - 1], w.member_key(j), change),
    }
}
fn unmask(
    w: &World,
    c: &Closed,
    j: u16,
    change: impl FnOnce(&mut UnmaskContent),
) -> MemberStatement {
    MemberStatement::Unmask {
        signed: resign(&c.unmasks[usize::from(j) - 1], w.member_key(j), change),
    }
}
fn signed_final(
    w: &World,
    c: &Closed,
    j: u16,
    change: impl FnOnce(&mut FinalContent),
) -> MemberStatement {
    MemberStatement::Final {
        signed: resign(&c.finals[usize::from(j) - 1], w.member_key(j), change),
    }
}

fn server_says(w: &World, c: &Closed) -> Vec<ServerStatement> {
    let params_digest = w.digest();
    vec![
        ServerStatement::Announcement {
            signed: Signed::sign(
                AnnouncementContent {
                    round_id: 9,
                    params_digest,
                },
                &w.server,
            ),
        },
        ServerStatement::Proposal {
            signed: c.proposal.signed.clone(),
        },
        ServerStatement::Convicted {
            signed: Signed::sign(
                ConvictedContent {
                    params_digest,
                    root: c.root,
                    convicted: c.convicted.clone(),
                },
                &w.server,
            ),
        },
        ServerStatement::Result {
            signed: c.result.signed.clone(),
        },
    ]
}

#[test]
fn nothing_that_honest_parties_sign_convicts_anybody() {
    let w = world();
    for convicted in [vec![], vec![w.client(1)]] {
        let c = close(w, w.contributions.clone(), convicted);
        for (i, k) in c.contributions.iter().enumerate() {
            w.acquits(&Evidence::of_contribution(&k.header, None));
            w.acquits(&Evidence::of_contribution(&k.header, Some(&k.body)));
            let (receipt, header, body) =
                (receipt(w, i), k.header.clone(), Bytes(k.body.to_bytes()));
            w.acquits(&Evidence::ReceiptWithoutInclusion {
                receipt: receipt.clone(),
                proposal: c.proposal.clone(),
            });
            w.acquits(&Evidence::ReceiptForInvalid {
                receipt: receipt.clone(),
                header: header.clone(),
                body,
            });
            // A body that is not the header's, or a spoilt signature, must not fall back on the server.
            let spoilt = Signed {
                content: header.content.clone(),
                signature: receipt.signature,
            };
            let mut wrong = k.body.clone();
            wrong.proof[0] ^= 1;
            w.acquits(&Evidence::ReceiptForInvalid {
                receipt,
                header: spoilt,
                body: Bytes(wrong.to_bytes()),
            });
            for second in &c.contributions {
                w.acquits(&Evidence::ClientEquivocation {
                    first: header.clone(),
                    second: second.header.clone(),
                    other_params: vec![],
                });
            }
        }
        let headers = c.headers();
        for unmask in &c.unmasks {
            w.acquits(&Evidence::BadUnmask {
                unmask: unmask.clone(),
                headers: headers.clone(),
            });
            // Headers that are not the ones under the signed root show nothing.
            w.acquits(&Evidence::BadUnmask {
                unmask: unmask.clone(),
                headers: headers[1..].to_vec(),
            });
        }
        for j in 1..=MEMBERS {
            for k in &c.contributions {
                let leaf = share_leaf(&k.body, MemberIndex(j)).unwrap();
                let share = open_share(
                    &w.ctx,
                    &k.header.content,
                    MemberIndex(j),
                    w.share_key(j),
                    &leaf,
                )
                .unwrap();
                let content = RevealContent {
                    params_digest: w.digest(),
                    root: c.root,
                    member: MemberIndex(j),
                    header_digest: k.header.content.digest(),
                    share: *share.expose(),
                };
                let reveal = Signed::sign(content, w.member_key(j));
                for header in &headers {
                    w.acquits(&Evidence::BadReveal {
                        reveal: reveal.clone(),
                        header: header.clone(),
                    });
                }
            }
            // One endorsement may be signed again with other complaints.
            let statements = [
                endorse(w, &c, j, |_| ()),
                endorse(w, &c, j, |e| e.complaints = Digest([1; 32])),
                unmask(w, &c, j, |_| ()),
                signed_final(w, &c, j, |_| ()),
            ];
            for first in &statements {
                for second in &statements {
                    let (first, second) = (first.clone(), second.clone());
                    for other_params in
                        [vec![], vec![other_params(w)], vec![w.ctx.params().clone()]]
                    {
                        let (first, second) = (first.clone(), second.clone());
                        w.acquits(&Evidence::MemberEquivocation {
                            first,
                            second,
                            other_params,
                        });
                    }
                }
            }
        }
        for first in server_says(w, &c) {
            for second in server_says(w, &c) {
                for other_params in [
                    vec![],
                    vec![other_params(w)],
                    vec![w.ctx.params().clone(); 2],
                ] {
                    let (first, second) = (first.clone(), second.clone());
                    w.acquits(&Evidence::ServerEquivocation {
                        first,
                        second,
                        other_params,
                    });
                }
            }
        }
        w.acquits(&Evidence::WrongSecret {
            result: c.result.signed.clone(),
            headers: headers.clone(),
        });
        w.acquits(&Evidence::WrongVector {
            result: c.result.clone(),
            headers: headers.clone(),
            rows: rows(&c),
        });
        for signed in &c.row_lists {
            for slice in 0..MEMBERS + 1 {
                w.acquits(&Evidence::WrongRowSum {
                    signed: signed.clone(),
                    slice,
                    convicted: c.convicted.clone(),
                    headers: headers.clone(),
                    leaves: leaves(w, &c, slice),
                });
            }
        }
    }
}

#[test]
fn a_wrong_sum_or_share_convicts_the_member() {
    let (w, c) = (world(), closed());
    let headers = c.headers();
    for wrong in [
        resign(&c.unmasks[2], w.member_key(3), |u| u.sum += Scalar::ONE),
        // The sum over another set than the one that is signed with it.
        resign(&c.unmasks[2], w.member_key(3), |u| {
            u.convicted = vec![w.client(0)]
        }),
        resign(&c.unmasks[1], w.member_key(3), |u| {
            u.member = MemberIndex(3)
        }),
    ] {
        let evidence = Evidence::BadUnmask {
            unmask: wrong.clone(),
            headers: headers.clone(),
        };
        w.convicts(
            &evidence,
            EvidenceKind::BadUnmask,
            w.member_culprit(3),
            Check::UnmaskSum,
        );
        let forged = Signed {
            content: wrong.content,
            signature: c.unmasks[2].signature,
        };
        w.acquits(&Evidence::BadUnmask {
            unmask: forged,
            headers: headers.clone(),
        });
    }
    let reveal = RevealContent {
        params_digest: w.digest(),
        root: c.root,
        member: MemberIndex(2),
        header_digest: headers[0].content.digest(),
        share: Scalar::ONE,
    };
    let signed = Signed::sign(reveal.clone(), w.member_key(2));
    let evidence = Evidence::BadReveal {
        reveal: signed.clone(),
        header: headers[0].clone(),
    };
    w.convicts(
        &evidence,
        EvidenceKind::BadUnmask,
        w.member_culprit(2),
        Check::RevealShare,
    );
    w.acquits(&Evidence::BadReveal {
        reveal: signed,
        header: headers[1].clone(),
    });
    let forged = Signed::sign(reveal, w.member_key(1));
    w.acquits(&Evidence::BadReveal {
        reveal: forged,
        header: headers[0].clone(),
    });
}

#[test]
fn two_headers_convict_the_client() {
    let w = world();
    let second = forge(w, 1, &Cheat::default()).header;
    let first = w.header(1).clone();
    let pair = |first: &Header, second: &Header, other_params| Evidence::ClientEquivocation {
        first: first.clone(),
        second: second.clone(),
        other_params,
    };
    let culprit = Culprit::Client(w.client(1));
    let (kind, check) = (
        EvidenceKind::ClientEquivocation,
        Check::ContributionDuplicate,
    );
    w.convicts(&pair(&first, &second, vec![]), kind, culprit, check);
    // Ed25519 signatures are not unique: the same content signed twice is one statement.
    let mut again = first.clone();
    again.signature.0[0] ^= 1;
    w.acquits(&pair(&first, &again, vec![]));
    let mut unsigned = second.clone();
    unsigned.signature.0[0] ^= 1;
    w.acquits(&pair(&first, &unsigned, vec![]));
    // Other parameters of the same round id and server, and of another round id.
    let other = other_params(w);
    let moved = w.sign_header(HeaderContent {
        params_digest: params_digest(&other),
        ..first.content.clone()
    });
    w.convicts(
        &pair(&first, &moved, vec![other.clone()]),
        kind,
        culprit,
        check,
    );
    w.acquits(&pair(&first, &moved, vec![]));
    let mut later = other;
    later.round_id += 1;
    let next = w.sign_header(HeaderContent {
        params_digest: params_digest(&later),
        ..first.content.clone()
    });
    w.acquits(&pair(&first, &next, vec![later.clone()]));
    let mut elsewhere = other_params(w);
    elsewhere.server_key = w.registrar.verifying_key().to_bytes();
    let away = w.sign_header(HeaderContent {
        params_digest: params_digest(&elsewhere),
        ..first.content.clone()
    });
    w.acquits(&pair(&first, &away, vec![elsewhere]));
}

#[test]
fn statements_that_exclude_each_other_convict_the_member() {
    let (w, c) = (world(), closed());
    let root = Digest([8; 32]);
    let other = other_params(w);
    let moved = params_digest(&other);
    let (endorsed, unmasked, fixed) = (
        endorse(w, c, 2, |_| ()),
        unmask(w, c, 2, |_| ()),
        signed_final(w, c, 2, |_| ()),
    );
    let pairs = [
        (
            endorsed.clone(),
            endorse(w, c, 2, |e| e.root = root),
            Check::EndorseEquivocation,
        ),
        (
            endorsed.clone(),
            unmask(w, c, 2, |u| u.root = root),
            Check::UnmaskEquivocation,
        ),
        (
            unmasked.clone(),
            endorse(w, c, 2, |e| e.root = root),
            Check::EndorseEquivocation,
        ),
        (
            unmasked.clone(),
            unmask(w, c, 2, |u| u.convicted = vec![w.client(0)]),
            Check::UnmaskEquivocation,
        ),
        (
            unmasked.clone(),
            unmask(w, c, 2, |u| u.sum += Scalar::ONE),
            Check::UnmaskEquivocation,
        ),
        (
            fixed.clone(),
            signed_final(w, c, 2, |f| f.convicted = vec![w.client(0)]),
            Check::FinalEquivocation,
        ),
        (
            fixed.clone(),
            signed_final(w, c, 2, |f| f.root = root),
            Check::FinalEquivocation,
        ),
        (
            fixed.clone(),
            signed_final(w, c, 2, |f| f.count = 4),
            Check::FinalEquivocation,
        ),
        (
            fixed.clone(),
            signed_final(w, c, 2, |f| f.sum_f0 = point(1)),
            Check::FinalEquivocation,
        ),
    ];
    let kind = EvidenceKind::MemberEquivocation;
    for (first, second, check) in pairs {
        let evidence = Evidence::MemberEquivocation {
            first: first.clone(),
            second,
            other_params: vec![],
        };
        w.convicts(&evidence, kind, w.member_culprit(2), check);
    }
    for (second, check) in [
        (
            endorse(w, c, 2, |e| e.params_digest = moved),
            Check::EndorseEquivocation,
        ),
        (
            unmask(w, c, 2, |u| u.params_digest = moved),
            Check::UnmaskEquivocation,
        ),
        (
            signed_final(w, c, 2, |f| f.params_digest = moved),
            Check::FinalEquivocation,
        ),
    ] {
        let evidence = Evidence::MemberEquivocation {
            first: endorsed.clone(),
            second,
            other_params: vec![other.clone()],
        };
        w.convicts(&evidence, kind, w.member_culprit(2), check);
    }
    // Another member's statement, an unsigned one, and a Final for a certified root beside another endorsement.
    let innocent = [
        endorse(w, c, 3, |e| e.root = root),
        MemberStatement::Endorse {
            signed: resign(&c.endorsements[1], w.member_key(1), |e| e.root = root),
        },
        signed_final(w, c, 2, |f| f.root = root),
    ];
    for second in innocent {
        w.acquits(&Evidence::MemberEquivocation {
            first: endorsed.clone(),
            second,
            other_params: vec![],
        });
    }
}

#[test]
fn statements_that_exclude_each_other_convict_the_server() {
    let (w, c) = (world(), closed());
    let params_digest = w.digest();
    let said = server_says(w, c);
    let [announced, proposed, fixed, result] = &said[..] else {
        panic!("four statements")
    };
    let other = other_params(w);
    let moved = veilsum_wire::params_digest(&other);
    let announce = |round_id, params_digest| ServerStatement::Announcement {
        signed: Signed::sign(
            AnnouncementContent {
                round_id,
                params_digest,
            },
            &w.server,
        ),
    };
    let void = ServerStatement::Void {
        signed: Signed::sign(VoidContent { params_digest }, &w.server),
    };
    let propose = |params_digest, root| ServerStatement::Proposal {
        signed: Signed::sign(
            ProposalContent {
                params_digest,
                root,
            },
            &w.server,
        ),
    };
    let fix = |root, convicted| ServerStatement::Convicted {
        signed: Signed::sign(
            ConvictedContent {
                params_digest,
                root,
                convicted,
            },
            &w.server,
        ),
    };
    let wrong = sign_result(w, c.root, vec![], c.r_sum, vec![0; 150]);
    let root = Digest([8; 32]);
    let cases = [
        (announced, announce(9, moved), Check::AnnouncementOther),
        // Whoever accuses may have seen either of the two first.
        (
            &announce(9, moved),
            announced.clone(),
            Check::AnnouncementOther,
        ),
        (
            &announce(9, moved),
            announced.clone(),
            Check::AnnouncementOther,
        ),
        (
            proposed,
            propose(params_digest, root),
            Check::ProposalEquivocation,
        ),
        (
            fixed,
            fix(c.root, vec![w.client(0)]),
            Check::ConvictedEquivocation,
        ),
        (fixed, fix(root, vec![]), Check::ConvictedEquivocation),
        (
            result,
            ServerStatement::Result {
                signed: wrong.signed.clone(),
            },
            Check::ResultEquivocation,
        ),
        (
            fixed,
            propose(params_digest, root),
            Check::ProposalEquivocation,
        ),
        (
            result,
            propose(params_digest, root),
            Check::ProposalEquivocation,
        ),
        (proposed, fix(root, vec![]), Check::ProposalEquivocation),
        (result, fix(root, vec![]), Check::ConvictedEquivocation),
        (
            result,
            fix(c.root, vec![w.client(0)]),
            Check::ConvictedEquivocation,
        ),
        (fixed, void.clone(), Check::VoidEquivocation),
        (result, void.clone(), Check::VoidEquivocation),
        (&void, result.clone(), Check::VoidEquivocation),
    ];
    let kind = EvidenceKind::ServerEquivocation;
    for (first, second, check) in cases {
        let evidence = Evidence::ServerEquivocation {
            first: first.clone(),
            second: second.clone(),
            other_params: vec![],
        };
        w.convicts(&evidence, kind, Culprit::Server, check);
    }
    let under_other = Evidence::ServerEquivocation {
        first: proposed.clone(),
        second: propose(moved, c.root),
        other_params: vec![other],
    };
    w.convicts(
        &under_other,
        kind,
        Culprit::Server,
        Check::AnnouncementOther,
    );
    let forged = Signed {
        content: wrong.signed.content.clone(),
        signature: c.result.signed.signature,
    };
    let innocent = [
        (announced, announce(10, moved)),
        (proposed, void.clone()),
        (proposed, fixed.clone()),
        (fixed, result.clone()),
        (result, proposed.clone()),
        (proposed, propose(moved, root)),
        (result, ServerStatement::Result { signed: forged }),
        (&void, void.clone()),
    ];
    for (first, second) in innocent {
        for (first, second) in [(first, &second), (&second, first)] {
            w.acquits(&Evidence::ServerEquivocation {
                first: first.clone(),
                second: second.clone(),
                other_params: vec![],
            });
        }
    }
}

#[test]
fn receipts_convict_beside_the_servers_own_proposal_only() {
    let w = world();
    let four = close(w, w.contributions[1..].to_vec(), vec![]);
    let (receipt, proposal) = (receipt(w, 0), four.proposal.clone());
    let pair =
        |receipt: &Signed<ReceiptContent>, proposal: &Proposal| Evidence::ReceiptWithoutInclusion {
            receipt: receipt.clone(),
            proposal: proposal.clone(),
        };
    let kind = EvidenceKind::ReceiptWithoutInclusion;
    w.convicts(
        &pair(&receipt, &proposal),
        kind,
        Culprit::Server,
        Check::ReceiptInclusion,
    );
    let member = Signed::sign(proposal.signed.content.clone(), w.member_key(1));
    w.acquits(&pair(
        &receipt,
        &Proposal {
            signed: member,
            entries: proposal.entries.clone(),
        },
    ));
    w.acquits(&pair(
        &Signed::sign(receipt.content.clone(), w.member_key(1)),
        &proposal,
    ));
    // Entries that are not the signed ones, and a receipt of another round.
    w.acquits(&pair(
        &receipt,
        &Proposal {
            entries: proposal.entries[1..].to_vec(),
            ..proposal.clone()
        },
    ));
    let elsewhere = resign(&receipt, &w.server, |r| r.params_digest = Digest([1; 32]));
    w.acquits(&pair(&elsewhere, &proposal));
}

#[test]
fn a_receipt_for_an_invalid_contribution_convicts_the_server() {
    let w = world();
    let give = |header: &Header| {
        let header_digest = header.content.digest();
        let content = ReceiptContent {
            params_digest: w.digest(),
            client: header.content.client,
            header_digest,
        };
        Signed::sign(content, &w.server)
    };
    let bad = forge(
        w,
        0,
        &Cheat {
            body: Some(&|b: &mut Body| b.proof.fill(0)),
            ..Cheat::default()
        },
    );
    let case = |header: &Header, body: &Body| Evidence::ReceiptForInvalid {
        receipt: give(header),
        header: header.clone(),
        body: Bytes(body.to_bytes()),
    };
    let kind = EvidenceKind::ReceiptForInvalid;
    let check = w.verify(&bad.header, &bad.body).unwrap_err();
    w.convicts(&case(&bad.header, &bad.body), kind, Culprit::Server, check);
    let dealt = |h: &mut HeaderContent| h.commitments[1] = point(1);
    let header = forge(
        w,
        0,
        &Cheat {
            header: Some(&dealt),
            ..Cheat::default()
        },
    )
    .header;
    let evidence = Evidence::ReceiptForInvalid {
        receipt: give(&header),
        header,
        body: Bytes(vec![]),
    };
    w.convicts(&evidence, kind, Culprit::Server, Check::HeaderKnowledge);
    let Evidence::ReceiptForInvalid {
        receipt,
        header,
        body,
    } = case(&bad.header, &bad.body)
    else {
        unreachable!()
    };
    let forged = Signed::sign(receipt.content.clone(), w.member_key(1));
    w.acquits(&Evidence::ReceiptForInvalid {
        receipt: forged,
        header: header.clone(),
        body: body.clone(),
    });
    w.acquits(&Evidence::ReceiptForInvalid {
        receipt,
        header: w.header(0).clone(),
        body,
    });
}

#[test]
fn a_wrong_result_convicts_the_server() {
    let (w, c) = (world(), closed());
    let headers = c.headers();
    let kind = EvidenceKind::WrongResult;
    let secret = sign_result(
        w,
        c.root,
        vec![],
        c.r_sum + Scalar::ONE,
        c.result.vector.clone(),
    );
    let evidence = Evidence::WrongSecret {
        result: secret.signed.clone(),
        headers: headers.clone(),
    };
    w.convicts(&evidence, kind, Culprit::Server, Check::SumCommitment);
    w.acquits(&Evidence::WrongSecret {
        result: secret.signed.clone(),
        headers: headers[1..].to_vec(),
    });
    let with = |result: &RoundResult, rows: Vec<Vec<[u8; 32]>>| Evidence::WrongVector {
        result: result.clone(),
        headers: headers.clone(),
        rows,
    };
    for at in [0, 63, 64, 149] {
        let mut vector = c.result.vector.clone();
        vector[at] += 1;
        let wrong = sign_result(w, c.root, vec![], c.r_sum, vector);
        w.convicts(
            &with(&wrong, rows(c)),
            kind,
            Culprit::Server,
            Check::LightSum,
        );
        // Rows that are not those of the headers, or not of all of U, show nothing.
        let mut moved = rows(c);
        moved.swap(0, 1);
        w.acquits(&with(&wrong, moved));
        w.acquits(&with(&wrong, rows(c)[1..].to_vec()));
        let mut unsigned = wrong.clone();
        unsigned.signed.signature.0[0] ^= 1;
        w.acquits(&with(&unsigned, rows(c)));
    }
    let short = sign_result(w, c.root, vec![], c.r_sum, vec![0; 149]);
    w.convicts(
        &with(&short, rows(c)),
        kind,
        Culprit::Server,
        Check::ResultContent,
    );
    let mut unbound = c.result.clone();
    unbound.vector[0] += 1;
    w.acquits(&with(&unbound, rows(c)));
}

#[test]
fn a_wrong_row_sum_convicts_the_member_against_the_opened_rows() {
    let w = world();
    let c = close(w, w.contributions.clone(), vec![w.client(3)]);
    let slice = c.rows[1].slice;
    let sign = |digest: Digest| {
        row_list(
            w,
            c.root,
            &c.convicted,
            MemberIndex(4),
            vec![(slice, digest)],
        )
    };
    let case = |signed: &Signed<RowsContent>, leaves: Vec<RowLeaf>| Evidence::WrongRowSum {
        signed: signed.clone(),
        slice,
        convicted: c.convicted.clone(),
        headers: c.headers(),
        leaves,
    };
    let wrong = sign(Digest([1; 32]));
    let kind = EvidenceKind::WrongRowSum;
    w.convicts(
        &case(&wrong, leaves(w, &c, slice)),
        kind,
        w.member_culprit(4),
        Check::RowsValue,
    );
    w.acquits(&case(
        &sign(row_values_digest(&c.rows[1].values)),
        leaves(w, &c, slice),
    ));
    let mut changed = leaves(w, &c, slice);
    changed[0].rows[0] = *point(1).as_bytes();
    w.acquits(&case(&wrong, changed));
    w.acquits(&case(&wrong, leaves(w, &c, slice)[1..].to_vec()));
    w.acquits(&case(&wrong, leaves(w, &c, c.rows[0].slice)));
    // A right sum for one list is no wrong sum for another.
    let all = close(w, w.contributions.clone(), vec![]);
    let evidence = Evidence::WrongRowSum {
        signed: sign(row_values_digest(&c.rows[1].values)),
        slice,
        convicted: vec![],
        headers: all.headers(),
        leaves: leaves(w, &all, slice),
    };
    w.acquits(&evidence);
}

#[test]
fn evidence_stands_without_the_callers_tables() {
    let w = world();
    let bad = forge(
        w,
        0,
        &Cheat {
            body: Some(&|b: &mut Body| b.proof.fill(0)),
            ..Cheat::default()
        },
    );
    let evidence = Evidence::of_contribution(&bad.header, Some(&bad.body));
    assert_eq!(
        judge(&w.ctx, &evidence),
        judge_with(&w.ctx, Some(&w.round), &evidence)
    );
    assert!(judge(&w.ctx, &evidence).is_ok());
}

#[test]
fn every_check_that_names_evidence_says_whom_it_speaks_against() {
    for check in Check::ALL {
        let info = check.info();
        assert!(
            info.evidence.is_none() || info.blame != Blame::Nobody,
            "{}",
            info.id
        );
    }
    let ids: std::collections::BTreeSet<_> = Check::ALL.iter().map(|c| c.id()).collect();
    assert_eq!(ids.len(), Check::ALL.len());
}

#[test]
fn statements_of_others_evidence_signature_and_equal_ones_evidence_content() {
    let w = world();
    let first = w.header(1).clone();
    let mut unsigned = forge(w, 1, &Cheat::default()).header;
    unsigned.signature.0[0] ^= 1;
    let judged = |second: &Header| {
        w.judge(&Evidence::ClientEquivocation {
            first: first.clone(),
            second: second.clone(),
            other_params: vec![],
        })
    };
    let refused = |check: Check| Err(JudgeError::Refused(check.into()));
    assert_eq!(judged(&unsigned), refused(Check::EvidenceSignature));
    assert_eq!(judged(&first), refused(Check::EvidenceContent));
    // A wrong sum that the member did not sign.
    let c = closed();
    let mut unsigned = c.unmasks[0].clone();
    unsigned.content.sum += Scalar::ONE;
    let evidence = Evidence::BadUnmask {
        unmask: unsigned,
        headers: c.headers(),
    };
    assert_eq!(w.judge(&evidence), refused(Check::EvidenceSignature));
}
