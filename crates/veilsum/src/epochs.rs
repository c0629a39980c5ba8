//! The share keys of a client by epoch: the next one is made beside the present one, and the old one is erased when no open
//! round needs it any more (`specs/protocol.md`, "Epochs").

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rand_core::CryptoRngCore;
use thiserror::Error;
use tokio::time::Duration;
use veilsum_crypto::{Digest, ShareSecretKey};
use veilsum_params::ClientId;
use veilsum_store::{
    DirLock, Disk, OpenMode, Operation, StoreError, ensure_dir, read_bounded, read_private,
    write_private,
};
use veilsum_wire::{Roster, Wire};

use crate::keys::{ClientKeys, KEY_FILE_MAX, KeyError};

/// Beside a key file: what this module keeps.
const SUFFIX: &str = ".epochs";
const NEXT_FILE: &str = "next";
/// A second name of a key file that is being erased.
const OLD_FILE: &str = "old";
const OPEN_FRONT: &str = "open-";
const OPEN_MAX: u64 = 64;
/// How often and how long another process with the same key is waited for.
const LOCK_TRIES: u32 = 100;
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// Why share keys cannot be changed or used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EpochError {
    /// The disk.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A key file.
    #[error("{}: {cause}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        cause: KeyError,
    },
    /// The next key belongs to somebody else, or is not of a later epoch.
    #[error("{}: it is not a later key of the client in {}: restore the directory from its disk", next.display(), key.display())]
    Pair {
        /// The key file.
        key: PathBuf,
        /// The file with the next key.
        next: PathBuf,
    },
    /// There is a next key already, of another epoch.
    #[error(
        "there is a key for epoch {pending} already: a roster of that epoch comes first, then the next key"
    )]
    Pending {
        /// Its epoch.
        pending: u64,
    },
    /// Not an epoch after the present one.
    #[error("the present key is of epoch {current}: the next one is of a later epoch, not {asked}")]
    NotLater {
        /// Epoch of the key that there is.
        current: u64,
        /// What was asked for.
        asked: u64,
    },
    /// No key for a round of this epoch.
    #[error(
        "the round is of epoch {wanted}, and the key file has a share key of epoch {current} and none of that one: it was erased, or the roster is of another key"
    )]
    NoKey {
        /// The round's epoch.
        wanted: u64,
        /// Epoch of the key that there is.
        current: u64,
    },
    /// A mark of an open round that is none.
    #[error("{}: this is no mark of an open round: restore the directory from its disk", path.display())]
    Mark {
        /// The file.
        path: PathBuf,
    },
}

/// A round whose end this client has not seen, and in which it is a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenRound {
    /// Digest of its parameters.
    pub digest: Digest,
    /// Its number.
    pub round_id: u64,
    /// Epoch of its share keys.
    pub epoch: u64,
    /// When this client became its member, in milliseconds since the Unix epoch.
    pub since_ms: u64,
}

/// What became of the key of an epoch that is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Erasure {
    /// There is nothing to erase: the roster is of the epoch of the only key, or has not the next one.
    Nothing,
    /// Rounds that are open need it.
    Held(Vec<OpenRound>),
    /// It is overwritten and gone.
    Erased {
        /// Its epoch.
        epoch: u64,
    },
    /// It is overwritten and gone, and in its place is one that no roster has.
    Left {
        /// Epoch of the key that is gone.
        epoch: u64,
        /// Epoch of the one in its place, with which the client may ask to join.
        fresh: u64,
    },
}

/// A client's key file with its share key, and beside it the one of the next epoch, if that is made.
#[derive(Debug)]
pub struct ShareKeys {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    dir: PathBuf,
    current: ClientKeys,
    next: Option<ClientKeys>,
}

fn failed(operation: Operation, path: &Path) -> impl Fn(std::io::Error) -> StoreError {
    let path = path.to_owned();
    move |error| StoreError::from_io(operation, &path, &error)
}

/// Rounds that were joined before a time, and the others.
fn forgotten(open: Vec<OpenRound>, before_ms: u64) -> (Vec<OpenRound>, Vec<OpenRound>) {
    open.into_iter()
        .partition(|round| round.since_ms < before_ms)
}

fn read_keys(disk: &dyn Disk, path: &Path) -> Result<ClientKeys, EpochError> {
    let text = read_private(disk, path, KEY_FILE_MAX)?;
    ClientKeys::from_text(&text).map_err(|cause| EpochError::Key {
        path: path.to_owned(),
        cause,
    })
}

impl ShareKeys {
    /// Reads a key file and what is beside it, and ends an erasure that a crash has interrupted.
    ///
    /// # Errors
    /// [`EpochError`].
    pub fn open(disk: Arc<dyn Disk>, path: &Path) -> Result<Self, EpochError> {
        let mut dir = path.as_os_str().to_owned();
        dir.push(SUFFIX);
        let dir = PathBuf::from(dir);
        let mut this = Self {
            current: read_keys(&*disk, path)?,
            next: None,
            path: path.to_owned(),
            dir,
            disk,
        };
        if this.exists(&this.dir)? {
            let _lock = this.lock()?;
            this.reread()?;
        }
        Ok(this)
    }

    fn exists(&self, path: &Path) -> Result<bool, StoreError> {
        let exists = self.disk.exists(path);
        exists.map_err(failed(Operation::Read, path))
    }

    fn lock(&self) -> Result<DirLock, EpochError> {
        ensure_dir(&*self.disk, &self.dir)?;
        for _ in 0..LOCK_TRIES {
            match DirLock::acquire(&*self.disk, &self.dir) {
                Err(StoreError::Locked { .. }) => std::thread::sleep(LOCK_PAUSE),
                taken => return Ok(taken?),
            }
        }
        Ok(DirLock::acquire(&*self.disk, &self.dir)?)
    }

    /// What is on disk now: another process may have made or erased a key. The lock is held.
    fn reread(&mut self) -> Result<(), EpochError> {
        let next = self.dir.join(NEXT_FILE);
        self.finish()?;
        self.current = read_keys(&*self.disk, &self.path)?;
        self.next = match read_keys(&*self.disk, &next) {
            Ok(keys) => Some(keys),
            Err(EpochError::Store(StoreError::NotFound { .. })) => None,
            Err(error) => return Err(error),
        };
        let own = |keys: &ClientKeys| {
            let identity = |keys: &ClientKeys| keys.identity().verifying_key();
            keys.client() == self.current.client()
                && identity(keys) == identity(&self.current)
                && keys.epoch() > self.current.epoch()
        };
        if self.next.as_ref().is_some_and(|keys| !own(keys)) {
            let key = self.path.clone();
            return Err(EpochError::Pair { key, next });
        }
        Ok(())
    }

    /// Ends an erasure: the second name of a key file that has the first no more is overwritten and removed.
    fn finish(&self) -> Result<(), EpochError> {
        let old = self.dir.join(OLD_FILE);
        if !self.exists(&old)? {
            return Ok(());
        }
        let replaced = {
            let kept = read_private(&*self.disk, &self.path, KEY_FILE_MAX)?;
            *kept != *read_private(&*self.disk, &old, KEY_FILE_MAX)?
        };
        if replaced {
            self.overwrite(&old)?;
        }
        self.remove(&old)
    }

    fn overwrite(&self, path: &Path) -> Result<(), StoreError> {
        let opened = self.disk.open(path, OpenMode::ReadWrite);
        let mut file = opened.map_err(failed(Operation::Open, path))?;
        let size = file.size().map_err(failed(Operation::Read, path))?;
        let zeros = vec![0; usize::try_from(size.min(KEY_FILE_MAX)).unwrap_or_default()];
        file.write_all_at(0, &zeros)
            .map_err(failed(Operation::Write, path))?;
        file.sync().map_err(failed(Operation::Sync, path))
    }

    fn remove(&self, path: &Path) -> Result<(), EpochError> {
        let removed = self.disk.remove_file(path);
        removed.map_err(failed(Operation::Remove, path))?;
        let synced = self.disk.sync_dir(&self.dir);
        Ok(synced.map_err(failed(Operation::Sync, &self.dir))?)
    }

    /// The client's number.
    #[must_use]
    pub fn client(&self) -> ClientId {
        self.current.client()
    }
    /// The keys with the share key of the present epoch.
    #[must_use]
    pub fn current(&self) -> &ClientKeys {
        &self.current
    }
    /// The keys with the share key of the next epoch.
    #[must_use]
    pub fn next(&self) -> Option<&ClientKeys> {
        self.next.as_ref()
    }

    /// The keys for rounds of an epoch.
    ///
    /// # Errors
    /// [`EpochError::NoKey`].
    pub fn of_epoch(&self, epoch: u64) -> Result<&ClientKeys, EpochError> {
        let mut both = std::iter::once(&self.current).chain(&self.next);
        let found = both.find(|keys| keys.epoch() == epoch);
        found.ok_or_else(|| EpochError::NoKey {
            wanted: epoch,
            current: self.current.epoch(),
        })
    }

    /// Makes the share key of the next epoch, durable before it is told; the same call again gives the same one.
    ///
    /// # Errors
    /// [`EpochError::NotLater`], [`EpochError::Pending`]; errors of the disk.
    pub fn make_next(
        &mut self,
        epoch: u64,
        rng: &mut impl CryptoRngCore,
    ) -> Result<&ClientKeys, EpochError> {
        let _lock = self.lock()?;
        self.reread()?;
        if epoch <= self.current.epoch() {
            return Err(EpochError::NotLater {
                current: self.current.epoch(),
                asked: epoch,
            });
        }
        let made = match self.next.take() {
            Some(keys) if keys.epoch() != epoch => {
                let pending = keys.epoch();
                self.next = Some(keys);
                return Err(EpochError::Pending { pending });
            }
            Some(keys) => keys,
            None => {
                let keys = self
                    .current
                    .with_share(epoch, ShareSecretKey::generate(rng));
                let path = self.dir.join(NEXT_FILE);
                write_private(&*self.disk, &path, &keys.to_text())?;
                keys
            }
        };
        Ok(self.next.insert(made))
    }

    fn mark(&self, digest: &Digest) -> PathBuf {
        self.dir.join(format!("{OPEN_FRONT}{}", digest.to_hex()))
    }

    /// Keeps the share key of a round's epoch until [`Self::release`]. Durable when it returns: before the client becomes a
    /// member.
    ///
    /// # Errors
    /// [`EpochError::NoKey`] when another process has erased it.
    pub fn hold(&mut self, round: &OpenRound) -> Result<(), EpochError> {
        let _lock = self.lock()?;
        self.reread()?;
        self.of_epoch(round.epoch)?;
        let content = ((round.round_id, round.epoch), round.since_ms).to_bytes();
        match write_private(&*self.disk, &self.mark(&round.digest), &content) {
            // From before a restart.
            Err(StoreError::Exists { .. }) => {
                let synced = self.disk.sync_dir(&self.dir);
                Ok(synced.map_err(failed(Operation::Sync, &self.dir))?)
            }
            written => Ok(written?),
        }
    }

    /// A round is over for this client.
    ///
    /// # Errors
    /// Errors of the disk.
    pub fn release(&self, digest: &Digest) -> Result<(), EpochError> {
        let path = self.mark(digest);
        match self.exists(&path)? {
            true => self.remove(&path),
            false => Ok(()),
        }
    }

    /// The open rounds of epochs before `epoch`.
    ///
    /// # Errors
    /// [`EpochError::Mark`]; errors of the disk.
    pub fn open_before(&self, epoch: u64) -> Result<Vec<OpenRound>, EpochError> {
        let listed = match self.disk.list(&self.dir) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            listed => listed.map_err(failed(Operation::List, &self.dir))?,
        };
        let mut open = Vec::new();
        for entry in listed {
            let name = entry.name.to_string_lossy().into_owned();
            let Some(hex) = name.strip_prefix(OPEN_FRONT) else {
                continue;
            };
            let path = self.dir.join(&name);
            let refused = || EpochError::Mark { path: path.clone() };
            let mut digest = [0; 32];
            hex::decode_to_slice(hex, &mut digest).map_err(|_| refused())?;
            let digest = Digest(digest);
            let content = match read_bounded(&*self.disk, &path, OPEN_MAX) {
                Err(StoreError::NotFound { .. }) => continue,
                read => read?,
            };
            let read = <((u64, u64), u64)>::from_bytes(&content);
            let ((round_id, of), since_ms) = read.map_err(|_| refused())?;
            if of < epoch {
                open.push(OpenRound {
                    digest,
                    round_id,
                    epoch: of,
                    since_ms,
                });
            }
        }
        Ok(open)
    }

    /// Erases the share key of the present epoch when `roster` has the next one and no round needs the old one: rounds that
    /// were joined before `forgotten_before_ms` are not counted any more, and void for this member.
    ///
    /// The next key takes the name of the old one first, so that after a crash there is one of the two; then the old file is
    /// overwritten and removed, by this call or by the next [`Self::open`].
    ///
    /// # Errors
    /// Errors of the disk.
    pub fn retire(
        &mut self,
        roster: &Roster,
        forgotten_before_ms: u64,
    ) -> Result<Erasure, EpochError> {
        if !self.exists(&self.dir)? {
            return Ok(Erasure::Nothing);
        }
        let _lock = self.lock()?;
        self.reread()?;
        let listed = roster.entry(self.client());
        let taken = |next: &&ClientKeys| {
            roster.epoch() == next.epoch()
                && listed.is_some_and(|entry| entry.share_key == *next.share().public())
        };
        let Some(next) = self.next.as_ref().filter(taken) else {
            return Ok(Erasure::Nothing);
        };
        let open = self.open_before(next.epoch())?;
        let (forgotten, held) = forgotten(open, forgotten_before_ms);
        if !held.is_empty() {
            return Ok(Erasure::Held(held));
        }
        let epoch = self.current.epoch();
        self.replace(&forgotten)?;
        Ok(Erasure::Erased { epoch })
    }

    /// Erases the share keys of a client that `roster` has not, because it has revoked the client or is of a later epoch than
    /// its key: transcripts hold shares for them all the same. A fresh key takes their place, which nobody deals anything to
    /// before the registrar admits it. Rounds count as in [`Self::retire`].
    ///
    /// # Errors
    /// Errors of the disk.
    pub fn leave(
        &mut self,
        roster: &Roster,
        forgotten_before_ms: u64,
        rng: &mut impl CryptoRngCore,
    ) -> Result<Erasure, EpochError> {
        let identity = self.current.identity().verifying_key().to_bytes();
        let revoked = roster.is_revoked(&identity);
        // A key for a later epoch than this was never in a roster of this one, nor one for this epoch that it has not.
        let never_listed =
            |epoch: u64| epoch > roster.epoch() || (epoch == roster.epoch() && !revoked);
        let listed = roster.entry(self.client());
        if listed.is_some_and(|entry| entry.identity_key == identity)
            || never_listed(self.current.epoch())
        {
            return Ok(Erasure::Nothing);
        }
        let Some(fresh) = roster.epoch().checked_add(revoked.into()) else {
            return Ok(Erasure::Nothing);
        };
        let _lock = self.lock()?;
        self.reread()?;
        // Another process may have done it meanwhile.
        if never_listed(self.current.epoch()) {
            return Ok(Erasure::Nothing);
        }
        let kept = self.next.as_ref().map(ClientKeys::epoch);
        let kept = kept.filter(|epoch| never_listed(*epoch));
        let open = self.open_before(kept.unwrap_or(fresh))?;
        let (forgotten, held) = forgotten(open, forgotten_before_ms);
        if !held.is_empty() {
            return Ok(Erasure::Held(held));
        }
        let epoch = self.current.epoch();
        if kept.is_none() {
            let (next, old) = (self.dir.join(NEXT_FILE), self.dir.join(OLD_FILE));
            if self.next.is_some() {
                // What has this name is overwritten and removed, also after a crash.
                let renamed = self.disk.rename(&next, &old);
                renamed.map_err(failed(Operation::Rename, &old))?;
                self.sync()?;
                self.finish()?;
            }
            let share = ShareSecretKey::generate(rng);
            let keys = self.current.with_share(fresh, share);
            write_private(&*self.disk, &next, &keys.to_text())?;
        }
        self.replace(&forgotten)?;
        let fresh = self.current.epoch();
        Ok(Erasure::Left { epoch, fresh })
    }

    /// The next key takes the place of the present one, which is overwritten and removed.
    fn replace(&mut self, forgotten: &[OpenRound]) -> Result<(), EpochError> {
        let old = self.dir.join(OLD_FILE);
        match self.disk.hard_link(&self.path, &old) {
            Ok(()) => {}
            // Without hard links the file is overwritten by its handle alone.
            Err(error)
                if matches!(
                    error.kind(),
                    std::io::ErrorKind::Unsupported | std::io::ErrorKind::PermissionDenied
                ) => {}
            Err(error) => return Err(failed(Operation::Rename, &old)(error).into()),
        }
        self.sync()?;
        let opened = self.disk.open(&self.path, OpenMode::ReadWrite);
        let mut file = opened.map_err(failed(Operation::Open, &self.path))?;
        let size = file.size().map_err(failed(Operation::Read, &self.path))?;
        let renamed = self.disk.rename(&self.dir.join(NEXT_FILE), &self.path);
        renamed.map_err(failed(Operation::Rename, &self.path))?;
        self.sync()?;
        let zeros = vec![0; usize::try_from(size.min(KEY_FILE_MAX)).unwrap_or_default()];
        file.write_all_at(0, &zeros)
            .map_err(failed(Operation::Write, &old))?;
        file.sync().map_err(failed(Operation::Sync, &old))?;
        drop(file);
        if self.exists(&old)? {
            self.remove(&old)?;
        }
        for open in forgotten {
            self.release(&open.digest)?;
        }
        self.reread()
    }

    fn sync(&self) -> Result<(), StoreError> {
        let parent = self.path.parent().filter(|p| !p.as_os_str().is_empty());
        for dir in [parent.unwrap_or(Path::new(".")), &self.dir] {
            let synced = self.disk.sync_dir(dir);
            synced.map_err(failed(Operation::Sync, dir))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::RegistrarKeys;
    use rand_chacha::ChaCha20Rng;
    use rand_core::SeedableRng;
    use veilsum_store::{CrashStyle, Fault, SimDisk};
    use veilsum_wire::RosterContent;

    const PATH: &str = "/client/key";

    fn rng(seed: u64) -> ChaCha20Rng {
        ChaCha20Rng::seed_from_u64(seed)
    }

    fn fresh_keys() -> (SimDisk, ClientKeys) {
        let disk = SimDisk::new();
        ensure_dir(&disk, Path::new("/client")).unwrap();
        let keys = ClientKeys::generate(ClientId(3), 1, &mut rng(1));
        write_private(&disk, Path::new(PATH), &keys.to_text()).unwrap();
        (disk, keys)
    }

    fn open(disk: &SimDisk) -> ShareKeys {
        ShareKeys::open(Arc::new(disk.clone()), Path::new(PATH)).unwrap()
    }

    fn roster(keys: &ClientKeys) -> Roster {
        let registrar = RegistrarKeys::generate(&mut rng(9));
        let signed = registrar.sign_roster(keys.epoch(), vec![keys.entry()]);
        Roster::verify(signed, &registrar.public()).unwrap()
    }

    fn round(number: u8, since_ms: u64) -> OpenRound {
        OpenRound {
            digest: Digest([number; 32]),
            round_id: number.into(),
            epoch: 1,
            since_ms,
        }
    }

    /// The old key in any file, with or without a name that this module knows.
    fn remains(disk: &SimDisk, keys: &ClientKeys) -> bool {
        let hex = hex::encode(*keys.share().to_bytes());
        let names = [
            "/client/key",
            "/client/key.epochs/next",
            "/client/key.epochs/old",
        ];
        names.iter().any(|name| {
            let bytes = disk.contents(Path::new(name)).unwrap_or_default();
            bytes.windows(hex.len()).any(|part| part == hex.as_bytes())
        })
    }

    #[test]
    fn the_next_key_is_made_once_and_taken_when_the_roster_has_it() {
        let (disk, first) = fresh_keys();
        let mut keys = open(&disk);
        assert_eq!(keys.retire(&roster(&first), 0), Ok(Erasure::Nothing));
        let refused = EpochError::NotLater {
            current: 1,
            asked: 1,
        };
        assert_eq!(keys.make_next(1, &mut rng(2)).unwrap_err(), refused);
        let next = keys.make_next(2, &mut rng(2)).unwrap().entry();
        assert_eq!(keys.make_next(2, &mut rng(3)).unwrap().entry(), next);
        assert_eq!(
            keys.make_next(3, &mut rng(3)).unwrap_err(),
            EpochError::Pending { pending: 2 }
        );
        let mut keys = open(&disk);
        assert_eq!(keys.of_epoch(1).unwrap().entry(), first.entry());
        assert_eq!(keys.of_epoch(2).unwrap().entry(), next);
        // Neither a roster of the old epoch nor one with another key for this client erases anything.
        assert_eq!(keys.retire(&roster(&first), 0), Ok(Erasure::Nothing));
        let other = first.with_share(2, ShareSecretKey::generate(&mut rng(4)));
        assert_eq!(keys.retire(&roster(&other), 0), Ok(Erasure::Nothing));
        assert!(remains(&disk, &first));
        let taken = roster(keys.of_epoch(2).unwrap());
        assert_eq!(keys.retire(&taken, 0), Ok(Erasure::Erased { epoch: 1 }));
        assert!(!remains(&disk, &first));
        assert_eq!(keys.current().entry(), next);
        let gone = EpochError::NoKey {
            wanted: 1,
            current: 2,
        };
        assert_eq!(keys.of_epoch(1).unwrap_err(), gone);
        assert_eq!(keys.hold(&round(1, 0)).unwrap_err(), gone);
        assert_eq!(open(&disk).current().entry(), next);
    }

    #[test]
    fn open_rounds_hold_the_key_until_they_are_over_or_given_up() {
        let (disk, first) = fresh_keys();
        let mut keys = open(&disk);
        let taken = roster(keys.make_next(2, &mut rng(2)).unwrap());
        keys.hold(&round(1, 1000)).unwrap();
        keys.hold(&round(1, 2000)).unwrap();
        keys.hold(&round(2, 3000)).unwrap();
        let held = vec![round(1, 1000), round(2, 3000)];
        assert_eq!(keys.retire(&taken, 1000), Ok(Erasure::Held(held)));
        assert!(remains(&disk, &first));
        // Another process, or this one after a restart.
        let mut again = open(&disk);
        again.release(&Digest([1; 32])).unwrap();
        again.release(&Digest([1; 32])).unwrap();
        let held = vec![round(2, 3000)];
        assert_eq!(again.retire(&taken, 3000), Ok(Erasure::Held(held)));
        assert_eq!(again.retire(&taken, 3001), Ok(Erasure::Erased { epoch: 1 }));
        assert!(!remains(&disk, &first));
        assert_eq!(again.open_before(u64::MAX), Ok(Vec::new()));
    }

    /// A roster of `epoch` with one client and one revoked key.
    fn roster_with(epoch: u64, client: &ClientKeys, revoked: Option<&ClientKeys>) -> Roster {
        let registrar = RegistrarKeys::generate(&mut rng(9));
        let share = ShareSecretKey::generate(&mut rng(10));
        let listed = match client.epoch() == epoch {
            true => client.entry(),
            false => client.with_share(epoch, share).entry(),
        };
        let mut content = RosterContent::first(epoch, vec![listed]);
        let key = |keys: &ClientKeys| keys.identity().verifying_key().to_bytes();
        content.revoked = revoked.map(key).into_iter().collect();
        Roster::verify(registrar.sign_content(content), &registrar.public()).unwrap()
    }

    #[test]
    fn who_is_in_no_roster_of_the_epoch_any_more_keeps_no_key_of_it() {
        let other = ClientKeys::generate(ClientId(8), 2, &mut rng(8));
        // With the same number: it is the identity that counts.
        let namesake = ClientKeys::generate(ClientId(3), 2, &mut rng(8));
        // The epoch of the next key if one is made; of the roster; whether it revokes; epoch of the key that remains, and
        // whether it is the next one.
        for (next, epoch, revokes, fresh, kept) in [
            (None, 2, false, 2, false),
            (None, 1, true, 2, false),
            (None, 3, true, 4, false),
            (Some(2), 2, false, 2, true),
            (Some(2), 2, true, 3, false),
            (Some(2), 1, true, 2, true),
            (Some(2), 3, false, 3, false),
            (Some(3), 2, false, 3, true),
            (Some(3), 2, true, 3, true),
        ] {
            for listed in [&other, &namesake] {
                let what = format!("{next:?}, roster of {epoch}, revoked {revokes}");
                let (disk, first) = fresh_keys();
                let mut keys = open(&disk);
                let made = next.map(|of| keys.make_next(of, &mut rng(2)).unwrap().to_text());
                let made = made.map(|text| ClientKeys::from_text(&text).unwrap());
                let roster = roster_with(epoch, listed, revokes.then_some(&first));
                assert_eq!(keys.retire(&roster, 0), Ok(Erasure::Nothing), "{what}");
                keys.hold(&round(1, 1000)).unwrap();
                let held = Erasure::Held(vec![round(1, 1000)]);
                assert_eq!(keys.leave(&roster, 1000, &mut rng(5)), Ok(held), "{what}");
                assert!(remains(&disk, &first), "{what}");
                let left = Erasure::Left { epoch: 1, fresh };
                assert_eq!(keys.leave(&roster, 1001, &mut rng(5)), Ok(left), "{what}");
                assert!(!remains(&disk, &first), "{what}");
                if let Some(made) = made {
                    assert_eq!(remains(&disk, &made), kept, "{what}");
                }
                // Once, and it goes on from there.
                let mut keys = open(&disk);
                assert_eq!(
                    keys.leave(&roster, 1001, &mut rng(6)),
                    Ok(Erasure::Nothing),
                    "{what}"
                );
                assert_eq!(
                    (keys.current().epoch(), keys.client()),
                    (fresh, ClientId(3))
                );
                assert_eq!(
                    keys.current().identity().verifying_key(),
                    first.identity().verifying_key()
                );
                assert_eq!(keys.open_before(u64::MAX), Ok(Vec::new()));
                assert!(keys.make_next(fresh + 1, &mut rng(7)).is_ok(), "{what}");
            }
        }
    }

    #[test]
    fn who_is_in_the_roster_or_knows_later_ones_leaves_nothing() {
        let (disk, first) = fresh_keys();
        let mut keys = open(&disk);
        let other = ClientKeys::generate(ClientId(8), 1, &mut rng(8));
        let elsewhere = first.with_share(2, ShareSecretKey::generate(&mut rng(4)));
        let next = keys.make_next(2, &mut rng(2)).unwrap().to_text();
        let next = ClientKeys::from_text(&next).unwrap();
        for roster in [
            roster(&first),
            // It asked with another copy of its keys: what that one does is not known here.
            roster(&elsewhere),
            roster_with(2, &next, None),
            // Not admitted yet, or of before it was.
            roster_with(1, &other, None),
        ] {
            assert_eq!(keys.leave(&roster, 0, &mut rng(5)), Ok(Erasure::Nothing));
        }
        assert!(remains(&disk, &first));
    }

    #[test]
    fn a_crash_while_leaving_loses_no_identity_and_the_rest_is_done_later() {
        let other = ClientKeys::generate(ClientId(8), 3, &mut rng(8));
        for style in [
            CrashStyle::ProcessOnly,
            CrashStyle::LoseUnsynced,
            CrashStyle::Torn([1; 32]),
        ] {
            let mut points = 0;
            loop {
                let (disk, first) = fresh_keys();
                let mut keys = open(&disk);
                // Of an epoch that is over as well.
                let made = keys.make_next(2, &mut rng(2)).unwrap().to_text();
                let made = ClientKeys::from_text(&made).unwrap();
                let roster = roster_with(3, &other, None);
                disk.fail_change(disk.changes() + points, Fault::Crash);
                let ended = keys.leave(&roster, 0, &mut rng(5));
                if !disk.has_crashed() {
                    assert_eq!(ended, Ok(Erasure::Left { epoch: 1, fresh: 3 }));
                    assert!(points > 10, "{points}");
                    break;
                }
                assert!(ended.is_err(), "{style:?}, change {points}");
                drop(keys);
                disk.restart(style);
                let mut keys = open(&disk);
                keys.leave(&roster, 0, &mut rng(6)).unwrap();
                assert_eq!(keys.current().epoch(), 3, "{style:?}, change {points}");
                assert_eq!(
                    keys.current().identity().verifying_key(),
                    first.identity().verifying_key()
                );
                assert!(!remains(&disk, &first), "{style:?}, change {points}");
                assert!(!remains(&disk, &made), "{style:?}, change {points}");
                points += 1;
            }
        }
    }

    #[test]
    fn a_crash_leaves_the_old_key_or_the_new_one_and_the_rest_is_done_later() {
        let styles = [
            CrashStyle::ProcessOnly,
            CrashStyle::LoseUnsynced,
            CrashStyle::Torn([1; 32]),
            CrashStyle::Torn([2; 32]),
            CrashStyle::Torn([3; 32]),
        ];
        for links in [true, false] {
            for style in styles {
                let mut points = 0;
                let mut states = [0, 0];
                loop {
                    let (disk, first) = fresh_keys();
                    disk.set_hard_links(links);
                    let mut keys = open(&disk);
                    let next = keys.make_next(2, &mut rng(2)).unwrap().entry();
                    let taken = roster(keys.next().unwrap());
                    disk.fail_change(disk.changes() + points, Fault::Crash);
                    let ended = keys.retire(&taken, 0);
                    if !disk.has_crashed() {
                        assert_eq!(ended, Ok(Erasure::Erased { epoch: 1 }));
                        break;
                    }
                    assert!(ended.is_err(), "{style:?}, change {points}");
                    drop(keys);
                    disk.restart(style);
                    let mut keys = open(&disk);
                    let erased = keys.current().entry() == next;
                    assert!(erased || keys.current().entry() == first.entry());
                    assert!(
                        erased || keys.next().is_some(),
                        "{style:?}, change {points}"
                    );
                    states[usize::from(erased)] += 1;
                    keys.retire(&taken, 0).unwrap();
                    assert_eq!(keys.current().entry(), next);
                    assert!(!remains(&disk, &first), "{style:?}, change {points}");
                    points += 1;
                }
                assert!(states[0] > 0 && states[1] > 0, "{style:?}: {states:?}");
            }
        }
    }
}
