use std::io;
use std::sync::Condvar;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use veilsum_params::ClientId;
use veilsum_store::{DirEntry, DiskFile, DiskLock, OpenMode, RealDisk};

use super::*;
use crate::keys::{ClientKeys, RegistrarKeys};

const PATIENCE: Duration = Duration::from_secs(120);

/// A disk on which whoever opens a file with a roster waits until it is let through.
#[derive(Debug, Default)]
struct Gate {
    opened: AtomicUsize,
    shut: Mutex<bool>,
    changed: Condvar,
}

impl Gate {
    fn set(&self, shut: bool) {
        *lock(&self.shut) = shut;
        self.changed.notify_all();
    }

    fn opened(&self) -> usize {
        self.opened.load(Ordering::SeqCst)
    }

    fn until_opened(&self, count: usize) {
        let opened = |_: u32| {
            std::thread::sleep(Duration::from_millis(1));
            self.opened() >= count
        };
        assert!((0..120_000).any(opened), "nobody opens a file");
    }
}

impl Disk for Gate {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Box<dyn DiskFile>> {
        self.opened.fetch_add(1, Ordering::SeqCst);
        let shut = lock(&self.shut);
        drop(
            self.changed
                .wait_timeout_while(shut, PATIENCE, |shut| *shut),
        );
        RealDisk.open(path, mode)
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

fn rng(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}

/// A roster of one registrar.
fn roster(version: u64, client: u32) -> Arc<Roster> {
    let registrar = RegistrarKeys::generate(&mut rng(1));
    let keys = ClientKeys::generate(ClientId(client), 1, &mut rng(client.into()));
    let mut content = RosterContent::first(1, vec![keys.entry()]);
    content.version = version;
    let signed = registrar.sign_content(content);
    Arc::new(Roster::verify(signed, &registrar.public()).unwrap())
}

struct World {
    dir: tempfile::TempDir,
    gate: Arc<Gate>,
    rosters: Arc<Rosters>,
}

impl World {
    /// Version 2 is the newest.
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let gate = Arc::new(Gate::default());
        let rosters = Rosters::open(gate.clone(), dir.path(), roster(2, 2)).unwrap();
        gate.opened.store(0, Ordering::SeqCst);
        let rosters = Arc::new(rosters);
        Self { dir, gate, rosters }
    }

    fn dir(&self, round_id: u64) -> PathBuf {
        self.dir.path().join(round_id.to_string())
    }

    /// A round that is over.
    fn add(&self, round_id: u64, document: &Document) {
        std::fs::create_dir(self.dir(round_id)).unwrap();
        let path = self.dir(round_id).join(ROSTER_FILE);
        std::fs::write(path, document.to_file()).unwrap();
    }

    async fn ask(&self, round_id: u64) -> Asked {
        let (disk, dirs) = (Arc::clone(&self.gate), vec![self.dir(round_id)]);
        self.rosters.of_past(disk, round_id, dirs).await
    }

    async fn bytes(&self, round_id: u64) -> Arc<[u8]> {
        match self.ask(round_id).await {
            Asked::Roster(bytes) => bytes,
            Asked::Later => unreachable!("there is room"),
            Asked::Unknown => unreachable!("there is a file"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_asks_for_old_rosters_has_one_file_read_at_a_time_and_one_copy_held() {
    let world = World::new();
    let old = roster(1, 1);
    for round_id in [1, 2] {
        world.add(round_id, &Document::roster(&old));
    }
    // Peers that go away do not have the file read again and again behind them.
    world.gate.set(true);
    for _ in 0..8 {
        let asked = tokio::time::timeout(Duration::from_millis(20), world.ask(1));
        assert!(asked.await.is_err());
    }
    assert_eq!(world.gate.opened(), 1);
    world.gate.set(false);
    let first = world.bytes(1).await;
    assert_eq!(first[..], old.signed().to_bytes());
    assert_eq!(world.gate.opened(), 1);
    for round_id in [2, 2, 1] {
        let again = world.bytes(round_id).await;
        assert!(Arc::ptr_eq(&first, &again), "round {round_id}");
    }
    assert_eq!(world.gate.opened(), 2);
    // Nor is the newest one held twice.
    world.add(3, &Document::roster(&roster(2, 2)));
    let newest = world.bytes(3).await;
    assert!(Arc::ptr_eq(&newest, &world.rosters.current_bytes()));
    // No signature is checked for it: that is for the client.
    let mut unsigned = old.signed().clone();
    unsigned.content.version = 7;
    let unsigned = Document::RosterOf {
        registrar: old.registrar().to_bytes(),
        roster: unsigned,
    };
    world.add(4, &unsigned);
    let sent = world.bytes(4).await;
    let sent = Signed::<RosterContent>::from_bytes(&sent).unwrap();
    assert!(Roster::verify(sent, old.registrar()).is_err());
    assert!(matches!(world.ask(5).await, Asked::Unknown));
}

#[tokio::test(flavor = "multi_thread")]
async fn old_rosters_that_are_being_sent_take_bounded_memory() {
    let world = World::new();
    let len = roster(1, 1).signed().to_bytes().len();
    lock(&world.rosters.known).past_bytes_max = 2 * len;
    for round_id in 11..=14 {
        let client = u32::try_from(round_id).unwrap();
        world.add(round_id, &Document::roster(&roster(1, client)));
    }
    let (slow, other) = (world.bytes(11).await, world.bytes(12).await);
    assert!(matches!(world.ask(13).await, Asked::Later));
    assert!(Arc::ptr_eq(&slow, &world.bytes(11).await));
    // Those that nobody is sent are forgotten first.
    drop(other);
    let next = world.bytes(13).await;
    assert!(matches!(world.ask(14).await, Asked::Later));
    assert!(Arc::ptr_eq(&slow, &world.bytes(11).await));
    drop((slow, next));
    world.bytes(14).await;
    assert_eq!(lock(&world.rosters.known).past.len(), 2);
    // Nor are there many small ones.
    let mut known = lock(&world.rosters.known);
    known.past_bytes_max = usize::MAX;
    for client in 20..200 {
        let encoded = Encoded::new(roster(1, client).signed());
        assert!(known.add_past(client.into(), encoded).is_some());
    }
    assert_eq!(known.past.len(), PAST_MAX);
}

/// Does something while another thread waits for the disk.
fn meanwhile(
    world: &World,
    slow: impl FnOnce(&Rosters) -> Result<(), ServerError> + Send + 'static,
) {
    world.gate.set(true);
    let before = world.gate.opened();
    let rosters = Arc::clone(&world.rosters);
    let working = std::thread::spawn(move || slow(&rosters));
    world.gate.until_opened(before + 1);
    let (done, answered) = mpsc::channel();
    let rosters = Arc::clone(&world.rosters);
    let asking = std::thread::spawn(move || {
        let newest = rosters.current();
        done.send((rosters.current_bytes(), rosters.bytes_of(&newest.digest())))
    });
    let answer = answered.recv_timeout(PATIENCE / 2);
    world.gate.set(false);
    working.join().unwrap().unwrap();
    asking.join().unwrap().unwrap();
    let (bytes, same) = answer.expect("requests are answered while the disk is slow");
    assert!(Arc::ptr_eq(&bytes, &same.unwrap()));
}

#[test]
fn no_request_waits_for_the_disk_of_another_rosters_change() {
    let world = World::new();
    meanwhile(&world, |rosters| rosters.replace(roster(3, 3)));
    assert_eq!(world.rosters.current().version(), 3);

    let old = roster(1, 1);
    world.add(1, &Document::roster(&old));
    let dir = world.dir(1);
    let disk = Arc::clone(&world.gate);
    let digest = old.digest();
    meanwhile(&world, move |rosters| {
        let found = rosters.of_digest(&*disk, &dir, &digest)?;
        assert_eq!(found.version(), 1);
        Ok(())
    });
    // Version 2 is of a round that is kept no more; 1 is.
    let two = roster(2, 2).digest();
    let all = |digest: &Digest| world.rosters.bytes_of(digest).is_some();
    assert_eq!((all(&two), all(&digest)), (true, true));
    world.rosters.retain(&BTreeSet::from([digest.0]));
    assert_eq!((all(&two), all(&digest)), (false, true));
    world.rosters.keep(&roster(2, 2));
    assert!(all(&two));
}
