//! A malicious server against one member that endorsed: each message is refused by exactly one check.

mod common;

use common::member_bench::*;
use common::*;
use veilsum_crypto::{Digest, IdentityKey, ShareSecretKey};
use veilsum_protocol::{Culprit, Message, Record};
use veilsum_wire::{Signed, VoidContent};

// ---- unmasking

#[test]
fn nothing_is_signed_without_a_package_package_missing() {
    let world = world(330);
    let hands = honest(&world);
    let proposal = hands.proposal(&everybody(&world));
    let certificate = hands.certificate(&proposal, &[2, 3, 4, 5]).unwrap();
    let mut bench = MemberBench::new(&hands, 1);
    let unmask = Message::UnmaskRequest(hands.unmask_request(&proposal, &certificate, &[], &[]));
    let convicted = Message::Convicted(hands.convicted(&proposal, &certificate, &[], &[]));
    bench.give(unmask.clone()).refused_by("package.missing");
    bench.give(convicted).refused_by("package.missing");
    bench
        .give(Message::RowsRequest(hands.rows_request(&proposal, 4)))
        .refused_by("package.missing");
    bench
        .give(Message::RevealRequest(hands.reveal_request(&proposal, &[])))
        .refused_by("package.missing");
    // With the package it endorses, late as it is, and unmasks.
    assert!(matches!(
        bench.package(&proposal).one(),
        Message::Endorse(_)
    ));
    assert!(matches!(bench.give(unmask).one(), Message::Unmask(_)));
}

#[test]
fn list_of_another_key_list_signature() {
    let world = world(331);
    let hands = honest(&world);
    let (proposal, certificate, mut bench) = endorsed(&hands);
    let mut request = hands.unmask_request(&proposal, &certificate, &[], &[]);
    request.list = Signed::sign(
        request.list.content,
        &world.identities[&everybody(&world)[0]],
    );
    bench
        .give(Message::UnmaskRequest(request))
        .refused_by("list.signature");
}

#[test]
fn list_out_of_order_or_of_another_round_list_content() {
    let world = world(332);
    let (hands, dealer) = with_bad_dealer(&world);
    let (proposal, certificate, mut bench) = endorsed(&hands);
    let complaint = hands.complaint(&proposal, dealer, M(2)).unwrap();
    let doubled = hands.unmask_request(
        &proposal,
        &certificate,
        &[dealer; 2],
        &[complaint.clone(), complaint],
    );
    bench
        .give(Message::UnmaskRequest(doubled))
        .refused_by("list.content");
    let mut foreign = hands.unmask_request(&proposal, &certificate, &[], &[]);
    foreign.list.content.params_digest = Digest([0; 32]);
    foreign.list = Signed::sign(foreign.list.content, &world.server);
    bench
        .give(Message::UnmaskRequest(foreign))
        .refused_by("list.content");
}

#[test]
fn dealers_without_complaints_that_count_list_complaints() {
    let world = world(333);
    let (hands, dealer) = with_bad_dealer(&world);
    let victim = world.plain_clients()[1];
    let (proposal, certificate, mut bench) = endorsed(&hands);
    let (good, false_one) = (
        hands.complaint(&proposal, dealer, M(2)).unwrap(),
        hands.complaint(&proposal, victim, M(3)).unwrap(),
    );
    let elsewhere = hands
        .complaint(&hands.proposal(&everybody(&world)[1..]), dealer, M(2))
        .unwrap();
    for (list, complaints) in [
        (vec![victim], vec![]),
        (vec![victim], vec![false_one.clone()]),
        (vec![victim], vec![good.clone()]),
        (vec![dealer], vec![elsewhere]),
        (vec![], vec![good.clone()]),
    ] {
        let request = hands.unmask_request(&proposal, &certificate, &list, &complaints);
        bench
            .give(Message::UnmaskRequest(request))
            .refused_by("list.complaints");
    }
    let request = hands.unmask_request(&proposal, &certificate, &[dealer], &[good]);
    let Message::Unmask(unmask) = bench.give(Message::UnmaskRequest(request)).one() else {
        panic!("unmasked")
    };
    assert_eq!(unmask.signed.content.convicted, [dealer]);
    // Nobody else's share is revealed on a false complaint either.
    let request = hands.reveal_request(&proposal, &[false_one]);
    bench
        .give(Message::RevealRequest(request))
        .refused_by("list.complaints");
}

#[test]
fn fewer_than_t_or_doubled_members_certificate_members() {
    let world = world(334);
    let hands = honest(&world);
    let proposal = hands.proposal(&everybody(&world));
    let mut bench = MemberBench::new(&hands, 1);
    bench.package(&proposal).one();
    for members in [&[2, 3, 4][..], &[2, 3, 4, 4], &[2, 2, 3, 4], &[5, 4, 3, 2]] {
        let certificate = hands.certificate(&proposal, members).unwrap();
        let request = hands.unmask_request(&proposal, &certificate, &[], &[]);
        bench
            .give(Message::UnmaskRequest(request))
            .refused_by("certificate.members");
    }
}

#[test]
fn endorsements_that_members_did_not_sign_certificate_signature() {
    let world = world(335);
    let hands = honest(&world);
    let proposal = hands.proposal(&everybody(&world));
    let mut bench = MemberBench::new(&hands, 1);
    bench.package(&proposal).one();
    let mut certificate = hands.certificate(&proposal, &[2, 3, 4, 5]).unwrap();
    certificate.endorsements[3].signature = certificate.endorsements[2].signature;
    let request = hands.unmask_request(&proposal, &certificate, &[], &[]);
    bench
        .give(Message::UnmaskRequest(request))
        .refused_by("certificate.signature");
}

#[test]
fn endorsements_of_another_root_certificate_root() {
    let world = world(336);
    let hands = honest(&world);
    let proposal = hands.proposal(&everybody(&world));
    let mut bench = MemberBench::new(&hands, 1);
    bench.package(&proposal).one();
    let other = hands
        .certificate(&hands.proposal(&everybody(&world)[1..]), &[2, 3, 4, 5])
        .unwrap();
    let request = hands.unmask_request(&proposal, &other, &[], &[]);
    bench
        .give(Message::UnmaskRequest(request))
        .refused_by("certificate.root");
}

#[test]
fn one_unmask_message_whatever_list_comes_later_and_whenever_it_stops() {
    let world = world(337);
    let (hands, dealer) = with_bad_dealer(&world);
    let (proposal, certificate, mut bench) = endorsed(&hands);
    let complaint = hands.complaint(&proposal, dealer, M(2)).unwrap();
    let short = Message::UnmaskRequest(hands.unmask_request(&proposal, &certificate, &[], &[]));
    let long = Message::UnmaskRequest(hands.unmask_request(
        &proposal,
        &certificate,
        &[dealer],
        std::slice::from_ref(&complaint),
    ));
    let first = bench.give(short).one();
    assert_eq!(bench.give(long.clone()).one(), first);
    bench.restart();
    assert_eq!(bench.give(long).one(), first);
    // The convicted dealer's share is revealed, the same bytes each time.
    let reveal =
        Message::RevealRequest(hands.reveal_request(&proposal, std::slice::from_ref(&complaint)));
    let revealed = bench.give(reveal.clone()).one();
    bench.restart();
    assert_eq!(bench.give(reveal.clone()).one(), revealed);
    // A member that left the dealer out has nothing to reveal.
    let mut other = MemberBench::new(&hands, 2);
    let Message::Endorse(endorsed) = other.package(&proposal).one() else {
        panic!("endorsed")
    };
    assert_eq!(endorsed.complaints.len(), 1);
    let short = Message::UnmaskRequest(hands.unmask_request(&proposal, &certificate, &[], &[]));
    let Message::Unmask(unmask) = other.give(short).one() else {
        panic!("unmasked")
    };
    assert_eq!(
        (
            &unmask.signed.content.convicted[..],
            unmask.complaints.len()
        ),
        (&[dealer][..], 1)
    );
    let got = other.give(reveal);
    assert!(got.sent.is_empty() && got.refused.is_empty());
}

#[test]
fn nothing_is_revealed_before_unmasking_reveal_content() {
    let world = world(338);
    let (hands, dealer) = with_bad_dealer(&world);
    let proposal = hands.proposal(&everybody(&world));
    let complaint = hands.complaint(&proposal, dealer, M(2)).unwrap();
    let mut bench = MemberBench::new(&hands, 1);
    bench.package(&proposal).one();
    bench
        .give(Message::RevealRequest(
            hands.reveal_request(&proposal, &[complaint]),
        ))
        .refused_by("reveal.content");
}

// ---- Finals

#[test]
fn list_signed_by_somebody_else_convicted_signature() {
    let world = world(340);
    let hands = honest(&world);
    let (proposal, certificate, mut bench) = endorsed(&hands);
    let mut message = hands.convicted(&proposal, &certificate, &[], &[]);
    message.signed = Signed::sign(
        message.signed.content,
        &world.identities[&everybody(&world)[0]],
    );
    bench
        .give(Message::Convicted(message))
        .refused_by("convicted.signature");
}

#[test]
fn list_in_another_order_convicted_order() {
    let world = world(341);
    let (hands, dealer) = with_bad_dealer(&world);
    let (proposal, certificate, mut bench) = endorsed(&hands);
    let complaint = hands.complaint(&proposal, dealer, M(2)).unwrap();
    let doubled = hands.convicted(
        &proposal,
        &certificate,
        &[dealer, dealer],
        &[complaint.clone(), complaint],
    );
    bench
        .give(Message::Convicted(doubled))
        .refused_by("convicted.order");
    let mut foreign = hands.convicted(&proposal, &certificate, &[], &[]);
    foreign.signed.content.params_digest = Digest([0; 32]);
    foreign.signed = Signed::sign(foreign.signed.content, &world.server);
    bench
        .give(Message::Convicted(foreign))
        .refused_by("convicted.order");
}

#[test]
fn a18_dealers_outside_u_would_change_the_divisor_convicted_in_set() {
    let world = world(342);
    let (hands, dealer) = with_bad_dealer(&world);
    let others: Vec<_> = everybody(&world)
        .into_iter()
        .filter(|c| *c != dealer)
        .collect();
    let proposal = hands.proposal(&others);
    let certificate = hands.certificate(&proposal, &[2, 3, 4, 5]).unwrap();
    let complaint = hands.complaint(&proposal, dealer, M(2)).unwrap();
    let mut bench = MemberBench::new(&hands, 1);
    bench.package(&proposal).one();
    let message = hands.convicted(&proposal, &certificate, &[dealer], &[complaint]);
    bench
        .give(Message::Convicted(message))
        .refused_by("convicted.in-set");
}

#[test]
fn dealers_without_complaints_that_count_convicted_complaints() {
    let world = world(343);
    let hands = honest(&world);
    let victim = world.plain_clients()[0];
    let (proposal, certificate, mut bench) = endorsed(&hands);
    for complaints in [
        vec![],
        vec![hands.complaint(&proposal, victim, M(3)).unwrap()],
    ] {
        let message = hands.convicted(&proposal, &certificate, &[victim], &complaints);
        bench
            .give(Message::Convicted(message))
            .refused_by("convicted.complaints");
    }
}

#[test]
fn a_final_needs_a_certificate() {
    let world = world(344);
    let hands = honest(&world);
    let proposal = hands.proposal(&everybody(&world));
    let mut bench = MemberBench::new(&hands, 1);
    bench.package(&proposal).one();
    let certificate = hands.certificate(&proposal, &[3, 4, 5]).unwrap();
    bench
        .give(Message::Convicted(hands.convicted(
            &proposal,
            &certificate,
            &[],
            &[],
        )))
        .refused_by("certificate.members");
}

#[test]
fn two_fixed_lists_convict_the_server_convicted_equivocation() {
    let world = world(345);
    let (hands, dealer) = with_bad_dealer(&world);
    let (proposal, certificate, mut bench) = endorsed(&hands);
    let complaint = hands.complaint(&proposal, dealer, M(2)).unwrap();
    let first = Message::Convicted(hands.convicted(&proposal, &certificate, &[], &[]));
    let second =
        Message::Convicted(hands.convicted(&proposal, &certificate, &[dealer], &[complaint]));
    // It needs not have unmasked.
    assert!(!bench.member.is_final());
    let signed = bench.give(first.clone()).one();
    assert!(bench.member.is_final());
    bench.restart();
    let got = bench.give(second);
    got.refused_by("convicted.equivocation");
    assert_eq!(got.convicted, [(Culprit::Server, "convicted.equivocation")]);
    assert_eq!(bench.give(first).one(), signed);
}

#[test]
fn a_void_round_beside_a_fixed_list_convicts_the_server_void_equivocation() {
    let world = world(346);
    let hands = honest(&world);
    let proposal = hands.proposal(&everybody(&world));
    let certificate = hands.certificate(&proposal, &[2, 3, 4, 5]).unwrap();
    let void = Message::Void(Signed::sign(
        VoidContent {
            params_digest: world.digest(),
        },
        &world.server,
    ));
    let convicted = Message::Convicted(hands.convicted(&proposal, &certificate, &[], &[]));
    for void_first in [true, false] {
        let mut bench = MemberBench::new(&hands, 1);
        bench.package(&proposal).one();
        let (first, second) = if void_first {
            (&void, &convicted)
        } else {
            (&convicted, &void)
        };
        let got = bench.give(first.clone());
        assert_eq!(got.outcome.is_some(), void_first);
        let got = bench.give(second.clone());
        got.refused_by("void.equivocation");
        assert_eq!(got.convicted, [(Culprit::Server, "void.equivocation")]);
    }
}

#[test]
fn nothing_is_signed_for_a_void_round() {
    let world = world(347);
    let hands = honest(&world);
    let mut bench = MemberBench::new(&hands, 1);
    bench.give(Message::Void(Signed::sign(
        VoidContent {
            params_digest: world.digest(),
        },
        &world.server,
    )));
    for _ in 0..2 {
        let got = bench.package(&hands.proposal(&everybody(&world)));
        assert!(got.sent.is_empty());
        bench.restart();
    }
}

#[test]
fn void_declared_by_somebody_else_void_signature() {
    let world = world(348);
    let hands = honest(&world);
    let somebody = &world.identities[&everybody(&world)[0]];
    let void = Signed::sign(
        VoidContent {
            params_digest: world.digest(),
        },
        somebody,
    );
    MemberBench::new(&hands, 1)
        .give(Message::Void(void))
        .refused_by("void.signature");
}

#[test]
fn another_round_declared_void_void_round() {
    let world = world(349);
    let hands = honest(&world);
    let void = Signed::sign(
        VoidContent {
            params_digest: Digest([0; 32]),
        },
        &world.server,
    );
    MemberBench::new(&hands, 1)
        .give(Message::Void(void))
        .refused_by("void.round");
}

// ---- row sums

#[test]
fn rows_are_summed_for_a_fixed_list_only_rows_before_final() {
    let world = world(350);
    let hands = honest(&world);
    let proposal = hands.proposal(&everybody(&world));
    let mut bench = MemberBench::new(&hands, 1);
    bench.package(&proposal).one();
    bench
        .give(Message::RowsRequest(hands.rows_request(&proposal, 4)))
        .refused_by("rows.before-final");
}

#[test]
fn a15_rows_that_no_header_states_rows_path() {
    let world = wide(351);
    let hands = honest(&world);
    let (proposal, mut bench) = finalised(&hands);
    let good = hands.rows_request(&proposal, 2);
    let mut requests = vec![good.clone(); 5];
    requests[0].leaves[3].rows[0] = requests[0].leaves[2].rows[0];
    requests[1].leaves.swap(0, 1);
    requests[2].leaves.pop();
    requests[3].slice = 3;
    requests[4].slice = 5;
    for request in requests {
        bench
            .give(Message::RowsRequest(request))
            .refused_by("rows.path");
    }
    assert!(matches!(
        bench.give(Message::RowsRequest(good)).one(),
        Message::Rows(_)
    ));
}

#[test]
fn row_lists_grow_and_the_same_bytes_come_again() {
    let world = wide(352);
    let hands = honest(&world);
    let (proposal, mut bench) = finalised(&hands);
    let (first, second) = (
        hands.rows_request(&proposal, 3),
        hands.rows_request(&proposal, 1),
    );
    let Message::Rows(one) = bench.give(Message::RowsRequest(first)).one() else {
        panic!("rows")
    };
    let Message::Rows(two) = bench.give(Message::RowsRequest(second.clone())).one() else {
        panic!("rows")
    };
    assert_eq!(one.signed.content.slices.len(), 1);
    assert_eq!(
        two.signed
            .content
            .slices
            .iter()
            .map(|s| s.0)
            .collect::<Vec<_>>(),
        [1, 3]
    );
    assert_eq!(two.signed.content.slices[1], one.signed.content.slices[0]);
    bench.restart();
    let Message::Rows(again) = bench.give(Message::RowsRequest(second)).one() else {
        panic!("rows")
    };
    assert_eq!(again, two);
}

#[test]
fn a_row_that_is_no_point_rows_encoding() {
    let world = world(353);
    // A client whose X-row is no point: only a server that did not verify its proof has it in U.
    let liar = world.context.cohort()[0];
    let mut hands = honest(&world);
    let contribution = hands.contributions.get_mut(&liar).unwrap();
    contribution.body.matrix[0] = [0xff; 32];
    let digests = contribution
        .body
        .digests(world.context.params(), world.context.layout());
    contribution.header.content.row_root = digests.row_root;
    contribution.header = Signed::sign(
        contribution.header.content.clone(),
        &world.identities[&liar],
    );
    let (proposal, mut bench) = finalised(&hands);
    bench
        .give(Message::RowsRequest(hands.rows_request(&proposal, 4)))
        .refused_by("rows.encoding");
}

#[test]
fn a_member_stops_after_any_record_and_signs_nothing_else() {
    let world = world(354);
    let (hands, dealer) = with_bad_dealer(&world);
    let proposal = hands.proposal(&everybody(&world));
    let certificate = hands.certificate(&proposal, &[1, 3, 4, 5]).unwrap();
    let complaint = hands.complaint(&proposal, dealer, M(2)).unwrap();
    let messages = [
        Message::Package(hands.package(&proposal, M(2))),
        Message::UnmaskRequest(hands.unmask_request(&proposal, &certificate, &[], &[])),
        Message::Convicted(hands.convicted(&proposal, &certificate, &[dealer], &[complaint])),
        Message::RowsRequest(hands.rows_request(&proposal, 4)),
    ];
    let mut whole = MemberBench::new(&hands, 2);
    let sent: Vec<Message> = messages
        .iter()
        .map(|m| whole.give(m.clone()).one())
        .collect();
    for records in 1..=whole.log.len() {
        let mut bench = MemberBench::new(&hands, 2);
        bench.log = whole.log[..records].to_vec();
        bench.restart();
        // Whoever asks gets the bytes that are in the log, and for what is not in it something was never sent.
        let again: Vec<Message> = messages
            .iter()
            .map(|m| bench.give(m.clone()).one())
            .collect();
        let logged = |r: &Record| matches!(r, Record::MemberEndorse { .. });
        if whole.log[..records].iter().any(logged) {
            assert_eq!(again, sent, "after record {records}");
        }
    }
}

#[test]
fn debug_output_holds_no_secret() {
    let world = world(355);
    let hands = honest(&world);
    let mut bench = MemberBench::new(&hands, 1);
    bench.package(&hands.proposal(&everybody(&world))).one();
    let shown = format!("{:?}", bench.member);
    assert!(shown.contains("<redacted>"));
    let (_, identity, share_key): (_, &IdentityKey, &ShareSecretKey) =
        world.member_keys(M(1)).unwrap();
    for secret in [*identity.to_seed(), *share_key.to_bytes()] {
        assert!(!shown.contains(&Digest(secret).to_hex()));
        assert!(!shown.contains(&format!("{secret:?}")));
    }
}
