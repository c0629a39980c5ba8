//! What is on the disk: the log with all damage in it, the roster, evidence files.

use crate::{ANSWERS_FILE, AuditError, Fault, FaultKind, Options, ROSTER_FILE};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use veilsum_protocol::{Document, FileError, Record};
use veilsum_store::{
    Bodies, BodyInfo, ChainHead, ClosedLog, Disk, LOG_FILE, LogIdentity, Records, StoreError,
    read_bounded,
};
use veilsum_wire::{Roster, Wire};

/// No roster and no evidence is larger: the largest evidence is a body, or the X-rows of a round.
const FILE_MAX: u64 = 1 << 30;
/// After so many damaged places nobody learns more from the next one.
const DAMAGE_MAX: usize = 64;

pub(crate) struct Transcript {
    disk: Arc<dyn Disk>,
    pub(crate) dir: PathBuf,
    pub(crate) identity: Option<LogIdentity>,
    pub(crate) records: Vec<(u64, Record)>,
    /// Head and signature, of a log that is whole.
    pub(crate) closing: Option<(ChainHead, Vec<u8>)>,
    pub(crate) bodies: Bodies,
    pub(crate) stored: Vec<BodyInfo>,
    pub(crate) roster: Option<Arc<Roster>>,
    /// Names of evidence files; each is read when it is judged, for together they may be larger than the memory.
    pub(crate) evidence: Vec<OsString>,
    pub(crate) others: Vec<String>,
    pub(crate) log_bytes: u64,
    /// The chain behind the last record that was read, and how many places before it are damaged.
    pub(crate) read_to: Option<ChainHead>,
    pub(crate) faults_of_log: usize,
    pub(crate) faults: Vec<Fault>,
}

impl Transcript {
    pub(crate) fn read(
        disk: Arc<dyn Disk>,
        dir: &Path,
        options: &Options<'_>,
    ) -> Result<Self, AuditError> {
        let path = dir.join(LOG_FILE);
        let bodies = Bodies::new(Arc::clone(&disk), dir.join(veilsum_store::BODIES_DIR));
        // A directory without bodies may be that of a void round.
        let stored = match bodies.list() {
            Err(StoreError::NotFound { .. }) => Vec::new(),
            listed => listed?,
        };
        let mut transcript = Self {
            disk: Arc::clone(&disk),
            dir: dir.to_owned(),
            identity: None,
            records: Vec::new(),
            closing: None,
            bodies,
            stored,
            roster: None,
            evidence: Vec::new(),
            others: Vec::new(),
            log_bytes: 0,
            read_to: None,
            faults_of_log: 0,
            faults: Vec::new(),
        };
        transcript.read_files(&*disk, dir)?;
        transcript.read_roster(&*disk, dir, options)?;
        match ClosedLog::read(Arc::clone(&disk), dir) {
            Ok(closed) => {
                transcript.closing =
                    Some((closed.signed_head(), closed.closing_payload().to_vec()));
            }
            Err(error @ (StoreError::Corrupt { .. } | StoreError::NotClosed { .. })) => {
                transcript.fault(None, FaultKind::Log(error));
            }
            Err(error @ StoreError::Version { .. }) => {
                transcript.fault(None, FaultKind::Log(error));
                return Ok(transcript);
            }
            Err(error) => return Err(error.into()),
        }
        match Records::open(&*disk, &path) {
            Ok(records) => {
                transcript.identity = Some(records.identity());
                transcript.read_records(records)?;
            }
            // Told above.
            Err(StoreError::Corrupt { .. } | StoreError::Version { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(transcript)
    }

    pub(crate) fn fault(&mut self, record: Option<u64>, kind: FaultKind) {
        let fault = Fault { record, kind };
        if !self.faults.contains(&fault) {
            self.faults.push(fault);
        }
    }

    fn read_records(&mut self, mut records: Records) -> Result<(), AuditError> {
        loop {
            let next = records.next();
            if let Some(Ok(record)) = &next {
                self.read_to = Some(record.head());
            }
            match next {
                None => return Ok(()),
                Some(Ok(record)) => match Record::from_bytes(&record.payload) {
                    Ok(decoded) => {
                        let tag = u16::from(decoded.tag());
                        if tag != record.kind {
                            let kind = record.kind;
                            self.fault(Some(record.index), FaultKind::Kind { kind, tag });
                        }
                        self.records.push((record.index, decoded));
                    }
                    Err(cause) => self.fault(Some(record.index), FaultKind::Record(cause)),
                },
                Some(Err(error @ StoreError::Corrupt { .. })) => {
                    self.fault(None, FaultKind::Log(error));
                    self.faults_of_log += 1;
                    if self.faults_of_log >= DAMAGE_MAX || !records.resume()? {
                        return Ok(());
                    }
                }
                Some(Err(error)) => return Err(error.into()),
            }
        }
    }

    /// The bytes of an evidence file, or what is wrong with it.
    pub(crate) fn evidence_bytes(&self, name: &OsStr) -> Result<Vec<u8>, FaultKind> {
        let fault = |cause: FileError| FaultKind::EvidenceFile {
            file: name.to_string_lossy().into_owned(),
            cause: cause.into(),
        };
        match read_bounded(&*self.disk, &self.dir.join(name), FILE_MAX) {
            Ok(bytes) => Ok(bytes),
            Err(StoreError::TooLarge { .. }) => Err(fault(FileError::Damaged)),
            Err(error) => Err(FaultKind::Unread(error)),
        }
    }

    fn read_files(&mut self, disk: &dyn Disk, dir: &Path) -> Result<(), AuditError> {
        let listed = disk.list(dir).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => StoreError::NotFound {
                operation: veilsum_store::Operation::List,
                path: dir.to_owned(),
            },
            kind => StoreError::Io {
                operation: veilsum_store::Operation::List,
                path: dir.to_owned(),
                kind,
                os_code: error.raw_os_error(),
            },
        })?;
        for entry in listed {
            let name = entry.name.to_string_lossy().into_owned();
            if name == LOG_FILE {
                self.log_bytes = entry.size;
            } else if name.starts_with("evidence-") {
                self.evidence.push(entry.name);
            } else if ![ROSTER_FILE, ANSWERS_FILE, veilsum_store::LOCK_FILE]
                .contains(&name.as_str())
            {
                self.others.push(name);
            }
        }
        Ok(())
    }

    fn read_roster(
        &mut self,
        disk: &dyn Disk,
        dir: &Path,
        options: &Options<'_>,
    ) -> Result<(), AuditError> {
        let path = dir.join(ROSTER_FILE);
        let bytes = match read_bounded(disk, &path, FILE_MAX) {
            Err(StoreError::NotFound { .. }) => return Err(AuditError::NoRoster { path }),
            other => other?,
        };
        let roster = Document::from_file(&bytes).and_then(|document| match document {
            Document::RosterOf { .. } => document.checked_roster(&options.pins),
            other => Err(FileError::Kind {
                found: other.name(),
            }),
        });
        match roster {
            Ok(roster) => self.roster = Some(roster),
            Err(cause @ FileError::OtherRegistrar) => {
                return Err(AuditError::OtherKeys { path, cause });
            }
            Err(cause) => self.fault(None, FaultKind::Roster(cause)),
        }
        Ok(())
    }
}
