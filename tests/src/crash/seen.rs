//! What real processes left of a round, given to the checkers of the laboratory.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use veilsum::crypto::{IdentityKey, VerifyingKey};
use veilsum::params::ClientId;
use veilsum::proof::{Prepared, Round};
use veilsum::protocol::{
    Bytes, Check, Culprit, Evidence, Message, Outcome, Party, Pins, Record, Refusal, RoundContext,
    Upload, judge_file,
};
use veilsum::store::{BODIES_DIR, BodyDigest, LOG_FILE, RealDisk};
use veilsum::wire::{Announcement, Roster, Wire};
use veilsum::{ServerKeys, client_dir, registrar_from_text, round_dir};
use veilsum_audit::Options;
use veilsum_lab::{Checker, Truth, Violation, check, message_of, replays};
use veilsum_sim::Report;

use super::logs;
use crate::Deployment;

/// The log of a server's round.
pub(super) fn server_log(deployment: &Deployment, round: u64) -> PathBuf {
    round_dir(Path::new(&deployment.file("state")), round).join(LOG_FILE)
}

fn state(deployment: &Deployment, client: u32) -> PathBuf {
    PathBuf::from(deployment.file(&format!("client-{client}.state")))
}

/// A client's log, of all its rounds.
pub(super) fn client_log(deployment: &Deployment, client: u32) -> PathBuf {
    client_dir(&state(deployment, client)).join(LOG_FILE)
}

/// The log of a client that is a member in a round.
pub(super) fn member_log(deployment: &Deployment, client: u32, round: u64) -> PathBuf {
    let dir = state(deployment, client).join("member");
    dir.join(round.to_string()).join(LOG_FILE)
}

/// A log as it was when its owner had been killed.
#[derive(Clone, Debug)]
pub struct Copy {
    path: PathBuf,
    records: Vec<Vec<u8>>,
    whole: usize,
}

impl Copy {
    pub(super) fn of(path: PathBuf) -> Self {
        let (records, whole) = logs::records(&path);
        Self {
            path,
            records,
            whole,
        }
    }

    /// Whether what was whole is still there.
    fn is_in(&self, log: &[Vec<u8>]) -> bool {
        log.get(..self.whole) == self.records.get(..self.whole)
    }
}

/// A client that sent a contribution with a false proof.
#[derive(Clone, Debug)]
pub struct Cheat {
    /// Who.
    pub client: ClientId,
    /// What it sent.
    pub upload: Upload,
    /// What it was refused with.
    pub check: Check,
}

/// Everything that is known of a round of real processes.
#[derive(Debug)]
pub struct Seen {
    /// The directory with the transcript.
    pub transcript: PathBuf,
    /// Keys that are known from elsewhere.
    pub pins: Pins,
    /// The server's key, which its log must give back a server with.
    pub server: IdentityKey,
    /// The round.
    pub context: Arc<RoundContext>,
    /// The proof's part of it.
    pub proof: Arc<Round>,
    /// The announcement.
    pub announcement: Announcement,
    /// What honest clients contribute.
    pub updates: BTreeMap<ClientId, Vec<i64>>,
    /// Who is taken for corrupted.
    pub corrupt: BTreeSet<Party>,
    /// Under which checks it may be convicted.
    pub cheats: BTreeMap<Party, BTreeSet<&'static str>>,
    /// Files of evidence, wherever they are.
    pub evidence: Vec<PathBuf>,
    /// What was sent, and what everybody has at the end.
    pub report: Report,
    /// Copies of logs that are not the beginning of what the logs are in the end.
    pub lost: Vec<PathBuf>,
}

/// The announcement of a round, as the server's log begins.
pub(super) fn announcement(deployment: &Deployment, round: u64) -> Option<Announcement> {
    let (records, _) = logs::records(&server_log(deployment, round));
    match Record::from_bytes(records.first()?).ok()? {
        Record::ServerAnnouncement { sent } => Some(sent),
        _ => None,
    }
}

/// The roster of a deployment, verified, and the registrar's key.
pub(super) fn roster(deployment: &Deployment) -> (Arc<Roster>, VerifyingKey) {
    let registrar = fs::read(deployment.file("registrar.key.pub")).unwrap();
    let registrar = registrar_from_text(&registrar).unwrap();
    let signed = Wire::from_bytes(&fs::read(deployment.file("roster.bin")).unwrap()).unwrap();
    let roster = Roster::verify(signed, &registrar).unwrap();
    (Arc::new(roster), registrar)
}

/// Tables of the proof, made once for each layout.
#[derive(Debug, Default)]
pub struct Tables(Vec<Arc<Prepared>>);

impl Tables {
    /// The proof's part of a round.
    pub(super) fn round(&mut self, context: &RoundContext) -> Arc<Round> {
        let known = self.0.iter().find(|p| p.layout() == context.layout());
        let prepared = known.map_or_else(
            || Arc::new(Prepared::new(context.layout()).unwrap()),
            Arc::clone,
        );
        if known.is_none() {
            self.0.push(Arc::clone(&prepared));
        }
        Arc::new(Round::new(prepared, *context.digest()).unwrap())
    }
}

/// Files whose names begin with `front`.
fn files(dir: &Path, front: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            files(&path, front, found);
        } else if entry.file_name().to_string_lossy().starts_with(front) {
            found.push(path);
        }
    }
}

impl Seen {
    /// Reads everything that is there when all processes have ended.
    ///
    /// `copies` are logs as they were when their owners had been killed, `accepted` clients that say that they have checked
    /// the result.
    pub(super) fn read(
        deployment: &Deployment,
        round: u64,
        tables: &mut Tables,
        clients: u32,
        cheat: Option<&Cheat>,
        accepted: &BTreeSet<ClientId>,
        copies: &[Copy],
    ) -> Self {
        let announcement = announcement(deployment, round).unwrap();
        let (roster, registrar) = roster(deployment);
        let context = RoundContext::new(announcement.params.clone(), roster).unwrap();
        let proof = tables.round(&context);
        let server = ServerKeys::from_text(&fs::read(deployment.file("server.key")).unwrap());
        let server = IdentityKey::from_seed(&server.unwrap().signing().to_seed());
        let transcript = round_dir(Path::new(&deployment.file("state")), round);
        let own = server_log(deployment, round);
        let mut lost = Vec::new();
        let mut ends: BTreeMap<PathBuf, Vec<Vec<u8>>> = BTreeMap::new();
        for client in 1..=clients {
            for path in [
                client_log(deployment, client),
                member_log(deployment, client, round),
            ] {
                ends.insert(path.clone(), logs::records(&path).0);
            }
        }
        ends.insert(own.clone(), logs::records(&own).0);
        let log = ends[&own].clone();
        for copy in copies {
            if !ends.get(&copy.path).is_some_and(|end| copy.is_in(end)) {
                lost.push(copy.path.clone());
            }
        }
        let all = ends.values().chain(copies.iter().map(|copy| &copy.records));
        let of_round: BTreeSet<Vec<u8>> = all
            .flatten()
            .filter(|bytes| is_of(&context, bytes))
            .cloned()
            .collect();
        let mut seen = Self {
            pins: Pins {
                registrar: Some(registrar.to_bytes()),
                server: Some(context.server_key().to_bytes()),
            },
            transcript,
            server,
            context: Arc::new(context),
            proof,
            announcement,
            updates: BTreeMap::new(),
            corrupt: BTreeSet::new(),
            cheats: BTreeMap::new(),
            evidence: Vec::new(),
            report: Report {
                log,
                ..Report::default()
            },
            lost,
        };
        seen.sent(&of_round, deployment, clients);
        seen.report.other_logs = of_round.into_iter().collect();
        seen.end(accepted);
        if let Some(cheat) = cheat {
            seen.cheated(cheat);
        }
        files(deployment.path(), "evidence", &mut seen.evidence);
        seen
    }

    /// The messages that records of logs stand for.
    fn sent(&mut self, records: &BTreeSet<Vec<u8>>, deployment: &Deployment, clients: u32) {
        let report = &mut self.report;
        for record in records {
            let Ok(record) = Record::from_bytes(record) else {
                continue;
            };
            report.sent.extend(message_of(&record));
            match record {
                Record::ClientContribution { header, body, .. } => {
                    let from = Party::Client(header.content.client);
                    let upload = Message::Contribution(Upload { header, body });
                    report.sent.push((from, upload));
                }
                Record::ServerContribution { header, body } => {
                    let name = BodyDigest(body.0).to_string();
                    let body = fs::read(self.transcript.join(BODIES_DIR).join(name));
                    let from = Party::Client(header.content.client);
                    let body = Bytes(body.unwrap_or_default());
                    let upload = Message::Contribution(Upload { header, body });
                    report.sent.push((from, upload));
                }
                Record::ClientReceipt { receipt } => {
                    report.receipts.insert(receipt.content.client, receipt);
                }
                Record::ServerEvidence { evidence } => report.evidence.push(evidence),
                _ => {}
            }
        }
        let round = self.context.params().round_id.to_string();
        let mut rows = Vec::new();
        for client in 1..=clients {
            let dir = state(deployment, client).join("member").join(&round);
            files(&dir, "rows-", &mut rows);
        }
        for path in rows {
            // One that its member was killed over is not whole, and the member is sent it again.
            if let Ok(request) = Wire::from_bytes(&fs::read(path).unwrap_or_default()) {
                let request = (Party::Server, Message::RowsRequest(request));
                report.sent.push(request);
            }
        }
        let mut once: Vec<(Party, Message)> = Vec::new();
        for said in std::mem::take(&mut report.sent) {
            if !once.contains(&said) {
                once.push(said);
            }
        }
        report.sent = once;
    }

    /// How the server's log says that the round ended.
    fn end(&mut self, accepted: &BTreeSet<ClientId>) {
        let report = &mut self.report;
        report.honest = self.context.cohort().iter().copied().collect();
        report.light = accepted.iter().map(|client| (*client, Ok(()))).collect();
        let mut proposed = 0;
        for record in report.records() {
            match record {
                Record::ServerProposal { sent } => proposed = sent.entries.len(),
                Record::ServerResult { sent } => {
                    let content = &sent.signed.content;
                    let summed = proposed.saturating_sub(content.convicted.len());
                    report.outcome = Some(Outcome::Certified {
                        root: content.root,
                        summed: u32::try_from(summed).unwrap_or(u32::MAX),
                    });
                    report.published = vec![sent.clone()];
                    report.result = Some(sent);
                }
                Record::ServerVoid { .. } => report.outcome = Some(Outcome::Void),
                _ => {}
            }
        }
    }

    fn cheated(&mut self, cheat: &Cheat) {
        let party = Party::Client(cheat.client);
        self.corrupt.insert(party);
        self.report.honest.remove(&cheat.client);
        let sent = Message::Contribution(cheat.upload.clone());
        self.report.sent.push((party, sent));
        let refusal = Refusal {
            check: cheat.check,
            culprit: Some(cheat.client),
        };
        self.report.refused.push((Party::Server, party, refusal));
        self.cheats.insert(party, [cheat.check.id()].into());
    }

    fn audit(&self) -> veilsum_audit::Report {
        let mut seed = [0; 32];
        rand_core::RngCore::fill_bytes(&mut rand_core::OsRng, &mut seed);
        let options = Options {
            sum_only: false,
            pins: self.pins,
            seed,
            progress: &|_| {},
        };
        veilsum_audit::audit(Arc::new(RealDisk), &self.transcript, &options).unwrap()
    }

    /// Evidence in files that convicts nobody, or somebody who is honest; an auditor of the transcript sees only what is beside
    /// the log.
    fn evidence_files(&self, found: &mut Vec<Violation>) {
        for path in &self.evidence {
            let judged = judge_file(&fs::read(path).unwrap(), &Pins::default());
            let guilty = judged.as_ref().is_ok_and(|(_, conviction)| {
                matches!(conviction.culprit, Culprit::Client(client) if self.guilty(path, client))
            });
            if !guilty {
                found.push(Violation {
                    checker: Checker::Framing,
                    what: format!(
                        "{}: {:?}",
                        path.display(),
                        judged.map(|(_, conviction)| conviction)
                    ),
                });
            }
        }
    }

    /// Whether a client cheated in this round; files beside logs of other rounds are those rounds' concern.
    fn guilty(&self, file: &Path, client: ClientId) -> bool {
        let other = file.starts_with(self.transcript.with_file_name(""))
            && !file.starts_with(&self.transcript);
        other || self.corrupt.contains(&Party::Client(client))
    }

    /// What the checkers of the laboratory find, and what a log lost that had been in it.
    #[must_use]
    pub fn check(&self) -> Vec<Violation> {
        let nothing = |party: &Party| match party {
            Party::Client(client) => Some((*client, None)),
            _ => None,
        };
        let truth = Truth {
            context: &self.context,
            round: &self.proof,
            announcement: self.announcement.clone(),
            updates: &self.updates,
            corrupt: self.corrupt.clone(),
            vectors: self.corrupt.iter().filter_map(nothing).collect(),
            cheats: self.cheats.clone(),
        };
        let audit = |_: &[&Evidence]| Ok::<_, std::convert::Infallible>(self.audit());
        let Ok(verdict) = check(&truth, &self.report, audit);
        let mut found = verdict.violations;
        let server = self.server.clone();
        found.extend(replays(&self.context, &self.proof, server, &self.report));
        self.evidence_files(&mut found);
        found.extend(self.lost.iter().map(|path| Violation {
            checker: Checker::Same,
            what: format!("{} lost records that had been in it", path.display()),
        }));
        found
    }
}

/// Whether a record belongs to the round: a client's log has all its rounds.
fn is_of(context: &RoundContext, record: &[u8]) -> bool {
    let of = |digest| digest == *context.digest();
    match Record::from_bytes(record) {
        Ok(
            Record::ClientContribution { announcement, .. }
            | Record::ClientLargeContribution { announcement, .. },
        ) => announcement.params.round_id == context.params().round_id,
        Ok(Record::ClientReceipt { receipt }) => of(receipt.content.params_digest),
        Ok(Record::ClientResult { accepted }) => of(accepted.content.params_digest),
        _ => true,
    }
}
