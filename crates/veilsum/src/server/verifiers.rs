use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rayon::{ThreadPool, ThreadPoolBuilder};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::error::ServerError;

/// MiB that verifications may take at one time; one that takes more is done alone.
const MEMORY_MIB: u32 = 512;

/// What a verification holds at most for each byte of the body: the bytes, what is decoded of them, and the coordinates as
/// words while they are summed (measured: `specs/benchmarks.md`, "Load and attacks").
const BYTES_FOR_EACH: u64 = 10;

/// The threads that verify contributions, each one contribution at a time.
///
/// A verification alone is fastest on all threads; many are done with the least work on one thread each, as a
/// multiplication that is not cut up pays for its buckets once (`specs/benchmarks.md`).
pub(super) struct Verifiers {
    turns: Arc<Semaphore>,
    /// In MiB, so that many threads with large bodies do not take what the machine does not have.
    memory: Arc<Semaphore>,
    idle: Mutex<Vec<ThreadPool>>,
}

impl Verifiers {
    /// So many threads, but at least one.
    ///
    /// # Errors
    /// [`ServerError::Threads`] if the system does not give them.
    pub(super) fn new(count: usize) -> Result<Self, ServerError> {
        let count = count.max(1);
        let thread = |number: usize| {
            ThreadPoolBuilder::new()
                .num_threads(1)
                .thread_name(move |_| format!("verifier-{number}"))
                .build()
        };
        let idle: Result<Vec<ThreadPool>, _> = (0..count).map(thread).collect();
        let idle = idle.map_err(|_| ServerError::Threads { count })?;
        Ok(Self {
            turns: Arc::new(Semaphore::new(idle.len())),
            memory: Arc::new(Semaphore::new(MEMORY_MIB as usize)),
            idle: Mutex::new(idle),
        })
    }

    /// Waits for a thread, and for memory for a body of `len` bytes, first come, first served; none if they are shut down.
    pub(super) async fn turn(self: &Arc<Self>, len: u64) -> Option<Turn> {
        let mib = len.saturating_mul(BYTES_FOR_EACH) >> 20;
        let mib = u32::try_from(mib).unwrap_or(u32::MAX).min(MEMORY_MIB);
        let memory = Arc::clone(&self.memory).acquire_many_owned(mib).await;
        let memory = memory.ok()?;
        let permit = Arc::clone(&self.turns).acquire_owned().await.ok()?;
        let lent = Lent {
            thread: self.idle().pop(),
            verifiers: Arc::clone(self),
            _permit: permit,
        };
        Some(Turn { lent, memory })
    }

    fn idle(&self) -> MutexGuard<'_, Vec<ThreadPool>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One of the [`Verifiers`], and memory for its work.
pub(super) struct Turn {
    lent: Lent,
    memory: OwnedSemaphorePermit,
}

impl Turn {
    /// Does the work on the thread, waits for it and gives the thread back. The memory is held until what comes with the
    /// outcome is dropped.
    pub(super) fn run<T: Send>(self, work: impl FnOnce() -> T + Send) -> (T, OwnedSemaphorePermit) {
        let outcome = match &self.lent.thread {
            Some(thread) => thread.install(work),
            None => work(),
        };
        (outcome, self.memory)
    }
}

/// A thread, taken until this is dropped.
struct Lent {
    /// There is one for each permit.
    thread: Option<ThreadPool>,
    verifiers: Arc<Verifiers>,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Lent {
    fn drop(&mut self) {
        // Before the permit, so that who takes it finds the thread.
        self.verifiers.idle().extend(self.thread.take());
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::time::Duration;

    use super::*;

    fn name(turn: Turn) -> String {
        let name = || std::thread::current().name().unwrap_or_default().to_owned();
        turn.run(name).0
    }

    #[tokio::test]
    async fn each_turn_has_one_thread_of_its_own_and_gives_it_back() {
        let verifiers = Arc::new(Verifiers::new(2).unwrap());
        let all = BTreeSet::from(["verifier-0".to_owned(), "verifier-1".to_owned()]);
        for _ in 0..3 {
            let (one, two) = (
                verifiers.turn(0).await.unwrap(),
                verifiers.turn(0).await.unwrap(),
            );
            assert_eq!(verifiers.turns.available_permits(), 0);
            assert_eq!(BTreeSet::from([name(one), name(two)]), all);
            let turn = verifiers.turn(0).await.unwrap();
            assert_eq!(turn.run(rayon::current_num_threads).0, 1);
        }
        assert_eq!(verifiers.turns.available_permits(), 2);
    }

    #[tokio::test]
    async fn a_panic_takes_no_thread_away() {
        let verifiers = Arc::new(Verifiers::new(0).unwrap());
        let turn = verifiers.turn(0).await.unwrap();
        let ended = catch_unwind(AssertUnwindSafe(move || turn.run(|| panic!("on purpose"))));
        assert!(ended.is_err());
        assert_eq!(name(verifiers.turn(0).await.unwrap()), "verifier-0");
    }

    async fn waits(verifiers: &Arc<Verifiers>, len: u64) {
        let turn = tokio::time::timeout(Duration::from_millis(50), verifiers.turn(len));
        assert!(turn.await.is_err());
    }

    #[tokio::test]
    async fn large_bodies_wait_for_memory_and_the_largest_is_alone() {
        let verifiers = Arc::new(Verifiers::new(4).unwrap());
        let third = (u64::from(MEMORY_MIB) << 20) / BYTES_FOR_EACH / 3;
        let both = (verifiers.turn(third).await, verifiers.turn(2 * third).await);
        waits(&verifiers, third).await;
        drop(both);
        // Also while what was verified is stored, when the thread is free again.
        let (_, stored) = verifiers.turn(2 * third).await.unwrap().run(|| ());
        assert_eq!(verifiers.turns.available_permits(), 4);
        waits(&verifiers, 2 * third).await;
        drop(stored);
        let alone = verifiers.turn(u64::MAX).await;
        assert!(alone.is_some());
        waits(&verifiers, 1 << 20).await;
        assert!(verifiers.turn(1000).await.is_some());
    }
}
