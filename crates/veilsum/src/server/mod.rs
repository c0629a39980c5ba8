//! The server: one round after the other, over QUIC, with a durable log.

mod archive;
mod archivist;
mod claims;
mod error;
mod evidence;
mod handler;
mod observe;
mod outbox;
mod rosters;
mod round;
mod shared;
mod task;
mod verifiers;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::time::{Duration, Instant};
use veilsum_crypto::IdentityKey;
use veilsum_params::{ClientId, Layout, RoundParams, UploadSizes};
use veilsum_proof::Prepared;
use veilsum_protocol::{Check, Input, Outcome, Record};
use veilsum_store::{Disk, MAX_PAYLOAD_LEN, RealDisk, open_state};
use veilsum_transport::{Server as Transport, ServerConfig as TransportConfig, ServerStats};
use veilsum_wire::{BeaconProof, Roster, RoundResult};

pub use archive::{AnswersSummary, answers_summary, are_answers};
pub use claims::is_used_up;
pub use error::ServerError;
pub use observe::Observer;
pub use rosters::announced_roster;
pub use round::{RoundEvent, log_identity as server_log_identity};
pub use task::{Task, TaskName, TaskNameError};

use crate::journal::{Journal, JournalError};
use crate::keys::ServerKeys;
use handler::Requests;
use rosters::Rosters;
use round::RoundRun;
use shared::Shared;
use task::TaskHome;

/// Times of a server. None of them decides what a round's result is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerTimes {
    /// A client or member that is not heard for this long is not waited for.
    pub quiet: Duration,
    /// How long members that were heard in closing may take to look at the shares of all dealers, before the others go on
    /// without them.
    pub patience: Duration,
    /// How often what is unanswered is looked at again.
    pub tick: Duration,
    /// After this long in closing the round is declared void, if it still can be.
    pub give_up: Duration,
    /// How long a round that has ended waits for the last members and for clients that have not heard the end, from its end
    /// and again from each client that has heard it, at most ten times this in all, before its log is closed.
    pub linger: Duration,
}

impl Default for ServerTimes {
    fn default() -> Self {
        Self {
            quiet: Duration::from_secs(5),
            patience: Duration::from_secs(20),
            tick: Duration::from_secs(1),
            give_up: Duration::from_secs(3600),
            linger: Duration::from_secs(30),
        }
    }
}

/// Verifiers of a server that is not told how many: one for each processor that it may use.
#[must_use]
pub fn default_verifiers() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// What a server needs.
#[derive(Debug)]
pub struct ServerOptions {
    /// Address and UDP port; port 0 for any free one.
    pub listen: SocketAddr,
    /// Its keys.
    pub keys: ServerKeys,
    /// The roster, verified.
    pub roster: Arc<Roster>,
    /// Directory for logs and uploads; one process at a time.
    pub state: PathBuf,
    /// Times.
    pub times: ServerTimes,
    /// Bounds of the transport; its spool directory is set to one below `state`.
    pub transport: TransportConfig,
    /// Threads that verify, each one contribution at a time; at least one. For each task that has clients as many blocking
    /// threads of the runtime may wait for them and for the disk, and as many for a round that is busy: give the runtime twice as
    /// many of these as there are verifiers, for each task, and some more ([`tokio::runtime::Builder::max_blocking_threads`]), or
    /// uploads and signatures wait too.
    pub verifiers: usize,
    /// Where logs and stored bodies are written; uploads in work always go to the real one.
    pub disk: Arc<dyn Disk>,
}

impl ServerOptions {
    /// Options with defaults for all bounds.
    #[must_use]
    pub fn new(listen: SocketAddr, keys: ServerKeys, roster: Arc<Roster>, state: PathBuf) -> Self {
        let transport = TransportConfig::new(state.join("spool"));
        let verifiers = default_verifiers();
        let times = ServerTimes::default();
        Self {
            listen,
            keys,
            roster,
            state,
            times,
            transport,
            verifiers,
            disk: Arc::new(RealDisk),
        }
    }
}

/// A round that is to be run.
#[derive(Clone, Debug, PartialEq)]
pub struct RoundPlan {
    /// Its parameters.
    pub params: RoundParams,
    /// What proves the beacon's value in them.
    pub beacon: BeaconProof,
}

impl From<RoundParams> for RoundPlan {
    /// A round under a roster without a beacon.
    fn from(params: RoundParams) -> Self {
        Self {
            params,
            beacon: BeaconProof::none(),
        }
    }
}

/// A round that ended with a result.
#[derive(Clone, Debug, PartialEq)]
pub struct RoundReport {
    /// The round.
    pub round_id: u64,
    /// |U|.
    pub contributions: u32,
    /// |U| minus the convicted dealers: what the sum is over.
    pub accepted: u32,
    /// Contributions that were refused, and dealers that were convicted in closing, with the check that they failed.
    pub rejected: BTreeMap<ClientId, Check>,
    /// Clients that joined and got no receipt, and clients of members that fell silent.
    pub dropped: BTreeSet<ClientId>,
    /// The signed result.
    pub result: RoundResult,
    /// The mean of the accepted updates.
    pub mean: Vec<f64>,
    /// Directory of the closed log.
    pub transcript: PathBuf,
    /// Whether the round had ended before: then nothing was signed or taken in this run, and of `rejected` there is only
    /// what the log knows.
    pub had_ended: bool,
}

/// A running server.
pub struct Server {
    transport: Transport,
    shared: Arc<Shared>,
    verifiers: usize,
    /// The task of a server that has no others.
    only: Task,
}

impl Server {
    /// Binds the address and serves; there is no round yet. Must be called in a tokio runtime.
    ///
    /// # Errors
    /// [`ServerError::Bind`] for the address, the spool or the bounds; [`ServerError::Store`] for the state directory;
    /// [`ServerError::Roster`] for a roster that is older than one that the state directory remembers.
    pub fn bind(options: ServerOptions) -> Result<Self, ServerError> {
        open_state(&*options.disk, &options.state)?;
        let verifiers = options.verifiers.max(1);
        let disk = Arc::clone(&options.disk);
        let rosters = Rosters::open(Arc::clone(&disk), &options.state, options.roster)?;
        let shared = Shared::new(rosters, disk, &options.state, verifiers)?;
        let shared = Arc::new(shared);
        let mut config = options.transport;
        config.service.spool_dir = options.state.join("spool");
        let transport = options.keys.transport()?;
        let transport = Transport::bind(
            options.listen,
            &transport,
            config,
            Requests(Arc::clone(&shared)),
        )?;
        // The transport holds the lock of the spool: no other process is writing here.
        shared.claims.sweep(&*options.disk)?;
        let home = TaskHome::new(TaskName::default(), options.state, verifiers);
        let only = Task {
            shared: Arc::clone(&shared),
            home: Arc::new(home),
            identity: IdentityKey::from_seed(&options.keys.signing().to_seed()),
            disk: options.disk,
            times: options.times,
            prepared: None,
        };
        Ok(Self {
            transport,
            shared,
            verifiers,
            only,
        })
    }

    /// The address that it listens on.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.transport.local_addr()
    }

    /// What an operator may look at while the server runs.
    #[must_use]
    pub fn observer(&self) -> Observer {
        Observer {
            shared: Arc::clone(&self.shared),
            counters: self.transport.counters(),
        }
    }

    /// Waits until each of its tasks has opened a round, says that it has none to go on with, or is dropped.
    pub async fn settled(&self) {
        self.shared.settled().await;
    }

    /// What the transport counted.
    #[must_use]
    pub fn stats(&self) -> ServerStats {
        self.transport.stats()
    }

    /// Stops: requests in work may end for at most `grace`.
    pub async fn shutdown(self, grace: Duration) -> ServerStats {
        self.transport.shutdown(grace).await
    }

    /// As [`Task::use_roster`]; rosters are those of all tasks.
    ///
    /// # Errors
    /// As [`Task::use_roster`].
    pub fn use_roster(&self, roster: Arc<Roster>) -> Result<(), ServerError> {
        self.only.use_roster(roster)
    }

    /// Uses tables that others made for the same layout, in processes with clients of their own.
    pub fn share_tables(&mut self, prepared: Arc<Prepared>) {
        self.only.prepared = Some(prepared);
    }

    /// Adds a task with a state directory of its own. From then on a client says of which task it asks for a round; the
    /// rounds of all tasks have different numbers, because a client uses each number once.
    ///
    /// # Errors
    /// [`ServerError::TaskTaken`] if there is a task of this name or with this directory; [`ServerError::Store`] for the
    /// directory.
    pub fn task(&self, name: TaskName, state: PathBuf) -> Result<Task, ServerError> {
        open_state(&*self.only.disk, &state)?;
        let home = self.shared.register(name, state, self.verifiers)?;
        Ok(Task {
            shared: Arc::clone(&self.shared),
            home,
            identity: IdentityKey::from_seed(&self.only.identity.to_seed()),
            disk: Arc::clone(&self.only.disk),
            times: self.only.times,
            prepared: None,
        })
    }

    /// Runs one round of a server without named tasks, as [`Task::run`] does.
    ///
    /// # Errors
    /// As [`Task::run`].
    pub async fn run(
        &mut self,
        plan: impl Into<RoundPlan>,
        on_event: impl FnMut(RoundEvent) + Send,
    ) -> Result<RoundReport, ServerError> {
        self.shared.register_only(&self.only.home);
        self.only.run(plan, on_event).await
    }
}

/// Whether what a round writes fits where it is kept: better told before anybody uploads than when the sum is open. Bodies of
/// contributions and the vector of a result stand beside the log when a record does not hold them.
///
/// # Errors
/// [`ServerError::RoundTooLarge`] for the first part that does not.
pub fn check_round_size(params: &RoundParams, layout: &Layout) -> Result<(), ServerError> {
    /// Signatures, digests and lengths beside what is counted.
    const SLACK: u64 = 1 << 16;
    let sizes = UploadSizes::of(layout, params.committee_size(), params.threshold.into());
    let shares = u64::from(params.committee_size()).max(1);
    let per_dealer = sizes.header + sizes.shares / shares + 1024;
    let parts = [
        (
            "result",
            archive::file_bytes(params, layout),
            archive::FILE_MAX,
        ),
        (
            "package of a member",
            per_dealer * u64::from(params.cohort_size) + SLACK,
            MAX_PAYLOAD_LEN.into(),
        ),
    ];
    match parts.into_iter().find(|(_, bytes, max)| bytes > max) {
        None => Ok(()),
        Some((part, bytes, max)) => Err(ServerError::RoundTooLarge {
            round_id: params.round_id,
            part,
            bytes,
            max,
        }),
    }
}

/// The directory of a round's log below a server's state directory.
#[must_use]
pub fn round_dir(state: &Path, round_id: u64) -> PathBuf {
    state.join("rounds").join(round_id.to_string())
}

/// The parameters that a round in a task's state directory was announced with; none when it was not announced.
///
/// # Errors
/// [`JournalError`] for a log that is damaged or of another version.
pub fn announced_params(
    disk: &dyn Disk,
    state: &Path,
    round_id: u64,
) -> Result<Option<RoundParams>, JournalError> {
    match Journal::first(disk, &round_dir(state, round_id))? {
        Some(Record::ServerAnnouncement { sent }) => Ok(Some(sent.params)),
        _ => Ok(None),
    }
}

enum Step {
    Taking,
    Closing,
    /// `settled` when nobody who is still there waits for anything.
    Ended {
        outcome: Outcome,
        settled: bool,
    },
}

/// Looks at the round and does what time makes due.
fn step(
    run: &RoundRun,
    times: ServerTimes,
    deadline: Instant,
    closing_since: Option<Instant>,
) -> Result<Step, ServerError> {
    let mut core = run.lock();
    if let Some(failure) = core.failure() {
        return Err(failure.clone().into());
    }
    // Waiting would not help, and nobody waits for a result that cannot be.
    if let Some(fault) = core.fault() {
        return Err(fault.clone().into());
    }
    if let Some(outcome) = core.done() {
        let finals = outcome == Outcome::Void || core.settled(&run.context, times.quiet);
        return Ok(Step::Ended {
            outcome,
            settled: finals && run.all_told(&core, times.quiet, times.linger),
        });
    }
    let failed = |core: &round::Core| ServerError::from_failure(core.failure().cloned());
    if core.is_proposed() {
        if core.release_unmask(&run.context, times, closing_since) {
            run.bump(round::Wake::Mail);
        }
        if closing_since.is_some_and(|since| since.elapsed() >= times.give_up) {
            run.input(&mut core, Input::DeclareVoid)
                .map_err(|_| failed(&core))?;
        } else {
            let begun = closing_since.is_some_and(|since| since.elapsed() >= times.quiet);
            for index in core.silent_to_tell(&run.context, times.quiet, begun) {
                run.input(&mut core, Input::MemberSilent(index))
                    .map_err(|_| failed(&core))?;
            }
        }
        return Ok(Step::Closing);
    }
    let enough =
        core.receipts() >= usize::try_from(run.context.params().n_min).unwrap_or(usize::MAX);
    if Instant::now() >= deadline {
        let due = if enough {
            Input::DeadlineReached
        } else {
            Input::DeclareVoid
        };
        run.input(&mut core, due).map_err(|_| failed(&core))?;
    } else if enough && core.nobody_left(&run.context, times.quiet) {
        run.input(&mut core, Input::DeadlineReached)
            .map_err(|_| failed(&core))?;
    }
    Ok(Step::Taking)
}

/// The deadline in this process's monotonic time.
fn deadline(unix_ms: u64) -> Instant {
    let left = Duration::from_millis(unix_ms.saturating_sub(now_ms()));
    let now = Instant::now();
    now.checked_add(left).unwrap_or(now)
}

/// Milliseconds since the Unix epoch, for [`RoundParams::contribute_deadline_ms`].
#[must_use]
#[expect(
    clippy::disallowed_methods,
    reason = "the driver is where deadlines meet the clock"
)]
pub fn now_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
}
