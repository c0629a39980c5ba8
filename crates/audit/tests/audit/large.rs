//! A result whose vector stands in a body of its own, as one that a record does not hold.

use crate::common::{Memory, Played, convicts, faults, play, report};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use veilsum_audit::{Fault, FaultKind, Report, Verdict};
use veilsum_crypto::Digest;
use veilsum_protocol::{Check, Culprit, EvidenceKind, Record};
use veilsum_sim::{Plan, Setup, World};
use veilsum_store::{BodyDigest, Operation, StoreError};
use veilsum_wire::{Signed, Wire, result_vector_digest};

fn played() -> &'static Played {
    static PLAYED: OnceLock<Played> = OnceLock::new();
    PLAYED.get_or_init(|| play(World::new(Setup::small(11)).unwrap(), Plan::default()))
}

/// Where the result stands, its vector, and the records with the vector in a body of these bytes, under their digest.
fn with_body(vector: &[u8]) -> (usize, Vec<Record>) {
    let mut records = played().records.clone();
    let at = place(&records);
    let digest = Digest(BodyDigest::of(vector).0);
    records[at] = records[at].without_large_part(digest).unwrap();
    (at, records)
}

fn place(records: &[Record]) -> usize {
    let is_result = |record: &Record| matches!(record, Record::ServerResult { .. });
    records.iter().position(is_result).unwrap()
}

fn vector() -> Vec<i64> {
    match &played().records[place(&played().records)] {
        Record::ServerResult { sent } => sent.vector.clone(),
        _ => unreachable!(),
    }
}

fn path_of(bytes: &[u8]) -> PathBuf {
    Path::new("/t/bodies").join(BodyDigest::of(bytes).to_string())
}

/// The transcript of these records, with these bytes where the vector belongs.
fn transcript(records: &[Record], path: &Path, bytes: Option<&[u8]>) -> Memory {
    let mut memory = played().transcript(records, &[]);
    if let Some(bytes) = bytes {
        memory.0.insert(path.to_owned(), Arc::new(bytes.to_vec()));
    }
    memory
}

/// What is wrong is this alone, in a full audit and in one of the sum.
#[track_caller]
fn only(memory: &Memory, record: usize, kind: &FaultKind) -> [Report; 2] {
    [true, false].map(|sum_only| {
        let report = report(memory, sum_only);
        let fault = Fault {
            record: Some(record as u64),
            kind: kind.clone(),
        };
        assert_eq!(report.faults, [fault], "{:?}", faults(&report));
        assert_eq!(report.verdict(), Verdict::Invalid);
        report
    })
}

#[test]
fn it_is_as_good_as_one_in_the_record() {
    let bytes = vector().to_bytes();
    let (_, records) = with_body(&bytes);
    let memory = transcript(&records, &path_of(&bytes), Some(&bytes));
    for sum_only in [true, false] {
        let (here, there) = (
            report(&memory, sum_only),
            report(&played().transcript(&played().records, &[]), sum_only),
        );
        assert_eq!(here.verdict(), Verdict::Valid, "{:?}", faults(&here));
        assert_eq!(here.outcome, there.outcome);
        assert_eq!(here.sizes.result, there.sizes.result);
        assert_eq!(here.steps.last(), there.steps.last());
    }
}

#[test]
fn a_body_that_is_gone_altered_or_cut_is_a_fault_of_its_own() {
    let bytes = vector().to_bytes();
    let ((at, records), path) = (with_body(&bytes), path_of(&bytes));
    let gone = StoreError::NotFound {
        operation: Operation::Open,
        path: path.clone(),
    };
    only(
        &transcript(&records, &path, None),
        at,
        &FaultKind::ResultBody(gone),
    );
    let mut altered = bytes.clone();
    altered[9] ^= 1;
    for other in [&altered[..], &bytes[..bytes.len() - 8], &[]] {
        let mismatch = StoreError::BodyMismatch {
            path: path.clone(),
            expected: BodyDigest::of(&bytes),
            found: BodyDigest::of(other),
        };
        let memory = transcript(&records, &path, Some(other));
        only(&memory, at, &FaultKind::ResultBody(mismatch));
    }
    let mut longer = bytes.clone();
    longer.push(0);
    let max = bytes.len() as u64;
    let too_large = StoreError::TooLarge {
        path: path.clone(),
        max,
    };
    let memory = transcript(&records, &path, Some(&longer));
    only(&memory, at, &FaultKind::ResultBody(too_large));
}

#[test]
fn a_body_under_its_digest_that_is_not_what_was_signed_is_refused() {
    let refused = FaultKind::Refused {
        what: "the result",
        check: Check::ResultContent,
    };
    let good = vector();
    let (mut other, mut shorter) = (good.clone(), good.clone());
    other[0] += 1;
    shorter.pop();
    let mut miscounted = good.to_bytes();
    miscounted[0] ^= 1;
    for bytes in [shorter.to_bytes(), miscounted] {
        let (at, records) = with_body(&bytes);
        only(
            &transcript(&records, &path_of(&bytes), Some(&bytes)),
            at,
            &refused,
        );
    }
    // The record's own word for the length: nothing is read for it.
    let bytes = good.to_bytes();
    let (at, mut records) = with_body(&bytes);
    if let Record::ServerLargeResult { len, .. } = &mut records[at] {
        *len = u64::MAX;
    }
    let memory = transcript(&records, &path_of(&bytes), Some(&bytes));
    only(&memory, at, &refused);
    // A vector that was not signed is told, and that it is not the sum.
    let bytes = other.to_bytes();
    let (_, records) = with_body(&bytes);
    let report = report(&transcript(&records, &path_of(&bytes), Some(&bytes)), true);
    let told = faults(&report);
    assert!(told[0].contains(Check::ResultContent.id()), "{told:?}");
    assert!(told[1].contains("not the sum"), "{told:?}");
    assert_eq!(told.len(), 2);
}

#[test]
fn a_server_that_signs_a_wrong_vector_is_convicted() {
    let mut wrong = vector();
    wrong[2] += 1;
    let bytes = wrong.to_bytes();
    let (at, mut records) = with_body(&bytes);
    if let Record::ServerLargeResult { sent, .. } = &mut records[at] {
        sent.content.vector_digest = result_vector_digest(&wrong);
        *sent = Signed::sign(sent.content.clone(), &played().world.server);
    }
    let memory = transcript(&records, &path_of(&bytes), Some(&bytes));
    let report = report(&memory, true);
    let guilty = (EvidenceKind::WrongResult, Culprit::Server, Check::LightSum);
    convicts(played(), &report, &[guilty]);
}

#[test]
fn of_results_that_are_said_again_no_body_is_read_and_a_signature_counts() {
    let bytes = vector().to_bytes();
    let ((at, mut records), path) = (with_body(&bytes), path_of(&bytes));
    // Signed by nobody: its body, which is not there, is not missed.
    let Record::ServerLargeResult { sent, len, .. } = records[at].clone() else {
        unreachable!()
    };
    let mut forged = sent.clone();
    forged.content.vector_digest = Digest([8; 32]);
    let body = Digest([4; 32]);
    let (signed, forged) = (
        Signed::sign(forged.content.clone(), &played().world.server),
        forged,
    );
    records.insert(
        at,
        Record::ServerLargeResult {
            sent: forged,
            body,
            len,
        },
    );
    let memory = transcript(&records, &path, Some(&bytes));
    let refused = FaultKind::Refused {
        what: "the result",
        check: Check::ResultSignature,
    };
    only(&memory, at, &refused);
    // Signed by the server: it said two things.
    records.remove(at);
    let second = Record::ServerLargeResult {
        sent: signed,
        body,
        len,
    };
    records.insert(at + 1, second);
    let memory = transcript(&records, &path, Some(&bytes));
    let repeated = FaultKind::Repeated { what: "the result" };
    for report in only(&memory, at + 1, &repeated) {
        let found: Vec<_> = report
            .convicted
            .iter()
            .map(|c| (c.kind, c.culprit))
            .collect();
        assert_eq!(found, [(EvidenceKind::ServerEquivocation, Culprit::Server)]);
    }
}
