//! What a party remembers of the rosters that it saw, so that nobody leads it back behind a revocation
//! (`specs/protocol.md`, "Enrolment").

use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;
use veilsum_crypto::{Digest, Signature, VerifyingKey};
use veilsum_protocol::{Document, FileError};
use veilsum_store::{
    Disk, Operation, StoreError, ensure_dir, read_bounded, replace_private, write_private,
};
use veilsum_wire::{BeaconRule, Roster, RosterContent, RosterError, Signed, StartError, Wire};

use crate::client::evidence_file;
use crate::requests::ROSTER_BYTES_MAX;

/// Below a state directory: a directory for each registrar, with a file for each version.
const ROSTERS_DIR: &str = "rosters";
const SUFFIX: &str = ".veilsum";
/// How many versions a party of rounds keeps: the last, and those of rounds that it may still be asked about.
const KEPT: usize = 8;
/// Magic, version, registrar key and digest around a roster in a file.
const AROUND: u64 = 1024;

/// Why a roster is not used, or what is remembered cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RosterMemoryError {
    /// The disk.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file that is remembered by is not whole.
    #[error(
        "{}: {cause}: restore the state directory from its disk; without this file an older roster could not be told from a newer one", path.display()
    )]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        cause: FileError,
    },
    /// A file that holds another roster than its name says.
    #[error("{}: it holds version {found}: restore the state directory from its disk", path.display())]
    Name {
        /// The file.
        path: PathBuf,
        /// The version in it.
        found: u64,
    },
    /// An older roster than one that was seen before.
    #[error(
        "the roster has version {shown}, and version {known} of the same registrar was seen before: an older roster brings back who was revoked, and is refused; get the newest one"
    )]
    Older {
        /// The highest version that was seen.
        known: u64,
        /// The one that was shown now.
        shown: u64,
    },
    /// A later roster that draws rounds of the one before again.
    #[error(
        "the roster has version {shown}, and its beacon does not follow that of version {known}, which was seen before ({cause}): it is refused; the registrar signs another one"
    )]
    Start {
        /// The highest version that was seen.
        known: u64,
        /// The one that was shown now.
        shown: u64,
        /// What is wrong.
        cause: StartError,
    },
    /// Another roster of a version that was seen.
    #[error(
        "the registrar signed two different rosters of version {version}: this one is refused, and {} proves it to everybody (`veilsum audit`); ask the registrar which one holds, it has to sign a higher version", evidence.display()
    )]
    Contradiction {
        /// The version.
        version: u64,
        /// The file with both.
        evidence: PathBuf,
    },
    /// Nobody could read it again.
    #[error(
        "version {version} of the roster would have {bytes} bytes, and no party takes one of more than {max}: leave out what was decided last (`veilsum registrar discard`); beyond this, go on with a second registrar key and a server of its own"
    )]
    TooLarge {
        /// The version.
        version: u64,
        /// Its length, signature included.
        bytes: u64,
        /// The most that anybody reads.
        max: u64,
    },
}

impl RosterMemoryError {
    /// Whether it is about what was signed or stored, and not about the disk.
    #[must_use]
    pub fn is_verification(&self) -> bool {
        !matches!(self, Self::Store(_))
    }
}

/// The rosters of one registrar that a party has seen, durable in its state directory. Whoever keeps it is the only
/// process that uses the directory.
#[derive(Debug)]
pub struct RosterMemory {
    disk: Arc<dyn Disk>,
    state: PathBuf,
    dir: PathBuf,
    registrar: VerifyingKey,
    kept: usize,
    /// Longest signed roster, in bytes.
    pub(crate) bytes_max: u64,
    /// Version and digest of the newest.
    highest: Option<(u64, Digest)>,
    /// Its rule.
    beacon: BeaconRule,
    /// Whether its name is known to be durable: a process that died may have left it without.
    durable: bool,
}

impl RosterMemory {
    /// Reads what is remembered of a registrar in a state directory; writes nothing.
    ///
    /// # Errors
    /// [`RosterMemoryError`]; what cannot be read is never taken for nothing.
    pub fn open(
        disk: Arc<dyn Disk>,
        state: &Path,
        registrar: &VerifyingKey,
    ) -> Result<Self, RosterMemoryError> {
        let name = Digest(registrar.to_bytes()).to_hex();
        let mut memory = Self {
            disk,
            state: state.to_owned(),
            dir: state.join(ROSTERS_DIR).join(name),
            registrar: *registrar,
            kept: KEPT,
            bytes_max: ROSTER_BYTES_MAX,
            highest: None,
            beacon: BeaconRule::operator(),
            durable: false,
        };
        if let Some(version) = memory.versions()?.last() {
            let content = memory.read(*version)?.content;
            memory.highest = Some((content.version, content.digest()));
            memory.beacon = content.beacon;
        }
        Ok(memory)
    }

    /// As [`Self::open`]; no version is ever removed.
    pub(crate) fn of_registrar(
        disk: Arc<dyn Disk>,
        state: &Path,
        registrar: &VerifyingKey,
    ) -> Result<Self, RosterMemoryError> {
        let memory = Self::open(disk, state, registrar)?;
        Ok(Self {
            kept: usize::MAX,
            ..memory
        })
    }

    /// Version and digest of the newest roster that was seen.
    #[must_use]
    pub fn highest(&self) -> Option<(u64, Digest)> {
        self.highest
    }

    fn path(&self, version: u64) -> PathBuf {
        self.dir.join(format!("{version}{SUFFIX}"))
    }

    /// The versions that there are files of, in increasing order.
    fn versions(&self) -> Result<Vec<u64>, RosterMemoryError> {
        let listed = match self.disk.list(&self.dir) {
            Ok(listed) => listed,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(self.failed(Operation::Read, &error)),
        };
        let version = |name: &std::ffi::OsStr| name.to_str()?.strip_suffix(SUFFIX)?.parse().ok();
        let mut versions: Vec<u64> = listed
            .iter()
            .filter_map(|file| version(&file.name))
            .collect();
        versions.sort_unstable();
        Ok(versions)
    }

    fn failed(&self, operation: Operation, error: &std::io::Error) -> RosterMemoryError {
        StoreError::from_io(operation, &self.dir, error).into()
    }

    /// The roster of a version, signed by the registrar; its entries are not checked again.
    fn read(&self, version: u64) -> Result<Signed<RosterContent>, RosterMemoryError> {
        let path = self.path(version);
        let bytes = read_bounded(&*self.disk, &path, ROSTER_BYTES_MAX.saturating_add(AROUND))?;
        let failed = |cause| RosterMemoryError::File {
            path: path.clone(),
            cause,
        };
        let document = Document::from_file(&bytes).map_err(failed)?;
        let Document::RosterOf { roster, .. } = document else {
            let found = document.name();
            return Err(failed(FileError::Kind { found }));
        };
        roster
            .verify(&self.registrar)
            .map_err(|_| failed(RosterError::Signature.into()))?;
        match roster.content.version {
            found if found == version => Ok(roster),
            found => Err(RosterMemoryError::Name { path, found }),
        }
    }

    /// The newest roster, every signature checked; none when none was seen.
    ///
    /// # Errors
    /// [`RosterMemoryError`].
    pub fn newest(&self) -> Result<Option<Roster>, RosterMemoryError> {
        match self.highest {
            Some((version, _)) => self.verified(version).map(Some),
            None => Ok(None),
        }
    }

    fn verified(&self, version: u64) -> Result<Roster, RosterMemoryError> {
        let signed = self.read(version)?;
        Roster::verify(signed, &self.registrar).map_err(|error| RosterMemoryError::File {
            path: self.path(version),
            cause: error.into(),
        })
    }

    /// A roster that was seen, by its digest; none when it was not, or is no longer kept.
    ///
    /// # Errors
    /// [`RosterMemoryError`].
    pub fn by_digest(&self, digest: &Digest) -> Result<Option<Roster>, RosterMemoryError> {
        for version in self.versions()?.into_iter().rev() {
            if self.read(version)?.content.digest() == *digest {
                return self.verified(version).map(Some);
            }
        }
        Ok(None)
    }

    /// Whether a roster of this registrar is neither older than the newest one that was seen nor another one of a version
    /// that was seen, and its beacon follows the newest one's. A contradiction is written down as evidence, in the state
    /// directory.
    ///
    /// # Errors
    /// [`RosterMemoryError`].
    pub fn check(&self, roster: &Roster) -> Result<(), RosterMemoryError> {
        let Some((known, digest)) = self.highest else {
            return Ok(());
        };
        let shown = roster.version();
        if shown < known {
            // The file of an older version may be kept still: another roster of that version is a fault of the registrar all
            // the same.
            if self.versions()?.contains(&shown) {
                let first = self.read(shown)?;
                if first.content.digest() != roster.digest() {
                    return Err(self.contradiction(first, roster)?);
                }
            }
            return Err(RosterMemoryError::Older { known, shown });
        }
        if shown == known && roster.digest() != digest {
            let first = self.read(known)?;
            return Err(self.contradiction(first, roster)?);
        }
        if shown > known {
            let followed = roster.beacon().follows(&self.beacon);
            followed.map_err(|cause| RosterMemoryError::Start {
                known,
                shown,
                cause,
            })?;
        }
        Ok(())
    }

    /// Writes two different rosters of one version down, as evidence in the state directory, and says so.
    ///
    /// # Errors
    /// [`RosterMemoryError::Store`] when it cannot be written.
    pub(crate) fn against(
        &self,
        first: &Roster,
        second: &Roster,
    ) -> Result<RosterMemoryError, RosterMemoryError> {
        self.contradiction(first.signed().clone(), second)
    }

    fn contradiction(
        &self,
        first: Signed<RosterContent>,
        second: &Roster,
    ) -> Result<RosterMemoryError, RosterMemoryError> {
        let version = first.content.version;
        let both = Document::TwoRosters {
            registrar: self.registrar.to_bytes(),
            first,
            second: second.signed().clone(),
        };
        let bytes = both.to_file();
        let evidence = evidence_file(&self.state, &bytes);
        replace_private(&*self.disk, &evidence, &bytes)?;
        Ok(RosterMemoryError::Contradiction { version, evidence })
    }

    /// Whether a roster, once signed, is one that every party takes.
    ///
    /// # Errors
    /// [`RosterMemoryError::TooLarge`].
    pub(crate) fn check_size(&self, content: &RosterContent) -> Result<(), RosterMemoryError> {
        let len = content.to_bytes().len().saturating_add(Signature::MIN_LEN);
        let (bytes, max) = (u64::try_from(len).unwrap_or(u64::MAX), self.bytes_max);
        let version = content.version;
        match bytes <= max {
            true => Ok(()),
            false => Err(RosterMemoryError::TooLarge {
                version,
                bytes,
                max,
            }),
        }
    }

    /// Remembers a roster that [`Self::check`] finds nothing wrong with. When this returns it is on disk, whole, and no
    /// older one is accepted any more.
    ///
    /// # Errors
    /// [`RosterMemoryError`]; what was remembered before still is.
    pub fn accept(&mut self, roster: &Roster) -> Result<(), RosterMemoryError> {
        self.check(roster)?;
        let (version, digest) = (roster.version(), roster.digest());
        if self.durable && self.highest == Some((version, digest)) {
            return Ok(());
        }
        self.check_size(&roster.signed().content)?;
        // One after the other, so that the name of each is durable.
        ensure_dir(&*self.disk, &self.state.join(ROSTERS_DIR))?;
        ensure_dir(&*self.disk, &self.dir)?;
        let path = self.path(version);
        match write_private(&*self.disk, &path, &Document::roster(roster).to_file()) {
            Ok(()) => {}
            Err(StoreError::Exists { .. }) => {
                let there = self.read(version)?;
                if there.content.digest() != digest {
                    return Err(self.contradiction(there, roster)?);
                }
                let synced = self.disk.sync_dir(&self.dir);
                synced.map_err(|error| self.failed(Operation::Sync, &error))?;
            }
            Err(error) => return Err(error.into()),
        }
        self.durable = true;
        self.highest = Some((version, digest));
        self.beacon = roster.beacon().clone();
        self.prune();
        Ok(())
    }

    /// Removes the oldest versions above the number that is kept. What cannot be removed stays.
    fn prune(&self) {
        let versions = self.versions().unwrap_or_default();
        let surplus = versions.len().saturating_sub(self.kept);
        for version in versions.iter().take(surplus) {
            if let Err(error) = self.disk.remove_file(&self.path(*version)) {
                tracing::warn!(target: "veilsum", event = "roster_not_removed", version, %error);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::{ClientKeys, RegistrarKeys};
    use rand_chacha::ChaCha20Rng;
    use rand_core::SeedableRng;
    use veilsum_params::ClientId;
    use veilsum_protocol::Pins;
    use veilsum_store::{CrashStyle, Fault, RealDisk, SimDisk};
    use veilsum_wire::RosterDraft;

    fn rng() -> ChaCha20Rng {
        ChaCha20Rng::seed_from_u64(11)
    }

    /// Rosters of versions 1, 2, ...: client n joins in version n. `fork` makes others of the same versions.
    fn rosters(registrar: &RegistrarKeys, count: u32, fork: u32) -> Vec<Roster> {
        let public = registrar.public();
        let mut draft = RosterDraft::first(public, 1, BeaconRule::operator());
        (1..=count)
            .map(|n| {
                let keys = ClientKeys::generate(ClientId(n + fork), 1, &mut rng_of(n + fork));
                draft.admit(&keys.request(&public, &mut rng())).unwrap();
                let roster = registrar.sign(&draft).unwrap();
                draft = RosterDraft::after(&roster).unwrap();
                roster
            })
            .collect()
    }

    fn rng_of(n: u32) -> ChaCha20Rng {
        ChaCha20Rng::seed_from_u64(n.into())
    }

    #[test]
    fn older_rosters_are_refused_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let registrar = RegistrarKeys::generate(&mut rng());
        let all = rosters(&registrar, 12, 0);
        let open =
            || RosterMemory::open(Arc::new(RealDisk), dir.path(), &registrar.public()).unwrap();
        assert_eq!(open().highest(), None);
        open().accept(&all[2]).unwrap();
        open().accept(&all[2]).unwrap();
        for older in &all[..2] {
            let shown = older.version();
            let refused = open().accept(older);
            assert_eq!(refused, Err(RosterMemoryError::Older { known: 3, shown }));
        }
        let mut memory = open();
        for newer in &all[3..] {
            memory.accept(newer).unwrap();
        }
        assert_eq!(open().highest(), Some((12, all[11].digest())));
        assert_eq!(open().newest().unwrap().unwrap().digest(), all[11].digest());
        // The last ones are kept, for rounds that are open still; of the others only that they were.
        let known = |n: usize| open().by_digest(&all[n].digest()).unwrap().is_some();
        assert_eq!((known(11), known(4), known(3)), (true, true, false));
        // Another registrar's are none of its business.
        let other = RegistrarKeys::generate(&mut rng_of(99));
        let first = rosters(&other, 1, 0).remove(0);
        let mut theirs =
            RosterMemory::open(Arc::new(RealDisk), dir.path(), &other.public()).unwrap();
        theirs.accept(&first).unwrap();
        assert_eq!(open().highest(), Some((12, all[11].digest())));
    }

    #[test]
    fn two_rosters_of_one_version_are_evidence_against_the_registrar() {
        let dir = tempfile::tempdir().unwrap();
        let registrar = RegistrarKeys::generate(&mut rng());
        let (ours, theirs) = (rosters(&registrar, 2, 0), rosters(&registrar, 2, 7));
        let mut memory =
            RosterMemory::open(Arc::new(RealDisk), dir.path(), &registrar.public()).unwrap();
        memory.accept(&ours[1]).unwrap();
        let Err(RosterMemoryError::Contradiction { version, evidence }) = memory.accept(&theirs[1])
        else {
            unreachable!("another roster of the same version was accepted");
        };
        assert_eq!(version, 2);
        assert_eq!(memory.highest(), Some((2, ours[1].digest())));
        let looked_at = memory.check(&theirs[1]);
        assert_eq!(
            looked_at,
            Err(RosterMemoryError::Contradiction {
                version,
                evidence: evidence.clone()
            })
        );
        let file = std::fs::read(evidence).unwrap();
        let pins = Pins {
            registrar: Some(registrar.public().to_bytes()),
            server: None,
        };
        let document = Document::from_file(&file).unwrap();
        let convicted = document.judge_registrar(&pins).unwrap();
        assert_eq!(convicted.version, 2);
        assert_eq!(convicted.digests, [ours[1].digest(), theirs[1].digest()]);
        // Also below the newest version, while the file of that one is kept.
        let later = rosters(&registrar, 4, 0);
        memory.accept(&later[3]).unwrap();
        let Err(RosterMemoryError::Contradiction { version, .. }) = memory.accept(&theirs[1])
        else {
            unreachable!("a fork of an older version left no evidence");
        };
        let older = Err(RosterMemoryError::Older { known: 4, shown: 2 });
        assert_eq!((version, memory.accept(&ours[1])), (2, older));
        // What proves nothing: one roster twice, two versions, and what the registrar did not sign.
        let two = |first: &Roster, second: &Roster| Document::TwoRosters {
            registrar: registrar.public().to_bytes(),
            first: first.signed().clone(),
            second: second.signed().clone(),
        };
        for same in [two(&ours[1], &ours[1]), two(&ours[0], &theirs[1])] {
            assert_eq!(same.judge_registrar(&pins), Err(FileError::NoContradiction));
        }
        let mut forged = theirs[1].signed().clone();
        forged.content.entries.pop();
        for (first, second) in [(ours[1].signed(), &forged), (&forged, ours[1].signed())] {
            let document = Document::TwoRosters {
                registrar: registrar.public().to_bytes(),
                first: first.clone(),
                second: second.clone(),
            };
            let refused = Err(FileError::Roster(RosterError::Signature));
            assert_eq!(document.judge_registrar(&pins), refused);
        }
        let other = Pins {
            registrar: Some([1; 32]),
            server: None,
        };
        assert_eq!(
            document.judge_registrar(&other),
            Err(FileError::OtherRegistrar)
        );
    }

    #[test]
    fn a_later_roster_does_not_draw_rounds_of_the_one_before_again() {
        let dir = tempfile::tempdir().unwrap();
        let registrar = RegistrarKeys::generate(&mut rng());
        let rule = |first_round: u64, first_beacon: u64| BeaconRule {
            scheme: 3,
            participants: vec![ClientId(1)],
            least: 1,
            first_round,
            first_beacon,
            ..BeaconRule::operator()
        };
        // Signed past the draft's own check, as a registrar with another tool may.
        let signed = |version: u64, beacon: BeaconRule| {
            let mut content = rosters(&registrar, 1, 0).remove(0).signed().content.clone();
            (content.version, content.beacon) = (version, beacon);
            Roster::verify(registrar.sign_content(content), &registrar.public()).unwrap()
        };
        let open =
            || RosterMemory::open(Arc::new(RealDisk), dir.path(), &registrar.public()).unwrap();
        open().accept(&signed(3, rule(5, 50))).unwrap();
        let (first_round, known) = (5, 5);
        let again = StartError::Round { first_round, known };
        let (first_beacon, known) = (50, 50);
        let same = StartError::Beacon {
            first_beacon,
            known,
        };
        for (beacon, cause) in [(rule(5, 51), again), (rule(6, 50), same)] {
            let (known, shown) = (3, 5);
            let refused = open().accept(&signed(shown, beacon));
            let expected = RosterMemoryError::Start {
                known,
                shown,
                cause,
            };
            assert_eq!(refused, Err(expected));
        }
        let mut memory = open();
        memory.accept(&signed(4, rule(6, 51))).unwrap();
        let refused = memory.accept(&signed(5, rule(6, 52)));
        assert!(matches!(
            refused,
            Err(RosterMemoryError::Start { known: 4, .. })
        ));
    }

    #[test]
    fn a_damaged_memory_is_no_empty_memory() {
        let dir = tempfile::tempdir().unwrap();
        let registrar = RegistrarKeys::generate(&mut rng());
        let all = rosters(&registrar, 2, 0);
        let open = || RosterMemory::open(Arc::new(RealDisk), dir.path(), &registrar.public());
        open().unwrap().accept(&all[0]).unwrap();
        let path = open().unwrap().path(1);
        let whole = std::fs::read(&path).unwrap();
        for (bytes, expected) in [
            (&whole[..5], FileError::Magic),
            (&whole[..60], FileError::Damaged),
            (&whole[..whole.len() - 1], FileError::Damaged),
            (&[], FileError::Magic),
        ] {
            std::fs::write(&path, bytes).unwrap();
            let cause = expected;
            let path = path.clone();
            assert_eq!(open().unwrap_err(), RosterMemoryError::File { path, cause });
        }
        std::fs::write(&path, &whole).unwrap();
        let newer = open().unwrap().path(5);
        std::fs::copy(&path, &newer).unwrap();
        let misnamed = RosterMemoryError::Name {
            path: newer,
            found: 1,
        };
        assert_eq!(open().unwrap_err(), misnamed);
    }

    #[test]
    fn whatever_was_accepted_is_remembered_wherever_the_machine_stops() {
        let registrar = RegistrarKeys::generate(&mut rng());
        let all = rosters(&registrar, 2, 0);
        let state = Path::new("state");
        let open =
            |disk: &SimDisk| RosterMemory::open(Arc::new(disk.clone()), state, &registrar.public());
        let mut outcomes = [0; 3];
        for style in [
            CrashStyle::ProcessOnly,
            CrashStyle::LoseUnsynced,
            CrashStyle::Torn([7; 32]),
        ] {
            for point in 0.. {
                let disk = SimDisk::new();
                ensure_dir(&disk, state).unwrap();
                disk.fail_change(disk.changes() + point, Fault::Crash);
                let first = open(&disk).unwrap().accept(&all[0]);
                let second = first
                    .is_ok()
                    .then(|| open(&disk).and_then(|mut memory| memory.accept(&all[1])));
                let died = disk.has_crashed();
                disk.restart(style);
                disk.clear_faults();
                let known = open(&disk)
                    .unwrap()
                    .highest()
                    .map_or(0, |(version, _)| version);
                if first.is_ok() {
                    assert!(known >= 1, "{style:?} at {point}: {known}");
                }
                if second == Some(Ok(())) {
                    assert_eq!(known, 2, "{style:?} at {point}");
                }
                outcomes[usize::try_from(known).unwrap()] += 1;
                // What a process that died has left behind is made durable by the next one that accepts it.
                let at = usize::try_from(known).unwrap().saturating_sub(1);
                open(&disk).unwrap().accept(&all[at]).unwrap();
                disk.restart(CrashStyle::LoseUnsynced);
                let still = open(&disk).unwrap().highest().unwrap().0;
                assert_eq!(still, known.max(1), "{style:?} at {point}");
                if !died {
                    break;
                }
            }
        }
        assert!(outcomes.iter().all(|count| *count > 2), "{outcomes:?}");
    }
}
