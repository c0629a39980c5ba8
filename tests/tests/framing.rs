//! Whoever tries to frame an honest party: for each form of evidence what somebody can put together who sees every message
//! of a round and has keys of its own, and no more. `veilsum audit` says that it proves nothing (code 5). Beside them stands
//! one deed of each form that is real, so that the judge is seen to convict (code 3).
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use rand_core::OsRng;
use veilsum::crypto::{Digest, IdentityKey};
use veilsum::params::{ClientId, MemberIndex, RoundParams};
use veilsum::protocol::{
    AccusationError, Bytes, Check, Document, Evidence, EvidenceKind, JudgeError, MemberStatement,
    Message, Pins, Record, ServerStatement, judge_file, open_share, row_leaf, share_leaf,
};
use veilsum::wire::{
    AnnouncementContent, Body, ComplaintContent, Content, Endorse, FinalContent, Header, Proposal,
    ReceiptContent, RevealContent, RoundResult, RowLeaf, Rows, Signed, UnmaskContent,
    proposal_root, result_vector_digest, row_values_digest,
};
use veilsum_e2e::{json, run};
use veilsum_sim::{Deviation, Faults, Plan, Setup, Simulation, Tables, World, forge};

/// The forms of evidence of each kind. A new kind does not compile until it is here, and then is asked for cases below.
fn forms(kind: EvidenceKind) -> &'static [&'static str] {
    match kind {
        EvidenceKind::InvalidProof => &["InvalidHeader", "InvalidProof"],
        EvidenceKind::BadShare => &["BadShare"],
        EvidenceKind::FalseComplaint => &["FalseComplaint"],
        EvidenceKind::BadUnmask => &["BadUnmask", "BadReveal"],
        EvidenceKind::ClientEquivocation => &["ClientEquivocation"],
        EvidenceKind::MemberEquivocation => &["MemberEquivocation"],
        EvidenceKind::ServerEquivocation => &["ServerEquivocation"],
        EvidenceKind::ReceiptWithoutInclusion => &["ReceiptWithoutInclusion"],
        EvidenceKind::ReceiptForInvalid => &["ReceiptForInvalid"],
        EvidenceKind::WrongResult => &["WrongSecret", "WrongVector"],
        EvidenceKind::WrongRowSum => &["WrongRowSum"],
    }
}

/// Everything that was said in a round with one dishonest dealer, whom an honest member complains of.
struct Seen {
    world: World,
    /// A round later, with the same parties.
    next: World,
    dealer: ClientId,
    headers: Vec<Header>,
    bodies: BTreeMap<ClientId, Body>,
    receipts: BTreeMap<ClientId, Signed<ReceiptContent>>,
    proposal: Proposal,
    endorsed: Vec<Endorse>,
    complaint: Signed<ComplaintContent>,
    unmasked: Vec<Signed<UnmaskContent>>,
    finals: Vec<Signed<FinalContent>>,
    result: RoundResult,
    rows: Vec<Rows>,
}

/// The member that complains, and the one that somebody tries to frame.
const COMPLAINER: MemberIndex = MemberIndex(2);
const VICTIM: MemberIndex = MemberIndex(3);

fn seen() -> Seen {
    let setup = Setup::small(31);
    let tables = Tables::default();
    let world = World::with_tables(setup, 1, &tables).unwrap();
    let next = World::with_tables(setup, 2, &tables).unwrap();
    let dealer = world.plain_clients()[0];
    let deviation = Deviation {
        bad_shares: vec![COMPLAINER],
        ..Deviation::default()
    };
    let upload = forge(&world, dealer, &deviation, &mut OsRng)
        .unwrap()
        .upload();
    let plan = Plan {
        uploads: BTreeMap::from([(dealer, vec![upload])]),
        ..Plan::default()
    };
    let report = Simulation::run(&world, Faults::NONE, plan).unwrap();
    let mut bodies = BTreeMap::new();
    for (_, message) in &report.sent {
        if let Message::Contribution(upload) = message {
            let context = &world.context;
            let body = Body::from_bytes(&upload.body.0, context.params(), context.layout());
            bodies.insert(upload.header.content.client, body.unwrap());
        }
    }
    let (mut headers, mut receipts) = (BTreeMap::new(), BTreeMap::new());
    let (mut endorsed, mut unmasked, mut finals, mut rows) = (vec![], vec![], vec![], vec![]);
    let (mut proposal, mut result) = (None, None);
    for record in report.records() {
        match record {
            Record::ServerContribution { header, .. } => {
                headers.insert(header.content.client, header);
            }
            Record::ServerReceipt { sent } => {
                receipts.insert(sent.content.client, sent);
            }
            Record::ServerProposal { sent } => proposal = Some(sent),
            Record::ServerEndorse { accepted } => endorsed.push(accepted),
            Record::ServerUnmask { accepted } => unmasked.push(accepted.signed),
            Record::ServerFinal { accepted } => finals.push(accepted),
            Record::ServerResult { sent } => result = Some(sent),
            Record::ServerRows { accepted } => rows.push(accepted),
            _ => {}
        }
    }
    let complaint = endorsed.iter().find_map(|e| e.complaints.first().cloned());
    Seen {
        world,
        next,
        dealer,
        headers: headers.into_values().collect(),
        bodies,
        receipts,
        proposal: proposal.unwrap(),
        endorsed,
        complaint: complaint.unwrap(),
        unmasked,
        finals,
        result: result.unwrap(),
        rows,
    }
}

/// Another content under the signature that was given for the first one.
fn altered<T: Content + Clone>(signed: &Signed<T>, change: impl FnOnce(&mut T)) -> Signed<T> {
    let mut content = signed.content.clone();
    change(&mut content);
    Signed {
        content,
        signature: signed.signature,
    }
}

/// Another content, signed by this key.
fn signed_by<T: Content + Clone>(
    signed: &Signed<T>,
    key: &IdentityKey,
    change: impl FnOnce(&mut T),
) -> Signed<T> {
    Signed::sign(altered(signed, change).content, key)
}

impl Seen {
    fn key(&self, member: MemberIndex) -> &IdentityKey {
        self.world.member_keys(member).unwrap().1
    }
    fn of<'a, T>(&self, list: &'a [T], member: impl Fn(&T) -> MemberIndex) -> &'a T {
        list.iter().find(|one| member(one) == VICTIM).unwrap()
    }
    fn dealt(&self) -> &Header {
        self.header(self.dealer)
    }
    fn header(&self, client: ClientId) -> &Header {
        let own = |h: &&Header| h.content.client == client;
        self.headers.iter().find(own).unwrap()
    }
    /// An honest client that is no member.
    fn honest(&self) -> ClientId {
        self.world.plain_clients()[1]
    }
    fn summed(&self) -> impl Iterator<Item = &Header> {
        let convicted = &self.result.signed.content.convicted;
        self.headers
            .iter()
            .filter(|h| !convicted.contains(&h.content.client))
    }
    fn x_rows(&self) -> Vec<Vec<[u8; 32]>> {
        let count = self.world.context.layout().x_rows as usize;
        self.summed()
            .map(|h| self.bodies[&h.content.client].matrix[..count].to_vec())
            .collect()
    }
    fn leaves(&self, slice: u16) -> Vec<RowLeaf> {
        let context = &self.world.context;
        self.summed()
            .map(|h| row_leaf(context, &self.bodies[&h.content.client].matrix, slice))
            .collect()
    }
    /// What the victim would reveal of a convicted dealer.
    fn reveal(&self) -> Signed<RevealContent> {
        let (world, header) = (&self.world, self.dealt());
        let (_, identity, share) = world.member_keys(VICTIM).unwrap();
        let leaf = share_leaf(&self.bodies[&self.dealer], VICTIM).unwrap();
        let opened = open_share(&world.context, &header.content, VICTIM, share, &leaf).unwrap();
        let content = RevealContent {
            params_digest: *world.context.digest(),
            root: self.proposal.signed.content.root,
            member: VICTIM,
            header_digest: header.content.digest(),
            share: *opened.expose(),
        };
        Signed::sign(content, identity)
    }
    fn announced(world: &World) -> ServerStatement {
        let content = AnnouncementContent {
            round_id: world.context.params().round_id,
            params_digest: *world.context.digest(),
        };
        ServerStatement::Announcement {
            signed: Signed::sign(content, &world.server),
        }
    }
    fn next_params(&self) -> Vec<RoundParams> {
        vec![self.next.context.params().clone()]
    }
}

/// Evidence that must not convict, and the check that says why; or that must (none).
type Case = (&'static str, Evidence, Option<Check>);

const UNSIGNED: Option<Check> = Some(Check::EvidenceSignature);
const NOTHING: Option<Check> = Some(Check::EvidenceContent);

fn of_clients(s: &Seen) -> Vec<Case> {
    let (world, victim) = (&s.world, s.honest());
    let (header, body) = (s.header(victim).clone(), s.bodies[&victim].clone());
    let framer = &world.identities[&s.dealer];
    let guilty = &world.identities[&victim];
    let spoil = |h: &mut veilsum::wire::HeaderContent| h.f_z = h.ephemeral;
    let undone = |h: &mut veilsum::wire::HeaderContent| h.ephemeral = h.f_z;
    let proof = |header: &Header, body: &Body| Evidence::InvalidProof {
        header: header.clone(),
        body: Bytes(body.to_bytes()),
    };
    let mut changed = body.clone();
    changed.proof[40] ^= 1;
    let mut redone = header.content.clone();
    redone.proof = changed
        .digests(world.context.params(), world.context.layout())
        .proof;
    let redone = Signed::sign(redone, guilty);
    let twice = |second: Header, other_params| Evidence::ClientEquivocation {
        first: header.clone(),
        second,
        other_params,
    };
    let later = forge(&s.next, victim, &Deviation::default(), &mut OsRng).unwrap();
    vec![
        (
            "its valid header",
            Evidence::InvalidHeader {
                header: header.clone(),
            },
            NOTHING,
        ),
        (
            "its header, changed",
            Evidence::InvalidHeader {
                header: altered(&header, undone),
            },
            Some(Check::HeaderSignature),
        ),
        (
            "a header in its name",
            Evidence::InvalidHeader {
                header: signed_by(&header, framer, undone),
            },
            Some(Check::HeaderSignature),
        ),
        (
            "real",
            Evidence::InvalidHeader {
                header: signed_by(&header, guilty, undone),
            },
            None,
        ),
        ("its valid contribution", proof(&header, &body), NOTHING),
        (
            "its header beside a changed body",
            proof(&header, &changed),
            Some(Check::BodyProof),
        ),
        (
            "its header beside another's body",
            proof(&header, &s.bodies[&s.dealer]),
            Some(Check::BodyShareRoot),
        ),
        (
            "a changed body under a header in its name",
            proof(&Signed::sign(redone.content.clone(), framer), &changed),
            Some(Check::HeaderSignature),
        ),
        ("real", proof(&redone, &changed), None),
        ("one header twice", twice(header.clone(), vec![]), NOTHING),
        (
            "a second header, not signed",
            twice(altered(&header, spoil), vec![]),
            UNSIGNED,
        ),
        (
            "a second header in its name",
            twice(signed_by(&header, framer, spoil), vec![]),
            UNSIGNED,
        ),
        (
            "its headers of two rounds",
            twice(later.upload().header, s.next_params()),
            NOTHING,
        ),
        ("real", twice(redone, vec![]), None),
    ]
}

fn of_complaints(s: &Seen) -> Vec<Case> {
    let (framer, own) = (s.key(VICTIM), s.key(COMPLAINER));
    let bad = |header: &Header, complaint: &Signed<ComplaintContent>| Evidence::BadShare {
        header: header.clone(),
        complaint: complaint.clone(),
    };
    let untrue = |header: &Header, complaint: &Signed<ComplaintContent>| Evidence::FalseComplaint {
        header: header.clone(),
        complaint: complaint.clone(),
    };
    // About the honest client: its own leaf for the complainer, and whatever else fits.
    let victim = s.header(s.honest());
    let leaf = share_leaf(&s.bodies[&s.honest()], COMPLAINER).unwrap();
    let readdress = |c: &mut ComplaintContent| {
        c.header_digest = victim.content.digest();
        c.share = leaf.clone();
    };
    let groundless = signed_by(&s.complaint, own, readdress);
    let point = s.headers[0].content.ephemeral;
    vec![
        (
            "a groundless complaint about it",
            bad(victim, &groundless),
            NOTHING,
        ),
        (
            "a complaint about somebody else",
            bad(victim, &s.complaint),
            Some(Check::ComplaintApplicable),
        ),
        (
            "a complaint that its member did not sign",
            bad(victim, &altered(&s.complaint, readdress)),
            Some(Check::ComplaintSignature),
        ),
        ("real", bad(s.dealt(), &s.complaint), None),
        (
            "its rightful complaint",
            untrue(s.dealt(), &s.complaint),
            NOTHING,
        ),
        (
            "its complaint beside another header",
            untrue(victim, &s.complaint),
            Some(Check::ComplaintApplicable),
        ),
        (
            "its complaint, changed",
            untrue(s.dealt(), &altered(&s.complaint, |c| c.point = point)),
            Some(Check::ComplaintSignature),
        ),
        (
            "a complaint in its name",
            untrue(victim, &signed_by(&s.complaint, framer, readdress)),
            Some(Check::ComplaintSignature),
        ),
        ("real", untrue(victim, &groundless), None),
    ]
}

fn of_members(s: &Seen) -> Vec<Case> {
    let (framer, own) = (s.key(COMPLAINER), s.key(VICTIM));
    let unmask = s.of(&s.unmasked, |u| u.content.member);
    let sum = |u: &mut UnmaskContent| u.sum += u.sum;
    let wrong_sum = |unmask: Signed<UnmaskContent>, headers: &[Header]| Evidence::BadUnmask {
        unmask,
        headers: headers.to_vec(),
    };
    let reveal = s.reveal();
    let share = |r: &mut RevealContent| r.share += r.share;
    let wrong_share = |reveal: Signed<RevealContent>, header: &Header| Evidence::BadReveal {
        reveal,
        header: header.clone(),
    };
    let endorse = &s.of(&s.endorsed, |e| e.signed.content.member).signed;
    let endorsed = |signed: Signed<_>| MemberStatement::Endorse { signed };
    let last = s.of(&s.finals, |f| f.content.member);
    let root = |e: &mut veilsum::wire::EndorseContent| e.root = Digest([5; 32]);
    let both = |second: MemberStatement, other_params| Evidence::MemberEquivocation {
        first: endorsed(endorse.clone()),
        second,
        other_params,
    };
    let rows = &s.rows[0];
    let signer = rows.signed.content.member;
    let row_key = s.key(signer);
    let other = s.key(MemberIndex(if signer == MemberIndex(1) { 2 } else { 1 }));
    let slice = rows.values.slice;
    let list =
        |signed: &Signed<_>, headers: &[Header], leaves: Vec<RowLeaf>| Evidence::WrongRowSum {
            signed: signed.clone(),
            slice,
            convicted: s.result.signed.content.convicted.clone(),
            headers: headers.to_vec(),
            leaves,
        };
    let claim = |content: &mut veilsum::wire::RowsContent| {
        for (_, digest) in &mut content.slices {
            *digest = row_values_digest(&[[0; 32]]);
        }
    };
    let mut other_rows = s.leaves(slice);
    other_rows.swap(0, 1);
    vec![
        (
            "its right sum",
            wrong_sum(unmask.clone(), &s.headers),
            NOTHING,
        ),
        (
            "its sum beside other headers",
            wrong_sum(unmask.clone(), &s.headers[1..]),
            NOTHING,
        ),
        (
            "its sum, changed",
            wrong_sum(altered(unmask, sum), &s.headers),
            UNSIGNED,
        ),
        (
            "a sum in its name",
            wrong_sum(signed_by(unmask, framer, sum), &s.headers),
            UNSIGNED,
        ),
        (
            "real",
            wrong_sum(signed_by(unmask, own, sum), &s.headers),
            None,
        ),
        (
            "its right share",
            wrong_share(reveal.clone(), s.dealt()),
            NOTHING,
        ),
        (
            "its share beside another header",
            wrong_share(reveal.clone(), s.header(s.honest())),
            NOTHING,
        ),
        (
            "its share, changed",
            wrong_share(altered(&reveal, share), s.dealt()),
            UNSIGNED,
        ),
        (
            "a share in its name",
            wrong_share(signed_by(&reveal, framer, share), s.dealt()),
            UNSIGNED,
        ),
        (
            "real",
            wrong_share(signed_by(&reveal, own, share), s.dealt()),
            None,
        ),
        (
            "one endorsement twice",
            both(endorsed(endorse.clone()), vec![]),
            NOTHING,
        ),
        (
            "endorsement and sum",
            both(
                MemberStatement::Unmask {
                    signed: unmask.clone(),
                },
                vec![],
            ),
            NOTHING,
        ),
        (
            "endorsement and Final",
            both(
                MemberStatement::Final {
                    signed: last.clone(),
                },
                vec![],
            ),
            NOTHING,
        ),
        (
            "endorsements with other complaints",
            both(
                endorsed(signed_by(endorse, own, |e| e.complaints = Digest([1; 32]))),
                vec![],
            ),
            NOTHING,
        ),
        (
            "its endorsement, changed",
            both(endorsed(altered(endorse, root)), vec![]),
            UNSIGNED,
        ),
        (
            "an endorsement in its name",
            both(endorsed(signed_by(endorse, framer, root)), vec![]),
            UNSIGNED,
        ),
        (
            "endorsements of two rounds",
            both(
                endorsed(signed_by(endorse, own, |e| {
                    e.params_digest = *s.next.context.digest()
                })),
                s.next_params(),
            ),
            NOTHING,
        ),
        (
            "real",
            both(endorsed(signed_by(endorse, own, root)), vec![]),
            None,
        ),
        (
            "its right row sum",
            list(&rows.signed, &s.headers, s.leaves(slice)),
            NOTHING,
        ),
        (
            "its row sum beside others' rows",
            list(&rows.signed, &s.headers, other_rows),
            Some(Check::RowsRequestPath),
        ),
        (
            "its row sum beside other headers",
            list(&rows.signed, &s.headers[1..], s.leaves(slice)),
            NOTHING,
        ),
        (
            "its row sums, changed",
            list(&altered(&rows.signed, claim), &s.headers, s.leaves(slice)),
            UNSIGNED,
        ),
        (
            "row sums in its name",
            list(
                &signed_by(&rows.signed, other, claim),
                &s.headers,
                s.leaves(slice),
            ),
            UNSIGNED,
        ),
        (
            "real",
            list(
                &signed_by(&rows.signed, row_key, claim),
                &s.headers,
                s.leaves(slice),
            ),
            None,
        ),
    ]
}

fn of_server(s: &Seen) -> Vec<Case> {
    let (world, client, framer) = (&s.world, s.honest(), s.key(COMPLAINER));
    let own = &world.server;
    let proposed = ServerStatement::Proposal {
        signed: s.proposal.signed.clone(),
    };
    let both = |second: ServerStatement, other_params| Evidence::ServerEquivocation {
        first: proposed.clone(),
        second,
        other_params,
    };
    let result = &s.result.signed;
    let said = |signed: Signed<_>| ServerStatement::Result { signed };
    let root = |r: &mut veilsum::wire::ResultContent| r.root = Digest([5; 32]);
    let receipt = &s.receipts[&client];
    let mut without = s.proposal.clone();
    without.entries.retain(|(c, _)| *c != client);
    let mut rerooted = without.clone();
    rerooted.signed.content.root = proposal_root(&without.entries);
    let mut in_its_name = rerooted.clone();
    in_its_name.signed = Signed::sign(rerooted.signed.content.clone(), framer);
    let mut real = rerooted.clone();
    real.signed = Signed::sign(rerooted.signed.content.clone(), own);
    let mut later = real.clone();
    later.signed = signed_by(&real.signed, own, |p| {
        p.params_digest = *s.next.context.digest()
    });
    let left_out = |proposal: &Proposal| Evidence::ReceiptWithoutInclusion {
        receipt: receipt.clone(),
        proposal: proposal.clone(),
    };
    let (header, body) = (s.header(client).clone(), s.bodies[&client].clone());
    let taken = |receipt: &Signed<ReceiptContent>, header: &Header, body: &Body| {
        Evidence::ReceiptForInvalid {
            receipt: receipt.clone(),
            header: header.clone(),
            body: Bytes(body.to_bytes()),
        }
    };
    let mut changed = body.clone();
    changed.proof[40] ^= 1;
    let mut invalid = header.clone();
    invalid.content.proof = changed
        .digests(world.context.params(), world.context.layout())
        .proof;
    let for_invalid = |r: &mut ReceiptContent| r.header_digest = invalid.content.digest();
    let secret = |result: Signed<_>, headers: &[Header]| Evidence::WrongSecret {
        result,
        headers: headers.to_vec(),
    };
    let r_sum = |r: &mut veilsum::wire::ResultContent| r.r_sum += r.r_sum;
    let vector = |result: &RoundResult, rows: Vec<Vec<[u8; 32]>>| Evidence::WrongVector {
        result: result.clone(),
        headers: s.headers.clone(),
        rows,
    };
    let mut unbound = s.result.clone();
    unbound.vector[0] += 1;
    let mut unsigned = unbound.clone();
    unsigned.signed.content.vector_digest = result_vector_digest(&unbound.vector);
    let mut wrong = unsigned.clone();
    wrong.signed = Signed::sign(unsigned.signed.content.clone(), own);
    let mut others = s.x_rows();
    others.swap(0, 1);
    vec![
        (
            "one proposal twice",
            both(proposed.clone(), vec![]),
            NOTHING,
        ),
        (
            "proposal and result",
            both(said(result.clone()), vec![]),
            NOTHING,
        ),
        (
            "its result, changed",
            both(said(altered(result, root)), vec![]),
            UNSIGNED,
        ),
        (
            "a result in its name",
            both(said(signed_by(result, framer, root)), vec![]),
            UNSIGNED,
        ),
        (
            "announcements of two rounds",
            Evidence::ServerEquivocation {
                first: Seen::announced(world),
                second: Seen::announced(&s.next),
                other_params: s.next_params(),
            },
            NOTHING,
        ),
        (
            "real",
            both(said(signed_by(result, own, root)), vec![]),
            None,
        ),
        ("receipt and proposal", left_out(&s.proposal), NOTHING),
        ("a proposal with an entry less", left_out(&without), NOTHING),
        (
            "a proposal that it did not sign",
            left_out(&rerooted),
            UNSIGNED,
        ),
        ("a proposal in its name", left_out(&in_its_name), UNSIGNED),
        ("a proposal of the next round", left_out(&later), NOTHING),
        ("real", left_out(&real), None),
        (
            "a receipt for a valid contribution",
            taken(receipt, &header, &body),
            NOTHING,
        ),
        (
            "a receipt beside a changed body",
            taken(receipt, &header, &changed),
            Some(Check::BodyProof),
        ),
        (
            "a receipt beside another header",
            taken(receipt, &invalid, &changed),
            NOTHING,
        ),
        (
            "a receipt that it did not sign",
            taken(&altered(receipt, for_invalid), &invalid, &changed),
            UNSIGNED,
        ),
        (
            "a receipt in its name",
            taken(&signed_by(receipt, framer, for_invalid), &invalid, &changed),
            UNSIGNED,
        ),
        (
            "a spoilt signature of the client",
            taken(
                receipt,
                &Signed {
                    content: header.content.clone(),
                    signature: receipt.signature,
                },
                &body,
            ),
            NOTHING,
        ),
        (
            "real",
            taken(&signed_by(receipt, own, for_invalid), &invalid, &changed),
            None,
        ),
        ("its right R", secret(result.clone(), &s.headers), NOTHING),
        (
            "its R beside other headers",
            secret(result.clone(), &s.headers[1..]),
            NOTHING,
        ),
        (
            "its R, changed",
            secret(altered(result, r_sum), &s.headers),
            UNSIGNED,
        ),
        (
            "an R in its name",
            secret(signed_by(result, framer, r_sum), &s.headers),
            UNSIGNED,
        ),
        (
            "real",
            secret(signed_by(result, own, r_sum), &s.headers),
            None,
        ),
        ("its right vector", vector(&s.result, s.x_rows()), NOTHING),
        (
            "its vector beside others' rows",
            vector(&s.result, others),
            NOTHING,
        ),
        (
            "its vector without one's rows",
            vector(&s.result, s.x_rows()[1..].to_vec()),
            NOTHING,
        ),
        ("its vector, changed", vector(&unbound, s.x_rows()), NOTHING),
        (
            "a vector that it did not sign",
            vector(&unsigned, s.x_rows()),
            UNSIGNED,
        ),
        ("real", vector(&wrong, s.x_rows()), None),
    ]
}

fn form(evidence: &Evidence) -> &'static str {
    let all = Evidence::VARIANTS.iter();
    all.into_iter().find(|v| v.0 == evidence.tag()).unwrap().1
}

#[test]
fn nobody_honest_is_framed_with_any_form_of_evidence() {
    let s = seen();
    assert_eq!(s.result.signed.content.convicted, [s.dealer]);
    let world = &s.world;
    let pins = Pins {
        registrar: Some(world.registrar.verifying_key().to_bytes()),
        server: Some(world.server.verifying_key().to_bytes()),
    };
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("accusation.veilsum");
    let audit = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        let output = run([Path::new("audit"), &path, Path::new("--json")]);
        let said = json(&String::from_utf8(output.stdout).unwrap());
        (output.status.code(), said)
    };
    let (mut framed, mut real, mut wrong) = (BTreeSet::new(), BTreeMap::new(), Vec::new());
    let cases = [
        of_clients(&s),
        of_complaints(&s),
        of_members(&s),
        of_server(&s),
    ];
    for (what, evidence, check) in cases.into_iter().flatten() {
        let name = form(&evidence);
        let params = world.context.params();
        let file = Document::accusation(&world.roster, params, &evidence).to_file();
        let judged = judge_file(&file, &pins).map(|(_, found)| found);
        let (code, said) = audit(&file);
        let output = run([Path::new("inspect"), &path, Path::new("--json")]);
        let shown = json(&String::from_utf8(output.stdout).unwrap());
        if shown["kind"] != "file with evidence" || shown["fields"]["evidence"].is_null() {
            wrong.push(format!("{name}, {what}: inspect shows {shown}"));
        }
        let whole = ["InvalidProof", "ReceiptForInvalid"].contains(&name);
        if whole && shown["challenges"][2]["label"] != "lambda" {
            wrong.push(format!("{name}, {what}: no challenges in {shown}"));
        }
        let (expected, verdict) = match check {
            Some(check) => {
                framed.insert(name);
                let refused = JudgeError::Refused(check.into());
                let as_said = matches!(&judged, Err(AccusationError::Judge(JudgeError::Refused(r))) if r.check == check);
                wrong.extend(
                    (!as_said).then(|| format!("{name}, {what}: {judged:?} is not {refused:?}")),
                );
                (Some(5), "proves-nothing")
            }
            None => {
                match &judged {
                    Ok(found) if said["evidence"][0]["kind"] == found.kind.name() => {
                        real.insert(name, found.kind);
                    }
                    other => wrong.push(format!("{name}, {what}: {other:?}, {said}")),
                }
                (Some(3), "convicts")
            }
        };
        if (code, &said["verdict"]) != (expected, &verdict.into()) {
            wrong.push(format!("{name}, {what}: code {code:?}, {said}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let all: BTreeSet<&str> = Evidence::VARIANTS.iter().map(|v| v.1).collect();
    assert_eq!(framed, all, "each form is tried");
    for (name, kind) in &real {
        assert!(forms(*kind).contains(name), "{name} is no {kind}");
    }
    assert_eq!(
        real.keys().copied().collect::<BTreeSet<_>>(),
        all,
        "each form convicts"
    );
}
