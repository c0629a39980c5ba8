//! What the server tells a client.

use crate::common::Got;
use crate::table::{Case, Signing, Table, case, judged, plain};
use crate::transcript::Transcript;
use curve25519_dalek::scalar::Scalar;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use std::collections::BTreeMap;
use veilsum_crypto::{CanonicalPoint, Digest};
use veilsum_params::{ClientId, RoundParams};
use veilsum_protocol::{
    Check, Culprit, Evidence, Message, Party, ServerStatement, check_request, judge, light_check,
    sign_request,
};
use veilsum_wire::{
    Announcement, AnnouncementContent, BeaconProof, LightBundle, Proposal, ProposalContent,
    ROUND_PARAMS_FIELDS, ReceiptContent, RequestContent, ResultContent, RoundResult, RowList,
    Signed, params_digest, proposal_root, result_vector_digest,
};

const NOTHING: Digest = Digest([0; 32]);
const SERVER: (Party, Culprit) = (Party::Server, Culprit::Server);

type T = &'static Transcript;

pub(crate) fn tables(t: T) -> Vec<Table> {
    let mut all = announcement(t);
    all.push(round_params(t));
    all.push(receipt(t));
    all.extend(proposal(t));
    all.extend(result(t));
    all.push(bundle(t));
    all.push(row_list(t));
    all.push(request(t));
    all
}

/// A request speaks for its signer in one round and of one kind; signed again it is another's, or none.
fn request(t: T) -> Table {
    Table {
        message: "RequestContent",
        fields: RequestContent::FIELDS.iter().map(|f| f.0).collect(),
        run: Box::new(move || {
            let (world, kind) = (t.world(), 8);
            let mut cohort = world.context.cohort().iter().copied();
            let (client, other) = (cohort.next().unwrap(), cohort.next().unwrap());
            let key = &world.identities[&client];
            let good = sign_request(&world.context, client, key, kind);
            let checked = |request: &_| check_request(&world.context, kind, request);
            assert_eq!(checked(&good), Ok(client));
            let changes: [fn(&mut RequestContent, ClientId); 3] = [
                |content, _| content.params_digest = NOTHING,
                |content, other| content.client = other,
                |content, _| content.kind ^= 1,
            ];
            for change in changes {
                let mut content = good.content.clone();
                change(&mut content, other);
                let unsigned = Signed {
                    content: content.clone(),
                    signature: good.signature,
                };
                for request in [unsigned, Signed::sign(content, key)] {
                    assert_eq!(checked(&request), Err(Check::RequestSignature.into()));
                }
            }
        }),
    }
}

fn announced(t: T, announcement: &Announcement, before: bool) -> Got {
    let mut client = if before { t.client() } else { t.contributed() };
    t.refusal(client.announcement(announcement).map(|_| ()))
}

fn announcement(t: T) -> Vec<Table> {
    let good = t.world().announcement();
    let around = move |signed| Announcement {
        signed,
        params: t.world().context.params().clone(),
        beacon: BeaconProof::none(),
    };
    let table = |before, cases: Vec<Case<AnnouncementContent>>| {
        Signing {
            message: "AnnouncementContent",
            signature: "announcement.signature",
            good: good.signed.clone(),
            key: t.world().server.clone(),
            sender: SERVER,
            wrap: Box::new(move |signed| Some(Message::Announcement(around(signed)))),
            deliver: Box::new(move |signed| announced(t, &around(signed), before)),
            strict: true,
            cases,
        }
        .table()
    };
    let id = || {
        case(
            "round_id",
            "announcement.digest",
            |c: &mut AnnouncementContent| c.round_id += 1,
        )
    };
    let digest = |id| {
        case("params_digest", id, |c: &mut AnnouncementContent| {
            c.params_digest = NOTHING
        })
    };
    vec![
        table(true, vec![id(), digest("announcement.digest")]),
        table(false, vec![id(), digest("announcement.other").convicts()]),
        plain(
            "Announcement",
            good,
            move |announcement| announced(t, &announcement, true),
            vec![
                case(
                    "signed",
                    "announcement.signature",
                    |a: &mut Announcement| a.signed.signature.0[0] ^= 1,
                ),
                case("params", "announcement.digest", |a: &mut Announcement| {
                    a.params.model_digest[0] ^= 1
                }),
                case("beacon", "announcement.beacon", |a: &mut Announcement| {
                    a.beacon.signature.push(1)
                }),
            ],
        ),
    ]
}

/// What another value of a field of the parameters meets at a client that knows of no others; none where any value is
/// right that is agreed.
type Other = (&'static str, Option<&'static str>, fn(&mut RoundParams));

const OTHERS: &[Other] = &[
    ("protocol_version", Some("announcement.params"), |p| {
        p.protocol_version += 1
    }),
    ("generator_set", Some("announcement.params"), |p| {
        p.generator_set += 1
    }),
    ("round_id", Some("announcement.schedule"), |p| {
        p.round_id += 1
    }),
    ("epoch", Some("announcement.roster"), |p| p.epoch += 1),
    ("server_key", Some("announcement.server-key"), |p| {
        p.server_key = [9; 32]
    }),
    ("model_digest", None, |p| p.model_digest[0] ^= 1),
    ("roster_digest", Some("announcement.roster"), |p| {
        p.roster_digest[0] ^= 1
    }),
    ("beacon", Some("announcement.schedule"), |p| {
        p.beacon.round += 1
    }),
    ("beacon", Some("announcement.committee"), |p| {
        p.beacon.value[0] ^= 1
    }),
    ("dim", Some("announcement.policy"), |p| p.dim += 1),
    ("scale_bits", None, |p| p.scale_bits += 1),
    ("norm_bound", None, |p| p.norm_bound += 1),
    ("weight_max", Some("announcement.params"), |p| {
        p.weight_max += 1
    }),
    ("predicates", Some("announcement.params"), |p| {
        p.predicates = 1
    }),
    ("groups", Some("announcement.params"), |p| p.groups += 1),
    ("cohort_size", Some("announcement.params"), |p| {
        p.cohort_size = 0
    }),
    ("n_max", Some("announcement.params"), |p| p.n_max = 0),
    ("n_min", Some("announcement.params"), |p| p.n_min = 0),
    ("malicious_max", Some("announcement.policy"), |p| {
        p.malicious_max = 0
    }),
    ("threshold", Some("announcement.params"), |p| {
        p.threshold += 2
    }),
    ("committee", Some("announcement.committee"), |p| {
        p.committee.swap(0, 1)
    }),
    ("contribute_deadline_ms", None, |p| {
        p.contribute_deadline_ms += 1
    }),
];

/// Every field of the parameters, its digest made anew and signed by the server: at a client that knows of the round it
/// convicts the server, and at another one it meets the check that the field has.
fn round_params(t: T) -> Table {
    Table {
        message: "RoundParams",
        fields: OTHERS.iter().map(|(field, ..)| *field).collect(),
        run: Box::new(move || {
            for (field, check, change) in OTHERS {
                let mut params = t.world().context.params().clone();
                change(&mut params);
                let content = AnnouncementContent {
                    round_id: params.round_id,
                    params_digest: params_digest(&params),
                };
                let announcement = Announcement {
                    signed: Signed::sign(content, &t.world().server),
                    params,
                    beacon: BeaconProof::none(),
                };
                let got = announced(t, &announcement, true);
                let expected: Vec<_> = check.iter().copied().collect();
                assert_eq!(
                    (&got.refused, got.convicted.len()),
                    (&expected, 0),
                    "{field}"
                );
                let got = announced(t, &announcement, false);
                if *field == "round_id" {
                    // It is another round's announcement, and a second round is no crime.
                    assert_eq!((&got.refused, got.convicted.len()), (&expected, 0));
                } else {
                    let other = Check::AnnouncementOther.id();
                    assert_eq!(got.refused, [other], "{field}");
                    assert_eq!(got.convicted, [(Culprit::Server, other)], "{field}");
                }
            }
        }),
    }
}

fn receipt(t: T) -> Table {
    let dealer = t.dealer;
    Signing {
        message: "ReceiptContent",
        signature: "receipt.signature",
        good: t.receipt(),
        key: t.world().server.clone(),
        sender: SERVER,
        wrap: Box::new(|signed| Some(Message::Receipt(signed))),
        deliver: Box::new(move |signed| {
            let round_id = t.world().context.params().round_id;
            t.refusal(t.contributed().receipt(round_id, &signed).map(|_| ()))
        }),
        strict: true,
        cases: vec![
            case(
                "params_digest",
                "receipt.content",
                |c: &mut ReceiptContent| c.params_digest = NOTHING,
            ),
            case(
                "client",
                "receipt.content",
                move |c: &mut ReceiptContent| c.client = dealer,
            ),
            case(
                "header_digest",
                "receipt.content",
                |c: &mut ReceiptContent| c.header_digest = NOTHING,
            ),
        ],
    }
    .table()
}

fn proposal(t: T) -> Vec<Table> {
    let held = move |proposal: &Proposal| {
        let round_id = t.world().context.params().round_id;
        let mut client = t.contributed();
        client.receipt(round_id, &t.receipt()).unwrap();
        t.refusal(client.proposal(round_id, proposal))
    };
    let around = move |signed| Proposal {
        signed,
        ..t.proposal.clone()
    };
    vec![
        Signing {
            message: "ProposalContent",
            signature: "proposal.signature",
            good: t.proposal.signed.clone(),
            key: t.world().server.clone(),
            sender: SERVER,
            wrap: Box::new(|_| None),
            deliver: Box::new(move |signed| held(&around(signed))),
            strict: true,
            cases: vec![
                case(
                    "params_digest",
                    "proposal.round",
                    |c: &mut ProposalContent| c.params_digest = NOTHING,
                ),
                case("root", "proposal.root", |c: &mut ProposalContent| {
                    c.root = NOTHING
                }),
            ],
        }
        .table(),
        judged(
            "Proposal",
            t.proposal.clone(),
            Some(Culprit::Server),
            move |proposal| held(&proposal),
            vec![
                case("signed", "proposal.signature", |p: &mut Proposal| {
                    p.signed.signature.0[0] ^= 1
                }),
                case("entries", "proposal.root", |p: &mut Proposal| {
                    p.entries.pop();
                }),
                // Signed again without the client that has a receipt.
                case("entries", "receipt.inclusion", move |p: &mut Proposal| {
                    p.entries.retain(|(client, _)| *client != t.victim);
                    let content = ProposalContent {
                        root: proposal_root(&p.entries),
                        ..p.signed.content
                    };
                    p.signed = Signed::sign(content, &t.world().server);
                })
                .convicts(),
            ],
        ),
    ]
}

fn light(t: T, result: &RoundResult, bundle: &LightBundle) -> Got {
    let own = &t.hands.contributions[&t.victim].header;
    let mut rng = ChaCha20Rng::seed_from_u64(3);
    match light_check(&t.world().context, own, result, bundle, &mut rng) {
        Ok(()) => Got::default(),
        Err(refusal) => (refusal.check.id(), None).into(),
    }
}

fn result(t: T) -> Vec<Table> {
    assert!(light(t, &t.result, &t.bundle).refused.is_empty());
    let around = move |signed| RoundResult {
        signed,
        ..t.result.clone()
    };
    let (dealer, victim) = (t.dealer, t.victim);
    // A client that is neither the dealer nor the one that checks.
    let third = *t
        .world()
        .context
        .cohort()
        .iter()
        .find(|c| **c != dealer && **c != victim)
        .unwrap();
    let content = || {
        vec![
            case(
                "params_digest",
                "result.content",
                |c: &mut ResultContent| c.params_digest = NOTHING,
            ),
            case("root", "certificate.root", |c: &mut ResultContent| {
                c.root = NOTHING
            }),
            case(
                "convicted",
                "result.content",
                move |c: &mut ResultContent| c.convicted = vec![dealer; 2],
            ),
            case(
                "convicted",
                "final.content",
                move |c: &mut ResultContent| c.convicted = vec![third],
            ),
            case("convicted", "final.content", |c: &mut ResultContent| {
                c.convicted.clear()
            }),
            case("r_sum", "light.secret", |c: &mut ResultContent| {
                c.r_sum += Scalar::ONE
            }),
            case(
                "vector_digest",
                "result.content",
                |c: &mut ResultContent| c.vector_digest = NOTHING,
            ),
        ]
    };
    let vector = move |change: fn(&mut Vec<i64>)| {
        move |r: &mut RoundResult| {
            change(&mut r.vector);
            let content = ResultContent {
                vector_digest: result_vector_digest(&r.vector),
                ..r.signed.content.clone()
            };
            r.signed = Signed::sign(content, &t.world().server);
        }
    };
    let around_cases: Vec<Case<RoundResult>> = vec![
        case("signed", "result.signature", |r: &mut RoundResult| {
            r.signed.signature.0[0] ^= 1
        }),
        case("vector", "result.content", |r: &mut RoundResult| {
            r.vector[0] += 1
        }),
        case("vector", "light.sum", vector(|v| v[0] += 1)),
        case("vector", "light.sum", vector(|v| v.reverse())),
        case("vector", "light.bounds", vector(|v| v[0] = i64::MAX)),
        case("vector", "result.content", vector(|v| v.truncate(3))),
    ];
    vec![
        Signing {
            message: "ResultContent",
            signature: "result.signature",
            good: t.result.signed.clone(),
            key: t.world().server.clone(),
            sender: SERVER,
            wrap: Box::new(move |signed| Some(Message::Result(around(signed)))),
            deliver: Box::new(move |signed| light(t, &around(signed), &t.bundle)),
            strict: true,
            cases: content(),
        }
        .table(),
        plain(
            "RoundResult",
            t.result.clone(),
            move |result| light(t, &result, &t.bundle),
            around_cases,
        ),
        Table {
            message: "ResultContent",
            fields: Vec::new(),
            run: Box::new(move || convictions(t)),
        },
    ]
}

/// A light client holds no evidence, but whoever has the headers or the other result does, and it names the server.
fn convictions(t: T) {
    type Change = fn(&mut ResultContent);
    let (ctx, server) = (&t.world().context, &t.world().server);
    let proposed: BTreeMap<ClientId, Digest> = t.proposal.entries.iter().copied().collect();
    let headers: Vec<_> = proposed
        .keys()
        .map(|client| t.hands.contributions[client].header.clone())
        .collect();
    let convicts = |evidence: &Evidence| judge(ctx, evidence).map(|c| (c.culprit, c.check.id()));
    let changes: [(Change, bool); 5] = [
        (|c| c.params_digest = NOTHING, false),
        (|c| c.root = NOTHING, true),
        (|c| c.convicted.clear(), true),
        (|c| c.r_sum += Scalar::ONE, true),
        (|c| c.vector_digest = NOTHING, true),
    ];
    for (change, equivocates) in changes {
        let mut content = t.result.signed.content.clone();
        change(&mut content);
        let evidence = |signed: Signed<ResultContent>| Evidence::ServerEquivocation {
            first: ServerStatement::Result {
                signed: t.result.signed.clone(),
            },
            second: ServerStatement::Result { signed },
            other_params: Vec::new(),
        };
        let forged = Signed {
            content: content.clone(),
            signature: t.result.signed.signature,
        };
        assert!(convicts(&evidence(forged)).is_err());
        let convicted = convicts(&evidence(Signed::sign(content, server)));
        let expected = (Culprit::Server, Check::ResultEquivocation.id());
        assert_eq!(convicted.ok(), equivocates.then_some(expected));
    }
    // A wrong R beside the headers, a wrong vector beside the rows as well.
    let signed = |change: &dyn Fn(&mut ResultContent)| {
        let mut content = t.result.signed.content.clone();
        change(&mut content);
        Signed::sign(content, server)
    };
    let secret = |result| Evidence::WrongSecret {
        result,
        headers: headers.clone(),
    };
    assert!(convicts(&secret(t.result.signed.clone())).is_err());
    assert_eq!(
        convicts(&secret(signed(&|c| c.r_sum += Scalar::ONE))),
        Ok((Culprit::Server, Check::SumCommitment.id()))
    );
    let rows = ctx.layout().x_rows as usize;
    let summed = proposed.keys().filter(|client| **client != t.dealer);
    let rows: Vec<_> = summed
        .map(|client| t.hands.contributions[client].body.matrix[..rows].to_vec())
        .collect();
    let wrong = |result| Evidence::WrongVector {
        result,
        headers: headers.clone(),
        rows: rows.clone(),
    };
    assert!(convicts(&wrong(t.result.clone())).is_err());
    let mut vector = t.result.vector.clone();
    vector[0] += 1;
    let digest = result_vector_digest(&vector);
    let signed = signed(&|c| c.vector_digest = digest);
    assert_eq!(
        convicts(&wrong(RoundResult { signed, vector })),
        Ok((Culprit::Server, Check::LightSum.id()))
    );
}

fn row_list(t: T) -> Table {
    plain(
        "RowList",
        t.bundle.row_lists[0].clone(),
        move |list| {
            let mut bundle = t.bundle.clone();
            bundle.row_lists[0] = list;
            light(t, &t.result, &bundle)
        },
        vec![
            case("member", "rows.signature", |l: &mut RowList| {
                l.member.0 = if l.member.0 == 1 { 2 } else { 1 };
            }),
            case("slices", "rows.signature", |l: &mut RowList| {
                l.slices.pop();
            }),
            case("slices", "rows.content", |l: &mut RowList| {
                l.slices.push(u16::MAX)
            }),
            case("signature", "rows.signature", |l: &mut RowList| {
                l.signature.0[0] ^= 1
            }),
        ],
    )
}

fn bundle(t: T) -> Table {
    let stray: CanonicalPoint = t.hands.contributions[&t.victim].header.content.f_z;
    plain(
        "LightBundle",
        t.bundle.clone(),
        move |bundle| light(t, &t.result, &bundle),
        vec![
            case(
                "certificate",
                "certificate.members",
                |b: &mut LightBundle| {
                    b.certificate.endorsements.pop();
                },
            ),
            case(
                "certificate",
                "certificate.signature",
                |b: &mut LightBundle| b.certificate.endorsements[0].signature.0[0] ^= 1,
            ),
            case("count", "certificate.root", |b: &mut LightBundle| {
                b.count -= 1
            }),
            case("count", "proposal.count", |b: &mut LightBundle| {
                b.count += 1
            }),
            case("position", "light.entry", |b: &mut LightBundle| {
                b.position ^= 1
            }),
            case("path", "light.entry", |b: &mut LightBundle| {
                b.path[0] = NOTHING
            }),
            case("finals", "light.finals", |b: &mut LightBundle| {
                b.finals.pop();
            }),
            case("finals", "final.signature", |b: &mut LightBundle| {
                b.finals[0].signature.0[0] ^= 1
            }),
            case("rows", "rows.signature", move |b: &mut LightBundle| {
                b.rows[0].values[0] = *stray.as_bytes()
            }),
            case("row_lists", "light.rows", |b: &mut LightBundle| {
                b.row_lists.clear()
            }),
            case("row_lists", "rows.signature", |b: &mut LightBundle| {
                b.row_lists[0].signature.0[0] ^= 1
            }),
        ],
    )
}

/// Fields of the parameters, as the wire crate lists them.
pub(crate) fn params_fields() -> impl Iterator<Item = (&'static str, &'static str)> {
    ROUND_PARAMS_FIELDS.iter().map(|f| ("RoundParams", *f))
}
