//! A disk in memory that loses power, tears writes, fills up and fails on demand, the same way every time.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::disk::{DirEntry, Disk, DiskFile, DiskLock, OpenMode, parent};

/// What a disk keeps or loses in one piece.
const SECTOR: usize = 512;

/// A failure to inject into one operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The device fails; of a write, the first half is done. Later operations work again.
    Eio,
    /// The disk is full; of a write, the first half is done. Later operations work again.
    Full,
    /// The machine stops; of a write, the first half is done. Every later operation fails until [`SimDisk::restart`].
    Crash,
}

/// What is left after a crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CrashStyle {
    /// Only the process died: everything written is there, and still not durable.
    ProcessOnly,
    /// Power was lost and nothing that was not synced is there.
    LoseUnsynced,
    /// Power was lost and, drawn from this seed, some of what was not synced is there: a prefix of the changes of names,
    /// any length between the old and the new for each file, and any of its changed sectors (a sector that is not there
    /// holds its old bytes, or zeros if it is new).
    Torn([u8; 32]),
}

#[derive(Default)]
struct SimFile {
    data: Vec<u8>,
    durable: Vec<u8>,
    /// From here on `data` and `durable` may differ.
    dirty_from: Option<usize>,
    /// Held by every open handle: a file without a name lives until the last one is dropped.
    handles: Arc<()>,
}

impl fmt::Debug for SimFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimFile")
            .field("len", &self.data.len())
            .field("durable_len", &self.durable.len())
            .finish_non_exhaustive()
    }
}

impl SimFile {
    fn touch(&mut self, offset: usize) {
        self.dirty_from = Some(self.dirty_from.map_or(offset, |dirty| dirty.min(offset)));
    }

    fn sync(&mut self) {
        if let Some(dirty) = self.dirty_from.take() {
            let same = dirty.min(self.data.len());
            self.durable.truncate(same);
            self.durable.extend_from_slice(&self.data[same..]);
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Node {
    Dir,
    File(u64),
}

/// A change of names that is not durable yet.
#[derive(Debug, Clone)]
enum NameOp {
    Add(PathBuf, Node),
    Remove(PathBuf),
    Rename(PathBuf, PathBuf, Node),
}

type Names = BTreeMap<PathBuf, Node>;

impl NameOp {
    fn concerns(&self, dir: &Path) -> bool {
        match self {
            Self::Add(path, _) | Self::Remove(path) => parent(path) == dir,
            Self::Rename(from, to, _) => parent(from) == dir || parent(to) == dir,
        }
    }

    fn apply(&self, names: &mut Names) {
        match self {
            Self::Add(path, node) => {
                names.insert(path.clone(), *node);
            }
            Self::Remove(path) => {
                names.remove(path);
            }
            Self::Rename(from, to, node) => {
                names.remove(from);
                names.insert(to.clone(), *node);
            }
        }
    }
}

#[derive(Debug, Default)]
struct State {
    files: BTreeMap<u64, SimFile>,
    next_file: u64,
    names: Names,
    durable_names: Names,
    pending: Vec<NameOp>,
    locks: BTreeSet<PathBuf>,
    mounts: BTreeSet<PathBuf>,
    capacity: Option<u64>,
    read_only: bool,
    no_hard_links: bool,
    changes: u64,
    reads: u64,
    change_faults: BTreeMap<u64, Fault>,
    read_faults: BTreeMap<u64, Fault>,
    crashed: bool,
    boots: u64,
    unique: u64,
}

fn crashed() -> io::Error {
    io::Error::other("the simulated machine has stopped")
}

fn missing() -> io::Error {
    io::ErrorKind::NotFound.into()
}

impl Fault {
    fn error(self) -> io::Error {
        match self {
            Self::Eio => io::Error::other("injected input/output error"),
            Self::Full => io::ErrorKind::StorageFull.into(),
            Self::Crash => crashed(),
        }
    }
}

impl State {
    /// Counts a change; `Err` if it is to fail, after the caller did half of it if it is a write.
    fn change(&mut self) -> Result<(), io::Error> {
        if self.crashed {
            return Err(crashed());
        }
        let number = self.changes;
        self.changes = self.changes.saturating_add(1);
        if let Some(fault) = self.change_faults.remove(&number) {
            self.crashed = fault == Fault::Crash;
            return Err(fault.error());
        }
        if self.read_only {
            return Err(io::ErrorKind::ReadOnlyFilesystem.into());
        }
        Ok(())
    }

    fn look(&mut self) -> io::Result<()> {
        if self.crashed {
            return Err(crashed());
        }
        let number = self.reads;
        self.reads = self.reads.saturating_add(1);
        if let Some(fault) = self.read_faults.remove(&number) {
            self.crashed = fault == Fault::Crash;
            return Err(fault.error());
        }
        Ok(())
    }

    fn file_id(&self, path: &Path) -> io::Result<u64> {
        match self.names.get(path) {
            Some(Node::File(id)) => Ok(*id),
            Some(Node::Dir) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(missing()),
        }
    }

    fn is_dir(&self, path: &Path) -> bool {
        path.as_os_str().is_empty()
            || path.parent().is_none()
            || self.names.get(path) == Some(&Node::Dir)
    }

    fn add_name(&mut self, path: &Path, node: Node) -> io::Result<()> {
        if self.names.contains_key(path) || self.is_dir(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        if !self.is_dir(parent(path)) {
            return Err(missing());
        }
        self.name_op(NameOp::Add(path.to_path_buf(), node));
        Ok(())
    }

    fn name_op(&mut self, op: NameOp) {
        op.apply(&mut self.names);
        self.pending.push(op);
    }

    fn used(&self) -> u64 {
        let linked: BTreeSet<u64> = self.names.values().filter_map(Node::file).collect();
        linked
            .iter()
            .filter_map(|id| self.files.get(id))
            .fold(0, |sum: u64, file| {
                sum.saturating_add(file.data.len() as u64)
            })
    }

    fn mount_of(&self, path: &Path) -> Option<&PathBuf> {
        self.mounts
            .iter()
            .rev()
            .find(|mount| path.starts_with(mount))
    }

    /// Forgets files that no name can lead to any more.
    fn collect_garbage(&mut self) {
        let mut live: BTreeSet<u64> = self.names.values().filter_map(Node::file).collect();
        live.extend(self.durable_names.values().filter_map(Node::file));
        for op in &self.pending {
            if let NameOp::Add(_, node) | NameOp::Rename(_, _, node) = op {
                live.extend(node.file());
            }
        }
        self.files
            .retain(|id, file| live.contains(id) || Arc::strong_count(&file.handles) > 1);
    }

    fn lose_power(&mut self, draw: &mut Draw) {
        let kept = draw.up_to(self.pending.len());
        let pending = std::mem::take(&mut self.pending);
        for op in pending.iter().take(kept) {
            op.apply(&mut self.durable_names);
        }
        let mut names = std::mem::take(&mut self.durable_names);
        loop {
            // A name whose directory was lost cannot be reached.
            let before = names.len();
            let dirs: BTreeSet<PathBuf> = names
                .iter()
                .filter(|(_, node)| **node == Node::Dir)
                .map(|(path, _)| path.clone())
                .collect();
            names.retain(|path, _| {
                let dir = parent(path);
                dir.as_os_str().is_empty() || dir.parent().is_none() || dirs.contains(dir)
            });
            if names.len() == before {
                break;
            }
        }
        self.names.clone_from(&names);
        self.durable_names = names;
        self.collect_garbage();
        for file in self.files.values_mut() {
            if file.dirty_from.take().is_some() {
                file.durable = draw.mix(&file.durable, &file.data);
                file.data.clone_from(&file.durable);
            }
        }
    }
}

impl Node {
    fn file(&self) -> Option<u64> {
        match self {
            Self::File(id) => Some(*id),
            Self::Dir => None,
        }
    }
}

/// The choices of a crash.
struct Draw(Option<blake3::OutputReader>);

impl Draw {
    /// A number from 0 to `max`, both included; always 0 if nothing unsynced is kept.
    fn up_to(&mut self, max: usize) -> usize {
        let Some(output) = &mut self.0 else { return 0 };
        let mut bytes = [0; 8];
        output.fill(&mut bytes);
        let range = (max as u64).saturating_add(1);
        usize::try_from(u64::from_le_bytes(bytes) % range).unwrap_or(0)
    }

    /// What is on the disk of a file that was `old` when last synced and is `new` in memory.
    fn mix(&mut self, old: &[u8], new: &[u8]) -> Vec<u8> {
        let (short, long) = (old.len().min(new.len()), old.len().max(new.len()));
        let len = match self.up_to(3) {
            0 => old.len(),
            1 => new.len(),
            _ => short.saturating_add(self.up_to(long.saturating_sub(short))),
        };
        // All sectors, none, or a coin for each.
        let style = self.up_to(3);
        let mut bytes = vec![0; len];
        for (index, sector) in bytes.chunks_mut(SECTOR).enumerate() {
            let kept = match style {
                0 => false,
                1 => true,
                _ => self.up_to(1) == 1,
            };
            let from = if kept { new } else { old };
            let start = index.saturating_mul(SECTOR).min(from.len());
            let available = &from[start..];
            let count = available.len().min(sector.len());
            sector[..count].copy_from_slice(&available[..count]);
        }
        bytes
    }
}

/// A disk in memory. Clones share it, as processes share a machine.
///
/// It counts operations that change something ([`SimDisk::changes`]); a fault can be set for each of them, so that a test
/// can stop the machine at every point of a run. After a crash, [`SimDisk::restart`] decides what is left; handles and
/// locks from before are dead. Everything is deterministic.
#[derive(Debug, Clone, Default)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
}

impl SimDisk {
    /// An empty disk.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Number of operations so far that change something, failed ones included.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.state().changes
    }

    /// Number of reads and look-ups so far.
    #[must_use]
    pub fn reads(&self) -> u64 {
        self.state().reads
    }

    /// Makes the change with this number (counted from 0 since the disk was made) fail.
    pub fn fail_change(&self, number: u64, fault: Fault) {
        self.state().change_faults.insert(number, fault);
    }

    /// Makes the read or look-up with this number fail.
    pub fn fail_read(&self, number: u64, fault: Fault) {
        self.state().read_faults.insert(number, fault);
    }

    /// Removes all faults that have not happened yet.
    pub fn clear_faults(&self) {
        let mut state = self.state();
        state.change_faults.clear();
        state.read_faults.clear();
    }

    /// Limits the bytes of all files together; `None` for no limit. A write that does not fit is done as far as it fits.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.state().capacity = bytes;
    }

    /// Bytes of all files together.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.state().used()
    }

    /// Makes the file system read-only, or writable again.
    pub fn set_read_only(&self, read_only: bool) {
        self.state().read_only = read_only;
    }

    /// Makes it a file system without hard links, or with them again.
    pub fn set_hard_links(&self, supported: bool) {
        self.state().no_hard_links = !supported;
    }

    /// Declares that `dir` is another file system: renaming across it fails with `CrossesDevices`.
    pub fn mount(&self, dir: &Path) {
        self.state().mounts.insert(dir.to_path_buf());
    }

    /// Stops the machine: every operation fails until [`SimDisk::restart`].
    pub fn crash(&self) {
        self.state().crashed = true;
    }

    /// Whether the machine has stopped.
    #[must_use]
    pub fn has_crashed(&self) -> bool {
        self.state().crashed
    }

    /// Starts the machine again after a crash (or kills all processes now) with what `style` leaves.
    pub fn restart(&self, style: CrashStyle) {
        let mut state = self.state();
        match style {
            CrashStyle::ProcessOnly => {}
            CrashStyle::LoseUnsynced => state.lose_power(&mut Draw(None)),
            CrashStyle::Torn(seed) => {
                let output = blake3::Hasher::new_keyed(&seed).finalize_xof();
                state.lose_power(&mut Draw(Some(output)));
            }
        }
        state.crashed = false;
        state.boots = state.boots.saturating_add(1);
        state.locks.clear();
    }

    /// The bytes of a file as a process would read them; `None` if there is no such file.
    #[must_use]
    pub fn contents(&self, path: &Path) -> Option<Vec<u8>> {
        let state = self.state();
        let id = state.file_id(path).ok()?;
        state.files.get(&id).map(|file| file.data.clone())
    }

    /// Sets the bytes of a file, durably, making it and its directories if they are not there. Not counted as a change.
    pub fn put(&self, path: &Path, bytes: &[u8]) {
        let mut state = self.state();
        let id = state.file_id(path).unwrap_or_else(|_| {
            let id = state.next_file;
            state.next_file = id.saturating_add(1);
            id
        });
        let mut names = vec![(path.to_path_buf(), Node::File(id))];
        let mut dir = parent(path);
        while !dir.as_os_str().is_empty() && dir.parent().is_some() {
            names.push((dir.to_path_buf(), Node::Dir));
            dir = parent(dir);
        }
        state.names.extend(names.iter().cloned());
        state.durable_names.extend(names);
        let file = SimFile {
            data: bytes.to_vec(),
            durable: bytes.to_vec(),
            ..SimFile::default()
        };
        state.files.insert(id, file);
    }

    /// Flips the bits of `mask` in the byte at `offset` of a file, durably: the disk rots. Says whether there is such a byte.
    #[must_use]
    pub fn corrupt(&self, path: &Path, offset: usize, mask: u8) -> bool {
        let mut state = self.state();
        let Ok(id) = state.file_id(path) else {
            return false;
        };
        let Some(file) = state.files.get_mut(&id) else {
            return false;
        };
        if let Some(byte) = file.durable.get_mut(offset) {
            *byte ^= mask;
        }
        match file.data.get_mut(offset) {
            Some(byte) => {
                *byte ^= mask;
                true
            }
            None => false,
        }
    }
}

#[derive(Debug)]
struct SimHandle {
    disk: SimDisk,
    id: u64,
    boots: u64,
    writable: bool,
    _open: Arc<()>,
}

impl SimHandle {
    fn changing(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.alive()?;
        if !self.writable {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        Ok(state)
    }

    fn alive(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.disk.state();
        if state.boots != self.boots {
            return Err(crashed());
        }
        Ok(state)
    }
}

impl DiskFile for SimHandle {
    fn size(&mut self) -> io::Result<u64> {
        let mut state = self.alive()?;
        state.look()?;
        let file = state.files.get(&self.id).ok_or_else(missing)?;
        Ok(file.data.len() as u64)
    }

    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut state = self.alive()?;
        state.look()?;
        let file = state.files.get(&self.id).ok_or_else(missing)?;
        let start = usize::try_from(offset)
            .unwrap_or(usize::MAX)
            .min(file.data.len());
        let available = &file.data[start..];
        let count = available.len().min(buffer.len());
        buffer[..count].copy_from_slice(&available[..count]);
        Ok(count)
    }

    fn write_all_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.changing()?;
        if state.crashed || state.read_only {
            return state.change();
        }
        let result = state.change();
        let used = state
            .capacity
            .map(|capacity| capacity.saturating_sub(state.used()));
        let file = state.files.get_mut(&self.id).ok_or_else(missing)?;
        let start =
            usize::try_from(offset).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
        let end = start.saturating_add(bytes.len());
        let mut count = if result.is_err() {
            bytes.len() / 2
        } else {
            bytes.len()
        };
        let mut full = false;
        if let Some(free) = used {
            let room = file
                .data
                .len()
                .saturating_add(usize::try_from(free).unwrap_or(usize::MAX));
            if end > room {
                count = count.min(room.saturating_sub(start));
                full = true;
            }
        }
        if count > 0 {
            let end = start.saturating_add(count);
            file.touch(start.min(file.data.len()));
            if file.data.len() < end {
                file.data.resize(end, 0);
            }
            file.data[start..end].copy_from_slice(&bytes[..count]);
        }
        result?;
        if full {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    fn set_size(&mut self, size: u64) -> io::Result<()> {
        let mut state = self.changing()?;
        state.change()?;
        let file = state.files.get_mut(&self.id).ok_or_else(missing)?;
        let size =
            usize::try_from(size).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
        if size != file.data.len() {
            file.touch(size.min(file.data.len()));
            file.data.resize(size, 0);
        }
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut state = self.changing()?;
        state.change()?;
        state.files.get_mut(&self.id).ok_or_else(missing)?.sync();
        Ok(())
    }
}

#[derive(Debug)]
struct SimLock {
    disk: SimDisk,
    path: PathBuf,
    boots: u64,
}

impl DiskLock for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        let mut state = self.disk.state();
        if state.boots == self.boots {
            state.locks.remove(&self.path);
        }
    }
}

impl Disk for SimDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.state();
        let id = if matches!(mode, OpenMode::CreateNew | OpenMode::CreatePublic) {
            state.change()?;
            let id = state.next_file;
            state.add_name(path, Node::File(id))?;
            state.next_file = id.saturating_add(1);
            state.files.insert(id, SimFile::default());
            id
        } else {
            state.look()?;
            if state.read_only && mode == OpenMode::ReadWrite {
                return Err(io::ErrorKind::ReadOnlyFilesystem.into());
            }
            state.file_id(path)?
        };
        let open = Arc::clone(&state.files.get(&id).ok_or_else(missing)?.handles);
        Ok(Box::new(SimHandle {
            _open: open,
            disk: self.clone(),
            id,
            boots: state.boots,
            writable: mode != OpenMode::Read,
        }))
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn DiskLock>>> {
        let mut state = self.state();
        if !state.names.contains_key(path) {
            state.change()?;
            let id = state.next_file;
            state.add_name(path, Node::File(id))?;
            state.next_file = id.saturating_add(1);
            state.files.insert(id, SimFile::default());
        }
        state.look()?;
        if state.read_only {
            return Err(io::ErrorKind::ReadOnlyFilesystem.into());
        }
        if !state.locks.insert(path.to_path_buf()) {
            return Ok(None);
        }
        Ok(Some(Box::new(SimLock {
            disk: self.clone(),
            path: path.to_path_buf(),
            boots: state.boots,
        })))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.change()?;
        state.add_name(path, Node::Dir)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        let mut state = self.state();
        state.look()?;
        Ok(state.is_dir(path) || state.names.contains_key(path))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        let mut state = self.state();
        state.look()?;
        if !state.is_dir(dir) {
            return Err(missing());
        }
        let mut entries = Vec::new();
        for (path, node) in &state.names {
            if let (Some(id), Some(name)) = (node.file(), path.file_name())
                && parent(path) == dir
            {
                entries.push(DirEntry {
                    name: name.to_os_string(),
                    size: state
                        .files
                        .get(&id)
                        .map_or(0, |file| file.data.len() as u64),
                });
            }
        }
        entries.sort();
        Ok(entries)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.change()?;
        let id = state.file_id(from)?;
        if !state.is_dir(parent(to)) {
            return Err(missing());
        }
        if state.mount_of(from) != state.mount_of(to) {
            return Err(io::ErrorKind::CrossesDevices.into());
        }
        state.name_op(NameOp::Rename(
            from.to_path_buf(),
            to.to_path_buf(),
            Node::File(id),
        ));
        Ok(())
    }

    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.change()?;
        if state.no_hard_links {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let id = state.file_id(from)?;
        state.add_name(to, Node::File(id))
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.change()?;
        state.file_id(path)?;
        state.name_op(NameOp::Remove(path.to_path_buf()));
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.change()?;
        if !state.is_dir(dir) {
            return Err(missing());
        }
        let pending = std::mem::take(&mut state.pending);
        for op in pending {
            if op.concerns(dir) {
                op.apply(&mut state.durable_names);
            } else {
                state.pending.push(op);
            }
        }
        state.collect_garbage();
        Ok(())
    }

    fn unique(&self) -> u64 {
        let mut state = self.state();
        state.unique = state.unique.saturating_add(1);
        state.unique
    }
}
