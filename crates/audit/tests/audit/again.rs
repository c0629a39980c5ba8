//! What stands in a log twice, late, or damaged in many places: each is told for what it is, and nothing else is.

use crate::common::{Memory, Played, audited};
use crate::statements::{first, played, refused, said_again};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use veilsum_audit::{FaultKind, Options, Progress, Report, audit};
use veilsum_params::ClientId;
use veilsum_protocol::{Check, EvidenceKind, Pins, Record};
use veilsum_wire::{Signed, Wire, proposal_root};

fn client_of(record: &Record) -> Option<ClientId> {
    match record {
        Record::ServerContribution { header, .. } => Some(header.content.client),
        Record::ServerReceipt { sent } => Some(sent.content.client),
        _ => None,
    }
}

fn evidence_faults(report: &Report) -> usize {
    let kinds = report.faults.iter().map(|fault| &fault.kind);
    kinds
        .filter(|kind| matches!(kind, FaultKind::Evidence(_)))
        .count()
}

/// What the auditor put together itself, and what does not convict, is no fault of the log beside the one that is told.
#[test]
fn a_second_contribution_that_its_client_did_not_sign_convicts_nobody() {
    let at = first(&played().records, 0x21) + 1;
    let found = audited(played(), true, |records| {
        let Record::ServerContribution { mut header, body } = records[at - 1].clone() else {
            return;
        };
        header.content.masked_vector.0[0] ^= 1;
        records.insert(at, Record::ServerContribution { header, body });
    });
    let checks = [Check::HeaderSignature, Check::ContributionDuplicate];
    refused(&found, at, &checks);
    assert_eq!(evidence_faults(&found), 0, "{:?}", found.faults);
    let mut convicted = found.convicted.iter();
    assert!(convicted.all(|c| c.kind == EvidenceKind::BadShare));
}

#[test]
fn a_late_receipt_is_a_fault_for_who_is_not_in_u_only() {
    let place = first(&played().records, 0x23);
    let late = audited(played(), true, |records| {
        let receipt = records.remove(first(records, 0x22));
        records.insert(place, receipt);
    });
    assert_eq!(late.faults, []);
    // The last contribution of the log comes after a proposal without it, with its receipt.
    let outside = audited(played(), true, |records| {
        let last = records.iter().rev().find_map(|record| match record {
            Record::ServerContribution { header, .. } => Some(header.content.client),
            _ => None,
        });
        let (own, mut rest): (Vec<Record>, Vec<Record>) = std::mem::take(records)
            .into_iter()
            .partition(|record| client_of(record) == last);
        let at = first(&rest, 0x23);
        if let Record::ServerProposal { sent } = &mut rest[at] {
            sent.entries.retain(|(client, _)| Some(*client) != last);
            sent.signed.content.root = proposal_root(&sent.entries);
            let content = sent.signed.content.clone();
            sent.signed = Signed::sign(content, &played().world.server);
        }
        rest.splice(at + 1..at + 1, own);
        *records = rest;
    });
    refused(&outside, place, &[Check::ReceiptInclusion]);
    refused(&outside, place - 1, &[Check::ContributionClosed]);
}

#[test]
fn an_entry_that_stands_twice_in_a_proposal_is_refused() {
    let at = first(&played().records, 0x23);
    let found = audited(played(), true, |records| {
        if let Record::ServerProposal { sent } = &mut records[at] {
            let last = sent.entries.len() - 1;
            sent.entries[last] = sent.entries[last - 1];
            sent.signed.content.root = proposal_root(&sent.entries);
            let content = sent.signed.content.clone();
            sent.signed = Signed::sign(content, &played().world.server);
        }
    });
    refused(&found, at, &[Check::ProposalOrder, Check::ReceiptInclusion]);
}

#[test]
fn a_list_that_does_not_grow_is_told() {
    let at = first(&played().records, 0x25);
    let found = audited(played(), true, |records| {
        records.insert(at + 1, records[at].clone());
    });
    assert!(said_again(&found, at + 1), "{:?}", found.faults);
}

fn options(progress: &(dyn Fn(Progress) + Sync)) -> Options<'_> {
    Options {
        sum_only: true,
        pins: Pins::default(),
        seed: [9; 32],
        progress,
    }
}

#[test]
fn progress_counts_every_contribution() {
    let told: Mutex<Vec<Progress>> = Mutex::new(Vec::new());
    let progress = |now| told.lock().unwrap().push(now);
    let disk = Arc::new(played().transcript(&played().records, &[]));
    audit(disk, Path::new("/t"), &options(&progress)).unwrap();
    let contributions = played().records.iter().filter(|r| r.tag() == 0x21);
    let total = contributions.count();
    let done = total;
    assert_eq!(told.lock().unwrap().last(), Some(&Progress { done, total }));
}

/// A log whose every second record, from the announcement on, is damaged.
fn damaged(played: &Played, count: usize) -> Memory {
    let receipt = played.records[first(&played.records, 0x22)].clone();
    let mut records = vec![receipt.clone(); 2 * count];
    records.insert(0, played.records[0].clone());
    let mut memory = played.transcript(&records, &[]);
    let log = memory.0.get_mut(&PathBuf::from("/t/log")).unwrap();
    let mut bytes = log.to_vec();
    let payload = receipt.to_bytes();
    let (mut at, mut seen) = (0, 0);
    while let Some(found) = bytes[at..]
        .windows(payload.len())
        .position(|window| window == payload)
    {
        at += found;
        if seen % 2 == 0 {
            bytes[at] ^= 1;
        }
        seen += 1;
        at += payload.len();
    }
    assert_eq!(seen, 2 * count);
    *log = Arc::new(bytes);
    memory
}

#[test]
fn damage_is_told_place_by_place_but_not_without_end() {
    for (places, told) in [(3, 3), (80, 64)] {
        let disk = Arc::new(damaged(played(), places));
        let found = audit(disk, Path::new("/t"), &options(&|_| {})).unwrap();
        let kinds = found.faults.iter().map(|fault| &fault.kind);
        let damage = kinds.filter(|kind| matches!(kind, FaultKind::Log(_)));
        assert_eq!(damage.count(), told, "{places} places");
    }
}
