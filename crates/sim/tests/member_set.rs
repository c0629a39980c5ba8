//! A malicious server against one member, until it endorsed: each message is refused by exactly one check.

mod common;

use common::member_bench::*;
use common::*;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use std::collections::BTreeMap;
use std::sync::Arc;
use veilsum_crypto::{Digest, IdentityKey, ShareSecretKey};
use veilsum_protocol::{Check, Culprit, Member, Message, Record, Refusal, ReplayError};
use veilsum_sim::{Setup, World};
use veilsum_wire::{Announcement, Certificate, EndorseContent, MemberPackage, Signed, VoidContent};

// ---- joining

#[test]
fn wrong_share_key_member_key() {
    let world = world(300);
    let (_, identity, _) = world.member_keys(M(1)).unwrap();
    let (_, _, other) = world.member_keys(M(2)).unwrap();
    let outsider = IdentityKey::from_seed(&[1; 32]);
    for (identity, key) in [(identity, other), (&outsider, other)] {
        let joined = Member::join(
            Arc::clone(&world.context),
            world.announcement(),
            identity.clone(),
            key.clone(),
        );
        assert_eq!(joined.err(), Some(Refusal::from(Check::MemberKey)));
    }
}

#[test]
fn announcement_by_somebody_else_announcement_signature() {
    let world = world(301);
    let (_, identity, key) = world.member_keys(M(1)).unwrap();
    let mut announcement = world.announcement();
    announcement.signed = Signed::sign(announcement.signed.content.clone(), identity);
    let joined = Member::join(
        Arc::clone(&world.context),
        announcement,
        identity.clone(),
        key.clone(),
    );
    assert_eq!(
        joined.err(),
        Some(Refusal::from(Check::AnnouncementSignature))
    );
}

#[test]
fn log_of_other_parameters_announcement_other() {
    let world = world(302);
    let (_, identity, key) = world.member_keys(M(1)).unwrap();
    // Parameters, or what is signed of them, may be the right ones: both must be.
    for (params, signed) in [(true, true), (true, false), (false, true)] {
        let mut announcement = world.announcement();
        let mut other = announcement.params.clone();
        other.scale_bits += 1;
        if signed {
            announcement.signed.content.params_digest = veilsum_wire::params_digest(&other);
        }
        if params {
            announcement.params = other;
        }
        announcement.signed = Signed::sign(announcement.signed.content.clone(), &world.server);
        refused_as_other(&world, identity, key, announcement);
    }
}

fn refused_as_other(
    world: &World,
    identity: &IdentityKey,
    key: &ShareSecretKey,
    announcement: Announcement,
) {
    let joined = Member::join(
        Arc::clone(&world.context),
        announcement.clone(),
        identity.clone(),
        key.clone(),
    );
    assert_eq!(joined.err(), Some(Refusal::from(Check::AnnouncementOther)));
    let records = [Record::MemberAnnouncement { announcement }];
    let mut rng = ChaCha20Rng::seed_from_u64(0);
    let replayed = Member::replay(
        Arc::clone(&world.context),
        identity.clone(),
        key.clone(),
        records,
        &mut rng,
    );
    let refusal = Refusal::from(Check::AnnouncementOther);
    assert_eq!(
        replayed.err(),
        Some(ReplayError::Refused { record: 0, refusal })
    );
}

#[test]
fn logs_of_other_roles_are_not_replayed() {
    let world = world(303);
    let (_, identity, key) = world.member_keys(M(1)).unwrap();
    let mut rng = ChaCha20Rng::seed_from_u64(0);
    let mut replay = |records: Vec<Record>| {
        Member::replay(
            Arc::clone(&world.context),
            identity.clone(),
            key.clone(),
            records,
            &mut rng,
        )
        .err()
    };
    assert_eq!(replay(vec![]), Some(ReplayError::Empty));
    let own = Record::MemberAnnouncement {
        announcement: world.announcement(),
    };
    let servers = Record::ServerAnnouncement {
        sent: world.announcement(),
    };
    assert_eq!(
        replay(vec![servers.clone()]),
        Some(ReplayError::Unexpected {
            record: 0,
            tag: 0x20
        })
    );
    assert_eq!(
        replay(vec![own.clone(), servers]),
        Some(ReplayError::Unexpected {
            record: 1,
            tag: 0x20
        })
    );
    // What came before the announcement, or before the package, it never wrote.
    let content = VoidContent {
        params_digest: *world.context.digest(),
    };
    let void = Record::MemberVoid {
        accepted: Signed::sign(content, &world.server),
    };
    let early = |record: usize, what: &Record| {
        let tag = what.tag();
        Some(ReplayError::Unexpected { record, tag })
    };
    assert_eq!(replay(vec![void.clone(), own.clone()]), early(0, &void));
    let hands = honest(&world);
    let (_, _, bench) = endorsed(&hands);
    let endorsement = bench.log.last().unwrap().clone();
    assert!(matches!(endorsement, Record::MemberEndorse { .. }));
    let without_package = vec![own, endorsement.clone()];
    assert_eq!(replay(without_package), early(1, &endorsement));
}

// ---- step 2

#[test]
fn proposal_of_another_key_proposal_signature() {
    let world = world(310);
    let hands = honest(&world);
    let mut proposal = hands.proposal(&everybody(&world));
    proposal.signed = Signed::sign(
        proposal.signed.content.clone(),
        &world.identities[&everybody(&world)[0]],
    );
    MemberBench::new(&hands, 1)
        .package(&proposal)
        .refused_by("proposal.signature");
}

#[test]
fn proposal_of_another_round_proposal_round() {
    let world = world(311);
    let hands = honest(&world);
    let mut proposal = hands.proposal(&everybody(&world));
    proposal.signed.content.params_digest = Digest([1; 32]);
    proposal.signed = Signed::sign(proposal.signed.content.clone(), &world.server);
    MemberBench::new(&hands, 1)
        .package(&proposal)
        .refused_by("proposal.round");
}

#[test]
fn doubled_or_unordered_ids_proposal_order() {
    let world = world(312);
    let hands = honest(&world);
    let mut doubled = everybody(&world);
    doubled[1] = doubled[0];
    let mut unordered = everybody(&world);
    unordered.swap(2, 3);
    for clients in [doubled, unordered] {
        MemberBench::new(&hands, 1)
            .package(&hands.proposal(&clients))
            .refused_by("proposal.order");
    }
}

#[test]
fn a13_one_victim_among_sybils_that_were_not_sampled_proposal_cohort() {
    let world = World::new(Setup {
        roster: 14,
        ..Setup::small(313)
    })
    .unwrap();
    let hands = honest(&world);
    let victim = world.context.cohort()[0];
    let mut clients: Vec<_> = world
        .identities
        .keys()
        .filter(|c| !world.context.in_cohort(**c))
        .take(6)
        .copied()
        .collect();
    clients.push(victim);
    clients.sort_unstable();
    MemberBench::new(&hands, 1)
        .package(&hands.proposal(&clients))
        .refused_by("proposal.cohort");
}

#[test]
fn too_small_or_too_large_proposal_count() {
    let world = World::new(Setup {
        roster: 14,
        ..Setup::small(314)
    })
    .unwrap();
    let hands = honest(&world);
    let few = &everybody(&world)[..4];
    let many: Vec<_> = world.identities.keys().copied().collect();
    for clients in [few, &many] {
        MemberBench::new(&hands, 1)
            .package(&hands.proposal(clients))
            .refused_by("proposal.count");
    }
}

#[test]
fn root_of_other_entries_proposal_root() {
    let world = world(315);
    let hands = honest(&world);
    let mut proposal = hands.proposal(&everybody(&world));
    proposal.entries.pop();
    MemberBench::new(&hands, 1)
        .package(&proposal)
        .refused_by("proposal.root");
}

#[test]
fn headers_that_are_not_the_entries_proposal_headers() {
    let world = world(316);
    let hands = honest(&world);
    let proposal = hands.proposal(&everybody(&world));
    let package = |change: &dyn Fn(&mut MemberPackage)| {
        let mut package = hands.package(&proposal, M(1));
        change(&mut package);
        MemberBench::new(&hands, 1)
            .give(Message::Package(package))
            .refused_by("proposal.headers");
    };
    package(&|p| p.headers.swap(0, 1));
    package(&|p| p.headers.truncate(6));
    package(&|p| p.headers[3].content.share_root = Digest([0; 32]));
}

#[test]
fn a_header_that_nobody_signed_is_refused_by_the_common_check() {
    let world = world(317);
    let hands = honest(&world);
    let victim = everybody(&world)[2];
    let proposal = hands.proposal(&everybody(&world));
    let mut package = hands.package(&proposal, M(1));
    package.headers[2] = Signed::sign(package.headers[2].content.clone(), &world.server);
    assert_eq!(package.headers[2].content.client, victim);
    MemberBench::new(&hands, 1)
        .give(Message::Package(package))
        .refused_by("header.signature");
}

#[test]
fn a_share_for_each_entry_share_count() {
    let world = world(318);
    let hands = honest(&world);
    let mut package = hands.package(&hands.proposal(&everybody(&world)), M(1));
    package.shares.pop();
    MemberBench::new(&hands, 1)
        .give(Message::Package(package))
        .refused_by("share.count");
}

#[test]
fn a14_share_of_another_member_is_never_decrypted_share_path() {
    let world = world(319);
    let hands = honest(&world);
    let proposal = hands.proposal(&everybody(&world));
    let mut package = hands.package(&proposal, M(1));
    package.shares[2] = hands.leaf(proposal.entries[2].0, M(2));
    // Neither endorsed nor complained of: it is the server's doing.
    MemberBench::new(&hands, 1)
        .give(Message::Package(package))
        .refused_by("share.path");
}

#[test]
fn a05_a_member_is_bound_to_one_root_proposal_equivocation() {
    let world = world(320);
    let hands = honest(&world);
    let all = everybody(&world);
    let (first, second) = (hands.proposal(&all), hands.proposal(&all[..6]));
    for restart in [false, true] {
        let mut bench = MemberBench::new(&hands, 1);
        let endorsed = bench.package(&first).one();
        if restart {
            bench.restart();
        }
        let got = bench.package(&second);
        got.refused_by("proposal.equivocation");
        assert_eq!(got.convicted, [(Culprit::Server, "proposal.equivocation")]);
        assert_eq!(
            bench.package(&first).one(),
            endorsed,
            "the same bytes again"
        );
    }
}

#[test]
fn a05_no_two_sets_are_opened_by_honest_shares_member_one_root() {
    let world = world(321);
    let hands = honest(&world);
    let all = everybody(&world);
    // P, Q and their union; members 4 and 5 are corrupted and endorse everything, 2t - m - 1 = 2 of them.
    let proposals = [
        hands.proposal(&all[..5]),
        hands.proposal(&all[2..]),
        hands.proposal(&all),
    ];
    let mut opened: BTreeMap<u16, Vec<Digest>> = BTreeMap::new();
    let mut benches: Vec<_> = (1..=3).map(|j| MemberBench::new(&hands, j)).collect();
    let mut endorsements: BTreeMap<Digest, Vec<Signed<EndorseContent>>> = BTreeMap::new();
    for (i, bench) in benches.iter_mut().enumerate() {
        // Each honest member is shown another proposal first, then all.
        for k in 0..3 {
            let proposal = &proposals[(i / 2 + k) % 3];
            for message in bench.package(proposal).messages() {
                let Message::Endorse(e) = message else {
                    panic!("an endorsement")
                };
                endorsements
                    .entry(e.signed.content.root)
                    .or_default()
                    .push(e.signed);
            }
        }
    }
    for proposal in &proposals {
        let mut list = endorsements
            .remove(&proposal.signed.content.root)
            .unwrap_or_default();
        list.dedup();
        list.extend([4, 5].map(|j| hands.endorsement(proposal, M(j)).unwrap()));
        list.sort_by_key(|e| e.content.member);
        let request = hands.unmask_request(proposal, &Certificate { endorsements: list }, &[], &[]);
        for bench in &mut benches {
            for message in bench
                .give(Message::UnmaskRequest(request.clone()))
                .messages()
            {
                let Message::Unmask(u) = message else {
                    panic!("an unmask message")
                };
                opened
                    .entry(bench.member.index().0)
                    .or_default()
                    .push(u.signed.content.root);
            }
        }
    }
    assert!(opened.values().all(|roots| roots.len() == 1));
    let roots: std::collections::BTreeSet<_> = opened.values().flatten().collect();
    assert_eq!(roots.len(), 1, "honest shares were opened over one set");
    // Even a perfect certificate for another root does not help.
    let other = benches[0].member.root().unwrap();
    let proposal = proposals
        .iter()
        .find(|p| p.signed.content.root != other)
        .unwrap();
    let certificate = hands.certificate(proposal, &[2, 3, 4, 5]).unwrap();
    let request = hands.unmask_request(proposal, &certificate, &[], &[]);
    benches[0]
        .give(Message::UnmaskRequest(request))
        .refused_by("member.one-root");
    let convicted = hands.convicted(proposal, &certificate, &[], &[]);
    let got = benches[0].give(Message::Convicted(convicted));
    got.refused_by("proposal.equivocation");
    let server = veilsum_protocol::Culprit::Server;
    assert_eq!(got.convicted, [(server, "proposal.equivocation")]);
}
