//! Malicious clients and members against the server, until U is certified: each message is refused by exactly one
//! check.

mod common;

use common::server_bench::*;
use common::*;
use std::collections::BTreeMap;
use std::sync::Arc;
use veilsum_crypto::{Digest, IdentityKey};
use veilsum_protocol::{
    Admission, Bytes, Check, Culprit, Event, Input, Message, Output, Owed, Party, Phase, Record,
    Refusal, ServerRound, verify_contribution,
};
use veilsum_sim::{Deviation, Hands};
use veilsum_wire::Endorse;

// ---- collecting

#[test]
fn key_that_the_parameters_do_not_name_announcement_server_key() {
    let world = world(400);
    let other = IdentityKey::from_seed(&[4; 32]);
    let announced = ServerRound::announce(
        Arc::clone(&world.context),
        Arc::clone(&world.round),
        other,
        Box::new(Bodies::default()),
    );
    assert_eq!(
        announced.err(),
        Some(Refusal::from(Check::AnnouncementServerKey))
    );
}

#[test]
fn the_same_contribution_gets_the_same_receipt_and_one_record() {
    let world = world(401);
    let hands = honest(&world);
    let client = world.context.cohort()[0];
    let mut bench = ServerBench::new(&hands);
    let (first, again) = (bench.upload(client), bench.upload(client));
    assert_eq!((first.persisted, again.persisted), (2, 0));
    assert_eq!(first.sent, again.sent);
    let Admission::Known(receipt) = bench.server.admit(&hands.contributions[&client].header) else {
        panic!("known")
    };
    assert_eq!(first.sent[0].1, Message::Receipt(*receipt));
}

#[test]
fn a16_nothing_is_taken_after_u_is_fixed_contribution_closed() {
    let world = world(402);
    let hands = honest(&world);
    let late = world.context.cohort()[6];
    let mut bench = ServerBench::new(&hands);
    for client in &world.context.cohort()[..6] {
        bench.upload(*client);
    }
    assert_eq!(
        bench.server.admit(&hands.contributions[&late].header),
        Admission::Verify
    );
    let proposed = bench.input(Input::DeadlineReached);
    assert_eq!(proposed.names(), ["Package"; 5]);
    // Verified before the proposal, given after it: no receipt, no record.
    bench.upload(late).refused_by("contribution.closed");
    let Admission::Refused(outputs) = bench.server.admit(&hands.contributions[&late].header) else {
        panic!("refused")
    };
    bench.read(outputs).refused_by("contribution.closed");
    // Members of U get theirs again.
    assert_eq!(bench.upload(world.context.cohort()[0]).names(), ["Receipt"]);
    // The same holds for a server that comes back.
    let (mut server, _) = bench.replay(bench.log.clone()).unwrap();
    assert!(matches!(
        server.admit(&hands.contributions[&late].header),
        Admission::Refused(_)
    ));
    assert_eq!(server.proposal(), bench.server.proposal());
}

#[test]
fn a16_a_contribution_whose_receipt_was_not_signed_when_the_server_stopped_is_in_u() {
    let world = world(403);
    let hands = honest(&world);
    let mut bench = ServerBench::new(&hands);
    for client in &world.context.cohort()[..5] {
        bench.upload(*client);
    }
    let Some(Record::ServerReceipt { sent }) = bench.log.pop() else {
        panic!("the last record is a receipt")
    };
    let (mut server, outputs) = bench.replay(bench.log.clone()).unwrap();
    // The receipt is signed now, and is the one that it would have been.
    assert!(outputs.contains(&Output::Persist(Record::ServerReceipt {
        sent: sent.clone()
    })));
    let _ = server.handle(Input::DeadlineReached);
    let entries = &server.proposal().unwrap().entries;
    assert!(entries.contains(&(sent.content.client, sent.content.header_digest)));
}

#[test]
fn too_few_contributions_then_enough() {
    let world = world(404);
    let hands = honest(&world);
    let mut bench = ServerBench::new(&hands);
    for client in &world.context.cohort()[..4] {
        bench.upload(*client);
    }
    let got = bench.input(Input::DeadlineReached);
    assert_eq!(
        (&got.events[..], got.persisted),
        (&[Event::TooFew { got: 4, want: 5 }][..], 0)
    );
    bench.upload(world.context.cohort()[5]);
    let packages = bench.input(Input::DeadlineReached);
    assert_eq!(packages.names(), ["Package"; 5]);
    assert_eq!(bench.server.phase(), Phase::Endorsing);
    // U is fixed once, and who endorsed it needs its package no more.
    let again = bench.input(Input::DeadlineReached);
    assert_eq!((again.persisted, again.sent.len()), (0, 0));
    bench.answered([1, 3], &packages);
    let asked = bench.input(Input::Retry).sent;
    let asked: Vec<Party> = asked.into_iter().map(|(to, _)| to).collect();
    assert_eq!(asked, [2, 4, 5].map(|j| Party::Member(M(j))));
    let slice = world.context.members();
    assert!(bench.server.owed(M(1), Owed::Rows { slice }).is_none());
}

#[test]
fn a_round_that_is_void_proposes_nothing() {
    let world = world(407);
    let hands = honest(&world);
    let mut bench = ServerBench::new(&hands);
    for client in &world.context.cohort()[..5] {
        bench.upload(*client);
    }
    bench.input(Input::DeclareVoid);
    let late = bench.input(Input::DeadlineReached);
    assert_eq!((late.persisted, late.sent.len()), (0, 0));
    assert!(bench.server.proposal().is_none());
}

#[test]
fn a_refused_contribution_is_recorded_once_however_often_it_comes() {
    let world = world(405);
    let client = world.plain_clients()[0];
    let mut update = vec![0; 12];
    (update[3], update[4]) = (1000, -1);
    let deviation = Deviation {
        update: Some(update),
        ..Deviation::default()
    };
    let hands = Hands::new(&world, &BTreeMap::from([(client, deviation)])).unwrap();
    let c = &hands.contributions[&client];
    let refusal = verify_contribution(
        &world.context,
        &world.round,
        c.header.clone(),
        c.body.clone(),
    )
    .err()
    .unwrap();
    let mut bench = ServerBench::new(&hands);
    let mut records = Vec::new();
    for _ in 0..3 {
        let (header, body) = (c.header.clone(), Bytes(c.body.to_bytes()));
        let got = bench.input(Input::Invalid {
            header,
            body,
            refusal: refusal.clone(),
        });
        assert_eq!(got.refused, ["proof.norm-range"]);
        records.push(got.persisted);
    }
    assert_eq!(records, [1, 0, 0]);
    let (server, _) = bench.replay(bench.log.clone()).unwrap();
    assert_eq!(server.evidence(), bench.server.evidence());
    assert_eq!(server.evidence().len(), 1);
}

#[test]
fn a_body_that_does_not_belong_to_its_header_speaks_against_nobody() {
    let world = world(406);
    let hands = honest(&world);
    let victim = &hands.contributions[&world.context.cohort()[0]];
    let mut body = victim.body.clone();
    body.proof[0] ^= 1;
    let refusal = verify_contribution(
        &world.context,
        &world.round,
        victim.header.clone(),
        body.clone(),
    )
    .err()
    .unwrap();
    let mut bench = ServerBench::new(&hands);
    let got = bench.input(Input::Invalid {
        header: victim.header.clone(),
        body: Bytes(body.to_bytes()),
        refusal,
    });
    got.refused_by("body.proof");
    assert!(bench.server.evidence().is_empty());
    // Nor does what would convict the client that signed it, as long as nobody is named who did.
    let refusal = Refusal::from(Check::HeaderKnowledge);
    assert_eq!(refusal.culprit, None);
    let got = bench.input(Input::Invalid {
        header: victim.header.clone(),
        body: Bytes(victim.body.to_bytes()),
        refusal,
    });
    got.refused_by("header.knowledge");
    assert!(bench.server.evidence().is_empty());
}

// ---- endorsements

#[test]
fn endorsement_in_another_name_endorse_signature() {
    let world = world(410);
    let hands = honest(&world);
    let mut bench = ServerBench::new(&hands);
    let packages = bench.propose();
    let good = endorse(&bench.answers(1, &packages)[0]);
    for index in [2, 0, 6] {
        let mut forged = good.clone();
        forged.signed = resign(&world, M(1), &good.signed, |c| c.member = M(index));
        bench
            .give(Message::Endorse(forged))
            .refused_by("endorse.signature");
    }
}

#[test]
fn endorsement_of_something_else_endorse_content() {
    let world = world(411);
    let hands = honest(&world);
    let mut bench = ServerBench::new(&hands);
    let early = hands
        .endorsement(&hands.proposal(world.context.cohort()), M(1))
        .unwrap();
    bench
        .give(Message::Endorse(Endorse {
            signed: early,
            complaints: vec![],
        }))
        .refused_by("endorse.content");
    let packages = bench.propose();
    let good = endorse(&bench.answers(1, &packages)[0]);
    let mut give = |f: &dyn Fn(&mut veilsum_wire::EndorseContent)| {
        let signed = resign(&world, M(1), &good.signed, f);
        bench
            .give(Message::Endorse(Endorse {
                signed,
                complaints: vec![],
            }))
            .refused_by("endorse.content");
    };
    give(&|c| c.params_digest = Digest([0; 32]));
    give(&|c| c.count += 1);
    give(&|c| c.root = Digest([0; 32]));
    // The other root is kept, also over a restart, and convicts beside the endorsement of this one.
    let (server, _) = bench.replay(bench.log.clone()).unwrap();
    bench.server = server;
    let convicted = bench.give(Message::Endorse(good)).convicted;
    let (client, _, _) = world.member_keys(M(1)).unwrap();
    let index = M(1);
    let member = Culprit::Member { index, client };
    assert_eq!(convicted, [(member, "endorse.equivocation")]);
}

#[test]
fn complaints_that_were_not_endorsed_endorse_complaints() {
    let world = world(412);
    let (hands, dealer) = with_bad_dealer(&world);
    let mut bench = ServerBench::new(&hands);
    let packages = bench.propose();
    let proposal = bench.server.proposal().unwrap().clone();
    let mut message = endorse(&bench.answers(1, &packages)[0]);
    message.complaints = vec![hands.complaint(&proposal, dealer, M(2)).unwrap()];
    bench
        .give(Message::Endorse(message))
        .refused_by("endorse.complaints");
    let mut message = endorse(&bench.answers(2, &packages)[0]);
    message.complaints.clear();
    bench
        .give(Message::Endorse(message))
        .refused_by("endorse.complaints");
}

#[test]
fn t_distinct_members_make_a_certificate_and_doubled_ones_do_not() {
    let world = world(413);
    let hands = honest(&world);
    let mut bench = ServerBench::new(&hands);
    let packages = bench.propose();
    for _ in 0..3 {
        assert!(bench.answered([1, 2, 3], &packages).sent.is_empty());
    }
    assert_eq!(bench.server.phase(), Phase::Endorsing);
    assert_eq!(bench.answered([5], &packages).names(), ["UnmaskRequest"; 5]);
}
