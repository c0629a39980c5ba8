//! What all requests to a server share: its tasks, their rounds, and the turns of those who wait.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Semaphore, watch};
use veilsum_params::UploadSizes;
use veilsum_protocol::{Outcome, RoundContext};
use veilsum_store::Disk;
use veilsum_transport::Origin;

use super::archive::Ending;
use super::archivist::{Archivist, Kept};
use super::claims::Claims;
use super::rosters::{Asked, Rosters};
use super::round::{Core, RoundRun};
use super::task::{TaskHome, TaskName};
use super::verifiers::Verifiers;
use super::{ServerError, round_dir};
use crate::requests::{WAIT, code, member_message_max};
use crate::status::{ServerStatus, TaskStatus};

/// See [`Shared::checking`].
const CHECKED_AT_ONCE: usize = 2;

/// Clients that are named in a status as awaited, at most.
const AWAITED_NAMED: usize = 32;

#[derive(Default)]
struct Tasks {
    homes: BTreeMap<TaskName, Arc<TaskHome>>,
    /// The newest rounds of all tasks, by id.
    rounds: BTreeMap<u64, Arc<RoundRun>>,
}

/// What all requests share.
pub(super) struct Shared {
    pub(super) rosters: Rosters,
    disk: Arc<dyn Disk>,
    tasks: Mutex<Tasks>,
    archivist: Archivist,
    pub(super) claims: Claims,
    /// The newest round of each task that has one.
    newest: watch::Sender<BTreeMap<TaskName, u64>>,
    /// Verifications at one time. First come, first served among those whose task has let them through; each client holds
    /// one place.
    pub(super) verifiers: Arc<Verifiers>,
    /// Requests that waited for their round and whose signatures are checked at one time.
    pub(super) checking: Semaphore,
}

impl Shared {
    pub(super) fn new(
        rosters: Rosters,
        disk: Arc<dyn Disk>,
        state: &Path,
        verifiers: usize,
    ) -> Result<Self, ServerError> {
        Ok(Self {
            rosters,
            archivist: Archivist::new(Arc::clone(&disk)),
            disk,
            tasks: Mutex::default(),
            claims: Claims::new(state),
            newest: watch::Sender::new(BTreeMap::new()),
            verifiers: Arc::new(Verifiers::new(verifiers)?),
            checking: Semaphore::new(CHECKED_AT_ONCE),
        })
    }

    fn tasks(&self) -> MutexGuard<'_, Tasks> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn register(
        &self,
        name: TaskName,
        state: PathBuf,
        verifiers: usize,
    ) -> Result<Arc<TaskHome>, ServerError> {
        let mut tasks = self.tasks();
        let taken = tasks
            .homes
            .values()
            .any(|home| home.name == name || home.state == state);
        if taken {
            let name = name.as_str().to_owned();
            return Err(ServerError::TaskTaken { name });
        }
        let home = Arc::new(TaskHome::new(name.clone(), state, verifiers));
        tasks.homes.insert(name, Arc::clone(&home));
        Ok(home)
    }

    pub(super) fn register_only(&self, home: &Arc<TaskHome>) {
        self.tasks()
            .homes
            .insert(home.name.clone(), Arc::clone(home));
    }

    /// Gives a round id to a task ([`Claims::claim`]). Blocks on the disk.
    pub(super) fn claim(
        &self,
        disk: &dyn Disk,
        round_id: u64,
        home: &TaskHome,
    ) -> Result<(), ServerError> {
        self.claims.claim(disk, round_id, home, &self.homes())
    }

    /// A task has no round to go on with: who waits for one need not.
    pub(super) fn settle(&self, home: &TaskHome) {
        home.settle();
        self.newest.send_modify(|_| {});
    }

    /// A round that is open from now on; of each task `kept` are kept.
    pub(super) fn add(&self, id: u64, run: &Arc<RoundRun>, kept: usize) {
        let name = run.task.name.clone();
        let mut tasks = self.tasks();
        tasks.rounds.insert(id, Arc::clone(run));
        run.task.settle();
        let own = tasks.rounds.iter().filter(|(_, run)| run.task.name == name);
        let own: Vec<u64> = own.map(|(id, _)| *id).collect();
        for old in own.iter().rev().skip(kept) {
            tasks.rounds.remove(old);
        }
        let rounds = tasks.rounds.values();
        let used = rounds.map(|run| run.context.roster().digest().0).collect();
        // Another task may have let go of it since it was read.
        self.rosters.keep(run.context.roster());
        self.rosters.retain(&used);
        drop(tasks);
        self.newest.send_modify(|newest| {
            newest.insert(name, id);
        });
    }

    pub(super) fn round(&self, id: u64) -> Option<Arc<RoundRun>> {
        self.tasks().rounds.get(&id).cloned()
    }

    /// Whether a round that is not open may be opened yet: some task has none, or an older one.
    pub(super) fn may_come(&self, id: u64) -> bool {
        let newest = self.newest.borrow().clone();
        let tasks = self.tasks();
        let passed = |name| newest.get(name).is_some_and(|newest| *newest > id);
        tasks.homes.is_empty() || !tasks.homes.keys().all(passed)
    }

    /// As [`Self::round`]; waits for a round that is not open yet, because after a restart clients come back before the
    /// server has read its log. Without a round it says why, in the code of an answer: that there is none, or, on a machine that
    /// takes its time, that nobody knows yet.
    pub(super) async fn round_soon(&self, id: u64) -> Result<Arc<RoundRun>, u16> {
        let mut newest = self.newest.subscribe();
        let known = newest.wait_for(|_| {
            let tasks = self.tasks();
            // Every task has taken up what it was at: then this round is over and gone, or never was.
            let settled = tasks.homes.values().all(|home| home.is_settled());
            tasks.rounds.contains_key(&id) || (settled && !tasks.homes.is_empty())
        });
        let known = matches!(tokio::time::timeout(WAIT, known).await, Ok(Ok(_)));
        let none = if known { code::NO_ROUND } else { code::AGAIN };
        self.round(id).ok_or(none)
    }

    /// Waits until every task has opened a round, has none to go on with, or is gone.
    pub(super) async fn settled(&self) {
        let mut newest = self.newest.subscribe();
        let all = |_: &_| self.tasks().homes.values().all(|home| home.is_settled());
        // The sender is a part of this: it is there as long as anybody asks.
        let _ = newest.wait_for(all).await;
    }

    /// Where the round of a number may be.
    fn dirs(&self, id: u64) -> Vec<PathBuf> {
        let tasks = self.tasks();
        let homes = tasks.homes.values();
        homes.map(|home| round_dir(&home.state, id)).collect()
    }

    /// How a round ended that is over and no longer in memory, until its directory is pruned. Whoever asks has not shown yet
    /// who it is: no result is read for it.
    pub(super) async fn ending(&self, id: u64) -> Option<Ending> {
        if self.round(id).is_some() {
            return None;
        }
        let (disk, dirs) = (Arc::clone(&self.disk), self.dirs(id));
        let look = move || dirs.iter().find_map(|dir| Ending::read(&*disk, dir));
        tokio::task::spawn_blocking(look).await.ok()?
    }

    /// The roster of a round, signed: of one that is kept, or that is over and in its directory; the newest one for 0.
    pub(super) async fn roster(&self, id: u64) -> Asked {
        if id == 0 {
            return Asked::Roster(self.rosters.current_bytes());
        }
        if let Some(run) = self.round(id) {
            return self.rosters.bytes_of(&run.context.roster().digest()).into();
        }
        let dirs = self.dirs(id);
        self.rosters.of_past(Arc::clone(&self.disk), id, dirs).await
    }

    /// What is answered about a round that is over and no longer in memory, until its directory is pruned. Reading it counts to
    /// `origin`.
    pub(super) async fn archived(&self, id: u64, origin: Origin) -> Kept {
        if self.round(id).is_some() {
            return Kept::Nothing;
        }
        self.archivist.answers(id, self.dirs(id), origin).await
    }

    /// The newest round of a task above `after`; waits for one for a while.
    pub(super) async fn round_after(&self, task: &TaskName, after: u64) -> Option<Arc<RoundRun>> {
        let mut newest = self.newest.subscribe();
        let opened = newest.wait_for(|newest| newest.get(task).is_some_and(|id| *id > after));
        let id = match tokio::time::timeout(WAIT, opened).await {
            Ok(Ok(newest)) => *newest.get(task)?,
            _ => return None,
        };
        self.round(id)
    }

    /// The task of this name, the only one when the name is empty; otherwise the names of all, separated by spaces.
    pub(super) fn task_named(&self, name: &[u8]) -> Result<TaskName, Vec<u8>> {
        let tasks = self.tasks();
        let mut names = tasks.homes.keys();
        if name.is_empty() {
            match (names.next(), names.next()) {
                // Before there is any round the only task has no name.
                (None, _) => return Ok(TaskName::default()),
                (Some(only), None) => return Ok(only.clone()),
                _ => {}
            }
        }
        let found = tasks.homes.keys().find(|n| n.as_str().as_bytes() == name);
        found.cloned().ok_or_else(|| {
            let all: Vec<&str> = tasks.homes.keys().map(TaskName::as_str).collect();
            all.join(" ").into_bytes()
        })
    }

    /// Whether what rounds may cost is known: no task has yet to say whether it goes on with a round.
    pub(super) fn is_ready(&self) -> bool {
        let tasks = self.tasks();
        !tasks.rounds.is_empty() && tasks.homes.values().all(|home| home.is_settled())
    }

    /// Longest message of a member of any round that is kept.
    pub(super) fn member_message_max(&self) -> Option<u64> {
        let tasks = self.tasks();
        let runs = tasks.rounds.values();
        runs.map(|run| member_message_max(&run.context)).max()
    }

    /// Longest head and body of a contribution to any round that is kept; the body is compared with its own round later.
    pub(super) fn upload_max(&self) -> Option<(u32, u64)> {
        let tasks = self.tasks();
        let sizes = tasks.rounds.values().map(|run| {
            let params = run.context.params();
            let committee = params.committee_size();
            UploadSizes::of(run.context.layout(), committee, params.threshold.into())
        });
        let (head, body) = sizes.fold((0, 0), |(head, body), sizes| {
            (head.max(sizes.header + 64), body.max(sizes.body()))
        });
        Some((u32::try_from(head).ok().filter(|head| *head > 0)?, body))
    }

    fn homes(&self) -> Vec<Arc<TaskHome>> {
        self.tasks().homes.values().cloned().collect()
    }

    /// All tasks, each with its newest round. Waits for rounds that are busy: anybody may ask, and no thread waits.
    pub(super) async fn status_soon(&self) -> Vec<TaskStatus> {
        let mut all = Vec::new();
        for home in self.homes() {
            let round = match self.newest_of(&home.name) {
                Some(run) => Some(run.with(|core| round_status(&run.context, core)).await),
                None => None,
            };
            all.push(task_status(&home, round));
        }
        all
    }

    pub(super) fn is_healthy(&self) -> bool {
        let homes = self.homes();
        homes.iter().all(|home| {
            let run = self.newest_of(&home.name);
            !home.storage.is_failing() && run.is_none_or(|run| !run.is_failing())
        })
    }

    /// Of each task, how many uploads could not be stored since the start.
    pub(super) fn storage_failures(&self) -> Vec<(String, u64)> {
        let homes = self.homes();
        let of = |home: &Arc<TaskHome>| (home.name.as_str().to_owned(), home.storage.failures());
        homes.iter().map(of).collect()
    }

    /// Of each task, how many rounds were due and could not be begun since the start.
    pub(super) fn not_begun(&self) -> Vec<(String, u64)> {
        let of = |home: &Arc<TaskHome>| {
            let count = home.not_begun();
            (home.name.as_str().to_owned(), count)
        };
        self.homes().iter().map(of).collect()
    }

    fn newest_of(&self, task: &TaskName) -> Option<Arc<RoundRun>> {
        let id = self.newest.borrow().get(task).copied();
        self.round(id?)
    }
}

fn task_status(home: &TaskHome, round: Option<ServerStatus>) -> TaskStatus {
    TaskStatus {
        task: home.name.as_str().to_owned(),
        next_ms: home.next_ms(),
        beacon_awaited: home.beacon_awaited(),
        round,
    }
}

fn round_status(context: &RoundContext, core: &mut Core) -> ServerStatus {
    let params = context.params();
    let phase = match (core.done(), core.is_proposed()) {
        (Some(Outcome::Certified { .. }), _) => 2,
        (Some(Outcome::Void), _) => 3,
        (None, true) => 1,
        (None, false) => 0,
    };
    let refusals = core.refusals().into_iter();
    let rejected = refusals
        .map(|(check, count)| (check.to_owned(), count))
        .collect();
    let mut clients_awaited = Vec::new();
    if phase == 0 {
        clients_awaited.extend(core.expected().take(AWAITED_NAMED));
    }
    let (received, receiving_ms) = core.throughput();
    ServerStatus {
        round: params.round_id,
        phase,
        contributions: u32::try_from(core.receipts()).unwrap_or(u32::MAX),
        joined: u32::try_from(core.joined()).unwrap_or(u32::MAX),
        cohort: params.cohort_size,
        n_min: params.n_min,
        deadline_ms: params.contribute_deadline_ms,
        received,
        receiving_ms,
        clients_awaited,
        awaited: core.machine().map(|m| m.awaited()).unwrap_or_default(),
        rejected,
    }
}
