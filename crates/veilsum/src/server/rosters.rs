//! The rosters of a server: the one under which new rounds are announced, and those of rounds that it still answers for.

use std::collections::{BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Semaphore;
use veilsum_crypto::Digest;
use veilsum_params::RoundParams;
use veilsum_protocol::{Document, FileError, Pins, Record};
use veilsum_store::{Disk, StoreError, read_bounded, write_private};
use veilsum_wire::{Roster, RosterContent, Signed, Wire};

use super::{ServerError, round_dir};
use crate::journal::Journal;
use crate::requests::ROSTER_BYTES_MAX;
use crate::rosters::{RosterMemory, RosterMemoryError};

/// The roster beside the log of a round.
const ROSTER_FILE: &str = "roster.veilsum";
/// Magic, version, registrar key and digest around a roster in a file.
const AROUND: u64 = 1024;

/// Bytes of rosters of rounds that are over, at most, while they are kept or on their way to somebody.
const PAST_BYTES_MAX: usize = 1 << 28;
/// How many of them.
const PAST_MAX: usize = 64;

/// The bytes of a roster, as it is answered with: one copy, however many ask.
struct Encoded {
    digest: Digest,
    bytes: Arc<[u8]>,
    /// Rounds that are over and had this roster, as far as somebody asked for it.
    past: BTreeSet<u64>,
}

impl Encoded {
    fn new(signed: &Signed<RosterContent>) -> Self {
        Self {
            digest: signed.content.digest(),
            bytes: signed.to_bytes().into(),
            past: BTreeSet::new(),
        }
    }

    fn is_in_use(&self) -> bool {
        Arc::strong_count(&self.bytes) > 1
    }
}

/// A roster that rounds are announced under, or that kept ones were.
struct Served {
    roster: Arc<Roster>,
    encoded: Encoded,
}

impl Served {
    fn new(roster: Arc<Roster>) -> Self {
        let encoded = Encoded::new(roster.signed());
        Self { roster, encoded }
    }
}

struct Known {
    current: Served,
    /// Of rounds that are kept.
    older: Vec<Served>,
    /// Of rounds that are over, the last one asked for at the end.
    past: VecDeque<Encoded>,
    /// See [`PAST_BYTES_MAX`].
    past_bytes_max: usize,
}

impl Known {
    fn served(&self) -> impl Iterator<Item = &Served> {
        std::iter::once(&self.current).chain(&self.older)
    }

    fn roster(&self, digest: &Digest) -> Option<Arc<Roster>> {
        let found = self
            .served()
            .find(|served| served.encoded.digest == *digest)?;
        Some(Arc::clone(&found.roster))
    }

    fn keep(&mut self, served: Served) {
        if self.roster(&served.encoded.digest).is_none() {
            self.older.push(served);
        }
    }

    fn encoded(&mut self) -> impl Iterator<Item = &mut Encoded> {
        let served = std::iter::once(&mut self.current).chain(&mut self.older);
        served
            .map(|served| &mut served.encoded)
            .chain(&mut self.past)
    }

    fn of_past(&mut self, round_id: u64) -> Option<Arc<[u8]>> {
        let found = self
            .encoded()
            .find(|encoded| encoded.past.contains(&round_id))?;
        Some(Arc::clone(&found.bytes))
    }

    /// One copy of it for all rounds that had it; none when too much is on its way already to those who take their time.
    fn add_past(&mut self, round_id: u64, encoded: Encoded) -> Option<Arc<[u8]>> {
        let mut all = self.encoded();
        if let Some(known) = all.find(|known| known.digest == encoded.digest) {
            known.past.insert(round_id);
            return Some(Arc::clone(&known.bytes));
        }
        drop(all);
        if !self.make_room(encoded.bytes.len()) {
            return None;
        }
        let bytes = Arc::clone(&encoded.bytes);
        self.past.push_back(encoded);
        let added = self.past.back_mut()?;
        added.past.insert(round_id);
        Some(bytes)
    }

    /// Forgets the oldest that nobody is sent, until there is room for one more.
    fn make_room(&mut self, len: usize) -> bool {
        loop {
            let lens = self.past.iter().map(|encoded| encoded.bytes.len());
            let size = lens.fold(len, usize::saturating_add);
            if size <= self.past_bytes_max && self.past.len() < PAST_MAX {
                return true;
            }
            let Some(place) = self.past.iter().position(|encoded| !encoded.is_in_use()) else {
                return false;
            };
            self.past.remove(place);
        }
    }
}

/// See the module. Requests that are answered at once look into `known`, which nobody holds while it reads, writes or
/// checks a roster.
pub(super) struct Rosters {
    known: Arc<Mutex<Known>>,
    /// Held over the disk.
    memory: Mutex<RosterMemory>,
    /// One file of a round that is over is read at a time.
    turn: Arc<Semaphore>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is answered to a request for a roster.
pub(super) enum Asked {
    Roster(Arc<[u8]>),
    /// Not now: see [`PAST_BYTES_MAX`].
    Later,
    Unknown,
}

impl From<Option<Arc<[u8]>>> for Asked {
    fn from(found: Option<Arc<[u8]>>) -> Self {
        found.map_or(Self::Unknown, Self::Roster)
    }
}

impl Rosters {
    /// Goes on with a roster that is no older than the newest one that the state directory remembers.
    pub(super) fn open(
        disk: Arc<dyn Disk>,
        state: &Path,
        roster: Arc<Roster>,
    ) -> Result<Self, RosterMemoryError> {
        let mut memory = RosterMemory::open(disk, state, roster.registrar())?;
        memory.accept(&roster)?;
        Ok(Self {
            known: Arc::new(Mutex::new(Known {
                current: Served::new(roster),
                older: Vec::new(),
                past: VecDeque::new(),
                past_bytes_max: PAST_BYTES_MAX,
            })),
            memory: Mutex::new(memory),
            turn: Arc::new(Semaphore::new(1)),
        })
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        lock(&self.known)
    }

    /// The one for new rounds.
    pub(super) fn current(&self) -> Arc<Roster> {
        Arc::clone(&self.known().current.roster)
    }

    /// As it is answered with.
    pub(super) fn current_bytes(&self) -> Arc<[u8]> {
        Arc::clone(&self.known().current.encoded.bytes)
    }

    /// That of a round that is kept, as it is answered with.
    pub(super) fn bytes_of(&self, digest: &Digest) -> Option<Arc<[u8]>> {
        let known = self.known();
        let found = known
            .served()
            .find(|served| served.encoded.digest == *digest);
        found.map(|served| Arc::clone(&served.encoded.bytes))
    }

    /// That of a round that is over, from one of these directories. Whoever asks has not shown who it is: each file is read
    /// once, one at a time whether or not anybody still waits for it, and its signatures are left for the client to check.
    pub(super) async fn of_past(
        &self,
        disk: Arc<dyn Disk>,
        round_id: u64,
        dirs: Vec<PathBuf>,
    ) -> Asked {
        let found = self.known().of_past(round_id);
        if found.is_some() {
            return found.into();
        }
        let Ok(turn) = Arc::clone(&self.turn).acquire_owned().await else {
            return Asked::Unknown;
        };
        let known = Arc::clone(&self.known);
        let read = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            let found = lock(&known).of_past(round_id);
            if found.is_some() {
                return found.into();
            }
            let signed = |dir: &PathBuf| match document(&*disk, dir) {
                Ok(Some(Document::RosterOf { roster, .. })) => Some(roster),
                _ => None,
            };
            let Some(signed) = dirs.iter().find_map(signed) else {
                return Asked::Unknown;
            };
            let encoded = Encoded::new(&signed);
            let added = lock(&known).add_past(round_id, encoded);
            added.map_or(Asked::Later, Asked::Roster)
        });
        read.await.unwrap_or(Asked::Unknown)
    }

    /// Announces new rounds under this roster from now on. Blocks on the disk.
    pub(super) fn replace(&self, roster: Arc<Roster>) -> Result<(), ServerError> {
        let mut memory = lock(&self.memory);
        let before = self.current();
        if roster.registrar() != before.registrar() {
            return Err(ServerError::OtherRegistrar);
        }
        memory.accept(&roster)?;
        if roster.digest() != before.digest() {
            let new = Served::new(roster);
            let mut known = self.known();
            let before = std::mem::replace(&mut known.current, new);
            known.keep(before);
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
        self.of_digest(disk, dir, &Digest(params.roster_digest))
    }

    fn of_digest(
        &self,
        disk: &dyn Disk,
        dir: &Path,
        digest: &Digest,
    ) -> Result<Arc<Roster>, ServerError> {
        let known = self.known().roster(digest);
        if let Some(known) = known {
            return Ok(known);
        }
        let found = match read(disk, dir)? {
            Some(roster) if roster.digest() == *digest => Some(roster),
            _ => lock(&self.memory).by_digest(digest)?.map(Arc::new),
        };
        let Some(roster) = found else {
            return Ok(self.current());
        };
        self.keep(&roster);
        Ok(roster)
    }

    /// Keeps the roster of a round that is kept.
    pub(super) fn keep(&self, roster: &Arc<Roster>) {
        if self.bytes_of(&roster.digest()).is_none() {
            let served = Served::new(Arc::clone(roster));
            self.known().keep(served);
        }
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

/// What is beside the log of a round, whole but unchecked; none when there is no file.
fn document(disk: &dyn Disk, dir: &Path) -> Result<Option<Document>, ServerError> {
    let path = dir.join(ROSTER_FILE);
    let bytes = match read_bounded(disk, &path, ROSTER_BYTES_MAX.saturating_add(AROUND)) {
        Ok(bytes) => bytes,
        Err(StoreError::NotFound { .. }) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let document = Document::from_file(&bytes);
    Ok(Some(document.map_err(|cause| failed(dir, cause))?))
}

fn failed(dir: &Path, cause: FileError) -> ServerError {
    let path = dir.join(ROSTER_FILE);
    RosterMemoryError::File { path, cause }.into()
}

/// The roster beside the log of a round, every signature checked; none when there is no file.
fn read(disk: &dyn Disk, dir: &Path) -> Result<Option<Arc<Roster>>, ServerError> {
    let Some(document) = document(disk, dir)? else {
        return Ok(None);
    };
    let roster = document.checked_roster(&Pins::default());
    Ok(Some(roster.map_err(|cause| failed(dir, cause))?))
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

#[cfg(test)]
mod tests;
