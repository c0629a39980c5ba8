//! Checkers that know what no party does.

use crate::{Report, World};
use std::collections::{BTreeMap, BTreeSet};
use veilsum_crypto::Digest;
use veilsum_params::{ClientId, MemberIndex};
use veilsum_protocol::{
    Bytes, Conviction, Culprit, Evidence, MemberStatement, Message, Party, Record, RoundContext,
    ServerStatement, decode_body, judge_with,
};
use veilsum_wire::{Announcement, Header, Proposal, RoundResult, RowLeaf, Wire};

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

/// What everybody together saw of a round.
#[derive(Default)]
struct Seen<'a> {
    /// Every message once, with its sender.
    messages: Vec<(Party, &'a Message)>,
    /// The headers of every proposed set, by its root.
    sets: BTreeMap<Digest, Vec<Header>>,
    proposals: Vec<Proposal>,
    /// Every header that was uploaded, with its body.
    uploads: Vec<(Header, Bytes)>,
    /// Lists of convicted dealers that somebody may have signed for.
    lists: BTreeSet<Vec<ClientId>>,
    evidence: Vec<Evidence>,
}

impl<'a> Seen<'a> {
    fn new(report: &'a Report) -> Self {
        let mut seen = Self::default();
        let mut known = BTreeSet::new();
        for (from, message) in &report.sent {
            if known.insert((*from, *blake3::hash(&message.to_bytes()).as_bytes())) {
                seen.messages.push((*from, message));
            }
        }
        let mut stored = BTreeMap::new();
        for record in report.records() {
            match record {
                Record::ServerContribution { header, .. } => {
                    stored.insert(header.content.client, header);
                }
                Record::ServerProposal { sent } => {
                    let headers = sent.entries.iter().filter_map(|(c, _)| stored.get(c));
                    seen.sets
                        .insert(sent.signed.content.root, headers.cloned().collect());
                    seen.proposals.push(sent);
                }
                _ => {}
            }
        }
        for (from, message) in &seen.messages {
            match (from, message) {
                (Party::Server, Message::Package(package)) => {
                    let root = package.proposal.signed.content.root;
                    seen.sets
                        .entry(root)
                        .or_insert_with(|| package.headers.clone());
                    dedup(&mut seen.proposals, package.proposal.clone());
                }
                (_, Message::Contribution(upload)) => {
                    dedup(
                        &mut seen.uploads,
                        (upload.header.clone(), upload.body.clone()),
                    );
                }
                (_, Message::Convicted(m)) => {
                    seen.lists.insert(m.signed.content.convicted.clone());
                }
                _ => {}
            }
        }
        let lists = published(report)
            .iter()
            .map(|r| r.signed.content.convicted.clone())
            .collect::<Vec<_>>();
        seen.lists.extend(lists);
        seen
    }

    /// The headers of the set with this root; of all sets where it is none of them.
    fn headers(&self, root: &Digest) -> Vec<&Vec<Header>> {
        match self.sets.get(root) {
            Some(headers) => vec![headers],
            None => self.sets.values().collect(),
        }
    }
}

/// The results that somebody downloaded; the server's own where nobody honest could.
fn published(report: &Report) -> Vec<&RoundResult> {
    match report.published.is_empty() {
        true => report.result.iter().collect(),
        false => report.published.iter().collect(),
    }
}

/// All evidence that can be made of what was sent, whether it convicts or not: what somebody would try who wants to frame
/// an honest party, and what an auditor finds.
///
/// `announcement` is the one that everybody goes by. The round may be a simulated one or a real one, as far as somebody knows
/// what was sent in it.
pub fn accusations(
    context: &RoundContext,
    announcement: &Announcement,
    report: &Report,
) -> Vec<Evidence> {
    let mut seen = Seen::new(report);
    against_members(&mut seen);
    against_server(context, announcement, report, &mut seen);
    against_clients(report, &mut seen);
    seen.evidence
}

/// Runs every judge on everything that was sent: gives whom that convicts. Nobody honest may ever be among them.
pub fn framings(world: &World, report: &Report) -> BTreeSet<(Party, &'static str)> {
    let accusations = accusations(&world.context, &world.announcement(), report);
    let judged = accusations
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

fn row_leaves(seen: &Seen<'_>) -> BTreeMap<(Digest, u16), Vec<RowLeaf>> {
    let requests = seen.messages.iter().filter_map(|(_, m)| match m {
        Message::RowsRequest(r) => Some(((r.root, r.slice), r.leaves.clone())),
        _ => None,
    });
    requests.collect()
}

fn against_members(seen: &mut Seen<'_>) {
    let mut statements: BTreeMap<MemberIndex, Vec<MemberStatement>> = BTreeMap::new();
    let mut complaints = Vec::new();
    let leaves = row_leaves(seen);
    let mut out = Vec::new();
    for (_, message) in &seen.messages {
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
                for headers in seen.headers(&signed.content.root) {
                    out.push(Evidence::BadUnmask {
                        unmask: signed.clone(),
                        headers: headers.clone(),
                    });
                }
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
                for header in seen.headers(&reveal.content.root).into_iter().flatten() {
                    out.push(Evidence::BadReveal {
                        reveal: reveal.clone(),
                        header: header.clone(),
                    });
                }
            }
            Message::Rows(rows) => {
                let content = &rows.signed.content;
                for (headers, convicted) in seen
                    .headers(&content.root)
                    .into_iter()
                    .flat_map(|h| seen.lists.iter().map(move |l| (h, l)))
                {
                    for (slice, _) in &content.slices {
                        let leaves = leaves.get(&(content.root, *slice)).into_iter().flatten();
                        let left = |h: &Header| !convicted.contains(&h.content.client);
                        let leaves = leaves
                            .zip(headers)
                            .filter(|(_, h)| left(h))
                            .map(|(leaf, _)| leaf.clone())
                            .collect();
                        out.push(Evidence::WrongRowSum {
                            signed: rows.signed.clone(),
                            slice: *slice,
                            convicted: convicted.clone(),
                            headers: headers.clone(),
                            leaves,
                        });
                    }
                }
            }
            _ => {}
        }
    }
    // Every complaint beside every header: the one it names, and those that it does not (A14).
    let uploaded = seen.uploads.iter().map(|(header, _)| header);
    let mut headers: Vec<Header> = Vec::new();
    for header in seen.sets.values().flatten().chain(uploaded) {
        dedup(&mut headers, header.clone());
    }
    for complaint in &complaints {
        for header in &headers {
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
    seen.evidence.extend(out);
}

fn against_server(
    context: &RoundContext,
    announcement: &Announcement,
    report: &Report,
    seen: &mut Seen<'_>,
) {
    let mut statements = Vec::new();
    let mut receipts = Vec::new();
    let mut other_params = Vec::new();
    for (_, message) in &seen.messages {
        match message {
            Message::Announcement(m) => {
                let signed = m.signed.clone();
                if m.params != *context.params() {
                    dedup(&mut other_params, (signed.clone(), m.params.clone()));
                }
                dedup(&mut statements, ServerStatement::Announcement { signed });
            }
            Message::Package(m) => {
                let signed = m.proposal.signed.clone();
                dedup(&mut statements, ServerStatement::Proposal { signed });
            }
            Message::Convicted(m) => {
                let signed = m.signed.clone();
                dedup(&mut statements, ServerStatement::Convicted { signed });
            }
            Message::Void(signed) => {
                let signed = signed.clone();
                dedup(&mut statements, ServerStatement::Void { signed });
            }
            Message::Receipt(receipt) => dedup(&mut receipts, receipt.clone()),
            _ => {}
        }
    }
    for receipt in report.receipts.values() {
        dedup(&mut receipts, receipt.clone());
    }
    let mut out = Vec::new();
    for result in published(report) {
        let content = &result.signed.content;
        let signed = result.signed.clone();
        dedup(&mut statements, ServerStatement::Result { signed });
        for headers in seen.headers(&content.root) {
            out.push(Evidence::WrongSecret {
                result: result.signed.clone(),
                headers: headers.clone(),
            });
            let x_rows = context.layout().x_rows as usize;
            let rows_of = |header: &Header| {
                let (_, body) = seen.uploads.iter().find(|(h, _)| h == header)?;
                let body = decode_body(context, &body.0).ok()?;
                Some(body.matrix.get(..x_rows)?.to_vec())
            };
            let summed = headers
                .iter()
                .filter(|h| !content.convicted.contains(&h.content.client));
            if let Some(rows) = summed.map(rows_of).collect() {
                out.push(Evidence::WrongVector {
                    result: result.clone(),
                    headers: headers.clone(),
                    rows,
                });
            }
        }
    }
    pairs(&statements, |first, second| {
        out.push(Evidence::ServerEquivocation {
            first,
            second,
            other_params: Vec::new(),
        });
    });
    for (second, params) in other_params {
        out.push(Evidence::ServerEquivocation {
            first: ServerStatement::Announcement {
                signed: announcement.signed.clone(),
            },
            second: ServerStatement::Announcement { signed: second },
            other_params: vec![params],
        });
    }
    for (receipt, proposal) in receipts
        .iter()
        .flat_map(|r| seen.proposals.iter().map(move |p| (r, p)))
    {
        let (receipt, proposal) = (receipt.clone(), proposal.clone());
        out.push(Evidence::ReceiptWithoutInclusion { receipt, proposal });
    }
    for (receipt, (header, body)) in receipts
        .iter()
        .flat_map(|r| seen.uploads.iter().map(move |u| (r, u)))
        .filter(|(r, (header, _))| r.content.client == header.content.client)
    {
        let (receipt, header, body) = (receipt.clone(), header.clone(), body.clone());
        out.push(Evidence::ReceiptForInvalid {
            receipt,
            header,
            body,
        });
    }
    seen.evidence.extend(out);
}

fn against_clients(report: &Report, seen: &mut Seen<'_>) {
    let mut headers: BTreeMap<ClientId, Vec<Header>> = BTreeMap::new();
    let mut out = Vec::new();
    for (header, body) in &seen.uploads {
        let known = headers.entry(header.content.client).or_default();
        // What an honest client sent once it sends always; a body beside it that was changed on the way shows nothing.
        if !known.contains(header) || !report.honest.contains(&header.content.client) {
            out.push(Evidence::InvalidHeader {
                header: header.clone(),
            });
            out.push(Evidence::InvalidProof {
                header: header.clone(),
                body: body.clone(),
            });
        }
        dedup(known, header.clone());
    }
    for list in headers.values() {
        pairs(list, |first, second| {
            out.push(Evidence::ClientEquivocation {
                first,
                second,
                other_params: Vec::new(),
            });
        });
    }
    seen.evidence.extend(out);
}
