//! Every kind of statement of a log as nobody may have said it: signed by somebody else, about another round, a second time in
//! other words, or in a place where it cannot stand.

use crate::common::{Played, audited, convicts, has, play, report};
use curve25519_dalek::scalar::Scalar;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;
use veilsum_audit::{Fault, FaultKind, Outcome, Report, Verdict};
use veilsum_crypto::{Digest, Signature};
use veilsum_params::{ClientId, MemberIndex};
use veilsum_protocol::{Check, Culprit, EvidenceKind, MemberStatement, Message, Record};
use veilsum_sim::{Deviation, Plan, Setup, Simulation, World, forge};
use veilsum_wire::{Signed, VoidContent, complaints_digest};

const ELSEWHERE: Digest = Digest([7; 32]);

/// A round with all kinds of records: the member with the bad share endorses nothing and complains when it unmasks, so that
/// the others reveal their shares.
pub(crate) fn played() -> &'static Played {
    static PLAYED: OnceLock<Played> = OnceLock::new();
    PLAYED.get_or_init(|| {
        let world = World::new(Setup::small(23)).unwrap();
        let dealer = dealer(&world);
        let deviation = Deviation {
            bad_shares: vec![MemberIndex(2)],
            ..Deviation::default()
        };
        let mut rng = ChaCha20Rng::seed_from_u64(23);
        let bad = forge(&world, dealer, &deviation, &mut rng).unwrap();
        let silent: veilsum_sim::Tamper = Box::new(|_, _, message| match message {
            Message::Endorse(_) => Vec::new(),
            other => vec![other],
        });
        let plan = Plan {
            uploads: BTreeMap::from([(dealer, vec![bad.upload()])]),
            tampering: BTreeMap::from([(MemberIndex(2), silent)]),
            ..Plan::default()
        };
        play(world, plan)
    })
}

pub(crate) fn dealer(world: &World) -> ClientId {
    world.plain_clients()[1]
}

/// Where the first record of a kind stands.
pub(crate) fn first(records: &[Record], tag: u8) -> usize {
    records.iter().position(|r| r.tag() == tag).unwrap()
}

/// Exactly these checks refuse this record.
#[track_caller]
pub(crate) fn refused(report: &Report, at: usize, expected: &[Check]) {
    let found: Vec<Check> = report
        .faults
        .iter()
        .filter(|fault| fault.record == Some(at as u64))
        .filter_map(|fault| match fault.kind {
            FaultKind::Refused { check, .. } => Some(check),
            _ => None,
        })
        .collect();
    assert_eq!(found, expected, "record {at}: {:?}", report.faults);
    assert_eq!(report.verdict(), Verdict::Invalid);
}

/// Whether this record is refused for standing where it stands.
pub(crate) fn out_of_order(report: &Report, at: usize) -> bool {
    let here = |fault: &&Fault| fault.record == Some(at as u64);
    let mut faults = report.faults.iter().filter(here);
    faults.any(|fault| matches!(fault.kind, FaultKind::Order { .. }))
}

pub(crate) fn said_again(report: &Report, at: usize) -> bool {
    let here = |fault: &&Fault| fault.record == Some(at as u64);
    let mut faults = report.faults.iter().filter(here);
    faults.any(|fault| matches!(fault.kind, FaultKind::Repeated { .. }))
}

fn culprit(member: MemberIndex) -> Culprit {
    let (client, _, _) = played().world.member_keys(member).unwrap();
    Culprit::Member {
        index: member,
        client,
    }
}

#[test]
fn the_honest_round_has_every_record_and_no_fault() {
    let tags: BTreeSet<u8> = played().records.iter().map(Record::tag).collect();
    for tag in 0x20..=0x2c {
        assert!(tags.contains(&tag), "{tag:#04x}");
    }
    let found = report(&played().transcript(&played().records, &[]), false);
    assert_eq!(found.faults, []);
    assert_eq!(found.outcome, Outcome::Result { summed: 6 });
    let guilty = (
        EvidenceKind::BadShare,
        Culprit::Client(dealer(&played().world)),
        Check::DealtShare,
    );
    convicts(played(), &found, &[guilty]);
}

fn signature(record: &mut Record) -> Option<&mut Signature> {
    Some(match record {
        Record::ServerContribution { header, .. } => &mut header.signature,
        Record::ServerReceipt { sent } => &mut sent.signature,
        Record::ServerProposal { sent } => &mut sent.signed.signature,
        Record::ServerEndorse { accepted } => &mut accepted.signed.signature,
        Record::ServerList { sent } => &mut sent.signature,
        Record::ServerUnmask { accepted } => &mut accepted.signed.signature,
        Record::ServerReveal { accepted } => &mut accepted.signature,
        Record::ServerConvicted { sent } => &mut sent.signature,
        Record::ServerFinal { accepted } => &mut accepted.signature,
        Record::ServerRows { accepted } => &mut accepted.signed.signature,
        Record::ServerResult { sent } => &mut sent.signed.signature,
        _ => return None,
    })
}

/// The checks that refuse the first record of each kind when its signature is wrong.
const SIGNATURES: [(u8, Check); 11] = [
    (0x21, Check::HeaderSignature),
    (0x22, Check::ReceiptSignature),
    (0x23, Check::ProposalSignature),
    (0x24, Check::EndorseSignature),
    (0x25, Check::ListSignature),
    (0x26, Check::UnmaskSignature),
    (0x27, Check::RevealSignature),
    (0x29, Check::ConvictedSignature),
    (0x2a, Check::FinalSignature),
    (0x2b, Check::RowsSignature),
    (0x2c, Check::ResultSignature),
];

#[test]
fn what_its_party_did_not_sign_is_refused() {
    for (tag, check) in SIGNATURES {
        let at = first(&played().records, tag);
        let found = audited(played(), true, |records| {
            signature(&mut records[at]).unwrap().0[0] ^= 1;
        });
        refused(&found, at, &[check]);
        assert!(
            found
                .convicted
                .iter()
                .all(|c| c.kind == EvidenceKind::BadShare),
            "{tag:#04x} convicts nobody of anything else"
        );
    }
}

/// The record as its own party would sign it for another round.
fn moved(record: &mut Record, world: &World) {
    let member = |index: MemberIndex| world.member_keys(index).unwrap().1;
    match record {
        Record::ServerContribution { header, .. } => {
            header.content.params_digest = ELSEWHERE;
            let key = &world.identities[&header.content.client];
            *header = Signed::sign(header.content.clone(), key);
        }
        Record::ServerReceipt { sent } => {
            sent.content.params_digest = ELSEWHERE;
            *sent = Signed::sign(sent.content.clone(), &world.server);
        }
        Record::ServerProposal { sent } => {
            sent.signed.content.params_digest = ELSEWHERE;
            sent.signed = Signed::sign(sent.signed.content.clone(), &world.server);
        }
        Record::ServerEndorse { accepted } => {
            let signed = &mut accepted.signed;
            signed.content.params_digest = ELSEWHERE;
            *signed = Signed::sign(signed.content.clone(), member(signed.content.member));
        }
        Record::ServerList { sent } => {
            sent.content.params_digest = ELSEWHERE;
            *sent = Signed::sign(sent.content.clone(), &world.server);
        }
        Record::ServerUnmask { accepted } => {
            let signed = &mut accepted.signed;
            signed.content.params_digest = ELSEWHERE;
            *signed = Signed::sign(signed.content.clone(), member(signed.content.member));
        }
        Record::ServerReveal { accepted } => {
            accepted.content.params_digest = ELSEWHERE;
            *accepted = Signed::sign(accepted.content.clone(), member(accepted.content.member));
        }
        Record::ServerConvicted { sent } => {
            sent.content.params_digest = ELSEWHERE;
            *sent = Signed::sign(sent.content.clone(), &world.server);
        }
        Record::ServerFinal { accepted } => {
            accepted.content.params_digest = ELSEWHERE;
            *accepted = Signed::sign(accepted.content.clone(), member(accepted.content.member));
        }
        Record::ServerRows { accepted } => {
            let signed = &mut accepted.signed;
            signed.content.params_digest = ELSEWHERE;
            *signed = Signed::sign(signed.content.clone(), member(signed.content.member));
        }
        Record::ServerResult { sent } => {
            sent.signed.content.params_digest = ELSEWHERE;
            sent.signed = Signed::sign(sent.signed.content.clone(), &world.server);
        }
        other => unreachable!("{:#04x} is not signed", other.tag()),
    }
}

#[test]
fn what_is_about_another_round_is_refused() {
    let checks = [
        (0x21, Check::HeaderParams),
        (0x22, Check::ReceiptContent),
        (0x23, Check::ProposalRound),
        (0x24, Check::EndorseContent),
        (0x25, Check::ListContent),
        (0x26, Check::UnmaskContent),
        (0x27, Check::RevealContent),
        (0x29, Check::ConvictedOrder),
        (0x2a, Check::FinalContent),
        (0x2b, Check::RowsContent),
        (0x2c, Check::ResultContent),
    ];
    for (tag, check) in checks {
        let at = first(&played().records, tag);
        let found = audited(played(), true, |records| {
            moved(&mut records[at], &played().world);
        });
        refused(&found, at, &[check]);
    }
}

/// Another statement of the party that said this one, of the kind of which it makes one.
fn contradicted(record: &Record, world: &World) -> (Record, Culprit, Check) {
    let mut other = record.clone();
    let key = |index: MemberIndex| world.member_keys(index).unwrap().1;
    let (who, check) = match &mut other {
        Record::ServerEndorse { accepted } => {
            let signed = &mut accepted.signed;
            signed.content.root = ELSEWHERE;
            *signed = Signed::sign(signed.content.clone(), key(signed.content.member));
            (culprit(signed.content.member), Check::EndorseEquivocation)
        }
        Record::ServerUnmask { accepted } => {
            let signed = &mut accepted.signed;
            signed.content.sum += Scalar::ONE;
            *signed = Signed::sign(signed.content.clone(), key(signed.content.member));
            (culprit(signed.content.member), Check::UnmaskEquivocation)
        }
        Record::ServerFinal { accepted } => {
            accepted.content.root = ELSEWHERE;
            *accepted = Signed::sign(accepted.content.clone(), key(accepted.content.member));
            (culprit(accepted.content.member), Check::FinalEquivocation)
        }
        Record::ServerConvicted { sent } => {
            sent.content.convicted.clear();
            *sent = Signed::sign(sent.content.clone(), &world.server);
            (Culprit::Server, Check::ConvictedEquivocation)
        }
        other => unreachable!("{:#04x} may be said in two ways", other.tag()),
    };
    (other, who, check)
}

/// What is proven beside the bad share that every one of these rounds has.
#[track_caller]
fn also(report: &Report, kind: EvidenceKind, who: Culprit, check: Check) {
    let dealt = (
        EvidenceKind::BadShare,
        Culprit::Client(dealer(&played().world)),
        Check::DealtShare,
    );
    let mut found: Vec<_> = report
        .convicted
        .iter()
        .map(|c| (c.kind, c.culprit, c.check))
        .collect();
    found.retain(|conviction| *conviction != dealt);
    assert_eq!(found, [(kind, who, check)], "{:?}", report.faults);
}

#[test]
fn two_statements_that_exclude_each_other_convict_whoever_signed_them() {
    for (tag, kind) in [
        (0x24, EvidenceKind::MemberEquivocation),
        (0x26, EvidenceKind::MemberEquivocation),
        (0x29, EvidenceKind::ServerEquivocation),
        (0x2a, EvidenceKind::MemberEquivocation),
    ] {
        let at = first(&played().records, tag);
        let (other, who, check) = contradicted(&played().records[at], &played().world);
        let found = audited(played(), true, |records| records.insert(at + 1, other));
        assert!(said_again(&found, at + 1), "{tag:#04x}: {:?}", found.faults);
        also(&found, kind, who, check);
        // The very same statement twice is a fault of the log, and convicts nobody.
        let found = audited(played(), true, |records| {
            records.insert(at + 1, records[at].clone());
        });
        assert!(said_again(&found, at + 1), "{tag:#04x}: {:?}", found.faults);
        assert!(
            found
                .convicted
                .iter()
                .all(|c| c.kind == EvidenceKind::BadShare)
        );
    }
}

fn statement(record: &Record) -> MemberStatement {
    match record.clone() {
        Record::ServerEndorse { accepted } => MemberStatement::Endorse {
            signed: accepted.signed,
        },
        Record::ServerUnmask { accepted } => MemberStatement::Unmask {
            signed: accepted.signed,
        },
        Record::ServerFinal { accepted } => MemberStatement::Final { signed: accepted },
        other => unreachable!("{:#04x} is no member's", other.tag()),
    }
}

/// A member's statement about another root or list is kept, before or after the one that fits, and convicts it beside that.
#[test]
fn a_foreign_statement_convicts_beside_the_fitting_one_and_is_no_fault() {
    for (tag, unsigned) in [
        (0x24, Check::EndorseSignature),
        (0x26, Check::UnmaskSignature),
        (0x2a, Check::FinalSignature),
    ] {
        let fits = first(&played().records, tag);
        let (mut other, who, check) = contradicted(&played().records[fits], &played().world);
        let foreign = Record::ServerForeign {
            accepted: statement(&other),
        };
        for at in [fits, fits + 1] {
            let found = audited(played(), true, |records| {
                records.insert(at, foreign.clone());
            });
            assert_eq!(found.faults, [], "{tag:#04x}");
            assert_eq!(
                found.verdict(),
                Verdict::Valid,
                "a member lied, not the server"
            );
            also(&found, EvidenceKind::MemberEquivocation, who, check);
        }
        let found = audited(played(), true, |records| {
            records.splice(fits..fits, [foreign.clone(), foreign.clone()]);
        });
        assert!(said_again(&found, fits + 1), "{tag:#04x}");
        signature(&mut other).unwrap().0[0] ^= 1;
        let forged = Record::ServerForeign {
            accepted: statement(&other),
        };
        let found = audited(played(), true, |records| records.insert(fits, forged));
        refused(&found, fits, &[unsigned]);
        assert!(
            found
                .convicted
                .iter()
                .all(|c| c.kind == EvidenceKind::BadShare)
        );
    }
}

#[test]
fn wrong_shares_convict_the_member_that_signed_them() {
    let world = &played().world;
    let at = first(&played().records, 0x26);
    let mut who = None;
    let found = audited(played(), true, |records| {
        let Record::ServerUnmask { accepted } = &mut records[at] else {
            return;
        };
        let signed = &mut accepted.signed;
        signed.content.sum += Scalar::ONE;
        who = Some(culprit(signed.content.member));
        let (_, key, _) = world.member_keys(signed.content.member).unwrap();
        *signed = Signed::sign(signed.content.clone(), key);
    });
    refused(&found, at, &[Check::UnmaskSum]);
    also(
        &found,
        EvidenceKind::BadUnmask,
        who.unwrap(),
        Check::UnmaskSum,
    );
    let at = first(&played().records, 0x27);
    let found = audited(played(), true, |records| {
        let Record::ServerReveal { accepted } = &mut records[at] else {
            return;
        };
        accepted.content.share += Scalar::ONE;
        who = Some(culprit(accepted.content.member));
        let (_, key, _) = world.member_keys(accepted.content.member).unwrap();
        *accepted = Signed::sign(accepted.content.clone(), key);
    });
    refused(&found, at, &[Check::RevealShare]);
    also(
        &found,
        EvidenceKind::BadUnmask,
        who.unwrap(),
        Check::RevealShare,
    );
}

/// Lists name those that a complaint convicts, and nobody else, whoever makes them.
#[test]
fn nobody_is_on_a_list_without_a_complaint() {
    let world = &played().world;
    let innocent = world.plain_clients()[0];
    let at = first(&played().records, 0x25);
    let found = audited(played(), true, |records| {
        let Record::ServerList { sent } = &mut records[at] else {
            return;
        };
        sent.content.convicted = vec![innocent];
        *sent = Signed::sign(sent.content.clone(), &world.server);
    });
    refused(&found, at, &[Check::ListComplaints]);
    let at = first(&played().records, 0x26);
    let found = audited(played(), true, |records| {
        let Record::ServerUnmask { accepted } = &mut records[at] else {
            return;
        };
        let signed = &mut accepted.signed;
        signed.content.convicted = vec![innocent];
        let (_, key, _) = world.member_keys(signed.content.member).unwrap();
        *signed = Signed::sign(signed.content.clone(), key);
    });
    refused(&found, at, &[Check::UnmaskConvicted, Check::UnmaskSum]);
    let at = first(&played().records, 0x29);
    let found = audited(played(), true, |records| {
        let Record::ServerConvicted { sent } = &mut records[at] else {
            return;
        };
        sent.content.convicted = vec![innocent];
        *sent = Signed::sign(sent.content.clone(), &world.server);
    });
    refused(&found, at, &[Check::ConvictedComplaints]);
    let at = first(&played().records, 0x24);
    let found = audited(played(), true, |records| {
        let complaint = records.iter().find_map(|record| match record {
            Record::ServerUnmask { accepted } => accepted.complaints.first().cloned(),
            _ => None,
        });
        let Record::ServerEndorse { accepted } = &mut records[at] else {
            return;
        };
        accepted.complaints = vec![complaint.unwrap()];
        assert_ne!(
            complaints_digest(&accepted.complaints),
            accepted.signed.content.complaints
        );
    });
    refused(&found, at, &[Check::EndorseComplaints]);
}

#[test]
fn the_closing_is_what_the_log_shows() {
    let at = first(&played().records, 0x28);
    let closing = |expected: &[Check], change: &dyn Fn(&mut Record)| {
        let found = audited(played(), true, |records| change(&mut records[at]));
        refused(&found, at, expected);
    };
    closing(
        &[Check::SumCommitment, Check::SumCommitment],
        &|record| match record {
            Record::ServerClosing { r_sum, .. } => *r_sum += Scalar::ONE,
            _ => unreachable!(),
        },
    );
    closing(&[Check::RevealContent], &|record| match record {
        Record::ServerClosing { reveals, .. } => reveals.clear(),
        _ => unreachable!(),
    });
    closing(&[Check::UnmaskContent], &|record| match record {
        Record::ServerClosing { sums, .. } => sums[0].content.sum += Scalar::ONE,
        _ => unreachable!(),
    });
    closing(&[Check::SumCommitment], &|record| match record {
        Record::ServerClosing { sums, .. } => sums.truncate(3),
        _ => unreachable!(),
    });
    let stranger = ClientId(4_000_000);
    closing(
        &[
            Check::ConvictedInSet,
            Check::ConvictedComplaints,
            Check::RevealContent,
        ],
        &|record| match record {
            Record::ServerClosing { convicted, .. } => convicted.push(stranger),
            _ => unreachable!(),
        },
    );
    let found = audited(played(), true, |records| {
        records.insert(at + 1, records[at].clone());
    });
    assert!(said_again(&found, at + 1));
}

/// Every record in front of what it follows from, and the last ones behind what ends the round.
#[test]
fn nothing_stands_before_what_it_follows_from() {
    let taken_to = |from: u8, to: u8, past: usize| {
        let all = &played().records;
        let place = first(all, to) + past;
        let found = audited(played(), true, |records| {
            let record = records[first(all, from)].clone();
            records.insert(place, record);
        });
        (found, place)
    };
    let missing = |report: &Report, what: &str| has(report, &format!("{what} is missing"));
    // An unmask message before the list that asks for it, a Final and row sums before the closing, a list behind it.
    for (from, to, past) in [
        (0x26, 0x25, 0),
        (0x2a, 0x28, 0),
        (0x2b, 0x28, 0),
        (0x25, 0x28, 1),
    ] {
        let (found, place) = taken_to(from, to, past);
        assert!(
            out_of_order(&found, place),
            "{from:#04x}: {:?}",
            found.faults
        );
    }
    let (found, _) = taken_to(0x25, 0x24, 0);
    assert!(missing(
        &found,
        "a certificate (t endorsements) before the list of convicted dealers"
    ));
    let (found, _) = taken_to(0x29, 0x28, 0);
    assert!(missing(&found, "the closing before the fixed list"));
    let (found, _) = taken_to(0x2c, 0x29, 1);
    assert!(missing(&found, "t Finals before the result"));
    let (found, place) = taken_to(0x21, 0x23, 1);
    assert_eq!(found.verdict(), Verdict::Invalid);
    refused(&found, place, &[Check::ContributionClosed]);
    // A proposal that comes before the contributions lacks all of them.
    let (found, place) = taken_to(0x23, 0x21, 0);
    refused(&found, place, &[Check::ProposalHeaders]);
}

#[test]
fn records_of_others_and_a_second_announcement_are_faults() {
    let world = &played().world;
    let at = played().records.len();
    let receipt = played().records.iter().find_map(|record| match record {
        Record::ServerReceipt { sent } => Some(sent.clone()),
        _ => None,
    });
    let found = audited(played(), true, |records| {
        records.push(Record::ClientReceipt {
            receipt: receipt.unwrap(),
        });
    });
    assert!(out_of_order(&found, at));
    let found = audited(played(), true, |records| {
        records.insert(1, records[0].clone())
    });
    assert!(said_again(&found, 1));
    assert!(
        found
            .faults
            .iter()
            .all(|f| !matches!(f.kind, FaultKind::Refused { .. }))
    );
    let found = audited(played(), true, |records| {
        let Record::ServerAnnouncement { mut sent } = records[0].clone() else {
            return;
        };
        sent.signed.content.params_digest = ELSEWHERE;
        sent.signed = Signed::sign(sent.signed.content.clone(), &world.server);
        records.insert(1, Record::ServerAnnouncement { sent });
    });
    assert!(said_again(&found, 1));
    refused(&found, 1, &[Check::AnnouncementOther]);
}

/// A round that had too few contributions, declared void.
fn void() -> &'static Played {
    static PLAYED: OnceLock<Played> = OnceLock::new();
    PLAYED.get_or_init(|| {
        let world = World::new(Setup::small(24)).unwrap();
        let absent = world.context.cohort().iter().skip(2).copied().collect();
        let plan = Plan {
            absent,
            void_after: Some(10),
            ..Plan::default()
        };
        let run = Simulation::run(&world, veilsum_sim::Faults::NONE, plan).unwrap();
        Played {
            records: run.records(),
            bodies: BTreeMap::new(),
            world,
        }
    })
}

#[test]
fn a_void_round_is_void_once_and_for_itself_alone() {
    let world = &void().world;
    let without_bodies = |report: &Report| -> Vec<FaultKind> {
        let kinds = report.faults.iter().map(|fault| fault.kind.clone());
        kinds
            .filter(|kind| !matches!(kind, FaultKind::Body { .. }))
            .collect()
    };
    let found = report(&void().transcript(&void().records, &[]), true);
    assert_eq!(found.outcome, Outcome::Void, "{:?}", found.faults);
    assert_eq!(without_bodies(&found), []);
    let at = first(&void().records, 0x2d);
    let mut records = void().records.clone();
    records.insert(at + 1, records[at].clone());
    let found = report(&void().transcript(&records, &[]), true);
    assert!(said_again(&found, at + 1));
    // Nothing follows.
    let receipt = first(&records, 0x22);
    records[at + 1] = records[receipt].clone();
    let found = report(&void().transcript(&records, &[]), true);
    assert!(out_of_order(&found, at + 1));
    for (digest, key, check) in [
        (ELSEWHERE, &world.server, Check::VoidRound),
        (
            *world.context.digest(),
            &world.registrar,
            Check::VoidSignature,
        ),
    ] {
        let content = VoidContent {
            params_digest: digest,
        };
        records.truncate(at);
        records.push(Record::ServerVoid {
            sent: Signed::sign(content, key),
        });
        let found = report(&void().transcript(&records, &[]), true);
        refused(&found, at, &[check]);
        assert_eq!(found.outcome, Outcome::Unfinished);
    }
    // A round whose list is fixed cannot be void any more.
    let world = &played().world;
    let at = first(&played().records, 0x29);
    let found = audited(played(), true, |records| {
        let content = VoidContent {
            params_digest: *world.context.digest(),
        };
        let sent = Signed::sign(content, &world.server);
        records.insert(at, Record::ServerVoid { sent });
    });
    refused(&found, at, &[Check::VoidLate]);
}
