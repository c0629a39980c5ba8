//! The transcript of a server that cheats: the honest one's, with what was said besides or instead.

use std::path::Path;
use std::sync::Arc;

use veilsum::crypto::{Digest, IdentityKey};
use veilsum::protocol::Record;
use veilsum::store::{ClosedLog, LOG_FILE, Log, RealDisk, StoreError};
use veilsum::wire::{LogHeadContent, Proposal, ReceiptContent, RoundResult, Rows, Signed, Wire};

use super::{CheatingServer, Scene};

/// What a cheating server said in a round that the honest one behind it does not know of.
#[derive(Debug, Default)]
pub(super) struct Said {
    pub(super) receipts: Vec<Signed<ReceiptContent>>,
    pub(super) proposals: Vec<Proposal>,
    pub(super) results: Vec<RoundResult>,
    pub(super) rows: Vec<Rows>,
}

impl Said {
    /// Writes the closed log in `dir` anew, in `work`, with all of it at its place, signs its head, and puts it in `dir`.
    pub(super) fn rewrite(
        mut self,
        dir: &Path,
        work: &Path,
        scene: &Scene,
        server: &IdentityKey,
    ) -> Result<(), StoreError> {
        let disk = Arc::new(RealDisk);
        let honest = ClosedLog::read(Arc::clone(&disk) as _, dir)?;
        let place = work.join(format!("transcript-{}", scene.context.params().round_id));
        let mut log = Log::create(Arc::clone(&disk) as _, &place, honest.identity())?;
        for record in honest.records()? {
            let record = record?;
            let Ok(decoded) = Record::from_bytes(&record.payload) else {
                log.append(record.kind, &record.payload)?;
                continue;
            };
            for record in self.instead_of(decoded, scene) {
                log.append(record.tag().into(), &record.to_bytes())?;
            }
        }
        for accepted in self.rows {
            let record = Record::ServerRows { accepted };
            log.append(record.tag().into(), &record.to_bytes())?;
        }
        let head = log.head();
        let content = LogHeadContent {
            params_digest: *scene.context.digest(),
            records: head.records,
            head: Digest(head.value),
        };
        log.close(&Signed::sign(content, server).to_bytes())?;
        drop(log);
        let (from, to) = (place.join(LOG_FILE), dir.join(LOG_FILE));
        std::fs::rename(&from, &to).map_err(|error| StoreError::Io {
            operation: veilsum::store::Operation::Rename,
            path: to,
            kind: error.kind(),
            os_code: error.raw_os_error(),
        })
    }

    /// What stands in the cheating server's log where this record stands in the honest one's.
    fn instead_of(&mut self, record: Record, scene: &Scene) -> Vec<Record> {
        match record {
            Record::ServerProposal { sent } => {
                let receipts = self.receipts.drain(..);
                let receipts = receipts.map(|sent| Record::ServerReceipt { sent });
                let mut records: Vec<Record> = receipts.collect();
                records.push(Record::ServerProposal { sent });
                let others = self.proposals.drain(..);
                records.extend(others.map(|sent| Record::ServerProposal { sent }));
                records
            }
            Record::ServerResult { sent } => {
                let others = self.results.drain(..);
                let others = others.map(|sent| Record::ServerResult { sent });
                // Whoever is not the victim is shown the right result too, if there is one victim alone.
                let honest = (scene.kind == CheatingServer::TwoResults || others.len() == 0)
                    .then_some(Record::ServerResult { sent });
                honest.into_iter().chain(others).collect()
            }
            Record::ServerRows { accepted } => {
                let content = &accepted.signed.content;
                let same = |rows: &Rows| {
                    rows.signed.content.member == content.member
                        && rows.values.slice == accepted.values.slice
                };
                let lie = self.rows.iter().position(same);
                let accepted = lie.map_or(accepted, |place| self.rows.remove(place));
                vec![Record::ServerRows { accepted }]
            }
            other => vec![other],
        }
    }
}
