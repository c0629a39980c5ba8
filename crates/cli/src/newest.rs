//! The roster file of a running server: read again before each round, so that admissions and revocations need no restart.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use veilsum::Task;
use veilsum::crypto::VerifyingKey;
use veilsum::store::{RealDisk, read_bounded};
use veilsum::wire::Roster;

use crate::error::CliError;
use crate::keys::{FileError, roster_from};

/// Where the roster of a server comes from.
#[derive(Debug)]
pub(crate) struct RosterFile {
    path: PathBuf,
    registrar: VerifyingKey,
    /// BLAKE3 of the bytes that were taken last.
    taken: Mutex<Option<blake3::Hash>>,
}

impl RosterFile {
    pub(crate) fn new(path: PathBuf, registrar: VerifyingKey) -> Self {
        Self {
            path,
            registrar,
            taken: Mutex::new(None),
        }
    }

    /// Has the server go on with what the file holds now, if that is a newer roster. Whatever else it holds is said, each
    /// time, and changes nothing: rounds go on under the newest roster that was good. Blocks on the disk.
    pub(crate) fn refresh(&self, task: &Task) -> Arc<Roster> {
        if let Err(error) = self.take(task) {
            tracing::error!(target: "veilsum", event = "roster_refused", %error, "new rounds keep the roster that there was");
        }
        task.roster()
    }

    /// Another one when the file may have been replaced, without reading it.
    pub(crate) fn stamp(&self) -> Option<(SystemTime, u64)> {
        let about = std::fs::metadata(&self.path).ok()?;
        Some((about.modified().ok()?, about.len()))
    }

    fn take(&self, task: &Task) -> Result<(), CliError> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = read_bounded(&RealDisk, &self.path, veilsum::ROSTER_BYTES_MAX);
        let bytes = bytes.map_err(FileError::from)?;
        let hash = blake3::hash(&bytes);
        if *taken == Some(hash) {
            return Ok(());
        }
        let before = task.roster().digest();
        let roster = Arc::new(roster_from(&self.path, &bytes, &self.registrar)?);
        task.use_roster(Arc::clone(&roster))?;
        *taken = Some(hash);
        if roster.digest() != before {
            tracing::info!(
                target: "veilsum", event = "roster_taken", version = roster.version(), clients = roster.entries().len()
            );
        }
        Ok(())
    }
}
