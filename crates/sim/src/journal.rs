use crate::{Injected, SimError};
use rand_chacha::ChaCha20Rng;
use rand_core::RngCore;
use std::path::Path;
use std::sync::Arc;
use veilsum_crypto::Digest;
use veilsum_protocol::{BodySource, Record};
use veilsum_store::{
    Bodies, BodyDigest, CrashStyle, Fault, Log, LogIdentity, Role, SimDisk, StoreError,
};
use veilsum_wire::Wire;

const DIR: &str = "state";
const BODY_MAX: u64 = 1 << 26;

/// One party's disk and the log on it, which outlive its process.
pub(crate) struct Journal {
    disk: SimDisk,
    identity: LogIdentity,
    log: Option<Log>,
    appended: u64,
    rng: ChaCha20Rng,
    per_mille: u32,
}

/// Reads bodies of the disk of a [`Journal`].
pub(crate) struct StoredBodies(Bodies);

impl BodySource for StoredBodies {
    fn read(&mut self, body: &Digest) -> Option<Vec<u8>> {
        self.0.read_verified(&BodyDigest(body.0), BODY_MAX).ok()
    }
}

/// What is on the disk when a process starts.
pub(crate) struct Opened {
    pub(crate) records: Vec<Record>,
    pub(crate) injected: Vec<Injected>,
}

impl Journal {
    pub(crate) fn new(role: Role, context: Digest, rng: ChaCha20Rng, per_mille: u32) -> Self {
        Self {
            disk: SimDisk::new(),
            identity: LogIdentity {
                role,
                context: context.0,
            },
            log: None,
            appended: 0,
            rng,
            per_mille,
        }
    }

    /// Draws the change of the disk at which this process fails next.
    fn arm(&mut self) {
        self.disk.clear_faults();
        if self.per_mille == 0 {
            return;
        }
        let span = 2000 / u64::from(self.per_mille.min(1000));
        let number = self.disk.changes() + self.rng.next_u64() % span.max(1);
        let fault = match self.rng.next_u32() % 8 {
            0 => Fault::Eio,
            1 => Fault::Full,
            _ => Fault::Crash,
        };
        self.disk.fail_change(number, fault);
    }

    /// Starts the process: none when the disk fails again while it starts.
    pub(crate) fn open(&mut self) -> Result<Option<Opened>, SimError> {
        let mut injected = Vec::new();
        self.log = None;
        if self.disk.has_crashed() {
            let mut seed = [0; 32];
            self.rng.fill_bytes(&mut seed);
            self.disk.restart(match self.rng.next_u32() % 4 {
                0 => CrashStyle::LoseUnsynced,
                _ => CrashStyle::Torn(seed),
            });
        } else {
            self.disk.restart(CrashStyle::ProcessOnly);
        }
        self.arm();
        let opened =
            Log::open_or_create(Arc::new(self.disk.clone()), Path::new(DIR), self.identity)
                .and_then(|(log, recovery)| {
                    let payloads = log
                        .records()?
                        .map(|record| record.map(|r| r.payload))
                        .collect::<Result<Vec<_>, _>>()?;
                    Ok((log, recovery, payloads))
                });
        match opened {
            Ok((log, recovery, payloads)) => {
                if recovery.records < self.appended || recovery.cut_bytes > 0 {
                    injected.push(Injected::TailLost);
                }
                self.appended = recovery.records;
                self.log = Some(log);
                let records = payloads
                    .iter()
                    .map(|bytes| Record::from_bytes(bytes))
                    .collect::<Result<Vec<_>, _>>()?;
                Ok(Some(Opened { records, injected }))
            }
            Err(error @ (StoreError::Corrupt { .. } | StoreError::Version { .. })) => {
                Err(SimError::Store(error))
            }
            Err(_) => Ok(None),
        }
    }

    /// Makes a record durable. When that fails the process is over: what happened is the error.
    pub(crate) fn persist(&mut self, record: &Record) -> Result<(), Injected> {
        let Some(log) = &mut self.log else {
            return Err(Injected::DiskFailed);
        };
        self.appended += 1;
        let (tag, bytes) = (u16::from(record.tag()), record.to_bytes());
        let done = log.append(tag, &bytes).and_then(|_| log.sync());
        done.map(|_| ()).map_err(|e| self.over(&e))
    }

    fn over(&mut self, error: &StoreError) -> Injected {
        self.log = None;
        if self.disk.has_crashed() {
            Injected::Torn
        } else if matches!(error, StoreError::DiskFull { .. }) {
            Injected::DiskFull
        } else {
            Injected::DiskFailed
        }
    }

    /// Makes a body durable and gives the digest under which it is stored.
    pub(crate) fn put_body(&mut self, bytes: &[u8]) -> Result<Digest, Injected> {
        let Some(log) = &self.log else {
            return Err(Injected::DiskFailed);
        };
        let written = log.bodies().writer(BODY_MAX).and_then(|mut writer| {
            writer.write(bytes)?;
            writer.commit()
        });
        written
            .map(|digest| Digest(digest.0))
            .map_err(|e| self.over(&e))
    }

    /// The bodies, as a process reads them.
    pub(crate) fn bodies(&self) -> Option<StoredBodies> {
        Some(StoredBodies(self.log.as_ref()?.bodies().reader().clone()))
    }

    /// Loses everything that was ever written, which no disk does.
    pub(crate) fn forget(&mut self) {
        self.log = None;
        self.disk = SimDisk::new();
        self.appended = 0;
    }
}
