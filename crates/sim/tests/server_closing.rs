//! Malicious members against the server at the end of a round, and what it does when its own disk fails it.

mod common;

use common::server_bench::*;
use common::*;
use curve25519_dalek::scalar::Scalar;
use veilsum_crypto::Digest;
use veilsum_params::ClientId;
use veilsum_protocol::{
    Bytes, Check, Culprit, Fault, Input, Message, Outcome, Output, Party, Phase, Record, Refusal,
    ReplayError, Upload, place_in,
};
use veilsum_sim::{Deviation, Hands};
use veilsum_wire::{Signed, Unmask, Wire};

// ---- unmasking

#[test]
fn sum_in_another_name_unmask_signature() {
    let world = world(420);
    let hands = honest(&world);
    let mut bench = ServerBench::new(&hands);
    let requests = certified(&mut bench);
    let good = unmask(&bench.answers(1, &requests)[0]);
    for index in [2, 0, 6] {
        let mut forged = good.clone();
        forged.signed = resign(&world, M(1), &good.signed, |c| c.member = M(index));
        bench
            .give(Message::Unmask(forged))
            .refused_by("unmask.signature");
    }
}

#[test]
fn sum_of_something_else_unmask_content() {
    let world = world(421);
    let hands = honest(&world);
    let mut bench = ServerBench::new(&hands);
    let requests = certified(&mut bench);
    let good = unmask(&bench.answers(1, &requests)[0]);
    let victim = world.plain_clients()[0];
    let mut give = |f: &dyn Fn(&mut veilsum_wire::UnmaskContent)| {
        let signed = resign(&world, M(1), &good.signed, f);
        bench
            .give(Message::Unmask(Unmask {
                signed,
                complaints: vec![],
            }))
            .refused_by("unmask.content");
    };
    give(&|c| c.params_digest = Digest([0; 32]));
    give(&|c| c.root = Digest([0; 32]));
    give(&|c| c.convicted = vec![victim; 2]);
    let mut early = ServerBench::new(&hands);
    early.propose();
    early
        .give(Message::Unmask(good))
        .refused_by("unmask.content");
}

#[test]
fn of_late_complaints_those_are_written_down_that_apply_to_something() {
    let world = world(425);
    let (hands, dealer) = with_bad_dealer(&world);
    let mut bench = ServerBench::new(&hands);
    let packages = bench.propose();
    // Member 2 has its package and complains when it unmasks, not before.
    bench.answers(2, &packages);
    let requests = bench.answered([1, 3, 4, 5], &packages);
    let mut sum = unmask(&bench.answers(2, &requests)[0]);
    let applies = sum.complaints[0].clone();
    let other = resign(&world, M(2), &applies, |c| {
        c.header_digest = Digest([0; 32])
    });
    sum.complaints.insert(0, other);
    let got = bench.give(Message::Unmask(sum));
    assert_eq!(got.convicted, [(Culprit::Client(dealer), "share.value")]);
    let written = bench.log.iter().rev().find_map(|record| match record {
        Record::ServerUnmask { accepted } => Some(accepted.complaints.clone()),
        _ => None,
    });
    assert_eq!(written, Some(vec![applies]));
}

#[test]
fn a_wrong_sum_is_recorded_once_however_often_it_is_changed() {
    let world = world(422);
    let hands = honest(&world);
    let mut bench = ServerBench::new(&hands);
    let requests = certified(&mut bench);
    let good = unmask(&bench.answers(1, &requests)[0]);
    let mut records = Vec::new();
    for i in 1..4u64 {
        let signed = resign(&world, M(1), &good.signed, |c| c.sum += Scalar::from(i));
        let got = bench.give(Message::Unmask(Unmask {
            signed,
            complaints: vec![],
        }));
        assert_eq!(got.refused, ["unmask.sum"]);
        records.push(got.persisted);
    }
    assert_eq!(records, [1, 0, 0]);
    // Members 2 to 5 are t.
    assert!(
        bench
            .answered([2, 3, 4, 5], &requests)
            .names()
            .contains(&"Convicted")
    );
}

#[test]
fn reveal_in_another_name_reveal_signature() {
    let world = world(423);
    let (hands, _) = with_bad_dealer(&world);
    let mut bench = ServerBench::new(&hands);
    let requests = revealing(&mut bench);
    // A longer list for those that did not unmask, reveals from those that did.
    assert_eq!(
        requests
            .names()
            .iter()
            .filter(|n| **n == "RevealRequest")
            .count(),
        3
    );
    let answer = bench
        .answers(1, &requests)
        .into_iter()
        .find(|m| m.name() == "Reveal");
    let Some(Message::Reveal(good)) = answer else {
        panic!("a reveal")
    };
    for index in [2, 0, 6] {
        let forged = resign(&world, M(1), &good, |c| c.member = M(index));
        bench
            .give(Message::Reveal(forged))
            .refused_by("reveal.signature");
    }
}

#[test]
fn reveal_of_something_else_reveal_content() {
    let world = world(424);
    let (hands, dealer) = with_bad_dealer(&world);
    let mut bench = ServerBench::new(&hands);
    assert_eq!(bench.server.contributions(), 0);
    let requests = revealing(&mut bench);
    assert_eq!(bench.server.contributions(), everybody(&world).len());
    assert_eq!(bench.server.convicted(), [dealer]);
    let answer = bench
        .answers(1, &requests)
        .into_iter()
        .find(|m| m.name() == "Reveal");
    let Some(Message::Reveal(good)) = answer else {
        panic!("a reveal")
    };
    let honest_dealer = bench.hands.contributions[&world.plain_clients()[1]]
        .header
        .content
        .digest();
    let mut give = |f: &dyn Fn(&mut veilsum_wire::RevealContent)| {
        bench
            .give(Message::Reveal(resign(&world, M(1), &good, f)))
            .refused_by("reveal.content");
    };
    give(&|c| c.params_digest = Digest([0; 32]));
    give(&|c| c.root = Digest([0; 32]));
    give(&|c| c.header_digest = Digest([0; 32]));
    give(&|c| c.header_digest = honest_dealer);
    // The right ones bring the round on: with member 5, who left the dealer out, they are t.
    bench.answered([1, 3, 4], &requests);
    let done = bench.answered([5], &requests);
    assert!(done.names().contains(&"Convicted"), "{:?}", done.names());
    assert_eq!(bench.server.convicted(), [dealer]);
    assert!(
        matches!(bench.log.iter().rev().nth(1), Some(Record::ServerClosing { reveals, .. }) if reveals.len() == 3)
    );
    let (again, _) = bench.replay(bench.log.clone()).unwrap();
    assert_eq!(again.convicted(), [dealer]);
    assert_eq!(again.phase(), bench.server.phase());
}

// ---- Finals, result, rows

#[test]
fn final_in_another_name_final_signature() {
    let world = world(430);
    let hands = honest(&world);
    let mut bench = ServerBench::new(&hands);
    let lists = fixed(&mut bench);
    let Message::Final(good) = bench.answers(1, &lists)[0].clone() else {
        panic!("a Final")
    };
    for index in [2, 0, 6] {
        bench
            .give(Message::Final(resign(&world, M(1), &good, |c| {
                c.member = M(index)
            })))
            .refused_by("final.signature");
    }
}

#[test]
fn final_about_something_else_final_content() {
    let world = world(431);
    let hands = honest(&world);
    let mut bench = ServerBench::new(&hands);
    let lists = fixed(&mut bench);
    let Message::Final(good) = bench.answers(1, &lists)[0].clone() else {
        panic!("a Final")
    };
    let (dealer, f_0) = (
        world.plain_clients()[0],
        hands.contributions[&world.plain_clients()[0]]
            .header
            .content
            .f_z,
    );
    let mut give = |f: &dyn Fn(&mut veilsum_wire::FinalContent)| {
        bench
            .give(Message::Final(resign(&world, M(1), &good, f)))
            .refused_by("final.content");
    };
    give(&|c| c.params_digest = Digest([0; 32]));
    give(&|c| c.root = Digest([0; 32]));
    give(&|c| c.count -= 1);
    give(&|c| c.convicted = vec![dealer]);
    give(&|c| c.sum_f0 = f_0);
    // Wrong ones do not count: three right ones are not t.
    bench.answered([2, 3, 4], &lists);
    assert!(bench.server.result().is_none());
    let mut early = ServerBench::new(&hands);
    early.propose();
    early.give(Message::Final(good)).refused_by("final.content");
}

#[test]
fn row_sums_in_another_name_rows_signature() {
    let world = wide(432);
    let hands = honest(&world);
    let mut bench = ServerBench::new(&hands);
    let requests = opened(&mut bench);
    let good = rows(&bench.answers(1, &requests)[0]);
    for index in [2, 0, 6] {
        let mut forged = good.clone();
        forged.signed = resign(&world, M(1), &good.signed, |c| c.member = M(index));
        bench
            .give(Message::Rows(forged))
            .refused_by("rows.signature");
    }
}

#[test]
fn row_sums_of_something_else_rows_content() {
    let world = wide(433);
    let hands = honest(&world);
    let mut bench = ServerBench::new(&hands);
    let requests = opened(&mut bench);
    let answers = bench.answers(1, &requests);
    let good = rows(answers.last().unwrap());
    assert_eq!(
        good.signed.content.slices.len(),
        3,
        "2t - m slices for each member"
    );
    let mut give = |f: &dyn Fn(&mut veilsum_wire::RowsContent)| {
        let mut rows = good.clone();
        rows.signed = resign(&world, M(1), &good.signed, f);
        bench.give(Message::Rows(rows)).refused_by("rows.content");
    };
    give(&|c| c.params_digest = Digest([0; 32]));
    give(&|c| c.root = Digest([0; 32]));
    give(&|c| c.convicted = Digest([0; 32]));
    give(&|c| c.slices.reverse());
    give(&|c| c.slices[2].0 = 7);
    give(&|c| c.slices.clear());
    give(&|c| c.slices.push(c.slices[2]));
    let mut other_values = good.clone();
    other_values.values.values.clear();
    bench
        .give(Message::Rows(other_values))
        .refused_by("rows.content");
    // The right list is written down once, however often it comes.
    let persisted = [good.clone(), good.clone()].map(|r| bench.give(Message::Rows(r)).persisted);
    assert_eq!(persisted, [1, 0]);
    let mut early = ServerBench::new(&hands);
    early.propose();
    early.give(Message::Rows(good)).refused_by("rows.content");
}

#[test]
fn the_members_that_are_waited_for_are_named_in_every_phase() {
    let world = wide(436);
    let hands = honest(&world);
    let mut bench = ServerBench::new(&hands);
    assert_eq!(bench.server.awaited(), []);
    let mut requests = bench.propose();
    // The fourth answer ends a phase; member 5 has its package, so that it can answer in the next one.
    bench.answers(5, &requests);
    for phase in [Phase::Endorsing, Phase::Unmasking, Phase::Finalising] {
        assert_eq!(bench.server.phase(), phase);
        assert_eq!(bench.server.awaited(), [1, 2, 3, 4, 5].map(M));
        assert_eq!(bench.answered([3, 1], &requests).sent.len(), 0);
        assert_eq!(bench.server.awaited(), [2, 4, 5].map(M));
        requests = bench.answered([2, 4], &requests);
    }
    assert_eq!(bench.server.phase(), Phase::Certifying);
    assert_eq!(bench.server.awaited(), [1, 2, 3, 4, 5].map(M));
    bench.answered([1, 2, 3, 4], &requests);
    assert_eq!(bench.server.awaited(), [M(5)]);
    let again = bench.input(Input::MemberSilent(M(5)));
    bench.answered([1, 2, 3, 4], &again);
    assert_eq!(bench.server.phase(), Phase::Done);
    assert_eq!(bench.server.awaited(), []);
}

#[test]
fn nobody_else_is_asked_for_what_a_member_signed_before_it_fell_silent() {
    let world = wide(437);
    let hands = honest(&world);
    let mut bench = ServerBench::new(&hands);
    let requests = opened(&mut bench);
    bench.answered([1], &requests);
    assert_eq!(bench.input(Input::MemberSilent(M(1))).sent.len(), 0);
    assert_eq!(bench.input(Input::MemberSilent(M(2))).sent.len(), 3);
}

#[test]
fn slices_of_silent_members_go_to_others_in_turn() {
    let world = wide(434);
    let hands = honest(&world);
    let mut bench = ServerBench::new(&hands);
    let requests = opened(&mut bench);
    // Slice q goes to members q + 1 .. q + 3 first.
    assert_eq!(requests.sent.len(), 15);
    assert!(bench.answered([2, 3, 4, 5], &requests).outcome.is_none());
    assert_eq!(bench.server.awaited(), [M(1)]);
    let again = bench.input(Input::MemberSilent(M(1)));
    assert_eq!(again.sent.len(), 3);
    assert!(again.sent.iter().all(|(to, _)| *to != Party::Member(M(1))));
    assert!(
        bench
            .server
            .light_bundle(world.context.cohort()[0])
            .is_none()
    );
    let done = bench.answered([2, 3, 4, 5], &again);
    assert!(matches!(
        done.outcome,
        Some(Outcome::Certified { summed: 7, .. })
    ));
    assert_eq!(bench.server.phase(), Phase::Done);
    assert!(
        bench
            .server
            .light_bundle(world.context.cohort()[0])
            .is_some()
    );
    let [first, last] = [0, 1].map(|i| {
        let client = world.context.cohort()[i];
        let bundle = bench.server.light_bundle(client).unwrap();
        let parts = bundle.to_parts();
        assert_eq!(parts.concat(), bundle.to_bytes());
        let place = bench.server.place_of(client);
        let entries = &bench.server.proposal().unwrap().entries;
        assert_eq!(place_in(entries, client), place);
        assert_eq!(place_in(entries, ClientId(u32::MAX)), None);
        assert_eq!(parts[1], place.unwrap().to_bytes());
        parts
    });
    assert_eq!((&first[0], &first[2]), (&last[0], &last[2]));
    assert_ne!(first[1], last[1]);
    assert!(bench.server.light_bundle(ClientId(999)).is_none());
}

#[test]
fn a_sum_over_nobody_is_zero() {
    let world = world(435);
    let deviation = Deviation {
        bad_shares: vec![M(2)],
        ..Deviation::default()
    };
    let all = world
        .context
        .cohort()
        .iter()
        .map(|c| (*c, deviation.clone()))
        .collect();
    let hands = Hands::new(&world, &all).unwrap();
    let mut bench = ServerBench::new(&hands);
    let lists = fixed(&mut bench);
    bench.answered([1, 2, 3, 4], &lists);
    let result = bench.server.result().unwrap();
    assert_eq!(result.signed.content.convicted.len(), 7);
    assert_eq!(result.vector, vec![0; 12]);
}

// ---- void

#[test]
fn a_round_is_void_before_the_list_is_fixed_and_never_after_void_late() {
    let world = world(440);
    let hands = honest(&world);
    let mut bench = ServerBench::new(&hands);
    let requests = certified(&mut bench);
    let mut other = ServerBench::new(&hands);
    certified(&mut other);
    let void = other.input(Input::DeclareVoid);
    assert_eq!(
        (void.outcome, other.server.phase()),
        (Some(Outcome::Void), Phase::Void)
    );
    assert_eq!(void.sent.len(), 12, "everybody is told");
    // It stays void, in a new process too, and nothing more is asked of anybody.
    let (server, outputs) = other.replay(other.log.clone()).unwrap();
    assert_eq!(server.phase(), Phase::Void);
    assert!(outputs.iter().all(|o| matches!(
        o,
        Output::Send {
            message: Message::Void(_),
            ..
        }
    )));
    let requests_of_other = other.answered([1, 2, 3, 4, 5], &requests);
    assert!(requests_of_other.sent.is_empty());
    bench.answered([1, 2, 3, 4], &requests);
    bench.input(Input::DeclareVoid).refused_by("void.late");
}

// ---- the server's own log

#[test]
fn logs_that_are_not_this_servers_are_not_replayed() {
    let world = world(450);
    let hands = honest(&world);
    let mut bench = ServerBench::new(&hands);
    bench.propose();
    let log = bench.log.clone();
    let error = |records: Vec<Record>| bench.replay(records).err().unwrap();
    assert_eq!(error(vec![]), ReplayError::Empty);
    assert_eq!(error(log[1..].to_vec()), ReplayError::Empty);
    // A proposal of another set than the contributions before it.
    let mut shorter = log.clone();
    shorter.drain(1..3);
    let record = shorter.len() - 1;
    let refusal = Refusal::from(Check::ProposalHeaders);
    assert_eq!(error(shorter), ReplayError::Refused { record, refusal });
    // A contribution after the proposal, a record of another role.
    let mut reordered = log.clone();
    let contribution = reordered.remove(1);
    reordered.remove(1);
    assert!(matches!(contribution, Record::ServerContribution { .. }));
    let mut appended = log.clone();
    appended.push(contribution);
    assert_eq!(
        error(appended),
        ReplayError::Unexpected {
            record: log.len(),
            tag: 0x21
        }
    );
    let mut foreign = log.clone();
    foreign.push(Record::MemberAnnouncement {
        announcement: world.announcement(),
    });
    assert_eq!(
        error(foreign),
        ReplayError::Unexpected {
            record: log.len(),
            tag: 0x10
        }
    );
    // Another round's announcement.
    let mut other = world.announcement();
    other.params.scale_bits += 1;
    let refusal = Refusal::from(Check::AnnouncementOther);
    assert_eq!(
        error(vec![Record::ServerAnnouncement { sent: other }]),
        ReplayError::Refused { record: 0, refusal }
    );
}

#[test]
fn records_that_stand_too_early_too_late_or_twice_are_not_replayed() {
    let world = world(455);
    let hands = honest(&world);
    let mut bench = ServerBench::new(&hands);
    let requests = opened(&mut bench);
    bench.answered([1, 2, 3, 4, 5], &requests);
    let log = bench.log.clone();
    assert!(bench.replay(log.clone()).is_ok());
    let error = |records: Vec<Record>| bench.replay(records).err().unwrap();
    let place = |tag: u8| log.iter().position(|r| r.tag() == tag).unwrap();
    // The closing before U, the fixed list before the closing, the result before the fixed list.
    for tag in [0x28, 0x29, 0x2c] {
        let mut early = log.clone();
        let record = early.remove(place(tag));
        early.insert(1, record);
        let record = 1;
        assert_eq!(error(early), ReplayError::Unexpected { record, tag });
    }
    let tag = 0x23;
    let record = place(tag) + 1;
    let mut twice = log.clone();
    twice.insert(record, log[place(tag)].clone());
    assert_eq!(error(twice), ReplayError::Unexpected { record, tag });
    let content = veilsum_wire::VoidContent {
        params_digest: *world.context.digest(),
    };
    let void = Record::ServerVoid {
        sent: Signed::sign(content, &world.server),
    };
    let (record, tag) = (log.len(), void.tag());
    let late = [log, vec![void]].concat();
    assert_eq!(error(late), ReplayError::Unexpected { record, tag });
}

#[test]
fn a_missing_or_damaged_body_is_named() {
    let world = world(451);
    let hands = honest(&world);
    let client = world.context.cohort()[0];
    let mut bench = ServerBench::new(&hands);
    bench.propose();
    let digest = hands.contributions[&client].header.content.digest();
    let bytes = bench.bodies.0.lock().unwrap().remove(&digest).unwrap();
    let fault = ReplayError::Fault {
        record: 1,
        fault: Fault::Body { client },
    };
    assert_eq!(bench.replay(bench.log.clone()).err(), Some(fault.clone()));
    let mut damaged = bytes.clone();
    damaged[40] ^= 1;
    bench.bodies.0.lock().unwrap().insert(digest, damaged);
    assert_eq!(bench.replay(bench.log.clone()).err(), Some(fault));
    bench.bodies.0.lock().unwrap().insert(digest, bytes);
    assert!(bench.replay(bench.log.clone()).is_ok());
}

#[test]
fn a_body_missing_when_its_dealer_is_taken_out_stops_the_round_until_it_is_back() {
    let world = world(452);
    let (hands, dealer) = with_bad_dealer(&world);
    let mut bench = ServerBench::new(&hands);
    let lists = fixed(&mut bench);
    let digest = hands.contributions[&dealer].header.content.digest();
    let bytes = bench.bodies.0.lock().unwrap().remove(&digest).unwrap();
    bench.answered([1, 2, 3], &lists);
    let last = bench.answers(4, &lists);
    let got = bench.give(last[0].clone());
    assert_eq!(got.faults, [Fault::Body { client: dealer }]);
    // It is said once, and again for each retry.
    assert_eq!(bench.input(Input::MemberSilent(M(1))).faults, []);
    assert_eq!(
        bench.input(Input::Retry).faults,
        [Fault::Body { client: dealer }]
    );
    assert!(bench.server.result().is_none());
    bench.bodies.0.lock().unwrap().insert(digest, bytes);
    assert_eq!(bench.input(Input::Retry).faults, []);
    let others: Vec<_> = world
        .context
        .cohort()
        .iter()
        .filter(|c| **c != dealer)
        .copied()
        .collect();
    assert_eq!(
        bench.server.result().unwrap().vector,
        world.plain_sum(&others)
    );
}

#[test]
fn a_closed_log_takes_nothing_more() {
    let world = world(453);
    let hands = honest(&world);
    let mut bench = ServerBench::new(&hands);
    let requests = opened(&mut bench);
    assert!(
        bench.server.log_head(9, Digest([1; 32])).is_none(),
        "not before the round is done"
    );
    bench.answered([1, 2, 3, 4, 5], &requests);
    let head = bench.server.log_head(9, Digest([1; 32])).unwrap();
    let content = head.verify(&world.server.verifying_key()).unwrap();
    assert_eq!(
        (content.records, content.head, content.params_digest),
        (9, Digest([1; 32]), world.digest())
    );
    let late = bench.input(Input::Retry);
    assert_eq!((late.persisted, late.sent.len()), (0, 0));
    let duplicate = bench.upload(world.context.cohort()[0]);
    assert_eq!(duplicate.persisted, 0);
}

#[test]
fn messages_have_one_encoding() {
    let world = world(460);
    let hands = honest(&world);
    let mut bench = ServerBench::new(&hands);
    let packages = bench.propose();
    let mut all: Vec<Message> = packages.sent.iter().map(|(_, m)| m.clone()).collect();
    let requests = bench.answered([1, 2, 3, 4], &packages);
    all.extend(requests.sent.iter().map(|(_, m)| m.clone()));
    all.extend(bench.answers(1, &requests));
    let c = &hands.contributions[&world.context.cohort()[0]];
    all.push(Message::Contribution(Upload {
        header: c.header.clone(),
        body: Bytes(c.body.to_bytes()),
    }));
    all.push(Message::Announcement(world.announcement()));
    for message in all {
        let bytes = message.to_bytes();
        assert_eq!(bytes[0], message.tag());
        assert_eq!(Message::from_bytes(&bytes).unwrap(), message);
        let mut longer = bytes.clone();
        longer.push(0);
        assert!(Message::from_bytes(&longer).is_err());
        assert!(Message::from_bytes(&bytes[..bytes.len() - 1]).is_err());
    }
    assert!(Message::from_bytes(&[0]).is_err() && Message::from_bytes(&[17]).is_err());
    let tags: std::collections::BTreeSet<u8> =
        Message::TAGS.iter().map(|(tag, _, _)| *tag).collect();
    assert_eq!(tags.len(), Message::TAGS.len());
}
