//! Who noticed what: evidence that parties wrote by themselves, what their notes prove together, and what an auditor finds.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use veilsum::Notes;
use veilsum::params::ClientId;
use veilsum::proof::{Prepared, Round};
use veilsum::protocol::{
    Bytes, Check, Culprit, Document, Evidence, EvidenceKind, Record, RoundContext, judge,
    judge_with,
};
use veilsum::store::{BodyDigest, ClosedLog, Disk, RealDisk, read_bounded, replace_private};
use veilsum::wire::{Body, Wire};

use crate::client::ClientReport;
use crate::error::DemoError;
use crate::plan::{Behaviour, usize_of};

/// Longest evidence file that is read, in bytes.
const EVIDENCE_MAX: u64 = 1 << 30;

/// Who noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Noticed {
    /// A client, from what it was shown itself.
    Client(ClientId),
    /// Several clients, when they put together what each was shown.
    ComparedNotes,
    /// Whoever reads the transcript.
    Auditor,
}

impl fmt::Display for Noticed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client(client) => client.fmt(f),
            Self::ComparedNotes => f.write_str("clients that compared notes"),
            Self::Auditor => f.write_str("an auditor of the transcript"),
        }
    }
}

/// Proven misbehaviour of the server, or of who helped it.
#[derive(Clone, Debug, PartialEq)]
pub struct Misbehaviour {
    /// What the evidence shows.
    pub kind: EvidenceKind,
    /// The check that it rests on.
    pub check: Check,
    /// Whom it convicts.
    pub culprit: Culprit,
    /// Whether that is the server or its accomplice; everybody else is innocent.
    pub guilty: bool,
    /// Who noticed: those that did by themselves, or who found it when they did not.
    pub noticed_by: Vec<Noticed>,
    /// The file, which convicts together with the roster and the parameters of the round.
    pub evidence: PathBuf,
}

/// What is known when the server cheats.
pub(crate) struct Cheating<'a> {
    pub(crate) accomplice: ClientId,
    pub(crate) transcript: &'a Path,
    pub(crate) prepared: Arc<Prepared>,
}

/// Gathers and judges all evidence of a round, each piece read back from its file. When the server
/// cheats, notes are compared and the transcript is audited too.
pub(crate) fn investigate(
    context: &Arc<RoundContext>,
    told: &[ClientReport],
    behaviours: &[Behaviour],
    states: &Path,
    folder: &Path,
    cheating: Option<Cheating<'_>>,
) -> Result<Vec<Misbehaviour>, DemoError> {
    let mut found = Findings {
        context,
        folder,
        accomplice: cheating.as_ref().map(|c| c.accomplice),
        list: BTreeMap::new(),
    };
    for report in told {
        for path in &report.evidence {
            let bytes = read_bounded(&RealDisk, path, EVIDENCE_MAX)?;
            match Document::from_file(&bytes) {
                Ok(Document::Accusation { evidence, .. }) => {
                    found.add(&evidence, Noticed::Client(report.client))?;
                }
                _ => {
                    tracing::error!(target: "veilsum", event = "evidence_unreadable", path = %path.display());
                }
            }
        }
    }
    if let Some(cheating) = cheating {
        let mut notes = Notes::new(Arc::clone(context));
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        for report in told {
            let place = usize_of(report.client.0).saturating_sub(1);
            if matches!(behaviours.get(place), Some(Behaviour::Malicious(_))) {
                continue;
            }
            notes.read(&disk, &states.join(report.client.to_string()))?;
        }
        for evidence in notes.evidence() {
            found.add(&evidence, Noticed::ComparedNotes)?;
        }
        for evidence in audit(context, cheating.prepared, cheating.transcript)? {
            found.add(&evidence, Noticed::Auditor)?;
        }
    }
    Ok(found.list.into_values().collect())
}

struct Findings<'a> {
    context: &'a RoundContext,
    folder: &'a Path,
    accomplice: Option<ClientId>,
    list: BTreeMap<(EvidenceKind, Culprit), Misbehaviour>,
}

impl Findings<'_> {
    fn add(&mut self, evidence: &Evidence, by: Noticed) -> Result<(), DemoError> {
        let Ok(conviction) = judge(self.context, evidence) else {
            tracing::error!(target: "veilsum", event = "evidence_proves_nothing", %by);
            return Ok(());
        };
        let key = (conviction.kind, conviction.culprit);
        let convicted = match conviction.culprit {
            Culprit::Server => None,
            Culprit::Client(client) | Culprit::Member { client, .. } => Some(client),
        };
        // An accomplice whose key the server uses goes by the protocol otherwise, and would tell on itself.
        if convicted.is_some_and(|client| by == Noticed::Client(client)) {
            return Ok(());
        }
        if let Some(known) = self.list.get_mut(&key) {
            if matches!(by, Noticed::Client(_)) {
                known.noticed_by.push(by);
            }
            return Ok(());
        }
        std::fs::create_dir_all(self.folder).map_err(|error| DemoError::Directory {
            path: self.folder.to_owned(),
            kind: error.kind(),
        })?;
        let round = self.context.params().round_id;
        let place = self.list.len() + 1;
        let name = format!("round-{round}-{place}-{}.veilsum", conviction.kind);
        let (roster, params) = (self.context.roster(), self.context.params());
        let file = Document::accusation(roster, params, evidence).to_file();
        let evidence = self.folder.join(name);
        replace_private(&RealDisk, &evidence, &file)?;
        let guilty = convicted.is_none_or(|client| self.accomplice == Some(client));
        self.list.insert(
            key,
            Misbehaviour {
                kind: conviction.kind,
                check: conviction.check,
                culprit: conviction.culprit,
                guilty,
                noticed_by: vec![by],
                evidence,
            },
        );
        Ok(())
    }
}

/// Receipts of a transcript for contributions that do not verify.
fn audit(
    context: &RoundContext,
    prepared: Arc<Prepared>,
    transcript: &Path,
) -> Result<Vec<Evidence>, DemoError> {
    let max = Body::encoded_len(context.params(), context.layout());
    let log = ClosedLog::read(Arc::new(RealDisk), transcript)?;
    let round = Round::new(prepared, *context.digest())?;
    let mut contributions = BTreeMap::new();
    let mut found = Vec::new();
    for record in log.records()? {
        match Record::from_bytes(&record?.payload) {
            Ok(Record::ServerContribution { header, body }) => {
                contributions.insert(header.content.client, (header, body));
            }
            Ok(Record::ServerReceipt { sent }) => {
                let Some((header, body)) = contributions.get(&sent.content.client) else {
                    continue;
                };
                let body = log.bodies().read_verified(&BodyDigest(body.0), max)?;
                let evidence = Evidence::ReceiptForInvalid {
                    receipt: sent,
                    header: header.clone(),
                    body: Bytes(body),
                };
                if judge_with(context, Some(&round), &evidence).is_ok() {
                    found.push(evidence);
                }
            }
            _ => {}
        }
    }
    Ok(found)
}
