//! The share keys of a client by epoch: the next one is made beside the present one, and the old one is erased when no open
//! round needs it any more (`specs/protocol.md`, "Epochs").

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rand_core::CryptoRngCore;
use thiserror::Error;
use tokio::time::Duration;
use veilsum_crypto::{Digest, ShareSecretKey, VerifyingKey};
use veilsum_params::ClientId;
use veilsum_store::{
    DirLock, Disk, OpenMode, Operation, StoreError, ensure_dir, read_bounded, read_private,
    replace_private, write_private,
};
use veilsum_wire::{Roster, Wire};

use crate::keys::{ClientKeys, KEY_FILE_MAX, KeyError, registrar_from_text, registrar_to_text};

/// Beside a key file: what this module keeps.
const SUFFIX: &str = ".epochs";
const NEXT_FILE: &str = "next";
/// The registrar of the roster that last had the key, or the first that was asked for it.
const REGISTRAR_FILE: &str = "registrar";
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
    /// Nobody knows whose rosters have this key.
    #[error(
        "{}: no registrar is known whose roster had this share key, and nothing is erased: `veilsum enrol request --key {} --registrar FILE` says which one it is", path.display(), path.display()
    )]
    NoRegistrar {
        /// The key file.
        path: PathBuf,
    },
    /// Another registrar's roster has not this client, which says nothing about the one that has.
    #[error(
        "{}: the roster is of the registrar {}, and the share key is for rosters of the registrar {}: nothing is erased; give a roster of that one", path.display(), hex::encode(found), hex::encode(own)
    )]
    OtherRegistrar {
        /// The key file.
        path: PathBuf,
        /// The key of the registrar that signed the roster.
        found: [u8; 32],
        /// The one that is remembered for the key.
        own: [u8; 32],
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

    /// The registrar whose rosters this key is for: who signed the roster that last had it when a round was joined, or else
    /// the first that was asked for it.
    ///
    /// # Errors
    /// [`EpochError::Key`]; errors of the disk.
    pub fn registrar(&self) -> Result<Option<VerifyingKey>, EpochError> {
        let path = self.dir.join(REGISTRAR_FILE);
        let text = match read_bounded(&*self.disk, &path, KEY_FILE_MAX) {
            Err(StoreError::NotFound { .. }) => return Ok(None),
            read => read?,
        };
        let read = registrar_from_text(&text);
        Ok(Some(read.map_err(|cause| EpochError::Key { path, cause })?))
    }

    fn remember(&self, registrar: &VerifyingKey) -> Result<(), EpochError> {
        let path = self.dir.join(REGISTRAR_FILE);
        Ok(replace_private(
            &*self.disk,
            &path,
            &registrar_to_text(registrar),
        )?)
    }

    /// This registrar is asked to take the key into a roster: it is remembered where none is. Durable when it returns.
    ///
    /// # Errors
    /// As [`Self::registrar`].
    pub fn asks(&mut self, registrar: &VerifyingKey) -> Result<(), EpochError> {
        let _lock = self.lock()?;
        match self.registrar()? {
            Some(_) => Ok(()),
            None => self.remember(registrar),
        }
    }

    /// A round is joined under `roster`: where it has one of these share keys, its registrar is remembered, and one that
    /// merely was asked is not any more. Durable when it returns: before anybody deals a share to the key.
    ///
    /// # Errors
    /// As [`Self::registrar`].
    pub fn used_under(&mut self, roster: &Roster) -> Result<(), EpochError> {
        let Some(listed) = roster.entry(self.client()) else {
            return Ok(());
        };
        let has = |keys: &ClientKeys| {
            listed.identity_key == keys.identity().verifying_key().to_bytes()
                && listed.share_key == *keys.share().public()
        };
        let mut both = std::iter::once(&self.current).chain(&self.next);
        if !both.any(has) || self.registrar()?.as_ref() == Some(roster.registrar()) {
            return Ok(());
        }
        let _lock = self.lock()?;
        self.remember(roster.registrar())
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
    /// before the registrar admits it. Rounds count as in [`Self::retire`]. Only a roster of [`Self::registrar`] says that the
    /// client is gone: in another's it never was.
    ///
    /// # Errors
    /// [`EpochError::NoRegistrar`], [`EpochError::OtherRegistrar`]; errors of the disk.
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
        let (path, found) = (self.path.clone(), roster.registrar().to_bytes());
        match self.registrar()?.map(|own| own.to_bytes()) {
            None => return Err(EpochError::NoRegistrar { path }),
            Some(own) if own != found => {
                return Err(EpochError::OtherRegistrar { path, found, own });
            }
            Some(_) => {}
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
mod tests;
