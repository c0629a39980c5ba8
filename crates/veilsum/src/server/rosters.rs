//! The rosters of a server: the one under which new rounds are announced, and those of rounds that it still answers for.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use veilsum_crypto::Digest;
use veilsum_params::RoundParams;
use veilsum_protocol::{Document, FileError, Pins, Record};
use veilsum_store::{Disk, StoreError, read_bounded, write_private};
use veilsum_wire::{Roster, Wire};

use super::{ServerError, round_dir};
use crate::journal::Journal;
use crate::requests::ROSTER_BYTES_MAX;
use crate::rosters::{RosterMemory, RosterMemoryError};

/// The roster beside the log of a round.
const ROSTER_FILE: &str = "roster.veilsum";
/// Magic, version, registrar key and digest around a roster in a file.
const AROUND: u64 = 1024;

/// A roster as it is answered with.
#[derive(Clone)]
struct Served {
    roster: Arc<Roster>,
    bytes: Arc<[u8]>,
}

impl Served {
    fn new(roster: Arc<Roster>) -> Self {
        let bytes = roster.signed().to_bytes().into();
        Self { roster, bytes }
    }
}

struct Known {
    memory: RosterMemory,
    current: Served,
    /// Of rounds that are kept.
    older: Vec<Served>,
}

/// See the module.
pub(super) struct Rosters(Mutex<Known>);

impl Rosters {
    /// Goes on with a roster that is no older than the newest one that the state directory remembers.
    pub(super) fn open(
        disk: Arc<dyn Disk>,
        state: &Path,
        roster: Arc<Roster>,
    ) -> Result<Self, RosterMemoryError> {
        let mut memory = RosterMemory::open(disk, state, roster.registrar())?;
        memory.accept(&roster)?;
        Ok(Self(Mutex::new(Known {
            memory,
            current: Served::new(roster),
            older: Vec::new(),
        })))
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The one for new rounds.
    pub(super) fn current(&self) -> Arc<Roster> {
        Arc::clone(&self.known().current.roster)
    }

    /// As it is answered with.
    pub(super) fn current_bytes(&self) -> Arc<[u8]> {
        Arc::clone(&self.known().current.bytes)
    }

    /// That of a round that is kept, as it is answered with.
    pub(super) fn bytes_of(&self, digest: &Digest) -> Option<Arc<[u8]>> {
        let known = self.known();
        let mut all = std::iter::once(&known.current).chain(&known.older);
        let found = all.find(|served| served.roster.digest() == *digest)?;
        Some(Arc::clone(&found.bytes))
    }

    /// Announces new rounds under this roster from now on. Blocks on the disk.
    pub(super) fn replace(&self, roster: Arc<Roster>) -> Result<(), ServerError> {
        let mut known = self.known();
        if roster.registrar() != known.current.roster.registrar() {
            return Err(ServerError::OtherRegistrar);
        }
        known.memory.accept(&roster)?;
        if roster.digest() != known.current.roster.digest() {
            let before = std::mem::replace(&mut known.current, Served::new(roster));
            known.older.push(before);
        }
        Ok(())
    }

    /// The roster that a round was announced under, which may be an older one: in memory, beside its log, or remembered.
    /// Where there is none the newest is given, and the check of the parameters says that it is another. Blocks on the disk.
    pub(super) fn of_round(
        &self,
        disk: &dyn Disk,
        dir: &Path,
        params: &RoundParams,
    ) -> Result<Arc<Roster>, ServerError> {
        let digest = Digest(params.roster_digest);
        let mut known = self.known();
        let mut all = std::iter::once(&known.current).chain(&known.older);
        if let Some(found) = all.find(|served| served.roster.digest() == digest) {
            return Ok(Arc::clone(&found.roster));
        }
        let found = match read(disk, dir)? {
            Some(roster) if roster.digest() == digest => Some(roster),
            _ => known.memory.by_digest(&digest)?.map(Arc::new),
        };
        let Some(roster) = found else {
            return Ok(Arc::clone(&known.current.roster));
        };
        known.older.push(Served::new(Arc::clone(&roster)));
        Ok(roster)
    }

    /// Forgets all but the newest and those of rounds that are kept.
    pub(super) fn retain(&self, used: &BTreeSet<[u8; 32]>) {
        let is_used = |served: &Served| used.contains(&served.roster.digest().0);
        self.known().older.retain(is_used);
    }
}

/// Writes the roster beside the log of its round, before anything is announced: whoever reads the transcript needs it.
pub(super) fn write(disk: &dyn Disk, dir: &Path, roster: &Roster) -> Result<(), StoreError> {
    let file = Document::roster(roster).to_file();
    match write_private(disk, &dir.join(ROSTER_FILE), &file) {
        Ok(()) | Err(StoreError::Exists { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

/// The roster beside the log of a round, every signature checked; none when there is no file.
pub(super) fn read(disk: &dyn Disk, dir: &Path) -> Result<Option<Arc<Roster>>, ServerError> {
    let path = dir.join(ROSTER_FILE);
    let bytes = match read_bounded(disk, &path, ROSTER_BYTES_MAX.saturating_add(AROUND)) {
        Ok(bytes) => bytes,
        Err(StoreError::NotFound { .. }) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let failed = |cause: FileError| {
        let path = path.clone();
        ServerError::from(RosterMemoryError::File { path, cause })
    };
    let document = Document::from_file(&bytes).map_err(failed)?;
    let roster = document.checked_roster(&Pins::default());
    Ok(Some(roster.map_err(failed)?))
}

/// The roster of a round in a task's state directory, under which it was announced; none when it was not announced.
///
/// # Errors
/// [`ServerError`] for a log or roster that is damaged or of another version.
pub fn announced_roster(
    disk: &dyn Disk,
    state: &Path,
    round_id: u64,
) -> Result<Option<Arc<Roster>>, ServerError> {
    let dir = round_dir(state, round_id);
    match Journal::first(disk, &dir)? {
        Some(Record::ServerAnnouncement { .. }) => read(disk, &dir),
        _ => Ok(None),
    }
}
