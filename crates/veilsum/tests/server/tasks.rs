//! A task that is busy keeps no other waiting.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use veilsum::store::{DirEntry, Disk, DiskFile, DiskLock, OpenMode};

use super::*;

/// The machine's disk, on which the log of one round is not written as long as the test says so.
#[derive(Clone, Debug, Default)]
pub(super) struct Stuck {
    pub(super) round: PathBuf,
    pub(super) stuck: Arc<AtomicBool>,
    pub(super) waiting: Arc<AtomicU32>,
}

/// Lets everybody go on when the test is over, however it ends.
struct Unstuck(Stuck);

impl Drop for Unstuck {
    fn drop(&mut self) {
        self.0.stuck.store(false, Ordering::SeqCst);
    }
}

#[derive(Debug)]
struct StuckFile(Box<dyn DiskFile>, Stuck);

impl DiskFile for StuckFile {
    fn size(&mut self) -> io::Result<u64> {
        self.0.size()
    }
    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read_at(offset, buffer)
    }
    fn write_all_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.1.waiting.fetch_add(1, Ordering::SeqCst);
        while self.1.stuck.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(5));
        }
        self.1.waiting.fetch_sub(1, Ordering::SeqCst);
        self.0.write_all_at(offset, bytes)
    }
    fn set_size(&mut self, size: u64) -> io::Result<()> {
        self.0.set_size(size)
    }
    fn sync(&mut self) -> io::Result<()> {
        self.0.sync()
    }
}

impl Disk for Stuck {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Box<dyn DiskFile>> {
        let file = RealDisk.open(path, mode)?;
        // A new log is written under a name that only its first writer knows.
        let name = path.file_name().unwrap().to_str().unwrap();
        let is_log = path.parent() == Some(&self.round)
            && name.trim_start_matches(".tmp-").starts_with("log");
        Ok(match is_log {
            true => Box::new(StuckFile(file, self.clone())),
            false => file,
        })
    }
    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn DiskLock>>> {
        RealDisk.lock(path)
    }
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        RealDisk.create_dir(path)
    }
    fn exists(&self, path: &Path) -> io::Result<bool> {
        RealDisk.exists(path)
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        RealDisk.list(dir)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealDisk.rename(from, to)
    }
    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealDisk.hard_link(from, to)
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove_file(path)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        RealDisk.sync_dir(dir)
    }
    fn unique(&self) -> u64 {
        RealDisk.unique()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_whose_round_is_busy_keeps_no_other_waiting() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Stuck {
        round: dir.path().join("busy/rounds/1"),
        ..Stuck::default()
    };
    let of_server = disk.clone();
    let world = World::new(dir.path(), |options| {
        options.disk = Arc::new(of_server);
        options.verifiers = 1;
    });
    let task = |name: &str| {
        let state = dir.path().join(name);
        world.server.task(name.parse().unwrap(), state).unwrap()
    };
    let (mut busy, mut free) = (task("busy"), task("free"));
    let (one, two) = (world.params.clone(), world.round(2, 10));
    let context = RoundContext::new(one.clone(), Arc::clone(&world.roster)).unwrap();
    let observer = world.server.observer();
    let busy = tokio::spawn(async move { busy.run(one, |_| {}).await });
    let free = tokio::spawn(async move { free.run(two, |_| {}).await });
    while observer
        .status()
        .await
        .iter()
        .any(|task| task.round.is_none())
    {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }

    let _unstuck = Unstuck(disk.clone());
    // One contribution is verified and cannot be written: its round is busy, as it is while the sum is opened.
    disk.stuck.store(true, Ordering::SeqCst);
    let options = |place: usize, state: &str| {
        world.client_options(&world.clients[place], &dir.path().join(state))
    };
    let first = tokio::spawn(take_part_in(options(0, "of-busy"), "busy"));
    while disk.waiting.load(Ordering::SeqCst) == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // Others come for the same round, and more ask how it is than there are threads.
    let (header, body) = of_wrong_degree(&context, &world.clients[1]);
    let mut waiting = Vec::new();
    for number in 0..20 {
        let requests = Requests::new(world.connection(), PATIENCE);
        let (header, body) = (header.clone(), Arc::clone(&body));
        waiting.push(tokio::spawn(async move {
            match number {
                0..3 => drop(requests.submit(1, &header, body).await),
                _ => drop(requests.status().await),
            }
        }));
    }
    tokio::time::sleep(Duration::from_millis(500)).await;

    let clients = (0..4).map(|place| tokio::spawn(take_part_in(options(place, "of-free"), "free")));
    let clients: Vec<_> = clients.collect();
    let report = tokio::time::timeout(PATIENCE, free).await;
    let report = report.expect("the other task waits").unwrap().unwrap();
    assert_eq!((report.round_id, report.accepted), (2, 4));
    assert!(disk.stuck.load(Ordering::SeqCst) && !first.is_finished() && !busy.is_finished());
    for client in clients {
        client.await.unwrap().unwrap();
    }
    disk.stuck.store(false, Ordering::SeqCst);
    for waiting in waiting {
        waiting.await.unwrap();
    }
    first.abort();
    busy.abort();
}
