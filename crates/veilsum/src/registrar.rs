//! The registrar's directory: the rosters that were signed, and what was decided since (`specs/protocol.md`, "Enrolment").

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;
use veilsum_crypto::VerifyingKey;
use veilsum_params::ClientId;
use veilsum_store::{
    DirLock, Disk, Operation, StoreError, open_state, read_bounded, replace_private, write_public,
};
use veilsum_wire::{
    Admission, AdmitError, BeaconError, BeaconRule, EpochOrder, JoinContent, Published,
    RevokeError, Roster, RosterDraft, RosterError, Signed, Wire,
};

use crate::keys::{
    KEY_FILE_MAX, KeyError, REGISTRAR_DRAFT, RegistrarKeys, registrar_from_text, registrar_to_text,
    seal, unseal,
};
use crate::rosters::{RosterMemory, RosterMemoryError};

/// The registrar's public key, in its directory.
const PUBLIC_FILE: &str = "registrar.pub";
/// What was decided since the last roster was signed.
const DRAFT_FILE: &str = "draft";
/// Longest draft in bytes: some hundred thousand decisions. More are signed in several versions.
const DRAFT_MAX: u64 = 256 << 20;

/// Why the registrar's directory cannot be used, or a decision is not taken.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RegistrarError {
    /// The disk.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file of the directory.
    #[error("{}: {cause}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        cause: KeyError,
    },
    /// The rosters that were signed.
    #[error(transparent)]
    Rosters(#[from] RosterMemoryError),
    /// There is a registrar in the directory.
    #[error("{}: there is a registrar in this directory already: go on with it, or take another directory", dir.display())]
    Taken {
        /// The directory.
        dir: PathBuf,
    },
    /// Neither a roster nor a draft.
    #[error("{}: there is neither a roster nor a draft in it: run `veilsum registrar init` again", dir.display())]
    Unfinished {
        /// The directory.
        dir: PathBuf,
    },
    /// The draft follows a roster that is not there.
    #[error("{}: it follows roster version {base}, and the newest one in the directory is {found}: restore the directory from its disk", path.display())]
    Gap {
        /// The draft.
        path: PathBuf,
        /// What it follows.
        base: u64,
        /// The newest that is there.
        found: u64,
    },
    /// A request is not admitted; none of those given with it is.
    #[error(transparent)]
    Admit(#[from] AdmitError),
    /// A key is not revoked.
    #[error(transparent)]
    Revoke(#[from] RevokeError),
    /// An epoch that is none to go over to.
    #[error(transparent)]
    Epoch(#[from] EpochOrder),
    /// The draft cannot be signed.
    #[error("the roster is not signed: {0}")]
    Roster(#[from] RosterError),
    /// The key is another one.
    #[error("the key is not that of the registrar in {}", dir.display())]
    OtherKey {
        /// The directory.
        dir: PathBuf,
    },
    /// Nobody is in the first roster.
    #[error("nobody is admitted yet, to this epoch: admit requests first")]
    Empty,
    /// There is no roster with a higher version.
    #[error("the versions of rosters are used up: start again with another registrar key")]
    UsedUp,
    /// Too much was decided since the last roster.
    #[error("too much is decided since the last roster was signed: sign it, then go on")]
    TooMuch,
}

/// What signing gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signing {
    /// A roster with the next version.
    New,
    /// Nothing was decided since the last one, which still holds.
    Unchanged,
}

/// What was decided since the last roster was signed.
#[derive(Clone, Debug)]
struct Decisions {
    /// The version that they follow; 0 before there is any.
    base: u64,
    epoch: u64,
    beacon: BeaconRule,
    revoked: Vec<[u8; 32]>,
    admitted: Vec<Signed<JoinContent>>,
}

impl Decisions {
    fn after(roster: &Roster) -> Self {
        Self {
            base: roster.version(),
            epoch: roster.epoch(),
            beacon: roster.beacon().clone(),
            revoked: Vec::new(),
            admitted: Vec::new(),
        }
    }

    fn to_text(&self) -> Result<Vec<u8>, RegistrarError> {
        let front = ((self.base, self.epoch), self.beacon.clone());
        let mut payload = front.to_bytes();
        self.revoked.encode(&mut payload);
        self.admitted.encode(&mut payload);
        let text = seal(REGISTRAR_DRAFT, &payload).to_vec();
        match u64::try_from(text.len()) {
            Ok(len) if len <= DRAFT_MAX => Ok(text),
            _ => Err(RegistrarError::TooMuch),
        }
    }

    fn from_text(text: &[u8]) -> Result<Self, KeyError> {
        type Fields = (
            ((u64, u64), BeaconRule),
            (Vec<[u8; 32]>, Vec<Signed<JoinContent>>),
        );
        let payload = unseal(REGISTRAR_DRAFT, text)?;
        let fields = Fields::from_bytes(&payload).map_err(|_| KeyError::Invalid)?;
        let (((base, epoch), beacon), (revoked, admitted)) = fields;
        Ok(Self {
            base,
            epoch,
            beacon,
            revoked,
            admitted,
        })
    }

    /// The next roster. Revocations come first: who was admitted after one has passed it, and what was revoked after it was
    /// admitted is not among the admitted.
    fn apply(
        &self,
        registrar: &VerifyingKey,
        last: Option<&Roster>,
    ) -> Result<RosterDraft, RegistrarError> {
        let mut draft = match last {
            Some(last) => RosterDraft::after(last).ok_or(RegistrarError::UsedUp)?,
            None => RosterDraft::first(*registrar, self.epoch, self.beacon.clone()),
        };
        draft
            .set_beacon(self.beacon.clone())
            .map_err(RosterError::from)?;
        if self.epoch != draft.epoch() {
            draft.begin_epoch(self.epoch)?;
        }
        for key in &self.revoked {
            draft.revoke(key)?;
        }
        for request in &self.admitted {
            draft.admit(request)?;
        }
        Ok(draft)
    }
}

/// A registrar's directory, held by one process at a time. What was decided is durable when the call returns; a roster
/// version is signed once, whatever dies when.
#[derive(Debug)]
pub struct Registrar {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    public: VerifyingKey,
    memory: RosterMemory,
    last: Option<Roster>,
    decisions: Decisions,
    draft: RosterDraft,
    _lock: DirLock,
}

impl Registrar {
    /// Makes the directory of a registrar that goes on from `roster`, or has signed none yet; then the first one will have
    /// share keys of `epoch`. The same call again ends what one that died has begun.
    ///
    /// # Errors
    /// [`RegistrarError::Taken`] when the directory is in use already, by this key or another; errors of the disk.
    pub fn init(
        disk: Arc<dyn Disk>,
        dir: &Path,
        public: &VerifyingKey,
        epoch: u64,
        roster: Option<&Roster>,
    ) -> Result<Self, RegistrarError> {
        open_state(&*disk, dir)?;
        let lock = DirLock::acquire(&*disk, dir)?;
        let taken = || RegistrarError::Taken {
            dir: dir.to_owned(),
        };
        let path = dir.join(PUBLIC_FILE);
        match write_public(&*disk, &path, &registrar_to_text(public)) {
            Ok(()) => {}
            Err(StoreError::Exists { .. }) if read_public(&*disk, dir)? == *public => {}
            Err(StoreError::Exists { .. }) => return Err(taken()),
            Err(error) => return Err(error.into()),
        }
        let memory = RosterMemory::of_registrar(Arc::clone(&disk), dir, public)?;
        let draft = dir.join(DRAFT_FILE);
        let used = disk.exists(&draft);
        let used = used.map_err(|error| StoreError::from_io(Operation::Read, &draft, &error))?;
        if used || memory.highest().is_some() {
            return Err(taken());
        }
        let mut this = Self::with(disk, dir, *public, memory, lock, Some(epoch))?;
        match roster {
            Some(roster) => {
                this.memory.accept(roster)?;
                this.follow(roster.clone())?;
            }
            None => this.write(this.decisions.clone())?,
        }
        Ok(this)
    }

    /// Opens the directory.
    ///
    /// # Errors
    /// [`RegistrarError`].
    pub fn open(disk: Arc<dyn Disk>, dir: &Path) -> Result<Self, RegistrarError> {
        // Of a directory that is no registrar's nothing is changed.
        let public = read_public(&*disk, dir)?;
        open_state(&*disk, dir)?;
        let lock = DirLock::acquire(&*disk, dir)?;
        let memory = RosterMemory::of_registrar(Arc::clone(&disk), dir, &public)?;
        Self::with(disk, dir, public, memory, lock, None)
    }

    fn with(
        disk: Arc<dyn Disk>,
        dir: &Path,
        public: VerifyingKey,
        mut memory: RosterMemory,
        lock: DirLock,
        first_epoch: Option<u64>,
    ) -> Result<Self, RegistrarError> {
        let last = memory.newest()?;
        // A process that died may have left its name without making it durable: nobody hears of it before it is.
        if let Some(last) = &last {
            memory.accept(last)?;
        }
        let found = last.as_ref().map_or(0, Roster::version);
        let path = dir.join(DRAFT_FILE);
        let written = match read_bounded(&*disk, &path, DRAFT_MAX) {
            Ok(text) => Some(Decisions::from_text(&text).map_err(|cause| {
                let path = path.clone();
                RegistrarError::File { path, cause }
            })?),
            Err(StoreError::NotFound { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        if let Some(base) = written
            .as_ref()
            .map(|d| d.base)
            .filter(|base| *base > found)
        {
            return Err(RegistrarError::Gap { path, base, found });
        }
        // A draft that a newer roster followed was signed by a process that died before it removed it.
        let current = written.filter(|decisions| decisions.base == found);
        let decisions = match (current, &last, first_epoch) {
            (Some(decisions), _, _) => decisions,
            (None, Some(last), _) => Decisions::after(last),
            (None, None, Some(epoch)) => Decisions {
                base: 0,
                epoch,
                beacon: BeaconRule::operator(),
                revoked: Vec::new(),
                admitted: Vec::new(),
            },
            (None, None, None) => {
                return Err(RegistrarError::Unfinished {
                    dir: dir.to_owned(),
                });
            }
        };
        let draft = decisions.apply(&public, last.as_ref())?;
        Ok(Self {
            disk,
            dir: dir.to_owned(),
            public,
            memory,
            last,
            decisions,
            draft,
            _lock: lock,
        })
    }

    /// The registrar's key.
    #[must_use]
    pub fn public(&self) -> &VerifyingKey {
        &self.public
    }
    /// The last roster that was signed.
    #[must_use]
    pub fn last(&self) -> Option<&Roster> {
        self.last.as_ref()
    }
    /// The next one, as far as it is decided.
    #[must_use]
    pub fn draft(&self) -> &RosterDraft {
        &self.draft
    }
    /// Whether anything was decided since the last one.
    #[must_use]
    pub fn has_changes(&self) -> bool {
        let beacon = self.last.as_ref().map(Roster::beacon);
        let same = beacon.is_none_or(|beacon| *beacon == self.decisions.beacon);
        let Decisions {
            revoked, admitted, ..
        } = &self.decisions;
        !(same && revoked.is_empty() && admitted.is_empty()) || self.begins_epoch()
    }
    /// Whether the next roster is the first one of an epoch.
    #[must_use]
    pub fn begins_epoch(&self) -> bool {
        let last = self.last.as_ref().map(Roster::epoch);
        last.is_some_and(|epoch| epoch != self.decisions.epoch)
    }
    /// Clients that were admitted since the last one.
    pub fn admitted(&self) -> impl ExactSizeIterator<Item = ClientId> {
        let requests = self.decisions.admitted.iter();
        requests.map(|request| request.content.entry.client)
    }
    /// Identity keys that were revoked since the last one.
    pub fn revoked(&self) -> impl ExactSizeIterator<Item = &[u8; 32]> {
        self.decisions.revoked.iter()
    }

    fn write(&mut self, decisions: Decisions) -> Result<(), RegistrarError> {
        let draft = decisions.apply(&self.public, self.last.as_ref())?;
        self.memory.check_size(&draft.content())?;
        let path = self.dir.join(DRAFT_FILE);
        replace_private(&*self.disk, &path, &decisions.to_text()?)?;
        (self.decisions, self.draft) = (decisions, draft);
        Ok(())
    }

    /// Goes on after a roster that is on disk.
    fn follow(&mut self, roster: Roster) -> Result<(), RegistrarError> {
        let decisions = Decisions::after(&roster);
        self.last = Some(roster);
        self.write(decisions)
    }

    /// Admits requests, all of them or none. Those whose entries are there already change nothing.
    ///
    /// # Errors
    /// The place of the first request that is not admitted, and why: [`RegistrarError::Admit`]; errors of the disk, with
    /// the last place.
    pub fn admit(
        &mut self,
        requests: &[Signed<JoinContent>],
    ) -> Result<Vec<Admission>, (usize, RegistrarError)> {
        let (mut draft, mut decisions) = (self.draft.clone(), self.decisions.clone());
        let mut admissions = Vec::new();
        for (place, request) in requests.iter().enumerate() {
            let admission = draft.admit(request).map_err(|e| (place, e.into()))?;
            if let Admission::New(_) = admission {
                decisions.admitted.push(request.clone());
            }
            admissions.push(admission);
        }
        if admissions.iter().any(|a| matches!(a, Admission::New(_))) {
            let place = requests.len().saturating_sub(1);
            self.write(decisions).map_err(|error| (place, error))?;
        }
        Ok(admissions)
    }

    /// Revokes identity keys for ever, all of them or none; gives the clients that had them.
    ///
    /// # Errors
    /// [`RegistrarError::Revoke`]; errors of the disk.
    pub fn revoke(
        &mut self,
        keys: &[[u8; 32]],
    ) -> Result<BTreeMap<[u8; 32], Option<ClientId>>, RegistrarError> {
        let (mut draft, mut decisions) = (self.draft.clone(), self.decisions.clone());
        let mut holders = BTreeMap::new();
        for key in keys {
            let known = draft.revoked().any(|revoked| revoked == key);
            holders.insert(*key, draft.revoke(key)?);
            decisions
                .admitted
                .retain(|request| request.content.entry.identity_key != *key);
            if !known {
                decisions.revoked.push(*key);
            }
        }
        self.write(decisions)?;
        Ok(holders)
    }

    /// Has the next roster name this beacon. Its values must not be known to anybody when the roster is signed.
    ///
    /// # Errors
    /// [`RegistrarError::Roster`] for a rule that is none; errors of the disk.
    pub fn set_beacon(&mut self, rule: BeaconRule) -> Result<(), RegistrarError> {
        let mut decisions = self.decisions.clone();
        decisions.beacon = rule;
        self.write(decisions)
    }

    /// Goes over to a later epoch with the next roster: see [`RosterDraft::begin_epoch`]. Who was admitted since the last
    /// roster asks again too.
    ///
    /// # Errors
    /// [`RegistrarError::Epoch`]; errors of the disk.
    pub fn begin_epoch(&mut self, epoch: u64) -> Result<(), RegistrarError> {
        self.draft.clone().begin_epoch(epoch)?;
        let mut decisions = self.decisions.clone();
        decisions.epoch = epoch;
        decisions.admitted.clear();
        self.write(decisions)
    }

    /// Has the next roster begin at this round, under the beacon that it has: each round keeps its beacon round.
    ///
    /// # Errors
    /// [`RegistrarError::Roster`] for a round before the first of its beacon; errors of the disk.
    pub fn begin_at(&mut self, first_round: u64) -> Result<(), RegistrarError> {
        let rule = self.decisions.beacon.from_round(first_round);
        let before = BeaconError::Schedule {
            round_id: first_round,
            beacon_round: 0,
        };
        self.set_beacon(rule.ok_or(RosterError::Beacon(before))?)
    }

    /// Forgets what was decided since the last roster was signed.
    ///
    /// # Errors
    /// Errors of the disk.
    pub fn discard(&mut self) -> Result<(), RegistrarError> {
        let mut decisions = self.decisions.clone();
        decisions.admitted.clear();
        decisions.revoked.clear();
        decisions.beacon = match &self.last {
            Some(last) => last.beacon().clone(),
            None => BeaconRule::operator(),
        };
        if let Some(last) = &self.last {
            decisions.epoch = last.epoch();
        }
        self.write(decisions)
    }

    /// Signs the next roster, if anything was decided since the last one. It is on disk before this returns, and its
    /// version is never signed again.
    ///
    /// # Errors
    /// [`RegistrarError::OtherKey`], [`RegistrarError::Empty`], [`RegistrarError::Roster`], under a beacon also when its first
    /// value may be among those `published`; errors of the disk.
    pub fn sign(
        &mut self,
        keys: &RegistrarKeys,
        published: Published,
    ) -> Result<Signing, RegistrarError> {
        if keys.public() != self.public {
            return Err(RegistrarError::OtherKey {
                dir: self.dir.clone(),
            });
        }
        if !self.has_changes() && self.last.is_some() {
            return Ok(Signing::Unchanged);
        }
        if (self.last.is_none() || self.begins_epoch()) && self.draft.entries().len() == 0 {
            return Err(RegistrarError::Empty);
        }
        let rule = self.draft.beacon();
        rule.is_ahead(published).map_err(RosterError::from)?;
        let roster = keys.sign(&self.draft)?;
        self.memory.accept(&roster)?;
        self.follow(roster)?;
        Ok(Signing::New)
    }
}

fn read_public(disk: &dyn Disk, dir: &Path) -> Result<VerifyingKey, RegistrarError> {
    let path = dir.join(PUBLIC_FILE);
    let text = read_bounded(disk, &path, KEY_FILE_MAX)?;
    registrar_from_text(&text).map_err(|cause| RegistrarError::File { path, cause })
}

#[cfg(test)]
mod tests;
