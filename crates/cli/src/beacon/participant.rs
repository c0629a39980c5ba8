//! What a participant of commit and reveal must not forget: its secrets, and for which list it revealed each of them.
//!
//! Both are files that are made once and never changed: a crash leaves the file or none, and the same command then goes on
//! with what there is (`specs/protocol.md`, "Beacon").

use std::path::{Path, PathBuf};

use rand_core::{OsRng, RngCore};
use veilsum::ClientKeys;
use veilsum::crypto::Digest;
use veilsum::params::ClientId;
use veilsum::store::{
    Disk, Operation, RealDisk, StoreError, ensure_dir, open_state, write_private,
};
use veilsum::wire::{
    BeaconCommitContent, BeaconList, BeaconRevealContent, BeaconSource, Roster, Signed, Wire,
    beacon_commitment, beacon_list_digest,
};
use zeroize::{Zeroize as _, Zeroizing};

use super::files::{self, BeaconFileError, Kind};

/// A participant with its key and its memory: the directory of its identity key, below one that its operator names. Where the
/// key file is, and what it is called, does not matter.
pub(crate) struct Participant<'a> {
    disk: &'a dyn Disk,
    roster: &'a Roster,
    keys: ClientKeys,
    dir: PathBuf,
    source: Digest,
}

/// What a secret is for, and the secret.
type Kept = ((Digest, u64), (ClientId, [u8; 32]));

/// The directory of an identity key in a memory that is there, whatever links lead to it.
///
/// # Errors
/// Errors of the disk.
pub(crate) fn memory_of(keys: &ClientKeys, memory: &Path) -> Result<PathBuf, BeaconFileError> {
    let canonical = memory.canonicalize();
    let canonical =
        canonical.map_err(|error| StoreError::from_io(Operation::Open, memory, &error))?;
    let key = keys.identity().verifying_key().to_bytes();
    Ok(canonical.join(hex::encode(key)))
}

/// Makes the memory of a participant, once. Whether it was there already is told.
///
/// # Errors
/// Errors of the disk.
pub(crate) fn init(keys: &ClientKeys, memory: &Path) -> Result<(PathBuf, bool), BeaconFileError> {
    ensure_dir(&RealDisk, memory)?;
    let dir = memory_of(keys, memory)?;
    let there = RealDisk.exists(&dir);
    let there = there.map_err(|error| StoreError::from_io(Operation::Read, &dir, &error))?;
    open_state(&RealDisk, &dir)?;
    Ok((dir, there))
}

impl<'a> Participant<'a> {
    /// With its directory, as [`memory_of`] names it.
    ///
    /// # Errors
    /// [`BeaconFileError::NoMemory`] if that is not there; others if the key is not one of a participant of the roster's beacon.
    pub(crate) fn new(
        disk: &'a dyn Disk,
        roster: &'a Roster,
        keys: ClientKeys,
        dir: PathBuf,
    ) -> Result<Self, BeaconFileError> {
        let client = keys.client();
        if *roster.beacon_source() != BeaconSource::CommitReveal {
            return Err(BeaconFileError::NoParticipants);
        }
        if roster.beacon().participants.binary_search(&client).is_err() {
            return Err(BeaconFileError::NotParticipant { client });
        }
        if roster.identity(client) != Some(&keys.identity().verifying_key()) {
            return Err(BeaconFileError::OtherKey { client });
        }
        // An empty memory in place of the one that is somewhere else would be a second one.
        let there = disk.exists(&dir);
        if !there.map_err(|error| StoreError::from_io(Operation::Read, &dir, &error))? {
            return Err(BeaconFileError::NoMemory { path: dir, client });
        }
        open_state(disk, &dir)?;
        let registrar = roster.registrar().to_bytes();
        Ok(Self {
            disk,
            source: roster.beacon().source_digest(&registrar),
            roster,
            keys,
            dir,
        })
    }

    fn file(&self, round: u64, suffix: &str) -> PathBuf {
        let source = self.source.to_hex();
        let front = source.get(..16).unwrap_or_default();
        self.dir.join(format!("{front}-{round}.{suffix}"))
    }

    fn secret(&self, round: u64) -> Result<Option<Zeroizing<[u8; 32]>>, BeaconFileError> {
        let path = self.file(round, "secret");
        let Some(mut kept) = files::kept::<Kept>(self.disk, &path, Kind::Secret)? else {
            return Ok(None);
        };
        let secret = Zeroizing::new(kept.1.1);
        kept.1.1.zeroize();
        if (kept.0, kept.1.0) != ((self.source, round), self.keys.client()) {
            return Err(BeaconFileError::Format { path });
        }
        Ok(Some(secret))
    }

    /// The commitment to a secret for a beacon round: the secret is drawn once, and kept before anything is said of it.
    ///
    /// # Errors
    /// Errors of the disk, or a damaged file.
    pub(crate) fn commit(
        &self,
        round: u64,
    ) -> Result<Signed<BeaconCommitContent>, BeaconFileError> {
        if self.secret(round)?.is_none() {
            let mut secret = Zeroizing::new([0; 32]);
            OsRng.fill_bytes(&mut *secret);
            let mut content = Zeroizing::new((self.source, round).to_bytes());
            content.reserve_exact(36);
            content.extend_from_slice(&self.keys.client().to_bytes());
            content.extend_from_slice(&*secret);
            self.keep(&self.file(round, "secret"), Kind::Secret, &content)?;
        } else {
            // Before anything is said of one that an earlier process left, too.
            self.sync()?;
        }
        let secret = self.drawn(round)?;
        let (source, client) = (self.source, self.keys.client());
        let content = BeaconCommitContent {
            source,
            round,
            client,
            commitment: beacon_commitment(&source, round, client, &secret),
        };
        Ok(Signed::sign(content, self.keys.identity()))
    }

    /// Writes what must not change any more; what another process or an earlier run wrote counts. Durable in either case: a name
    /// that a crash left may not be.
    fn keep(&self, path: &Path, kind: Kind, content: &[u8]) -> Result<(), BeaconFileError> {
        match write_private(self.disk, path, &files::seal(kind, content)) {
            Err(StoreError::Exists { .. }) => self.sync(),
            written => Ok(written?),
        }
    }

    fn sync(&self) -> Result<(), BeaconFileError> {
        let synced = self.disk.sync_dir(&self.dir);
        Ok(synced.map_err(|error| StoreError::from_io(Operation::Sync, &self.dir, &error))?)
    }

    fn drawn(&self, round: u64) -> Result<Zeroizing<[u8; 32]>, BeaconFileError> {
        let secret = self.secret(round)?;
        secret.ok_or_else(|| BeaconFileError::NotCommitted {
            path: self.dir.clone(),
            round,
        })
    }

    /// The secret of a beacon round, for a list of commitments. For which list is kept before anything is revealed, and
    /// there is no second one, whatever dies in between.
    ///
    /// # Errors
    /// [`BeaconFileError::Revealed`] for another list than the first; [`BeaconFileError::NotListed`] for one without the own
    /// commitment; others for a list that does not verify.
    pub(crate) fn reveal(
        &self,
        round: u64,
        path: &Path,
        list: &BeaconList,
    ) -> Result<Signed<BeaconRevealContent>, BeaconFileError> {
        let secret = self.drawn(round)?;
        let commitments = list.verify(self.roster, round).map_err(|cause| {
            let path = path.to_owned();
            BeaconFileError::Refused { path, round, cause }
        })?;
        let (source, client) = (self.source, self.keys.client());
        let own = (client, beacon_commitment(&source, round, client, &secret));
        if !commitments.contains(&own) {
            let path = path.to_owned();
            return Err(BeaconFileError::NotListed { path, client });
        }
        let list = beacon_list_digest(&source, round, &commitments);
        let choice = self.file(round, "choice");
        let chosen = ((source, round), list);
        let content = chosen.to_bytes();
        self.keep(&choice, Kind::Choice, &content)?;
        if files::kept(self.disk, &choice, Kind::Choice)? != Some(chosen) {
            return Err(BeaconFileError::Revealed { round });
        }
        let content = BeaconRevealContent {
            source,
            round,
            client,
            list,
            secret: *secret,
        };
        Ok(Signed::sign(content, self.keys.identity()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use veilsum::RegistrarKeys;
    use veilsum::store::{CrashStyle, Fault, SimDisk};
    use veilsum::wire::{BeaconRule, RosterContent};

    /// A roster whose beacon two participants draw, and their keys.
    fn drawn_by_two() -> (Roster, [ClientKeys; 2]) {
        let registrar = RegistrarKeys::generate(&mut OsRng);
        let keys = [1, 2].map(|id| ClientKeys::generate(ClientId(id), 1, &mut OsRng));
        let entries = keys.iter().map(ClientKeys::entry).collect();
        let mut content = RosterContent::first(1, entries);
        content.beacon = BeaconRule {
            scheme: 3,
            participants: vec![ClientId(1), ClientId(2)],
            least: 2,
            ..BeaconRule::operator()
        };
        let signed = registrar.sign_content(content);
        let roster = Roster::verify(signed, &registrar.public()).unwrap();
        (roster, keys)
    }

    #[test]
    fn one_commitment_for_a_round_though_two_processes_die_one_after_the_other() {
        let (roster, keys) = drawn_by_two();
        let secret = keys[0].to_text();
        for (first, second) in (0..16).flat_map(|first| (0..16).map(move |second| (first, second)))
        {
            let disk = SimDisk::new();
            ensure_dir(&disk, Path::new("memory/key")).unwrap();
            let mut told = Vec::new();
            let mut commit = || {
                let keys = ClientKeys::from_text(&secret).unwrap();
                let made = Participant::new(&disk, &roster, keys, "memory/key".into())
                    .and_then(|participant| participant.commit(1));
                told.extend(made);
                disk.has_crashed()
            };
            disk.fail_change(disk.changes() + first, Fault::Crash);
            let died = commit();
            assert!(died || first > 3, "a commitment has {first} changes");
            disk.restart(CrashStyle::ProcessOnly);
            disk.clear_faults();
            disk.fail_change(disk.changes() + second, Fault::Crash);
            commit();
            disk.crash();
            disk.restart(CrashStyle::LoseUnsynced);
            disk.clear_faults();
            assert!(!commit());
            assert!(!told.is_empty());
            assert!(told.windows(2).all(|w| w[0] == w[1]), "{first}, {second}");
        }
    }

    #[test]
    fn one_list_is_revealed_for_though_two_processes_die_one_after_the_other() {
        let (roster, keys) = drawn_by_two();
        let secret = keys[0].to_text();
        let source = roster
            .beacon()
            .source_digest(&roster.registrar().to_bytes());
        let other = |secret: u8| {
            let client = keys[1].client();
            let content = BeaconCommitContent {
                source,
                round: 1,
                client,
                commitment: beacon_commitment(&source, 1, client, &[secret; 32]),
            };
            Signed::sign(content, keys[1].identity())
        };
        let (mut refused, mut chosen) = (0, 0);
        for (first, second) in (0..8).flat_map(|first| (0..8).map(move |second| (first, second))) {
            let disk = SimDisk::new();
            ensure_dir(&disk, Path::new("memory/key")).unwrap();
            let participant = || {
                let keys = ClientKeys::from_text(&secret).unwrap();
                Participant::new(&disk, &roster, keys, "memory/key".into())
            };
            let own = participant().unwrap().commit(1).unwrap();
            let list = |secret| BeaconList {
                commitments: vec![own.clone(), other(secret)],
            };
            let reveal = |list| participant().and_then(|p| p.reveal(1, Path::new("list"), &list));
            disk.fail_change(disk.changes() + first, Fault::Crash);
            let mut told = vec![reveal(list(1))];
            disk.restart(CrashStyle::ProcessOnly);
            disk.clear_faults();
            disk.fail_change(disk.changes() + second, Fault::Crash);
            told.push(reveal(list(1)));
            disk.crash();
            disk.restart(CrashStyle::LoseUnsynced);
            disk.clear_faults();
            let last = reveal(list(2));
            // Once it has revealed for one list it does so for no other, whatever was lost.
            if told.iter().any(Result::is_ok) {
                let round = 1;
                let expected = Err(BeaconFileError::Revealed { round });
                assert_eq!(last, expected, "{first}, {second}");
                refused += 1;
            } else {
                chosen += u32::from(last.is_ok());
            }
        }
        assert!(refused > 8 && chosen > 0, "{refused}, {chosen}");
    }

    #[test]
    fn a_memory_of_a_later_version_is_not_touched() {
        let (roster, [keys, _]) = drawn_by_two();
        let disk = SimDisk::new();
        let dir = PathBuf::from("memory/key");
        ensure_dir(&disk, &dir).unwrap();
        let path = dir.join("VERSION");
        disk.put(&path, b"veilsum state 2\n");
        let opened = Participant::new(&disk, &roster, keys, dir).map(|_| ());
        let later = StoreError::StateVersion { path, found: 2 };
        assert_eq!(opened, Err(BeaconFileError::Store(later)));
    }
}
