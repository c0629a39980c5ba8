//! Checkers that know what no party does.

use crate::{Report, World};
use std::collections::{BTreeMap, BTreeSet};
use veilsum_params::{ClientId, MemberIndex};
use veilsum_protocol::{
    Conviction, Culprit, Evidence, MemberStatement, Message, Party, Record, ServerStatement,
    judge_with,
};
use veilsum_wire::{Header, HeaderContent, Proposal, RowLeaf, Signed};

fn party(culprit: Culprit) -> Party {
    match culprit {
        Culprit::Client(client) => Party::Client(client),
        Culprit::Member { index, .. } => Party::Member(index),
        Culprit::Server => Party::Server,
    }
}

/// What a round's evidence proves, in the order found; evidence that convicts nobody is an error.
///
/// # Errors
/// The evidence that does not convict, by its debug form.
pub fn convictions(world: &World, report: &Report) -> Result<Vec<Conviction>, String> {
    let judged = report.evidence.iter().map(|evidence| {
        judge_with(&world.context, Some(&world.round), evidence)
            .map_err(|why| format!("{why}: {evidence:?}"))
    });
    judged.collect()
}

/// Everybody who is convicted, with the ids of the checks.
///
/// # Errors
/// As [`convictions`].
pub fn convicted(
    world: &World,
    report: &Report,
) -> Result<BTreeSet<(Party, &'static str)>, String> {
    Ok(convictions(world, report)?
        .into_iter()
        .map(|c| (party(c.culprit), c.check.id()))
        .collect())
}

/// U minus Conv as the published result has it: from the server's log.
pub fn summed(report: &Report) -> BTreeSet<ClientId> {
    let mut u = BTreeSet::new();
    for record in report.records() {
        match record {
            Record::ServerProposal { sent } => u = sent.entries.iter().map(|(c, _)| *c).collect(),
            Record::ServerResult { sent } => {
                u.retain(|c| !sent.signed.content.convicted.contains(c))
            }
            _ => {}
        }
    }
    u
}

/// The round's parties as the log and the messages show them, for [`framings`].
#[derive(Default)]
struct Seen {
    headers: BTreeMap<ClientId, Header>,
    proposal: Option<Proposal>,
    evidence: Vec<Evidence>,
}

/// Runs every judge on everything that was sent, as somebody would who wants to frame an honest party: gives whom that
/// would convict. Nobody honest may ever be among them.
pub fn framings(world: &World, report: &Report) -> BTreeSet<(Party, &'static str)> {
    let mut seen = Seen::default();
    for record in report.records() {
        match record {
            Record::ServerContribution { header, .. } => {
                seen.headers.insert(header.content.client, header);
            }
            Record::ServerProposal { sent } => seen.proposal = Some(sent),
            _ => {}
        }
    }
    let in_u: Vec<Header> = match &seen.proposal {
        Some(proposal) => proposal
            .entries
            .iter()
            .filter_map(|(c, _)| seen.headers.get(c))
            .cloned()
            .collect(),
        None => seen.headers.values().cloned().collect(),
    };
    against_members(report, &in_u, &mut seen.evidence);
    against_server(report, &in_u, &mut seen);
    against_clients(report, &mut seen);
    let judged = seen
        .evidence
        .iter()
        .filter_map(|e| judge_with(&world.context, Some(&world.round), e).ok());
    judged.map(|c| (party(c.culprit), c.check.id())).collect()
}

fn pairs<T: Clone>(list: &[T], mut evidence: impl FnMut(T, T)) {
    for (i, first) in list.iter().enumerate() {
        for second in list.iter().skip(i + 1) {
            evidence(first.clone(), second.clone());
        }
    }
}

fn dedup<T: PartialEq>(list: &mut Vec<T>, item: T) {
    if !list.contains(&item) {
        list.push(item);
    }
}

fn against_members(report: &Report, in_u: &[Header], out: &mut Vec<Evidence>) {
    let mut statements: BTreeMap<MemberIndex, Vec<MemberStatement>> = BTreeMap::new();
    let mut complaints = Vec::new();
    let leaves: BTreeMap<u16, Vec<RowLeaf>> = report
        .sent
        .iter()
        .filter_map(|(_, m)| {
            if let Message::RowsRequest(r) = m {
                Some((r.slice, r.leaves.clone()))
            } else {
                None
            }
        })
        .collect();
    let convicted = report
        .result
        .as_ref()
        .map(|r| r.signed.content.convicted.clone())
        .unwrap_or_default();
    for (_, message) in &report.sent {
        match message {
            Message::Endorse(m) => {
                let signed = m.signed.clone();
                dedup(
                    statements.entry(signed.content.member).or_default(),
                    MemberStatement::Endorse { signed },
                );
                m.complaints
                    .iter()
                    .for_each(|c| dedup(&mut complaints, c.clone()));
            }
            Message::Unmask(m) => {
                let signed = m.signed.clone();
                out.push(Evidence::BadUnmask {
                    unmask: signed.clone(),
                    headers: in_u.to_vec(),
                });
                dedup(
                    statements.entry(signed.content.member).or_default(),
                    MemberStatement::Unmask { signed },
                );
                m.complaints
                    .iter()
                    .for_each(|c| dedup(&mut complaints, c.clone()));
            }
            Message::Final(signed) => {
                let signed = signed.clone();
                dedup(
                    statements.entry(signed.content.member).or_default(),
                    MemberStatement::Final { signed },
                );
            }
            Message::Reveal(reveal) => {
                for header in in_u {
                    out.push(Evidence::BadReveal {
                        reveal: reveal.clone(),
                        header: header.clone(),
                    });
                }
            }
            Message::Rows(rows) => {
                for (slice, _) in &rows.signed.content.slices {
                    let leaves = leaves.get(slice).cloned().unwrap_or_default();
                    let left = |h: &Header| !convicted.contains(&h.content.client);
                    let leaves = leaves
                        .into_iter()
                        .zip(in_u)
                        .filter(|(_, h)| left(h))
                        .map(|(leaf, _)| leaf)
                        .collect();
                    out.push(Evidence::WrongRowSum {
                        signed: rows.signed.clone(),
                        slice: *slice,
                        convicted: convicted.clone(),
                        headers: in_u.to_vec(),
                        leaves,
                    });
                }
            }
            _ => {}
        }
    }
    // Every complaint beside every header: the one it names, and those that it does not (A14).
    for complaint in &complaints {
        for header in in_u {
            let (header, complaint) = (header.clone(), complaint.clone());
            out.push(Evidence::FalseComplaint {
                header: header.clone(),
                complaint: complaint.clone(),
            });
            out.push(Evidence::BadShare { header, complaint });
        }
    }
    for list in statements.values() {
        pairs(list, |first, second| {
            out.push(Evidence::MemberEquivocation {
                first,
                second,
                other_params: Vec::new(),
            });
        });
    }
}

fn against_server(report: &Report, in_u: &[Header], seen: &mut Seen) {
    let mut statements = Vec::new();
    for (_, message) in &report.sent {
        match message {
            Message::Announcement(m) => dedup(
                &mut statements,
                ServerStatement::Announcement {
                    signed: m.signed.clone(),
                },
            ),
            Message::Package(m) => {
                dedup(
                    &mut statements,
                    ServerStatement::Proposal {
                        signed: m.proposal.signed.clone(),
                    },
                );
            }
            Message::Convicted(m) => dedup(
                &mut statements,
                ServerStatement::Convicted {
                    signed: m.signed.clone(),
                },
            ),
            Message::Void(signed) => dedup(
                &mut statements,
                ServerStatement::Void {
                    signed: signed.clone(),
                },
            ),
            _ => {}
        }
    }
    if let Some(result) = &report.result {
        statements.push(ServerStatement::Result {
            signed: result.signed.clone(),
        });
        seen.evidence.push(Evidence::WrongSecret {
            result: result.signed.clone(),
            headers: in_u.to_vec(),
        });
    }
    pairs(&statements, |first, second| {
        seen.evidence.push(Evidence::ServerEquivocation {
            first,
            second,
            other_params: Vec::new(),
        });
    });
    if let Some(proposal) = &seen.proposal {
        for receipt in report.receipts.values() {
            let (receipt, proposal) = (receipt.clone(), proposal.clone());
            seen.evidence
                .push(Evidence::ReceiptWithoutInclusion { receipt, proposal });
        }
    }
}

fn against_clients(report: &Report, seen: &mut Seen) {
    let mut headers: BTreeMap<ClientId, Vec<Signed<HeaderContent>>> = BTreeMap::new();
    for (from, message) in &report.sent {
        if let (Party::Client(_), Message::Contribution(upload)) = (from, message) {
            let (header, body) = (upload.header.clone(), upload.body.clone());
            let known = headers.entry(header.content.client).or_default();
            if !known.contains(&header) {
                known.push(header.clone());
                seen.evidence.push(Evidence::InvalidHeader {
                    header: header.clone(),
                });
                seen.evidence.push(Evidence::InvalidProof {
                    header: header.clone(),
                    body: body.clone(),
                });
                if let Some(receipt) = report.receipts.get(&header.content.client).cloned() {
                    seen.evidence.push(Evidence::ReceiptForInvalid {
                        receipt,
                        header,
                        body,
                    });
                }
            }
        }
    }
    for list in headers.values() {
        pairs(list, |first, second| {
            seen.evidence.push(Evidence::ClientEquivocation {
                first,
                second,
                other_params: Vec::new(),
            });
        });
    }
}
