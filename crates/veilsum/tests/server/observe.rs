//! What an operator asks while a round is busy.

use std::io;
use std::sync::{Condvar, Mutex, PoisonError};

use veilsum::store::{DirEntry, Disk, DiskFile, DiskLock, OpenMode};

use super::*;

/// Logs are durable only while it is open.
#[derive(Debug)]
struct Gate {
    /// Whether it is open, and how many wait.
    state: Mutex<(bool, u32)>,
    changed: Condvar,
}

impl Gate {
    fn set(&self, open: bool) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).0 = open;
        self.changed.notify_all();
    }

    fn waiting(&self) -> u32 {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).1
    }

    fn pass(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.1 += 1;
        while !state.0 {
            let woken = self.changed.wait(state);
            state = woken.unwrap_or_else(PoisonError::into_inner);
        }
        state.1 -= 1;
    }
}

/// The disk of the machine, with a gate.
#[derive(Debug)]
struct Gated(Arc<Gate>);

#[derive(Debug)]
struct GatedFile(Box<dyn DiskFile>, Option<Arc<Gate>>);

impl DiskFile for GatedFile {
    fn size(&mut self) -> io::Result<u64> {
        self.0.size()
    }
    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read_at(offset, buffer)
    }
    fn write_all_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(offset, bytes)
    }
    fn set_size(&mut self, size: u64) -> io::Result<()> {
        self.0.set_size(size)
    }
    fn sync(&mut self) -> io::Result<()> {
        if let Some(gate) = &self.1 {
            gate.pass();
        }
        self.0.sync()
    }
}

impl Disk for Gated {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Box<dyn DiskFile>> {
        // A log is made under another name, and keeps its handle.
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let gate = name.contains("log").then(|| Arc::clone(&self.0));
        Ok(Box::new(GatedFile(RealDisk.open(path, mode)?, gate)))
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

/// Whatever holds a round for long, as the opening of a large sum: its log that is being written is one that can be held.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn nobody_who_looks_at_a_busy_round_keeps_a_thread_of_the_server() {
    let dir = tempfile::tempdir().unwrap();
    let gate = Arc::new(Gate {
        state: Mutex::new((true, 0)),
        changed: Condvar::new(),
    });
    let disk: Arc<dyn Disk> = Arc::new(Gated(Arc::clone(&gate)));
    let mut world = World::new(dir.path(), |options| options.disk = disk);
    let options = world.client_options(&world.clients[0], dir.path());
    let observer = world.server.observer();
    // Ends a test that hangs: then what must not have waited has.
    let ends = Arc::clone(&gate);
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_secs(60));
        ends.set(true);
    });
    let test = async move {
        let mut client = Client::open(options).await.unwrap();
        let round = client.join(0).await.unwrap();
        gate.set(false);
        let busy = async {
            while gate.waiting() == 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            assert!(observer.is_healthy());
            let look = tokio::time::timeout(Duration::from_millis(500), observer.status());
            assert!(
                look.await.is_err(),
                "the round was not busy, or this thread waited"
            );
            assert!(observer.is_healthy());
            assert!(gate.waiting() > 0);
            gate.set(true);
            observer.status().await
        };
        let x = vec![1; 10].into();
        let (sent, seen) = tokio::join!(client.contribute(&round, MODEL, x), busy);
        sent.unwrap();
        assert_eq!(seen[0].round.as_ref().unwrap().round, 1);
    };
    tokio::select! {
        () = test => {}
        ended = world.server.run(world.params.clone(), |_| {}) => panic!("{ended:?}"),
    }
}
