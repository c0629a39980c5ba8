//! Attacks of clients and members in whole rounds: each is stopped by exactly one check, the culprit and nobody else is
//! convicted, and the round ends with the exact sum over everybody else.
#![expect(clippy::unwrap_used, reason = "a failed test panics")]

mod common;

use common::*;
use curve25519_dalek::scalar::Scalar;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use std::collections::BTreeMap;
use veilsum_crypto::{Digest, ShareSecretKey};
use veilsum_params::{ClientId, MemberIndex, MemberSlot, Policy, RoundParams};
use veilsum_protocol::{Client, ClientConfig, ClientError, Message, Party, Record};
use veilsum_sim::{Deviation, Faults, Hands, Plan, Report, Setup, Tamper, World, forge, truth};
use veilsum_wire::{
    Announcement, AnnouncementContent, BeaconProof, ComplaintContent, Endorse, Proposal,
    ProposalContent, Signed, complaints_digest, params_digest, row_values_digest,
};

fn cheat(world: &World, client: ClientId, deviation: Deviation) -> Plan {
    let mut rng = ChaCha20Rng::seed_from_u64(world.setup.seed);
    let upload = forge(world, client, &deviation, &mut rng).unwrap().upload();
    Plan {
        uploads: BTreeMap::from([(client, vec![upload])]),
        ..Plan::default()
    }
}

/// A round on a rough network in which one client cheats: it is convicted by exactly this check and left out.
fn caught(world: &World, client: ClientId, deviation: Deviation, id: &str) {
    let report = run(world, Faults::ROUGH, cheat(world, client, deviation));
    assert_round(world, &report, &[(Party::Client(client), id)]);
    assert!(!is_in(&report, client), "{id}");
}

fn tamper(f: impl FnMut(&World, MemberIndex, Message) -> Vec<Message> + 'static) -> Tamper {
    Box::new(f)
}

/// A plan in which one member changes what it sends.
fn corrupt(
    member: u16,
    f: impl FnMut(&World, MemberIndex, Message) -> Vec<Message> + 'static,
) -> Plan {
    Plan {
        tampering: BTreeMap::from([(M(member), tamper(f))]),
        ..Plan::default()
    }
}

fn is_in(report: &Report, client: ClientId) -> bool {
    truth::summed(report).contains(&client)
}

// ---- clients

#[test]
fn a03_ephemeral_key_of_somebody_else_header_knowledge() {
    let world = world(100);
    let (thief, victim) = (world.plain_clients()[0], world.plain_clients()[1]);
    let deviation = Deviation {
        knowledge_of: Some(victim),
        ..Deviation::default()
    };
    caught(&world, thief, deviation, "header.knowledge");
}

#[test]
fn polynomial_of_another_degree_header_commitments() {
    for (seed, degree) in [(101, 1), (102, -1)] {
        let world = world(seed);
        let deviation = Deviation {
            degree,
            ..Deviation::default()
        };
        caught(
            &world,
            world.plain_clients()[0],
            deviation,
            "header.commitments",
        );
    }
}

#[test]
fn ephemeral_key_is_the_identity_header_identity() {
    let world = world(103);
    let deviation = Deviation {
        ephemeral_identity: true,
        ..Deviation::default()
    };
    caught(
        &world,
        world.plain_clients()[0],
        deviation,
        "header.identity",
    );
}

#[test]
fn a11_proof_copied_from_another_client() {
    let world = world(104);
    let (copier, owner) = (world.plain_clients()[0], world.plain_clients()[1]);
    let plan = cheat(
        &world,
        copier,
        Deviation {
            proof_of: Some(owner),
            ..Deviation::default()
        },
    );
    let report = run(&world, Faults::ROUGH, plan);
    // Under another client's name every challenge differs: the projections are the first to miss.
    let check = truth::convictions(&world, &report).unwrap()[0].check.id();
    assert!(check.starts_with("proof."));
    assert_round(&world, &report, &[(Party::Client(copier), check)]);
    assert!(!is_in(&report, copier));
}

#[test]
fn a12_row_root_of_other_rows_than_the_proof_is_about_body_row_root() {
    // Were it taken, no member could sum a slice: what the server holds does not lead to the root that was signed.
    let world = wide(107);
    let client = world.plain_clients()[0];
    let deviation = Deviation {
        row_root_of_others: true,
        ..Deviation::default()
    };
    let report = run(&world, Faults::ROUGH, cheat(&world, client, deviation));
    assert!(report.was_refused(Party::Client(client), "body.row-root"));
    // The header could have come with another body by anybody's hand: nobody is convicted.
    assert_round_with(&world, &report, &[], &[Party::Client(client)]);
    assert!(!is_in(&report, client));
}

#[test]
fn update_over_the_norm_bound() {
    let world = world(105);
    let mut update = vec![0; 12];
    (update[0], update[11]) = (1000, 1);
    let deviation = Deviation {
        update: Some(update),
        ..Deviation::default()
    };
    caught(
        &world,
        world.plain_clients()[0],
        deviation,
        "proof.norm-range",
    );
}

#[test]
fn a07_second_header_contribution_duplicate() {
    let world = world(106);
    let client = world.plain_clients()[0];
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let uploads = (0..2)
        .map(|_| {
            forge(&world, client, &Deviation::default(), &mut rng)
                .unwrap()
                .upload()
        })
        .collect();
    let plan = Plan {
        uploads: BTreeMap::from([(client, uploads)]),
        ..Plan::default()
    };
    let report = run(&world, Faults::ROUGH, plan);
    assert_round(
        &world,
        &report,
        &[(Party::Client(client), "contribution.duplicate")],
    );
    assert!(is_in(&report, client), "the first one stays");
}

// ---- dealers

#[test]
fn a10_bad_share_for_one_member_share_value() {
    for (seed, member) in (110..).zip(1..=5) {
        for garbled in [false, true] {
            let world = world(seed);
            let dealer = world.plain_clients()[0];
            let (bad, none) = (vec![M(member)], Vec::new());
            let (garbled_shares, bad_shares) = if garbled { (bad, none) } else { (none, bad) };
            let plan = cheat(
                &world,
                dealer,
                Deviation {
                    bad_shares,
                    garbled_shares,
                    ..Deviation::default()
                },
            );
            let report = run(&world, Faults::NONE, plan);
            assert_round(&world, &report, &[(Party::Client(dealer), "share.value")]);
            assert!(!is_in(&report, dealer));
        }
    }
}

#[test]
fn bad_shares_on_rough_networks_are_complained_of_or_do_no_harm() {
    for seed in 120..126 {
        let world = world(seed);
        let dealer = world.plain_clients()[0];
        let plan = cheat(
            &world,
            dealer,
            Deviation {
                bad_shares: vec![M(2)],
                ..Deviation::default()
            },
        );
        let report = run(&world, Faults::ROUGH, plan);
        // t good sums can be there before the complaint: then the dealer's update is summed, exactly, and it is convicted
        // by the record of the late complaint, or by none.
        let convicted = truth::convicted(&world, &report).unwrap();
        let guilty = [(Party::Client(dealer), "share.value")];
        let guilty = if convicted.is_empty() {
            &[][..]
        } else {
            &guilty
        };
        assert_eq!(convicted, guilty.iter().copied().collect());
        assert_eq!(
            report.result.as_ref().unwrap().vector,
            world.plain_sum(&truth::summed(&report))
        );
        assert!(report.light.values().all(Result::is_ok));
    }
}

#[test]
fn a10_bad_dealer_and_a_member_that_endorses_and_goes_silent() {
    for complains_and_goes_silent in [true, false] {
        let world = world(130);
        let dealer = world.plain_clients()[0];
        let mut plan = cheat(
            &world,
            dealer,
            Deviation {
                bad_shares: vec![M(2)],
                ..Deviation::default()
            },
        );
        let silent = if complains_and_goes_silent { 2 } else { 3 };
        let only_endorse = |_: &World, _, m| {
            if matches!(m, Message::Endorse(_)) {
                vec![m]
            } else {
                vec![]
            }
        };
        plan.tampering.insert(M(silent), tamper(only_endorse));
        let report = run(&world, Faults::NONE, plan);
        assert_round(&world, &report, &[(Party::Client(dealer), "share.value")]);
        assert!(!is_in(&report, dealer));
    }
}

/// Members 1 to 3 unmask before the complaint is there: they reveal afterwards.
fn late_complaint(world: &World, dealer: ClientId) -> Plan {
    let mut plan = cheat(
        world,
        dealer,
        Deviation {
            bad_shares: vec![M(5)],
            ..Deviation::default()
        },
    );
    let mut endorsements = 0;
    plan.tampering.insert(
        M(5),
        tamper(move |_, _, m| {
            endorsements += u32::from(matches!(m, Message::Endorse(_)));
            if endorsements > 4 { vec![m] } else { vec![] }
        }),
    );
    let mut unmasks = 0;
    plan.tampering.insert(
        M(4),
        tamper(move |_, _, m| {
            unmasks += u32::from(matches!(m, Message::Unmask(_)));
            if unmasks > 8 || !matches!(m, Message::Unmask(_)) {
                vec![m]
            } else {
                vec![]
            }
        }),
    );
    plan
}

#[test]
fn a10_sums_from_before_a_complaint_are_aligned_by_reveals() {
    let world = world(131);
    let dealer = world.plain_clients()[0];
    let report = run(&world, Faults::NONE, late_complaint(&world, dealer));
    assert_round(&world, &report, &[(Party::Client(dealer), "share.value")]);
    let reveals = report
        .records()
        .iter()
        .filter(|r| matches!(r, Record::ServerReveal { .. }))
        .count();
    assert!(reveals >= 3, "{reveals}");
}

#[test]
fn wrong_reveal_reveal_share() {
    let world = world(132);
    let dealer = world.plain_clients()[0];
    let mut plan = late_complaint(&world, dealer);
    plan.tampering.insert(
        M(1),
        tamper(|world, j, m| match m {
            Message::Reveal(r) => vec![Message::Reveal(resign(world, j, &r, |c| {
                c.share += Scalar::ONE
            }))],
            m => vec![m],
        }),
    );
    let report = run(&world, Faults::NONE, plan);
    assert_round(
        &world,
        &report,
        &[
            (Party::Client(dealer), "share.value"),
            (Party::Member(M(1)), "reveal.share"),
        ],
    );
}

#[test]
fn a17_server_stops_anywhere_while_a_dealer_is_convicted_and_members_fall_silent() {
    let world = world(133);
    let dealer = world.plain_clients()[0];
    let plan = || {
        let mut plan = late_complaint(&world, dealer);
        // Member 1 says nothing more once the list is fixed but for its Final.
        let mut fixed = false;
        plan.tampering.insert(
            M(1),
            tamper(move |_, _, m| {
                fixed |= matches!(m, Message::Final(_));
                if !fixed || matches!(m, Message::Final(_)) {
                    vec![m]
                } else {
                    vec![]
                }
            }),
        );
        plan
    };
    let whole = run(&world, Faults::NONE, plan());
    let guilty = [(Party::Client(dealer), "share.value")];
    assert_round(&world, &whole, &guilty);
    let convicted = |r: &Record| {
        matches!(
            r,
            Record::ServerClosing { .. } | Record::ServerConvicted { .. }
        )
    };
    assert_eq!(whole.records().iter().filter(|r| convicted(r)).count(), 2);
    for records in 1..=whole.log.len() {
        let report = run(
            &world,
            Faults {
                server_stops_after: Some(records),
                ..Faults::NONE
            },
            plan(),
        );
        let summed = truth::summed(&report);
        assert_eq!(
            report.result.as_ref().unwrap().vector,
            world.plain_sum(&summed),
            "after record {records}"
        );
        assert!(
            report.light.values().all(Result::is_ok),
            "after record {records}"
        );
        assert!(
            report
                .records()
                .iter()
                .filter(|r| matches!(r, Record::ServerConvicted { .. }))
                .count()
                == 1
        );
    }
}

// ---- members

#[test]
fn wrong_sum_of_shares_unmask_sum() {
    let world = world(140);
    let plan = corrupt(2, |world, j, m| match m {
        Message::Unmask(mut u) => {
            u.signed = resign(world, j, &u.signed, |c| c.sum += Scalar::ONE);
            vec![Message::Unmask(u)]
        }
        m => vec![m],
    });
    assert_round(
        &world,
        &run(&world, Faults::ROUGH, plan),
        &[(Party::Member(M(2)), "unmask.sum")],
    );
}

#[test]
fn two_unmask_messages_unmask_equivocation() {
    let world = world(141);
    let plan = corrupt(2, |world, j, m| match m {
        Message::Unmask(u) => {
            let mut other = u.clone();
            other.signed = resign(world, j, &u.signed, |c| c.sum += Scalar::ONE);
            vec![Message::Unmask(u), Message::Unmask(other)]
        }
        m => vec![m],
    });
    assert_round(
        &world,
        &run(&world, Faults::NONE, plan),
        &[(Party::Member(M(2)), "unmask.equivocation")],
    );
}

#[test]
fn dealer_left_out_without_a_complaint_unmask_convicted() {
    let world = world(142);
    let victim = world.plain_clients()[0];
    let plan = corrupt(2, move |world, j, m| match m {
        Message::Unmask(mut u) => {
            u.signed = resign(world, j, &u.signed, |c| c.convicted = vec![victim]);
            vec![Message::Unmask(u)]
        }
        m => vec![m],
    });
    let report = run(&world, Faults::ROUGH, plan);
    assert!(report.was_refused(Party::Member(M(2)), "unmask.convicted"));
    assert_round_with(&world, &report, &[], &[Party::Member(M(2))]);
    assert!(is_in(&report, victim));
}

/// A member that adds a complaint of its own making to its endorsement.
fn complainer(
    world: &World,
    member: u16,
    against: ClientId,
    make: impl Fn(&World, &Hands<'_>, &Proposal) -> Signed<ComplaintContent> + 'static,
) -> Plan {
    let hands = Hands::new(world, &BTreeMap::new()).unwrap();
    let contribution = hands.contributions[&against].clone();
    let upload = veilsum_protocol::Upload {
        header: contribution.header.clone(),
        body: veilsum_protocol::Bytes(contribution.body.to_bytes()),
    };
    let mut plan = corrupt(member, move |world, j, m| match m {
        Message::Endorse(e) => {
            let hands = Hands {
                world,
                contributions: BTreeMap::from([(against, contribution.clone())]),
            };
            let content = ProposalContent {
                params_digest: world.digest(),
                root: e.signed.content.root,
            };
            let proposal = Proposal {
                signed: Signed::sign(content, &world.server),
                entries: Vec::new(),
            };
            let complaints = vec![make(world, &hands, &proposal)];
            let signed = resign(world, j, &e.signed, |c| {
                c.complaints = complaints_digest(&complaints)
            });
            vec![Message::Endorse(Endorse { signed, complaints })]
        }
        m => vec![m],
    });
    plan.uploads.insert(against, vec![upload]);
    plan
}

#[test]
fn complaint_about_a_good_share_complaint_groundless() {
    let world = world(150);
    let victim = world.plain_clients()[0];
    let plan = complainer(&world, 2, victim, move |_, hands, p| {
        hands.complaint(p, victim, M(2)).unwrap()
    });
    let report = run(&world, Faults::ROUGH, plan);
    assert_round(
        &world,
        &report,
        &[(Party::Member(M(2)), "complaint.groundless")],
    );
    assert!(is_in(&report, victim));
}

#[test]
fn a14_leaf_of_another_member_complaint_path() {
    let world = world(151);
    let victim = world.plain_clients()[0];
    let plan = complainer(&world, 2, victim, move |world, hands, p| {
        let honest = hands.complaint(p, victim, M(2)).unwrap();
        resign(world, M(2), &honest, |c| c.share = hands.leaf(victim, M(3)))
    });
    let report = run(&world, Faults::ROUGH, plan);
    assert_round(&world, &report, &[(Party::Member(M(2)), "complaint.path")]);
    assert!(is_in(&report, victim));
}

#[test]
fn false_diffie_hellman_point_complaint_equality() {
    let world = world(152);
    let victim = world.plain_clients()[0];
    let plan = complainer(&world, 2, victim, move |world, hands, p| {
        let honest = hands.complaint(p, victim, M(2)).unwrap();
        resign(world, M(2), &honest, |c| {
            c.point = hands.contributions[&victim].header.content.ephemeral
        })
    });
    let report = run(&world, Faults::ROUGH, plan);
    assert_round(
        &world,
        &report,
        &[(Party::Member(M(2)), "complaint.equality")],
    );
    assert!(is_in(&report, victim));
}

#[test]
fn a14_complaint_about_another_header_complaint_applicable() {
    let world = world(153);
    let victim = world.plain_clients()[0];
    let plan = complainer(&world, 2, victim, move |world, hands, p| {
        let honest = hands.complaint(p, victim, M(2)).unwrap();
        resign(world, M(2), &honest, |c| c.header_digest = Digest([3; 32]))
    });
    let report = run(&world, Faults::ROUGH, plan);
    assert!(report.was_refused(Party::Member(M(2)), "complaint.applicable"));
    assert_round(&world, &report, &[]);
    assert!(is_in(&report, victim));
}

#[test]
fn complaint_in_the_name_of_another_member_complaint_signature() {
    let world = world(154);
    let victim = world.plain_clients()[0];
    let plan = complainer(&world, 2, victim, move |world, hands, p| {
        let honest = hands.complaint(p, victim, M(2)).unwrap();
        resign(world, M(2), &honest, |c| c.member = M(3))
    });
    let report = run(&world, Faults::ROUGH, plan);
    assert!(report.was_refused(Party::Member(M(3)), "complaint.signature"));
    assert_round(&world, &report, &[]);
}

#[test]
fn a05_member_endorses_two_roots_endorse_equivocation() {
    for own_first in [true, false] {
        let world = world(155);
        let plan = corrupt(2, move |world, j, m| match m {
            Message::Endorse(e) => {
                let signed = resign(world, j, &e.signed, |c| c.root = Digest([9; 32]));
                let other = Message::Endorse(Endorse {
                    signed,
                    complaints: e.complaints.clone(),
                });
                let own = Message::Endorse(e);
                if own_first {
                    vec![own, other]
                } else {
                    vec![other, own]
                }
            }
            m => vec![m],
        });
        assert_round(
            &world,
            &run(&world, Faults::NONE, plan),
            &[(Party::Member(M(2)), "endorse.equivocation")],
        );
    }
}

#[test]
fn member_signs_two_finals_final_equivocation() {
    for own_first in [true, false] {
        let world = world(156);
        let victim = world.plain_clients()[0];
        let plan = corrupt(2, move |world, j, m| match m {
            Message::Final(f) => {
                let other = Message::Final(resign(world, j, &f, |c| c.convicted = vec![victim]));
                let own = Message::Final(f);
                if own_first {
                    vec![own, other]
                } else {
                    vec![other, own]
                }
            }
            m => vec![m],
        });
        let report = run(&world, Faults::NONE, plan);
        assert_round(
            &world,
            &report,
            &[(Party::Member(M(2)), "final.equivocation")],
        );
    }
}

#[test]
fn a15_wrong_row_sum_is_found_and_its_slices_go_to_others_rows_value() {
    let world = wide(160);
    let plan = corrupt(2, |world, j, m| match m {
        Message::Rows(mut rows) => {
            rows.values.values.reverse();
            rows.values.values[0][0] ^= 1;
            let (slice, digest) = (rows.values.slice, row_values_digest(&rows.values.values));
            rows.signed = resign(world, j, &rows.signed, |c| {
                c.slices
                    .iter_mut()
                    .filter(|(q, _)| *q == slice)
                    .for_each(|entry| entry.1 = digest);
            });
            vec![Message::Rows(rows)]
        }
        m => vec![m],
    });
    assert_round(
        &world,
        &run(&world, Faults::ROUGH, plan),
        &[(Party::Member(M(2)), "rows.value")],
    );
}

#[test]
fn a15_members_that_are_silent_about_rows_are_replaced() {
    let world = wide(161);
    let silent = |_: &World, _, m| {
        if matches!(m, Message::Rows(_)) {
            vec![]
        } else {
            vec![m]
        }
    };
    let plan = Plan {
        tampering: [1, 4].map(|j| (M(j), tamper(silent))).into(),
        ..Plan::default()
    };
    let report = run(&world, Faults::ROUGH, plan);
    assert_round(&world, &report, &[]);
}

#[test]
fn a15_fewer_right_signers_than_it_takes_certify_nothing() {
    let world = wide(162);
    let silent = |_: &World, _, m| {
        if matches!(m, Message::Rows(_)) {
            vec![]
        } else {
            vec![m]
        }
    };
    // 2t - m = 3 signers, and only 2 of 5 members sign.
    let plan = Plan {
        tampering: [1, 4, 5].map(|j| (M(j), tamper(silent))).into(),
        ..Plan::default()
    };
    let report = veilsum_sim::Simulation::run(&world, Faults::NONE, plan).unwrap();
    assert_eq!(report.outcome, None);
    assert!(report.bundles.is_empty());
}

#[test]
fn members_that_never_speak_are_not_missed_up_to_m_minus_t() {
    let world = world(163);
    let report = run(&world, Faults::ROUGH, corrupt(3, |_, _, _| vec![]));
    assert_round(&world, &report, &[]);
}

// ---- the server before a round

/// What a client says to parameters that the server signs as it likes.
fn announced(world: &World, change: impl Fn(&mut RoundParams)) -> Result<(), String> {
    let mut params = world.context.params().clone();
    change(&mut params);
    let content = AnnouncementContent {
        round_id: params.round_id,
        params_digest: params_digest(&params),
    };
    let announcement = Announcement {
        signed: Signed::sign(content, &world.server),
        params,
        beacon: BeaconProof::none(),
    };
    let client = world.plain_clients()[0];
    let (identity, share_key) = world.keys(client).unwrap();
    let agreed = world.context.params();
    let config = ClientConfig {
        client,
        server_key: world.server.verifying_key(),
        policy: Policy {
            n_min: agreed.n_min,
            committee: agreed.committee_size(),
            malicious_max: agreed.malicious_max,
            dim_max: agreed.dim,
            n_max: agreed.n_max,
            unproven_draw: true,
        },
        share_key: Some(*share_key.public()),
    };
    let mut client = Client::new(config, identity.clone(), world.roster.clone(), []).unwrap();
    match client.announcement(&announcement) {
        Ok(_) => Ok(()),
        Err(ClientError::Context(error)) => Err(error
            .check()
            .map_or_else(|| error.to_string(), |check| check.id().to_owned())),
        Err(other) => Err(other.to_string()),
    }
}

#[test]
fn a09_server_names_a_committee_of_its_own_announcement_committee() {
    let world = World::new(Setup {
        roster: 14,
        ..Setup::small(170)
    })
    .unwrap();
    assert_eq!(announced(&world, |_| ()), Ok(()));
    // Registered clients that it corrupted, sampled or not: the keys are theirs, so it would read every share.
    let slot = |client: &ClientId| MemberSlot {
        client: *client,
        share_key: *world.share_keys[client].public().as_bytes(),
    };
    let cohort = world.context.cohort();
    let sybils = world.identities.keys().filter(|c| !cohort.contains(c));
    let sybils: Vec<MemberSlot> = sybils.take(5).map(slot).collect();
    let sampled: Vec<MemberSlot> = cohort.iter().take(5).map(slot).collect();
    let own = ShareSecretKey::generate(&mut ChaCha20Rng::seed_from_u64(1));
    let refused = Err("announcement.committee".to_owned());
    assert_eq!(announced(&world, |p| p.committee = sybils.clone()), refused);
    assert_eq!(
        announced(&world, |p| p.committee = sampled.clone()),
        refused
    );
    assert_eq!(
        announced(&world, |p| {
            for member in &mut p.committee {
                member.share_key = *own.public().as_bytes();
            }
        }),
        refused
    );
}

#[test]
fn a09_server_weakens_a_constant() {
    let world = world(171);
    type Change = fn(&mut RoundParams);
    let cases: [(Change, &str); 5] = [
        (|p| p.threshold = 2, "announcement.params"),
        (|p| p.n_min = 1, "announcement.params"),
        (|p| p.norm_bound = 0, "announcement.params"),
        (|p| p.generator_set += 1, "announcement.params"),
        (|p| p.malicious_max = 0, "announcement.policy"),
    ];
    for (change, id) in cases {
        assert_eq!(announced(&world, change), Err(id.to_owned()));
    }
}
