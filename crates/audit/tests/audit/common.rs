//! Transcripts of simulated rounds, in memory, so that thousands of damaged ones can be read.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use veilsum_audit::{Options, ROSTER_FILE, Report, audit};
use veilsum_crypto::Digest;
use veilsum_protocol::{Check, Culprit, Document, EvidenceKind, Message, Pins, Record, judge_file};
use veilsum_sim::{Faults, Plan, Simulation, World};
use veilsum_store::{
    BodyDigest, DirEntry, Disk, DiskFile, DiskLock, Log, LogIdentity, OpenMode, RealDisk, Role,
};
use veilsum_wire::{LogHeadContent, Signed, Wire};

/// Files that can only be read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memory(pub(crate) BTreeMap<PathBuf, Arc<Vec<u8>>>);

#[derive(Debug)]
struct File(Arc<Vec<u8>>);

fn read_only<T>() -> io::Result<T> {
    Err(io::ErrorKind::ReadOnlyFilesystem.into())
}

impl DiskFile for File {
    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let rest = usize::try_from(offset)
            .ok()
            .and_then(|offset| self.0.get(offset..))
            .unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }
    fn write_all_at(&mut self, _: u64, _: &[u8]) -> io::Result<()> {
        read_only()
    }
    fn size(&mut self) -> io::Result<u64> {
        Ok(self.0.len() as u64)
    }
    fn set_size(&mut self, _: u64) -> io::Result<()> {
        read_only()
    }
    fn sync(&mut self) -> io::Result<()> {
        read_only()
    }
}

impl Disk for Memory {
    fn open(&self, path: &Path, _: OpenMode) -> io::Result<Box<dyn DiskFile>> {
        let bytes = self.0.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(File(Arc::clone(bytes))))
    }
    fn lock(&self, _: &Path) -> io::Result<Option<Box<dyn DiskLock>>> {
        read_only()
    }
    fn create_dir(&self, _: &Path) -> io::Result<()> {
        read_only()
    }
    fn exists(&self, path: &Path) -> io::Result<bool> {
        Ok(self.0.contains_key(path))
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        let files = self.0.iter().filter(|(path, _)| path.parent() == Some(dir));
        Ok(files
            .map(|(path, bytes)| DirEntry {
                name: path.file_name().unwrap().to_owned(),
                size: bytes.len() as u64,
            })
            .collect())
    }
    fn rename(&self, _: &Path, _: &Path) -> io::Result<()> {
        read_only()
    }
    fn hard_link(&self, _: &Path, _: &Path) -> io::Result<()> {
        read_only()
    }
    fn remove_file(&self, _: &Path) -> io::Result<()> {
        read_only()
    }
    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        read_only()
    }
    fn unique(&self) -> u64 {
        0
    }
}

type Opened = io::Result<Box<dyn DiskFile>>;

/// What opening this file gives instead.
type Hook = dyn Fn(&Path) -> Option<Opened> + Send + Sync;

/// Files some of which are not what they were, or cannot be opened, when they are opened.
pub(crate) struct Hooked {
    pub(crate) memory: Memory,
    pub(crate) open: Box<Hook>,
}

impl std::fmt::Debug for Hooked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.memory.fmt(f)
    }
}

impl Disk for Hooked {
    fn open(&self, path: &Path, mode: OpenMode) -> Opened {
        (self.open)(path).unwrap_or_else(|| self.memory.open(path, mode))
    }
    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn DiskLock>>> {
        self.memory.lock(path)
    }
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.memory.create_dir(path)
    }
    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.memory.exists(path)
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        self.memory.list(dir)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.memory.rename(from, to)
    }
    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.memory.hard_link(from, to)
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.memory.remove_file(path)
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.memory.sync_dir(path)
    }
    fn unique(&self) -> u64 {
        self.memory.unique()
    }
}

/// A round that was simulated: its records and bodies.
pub(crate) struct Played {
    pub(crate) world: World,
    pub(crate) records: Vec<Record>,
    pub(crate) bodies: BTreeMap<[u8; 32], Vec<u8>>,
}

/// Plays a round.
pub(crate) fn play(world: World, plan: Plan) -> Played {
    let report = Simulation::run(&world, Faults::NONE, plan).unwrap();
    assert!(report.outcome.is_some(), "{:?}", report.refused);
    let uploads: BTreeMap<Digest, Vec<u8>> = report
        .sent
        .iter()
        .filter_map(|(_, message)| match message {
            Message::Contribution(upload) => {
                Some((upload.header.content.digest(), upload.body.0.clone()))
            }
            _ => None,
        })
        .collect();
    // The simulation names bodies in its own way; in a directory they have the names of the store.
    let mut records = report.records();
    let mut bodies = BTreeMap::new();
    for record in &mut records {
        if let Record::ServerContribution { header, body } = record
            && let Some(bytes) = uploads.get(&header.content.digest())
        {
            body.0 = BodyDigest::of(bytes).0;
            bodies.insert(body.0, bytes.clone());
        }
    }
    Played {
        world,
        records,
        bodies,
    }
}

impl Played {
    /// The closed transcript of these records, signed by the server whatever they say.
    pub(crate) fn transcript(&self, records: &[Record], evidence: &[Vec<u8>]) -> Memory {
        let dir = tempfile::tempdir().unwrap();
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        let identity = LogIdentity {
            role: Role::Server,
            context: self.world.context.digest().0,
        };
        let mut log = Log::create(disk, dir.path(), identity).unwrap();
        for record in records {
            log.append(record.tag().into(), &record.to_bytes()).unwrap();
        }
        let head = log.head();
        let content = LogHeadContent {
            params_digest: *self.world.context.digest(),
            records: head.records,
            head: Digest(head.value),
        };
        log.close(&Signed::sign(content, &self.world.server).to_bytes())
            .unwrap();
        let mut files = BTreeMap::new();
        files.insert(
            PathBuf::from("/t/log"),
            Arc::new(std::fs::read(dir.path().join("log")).unwrap()),
        );
        let roster = Document::roster(&self.world.roster).to_file();
        files.insert(Path::new("/t").join(ROSTER_FILE), Arc::new(roster));
        for record in records {
            if let Record::ServerContribution { body, .. } = record
                && let Some(bytes) = self.bodies.get(&body.0)
            {
                let path = Path::new("/t/bodies").join(BodyDigest(body.0).to_string());
                files.insert(path, Arc::new(bytes.clone()));
            }
        }
        for (i, bytes) in evidence.iter().enumerate() {
            let path = PathBuf::from(format!("/t/evidence-{i:04}.veilsum"));
            files.insert(path, Arc::new(bytes.clone()));
        }
        Memory(files)
    }
}

pub(crate) fn report(memory: &Memory, sum_only: bool) -> Report {
    let options = Options {
        sum_only,
        pins: Pins::default(),
        seed: [9; 32],
        progress: &|_| {},
    };
    audit(Arc::new(memory.clone()), Path::new("/t"), &options).unwrap()
}

/// What is wrong, in words.
pub(crate) fn faults(report: &Report) -> Vec<String> {
    report.faults.iter().map(ToString::to_string).collect()
}

/// Audits what the server made of the honest records.
pub(crate) fn audited(
    played: &Played,
    sum_only: bool,
    change: impl FnOnce(&mut Vec<Record>),
) -> Report {
    let mut records = played.records.clone();
    change(&mut records);
    report(&played.transcript(&records, &[]), sum_only)
}

/// Exactly this is proven, and the files that the auditor writes prove it by themselves, to whom knows the keys.
#[track_caller]
pub(crate) fn convicts(
    played: &Played,
    report: &Report,
    expected: &[(EvidenceKind, Culprit, Check)],
) {
    let found: Vec<_> = report
        .convicted
        .iter()
        .map(|c| (c.kind, c.culprit, c.check))
        .collect();
    assert_eq!(found, expected, "{:?}", faults(report));
    let world = &played.world;
    let pins = Pins {
        registrar: Some(world.registrar.verifying_key().to_bytes()),
        server: Some(world.server.verifying_key().to_bytes()),
    };
    for convicted in &report.convicted {
        let file = Document::accusation(&world.roster, world.context.params(), &convicted.evidence);
        let (_, conviction) = judge_file(&file.to_file(), &pins).unwrap();
        assert_eq!(
            (conviction.kind, conviction.culprit, conviction.check),
            (convicted.kind, convicted.culprit, convicted.check)
        );
    }
}

pub(crate) fn has(report: &Report, text: &str) -> bool {
    faults(report).iter().any(|fault| fault.contains(text))
}
