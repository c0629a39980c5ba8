//! What the server sends to a member.

use crate::common::M;
use crate::table::{Case, Signing, Table, case, plain};
use crate::transcript::Transcript;
use veilsum_crypto::Digest;
use veilsum_params::ClientId;
use veilsum_protocol::{Culprit, Message, Party};
use veilsum_wire::{
    Certificate, ComplaintListContent, Content, Convicted, ConvictedContent, MemberPackage,
    Proposal, ProposalContent, RevealRequest, RowLeaf, RowsRequest, ShareLeaf, Signed,
    UnmaskRequest, VoidContent, proposal_root,
};

const NOTHING: Digest = Digest([0; 32]);
const MEMBER: Party = Party::Member(veilsum_params::MemberIndex(1));
const SERVER: (Party, Culprit) = (Party::Server, Culprit::Server);

type T = &'static Transcript;

pub(crate) fn tables(t: T) -> Vec<Table> {
    let mut all = package(t);
    all.extend(unmask_request(t));
    all.push(reveal_request(t));
    all.extend(convicted(t));
    all.extend(rows_request(t));
    all.push(void(t));
    all
}

/// A statement of the server to member 1, who has so many records.
fn stated<C: Content + Clone + PartialEq + std::fmt::Debug + 'static>(
    t: T,
    (message, signature): (&'static str, &'static str),
    good: Signed<C>,
    records: usize,
    wrap: impl Fn(Signed<C>) -> Message + Clone + 'static,
    cases: Vec<Case<C>>,
) -> Table {
    let as_sent = wrap.clone();
    Signing {
        message,
        signature,
        good,
        key: t.world().server.clone(),
        sender: SERVER,
        wrap: Box::new(move |signed| Some(as_sent(signed))),
        deliver: Box::new(move |signed| t.member_takes(1, records, wrap(signed))),
        strict: true,
        cases,
    }
    .table()
}

/// A message to member 1 that is not signed as a whole.
fn sent<C: Clone + PartialEq + std::fmt::Debug + 'static>(
    t: T,
    message: &'static str,
    good: C,
    records: usize,
    wrap: impl Fn(C) -> Message + 'static,
    cases: Vec<Case<C>>,
) -> Table {
    let deliver = move |changed| t.member_takes(1, records, wrap(changed));
    plain(message, good, deliver, cases)
}

fn package(t: T) -> Vec<Table> {
    let (step, good) = t.first(MEMBER, |m| match m {
        Message::Package(p) => Some(p.clone()),
        _ => None,
    });
    let (before, after) = (step.before, step.after);
    let with = {
        let good = good.clone();
        move |proposal| {
            Message::Package(MemberPackage {
                proposal,
                ..good.clone()
            })
        }
    };
    let signed = {
        let (good, with) = (good.proposal.clone(), with.clone());
        move |signed| {
            with(Proposal {
                signed,
                ..good.clone()
            })
        }
    };
    let leaf = {
        let good = good.clone();
        move |leaf| {
            let mut package = good.clone();
            package.shares[0] = leaf;
            Message::Package(package)
        }
    };
    let content = ("ProposalContent", "proposal.signature");
    let round = || {
        case(
            "params_digest",
            "proposal.round",
            |c: &mut ProposalContent| c.params_digest = NOTHING,
        )
    };
    let root = |id| case("root", id, |c: &mut ProposalContent| c.root = NOTHING);
    let resigned = |entries: Vec<(ClientId, Digest)>| {
        let content = ProposalContent {
            params_digest: t.world().digest(),
            root: proposal_root(&entries),
        };
        Proposal {
            signed: Signed::sign(content, &t.world().server),
            entries,
        }
    };
    vec![
        stated(
            t,
            content,
            good.proposal.signed.clone(),
            before,
            signed.clone(),
            vec![round(), root("proposal.root")],
        ),
        // Once it is bound to a root, another one convicts the server.
        stated(
            t,
            content,
            good.proposal.signed.clone(),
            after,
            signed,
            vec![round(), root("proposal.equivocation").convicts()],
        ),
        sent(
            t,
            "Proposal",
            good.proposal.clone(),
            before,
            with,
            vec![
                case("signed", "proposal.signature", |p: &mut Proposal| {
                    p.signed.signature.0[0] ^= 1
                }),
                case("entries", "proposal.root", |p: &mut Proposal| {
                    p.entries.pop();
                }),
                case("entries", "proposal.headers", move |p: &mut Proposal| {
                    p.entries.pop();
                    *p = resigned(p.entries.clone());
                }),
                case("entries", "proposal.headers", move |p: &mut Proposal| {
                    p.entries[0].1 = NOTHING;
                    *p = resigned(p.entries.clone());
                }),
                case("entries", "proposal.order", move |p: &mut Proposal| {
                    p.entries.swap(0, 1);
                    *p = resigned(p.entries.clone());
                }),
                case("entries", "proposal.cohort", move |p: &mut Proposal| {
                    p.entries[0].0 = ClientId(9);
                    *p = resigned(p.entries.clone());
                }),
                case("entries", "proposal.count", move |p: &mut Proposal| {
                    p.entries.truncate(4);
                    *p = resigned(p.entries.clone());
                }),
            ],
        ),
        sent(
            t,
            "MemberPackage",
            good.clone(),
            before,
            Message::Package,
            vec![
                case("proposal", "proposal.root", |p: &mut MemberPackage| {
                    p.proposal.entries.swap(0, 1);
                    p.proposal.entries.swap(0, 2);
                    p.proposal.entries.sort_by_key(|e| e.0);
                    p.proposal.entries[0].1 = NOTHING;
                }),
                case("headers", "proposal.headers", |p: &mut MemberPackage| {
                    p.headers.swap(0, 1)
                }),
                case("headers", "header.signature", |p: &mut MemberPackage| {
                    p.headers[0].signature.0[0] ^= 1
                }),
                case("shares", "share.count", |p: &mut MemberPackage| {
                    p.shares.pop();
                }),
                case("shares", "share.path", |p: &mut MemberPackage| {
                    p.shares.swap(0, 1)
                }),
            ],
        ),
        sent(
            t,
            "ShareLeaf",
            good.shares[0].clone(),
            before,
            leaf,
            vec![
                case("ciphertext", "share.path", |l: &mut ShareLeaf| {
                    l.ciphertext[47] ^= 1
                }),
                case("path", "share.path", |l: &mut ShareLeaf| l.path.reverse()),
            ],
        ),
    ]
}

fn unmask_request(t: T) -> Vec<Table> {
    let (step, good) = t.first(MEMBER, |m| match m {
        Message::UnmaskRequest(r) => Some(r.clone()),
        _ => None,
    });
    let (before, victim) = (step.before, t.victim);
    let groundless = t.hands.complaint(&t.proposal, t.victim, M(3)).unwrap();
    let signed = {
        let good = good.clone();
        move |list| {
            Message::UnmaskRequest(UnmaskRequest {
                list,
                ..good.clone()
            })
        }
    };
    let certificate = {
        let good = good.clone();
        move |certificate| {
            Message::UnmaskRequest(UnmaskRequest {
                certificate,
                ..good.clone()
            })
        }
    };
    let foreign = {
        let mut content = good.certificate.endorsements[0].content.clone();
        content.root = NOTHING;
        let (_, key, _) = t.world().member_keys(content.member).unwrap();
        Signed::sign(content, key)
    };
    vec![
        stated(
            t,
            ("ComplaintListContent", "list.signature"),
            good.list.clone(),
            before,
            signed,
            vec![
                case(
                    "params_digest",
                    "list.content",
                    |c: &mut ComplaintListContent| c.params_digest = NOTHING,
                ),
                case("root", "member.one-root", |c: &mut ComplaintListContent| {
                    c.root = NOTHING
                }),
                case(
                    "convicted",
                    "list.content",
                    move |c: &mut ComplaintListContent| c.convicted = vec![victim; 2],
                ),
                case(
                    "convicted",
                    "list.complaints",
                    move |c: &mut ComplaintListContent| c.convicted = vec![victim],
                ),
            ],
        ),
        sent(
            t,
            "UnmaskRequest",
            good.clone(),
            before,
            Message::UnmaskRequest,
            vec![
                case(
                    "certificate",
                    "certificate.members",
                    |r: &mut UnmaskRequest| {
                        r.certificate.endorsements.pop();
                    },
                ),
                case("list", "list.signature", |r: &mut UnmaskRequest| {
                    r.list.signature.0[0] ^= 1
                }),
                case(
                    "complaints",
                    "list.complaints",
                    move |r: &mut UnmaskRequest| r.complaints.push(groundless.clone()),
                ),
            ],
        ),
        sent(
            t,
            "Certificate",
            good.certificate.clone(),
            before,
            certificate,
            vec![
                case(
                    "endorsements",
                    "certificate.members",
                    |c: &mut Certificate| c.endorsements.swap(0, 1),
                ),
                case(
                    "endorsements",
                    "certificate.signature",
                    |c: &mut Certificate| c.endorsements[0].signature.0[0] ^= 1,
                ),
                case(
                    "endorsements",
                    "certificate.root",
                    move |c: &mut Certificate| c.endorsements[0] = foreign.clone(),
                ),
            ],
        ),
    ]
}

fn reveal_request(t: T) -> Table {
    let (step, good) = t.first(MEMBER, |m| match m {
        Message::RevealRequest(r) => Some(r.clone()),
        _ => None,
    });
    let groundless = t.hands.complaint(&t.proposal, t.victim, M(3)).unwrap();
    sent(
        t,
        "RevealRequest",
        good,
        step.before,
        Message::RevealRequest,
        vec![
            case("root", "member.one-root", |r: &mut RevealRequest| {
                r.root = NOTHING
            }),
            case(
                "complaints",
                "list.complaints",
                move |r: &mut RevealRequest| r.complaints.push(groundless.clone()),
            ),
            case("complaints", "list.complaints", |r: &mut RevealRequest| {
                r.complaints[0].signature.0[0] ^= 1
            }),
        ],
    )
}

fn convicted(t: T) -> Vec<Table> {
    let (step, good) = t.first(MEMBER, |m| match m {
        Message::Convicted(c) => Some(c.clone()),
        _ => None,
    });
    let (before, after) = (step.before, step.after);
    let (victim, dealer) = (t.victim, t.dealer);
    assert_eq!(good.signed.content.convicted, [dealer]);
    let wrap = {
        let good = good.clone();
        move |signed| {
            Message::Convicted(Convicted {
                signed,
                ..good.clone()
            })
        }
    };
    let name = ("ConvictedContent", "convicted.signature");
    let about = |field, id, change: fn(&mut ConvictedContent, ClientId)| {
        case(field, id, move |c: &mut ConvictedContent| change(c, victim))
    };
    let round = || {
        about("params_digest", "convicted.order", |c, _| {
            c.params_digest = NOTHING
        })
    };
    vec![
        stated(
            t,
            name,
            good.signed.clone(),
            before,
            wrap.clone(),
            vec![
                round(),
                about("root", "proposal.equivocation", |c, _| c.root = NOTHING).convicts(),
                about("convicted", "convicted.order", |c, _| {
                    c.convicted.push(c.convicted[0])
                }),
                about("convicted", "convicted.in-set", |c, _| {
                    c.convicted = vec![ClientId(9)]
                }),
                about("convicted", "convicted.complaints", |c, victim| {
                    c.convicted = vec![victim]
                }),
                about("convicted", "convicted.complaints", |c, _| {
                    c.convicted.clear()
                }),
            ],
        ),
        // Beside the one that it signed its Final for.
        stated(
            t,
            name,
            good.signed.clone(),
            after,
            wrap,
            vec![
                round(),
                about("root", "convicted.equivocation", |c, _| c.root = NOTHING).convicts(),
                about("convicted", "convicted.equivocation", |c, victim| {
                    c.convicted = vec![victim]
                })
                .convicts(),
            ],
        ),
        sent(
            t,
            "Convicted",
            good,
            before,
            Message::Convicted,
            vec![
                case("signed", "convicted.signature", |c: &mut Convicted| {
                    c.signed.signature.0[0] ^= 1
                }),
                case("certificate", "certificate.members", |c: &mut Convicted| {
                    c.certificate.endorsements.pop();
                }),
                case("complaints", "convicted.complaints", |c: &mut Convicted| {
                    c.complaints.clear()
                }),
            ],
        ),
    ]
}

fn rows_request(t: T) -> Vec<Table> {
    let (step, good) = t.first(MEMBER, |m| match m {
        Message::RowsRequest(r) => Some(r.clone()),
        _ => None,
    });
    let before = step.before;
    let leaf = {
        let good = good.clone();
        move |leaf| {
            let mut request = good.clone();
            request.leaves[0] = leaf;
            Message::RowsRequest(request)
        }
    };
    vec![
        sent(
            t,
            "RowsRequest",
            good.clone(),
            before,
            Message::RowsRequest,
            vec![
                case("root", "member.one-root", |r: &mut RowsRequest| {
                    r.root = NOTHING
                }),
                case("slice", "rows.path", |r: &mut RowsRequest| r.slice ^= 1),
                case("leaves", "rows.path", |r: &mut RowsRequest| {
                    r.leaves.pop();
                }),
                case("leaves", "rows.path", |r: &mut RowsRequest| {
                    r.leaves.swap(0, 1)
                }),
            ],
        ),
        sent(
            t,
            "RowLeaf",
            good.leaves[0].clone(),
            before,
            leaf,
            vec![
                case("rows", "rows.path", |l: &mut RowLeaf| l.rows[0][0] ^= 1),
                case("path", "rows.path", |l: &mut RowLeaf| l.path[0] = NOTHING),
            ],
        ),
    ]
}

fn void(t: T) -> Table {
    let (step, ()) = t.first(MEMBER, |m| matches!(m, Message::Package(_)).then_some(()));
    let content = VoidContent {
        params_digest: t.world().digest(),
    };
    stated(
        t,
        ("VoidContent", "void.signature"),
        Signed::sign(content, &t.world().server),
        step.before,
        Message::Void,
        vec![case(
            "params_digest",
            "void.round",
            |c: &mut VoidContent| c.params_digest = NOTHING,
        )],
    )
}
