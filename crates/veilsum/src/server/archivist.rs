//! Who answers for rounds that are over: from memory what was asked for lately, else from their files, one at a time and no
//! more for one address than its share.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Duration, Instant, sleep_until};
use veilsum_crypto::Digest;
use veilsum_params::ClientId;
use veilsum_store::Disk;
use veilsum_transport::Origin;

use super::archive::Answers;
use crate::requests::WAIT;

/// Bytes of rounds that are over and kept in memory all the same, because they were asked for; the last is kept anyway.
const KEPT_MAX: usize = 1 << 28;
/// Bytes of files that are read for one address in a second, on average: whoever asks for one round after another, without
/// having shown who it is, waits.
const READ_RATE: u64 = 8 << 20;
/// From so many addresses on, those for which nothing was read lately are forgotten.
const REMEMBERED: usize = 1 << 12;

/// What there is to be answered.
#[derive(Debug)]
pub(super) enum Kept {
    Answers(Arc<Answers>),
    /// No such round is in a file.
    Nothing,
    /// Too much was read for this address already.
    Later,
}

/// Until when an address has used up its share.
#[derive(Debug)]
struct Shares {
    used: Mutex<BTreeMap<Origin, Instant>>,
    /// See [`READ_RATE`].
    rate: u64,
}

impl Shares {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Origin, Instant>> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn used_until(&self, origin: Origin) -> Option<Instant> {
        let until = self.lock().get(&origin).copied();
        until.filter(|until| *until > Instant::now())
    }

    fn charge(&self, origin: Origin, bytes: u64) {
        let now = Instant::now();
        let mut shares = self.lock();
        if shares.len() >= REMEMBERED {
            shares.retain(|_, until| *until > now);
        }
        let cost = Duration::from_millis(bytes.saturating_mul(1000) / self.rate);
        let until = shares.entry(origin).or_insert(now);
        *until = (*until).max(now) + cost;
    }
}

/// Answers that somebody is still reading, who may take hours for them: nothing is read twice meanwhile, so that of each round
/// there is one copy in memory.
#[derive(Debug)]
struct Lent {
    entries: Vec<(ClientId, Digest)>,
    frame: [Weak<[u8]>; 2],
}

impl Lent {
    fn of(answers: &Answers) -> Option<Self> {
        match answers {
            Answers::Certified { entries, frame } => Some(Self {
                entries: entries.clone(),
                frame: frame.each_ref().map(Arc::downgrade),
            }),
            Answers::Void(_) => None,
        }
    }

    fn is_read(&self) -> bool {
        self.frame.iter().any(|part| part.strong_count() > 0)
    }

    fn whole(&self) -> Option<Arc<Answers>> {
        let [head, tail] = &self.frame;
        Some(Arc::new(Answers::Certified {
            entries: self.entries.clone(),
            frame: [head.upgrade()?, tail.upgrade()?],
        }))
    }
}

/// What is in memory.
#[derive(Debug, Default)]
struct Memory {
    /// The last at the end.
    recent: VecDeque<(u64, Arc<Answers>)>,
    lent: BTreeMap<u64, Lent>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Archivist {
    disk: Arc<dyn Disk>,
    memory: Mutex<Memory>,
    kept_max: usize,
    turn: Arc<Semaphore>,
    shares: Arc<Shares>,
}

impl Archivist {
    pub(super) fn new(disk: Arc<dyn Disk>) -> Self {
        Self::with_limits(disk, KEPT_MAX, READ_RATE)
    }

    fn with_limits(disk: Arc<dyn Disk>, kept_max: usize, rate: u64) -> Self {
        let used = Mutex::default();
        Self {
            disk,
            memory: Mutex::default(),
            kept_max,
            turn: Arc::new(Semaphore::new(1)),
            shares: Arc::new(Shares { used, rate }),
        }
    }

    fn recent(&self, id: u64) -> Option<Arc<Answers>> {
        let memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let found = memory.recent.iter().find(|(known, _)| *known == id);
        let kept = found.map(|(_, answers)| Arc::clone(answers));
        kept.or_else(|| memory.lent.get(&id)?.whole())
    }

    /// What is answered about the round, which may be in one of `dirs`. Who asks for what is in memory waits for nobody else's
    /// file, and uses up nothing.
    pub(super) async fn answers(&self, id: u64, dirs: Vec<PathBuf>, origin: Origin) -> Kept {
        let (found, turn) = match self.recent(id) {
            Some(found) => (Some(found), None),
            None => match self.turn_of(origin).await {
                Some(turn) => (self.recent(id), Some(turn)),
                None => return Kept::Later,
            },
        };
        let (disk, shares) = (Arc::clone(&self.disk), Arc::clone(&self.shares));
        let read = tokio::task::spawn_blocking(move || {
            // The next one waits until this file is read, even when nobody waits for this one any more.
            let _turn = turn;
            // Pruned since it was read: then it is answered for no more.
            let dir = dirs.iter().find(|dir| Answers::is_in(&*disk, dir))?;
            match found {
                Some(answers) => Some(answers),
                None => {
                    shares.charge(origin, Answers::bytes_in(&*disk, dir));
                    Answers::read(&*disk, dir).map(Arc::new)
                }
            }
        });
        let Ok(Some(answers)) = read.await else {
            self.keep(id, None);
            return Kept::Nothing;
        };
        self.keep(id, Some(&answers));
        Kept::Answers(answers)
    }

    /// The turn to read a file, as soon as the address has not used up its share; none when that takes too long.
    async fn turn_of(&self, origin: Origin) -> Option<OwnedSemaphorePermit> {
        let patience = Instant::now() + WAIT;
        loop {
            if let Some(until) = self.shares.used_until(origin) {
                // Who is told to ask again does so at once: the pause is made here.
                sleep_until(until.min(patience)).await;
                if until > patience {
                    return None;
                }
            }
            let turn = Arc::clone(&self.turn).acquire_owned().await.ok()?;
            // Another request from there may have been first.
            if self.shares.used_until(origin).is_none() {
                return Some(turn);
            }
        }
    }

    fn keep(&self, id: u64, answers: Option<&Arc<Answers>>) {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let Memory { recent, lent } = &mut *memory;
        recent.retain(|(known, _)| *known != id);
        if let Some(answers) = answers {
            recent.push_back((id, Arc::clone(answers)));
            if let Some(whole) = Lent::of(answers) {
                lent.insert(id, whole);
            }
        }
        let mut size: usize = recent.iter().map(|(_, answers)| answers.size()).sum();
        while size > self.kept_max && recent.len() > 1 {
            let oldest = recent.pop_front();
            size -= oldest.map_or(0, |(_, answers)| answers.size());
        }
        lent.retain(|_, answers| answers.is_read());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{IpAddr, SocketAddr};
    use std::path::Path;
    use veilsum_crypto::Digest;
    use veilsum_params::ClientId;
    use veilsum_store::{SimDisk, ensure_dir};
    use veilsum_transport::PeerInfo;

    /// Bytes of the answers of a round, and of what is read in a second.
    const LARGE: usize = 20_000;
    const RATE: u64 = 100_000;
    const SHARE: Duration = Duration::from_millis(200);
    /// What a file has beside its answers takes less.
    const MORE: Duration = Duration::from_millis(2);

    fn origin(last: u8) -> Origin {
        let addr = SocketAddr::new(IpAddr::from([10, 0, 0, last]), 1);
        PeerInfo {
            addr,
            connection: 1,
        }
        .origin()
    }

    /// Until when all that was read for an address uses up its share, be it over or not.
    fn paid_until(archivist: &Archivist, origin: Origin) -> Option<Instant> {
        archivist.shares.lock().get(&origin).copied()
    }

    /// Two rounds, each in a directory, and memory for one of them.
    fn archivist() -> (Archivist, [Vec<PathBuf>; 2]) {
        with_rate(RATE)
    }

    fn with_rate(rate: u64) -> (Archivist, [Vec<PathBuf>; 2]) {
        let disk = SimDisk::new();
        let dirs = ["/1", "/2"].map(|dir| vec![Path::new(dir).to_owned()]);
        for dir in dirs.iter().flatten() {
            ensure_dir(&disk, dir).unwrap();
            let answers = Answers::Certified {
                entries: vec![(ClientId(1), Digest([2; 32]))],
                frame: [vec![1; LARGE].into(), [].into()],
            };
            answers.write(&disk, dir).unwrap();
        }
        let archivist = Archivist::with_limits(Arc::new(disk), LARGE + 1000, rate);
        (archivist, dirs)
    }

    // Nobody's time passes but that which is slept.
    #[tokio::test(start_paused = true)]
    async fn who_asks_for_one_old_round_after_another_gets_no_more_than_its_share() {
        let (archivist, dirs) = archivist();
        let began = Instant::now();
        // What is in memory costs nothing.
        for _ in 0..100 {
            let found = archivist.answers(1, dirs[0].clone(), origin(1)).await;
            assert!(matches!(found, Kept::Answers(_)));
        }
        // The second round pushes out the first, and so on: each is read from its file.
        for turn in 1..=4 {
            let place = turn % 2;
            let found = archivist.answers(place as u64 + 1, dirs[place].clone(), origin(1));
            assert!(matches!(found.await, Kept::Answers(_)));
        }
        let all = 4 * SHARE..4 * (SHARE + MORE);
        assert!(all.contains(&began.elapsed()), "{:?}", began.elapsed());
        // All others have shares of their own.
        assert!(paid_until(&archivist, origin(1)).unwrap() >= began + 5 * SHARE);
        assert_eq!(paid_until(&archivist, origin(2)), None);
        let found = archivist.answers(2, dirs[1].clone(), origin(2)).await;
        assert!(matches!(found, Kept::Answers(_)));
    }

    #[tokio::test(start_paused = true)]
    async fn many_requests_at_once_from_one_address_read_no_more() {
        let (archivist, dirs) = archivist();
        let archivist = Arc::new(archivist);
        let began = Instant::now();
        let asked: Vec<_> = (0..20)
            .map(|n| {
                let (archivist, place) = (Arc::clone(&archivist), n % 2);
                let dirs = dirs[place].clone();
                let asked =
                    async move { archivist.answers(place as u64 + 1, dirs, origin(1)).await };
                tokio::spawn(asked)
            })
            .collect();
        for asked in asked {
            assert!(matches!(asked.await.unwrap(), Kept::Answers(_)));
        }
        // Each file that was read is paid for, however many asked for it at one time.
        let used_until = paid_until(&archivist, origin(1)).unwrap();
        assert!(used_until > began + SHARE);
        assert!(used_until <= Instant::now() + SHARE + MORE);
        // A round that is not there costs nothing and is told at once.
        let none = archivist.answers(3, vec!["/3".into()], origin(3)).await;
        assert!(matches!(none, Kept::Nothing));
    }

    /// Clients ask again as soon as they are told to.
    #[tokio::test(start_paused = true)]
    async fn who_has_used_up_more_than_is_waited_for_hears_it_after_the_wait() {
        let (archivist, dirs) = with_rate(RATE / 200);
        let found = archivist.answers(1, dirs[0].clone(), origin(1)).await;
        assert!(matches!(found, Kept::Answers(_)));
        let began = Instant::now();
        let found = archivist.answers(2, dirs[1].clone(), origin(1)).await;
        assert!(matches!(found, Kept::Later));
        assert!(began.elapsed() >= WAIT, "{:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn what_somebody_is_still_reading_is_not_read_again() {
        let (archivist, dirs) = archivist();
        let parts = |found| match found {
            Kept::Answers(answers) => match &*answers {
                Answers::Certified { frame, .. } => frame.clone(),
                Answers::Void(_) => panic!("void"),
            },
            _ => panic!("no answers"),
        };
        let slow = parts(archivist.answers(1, dirs[0].clone(), origin(1)).await);
        for _ in 0..3 {
            // Pushes the first out.
            parts(archivist.answers(2, dirs[1].clone(), origin(2)).await);
            let found = parts(archivist.answers(1, dirs[0].clone(), origin(3)).await);
            assert!(Arc::ptr_eq(&found[0], &slow[0]), "a second copy");
        }
        assert!(archivist.shares.used_until(origin(3)).is_none());
        // And nothing is kept for it when it was read.
        drop(slow);
        parts(archivist.answers(2, dirs[1].clone(), origin(2)).await);
        let memory = archivist.memory.lock().unwrap();
        assert_eq!(memory.lent.keys().collect::<Vec<_>>(), [&2]);
    }
}
