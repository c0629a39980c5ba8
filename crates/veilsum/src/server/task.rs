//! The tasks of a server: each runs its own rounds, one after the other, beside those of the others.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use thiserror::Error;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Duration, Instant};
use tracing::Instrument as _;
use veilsum_crypto::IdentityKey;
use veilsum_encoding::Encoder;
use veilsum_params::Layout;
use veilsum_proof::{Prepared, Round as ProofRound};
use veilsum_protocol::{Check, Outcome, Record, RoundContext};
use veilsum_store::Disk;
use veilsum_wire::Roster;

use super::round::{RoundEvent, RoundRun, RoundStart, Wake, log_identity};
use super::shared::Shared;
use super::{
    RoundPlan, RoundReport, ServerError, ServerTimes, Step, check_round_size, deadline, round_dir,
    step,
};
use crate::journal::Journal;

/// How many rounds of a task are kept in memory for clients that come late; older ones are answered from their files.
const ROUNDS_KEPT: usize = 4;

/// Longest name of a task, in bytes.
pub(super) const NAME_MAX: usize = 32;

/// The name of a task: up to 32 lower-case letters, digits, `-` and `_`. The only task of a server may have the empty name.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct TaskName(String);

/// A name that no task can have.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0:?} is no name of a task: take up to {NAME_MAX} lower-case letters, digits, - and _")]
pub struct TaskNameError(pub String);

impl FromStr for TaskName {
    type Err = TaskNameError;

    fn from_str(name: &str) -> Result<Self, TaskNameError> {
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_".contains(&b);
        if name.len() <= NAME_MAX && name.bytes().all(allowed) {
            Ok(Self(name.to_owned()))
        } else {
            Err(TaskNameError(name.to_owned()))
        }
    }
}

impl TaskName {
    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TaskName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What all rounds of a task share with the handler of requests.
pub(super) struct TaskHome {
    pub(super) name: TaskName,
    pub(super) state: PathBuf,
    /// How many contributions of this task may wait for a verifier at one time: the others of the task wait before them, so
    /// that a task with many clients does not keep those of another waiting.
    pub(super) gate: Arc<Semaphore>,
    /// Headers of this task that are looked at at one time, before a contribution may wait to be verified: so that whoever
    /// signs nothing waits for nobody but others like it, and no task waits while the sum of another is opened.
    pub(super) admissions: Arc<Semaphore>,
    /// When the next round is due, in milliseconds since the Unix epoch; 0 when that is not known.
    next_ms: Mutex<u64>,
    /// The beacon round whose value the next round waits for.
    beacon: Mutex<Option<u64>>,
    /// A round was opened, or there is none to go on with.
    settled: AtomicBool,
    /// Rounds that were due and could not be begun, since the start.
    not_begun: AtomicU64,
    pub(super) storage: Storage,
}

/// How long a failure to store an upload is a matter of health: uploads may not come for a day.
const FAILING: Duration = Duration::from_secs(60);

/// Whether uploads of a task can be stored.
#[derive(Debug, Default)]
pub(super) struct Storage {
    /// The last failure, if nothing was stored since.
    failed: Mutex<Option<Instant>>,
    failures: AtomicU64,
}

impl Storage {
    pub(super) fn failed(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        *self.last() = Some(Instant::now());
    }

    pub(super) fn worked(&self) {
        *self.last() = None;
    }

    /// Whether the last upload could not be stored, a short time ago.
    pub(super) fn is_failing(&self) -> bool {
        self.last().is_some_and(|failed| failed.elapsed() < FAILING)
    }

    /// Uploads that could not be stored since the start.
    pub(super) fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    fn last(&self) -> MutexGuard<'_, Option<Instant>> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TaskHome {
    pub(super) fn new(name: TaskName, state: PathBuf, verifiers: usize) -> Self {
        Self {
            name,
            state,
            gate: Arc::new(Semaphore::new(verifiers)),
            admissions: Arc::new(Semaphore::new(verifiers)),
            next_ms: Mutex::new(0),
            beacon: Mutex::new(None),
            settled: AtomicBool::new(false),
            not_begun: AtomicU64::new(0),
            storage: Storage::default(),
        }
    }

    pub(super) fn is_settled(&self) -> bool {
        self.settled.load(Ordering::Acquire)
    }

    pub(super) fn settle(&self) {
        self.settled.store(true, Ordering::Release);
    }

    /// See [`Task::await_beacon`].
    pub(super) fn beacon_awaited(&self) -> Option<u64> {
        *self.beacon.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// See [`Task::set_next`].
    pub(super) fn next_ms(&self) -> u64 {
        *self.next_ms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn not_begun(&self) -> u64 {
        self.not_begun.load(Ordering::Relaxed)
    }

    fn note_next(&self, at_ms: u64) {
        *self.next_ms.lock().unwrap_or_else(PoisonError::into_inner) = at_ms;
    }
}

/// One task of a [`super::Server`].
pub struct Task {
    pub(super) shared: Arc<Shared>,
    pub(super) home: Arc<TaskHome>,
    pub(super) identity: IdentityKey,
    pub(super) disk: Arc<dyn Disk>,
    pub(super) times: ServerTimes,
    pub(super) prepared: Option<Arc<Prepared>>,
}

impl Drop for Task {
    /// Whoever failed to open its round, and is gone, has none to go on with: the others need not wait for it.
    fn drop(&mut self) {
        self.shared.settle(&self.home);
    }
}

impl Task {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &TaskName {
        &self.home.name
    }

    /// Its state directory.
    #[must_use]
    pub fn state(&self) -> &std::path::Path {
        &self.home.state
    }

    /// The roster under which new rounds are announced.
    #[must_use]
    pub fn roster(&self) -> Arc<Roster> {
        self.shared.rosters.current()
    }

    /// Announces new rounds, of all tasks of the server, under this roster. Rounds that are open keep the one under which
    /// they were announced. The version is on disk when this returns, and no older one is taken from then on, neither by
    /// this process nor by a later one. Blocks on the disk.
    ///
    /// # Errors
    /// [`ServerError::Roster`] for an older roster, another one of the same version (then there is evidence against the
    /// registrar in the server's state directory), or the disk; [`ServerError::OtherRegistrar`]. Nothing is changed then.
    pub fn use_roster(&self, roster: Arc<Roster>) -> Result<(), ServerError> {
        self.shared.rosters.replace(roster)
    }

    /// Says that no round is open and when the next is due, in milliseconds since the Unix epoch, if that is known; forgotten
    /// when a round is opened. Clients that come back after a restart wait until each task has said this, opened a round, or
    /// is dropped, so it is not said by one that has a round to go on with.
    pub fn set_next(&self, at_ms: Option<u64>) {
        self.home.note_next(at_ms.unwrap_or(0));
        self.shared.settle(&self.home);
    }

    /// Counts a round that was due and could not be begun: see [`super::Observer::not_begun`].
    pub fn note_not_begun(&self) {
        self.home.not_begun.fetch_add(1, Ordering::Relaxed);
    }

    /// Says that the next round waits for the value of a beacon round, or does no more; no round is open.
    pub fn await_beacon(&self, round: Option<u64>) {
        let home = &self.home.beacon;
        *home.lock().unwrap_or_else(PoisonError::into_inner) = round;
        self.shared.settle(&self.home);
    }

    /// Opens a round, or goes on with the one of this id in the state directory: then its own parameters hold, and they
    /// must be the given ones but for the deadline.
    async fn open(
        &mut self,
        plan: RoundPlan,
        events: mpsc::UnboundedSender<RoundEvent>,
    ) -> Result<Arc<RoundRun>, ServerError> {
        let RoundPlan { params, beacon } = plan;
        let round_id = params.round_id;
        let (shared, home) = (Arc::clone(&self.shared), Arc::clone(&self.home));
        let disk = Arc::clone(&self.disk);
        tokio::task::spawn_blocking(move || shared.claim(&*disk, round_id, &home))
            .await
            .map_err(|_| ServerError::Internal)??;
        let dir = round_dir(&self.home.state, round_id);
        let identity = log_identity(&params.server_key, round_id);
        let (journal, mut rest) = Journal::open_streaming(Arc::clone(&self.disk), &dir, identity)?;
        let first = rest.next().transpose()?;
        let (params, beacon) = match &first {
            None => (params, beacon),
            Some(Record::ServerAnnouncement { sent }) => {
                let mut same = params;
                same.contribute_deadline_ms = sent.params.contribute_deadline_ms;
                if same != sent.params {
                    return Err(ServerError::OtherParams { round_id });
                }
                (same, sent.beacon.clone())
            }
            Some(_) => return Err(ServerError::RoundUsed { round_id }),
        };
        let roster = match &first {
            None => self.shared.rosters.current(),
            Some(_) => {
                let (shared, disk) = (Arc::clone(&self.shared), Arc::clone(&self.disk));
                let (dir, params) = (dir.clone(), params.clone());
                let find = move || shared.rosters.of_round(&*disk, &dir, &params);
                let found = tokio::task::spawn_blocking(find).await;
                found.map_err(|_| ServerError::Internal)??
            }
        };
        let context = Arc::new(RoundContext::with_beacon(params, beacon, roster)?);
        check_round_size(context.params(), context.layout())?;
        let prepared = self.prepare(context.layout()).await?;
        let proof = Arc::new(ProofRound::new(prepared, *context.digest())?);
        let start = RoundStart {
            task: Arc::clone(&self.home),
            context,
            proof,
            identity: IdentityKey::from_seed(&self.identity.to_seed()),
            disk: Arc::clone(&self.disk),
            dir,
            journal,
            first,
            rest,
            events,
        };
        let (shared, disk) = (Arc::clone(&self.shared), Arc::clone(&self.disk));
        let started = tokio::task::spawn_blocking(move || -> Result<_, ServerError> {
            let run = RoundRun::start(start)?;
            shared.claims.announced(&*disk, round_id)?;
            Ok(run)
        });
        let run = started.await.map_err(|_| ServerError::Internal)??;
        self.shared.add(round_id, &run, ROUNDS_KEPT);
        self.home.note_next(0);
        Ok(run)
    }

    /// Tables for a layout: made once, shared by all rounds of that layout.
    async fn prepare(&mut self, layout: &Layout) -> Result<Arc<Prepared>, ServerError> {
        if let Some(prepared) = self.prepared.as_ref().filter(|p| p.layout() == layout) {
            return Ok(Arc::clone(prepared));
        }
        let layout = layout.clone();
        let made = tokio::task::spawn_blocking(move || Prepared::new(&layout));
        let prepared = Arc::new(made.await.map_err(|_| ServerError::Internal)??);
        self.prepared = Some(Arc::clone(&prepared));
        Ok(prepared)
    }

    /// Runs one round to its end and closes its log. `on_event` hears what happens.
    ///
    /// # Errors
    /// [`ServerError::Void`] if too few contributed or closing was given up; everything else that keeps the round from
    /// ending. After an error of the disk the same call goes on with the round where its log ends. A round that had ended
    /// with a result is reported again, and answered for until nobody asks any more.
    pub async fn run(
        &mut self,
        plan: impl Into<RoundPlan>,
        on_event: impl FnMut(RoundEvent) + Send,
    ) -> Result<RoundReport, ServerError> {
        let plan = plan.into();
        let (task, round) = (self.home.name.clone(), plan.params.round_id);
        let span = tracing::info_span!(target: "veilsum", "round", %task, round);
        self.run_in_span(plan, on_event).instrument(span).await
    }

    async fn run_in_span(
        &mut self,
        plan: RoundPlan,
        mut on_event: impl FnMut(RoundEvent) + Send,
    ) -> Result<RoundReport, ServerError> {
        let (sender, mut events) = mpsc::unbounded_channel();
        let run = self.open(plan, sender).await?;
        tracing::info!(target: "veilsum", event = "round_open", had_ended = run.had_ended);
        let deadline = deadline(run.context.params().contribute_deadline_ms);
        let mut changed = run.watch(Wake::Driver);
        let mut tick = tokio::time::interval(self.times.tick);
        let mut closing_since = None;
        let mut ended_since: Option<Instant> = None;
        let outcome = loop {
            tokio::select! {
                Some(event) = events.recv() => {
                    log(&event);
                    on_event(event);
                    continue;
                }
                _ = changed.changed() => {}
                _ = tick.tick() => {}
                () = tokio::time::sleep_until(deadline), if closing_since.is_none() => {}
            }
            let times = self.times;
            let (work, since) = (Arc::clone(&run), closing_since);
            let stepped = tokio::task::spawn_blocking(move || step(&work, times, deadline, since));
            match stepped.await.map_err(|_| ServerError::Internal)?? {
                Step::Taking => {}
                Step::Closing => closing_since = closing_since.or(Some(Instant::now())),
                Step::Ended { outcome, settled } => {
                    let since = *ended_since.get_or_insert_with(Instant::now);
                    let linger = self.times.linger;
                    let heard = run.told_at().map_or(since, |told| told.max(since));
                    if settled || heard.elapsed() >= linger || since.elapsed() >= 10 * linger {
                        break outcome;
                    }
                }
            }
        };
        while let Ok(event) = events.try_recv() {
            log(&event);
            on_event(event);
        }
        // Long files may have to be written.
        let ended = tokio::task::spawn_blocking(move || match outcome {
            Outcome::Certified { .. } => report(&run),
            Outcome::Void => {
                run.close()?;
                Err(ServerError::Void)
            }
        });
        ended.await.map_err(|_| ServerError::Internal)?
    }
}

/// What happens in a round, in the log: phases, checks and places on the committee, and no client.
fn log(event: &RoundEvent) {
    match event {
        RoundEvent::Joined(_) => tracing::debug!(target: "veilsum", event = "client_joined"),
        RoundEvent::Received(_) => tracing::info!(target: "veilsum", event = "contribution_stored"),
        RoundEvent::Rejected(_, check) => {
            tracing::info!(target: "veilsum", event = "contribution_refused", check = check.id());
        }
        RoundEvent::Mismatched(_, check) => {
            tracing::info!(target: "veilsum", event = "contribution_mismatched", check = check.id());
        }
        RoundEvent::Proposed(count) => {
            tracing::info!(target: "veilsum", event = "round_closing", contributions = count);
        }
        RoundEvent::Heard(member) => {
            tracing::debug!(target: "veilsum", event = "member_heard", member = member.0);
        }
        RoundEvent::Convicted(_) => tracing::info!(target: "veilsum", event = "dealer_convicted"),
        RoundEvent::Opened => tracing::info!(target: "veilsum", event = "sum_opened"),
        RoundEvent::Ended(outcome) => {
            let void = *outcome == Outcome::Void;
            tracing::info!(target: "veilsum", event = "round_ended", void);
        }
    }
}

fn report(run: &RoundRun) -> Result<RoundReport, ServerError> {
    let params = run.context.params();
    let mut core = run.lock();
    let dropped = core.dropped(&run.context);
    let mut rejected = core.rejected().clone();
    let machine = core.machine().ok_or(ServerError::Internal)?;
    let contributions = machine.proposal().map_or(0, |p| p.entries.len());
    let contributions = u32::try_from(contributions).unwrap_or(u32::MAX);
    let result = machine.result().ok_or(ServerError::Internal)?.clone();
    let convicted = &result.signed.content.convicted;
    rejected.extend(convicted.iter().map(|client| (*client, Check::DealtShare)));
    let accepted = contributions.saturating_sub(u32::try_from(convicted.len()).unwrap_or(u32::MAX));
    let dim = usize::try_from(params.dim).map_err(|_| ServerError::Internal)?;
    let encoder = Encoder::new(dim, params.scale_bits, params.norm_bound.into())?;
    drop(core);
    let mean = encoder.decode_mean(&result.vector, accepted.into())?;
    run.close()?;
    Ok(RoundReport {
        round_id: params.round_id,
        contributions,
        accepted,
        rejected,
        dropped,
        result,
        mean,
        transcript: run.dir.clone(),
        had_ended: run.had_ended,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_failure_to_store_is_over_when_something_is_stored_or_after_a_minute() {
        let storage = Storage::default();
        assert!(!storage.is_failing());
        storage.failed();
        assert!(storage.is_failing());
        storage.worked();
        assert!(!storage.is_failing());
        storage.failed();
        tokio::time::advance(FAILING - Duration::from_millis(1)).await;
        assert!(storage.is_failing());
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(!storage.is_failing());
        assert_eq!(storage.failures(), 2);
    }

    #[test]
    fn names_of_tasks() {
        for good in ["", "a", "digits-2_x", &"z".repeat(32)] {
            assert_eq!(good.parse::<TaskName>().unwrap().as_str(), good);
        }
        for bad in ["A", "a b", "../x", "ä", &"z".repeat(33), "a/b", "."] {
            assert_eq!(bad.parse::<TaskName>(), Err(TaskNameError(bad.to_owned())));
        }
    }
}
