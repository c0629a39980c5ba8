//! What clients and members send to the server.

use crate::common::{Got, M};
use crate::table::{Signing, Table, case, judged, plain};
use crate::transcript::{Step, Transcript, transcript};
use curve25519_dalek::scalar::Scalar;
use veilsum_crypto::{CanonicalPoint, Digest, IdentityKey};
use veilsum_params::ClientId;
use veilsum_protocol::{
    Admission, Bytes, Check, Culprit, Input, Message, Party, Upload, check_request, sign_request,
    verify_contribution,
};
use veilsum_wire::{
    ComplaintContent, Content, Endorse, EndorseContent, FinalContent, HeaderContent,
    RequestContent, RevealContent, RowValues, Rows, RowsContent, Signed, Unmask, UnmaskContent,
    complaints_digest, row_values_digest,
};

const NOTHING: Digest = Digest([0; 32]);

type T = &'static Transcript;

pub(crate) fn tables(t: T) -> Vec<Table> {
    let mut all = vec![header(t), complaint(t), request(t)];
    all.extend(endorse(t));
    all.extend(unmask(t));
    all.push(reveal(t));
    all.extend(finals(t));
    all.extend(rows(t));
    all
}

/// What member 1 says, with all that it takes to say it otherwise.
struct Said<C: Content> {
    good: Signed<C>,
    key: IdentityKey,
    sender: (Party, Culprit),
    before: usize,
    after: usize,
}

fn said<C: Content>(t: T, (step, good): (&Step, Signed<C>)) -> Said<C> {
    Said {
        good,
        key: member_key(t, 1),
        sender: (Party::Member(M(1)), t.member_culprit(1)),
        before: step.before,
        after: step.after,
    }
}

fn member_key(t: T, member: u16) -> IdentityKey {
    t.world().member_keys(M(member)).unwrap().1.clone()
}

/// A point that has nothing to do with the round.
fn stray(t: T) -> CanonicalPoint {
    t.hands.contributions[&t.victim].header.content.f_z
}

/// Requests stand outside of the messages that a machine takes.
fn request(t: T) -> Table {
    const KIND: u16 = 8;
    type Change = fn(&mut RequestContent);
    const CHANGES: [(&str, Change, Check); 4] = [
        (
            "params_digest",
            |c| c.params_digest = NOTHING,
            Check::RequestSignature,
        ),
        ("client", |c| c.client = ClientId(9), Check::HeaderCohort),
        (
            "client",
            |c| c.client = transcript().dealer,
            Check::RequestSignature,
        ),
        ("kind", |c| c.kind += 1, Check::RequestSignature),
    ];
    Table {
        message: "RequestContent",
        fields: CHANGES.iter().map(|c| c.0).collect(),
        run: Box::new(move || {
            let ctx = &t.world().context;
            let (key, _) = t.world().keys(t.victim).unwrap();
            let good = sign_request(ctx, t.victim, key, KIND);
            assert_eq!(check_request(ctx, KIND, &good), Ok(t.victim));
            for (field, change, check) in CHANGES {
                let mut unsigned = good.clone();
                change(&mut unsigned.content);
                let signed = Signed::sign(unsigned.content.clone(), key);
                for request in [unsigned, signed] {
                    assert_eq!(
                        check_request(ctx, KIND, &request),
                        Err(check.into()),
                        "{field}"
                    );
                }
            }
        }),
    }
}

fn header(t: T) -> Table {
    let contribution = &t.hands.contributions[&t.victim];
    let (identity, _) = t.world().keys(t.victim).unwrap();
    // A client that was not sampled is another one's header before it is anything else.
    let outsider = ClientId(9);
    Signing {
        message: "HeaderContent",
        signature: "header.signature",
        good: contribution.header.clone(),
        key: identity.clone(),
        sender: (Party::Client(t.victim), Culprit::Client(t.victim)),
        wrap: Box::new(|header| {
            let body = Bytes(contribution.body.to_bytes());
            Some(Message::Contribution(Upload { header, body }))
        }),
        deliver: Box::new(|header| {
            let mut bench = t.server_at(1);
            match bench.server.admit(&header) {
                Admission::Refused(outputs) => bench.read(outputs),
                Admission::Known(_) => panic!("nothing was contributed yet"),
                Admission::Verify => {
                    let (world, body) = (t.world(), contribution.body.clone());
                    let bytes = Bytes(body.to_bytes());
                    let refused =
                        verify_contribution(&world.context, &world.round, header.clone(), body);
                    bench.input(Input::Invalid {
                        header,
                        body: bytes,
                        refusal: refused.err().unwrap(),
                    })
                }
            }
        }),
        strict: true,
        cases: vec![
            case("params_digest", "header.params", |c: &mut HeaderContent| {
                c.params_digest = NOTHING
            })
            .early(),
            case("client", "header.cohort", move |c: &mut HeaderContent| {
                c.client = outsider
            })
            .early(),
            case(
                "commitments",
                "header.commitments",
                |c: &mut HeaderContent| {
                    c.commitments.pop();
                },
            )
            .convicts(),
            case("f_z", "proof.E2", |c: &mut HeaderContent| {
                c.f_z = c.commitments[0]
            })
            .convicts(),
            case("ephemeral", "header.knowledge", |c: &mut HeaderContent| {
                c.ephemeral = c.f_z
            })
            .convicts(),
            case("knowledge", "header.knowledge", |c: &mut HeaderContent| {
                c.knowledge.response += Scalar::ONE
            })
            .convicts(),
            case("share_root", "header.knowledge", |c: &mut HeaderContent| {
                c.share_root = NOTHING
            })
            .convicts(),
            case("row_root", "body.row-root", |c: &mut HeaderContent| {
                c.row_root = NOTHING
            }),
            case("other_rows", "body.other-rows", |c: &mut HeaderContent| {
                c.other_rows = NOTHING
            }),
            case(
                "masked_vector",
                "body.masked-vector",
                |c: &mut HeaderContent| c.masked_vector = NOTHING,
            ),
            case(
                "key_ciphertext",
                "body.key-ciphertext",
                |c: &mut HeaderContent| c.key_ciphertext = NOTHING,
            ),
            case("proof", "body.proof", |c: &mut HeaderContent| {
                c.proof = NOTHING
            }),
        ],
    }
    .table()
}

/// Member 2's complaint, sent with an endorsement that it signed again: the endorsement stands, the complaint does not.
fn complaint(t: T) -> Table {
    let (step, endorsed) = t.first(Party::Server, |m| match m {
        Message::Endorse(e) if e.signed.content.member == M(2) => Some(e.clone()),
        _ => None,
    });
    let (before, good, key) = (
        step.before,
        endorsed.complaints[0].clone(),
        member_key(t, 2),
    );
    let point = stray(t);
    let message = move |complaint: Signed<ComplaintContent>| {
        let complaints = vec![complaint];
        let content = EndorseContent {
            complaints: complaints_digest(&complaints),
            ..endorsed.signed.content.clone()
        };
        Message::Endorse(Endorse {
            signed: Signed::sign(content, &member_key(t, 2)),
            complaints,
        })
    };
    let wrap = message.clone();
    Signing {
        message: "ComplaintContent",
        signature: "complaint.signature",
        good,
        key,
        sender: (Party::Member(M(2)), t.member_culprit(2)),
        wrap: Box::new(move |complaint| Some(wrap(complaint))),
        deliver: Box::new(move |complaint| t.server_takes(before, message(complaint))),
        strict: false,
        cases: vec![
            case(
                "params_digest",
                "complaint.applicable",
                |c: &mut ComplaintContent| c.params_digest = NOTHING,
            )
            .early(),
            case(
                "root",
                "complaint.applicable",
                |c: &mut ComplaintContent| c.root = NOTHING,
            )
            .early(),
            case(
                "header_digest",
                "complaint.applicable",
                |c: &mut ComplaintContent| c.header_digest = NOTHING,
            )
            .early(),
            case(
                "member",
                "complaint.signature",
                |c: &mut ComplaintContent| c.member = M(3),
            ),
            case(
                "member",
                "complaint.signature",
                |c: &mut ComplaintContent| c.member = M(0),
            ),
            case("share", "complaint.path", |c: &mut ComplaintContent| {
                c.share.ciphertext[0] ^= 1
            })
            .convicts(),
            case("share", "complaint.path", |c: &mut ComplaintContent| {
                c.share.path.pop();
            })
            .convicts(),
            case(
                "point",
                "complaint.equality",
                move |c: &mut ComplaintContent| c.point = point,
            )
            .convicts(),
            case(
                "equality",
                "complaint.equality",
                |c: &mut ComplaintContent| c.equality.response += Scalar::ONE,
            )
            .convicts(),
        ],
    }
    .table()
}

fn endorse(t: T) -> Vec<Table> {
    let signed = |m: &Message| match m {
        Message::Endorse(e) if e.signed.content.member == M(1) => Some(e.signed.clone()),
        _ => None,
    };
    let message = |signed| {
        Message::Endorse(Endorse {
            signed,
            complaints: Vec::new(),
        })
    };
    let own = || said(t, t.first(Party::Server, signed));
    let first = own();
    let table = move |records, cases| {
        let Said {
            good, key, sender, ..
        } = own();
        Signing {
            message: "EndorseContent",
            signature: "endorse.signature",
            good,
            key,
            sender,
            wrap: Box::new(move |signed| Some(message(signed))),
            deliver: Box::new(move |signed| t.server_takes(records, message(signed))),
            strict: true,
            cases,
        }
        .table()
    };
    let good = Endorse {
        signed: first.good.clone(),
        complaints: Vec::new(),
    };
    let before = first.before;
    let (complaint, key) = (
        t.hands.complaint(&t.proposal, t.victim, M(1)).unwrap(),
        first.key.clone(),
    );
    let other = complaint.clone();
    vec![
        table(
            first.before,
            vec![
                case(
                    "params_digest",
                    "endorse.content",
                    |c: &mut EndorseContent| c.params_digest = NOTHING,
                ),
                case("root", "endorse.content", |c: &mut EndorseContent| {
                    c.root = NOTHING
                }),
                case("member", "endorse.signature", |c: &mut EndorseContent| {
                    c.member = M(2)
                }),
                case("member", "endorse.signature", |c: &mut EndorseContent| {
                    c.member = M(6)
                }),
                case("count", "endorse.content", |c: &mut EndorseContent| {
                    c.count += 1
                }),
                case(
                    "complaints",
                    "endorse.complaints",
                    |c: &mut EndorseContent| c.complaints = NOTHING,
                ),
            ],
        ),
        table(
            first.after,
            vec![
                case("root", "endorse.equivocation", |c: &mut EndorseContent| {
                    c.root = NOTHING
                })
                .convicts(),
                case("count", "endorse.content", |c: &mut EndorseContent| {
                    c.count -= 1
                }),
            ],
        ),
        plain(
            "Endorse",
            good.clone(),
            move |endorse| t.server_takes(before, Message::Endorse(endorse)),
            vec![
                case("signed", "endorse.signature", |e: &mut Endorse| {
                    e.signed.signature.0[0] ^= 1
                }),
                case(
                    "complaints",
                    "endorse.complaints",
                    move |e: &mut Endorse| e.complaints.push(other.clone()),
                ),
            ],
        ),
        Table {
            message: "Endorse",
            fields: vec!["complaints"],
            run: Box::new(move || {
                // Signed again with a complaint about a good share: the endorsement counts, the member is convicted.
                let complaints = vec![complaint.clone()];
                let content = EndorseContent {
                    complaints: complaints_digest(&complaints),
                    ..good.signed.content.clone()
                };
                let signed = Signed::sign(content, &key);
                let message = Message::Endorse(Endorse { signed, complaints });
                let got = t.server_takes(before, message.clone());
                assert_eq!(got.refused, ["complaint.groundless"]);
                assert_eq!(
                    got.convicted,
                    [(t.member_culprit(1), "complaint.groundless")]
                );
                let member = Party::Member(M(1));
                let framed = t.framed(Some((member, message)));
                assert_eq!(framed, [(member, "complaint.groundless")].into());
            }),
        },
    ]
}

fn unmask(t: T) -> Vec<Table> {
    let signed = |m: &Message| match m {
        Message::Unmask(u) if u.signed.content.member == M(1) => Some(u.signed.clone()),
        _ => None,
    };
    let message = |signed| {
        Message::Unmask(Unmask {
            signed,
            complaints: Vec::new(),
        })
    };
    let own = || said(t, t.first(Party::Server, signed));
    let (first, victim) = (own(), t.victim);
    let table = move |records, cases| {
        let Said {
            good, key, sender, ..
        } = own();
        Signing {
            message: "UnmaskContent",
            signature: "unmask.signature",
            good,
            key,
            sender,
            wrap: Box::new(move |signed| Some(message(signed))),
            deliver: Box::new(move |signed| t.server_takes(records, message(signed))),
            strict: true,
            cases,
        }
        .table()
    };
    let before = first.before;
    let complaint = t.hands.complaint(&t.proposal, t.victim, M(1)).unwrap();
    vec![
        table(
            first.before,
            vec![
                case(
                    "params_digest",
                    "unmask.content",
                    |c: &mut UnmaskContent| c.params_digest = NOTHING,
                ),
                case("root", "unmask.content", |c: &mut UnmaskContent| {
                    c.root = NOTHING
                }),
                case("member", "unmask.signature", |c: &mut UnmaskContent| {
                    c.member = M(3)
                }),
                case(
                    "convicted",
                    "unmask.content",
                    move |c: &mut UnmaskContent| c.convicted = vec![victim; 2],
                ),
                case(
                    "convicted",
                    "unmask.convicted",
                    move |c: &mut UnmaskContent| c.convicted = vec![victim],
                ),
                case("sum", "unmask.sum", |c: &mut UnmaskContent| {
                    c.sum += Scalar::ONE
                })
                .convicts(),
            ],
        ),
        table(
            first.after,
            vec![
                case("sum", "unmask.equivocation", |c: &mut UnmaskContent| {
                    c.sum += Scalar::ONE
                })
                .convicts(),
                case(
                    "convicted",
                    "unmask.equivocation",
                    move |c: &mut UnmaskContent| c.convicted = vec![victim],
                )
                .convicts(),
                case("root", "unmask.content", |c: &mut UnmaskContent| {
                    c.root = NOTHING
                }),
            ],
        ),
        plain(
            "Unmask",
            Unmask {
                signed: first.good,
                complaints: Vec::new(),
            },
            move |unmask| t.server_takes(before, Message::Unmask(unmask)),
            vec![
                case("signed", "unmask.signature", |u: &mut Unmask| {
                    u.signed.signature.0[0] ^= 1
                }),
                // More than there are dealers: nothing that the member signed speaks of its complaints.
                case("complaints", "unmask.content", move |u: &mut Unmask| {
                    u.complaints = vec![complaint.clone(); 8]
                }),
            ],
        ),
    ]
}

fn reveal(t: T) -> Table {
    let own = said(
        t,
        t.first(Party::Server, |m| match m {
            Message::Reveal(r) if r.content.member == M(1) => Some(r.clone()),
            _ => None,
        }),
    );
    let before = own.before;
    let honest = t.hands.contributions[&t.victim].header.content.digest();
    Signing {
        message: "RevealContent",
        signature: "reveal.signature",
        good: own.good,
        key: own.key,
        sender: own.sender,
        wrap: Box::new(|signed| Some(Message::Reveal(signed))),
        deliver: Box::new(move |signed| t.server_takes(before, Message::Reveal(signed))),
        strict: true,
        cases: vec![
            case(
                "params_digest",
                "reveal.content",
                |c: &mut RevealContent| c.params_digest = NOTHING,
            ),
            case("root", "reveal.content", |c: &mut RevealContent| {
                c.root = NOTHING
            }),
            case("member", "reveal.signature", |c: &mut RevealContent| {
                c.member = M(3)
            }),
            case(
                "header_digest",
                "reveal.content",
                |c: &mut RevealContent| c.header_digest = NOTHING,
            ),
            case(
                "header_digest",
                "reveal.content",
                move |c: &mut RevealContent| c.header_digest = honest,
            ),
            case("share", "reveal.share", |c: &mut RevealContent| {
                c.share += Scalar::ONE
            })
            .convicts(),
        ],
    }
    .table()
}

fn finals(t: T) -> Vec<Table> {
    let signed = |m: &Message| match m {
        Message::Final(f) if f.content.member == M(1) => Some(f.clone()),
        _ => None,
    };
    let own = || said(t, t.first(Party::Server, signed));
    let first = own();
    let (victim, point) = (t.victim, stray(t));
    let table = |after: bool| {
        let Said {
            good, key, sender, ..
        } = own();
        let records = if after { first.after } else { first.before };
        // Beside the good one, another one by the same member is an equivocation.
        let about = move |field, change: fn(&mut FinalContent, ClientId, CanonicalPoint)| {
            let change = move |c: &mut FinalContent| change(c, victim, point);
            if after {
                case(field, "final.equivocation", change).convicts()
            } else {
                case(field, "final.content", change)
            }
        };
        Signing {
            message: "FinalContent",
            signature: "final.signature",
            good,
            key,
            sender,
            wrap: Box::new(|signed| Some(Message::Final(signed))),
            deliver: Box::new(move |signed| t.server_takes(records, Message::Final(signed))),
            strict: true,
            cases: vec![
                case("params_digest", "final.content", |c: &mut FinalContent| {
                    c.params_digest = NOTHING
                }),
                case("member", "final.signature", |c: &mut FinalContent| {
                    c.member = M(3)
                }),
                about("root", |c, _, _| c.root = NOTHING),
                about("count", |c, _, _| c.count -= 1),
                about("convicted", |c, victim, _| c.convicted = vec![victim]),
                about("sum_f0", |c, _, point| c.sum_f0 = point),
            ],
        }
        .table()
    };
    vec![table(false), table(true)]
}

fn rows(t: T) -> Vec<Table> {
    // The last one lists every slice that member 1 summed.
    let (step, good) = t.last(Party::Server, |m| match m {
        Message::Rows(r) if r.signed.content.member == M(1) => Some(r.clone()),
        _ => None,
    });
    let own = said(t, (step, good.signed.clone()));
    let (before, values, key) = (own.before, good.values.clone(), own.key.clone());
    assert!(own.good.content.slices.len() > 1);
    let sent = good.values.slice;
    let message = move |signed| {
        Message::Rows(Rows {
            signed,
            values: values.clone(),
        })
    };
    let wrap = message.clone();
    let deliver = move |rows: Rows| -> Got { t.server_takes(before, Message::Rows(rows)) };
    let sender = own.sender;
    // Another point of the group in place of one of the sums, hashed and signed again.
    let forge = move |rows: &mut Rows| {
        rows.values.values[0] = *stray(t).as_bytes();
        let digest = row_values_digest(&rows.values.values);
        for entry in &mut rows.signed.content.slices {
            if entry.0 == sent {
                entry.1 = digest;
            }
        }
        rows.signed = Signed::sign(rows.signed.content.clone(), &key);
    };
    let one = good.values.clone();
    let around = good.clone();
    vec![
        Signing {
            message: "RowsContent",
            signature: "rows.signature",
            good: own.good,
            key: own.key,
            sender,
            wrap: Box::new(move |signed| Some(wrap(signed))),
            deliver: Box::new(move |signed| t.server_takes(before, message(signed))),
            strict: true,
            cases: vec![
                case("params_digest", "rows.content", |c: &mut RowsContent| {
                    c.params_digest = NOTHING
                }),
                case("root", "rows.content", |c: &mut RowsContent| {
                    c.root = NOTHING
                }),
                case("convicted", "rows.content", |c: &mut RowsContent| {
                    c.convicted = NOTHING
                }),
                case("member", "rows.signature", |c: &mut RowsContent| {
                    c.member = M(3)
                }),
                case("slices", "rows.content", |c: &mut RowsContent| {
                    c.slices.reverse()
                }),
                // The digest of the values that come with it, which then do not hash to it.
                case("slices", "rows.content", move |c: &mut RowsContent| {
                    c.slices
                        .iter_mut()
                        .filter(|s| s.0 == sent)
                        .for_each(|s| s.1 = NOTHING)
                }),
            ],
        }
        .table(),
        judged(
            "Rows",
            good.clone(),
            Some(sender.1),
            deliver,
            vec![
                case("signed", "rows.signature", |r: &mut Rows| {
                    r.signed.signature.0[0] ^= 1
                }),
                case("values", "rows.content", |r: &mut Rows| {
                    r.values.values.reverse();
                    r.values.values.push([0; 32]);
                }),
                case("values", "rows.value", forge).convicts(),
            ],
        ),
        plain(
            "RowValues",
            one,
            move |values| {
                deliver(Rows {
                    values,
                    ..around.clone()
                })
            },
            vec![
                case("slice", "rows.content", |v: &mut RowValues| v.slice ^= 1),
                case("values", "rows.content", |v: &mut RowValues| {
                    v.values[0][0] ^= 1
                }),
            ],
        ),
    ]
}
